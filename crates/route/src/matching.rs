//! From a request to its use case.

use crate::decide::Ask;
use crate::snapshot::UseCaseIx;

/// What makes a request belong to a use case. All parts given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Header name (lower case) and value.
    pub headers: Vec<(String, String)>,
    /// The caller's key name.
    pub key: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// Metadata name and value.
    pub metadata: Vec<(String, String)>,
}

impl Matcher {
    fn is_empty(&self) -> bool {
        self.headers.is_empty()
            && self.metadata.is_empty()
            && self.key.is_none()
            && self.model.is_none()
    }

    /// Whether a request fits. A matcher without parts fits nothing: it would swallow all traffic.
    pub fn fits(&self, ask: &Ask<'_>) -> bool {
        !self.is_empty()
            && self.model.as_deref().is_none_or(|m| m == ask.model)
            && self.fits_unread(ask)
            && self.metadata.iter().all(|(name, value)| {
                (ask.metadata)(name).is_some_and(|found| found.as_ref() == value.as_str())
            })
    }

    /// Whether it asks for something that only a request's body says.
    pub(crate) fn reads_body(&self) -> bool {
        self.model.is_some() || !self.metadata.is_empty()
    }

    /// Whether a request fits as far as can be told without its body.
    pub(crate) fn fits_unread(&self, ask: &Ask<'_>) -> bool {
        self.key.as_deref().is_none_or(|k| ask.caller.key_name == Some(k))
            && self.headers.iter().all(|(name, value)| (ask.header)(name) == Some(value.as_str()))
    }
}

/// Use cases by what makes a request belong to them. Of those that fit the first in the draft's order wins:
/// `config` sorts them by precedence, so that one rule, written in one place, says which it is.
///
/// Each use case is filed under one of its conditions. A request is looked up once for each name of a header
/// or entry that any of them reads, however many values there are; what is found there is checked whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    matchers: Vec<Matcher>,
    headers: Vec<(String, Values)>,
    metadata: Vec<(String, Values)>,
    keys: Values,
    models: Values,
}

/// A use case that is filed under a value.
#[derive(Debug, Clone, Copy)]
struct Filed {
    at: u16,
    /// Whether nothing else is to be checked.
    alone: bool,
}

impl Index {
    pub(crate) fn build<'a>(matchers: impl Iterator<Item = &'a Matcher>) -> Self {
        let mut index = Self { matchers: matchers.cloned().collect(), ..Self::default() };
        for (at, matcher) in (0u16..).zip(&index.matchers) {
            let parts = matcher.headers.len()
                + matcher.metadata.len()
                + usize::from(matcher.key.is_some())
                + usize::from(matcher.model.is_some());
            let filed = Filed { at, alone: parts == 1 };
            // What fewest requests have goes first.
            if let Some((name, value)) = matcher.headers.first() {
                named(&mut index.headers, name).file(value, filed);
            } else if let Some((name, value)) = matcher.metadata.first() {
                named(&mut index.metadata, name).file(value, filed);
            } else if let Some(key) = &matcher.key {
                index.keys.file(key, filed);
            } else if let Some(model) = &matcher.model {
                index.models.file(model, filed);
            }
        }
        let named = index.headers.iter_mut().chain(&mut index.metadata).map(|(_, values)| values);
        for values in named.chain([&mut index.keys, &mut index.models]) {
            values.spread();
        }
        index
    }

    pub(crate) fn find(&self, ask: &Ask<'_>) -> Option<UseCaseIx> {
        let mut best = None;
        for (name, values) in &self.headers {
            if let Some(value) = (ask.header)(name) {
                best = self.first(values.get(value), ask, best);
            }
        }
        for (name, values) in &self.metadata {
            if let Some(value) = (ask.metadata)(name) {
                best = self.first(values.get(&value), ask, best);
            }
        }
        if let Some(key) = ask.caller.key_name {
            best = self.first(self.keys.get(key), ask, best);
        }
        best = self.first(self.models.get(ask.model), ask, best);
        best.map(UseCaseIx)
    }

    /// The first that fits, unless an earlier one was found before.
    fn first(&self, filed: &[Filed], ask: &Ask<'_>, best: Option<u16>) -> Option<u16> {
        let fits = |filed: &&Filed| {
            let whole = || self.matchers.get(usize::from(filed.at)).is_some_and(|m| m.fits(ask));
            filed.alone || whole()
        };
        let earlier = filed.iter().take_while(|filed| best.is_none_or(|best| filed.at < best));
        earlier.into_iter().find(fits).map(|filed| filed.at).or(best)
    }
}

/// The values of this name, made if need be.
fn named<'a>(all: &'a mut Vec<(String, Values)>, name: &str) -> &'a mut Values {
    let at = all.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        all.push((name.to_owned(), Values::default()));
        all.len() - 1
    });
    &mut all[at].1
}

