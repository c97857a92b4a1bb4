//! Which weight each use case has, and why: a pure merge of what three sources say.
//!
//! ```text
//!   config file: initial weight  <  state database: last change  <  overrides directory
//! ```
//!
//! Invariants:
//! - an overridden use case has the override's weight (zero for a rollback), whatever the other
//!   sources say; one that was rolled back in the database has weight zero;
//! - while the database or the overrides cannot be read, every candidate has weight zero: the last
//!   change may have been a rollback, and the baseline is what served before cutover came;
//! - a use case without candidate has weight zero;
//! - a share is its candidate's, whether it was proved or set by hand: another candidate (another digest
//!   of what makes its answers) has none until somebody gives it one. It is so from the moment at which it
//!   comes into force, stored or not;
//! - a candidate whose prompt is not known has weight zero, and nothing is stored as its own;
//! - a candidate that may not serve is not shown copies either;
//! - a use case that a rollout moves takes no weight from anybody else, but always a rollback.

mod owners;

use std::collections::BTreeMap;

use cutover_route::Traffic;
use cutover_store::{Override, Overrides, UseCaseState};
use cutover_units::{Generation, UseCaseName, VariantName, WeightBp};

use crate::api::{Origin, SetWeight, UseCaseStatus};

pub use owners::Unclaimed;

/// The traffic to publish.
pub type Weights = BTreeMap<UseCaseName, Traffic>;

/// A use case that a rollout moves: nobody else does meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The share of requests that is shadowed now.
    pub shadow: WeightBp,
    /// What the rollout is doing, in a word.
    pub phase: &'static str,
}

/// Who set a weight that is the config file's.
pub const FILE_ACTOR: &str = "config file";

/// A use case as the config file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The name.
    pub name: UseCaseName,
    /// The variant that serves today.
    pub baseline: VariantName,
    /// The variant that shall take over.
    pub candidate: Option<VariantName>,
    /// The digest of what makes the candidate's answers. Empty: it is not known, because a prompt is not.
    pub candidate_digest: String,
    /// Where the candidate answers, as `host:port`; none: in this process.
    pub candidate_addresses: Vec<String>,
    /// The initial weight.
    pub weight: WeightBp,
}

impl Spec {
    /// Whether its candidate's prompt is not known.
    fn awaits_prompt(&self) -> bool {
        self.candidate.is_some() && self.candidate_digest.is_empty()
    }
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The config file has no such use case.
    #[error("there is no use case {name:?}")]
    UnknownUseCase {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// There is nothing to move traffic to.
    #[error("use case {0} has no candidate")]
    NoCandidate(UseCaseName),
    /// It was rolled back, and the caller does not say that it knows.
    #[error("use case {name} was rolled back by {actor}{}", reason_suffix(reason))]
    RolledBack {
        /// The use case.
        name: UseCaseName,
        /// Who rolled it back.
        actor: String,
        /// Why.
        reason: String,
    },
    /// A rollout moves it.
    #[error("use case {name} is moved by its rollout, which is {phase}")]
    UnderRollout {
        /// The use case.
        name: UseCaseName,
        /// What the rollout is doing.
        phase: &'static str,
    },
    /// Another change came first.
    #[error("use case {name} has generation {found}, not {expected}: another change came first")]
    Conflict {
        /// The use case.
        name: UseCaseName,
        /// The generation the caller saw.
        expected: Generation,
        /// The one there is.
        found: Generation,
    },
    /// The state database does not take the change.
    #[error("the state database cannot be used: {0}")]
    Database(String),
    /// The overrides directory may still hold a rollback.
    #[error("the overrides cannot be used: {0}")]
    Overrides(String),
}

fn reason_suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// All use cases with what the three sources say of them.
#[derive(Debug, Clone)]
pub struct Book {
    specs: BTreeMap<UseCaseName, Spec>,
    /// None: the database could not be read.
    states: Option<BTreeMap<UseCaseName, UseCaseState>>,
    overrides: BTreeMap<UseCaseName, Override>,
    /// The overrides could not be listed: any use case may be rolled back.
    all_held: bool,
    /// Use cases that a rollout moves.
    claims: BTreeMap<UseCaseName, Claim>,
    /// Shares that are in force, or were last, and not stored like this yet.
    noted: BTreeMap<UseCaseName, Unclaimed>,
}

impl Book {
    /// A book of these use cases, with neither source read: every weight is zero.
    pub fn new(specs: Vec<Spec>) -> Self {
        let mut book = Self {
            specs: BTreeMap::new(),
            states: None,
            overrides: BTreeMap::new(),
            all_held: false,
            claims: BTreeMap::new(),
            noted: BTreeMap::new(),
        };
        book.set_specs(specs);
        book
    }

