//! From a checked configuration to the picture that requests read.
//!
//! All that a request would otherwise do again and again is done here once: header values, prices,
//! metric handles, connection pools. Instances whose address and settings did not change are carried
//! over with their connections and counters. Nothing here performs I/O: what lies outside the
//! configuration (secrets, files, the embedded engine) is asked of [`Surroundings`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use cutover_config::{
    Checked, HeaderValue as ConfiguredValue, Reach, SecretRef, SystemPrompt, UpstreamKey,
};
use cutover_images::ImageLane;
use cutover_ledger::prices::PriceList;
use cutover_route::overflow::Purses;
use cutover_route::{Traffic, health};
use cutover_server::{BodyLimits, Room};
use cutover_store::KeyRing;
use cutover_telemetry::{ArmLabels, ArmMetrics, NONE, Registry};
use cutover_units::{Arm, Millis, UseCaseName, WeightBp};
use cutover_upstream::clients_key::{ClientsKey, KeyForm, X_API_KEY, X_GOOG_API_KEY};
use cutover_upstream::{InProcess, RequestHeaders, RequestRules, Timeouts, Vendor, gauges, models};
use cutover_vendors::anthropic;
use cutover_wire::providers::{Auth, CallIds, Dialect};
use cutover_wire::{
    Capabilities, OllamaSettings, Prefill, StreamUsage, Target, Unsupported, VariantSettings,
};
use http::{HeaderName, HeaderValue, header};

use crate::dialects::USE_CASE;
use crate::drains::Drained;
use crate::live::{Lane, Limits, Live, ModelEntry, UpstreamLane};
use crate::prices;
use crate::probes::Probing;
use crate::prompts::{LanePrompt, framing, structured};
use crate::resolving::Resolved;

mod doors;
mod instances;
mod mold;
mod ollama;
mod surface;
mod trust;
mod use_cases;

pub(crate) use instances::{carried_of, lineup};
pub(crate) use mold::Mold;

/// The name shown for the variant of requests that no use case matches.
const DEFAULT_VARIANT: &str = "default";

/// What lies outside the configuration.
pub trait Surroundings {
    /// The secret a reference names; None if it is optional and absent.
    fn secret(&self, reference: &SecretRef) -> Result<Option<String>, String>;
    /// The bytes of a file the configuration names.
    fn file(&self, path: &Path) -> Result<Vec<u8>, String>;
    /// The embedded engine for an upstream's settings.
    fn embedded(&self, settings: &cutover_config::Embedded) -> Result<Arc<dyn InProcess>, String>;
    /// The weight in force for a use case.
    fn weight(&self, use_case: &UseCaseName, initial: WeightBp) -> WeightBp;
    /// The weight and the share of copies in force for a use case.
    fn traffic(&self, use_case: &UseCaseName, initial: WeightBp) -> Traffic {
        Traffic { weight: self.weight(use_case, initial), shadow: WeightBp::NONE }
    }
}

/// What a picture is built from.
pub struct Materials<'a> {
    /// The configuration.
    pub checked: &'a Checked,
    /// What lies outside of it.
    pub surroundings: &'a dyn Surroundings,
    /// The client keys, if keys are asked for.
    pub keys: Option<Arc<KeyRing>>,
    /// Where handles are taken.
    pub registry: &'a Registry,
    /// The picture before, whose connections are carried over.
    pub previous: Option<&'a Live>,
    /// Now, for the look-up of prices.
    pub now: Millis,
}

/// Why a picture could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct BuildError {
    /// The configuration key that is at fault.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

fn wrong(key: impl Into<String>, why: impl Into<String>) -> BuildError {
    BuildError { key: key.into(), why: why.into() }
}

fn images(checked: &Checked) -> Result<Arc<ImageLane>, BuildError> {
    let lane = ImageLane::new(&checked.images);
    lane.map(Arc::new).map_err(|why| wrong("images", why.to_string()))
}

/// What is the same in all pictures.
fn lasting(known: &Live) -> (Arc<Drained>, Arc<Resolved>, Arc<Purses>) {
    (Arc::clone(&known.drained), Arc::clone(&known.resolved), Arc::clone(&known.purses))
}

