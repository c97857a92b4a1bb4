//! Whose share is in force: what is stored, and what is noted until it is.
//!
//! A share has an owner from the moment at which it comes into force. That is noted in memory at once and
//! stored as soon as the database takes it; until then it counts like what is stored. So neither a second
//! look at the config file nor a database that cannot be written hands a share to another candidate.
//!
//! Invariants:
//! - a note is of the generation that it was made over: what anybody stores later is newer than it;
//! - a note changes only while the share is in force, so whoever replaces the candidate leaves the note
//!   to the one before, and that one's share is what is stored.

use cutover_store::UseCaseState;
use cutover_units::{Generation, UseCaseName, WeightBp};

use super::{Book, Spec, Weights};
use crate::api::Origin;
use crate::owner::Owner;

/// A share in force, with its candidate, that is not stored like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclaimed {
    /// The use case.
    pub name: UseCaseName,
    /// Its share.
    pub weight: WeightBp,
    /// The candidate, as it is to be stored.
    pub candidate: String,
    /// The generation of what is stored.
    pub generation: Generation,
    /// Whether the share itself is not stored either.
    pub is_news: bool,
}

impl Book {
    /// Notes whose shares are in force now, and tells the weights to publish.
    pub fn put_into_force(&mut self) -> Weights {
        let fresh: Vec<_> = self.specs.values().filter_map(|spec| self.in_force(spec)).collect();
        for share in fresh {
            let stored = self.state(&share.name);
            let is_stored = stored.is_some_and(|state| {
                state.weight == share.weight && state.candidate == share.candidate
            });
            if is_stored {
                self.noted.remove(&share.name);
            } else {
                self.noted.insert(share.name.clone(), share);
            }
        }
        self.weights()
    }

    /// The share that a use case has in force and its owner; none where there is nothing to own.
    fn in_force(&self, spec: &Spec) -> Option<Unclaimed> {
        let (weight, origin) = self.weight(spec);
        let in_force = matches!(origin, Origin::Config | Origin::Operator);
        spec.candidate.as_ref().filter(|_| in_force)?;
        let stored = self.state(&spec.name);
        // 0% of a file that has never said more hands nothing on.
        let is_said =
            stored.is_some() || weight > WeightBp::NONE || self.note(&spec.name).is_some();
        is_said.then(|| Unclaimed {
            name: spec.name.clone(),
            weight,
            candidate: owner(spec).text(),
            generation: stored.map(|state| state.generation).unwrap_or_default(),
            is_news: stored.is_none_or(|state| state.weight != weight),
        })
    }

    /// What is noted of a use case, unless something newer is stored.
    fn note(&self, name: &UseCaseName) -> Option<&Unclaimed> {
        self.noted.get(name).filter(|noted| noted.generation == self.generation(name))
    }

    /// Whose share it is that a use case has, or would have.
    fn owner_in_force(&self, name: &UseCaseName) -> Option<Owner<'_>> {
        let noted = self.note(name).map(|noted| &noted.candidate);
        noted.or_else(|| self.state(name).map(|state| &state.candidate)).map(|of| Owner::parse(of))
    }

    /// Whether a use case's share is another candidate's than the one there is.
    pub(super) fn is_anothers(&self, spec: &Spec) -> bool {
        self.owner_in_force(&spec.name).is_some_and(|known| known.is_another_than(&owner(spec)))
    }

    /// A use case's candidate, as it is stored with its share.
    pub fn candidate(&self, name: &UseCaseName) -> String {
        self.specs.get(name).map(|spec| owner(spec).text()).unwrap_or_default()
    }

    /// The candidate with this digest, as it is stored with its share: with its addresses, if it is the
    /// config file's.
    pub fn owner_of(&self, name: &UseCaseName, digest: &str) -> String {
        let own = self.specs.get(name).filter(|spec| spec.candidate_digest == digest);
        own.map_or_else(|| digest.to_owned(), |spec| owner(spec).text())
    }

    /// Whose share it is, if it is another candidate's than the one with this digest.
    pub fn is_another_than(&self, name: &UseCaseName, digest: &str) -> bool {
        let now = self.owner_of(name, digest);
        self.owner_in_force(name).is_some_and(|known| known.is_another_than(&Owner::parse(&now)))
    }

    /// Whether the candidate whose share it is answers elsewhere now, and only there.
    pub fn has_moved(&self, name: &UseCaseName) -> bool {
        let now = self.candidate(name);
        self.owner_in_force(name).is_some_and(|known| known.has_moved(&Owner::parse(&now)))
    }

    /// Shares that are noted and not stored like this: the config file's while nobody has set another,
    /// and those of a candidate that has got or lost an instance. Also such as another candidate stands
    /// in the way of by now: it must find them after a restart, too.
    pub fn unclaimed(&self) -> Vec<Unclaimed> {
        let open = self.noted.values().filter(|noted| self.is_open(noted));
        open.cloned().collect()
    }

    /// Whether something is noted still as it was, and is to be stored. What is rolled back is stored as that.
    pub fn is_open(&self, noted: &Unclaimed) -> bool {
        self.has_states()
            && self.note(&noted.name) == Some(noted)
            && self.rollback(&noted.name).is_none()
    }

    /// Takes what was stored of a note. What was noted meanwhile is of that generation then.
    pub fn note_stored(&mut self, of: &Unclaimed, generation: Generation) {
        let state = self.states.as_mut().and_then(|states| states.get_mut(&of.name));
        if let Some(state) = state.filter(|state| state.generation == generation) {
            state.candidate.clone_from(&of.candidate);
        }
        let Some(noted) = self.noted.get_mut(&of.name) else { return };
        if noted == of {
            self.noted.remove(&of.name);
        } else if noted.generation == of.generation {
            noted.generation = generation;
            noted.is_news = noted.weight != of.weight;
        }
    }

    /// Shares above zero that stay behind, because they are another candidate's: the use case, the
    /// share, and its generation.
    pub fn left_behind(&self) -> Vec<(UseCaseName, WeightBp, Generation)> {
        let replaced = self.specs.values().filter(|spec| self.weight(spec).1 == Origin::Replaced);
        let left = replaced.filter_map(|spec| {
            let stored = |state: &UseCaseState| state.weight;
            let weight = match self.note(&spec.name) {
                Some(noted) => noted.weight,
                None => self.state(&spec.name).map(stored)?,
            };
            Some((spec.name.clone(), weight, self.generation(&spec.name)))
        });
        left.filter(|(_, weight, _)| *weight > WeightBp::NONE).collect()
    }
}

fn owner(spec: &Spec) -> Owner<'_> {
    Owner::new(&spec.candidate_digest, &spec.candidate_addresses)
}
