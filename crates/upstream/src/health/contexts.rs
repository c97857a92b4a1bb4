//! Which models in memory would be read in anew for the requests that are sent: those that hold another context.
//!
//! An engine may give less than it is asked for (Ollama gives no more than a model was trained for). What it tells after
//! a request of ours had it read a model in is what it gives.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Acquire;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cutover_wire::probe::Facts;

use super::Health;

/// What an engine gives for what it is asked for.
#[derive(Debug, Default)]
pub(super) struct Contexts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Models that requests of ours had it read in since the last probe.
    fresh: HashSet<String>,
    /// By model: the tokens that were asked for, and what it has given instead.
    given: HashMap<String, (u32, u32)>,
}

impl Contexts {
    pub(super) fn has_read_in(&self, model: &str) {
        self.known().fresh.insert(model.to_owned());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    /// Marks those of the models that a probe has found which the next request would have read in anew. `asked`: the
    /// tokens of context that requests of each model ask for.
    pub fn compare_contexts(&self, facts: &mut Facts, asked: &[(String, u32)]) {
        // What the probe saw may be from before: the next one tells.
        if asked.is_empty() || self.was_shown.load(Acquire) {
            return;
        }
        let mut known = self.contexts.known();
        for model in facts.loaded.iter_mut().flatten() {
            let asked = asked.iter().find(|(name, _)| *name == model.name).map(|(_, asked)| *asked);
            let (Some(asked), Some(told)) = (asked, model.context_length) else { continue };
            if asked == told {
                // It gives what it is asked for: what it told otherwise was somebody else's.
                known.given.remove(&model.name);
            } else if known.fresh.contains(&model.name) {
                known.given.insert(model.name.clone(), (asked, told));
            }
            let given = known.given.get(&model.name) == Some(&(asked, told));
            model.reloads = asked != told && !given;
        }
        known.fresh.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cutover_route::health::Judged;
    use cutover_units::Millis;
    use cutover_wire::probe::Loaded;

    use super::*;
    use crate::health::Wanted;

    /// A probe finds the model with a context of so many tokens, and requests ask for so many.
    fn probe(health: &Health, told: u32, asked: u32) {
        let model =
            Loaded { name: "a:latest".to_owned(), context_length: Some(told), ..Loaded::default() };
        let mut facts = Facts { loaded: Some(vec![model]), ..Facts::default() };
        let models = ["a:latest".to_owned()];
        health.begin_probe();
        health.compare_contexts(&mut facts, &[(models[0].clone(), asked)]);
        health.probed((Judged::default(), Millis(0)), Some(facts), &models);
    }

    /// Whether it has the model, as all that ask by its place or by its name see it.
    fn has(health: &Health) -> bool {
        let all = [Wanted::Known(0), Wanted::Named("A")].map(|wanted| health.has(wanted));
        assert_eq!(all[0], all[1]);
        all[0]
    }

    #[test]
    fn a_model_with_another_context_is_not_what_is_asked_for() {
        let health = Arc::new(Health::default());
        probe(&health, 8_192, 8_192);
        assert!(has(&health));
        // A developer's `ollama run`, or a pin that was changed.
        probe(&health, 2_048, 8_192);
        assert!(!has(&health));
        health.reads_in("a", Some(0)).done();
        assert!(has(&health), "it was read in anew for a request of ours");
        probe(&health, 8_192, 8_192);
        assert!(has(&health));
        probe(&health, 8_192, 16_384);
        assert!(!has(&health));
        probe(&health, 2_048, 2_048);
        assert!(has(&health));
    }

    #[test]
    fn what_an_engine_gives_for_what_it_is_asked_for_is_learned_from_loads_of_our_own() {
        let health = Arc::new(Health::default());
        probe(&health, 4_096, 8_192);
        assert!(!has(&health));
        health.reads_in("a", Some(0)).done();
        probe(&health, 4_096, 8_192);
        assert!(has(&health), "it was trained for no more");
        probe(&health, 2_048, 8_192);
        assert!(!has(&health), "somebody else's");
        probe(&health, 4_096, 8_192);
        assert!(has(&health));
        probe(&health, 4_096, 5_000);
        assert!(!has(&health), "asked for so many it may give them");
        // A developer's request came right after a load of ours, and then ours again.
        probe(&health, 8_192, 8_192);
        probe(&health, 4_096, 8_192);
        assert!(!has(&health), "it gives what it is asked for");
    }

    #[test]
    fn a_probe_that_began_before_a_load_teaches_nothing() {
        let health = Arc::new(Health::default());
        probe(&health, 2_048, 8_192);
        let model = Loaded { context_length: Some(2_048), ..told() };
        let mut facts = Facts { loaded: Some(vec![model]), ..Facts::default() };
        health.begin_probe();
        health.reads_in("a", Some(0)).done();
        health.compare_contexts(&mut facts, &[("a:latest".to_owned(), 8_192)]);
        health.probed((Judged::default(), Millis(0)), Some(facts), &["a:latest".to_owned()]);
        assert!(has(&health));
        probe(&health, 8_192, 8_192);
        probe(&health, 2_048, 8_192);
        assert!(!has(&health));
    }

    fn told() -> Loaded {
        Loaded { name: "a:latest".to_owned(), ..Loaded::default() }
    }
}