    /// Takes the use cases of a new config file. What is known of others is kept: a use case that
    /// comes back finds its weight again.
    pub fn set_specs(&mut self, specs: Vec<Spec>) {
        self.specs = specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
    }

    /// Takes what the database says.
    pub fn set_states(&mut self, states: Vec<UseCaseState>) {
        self.states = Some(states.into_iter().map(|s| (s.use_case.clone(), s)).collect());
    }

    /// Whether the database has been read.
    pub fn has_states(&self) -> bool {
        self.states.is_some()
    }

    /// Takes a committed change, unless a later one is known.
    pub fn commit(&mut self, state: UseCaseState) {
        // A rollback may be committed while the rest could not be read: that stays unknown.
        let Some(states) = &mut self.states else { return };
        let known = states.get(&state.use_case);
        if known.is_none_or(|known| known.generation < state.generation) {
            states.insert(state.use_case.clone(), state);
        }
    }

    /// Takes what the overrides directory says, and returns what is new in it. An override that has
    /// gone from the directory stays until it is lifted: nobody resumes traffic by accident.
    pub fn take_overrides(&mut self, found: &Overrides) -> Vec<(UseCaseName, Override)> {
        self.all_held = found.holds_all();
        let new: Vec<_> = found
            .iter()
            .filter(|(name, _)| !self.overrides.contains_key(*name))
            .map(|(name, held)| (name.clone(), held.clone()))
            .collect();
        self.overrides.extend(new.iter().cloned());
        new
    }

    /// Overrides a use case. The first rollback's reason stays.
    pub fn override_with(&mut self, name: &UseCaseName, held: Override) {
        self.overrides.entry(name.clone()).or_insert(held);
    }

    /// Takes what was found on disk in the place of what was known.
    pub fn renew_override(&mut self, name: &UseCaseName, found: &Override) {
        self.overrides.insert(name.clone(), found.clone());
    }

    /// Lifts an override, if it is still the one the caller saw.
    pub fn lift(&mut self, name: &UseCaseName, seen: &Override) -> bool {
        let same = self.overrides.get(name) == Some(seen);
        same && self.overrides.remove(name).is_some()
    }

    /// A use case's override.
    pub fn overridden(&self, name: &UseCaseName) -> Option<&Override> {
        self.overrides.get(name)
    }

    /// A rollout takes a use case, goes on with it, or (with none) lets go of it.
    pub fn claim(&mut self, name: &UseCaseName, claim: Option<Claim>) {
        match claim {
            Some(claim) => self.claims.insert(name.clone(), claim),
            None => self.claims.remove(name),
        };
    }

    /// The use case of a name.
    pub fn find(&self, name: &str) -> Result<&Spec, Refusal> {
        self.specs.get(name).ok_or_else(|| Refusal::UnknownUseCase {
            name: name.to_owned(),
            known: self.specs.keys().map(ToString::to_string).collect(),
        })
    }

    /// The generation of a use case's last committed change.
    pub fn generation(&self, name: &UseCaseName) -> Generation {
        self.state(name).map(|state| state.generation).unwrap_or_default()
    }

