//! Models of an upstream's engines: between the admin API and the gateway.

use std::sync::Arc;

use cutover_control::api::Failure;
use cutover_control::api::models::{ManageModels, ModelStatus, ModelsAt, ModelsJob};
use cutover_gateway::{Gateway, Job, Line, NotBegun, Stage};
use cutover_units::did_you_mean;
use cutover_vendors::manage::{Deed, Kept};
use cutover_wire::probe::with_tag;

/// The action that ends others.
pub(crate) const CANCEL: &str = "cancel";

/// Begins what is ordered.
pub(crate) fn begin(
    gateway: Option<&Gateway>,
    upstream: &str,
    order: &ManageModels,
) -> Result<ModelsJob, Failure> {
    let failure = |code: &str, message: String, hint: Option<String>| Failure {
        code: code.to_owned(),
        message,
        hint,
    };
    let Some(gateway) = gateway else {
        let message = "the gateway is not there yet".to_owned();
        return Err(failure("not_ready", message, None));
    };
    let model = order.model.trim();
    if order.action == CANCEL {
        let none = || {
            let message = format!("nothing fetches or loads {model:?} at upstream {upstream:?}");
            failure("nothing_to_cancel", message, None)
        };
        return Ok(status(&gateway.cancel(upstream, model).ok_or_else(none)?));
    }
    let Some(deed) = Deed::from_word(&order.action) else {
        let message = format!("there is no action {:?}", order.action);
        let hint = Some("list, show, pull, remove, warm or cancel".to_owned());
        return Err(failure("unknown_action", message, hint));
    };
    let named = !model.is_empty();
    if named == (deed == Deed::List) {
        let message = format!("{} takes {} model", deed.as_str(), if named { "no" } else { "a" });
        return Err(failure("invalid_model", message, None));
    }
    let job = gateway.manage(upstream, deed, model).map_err(|why| {
        let (code, hint) = match &why {
            NotBegun::UnknownUpstream { name, known } => {
                let meant = did_you_mean(name, known.iter().map(String::as_str));
                ("unknown_upstream", meant)
            }
            NotBegun::NotManaged { deed: Deed::List, .. } => {
                ("not_managed", Some("ask it itself: GET /v1/models".to_owned()))
            }
            NotBegun::NotManaged { .. } => {
                ("not_managed", Some("give it its models where it is started".to_owned()))
            }
            NotBegun::NoInstance { .. } => {
                ("no_instance", Some("cutover status shows how its names are resolved".to_owned()))
            }
            NotBegun::TooMany { oldest } => ("too_many_jobs", Some(making_room(oldest.as_deref()))),
        };
        // It may well list them; what is managed here is the models of one's own engines.
        let message = match &why {
            NotBegun::NotManaged { provider, deed: Deed::List } => {
                format!(
                    "models of provider {provider} are not listed here, but by the service itself"
                )
            }
            _ => why.to_string(),
        };
        failure(code, message, hint)
    })?;
    Ok(status(&job))
}

/// What helps where too many are under way.
fn making_room(oldest: Option<&Job>) -> String {
    let again = "ask again when one has ended";
    oldest.map_or_else(
        || again.to_owned(),
        |job| format!("{again}, or end one: cutover models cancel {} {}", job.upstream, job.model),
    )
}

/// How far a job is.
pub(crate) fn status(job: &Arc<Job>) -> ModelsJob {
    // Asked first: a line that ends in between is told of as ended the next time.
    let ended = job.has_ended();
    ModelsJob {
        job: job.id,
        upstream: job.upstream.clone(),
        action: job.deed.as_str().to_owned(),
        model: job.model.clone(),
        ended,
        instances: job.lines().into_iter().map(at).collect(),
    }
}

fn at(line: Line) -> ModelsAt {
    let state = match line.stage {
        Stage::Working => "working",
        Stage::Done => "done",
        Stage::Failed => "failed",
        Stage::Cancelled => "cancelled",
    };
    let loaded = line.loaded;
    let is_loaded = |name: &str| {
        let name = with_tag(name);
        loaded.as_ref().map(|loaded| loaded.iter().any(|known| *known == name))
    };
    ModelsAt {
        instance: line.instance,
        state: state.to_owned(),
        text: line.text,
        completed: line.bytes.map(|(completed, _)| completed),
        total: line.bytes.map(|(_, total)| total),
        models: line.models.into_iter().map(|kept| model(is_loaded(&kept.name), kept)).collect(),
    }
}

fn model(loaded: Option<bool>, kept: Kept) -> ModelStatus {
    ModelStatus {
        name: kept.name,
        size: kept.size,
        parameters: kept.parameters,
        quantization: kept.quantization,
        context: kept.context,
        capabilities: kept.capabilities,
        loaded,
    }
}