/// Builds the picture.
pub fn live(materials: &Materials<'_>) -> Result<Live, BuildError> {
    let checked = materials.checked;
    let carried = instances::carried(materials.previous);
    let (drained, resolved, purses) = materials.previous.map(lasting).unwrap_or_default();
    let mut upstreams = Vec::with_capacity(checked.upstreams.len());
    for upstream in &checked.upstreams {
        let lane = upstream_lane(materials, upstream, (&carried, &resolved))?;
        drained.tell(&lane);
        upstreams.push(Arc::new(lane));
    }
    let prices = prices::list(materials)?;
    let mut lanes = Vec::with_capacity(checked.variants.len() + 1);
    for variant in &checked.variants {
        let configured = &checked.upstreams[variant.upstream];
        let upstream = Arc::clone(&upstreams[variant.upstream]);
        lanes.push(lane(materials, variant, (configured, upstream, &prices))?);
    }
    let default = checked.default_upstream();
    let default_lane = Arc::clone(&upstreams[checked.default_upstream]);
    lanes.push(Lane {
        variant: HeaderValue::from_static(DEFAULT_VARIANT),
        target: Target {
            stream_usage: stream_usage(default),
            responses: default.responses,
            call_ids: call_ids(default)?,
            secrets: default_lane.headers.secrets(),
            settings: VariantSettings {
                ollama: OllamaSettings {
                    pins: ollama::pins(checked, default),
                    ..OllamaSettings::default()
                },
                ..VariantSettings::default()
            },
            ..Target::untouched(provider(default)?)
        },
        model_place: None,
        warm: false,
        prefill: provider(default)?.prefill,
        prompt: None,
        price: Arc::new(prices::by_model(default, &prices, materials.now)),
        upstream: default_lane,
    });
    let snapshot = use_cases::snapshot(materials)?;
    let use_cases = use_cases::lanes(materials, &snapshot, &purses)?;
    let labels = ArmLabels {
        use_case: NONE,
        arm: Arm::Default,
        variant: DEFAULT_VARIANT,
        upstream: default.name.as_str(),
    };
    let asked = |one: &Arc<_>| lanes.iter().any(|lane| Arc::ptr_eq(&lane.upstream, one));
    Ok(Live {
        unused: upstreams.iter().filter(|one| !asked(one)).cloned().collect(),
        routing_headers: cutover_ingress::routing(&snapshot),
        snapshot,
        resolved,
        drained,
        purses,
        lanes: lanes.into(),
        use_cases: use_cases.into(),
        default_metrics: ArmMetrics::new(materials.registry, &labels),
        surface: surface::lane(checked, &upstreams)?,
        images: images(checked)?,
        limits: limits(materials),
        keys: materials.keys.clone(),
        models: models(checked).into(),
        default_is_listed: !default.models.is_empty(),
        default_models: known_models(default)?,
        config_digest: checked.digest(),
        loaded_at: materials.now,
    })
}

fn limits(materials: &Materials<'_>) -> Limits {
    let checked = materials.checked;
    let memory = usize::try_from(checked.server.body_memory_bytes).unwrap_or(usize::MAX);
    let room = materials.previous.map(|known| known.limits.body.room.resized(memory));
    Limits {
        body: BodyLimits {
            bytes_max: usize::try_from(checked.server.body_limit_bytes).unwrap_or(usize::MAX),
            timeout: checked.server.body_timeout,
            room: room.unwrap_or_else(|| Room::new(memory)),
        },
        ping_interval: checked.server.keep_alive_interval,
        slow: checked.log.slow,
        access_log: checked.log.access,
        upstream_messages: checked.log.upstream_messages,
    }
}

/// The names that may go to the default upstream, where it would answer any name with the one model it
/// has and the configuration says which models there are.
fn known_models(default: &cutover_config::Upstream) -> Result<Option<Arc<[String]>>, BuildError> {
    let ours_to_say = provider(default)?.quirks.ignores_model_name && !default.models.is_empty();
    Ok(ours_to_say.then(|| default.models.clone().into()))
}

fn models(checked: &Checked) -> Vec<ModelEntry> {
    let by_use_case = checked.use_cases.iter().filter_map(|use_case| {
        let id = use_case.matches.model.clone()?;
        Some(ModelEntry { id, owned_by: format!("{USE_CASE}{}", use_case.name) })
    });
    let default = checked.default_upstream();
    let listed = default
        .models
        .iter()
        .map(|id| ModelEntry { id: id.clone(), owned_by: default.name.to_string() });
    let mut models: Vec<ModelEntry> = Vec::new();
    for entry in by_use_case.chain(listed) {
        if models.iter().all(|known| known.id != entry.id) {
            models.push(entry);
        }
    }
    models
}

