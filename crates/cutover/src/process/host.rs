//! What the controller and the admin API ask of the running process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cutover_control::api::instances::NameStatus;
use cutover_control::api::models::{ManageModels, ModelsJob};
use cutover_control::api::{
    ConfigStatus, EngineStatus, ExplainRequest, Explanation, Failure, InstanceStatus, Ready,
    Refused, Reloaded,
};
use cutover_control::{Host, Publisher, Traffic, Weights};
use cutover_gateway::Live;
use cutover_gateway::build::{self, Materials};
use cutover_prompts::Book;
use cutover_store::{Drain, Keys, SetDrain};
use cutover_telemetry::{Outcome, Registry, events, families};
use cutover_units::{Arm, UpstreamName, UseCaseName, WeightBp};
use cutover_wire::probe::Facts;

use super::{Process, Ring, lock};
use crate::surroundings::{EngineChoice, Outside};
use crate::{clock, doorkeys, explain, instances, managed};

/// A handle that the controller and the admin API share.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<Process>);

impl Publisher for Handle {
    fn publish(&self, weights: &Weights) {
        let Some(gateway) = self.0.gateway.get() else { return };
        gateway.set_traffic(&|use_case| {
            let unknown = Traffic { weight: use_case.weight, shadow: WeightBp::NONE };
            weights.get(&use_case.name).copied().unwrap_or(unknown)
        });
    }
}

pub(crate) fn engine_status(facts: &Facts) -> EngineStatus {
    let models = facts.loaded.as_ref().map(|loaded| {
        loaded.iter().map(|model| (model.name.clone(), model.context_length)).collect()
    });
    EngineStatus {
        version: facts.version.clone(),
        waiting: facts.waiting,
        running: facts.running,
        slots: facts.slots,
        cache_permille: facts.cache_permille,
        models,
    }
}

impl Host for Handle {
    fn ready(&self) -> Ready {
        let process = &self.0;
        let mut waiting_for = process.engines.waiting_for();
        if process.draining.load(std::sync::atomic::Ordering::Relaxed) {
            waiting_for.push("shutting down".to_owned());
        }
        match process.gateway.get() {
            None => waiting_for.push("the gateway".to_owned()),
            Some(gateway) => waiting_for.extend(gateway.live().unserved(clock::now())),
        }
        let mut degraded: Vec<_> =
            lock(&process.database).iter().map(|why| format!("state: {why}")).collect();
        let awaited = process.gateway.get().map(|gateway| gateway.live().awaited_prompts());
        for (prompt, serves) in awaited.unwrap_or_default() {
            if serves {
                waiting_for.push(prompt);
            } else {
                degraded.push(format!("unknown: {prompt}"));
            }
        }
        degraded.extend(lock(&process.prompts).unfit.iter().map(|why| format!("prompts: {why}")));
        if let Some(gateway) = process.gateway.get() {
            let (shut, keyless) = doorkeys::state(gateway.live().keys.as_deref());
            waiting_for.extend(shut);
            degraded.extend(keyless);
        }
        Ready { ready: waiting_for.is_empty(), waiting_for, degraded }
    }

    fn manage_models(&self, upstream: &str, order: &ManageModels) -> Result<ModelsJob, Failure> {
        managed::begin(self.0.gateway.get(), upstream, order)
    }

    fn models_job(&self, id: u64) -> Option<ModelsJob> {
        self.0.gateway.get()?.job(id).map(|job| managed::status(&job))
    }

    fn config(&self) -> ConfigStatus {
        lock(&self.0.status).clone()
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        lock(&self.0.watched).clone()
    }

    fn instances(&self) -> Vec<InstanceStatus> {
        let Some(gateway) = self.0.gateway.get() else { return Vec::new() };
        instances::statuses(gateway, &self.drains())
    }

    fn names(&self) -> Vec<NameStatus> {
        self.0.gateway.get().map(instances::names).unwrap_or_default()
    }

    fn find_instance(&self, text: &str) -> Result<(UpstreamName, String), Failure> {
        let starting = || Failure {
            code: "starting".to_owned(),
            message: "the process is still starting".to_owned(),
            hint: None,
        };
        let gateway = self.0.gateway.get().ok_or_else(starting)?;
        instances::find(gateway, &self.drains(), text)
    }

    fn drains(&self) -> Vec<Drain> {
        lock(&self.0.drains).all()
    }

    fn drain(&self, set: &SetDrain) {
        let mut drains = lock(&self.0.drains);
        drains.order(set);
        if let Some(gateway) = self.0.gateway.get() {
            gateway.drain(&set.drain.upstream, &set.drain.address, set.out);
        }
    }

    fn wants_drains(&self) -> bool {
        lock(&self.0.drains).are_unread()
    }