    /// Whether a new weight may be committed.
    pub fn admit(&self, name: &str, request: &SetWeight) -> Result<UseCaseName, Refusal> {
        let spec = self.find(name)?;
        let name = spec.name.clone();
        if spec.candidate.is_none() {
            return Err(Refusal::NoCandidate(name));
        }
        if let Some(claim) = self.claims.get(&name) {
            return Err(Refusal::UnderRollout { name, phase: claim.phase });
        }
        if self.states.is_none() {
            return Err(Refusal::Database("the weights could not be read".to_owned()));
        }
        if spec.awaits_prompt() {
            return Err(Refusal::Database("its candidate's prompt is not known".to_owned()));
        }
        if self.all_held {
            return Err(Refusal::Overrides("the overrides cannot be read".to_owned()));
        }
        let found = self.generation(&name);
        if let Some(expected) = request.expected_generation.filter(|&e| e != found) {
            return Err(Refusal::Conflict { name, expected, found });
        }
        let resumes = request.after_rollback || request.weight == WeightBp::NONE;
        match self.rollback(&name) {
            Some((actor, reason)) if !resumes => Err(Refusal::RolledBack { name, actor, reason }),
            _ => Ok(name),
        }
    }

    /// The weights to publish.
    pub fn weights(&self) -> Weights {
        self.specs.values().map(|spec| (spec.name.clone(), self.traffic(spec))).collect()
    }

    fn traffic(&self, spec: &Spec) -> Traffic {
        let (weight, origin) = self.weight(spec);
        let may_be_seen =
            spec.candidate.is_some() && matches!(origin, Origin::Config | Origin::Operator);
        let claim = self.claims.get(&spec.name).filter(|_| may_be_seen);
        Traffic { weight, shadow: claim.map(|claim| claim.shadow).unwrap_or_default() }
    }

    /// All use cases as the status shows them.
    pub fn statuses(&self) -> Vec<UseCaseStatus> {
        self.specs.values().map(|spec| self.status(spec)).collect()
    }

    /// One use case as the status shows it.
    pub fn status(&self, spec: &Spec) -> UseCaseStatus {
        let (weight, origin) = self.weight(spec);
        let last = match (self.overrides.get(&spec.name), self.state(&spec.name)) {
            (Some(held), _) => Some((held.at, &held.actor, &held.reason)),
            (None, Some(state)) => Some((state.updated, &state.actor, &state.reason)),
            (None, None) => None,
        };
        UseCaseStatus {
            name: spec.name.clone(),
            baseline: spec.baseline.clone(),
            candidate: spec.candidate.clone(),
            weight,
            origin,
            generation: self.generation(&spec.name),
            updated: last.map(|(at, _, _)| at),
            actor: last.map(|(_, actor, _)| actor.clone()),
            reason: last.map(|(_, _, reason)| reason.clone()).filter(|r| !r.is_empty()),
            config_weight: spec.weight,
            served: BTreeMap::new(),
        }
    }

    fn state(&self, name: &UseCaseName) -> Option<&UseCaseState> {
        self.states.as_ref()?.get(name)
    }

    /// Who rolled a use case back and why, if it stands rolled back.
    pub fn rollback(&self, name: &UseCaseName) -> Option<(String, String)> {
        if let Some(held) = self.overrides.get(name) {
            return Some((held.actor.clone(), held.reason.clone()));
        }
        let state = self.state(name).filter(|state| state.rolled_back)?;
        Some((state.actor.clone(), state.reason.clone()))
    }

    /// Whether the database says that a use case stands rolled back.
    pub fn is_rolled_back(&self, name: &UseCaseName) -> bool {
        self.state(name).is_some_and(|state| state.rolled_back)
    }