fn provider(
    upstream: &cutover_config::Upstream,
) -> Result<&'static cutover_wire::Provider, BuildError> {
    let name = upstream.provider.name;
    cutover_wire::Provider::by_name(name)
        .ok_or_else(|| wrong(format!("upstreams.{}.provider", upstream.name), "unknown provider"))
}

fn upstream_lane(
    materials: &Materials<'_>,
    upstream: &cutover_config::Upstream,
    known: (&instances::Carried, &Resolved),
) -> Result<UpstreamLane, BuildError> {
    let name = upstream.name.as_str();
    let rules = RequestRules {
        vendor: match (upstream.provider.name, upstream.provider.dialect) {
            ("openai", _) => Vendor::OpenAi,
            (_, Dialect::Anthropic) => Vendor::Anthropic,
            _ => Vendor::Other,
        },
        trace: upstream.local,
    };
    let own = own_headers(materials, upstream)?;
    let (instances, mold) = instances::instances(materials, upstream, known)?;
    let before = materials.previous.map(Live::all_upstreams).unwrap_or_default();
    let before = before.iter().find(|known| known.name == upstream.name).map(|known| &**known);
    let asked_models = instances::asked_models(materials.checked, upstream, before);
    if before.is_some_and(|known| known.asked_models != asked_models) {
        for lane in &instances {
            lane.health.is_asked_for(&asked_models);
        }
    }
    Ok(UpstreamLane {
        name: upstream.name.clone(),
        header: header_value(name)?,
        provider: provider(upstream)?,
        local: upstream.local,
        own: upstream.local || upstream.instances.iter().all(|url| url.reach() != Reach::Public),
        lineup: lineup(&instances),
        instances,
        mold,
        balance: upstream.balance,
        turn: Arc::new(AtomicU32::new(0)),
        lacking: before.map_or_else(Arc::default, |known| Arc::clone(&known.lacking)),
        probing: upstream.probing.map(|probing| Probing {
            pages: upstream.provider.probes,
            every: probing.every,
            limits: health::Limits { waiting: probing.waiting_limit, ..health::Limits::default() },
        }),
        gauges: gauges(&asked_models, before.map(|it| (&*it.asked_models, &*it.gauges))),
        door: doors::door(materials, upstream, before),
        asked_models,
        pins: ollama::pins(materials.checked, upstream),
        headers: RequestHeaders::new(rules, own),
        pass_bearer: upstream.key == UpstreamKey::Client,
        clients_key: ClientsKey::new(
            key_form(provider(upstream)?.auth),
            upstream.instances.first().map_or("", cutover_config::BaseUrl::host),
        ),
        retry: instances::retry(upstream, before),
        timeouts: Timeouts {
            connect: upstream.timeouts.connect,
            first_byte: upstream.timeouts.first_byte,
            first_token: upstream.timeouts.first_token,
            idle: upstream.timeouts.idle,
            total: upstream.timeouts.total,
        },
        cancel_on_disconnect: upstream.cancel_on_disconnect,
        image_urls: upstream.image_urls,
        answer_bytes_max: usize::try_from(upstream.answer_limit_bytes).unwrap_or(usize::MAX),
        event_bytes_max: usize::try_from(upstream.event_limit_bytes).unwrap_or(usize::MAX),
    })
}

fn key_form(auth: Auth) -> KeyForm {
    match auth {
        Auth::None => KeyForm::None,
        Auth::Bearer => KeyForm::Bearer,
        Auth::OptionalBearer => KeyForm::BearerOrApiKey,
        Auth::ApiKey => KeyForm::Anthropic,
        Auth::GoogleKey => KeyForm::Google,
    }
}

/// How a key is shown to a provider.
fn key_header(auth: Auth, secret: &str) -> Option<(HeaderName, String)> {
    match auth {
        Auth::None => None,
        Auth::ApiKey => Some((X_API_KEY, secret.to_owned())),
        Auth::GoogleKey => Some((X_GOOG_API_KEY, secret.to_owned())),
        Auth::Bearer | Auth::OptionalBearer => {
            Some((header::AUTHORIZATION, format!("Bearer {secret}")))
        }
    }
}

