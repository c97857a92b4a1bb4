//! What a config file says of rollouts and webhooks, as the controller takes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use cutover_config::{Checked, FileProblem, KeepTexts, UseCase};
use cutover_control::rollouts::{Plan, ReadSpec, Scoring, Webhook};
use cutover_control::{Spec, Url};
use cutover_evals::ScorerSpec;
use cutover_gateway::build::{BuildError, Surroundings};
use cutover_store::Keep;
use cutover_units::{Millis, UseCaseName};

use crate::env;
use crate::surroundings::{EngineChoice, Outside};

fn reader(outside: &Outside) -> impl Fn(&Path) -> Result<String, String> + '_ {
    |path| outside.text(path).map_err(|why| why.to_string())
}

/// What is wrong with a file is told as all that is wrong with a key.
fn unusable(problem: FileProblem) -> BuildError {
    let why = format!("{} {}", problem.path.display(), problem.why);
    BuildError { key: problem.key, why: why.trim_start().to_owned() }
}

/// A use case's scorer with the documents that it reads.
pub(crate) fn scorer(
    (checked, at): (&Checked, usize),
    outside: &Outside,
) -> Result<Option<ScorerSpec>, BuildError> {
    checked.scorer_spec(at, &reader(outside)).map_err(unusable)
}

/// The use cases of a config file, as the controller knows them. The files that it names are read.
pub(crate) fn use_cases(checked: &Checked, outside: &Outside) -> Result<Vec<Spec>, BuildError> {
    let variant = |at: usize| checked.variants[at].name.clone();
    // Without the path: the same server may move its API, or speak TLS from now on.
    let addresses = |at: usize| {
        let instances = &checked.upstreams[checked.variants[at].upstream].instances;
        instances.iter().map(|url| format!("{}:{}", url.host(), url.port())).collect()
    };
    let read = reader(outside);
    let specs = checked.use_cases.iter().map(|use_case| {
        // Of a prompt that is not known nobody can tell whether it is the one whose share is stored.
        let known = |at: &usize| !checked.variants[*at].adaptation.awaits();
        let candidate = use_case.candidate.filter(known);
        let identity = candidate.map(|at| checked.identity(at, &read)).transpose();
        let identity = identity.map_err(unusable)?;
        Ok(Spec {
            name: use_case.name.clone(),
            baseline: variant(use_case.baseline),
            candidate: use_case.candidate.map(variant),
            candidate_digest: identity.map(|identity| identity.digest).unwrap_or_default(),
            candidate_addresses: use_case.candidate.map(addresses).unwrap_or_default(),
            weight: use_case.weight,
        })
    });
    specs.collect()
}

/// The use cases whose rollout cannot be told, because a prompt of theirs is not known.
pub(crate) fn untold(checked: &Checked) -> BTreeSet<UseCaseName> {
    let untold = checked.use_cases.iter().filter(|use_case| checked.awaits_prompt(use_case));
    untold.map(|use_case| use_case.name.clone()).collect()
}

/// The rollouts of a config file, but for those that cannot be told. The files that it names are read.
pub(crate) fn plans(checked: &Checked, outside: &Outside) -> Result<Vec<Plan>, BuildError> {
    let read = reader(outside);
    let mut plans = Vec::new();
    for (at, use_case) in checked.use_cases.iter().enumerate() {
        if checked.awaits_prompt(use_case) {
            continue;
        }
        let spec = checked.rollout_spec(at, &read).map_err(unusable)?;
        let Some(spec) = spec else { continue };
        let scorer = scorer((checked, at), outside)?;
        plans.push(Plan { spec, scoring: Scoring { scorer, ..scoring(use_case) } });
    }
    Ok(plans)
}

/// How pairs are scored, but for the scorer itself.
fn scoring(use_case: &UseCase) -> Scoring {
    let usual = Scoring {
        local_only: use_case.local_only,
        keep: match use_case.shadow.keep {
            KeepTexts::Text => Keep::Text,
            KeepTexts::Redacted => Keep::Redacted,
            KeepTexts::None => Keep::None,
        },
        retention: Some(millis(use_case.shadow.retention)),
        ..Scoring::default()
    };
    let Some(scorer) = &use_case.scorer else { return usual };
    // A program is allowed because the operator's own file names it; nothing else can.
    let command = scorer.options.get("command").and_then(|command| command.get(0));
    Scoring {
        concurrency: usize::try_from(scorer.concurrency).unwrap_or(usize::MAX),
        queue: usize::try_from(scorer.queue).unwrap_or(usize::MAX),
        timeout: scorer.timeout,
        budget_per_day: scorer.budget_per_day,
        programs: command
            .and_then(|program| program.as_str())
            .map(str::to_owned)
            .into_iter()
            .collect(),
        ..usual
    }
}

fn millis(span: std::time::Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// The webhooks of a config file, with their secrets.
pub(crate) fn webhooks(checked: &Checked, outside: &Outside) -> Result<Vec<Webhook>, BuildError> {
    let webhooks = checked.webhooks.iter().map(|webhook| {
        let wrong =
            |key: &str, why| BuildError { key: format!("webhooks.{}.{key}", webhook.name), why };
        let secret = webhook.secret.as_ref().map(|reference| outside.secret(reference));
        Ok(Webhook {
            name: webhook.name.clone(),
            url: Url::parse(&webhook.url).map_err(|why| wrong("url", why))?,
            secret: secret.transpose().map_err(|why| wrong("secret", why))?.flatten(),
            timeout: webhook.timeout,
            give_up: webhook.give_up,
            events: webhook.events.clone(),
        })
    });
    webhooks.collect()
}

/// Reads specs from texts that are sent to be tried out.
pub(crate) fn spec_reader(base: &Path) -> ReadSpec {
    let base = base.to_owned();
    Arc::new(move |text, use_case| -> Result<cutover_rollout::Spec, Vec<String>> {
        let checked = cutover_config::check(text, "the sent config", &|name| env::any(name));
        let checked = checked
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let outside = Outside::new(&base, EngineChoice::Name);
        let plans = plans(&checked, &outside).map_err(|problem| vec![problem.to_string()])?;
        let plan = plans.into_iter().find(|plan| plan.spec.use_case == *use_case);
        plan.map(|plan| plan.spec)
            .ok_or_else(|| vec![format!("the sent config has no rollout for {use_case}")])
    })
}