    fn weight(&self, spec: &Spec) -> (WeightBp, Origin) {
        if spec.candidate.is_none() {
            return (WeightBp::NONE, Origin::Config);
        }
        if let Some(held) = self.overrides.get(&spec.name) {
            return (held.weight, Origin::Rollback);
        }
        if spec.awaits_prompt() {
            return (WeightBp::NONE, Origin::Unknown);
        }
        let Some(states) = self.states.as_ref().filter(|_| !self.all_held) else {
            return (WeightBp::NONE, Origin::Unknown);
        };
        match states.get(&spec.name) {
            Some(state) if state.rolled_back => (WeightBp::NONE, Origin::Rollback),
            _ if self.is_anothers(spec) => (WeightBp::NONE, Origin::Replaced),
            // Nobody has said anything but the file: it may go on to say it.
            Some(state) if state.actor == FILE_ACTOR => (spec.weight, Origin::Config),
            Some(state) => (state.weight, Origin::Operator),
            None => (spec.weight, Origin::Config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_units::Millis;
    use proptest::prelude::*;

    fn name() -> UseCaseName {
        UseCaseName::new("statements").unwrap()
    }

    fn spec(weight: u16) -> Spec {
        Spec {
            name: name(),
            baseline: VariantName::new("cloud").unwrap(),
            candidate: Some(VariantName::new("local").unwrap()),
            candidate_digest: "digest".into(),
            candidate_addresses: Vec::new(),
            weight: WeightBp::new(weight).unwrap(),
        }
    }

    fn state(weight: u16, rolled_back: bool) -> UseCaseState {
        UseCaseState {
            use_case: name(),
            weight: WeightBp::new(weight).unwrap(),
            generation: Generation(3),
            rolled_back,
            updated: Millis(5),
            actor: "ann".into(),
            reason: "why".into(),
            candidate: "digest".into(),
        }
    }

    fn rollback() -> Override {
        Override {
            weight: WeightBp::NONE,
            at: Millis(9),
            actor: "bob".into(),
            reason: "errors".into(),
        }
    }

    fn ask(weight: &str) -> SetWeight {
        SetWeight {
            weight: WeightBp::parse(weight).unwrap(),
            actor: "ann".into(),
            reason: String::new(),
            after_rollback: false,
            expected_generation: None,
        }
    }

    fn book(state: Option<UseCaseState>, overridden: bool) -> Book {
        let mut book = Book::new(vec![spec(1_000)]);
        book.set_states(state.into_iter().collect());
        if overridden {
            book.override_with(&name(), rollback());
        }
        book
    }

    fn shown(book: &Book) -> (String, Origin) {
        let status = book.statuses().remove(0);
        assert_eq!(book.weights()[&name()].weight, status.weight);
        (status.weight.to_string(), status.origin)
    }

    #[test]
    fn later_sources_win() {
        assert_eq!(shown(&book(None, false)), ("10%".into(), Origin::Config));
        assert_eq!(
            shown(&book(Some(state(2_500, false)), false)),
            ("25%".into(), Origin::Operator)
        );
        assert_eq!(shown(&book(Some(state(2_500, false)), true)), ("0%".into(), Origin::Rollback));
        assert_eq!(shown(&book(Some(state(0, true)), false)), ("0%".into(), Origin::Rollback));
    }

    /// It met the candidate before for the few milliseconds until somebody had looked, and without a
    /// rollout for ever.
    #[test]
    fn a_share_is_its_candidates_and_no_other_s() {
        let mut book = book(Some(state(7_500, false)), false);
        book.claim(&name(), Some(Claim { shadow: WeightBp::ALL, phase: "running" }));
        assert_eq!((shown(&book).0, book.left_behind().len()), ("75%".into(), 0));
        let other = Spec { candidate_digest: "other".into(), ..spec(10_000) };
        book.set_specs(vec![other]);
        assert_eq!(shown(&book), ("0%".into(), Origin::Replaced));
        assert_eq!(book.weights()[&name()], Traffic::default(), "it is shown no copies either");
        assert_eq!(book.left_behind()[0].1, WeightBp::new(7_500).unwrap());
        // Somebody gives it a share of its own.
        book.claim(&name(), None);
        assert!(book.admit("statements", &ask("5%")).is_ok());
        let own = UseCaseState {
            candidate: "other".into(),
            generation: Generation(4),
            ..state(500, false)
        };
        book.commit(own);
        assert_eq!(shown(&book), ("5%".into(), Origin::Operator));
        // Nobody knows whose share an older database holds: it stays.
        let old = UseCaseState {
            candidate: String::new(),
            generation: Generation(5),
            ..state(900, false)
        };
        book.commit(old);
        assert_eq!(shown(&book), ("9%".into(), Origin::Operator));
    }

    #[test]
    fn an_unreadable_database_means_baseline_only() {
        let mut book = Book::new(vec![spec(10_000)]);
        assert_eq!(shown(&book), ("0%".into(), Origin::Unknown));
        assert!(matches!(book.admit("statements", &ask("5%")), Err(Refusal::Database(_))));
        book.set_states(vec![state(2_500, false)]);
        assert_eq!(shown(&book), ("25%".into(), Origin::Operator));
    }

    /// What is stored as a candidate's share would be taken for another's once its prompt is known.
    #[test]
    fn a_candidate_whose_prompt_is_not_known_has_no_share_and_finds_its_own_again() {
        for stored in [None, Some(state(2_500, false))] {
            let mut book = book(stored.clone(), false);
            let known = shown(&book);
            book.set_specs(vec![Spec { candidate_digest: String::new(), ..spec(1_000) }]);
            book.put_into_force();
            assert_eq!(shown(&book), ("0%".into(), Origin::Unknown));
            assert!(book.unclaimed().is_empty() && book.left_behind().is_empty());
            assert!(matches!(book.admit("statements", &ask("5%")), Err(Refusal::Database(_))));
            book.set_specs(vec![spec(1_000)]);
            assert_eq!(shown(&book), known);
        }
    }

    #[test]
    fn what_is_noted_while_a_note_is_being_stored_is_kept() {
        let at = |addresses: &[&str]| Spec {
            candidate_addresses: addresses.iter().map(ToString::to_string).collect(),
            ..spec(1_000)
        };
        let mut book = book(None, false);
        book.set_specs(vec![at(&["a:1"])]);
        book.put_into_force();
        let storing = book.unclaimed().remove(0);
        assert!(storing.is_news && book.is_open(&storing));
        for addresses in [&["a:1", "b:1"][..], &["b:1"]] {
            book.set_specs(vec![at(addresses)]);
            assert_eq!(book.put_into_force()[&name()].weight.to_string(), "10%");
        }
        // It lands with the address that has left meanwhile.
        book.commit(UseCaseState {
            actor: FILE_ACTOR.into(),
            candidate: storing.candidate.clone(),
            generation: Generation(1),
            ..state(1_000, false)
        });
        book.note_stored(&storing, Generation(1));
        assert_eq!(shown(&book), ("10%".into(), Origin::Config));
        let next = book.unclaimed().remove(0);
        assert_eq!((next.candidate.as_str(), next.is_news), ("digest\nb:1", false));
        book.note_stored(&next, Generation(1));
        assert!(book.unclaimed().is_empty() && !book.is_open(&next));
        assert_eq!(shown(&book), ("10%".into(), Origin::Config));
    }

    #[test]
    fn a_note_gives_way_to_what_others_stored_and_to_a_rollback() {
        let mut book = book(None, false);
        book.put_into_force();
        assert_eq!(book.unclaimed().len(), 1);
        let mut held = book.clone();
        held.override_with(&name(), rollback());
        assert!(held.unclaimed().is_empty(), "it is stored as what it is");
        let theirs = UseCaseState { candidate: "another".into(), ..state(2_500, false) };
        book.commit(theirs);
        book.put_into_force();
        assert_eq!(shown(&book), ("0%".into(), Origin::Replaced));
        assert!(book.unclaimed().is_empty());
    }

    #[test]
    fn a_rolled_back_use_case_takes_a_weight_only_from_who_says_so() {
        for book in [book(None, true), book(Some(state(0, true)), false)] {
            assert!(matches!(
                book.admit("statements", &ask("5%")),
                Err(Refusal::RolledBack { .. })
            ));
            assert!(book.admit("statements", &ask("0%")).is_ok());
            let knowing = SetWeight { after_rollback: true, ..ask("5%") };
            assert!(book.admit("statements", &knowing).is_ok());
        }
    }

    #[test]
    fn the_loser_of_two_changes_is_told() {
        let book = book(Some(state(2_500, false)), false);
        let late = SetWeight { expected_generation: Some(Generation(2)), ..ask("5%") };
        assert!(matches!(book.admit("statements", &late), Err(Refusal::Conflict { .. })));
        let known = SetWeight { expected_generation: Some(Generation(3)), ..ask("5%") };
        assert!(book.admit("statements", &known).is_ok());
    }

    #[test]
    fn what_does_not_exist_is_refused_with_what_does() {
        let Err(Refusal::UnknownUseCase { known, .. }) = book(None, false).admit("x", &ask("5%"))
        else {
            panic!("an unknown use case was admitted")
        };
        assert_eq!(known, ["statements"]);
        let lonely = Spec { candidate: None, ..spec(5_000) };
        let mut book = Book::new(vec![lonely]);
        book.set_states(vec![]);
        assert!(matches!(book.admit("statements", &ask("5%")), Err(Refusal::NoCandidate(_))));
        assert_eq!(book.weights()[&name()], Traffic::default());
    }

    #[test]
    fn a_use_case_that_a_rollout_moves_takes_no_weight_from_others() {
        let mut book = book(Some(state(2_500, false)), false);
        book.claim(&name(), Some(Claim { shadow: WeightBp::NONE, phase: "paused" }));
        for weight in ["0%", "5%"] {
            assert!(matches!(
                book.admit("statements", &ask(weight)),
                Err(Refusal::UnderRollout { phase: "paused", .. })
            ));
        }
        book.claim(&name(), None);
        assert!(book.admit("statements", &ask("5%")).is_ok());
    }

    #[test]
    fn an_override_is_lifted_only_by_who_saw_it() {
        let mut book = book(None, true);
        book.override_with(&name(), Override { at: Millis(10), ..rollback() });
        assert!(!book.lift(&name(), &Override { at: Millis(10), ..rollback() }));
        assert!(book.lift(&name(), &rollback()));
        assert_eq!(shown(&book), ("10%".into(), Origin::Config));
    }

    #[test]
    fn a_use_case_that_leaves_the_file_and_comes_back_keeps_its_weight() {
        let mut book = book(Some(state(2_500, false)), false);
        book.set_specs(vec![]);
        assert!(book.weights().is_empty());
        book.set_specs(vec![spec(0)]);
        assert_eq!(shown(&book).0, "25%");
    }

    proptest! {
        #[test]
        fn a_rollback_in_any_source_means_zero(
            initial in 0u16..=10_000, stored in prop::option::of((0u16..=10_000, any::<bool>())),
            readable: bool, overridden: bool,
        ) {
            let mut book = Book::new(vec![spec(initial)]);
            if readable {
                book.set_states(stored.map(|(w, back)| state(w, back)).into_iter().collect());
            }
            if overridden {
                book.override_with(&name(), rollback());
            }
            book.claim(&name(), Some(Claim { shadow: WeightBp::ALL, phase: "running" }));
            let traffic = book.weights()[&name()];
            let rolled_back = overridden || readable && stored.is_some_and(|(_, back)| back);
            prop_assert!(!rolled_back || traffic == Traffic::default());
            prop_assert!(readable || traffic == Traffic::default());
            prop_assert!(rolled_back || !readable || traffic.shadow == WeightBp::ALL);
        }
    }
}