/// Our key and the static extra headers.
fn own_headers(
    materials: &Materials<'_>,
    upstream: &cutover_config::Upstream,
) -> Result<Vec<(HeaderName, HeaderValue)>, BuildError> {
    let name = &upstream.name;
    let mut own = Vec::new();
    let secret = |key: &str, reference: &SecretRef| {
        let key = format!("upstreams.{name}.{key}");
        materials.surroundings.secret(reference).map_err(|why| wrong(key, why))
    };
    if let UpstreamKey::Secret(reference) = &upstream.key
        && let Some(secret) = secret("key", reference)?
        && let Some((header, value)) = key_header(provider(upstream)?.auth, &secret)
    {
        let key = format!("upstreams.{name}.key");
        own.push((header, sensitive(&key, &value)?));
    }
    if provider(upstream)?.dialect == Dialect::Anthropic {
        let (name, version) = anthropic::VERSION;
        own.push((HeaderName::from_static(name), HeaderValue::from_static(version)));
    }
    for (header, value) in &upstream.headers {
        let key = format!("upstreams.{name}.headers.{header}");
        let value = match value {
            ConfiguredValue::Text(text) => Some(text.clone()),
            ConfiguredValue::Secret(reference) => secret(&format!("headers.{header}"), reference)?,
        };
        let header =
            HeaderName::try_from(header.as_str()).map_err(|_| wrong(&key, "not a header name"))?;
        if let Some(value) = value {
            own.push((header, sensitive(&key, &value)?));
        }
    }
    Ok(own)
}

fn sensitive(key: &str, text: &str) -> Result<HeaderValue, BuildError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| wrong(key, "the secret holds a character that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Names are checked to be printable ASCII; this cannot fail for them.
fn header_value(text: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_str(text).map_err(|_| wrong(text, "cannot stand in a header"))
}

fn lane(
    materials: &Materials<'_>,
    variant: &cutover_config::Variant,
    (configured, upstream, prices): (&cutover_config::Upstream, Arc<UpstreamLane>, &Arc<PriceList>),
) -> Result<Lane, BuildError> {
    let name = &variant.name;
    let system_prompt = match &variant.system_prompt {
        None => None,
        Some(SystemPrompt::Text(text)) => Some(text.to_string()),
        Some(SystemPrompt::File(path)) => {
            let key = format!("variants.{name}.system_prompt");
            let bytes = materials.surroundings.file(path).map_err(|why| wrong(&key, why))?;
            Some(String::from_utf8(bytes).map_err(|_| wrong(&key, "the file is not UTF-8"))?)
        }
    };
    Ok(Lane {
        variant: header_value(name.as_str())?,
        warm: variant.warm,
        prefill: prefill(variant, provider(configured)?),
        model_place: models::place_of(&upstream.asked_models, &variant.model),
        target: Target {
            provider: provider(configured)?,
            model: Some(Arc::clone(&variant.model)),
            unsupported: match variant.unsupported {
                cutover_config::Unsupported::Strict => Unsupported::Strict,
                cutover_config::Unsupported::Lenient => Unsupported::Lenient,
            },
            stream_usage: stream_usage(configured),
            responses: configured.responses,
            call_ids: call_ids(configured)?,
            mint: true,
            secrets: upstream.headers.secrets(),
            capabilities: Capabilities { tools: variant.tools, images: variant.images },
            settings: VariantSettings {
                framing: framing(&variant.adaptation, system_prompt),
                structured: variant.adaptation.structured.map(structured),
                stop: variant.adaptation.stop.clone(),
                temperature: variant.temperature,
                top_p: variant.top_p,
                max_tokens: variant.max_tokens.map(u64::from),
                seed: variant.seed,
                ollama: ollama::settings(materials.checked, variant),
            },
        },
        prompt: LanePrompt::of(&variant.adaptation),
        price: Arc::new(prices::of_variant(variant, (configured, prices), materials.now)),
        upstream,
    })
}

/// How a variant's model is given the beginning of an answer: what the operator says of the model beats
/// what is known of the provider.
fn prefill(variant: &cutover_config::Variant, provider: &cutover_wire::Provider) -> Prefill {
    match (variant.prefill, provider.prefill) {
        (Some(true), Prefill::None) => Prefill::LastMessage,
        (Some(false), _) => Prefill::None,
        (_, known) => known,
    }
}

fn stream_usage(upstream: &cutover_config::Upstream) -> StreamUsage {
    match upstream.stream_usage {
        cutover_config::StreamUsage::Ask => StreamUsage::Ask,
        cutover_config::StreamUsage::Never => StreamUsage::Never,
    }
}

/// The ids of calls that are taken at an upstream's address. Of several instances it is the first that tells.
fn call_ids(upstream: &cutover_config::Upstream) -> Result<CallIds, BuildError> {
    let host = upstream.instances.first().map_or("", cutover_config::BaseUrl::host);
    Ok(provider(upstream)?.call_ids_at(host))
}
