//! Nobody waits inside an instance while another has room: whether the room is written down or told by its engine.

use std::sync::Barrier;

use super::*;

/// Two each, written down or told.
const TWO: [(Room, Option<u32>); 2] =
    [(Room { most: 2, told: false }, None), (Room { most: u32::MAX, told: true }, Some(2))];

/// Two that picked the same last seat both sat down: one more than the instance was to have.
#[test]
fn requests_that_pick_at_the_same_time_fill_no_instance_above_its_room() {
    for (policy, (room, told)) in POLICIES.iter().flat_map(|it| TWO.map(|two| (it, two))) {
        let fleet = Fleet::telling(&peers(4, |_, _| {}), |at| 3 - at, room, &[told; 4]);
        all_at_once(policy, (&fleet, room, [2; 4]));
    }
}

/// Not every engine takes as many.
#[test]
fn requests_that_pick_at_the_same_time_leave_each_engine_the_room_that_it_tells() {
    let (room, told) = (Room { most: 3, told: true }, [Some(1), None, Some(2), Some(9)]);
    for policy in POLICIES {
        let fleet = Fleet::telling(&peers(4, |_, _| {}), |at| 3 - at, room, &told);
        all_at_once(policy, (&fleet, room, [1, 1, 2, 3]));
    }
}

/// As many requests as there are seats come at once, again and again: each instance gets as many as it has room for.
fn all_at_once(policy: &Policy, (fleet, room, each): (&Fleet, Room, [u32; 4])) {
    const ROUNDS: usize = 400;
    let threads = usize::try_from(each.iter().sum::<u32>()).unwrap();
    let (begin, sat, seen) = (Barrier::new(threads), Barrier::new(threads), Barrier::new(threads));
    let look = |at: usize| {
        let in_flight = fleet.posts[at].in_flight();
        let is_full = in_flight >= room.at(&fleet.posts[at]);
        let state = if is_full { State::Saturated } else { State::Healthy };
        Peer { state, in_flight, ..fleet.peers[at] }
    };
    let rounds = &|thread: usize| {
        let mut had_room = true;
        for round in 0..ROUNDS {
            let seed = u64::try_from(round * threads + thread).unwrap();
            let (session, prefix) = (Some(mix(seed % 5)), Some(mix(seed % 3)));
            let draw = Draw { tried: 0, seed, turn: 0, session, prefix };
            begin.wait();
            let taken = fleet.lineup.with(None, look).take(policy, &draw).unwrap();
            had_room &= taken.had_room && Arc::ptr_eq(taken.seat.post(), &fleet.posts[taken.at]);
            sat.wait();
            let now: Vec<_> = fleet.posts.iter().map(|post| post.in_flight()).collect();
            seen.wait();
            // All see the same: none is left to wait for the others.
            if now != each {
                return Err(now);
            }
        }
        if had_room { Ok(()) } else { Err(Vec::new()) }
    };
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..threads).map(|nth| scope.spawn(move || rounds(nth))).collect();
        begun.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect()
    });
    assert!(wrong.is_empty(), "{} {room:?}: {wrong:?} and not {each:?}", policy.name);
    assert!(fleet.posts.iter().all(|post| post.in_flight() == 0), "all have left");
}

/// Another engine came to stand behind the address, or it was started with other settings.
#[test]
fn a_pick_goes_by_what_an_engine_tells_now() {
    let (room, told) = (Room { most: u32::MAX, told: true }, [Some(2), Some(2)]);
    for policy in POLICIES {
        let loaded = peers(2, |at, peer| peer.in_flight = if at == 0 { 2 } else { 7 });
        let fleet = Fleet::telling(&loaded, |at| at, room, &told);
        let takes = |at: usize, had_room: bool| {
            let look = |_: usize| -> Peer { unreachable!("all of them are well") };
            for seed in 0..20 {
                let (session, prefix) = (Some(mix(seed)), Some(mix(seed)));
                let draw = Draw { seed, session, prefix, ..Draw::default() };
                let taken = fleet.lineup.with(Some(3), look).take(policy, &draw).unwrap();
                let is_it = !had_room || taken.at == at;
                assert!(is_it && taken.had_room == had_room, "{} {taken:?}", policy.name);
            }
        };
        takes(0, false);
        fleet.posts[1].tells_room(Some(8));
        takes(1, true);
        fleet.posts[1].tells_room(Some(4));
        takes(0, false);
        fleet.posts[0].tells_room(Some(3));
        takes(0, true);
        // As few as the other's, which is too few for one that has seven.
        fleet.posts[1].tells_room(None);
        takes(0, true);
    }
}