/// Use cases by a value: a table with open addressing. The standard library's map begins with a random
/// number of the operating system's and hashes more slowly than fifty values are compared; what stands in
/// this one is the operator's, so that nobody can crowd it.
#[derive(Debug, Clone, Default)]
struct Values {
    entries: Vec<(Box<str>, Vec<Filed>)>,
    /// Places in `entries`, one more; 0: free. A power of two, at most half of it taken.
    slots: Vec<u16>,
}

impl Values {
    fn file(&mut self, value: &str, filed: Filed) {
        match self.entries.iter_mut().find(|(known, _)| **known == *value) {
            Some((_, under)) => under.push(filed),
            None => self.entries.push((value.into(), vec![filed])),
        }
    }

    /// Fills the slots, once all is filed.
    fn spread(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        self.slots = vec![0; (2 * self.entries.len()).next_power_of_two()];
        for (place, (value, _)) in (1u16..).zip(&self.entries) {
            let mut at = self.begin(value);
            while self.slots[at] != 0 {
                at = (at + 1) % self.slots.len();
            }
            self.slots[at] = place;
        }
    }

    fn begin(&self, value: &str) -> usize {
        // The table is small: the low bits are all there is.
        usize::try_from(hash(value) & (self.slots.len() as u64 - 1)).unwrap_or(0)
    }

    fn get(&self, value: &str) -> &[Filed] {
        // One is compared sooner than hashed.
        if let [(known, under)] = &*self.entries {
            return if **known == *value { under } else { &[] };
        }
        if self.slots.is_empty() {
            return &[];
        }
        let mut at = self.begin(value);
        // Half of the slots are free, so that it ends.
        while let Some(place) = usize::from(self.slots[at]).checked_sub(1) {
            let (known, under) = &self.entries[place];
            if **known == *value {
                return under;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        &[]
    }
}

/// Spreads short texts: eight bytes at a time, multiplied by the golden ratio's bits.
fn hash(text: &str) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = text.as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    // The last eight bytes, some of them for the second time; of a shorter text all there are.
    let last = bytes.last_chunk::<8>().map_or_else(
        || rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        |last| u64::from_le_bytes(*last),
    );
    let words = words.iter().map(|word| u64::from_le_bytes(*word)).chain([last]);
    let mixed = words
        .fold(text.len() as u64, |hash, word| (hash.rotate_left(26) ^ word).wrapping_mul(GOLDEN));
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::decide::Caller;

    type Pairs = Vec<(String, String)>;

    fn found(pairs: &Pairs, name: &str) -> Option<String> {
        pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    fn pairs() -> impl Strategy<Value = Pairs> {
        prop::collection::btree_map("[ab]", "[xyz]", 0..3)
            .prop_map(|pairs| pairs.into_iter().collect())
    }

    fn matcher() -> impl Strategy<Value = Matcher> {
        let word = || prop::option::of("[klm]");
        (pairs(), word(), word(), pairs()).prop_map(|(headers, key, model, metadata)| Matcher {
            headers,
            key,
            model,
            metadata,
        })
    }

    proptest! {
        #[test]
        fn the_index_finds_the_first_that_fits(
            matchers in prop::collection::vec(matcher(), 0..40),
            headers in pairs(),
            metadata in pairs(),
            key in prop::option::of("[klm]"),
            model in "[klm]",
        ) {
            let header = |name: &str| {
                headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
            };
            let metadata = |name: &str| found(&metadata, name).map(Cow::Owned);
            let ask = Ask {
                model: &model,
                user: None,
                header: &header,
                metadata: &metadata,
                caller: Caller { key_name: key.as_deref(), use_case: None },
                use_case: None,
                priority: None,
                local_only: false,
                request_id: "r",
            };
            let expected = (0u16..).zip(&matchers).find(|(_, m)| m.fits(&ask));
            let index = Index::build(matchers.iter());
            prop_assert_eq!(index.find(&ask), expected.map(|(at, _)| UseCaseIx(at)));
        }

        #[test]
        fn every_value_is_found_and_no_other(
            values in prop::collection::btree_set("[a-z0-9-]{0,20}", 0..200),
            other in "[A-Z]{0,20}",
        ) {
            let mut table = Values::default();
            for (at, value) in (0u16..).zip(&values) {
                table.file(value, Filed { at, alone: true });
            }
            table.spread();
            for (at, value) in (0u16..).zip(&values) {
                prop_assert_eq!(table.get(value).iter().map(|f| f.at).collect::<Vec<_>>(), vec![at]);
            }
            prop_assert_eq!(table.get(&other).is_empty(), !values.contains(&other));
        }
    }
}