    fn take_drains(&self, stored: Vec<Drain>) {
        let mut drains = lock(&self.0.drains);
        drains.take(stored);
        if let Some(gateway) = self.0.gateway.get() {
            let all = drains.all().into_iter();
            gateway.set_drained(all.map(|drain| (drain.upstream, drain.address)));
        }
    }

    fn served(&self) -> BTreeMap<UseCaseName, BTreeMap<String, u64>> {
        let Some(gateway) = self.0.gateway.get() else { return BTreeMap::new() };
        let live = gateway.live();
        let count = |use_case: &str, arm: Arm, variant: &str, upstream: &str| -> u64 {
            let of = |outcome: Outcome| {
                let labels = [use_case, arm.as_str(), variant, upstream, outcome.as_str()];
                self.0.registry.counter(families::REQUESTS, labels).get()
            };
            Outcome::ALL.into_iter().map(of).sum()
        };
        let use_cases = live.snapshot.use_cases().iter().map(|use_case| {
            let arms =
                [(Arm::Baseline, Some(use_case.baseline)), (Arm::Candidate, use_case.candidate)];
            let served = arms.into_iter().filter_map(|(arm, at)| {
                let variant = live.snapshot.variants().get(usize::from(at?.0))?;
                let (name, upstream) = (variant.name.as_str(), variant.upstream.as_str());
                Some((arm.to_string(), count(use_case.name.as_str(), arm, name, upstream)))
            });
            (use_case.name.clone(), served.collect())
        });
        use_cases.collect()
    }

    fn take_keys(&self, keys: Keys) {
        let ring = Ring::new(keys);
        let mut held = lock(&self.0.ring);
        if held.as_ref().is_some_and(|held| held.seen == ring.seen) {
            return;
        }
        if held.is_none() {
            tracing::info!("the client keys can be read");
        }
        let fresh = ring.keys.clone();
        *held = Some(ring);
        drop(held);
        let (Some(gateway), Some(controller)) = (self.0.gateway.get(), self.0.controller.get())
        else {
            return;
        };
        controller.undisturbed(|_| {
            let live = gateway.live();
            if live.keys.is_some() {
                gateway.publish(Live { keys: Some(fresh), ..Live::clone(&live) });
            }
        });
    }

    fn try_prompts(&self, prompts: &Book) -> Result<(), String> {
        lock(&self.0.in_force).refitted(prompts).map(|_| ())
    }

    fn wants_prompts(&self) -> bool {
        lock(&self.0.prompts).unread
    }

    fn take_prompts(&self, prompts: Book) -> Result<Vec<String>, String> {
        self.0.take_prompts(prompts)
    }

    fn reload(&self) -> Reloaded {
        let process = &self.0;
        let path = process.source.name();
        match process.take_file() {
            Ok(warnings) => {
                let digest = lock(&process.status).digest.clone();
                events::ConfigReloaded { path: &path, digest: &digest, at: clock::now() }
                    .emit(&process.registry);
                for warning in &warnings {
                    tracing::warn!(warning = warning.as_str(), "config");
                }
                Reloaded { loaded: true, problems: Vec::new(), warnings }
            }
            Err(problems) => {
                let first = problems.first().map(String::as_str).unwrap_or_default();
                events::ConfigRefused { path: &path, problems: problems.len(), first }
                    .emit(&process.registry);
                for problem in &problems {
                    tracing::error!(problem = problem.as_str(), "config");
                }
                lock(&process.status).refused =
                    Some(Refused { at: clock::now(), problems: problems.clone() });
                Reloaded { loaded: false, problems, warnings: Vec::new() }
            }
        }
    }

    fn explain(&self, request: &ExplainRequest) -> Result<Explanation, Failure> {
        let process = &self.0;
        let failed =
            |code: &str, message: String| Failure { code: code.to_owned(), message, hint: None };
        let (Some(gateway), Some(controller)) = (process.gateway.get(), process.controller.get())
        else {
            return Err(failed("starting", "the process is still starting".to_owned()));
        };
        // A picture of its own, so that what is asked counts nowhere.
        let checked = lock(&process.in_force).checked.clone();
        let outside = Outside::new(&process.source.base, EngineChoice::Name).lenient();
        let live = build::live(&Materials {
            checked: &checked,
            surroundings: &outside.with_weights(controller.weights()),
            keys: gateway.live().keys.clone(),
            registry: &Registry::new(),
            previous: None,
            now: clock::now(),
        });
        let live = live.map_err(|error| failed("invalid_config", error.to_string()))?;
        let explaining = async { explain::explain(&explain::scratch(live), request).await };
        // Off the runtime's workers, as the caller promises.
        tokio::runtime::Handle::try_current()
            .map_err(|error| failed("starting", error.to_string()))?
            .block_on(explaining)
    }
}