/// Whoever wrote down more than the engines have slots wants some to wait there.
#[test]
fn what_is_written_down_holds_whatever_engines_tell() {
    let loaded = peers(3, |at, peer| peer.in_flight = [1, 2, 8][at]);
    for told in [[Some(2); 3], [Some(2), None, Some(1)]] {
        let fleet = Fleet::telling(&loaded, |at| at, 9.into(), &told);
        for (policy, seed) in POLICIES.iter().flat_map(|it| (0..50).map(move |seed| (it, seed))) {
            let (session, prefix) = (Some(mix(seed)), Some(mix(seed)));
            let turn = u32::try_from(seed).unwrap();
            let draw = Draw { tried: 0, seed, turn, session, prefix };
            let looked = policy.pick(3, &draw, &|at: usize| loaded[at]);
            assert_eq!(fleet.pick(policy, Some(3), &draw), looked, "{} {seed}", policy.name);
        }
    }
}

#[test]
fn a_pick_by_what_engines_tell_allocates_nothing() {
    let loaded = peers(64, |at, peer| peer.in_flight = u32::try_from(at % 4).unwrap());
    let told: Vec<_> = (0..64).map(|at| Some(1 + at % 5)).collect();
    let room = Room { most: 512, told: true };
    let fleet = Fleet::telling(&loaded, |at| at, room, &told);
    for policy in POLICIES {
        let counted = allocation_counter::measure(|| {
            for seed in 0..100 {
                let draw =
                    Draw { seed, session: Some(seed), prefix: Some(seed), ..Draw::default() };
                let taken = fleet.lineup.with(Some(3), |at| fleet.peers[at]).take(policy, &draw);
                assert!(taken.unwrap().had_room);
            }
        });
        assert_eq!(counted.count_total, 0, "{}", policy.name);
    }
}

proptest! {
    /// However many each has and takes, in whatever state it is: who has as many as it has room for is chosen only where
    /// of those that were not tried and are well no other has room.
    #[test]
    fn none_that_has_no_room_is_chosen_while_another_has(
        all in prop::collection::vec((any_peer(), prop::option::of(1u32..7)), 1..64),
        most in prop_oneof![1u32..7, Just(u32::MAX)], is_told: bool, is_one_board: bool,
        tried in any::<u64>(), seed in any::<u64>(), turn in any::<u32>(),
        session in any::<Option<u64>>(), prefix in any::<Option<u64>>(), at in 0..POLICIES.len(),
    ) {
        let (peers, told): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let (policy, room) = (&POLICIES[at], Room { most, told: is_told });
        let mut fleet = Fleet::telling(&peers, |at| at, room, &told);
        // The engines on a board of their own know nothing of the others'.
        let mut others = Vec::new();
        if !is_one_board {
            others.push(Arc::new(Post::default()));
            let ids = fleet.posts.iter().zip(&fleet.peers);
            let ids = ids.map(|(post, peer)| (Arc::clone(post), peer.id));
            let last = others.iter().map(|post| (Arc::clone(post), 0));
            fleet.lineup = Lineup::new(ids.chain(last), room);
        }
        let down = Peer { state: State::Down, ..peer(0) };
        let look = |at: usize| fleet.peers.get(at).copied().unwrap_or(down);
        let has_room = |at: usize| peers[at].in_flight < room_of(room, &told, at);
        let is_well = |at: usize| peers[at].state <= State::Cold;
        let tried = tried | !(u64::MAX >> (64 - peers.len()));
        let draw = Draw { tried, seed, turn, session, prefix };
        let one_has = (0..peers.len()).any(|at| tried >> at & 1 == 0 && is_well(at) && has_room(at));
        for model in [Some(3), None] {
            let taken = fleet.lineup.with(model, look).take(policy, &draw);
            let found = taken.as_ref().map(|taken| (has_room(taken.at), taken.had_room));
            let is_right = if one_has { found == Some((true, true)) } else { true };
            prop_assert!(is_right, "{} {:?} {:?}", policy.name, found, taken);
            prop_assert!(found.is_none_or(|(has, had)| has == had), "{} {:?}", policy.name, found);
        }
    }
}
