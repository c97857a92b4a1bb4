use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

fn place(key: u64, cost: u32) -> Place {
    Place { class: Class::Interactive, key, cost }
}

fn batch(key: u64) -> Place {
    Place { class: Class::Batch, ..place(key, 1) }
}

fn all<T>(line: &mut Line<T>) -> Vec<T> {
    std::iter::from_fn(|| line.pop()).collect()
}

#[test]
fn keys_take_turns_and_each_keeps_its_order() {
    let mut line = Line::default();
    for n in 0..4 {
        line.push(place(1, QUANTUM), ("a", n), 10).unwrap();
    }
    line.push(place(2, QUANTUM), ("b", 0), 10).unwrap();
    line.push(place(3, QUANTUM), ("c", 0), 10).unwrap();
    assert_eq!(all(&mut line), [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("a", 2), ("a", 3)]);
}

#[test]
fn long_prompts_buy_fewer_turns() {
    let mut line = Line::default();
    for n in 0..3 {
        line.push(place(1, 4 * QUANTUM), ("long", n), 100).unwrap();
    }
    for n in 0..12 {
        line.push(place(2, QUANTUM), ("short", n), 100).unwrap();
    }
    let first: Vec<_> = all(&mut line).into_iter().take(10).map(|(who, _)| who).collect();
    let long = first.iter().filter(|who| **who == "long").count();
    assert_eq!(long, 2, "{first:?}");
}

#[test]
fn short_prompts_take_turns_one_by_one() {
    let mut line = Line::default();
    for n in 0..300 {
        line.push(place(1, 3), ("greedy", n), 1_000).unwrap();
    }
    for n in 0..3 {
        line.push(place(2, 7), ("other", n), 1_000).unwrap();
    }
    let first: Vec<_> = all(&mut line).into_iter().take(6).map(|(who, _)| who).collect();
    assert_eq!(first, ["greedy", "other", "greedy", "other", "greedy", "other"]);
}

#[test]
fn a_turn_that_was_of_no_use_is_had_again() {
    let mut line = Line::default();
    for (key, item) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (2, "b2")] {
        line.push(place(key, 0), item, 9).unwrap();
    }
    assert_eq!(line.pop(), Some("a1"));
    line.give_back(place(1, 0));
    line.give_back(batch(1));
    // Without it the other key would be next.
    assert_eq!(all(&mut line), ["a2", "b1", "a3", "b2"]);
}

#[test]
fn the_urgent_go_first_and_push_others_out() {
    let mut line = Line::default();
    line.push(batch(1), "b1", 3).unwrap();
    line.push(batch(1), "b2", 3).unwrap();
    line.push(place(2, 1), "i1", 3).unwrap();
    let placed = line.push(place(2, 1), "i2", 3).unwrap();
    assert_eq!(placed.evicted, Some("b2"));
    assert_eq!(line.push(batch(9), "b3", 3), Err("b3"), "not even a first of its key");
    assert_eq!((line.waiting(Class::Interactive), line.waiting(Class::Batch)), (2, 1));
    assert_eq!(all(&mut line), ["i1", "i2", "b1"]);
}

#[test]
fn who_has_most_of_a_full_line_makes_room() {
    let mut line = Line::default();
    for n in 0..3 {
        line.push(place(1, 1), ("greedy", n), 3).unwrap();
    }
    assert_eq!(line.push(place(1, 1), ("greedy", 3), 3), Err(("greedy", 3)));
    let placed = line.push(place(2, 1), ("other", 0), 3).unwrap();
    assert_eq!(placed.evicted, Some(("greedy", 2)));
    assert_eq!(
        line.push(place(2, 1), ("other", 1), 3),
        Err(("other", 1)),
        "it would only turn round"
    );
}

#[test]
fn who_left_is_not_called() {
    let mut line = Line::default();
    let first = line.push(place(1, 1), 1, 9).unwrap().ticket;
    line.push(place(1, 1), 2, 9).unwrap();
    assert_eq!(line.remove(first), Some(1));
    assert_eq!(line.remove(first), None);
    assert_eq!((line.len(), line.pop(), line.pop(), line.is_empty()), (1, Some(2), None, true));
}

#[test]
fn a_line_without_places_takes_nobody() {
    let mut line = Line::default();
    assert_eq!(line.push(place(1, 1), 1, 0), Err(1));
}

#[derive(Debug, Clone)]
enum Op {
    Push(bool, u64, u32),
    Pop,
    Remove(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (any::<bool>(), 0u64..5, 0u32..200_000).prop_map(|(b, k, c)| Op::Push(b, k, c)),
        2 => Just(Op::Pop),
        1 => any::<usize>().prop_map(Op::Remove),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    /// Nothing is lost, nothing comes out twice, and the bound holds.
    #[test]
    fn each_leaves_once_and_no_more_wait_than_may(ops in ops(), length_max in 0usize..12) {
        let mut line = Line::default();
        let mut waiting: BTreeMap<Ticket, usize> = BTreeMap::new();
        let leave = |waiting: &mut BTreeMap<Ticket, usize>, item: usize| {
            let ticket = waiting.iter().find(|(_, known)| **known == item).map(|(ticket, _)| *ticket);
            prop_assert!(ticket.and_then(|ticket| waiting.remove(&ticket)).is_some());
            Ok(())
        };
        for (item, op) in ops.into_iter().enumerate() {
            match op {
                Op::Push(is_batch, key, cost) => {
                    let class = if is_batch { Class::Batch } else { Class::Interactive };
                    if let Ok(placed) = line.push(Place { class, key, cost }, item, length_max) {
                        waiting.insert(placed.ticket, item);
                        if let Some(evicted) = placed.evicted {
                            leave(&mut waiting, evicted)?;
                        }
                    }
                }
                Op::Pop => match line.pop() {
                    Some(item) => leave(&mut waiting, item)?,
                    None => prop_assert!(waiting.is_empty()),
                },
                Op::Remove(at) => {
                    let ticket = waiting.keys().nth(at % waiting.len().max(1)).copied();
                    if let Some(ticket) = ticket {
                        prop_assert_eq!(line.remove(ticket), waiting.remove(&ticket));
                    }
                }
            }
            prop_assert_eq!(line.len(), waiting.len());
            prop_assert!(line.len() <= length_max);
        }
    }

    /// While several keys have something waiting, none gets more of the engine than another by more than a
    /// turn and its most expensive request. The least that a request costs is a turn.
    #[test]
    fn shares_are_fair(costs in prop::collection::vec((0u64..4, 1u32..20_000), 40..200)) {
        let mut line = Line::default();
        let mut left: HashMap<u64, usize> = HashMap::new();
        let mut dearest = 0;
        for (key, cost) in &costs {
            line.push(place(*key, *cost), (*key, *cost), usize::MAX).unwrap();
            *left.entry(*key).or_default() += 1;
            dearest = dearest.max(*cost);
        }
        let mut spent: HashMap<u64, u64> = left.keys().map(|key| (*key, 0)).collect();
        while left.values().all(|n| *n > 0) {
            let (key, cost) = line.pop().unwrap();
            *spent.get_mut(&key).unwrap() += u64::from(cost.max(QUANTUM));
            *left.get_mut(&key).unwrap() -= 1;
        }
        let (most, least) = (spent.values().max().unwrap(), spent.values().min().unwrap());
        prop_assert!(most - least <= u64::from(2 * QUANTUM + dearest), "{spent:?}");
    }
}
