//! The places of an upstream's models: a word of bits tells which of them an instance has in memory.
//!
//! A model keeps its place for as long as the process lives, whatever a file that is read again asks for: requests under
//! way know it by its place, at instances that all pictures share. The place of one that is asked for no more stays
//! empty until no other is left.

use cutover_wire::probe::with_tag;

/// So many models have a place.
pub const MODELS_MAX: usize = 64;

/// The models that are asked for, in their places: those that they had, and places of their own for new ones. A place
/// that is nobody's holds no name. Models beyond [`MODELS_MAX`] have none.
pub fn placed(before: &[String], asked: impl Iterator<Item = String>) -> Box<[String]> {
    let mut asked: Vec<_> = asked.collect();
    asked.sort_unstable();
    asked.dedup();
    let stays = |name: &String| if asked.contains(name) { name.clone() } else { String::new() };
    let mut places: Vec<_> = before.iter().map(stays).collect();
    asked.retain(|name| !places.contains(name));
    for name in asked {
        if places.len() < MODELS_MAX {
            places.push(name);
        } else if let Some(free) = places.iter_mut().find(|place| place.is_empty()) {
            *free = name;
        }
    }
    places.into()
}

/// A model's place among them.
pub fn place_of(places: &[String], model: &str) -> Option<u8> {
    let name = with_tag(model);
    u8::try_from(places.iter().position(|known| *known == name)?).ok()
}

/// Whether what was decided by these places holds by those, too: each model that has one has the same there.
pub fn hold(these: &[String], those: &[String]) -> bool {
    let same = |(at, name): (usize, &String)| name.is_empty() || those.get(at) == Some(name);
    these.iter().enumerate().all(same)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> impl Iterator<Item = String> {
        names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn a_model_keeps_its_place_and_no_other_gets_it_while_there_are_more() {
        let first = placed(&[], names(&["b", "a", "b"]));
        assert_eq!(*first, ["a", "b"]);
        let second = placed(&first, names(&["b", "0"]));
        assert_eq!(*second, ["", "b", "0"]);
        assert!(!hold(&first, &second), "`a` is nowhere");
        let third = placed(&second, names(&["b", "a", "0"]));
        assert_eq!(*third, ["", "b", "0", "a"]);
        assert!(hold(&second, &third) && !hold(&third, &second));
        let all = (0..MODELS_MAX + 3).map(|n| format!("{n:02}"));
        assert_eq!(placed(&third, all).iter().filter(|name| name.is_empty()).count(), 0);
    }

    proptest! {
        #[test]
        fn who_is_asked_for_twice_in_a_row_stays_where_it_is(
            asked in prop::collection::vec(prop::collection::vec(0..90_u8, 0..70), 1..6),
        ) {
            let mut before: Box<[String]> = Box::default();
            for asked in asked {
                let asked: Vec<_> = asked.iter().map(u8::to_string).collect();
                let now = placed(&before, asked.iter().cloned());
                prop_assert!(now.len() <= MODELS_MAX);
                for (at, name) in before.iter().enumerate().filter(|(_, name)| asked.contains(name)) {
                    prop_assert_eq!(&now[at], name);
                }
                let mut named: Vec<_> = now.iter().filter(|name| !name.is_empty()).collect();
                prop_assert!(named.iter().all(|name| asked.contains(name)));
                let count = named.len();
                named.sort();
                named.dedup();
                prop_assert_eq!(named.len(), count, "each once");
                let mut wanted = asked;
                wanted.sort();
                wanted.dedup();
                prop_assert_eq!(count, wanted.len().min(MODELS_MAX));
                before = now;
            }
        }
    }
}
