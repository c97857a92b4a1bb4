//! What every policy keeps, and what each promises beyond it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::health::STATES;

mod refusals;
mod rooms;

fn peer(at: usize) -> Peer {
    Peer {
        state: State::Healthy,
        warm: true,
        in_flight: 0,
        latency_us: 0,
        failed_at: Millis(0),
        id: mix(at as u64 + 1),
    }
}

fn peers(count: usize, change: impl Fn(usize, &mut Peer)) -> Vec<Peer> {
    (0..count)
        .map(|at| {
            let mut made = peer(at);
            change(at, &mut made);
            made
        })
        .collect()
}

/// Instances whose ids are known without a look.
struct Known<F>(F);

impl<F: Fn(usize) -> Peer> Peers for Known<F> {
    fn peer(&self, at: usize) -> Peer {
        (self.0)(at)
    }
    fn id(&self, at: usize) -> u64 {
        peer(at).id
    }
}

fn named(name: &str) -> &'static Policy {
    Policy::by_name(name).unwrap()
}

/// Picks with a new seed and turn each, and tells how often each was taken.
fn tally(policy: &Policy, peers: &[Peer], picks: u32) -> Vec<u32> {
    let mut taken = vec![0; peers.len()];
    for turn in 0..picks {
        let draw = Draw { seed: u64::from(turn), turn, ..Draw::default() };
        taken[policy.pick(peers.len(), &draw, &|at: usize| peers[at]).unwrap()] += 1;
    }
    taken
}

#[test]
fn names_are_the_config_words_and_unique() {
    for policy in POLICIES {
        assert_eq!(Policy::by_name(policy.name), Some(policy));
        let same = POLICIES.iter().filter(|other| other.name == policy.name).count();
        assert_eq!(same, 1, "{}", policy.name);
    }
    assert_eq!(Policy::by_name("random"), None);
}

#[test]
fn equal_instances_share_the_work() {
    let peers = peers(4, |_, _| {});
    for policy in POLICIES {
        let taken = tally(policy, &peers, 4_000);
        assert!(taken.iter().all(|n| (850..1_150).contains(n)), "{}: {taken:?}", policy.name);
    }
}

#[test]
fn a_worse_state_is_taken_only_when_no_better_is_left() {
    for policy in POLICIES {
        for pair in STATES.windows(2) {
            if pair == [State::Healthy, State::Cold] {
                continue;
            }
            let peers = peers(2, |at, peer| peer.state = pair[usize::from(at == 0)]);
            let pick =
                |tried| policy.pick(2, &Draw { tried, ..Draw::default() }, &|at: usize| peers[at]);
            assert_eq!(pick(0), Some(1), "{} {pair:?}", policy.name);
            let last = (pair[1] != State::Draining).then_some(0);
            assert_eq!(pick(0b10), last, "{} {pair:?}", policy.name);
        }
    }
}

#[test]
fn of_several_that_rest_the_longest_rested_is_tried() {
    let peers = peers(3, |at, peer| {
        peer.state = State::Ejected;
        peer.failed_at = Millis([30, 10, 20][at]);
    });
    for policy in POLICIES {
        let pick =
            |tried| policy.pick(3, &Draw { tried, ..Draw::default() }, &|at: usize| peers[at]);
        assert_eq!((pick(0), pick(0b10), pick(0b110)), (Some(1), Some(2), Some(0)));
    }
}

#[test]
fn a_slow_instance_gets_less_under_least_latency() {
    let peers = peers(4, |at, peer| peer.latency_us = if at == 0 { 9_000 } else { 1_000 });
    let taken = tally(named("least-latency"), &peers, 4_000);
    // Only by chance: drawn first in a quarter of the picks, and then one time in 32.
    assert!((10..70).contains(&taken[0]), "{taken:?}");
}

/// The slower an instance seems the seldomer it is asked, and never not at all.
#[test]
fn least_latency_believes_a_small_difference_seldom_and_a_great_one_mostly() {
    let share = |times: u64| {
        let peers =
            peers(2, |at, peer| peer.latency_us = if at == 0 { times * 100 } else { 1_000 });
        tally(named("least-latency"), &peers, 6_400)[0]
    };
    assert_eq!((share(10), share(11), share(20)), (3_200, 3_200, 3_200), "no doubt is so small");
    assert!((1_500..2_100).contains(&share(30)), "{}", share(30));
    assert!((550..850).contains(&share(40)), "{}", share(40));
    for times in [80, 90, 1_000, u64::MAX / 100] {
        assert!((60..150).contains(&share(times)), "{times}: {}", share(times));
    }
}

/// Where it seems slow an instance has a quarter of what another has under way, and so is measured.
#[test]
fn least_latency_gives_a_slow_instance_a_part_of_the_load() {
    let peers = |slow, fast| {
        peers(2, |at, peer| {
            (peer.latency_us, peer.in_flight) =
                if at == 0 { (100_000, slow) } else { (1_000, fast) };
        })
    };
    assert_eq!(tally(named("least-latency"), &peers(0, 6), 100), [100, 0]);
    assert!(tally(named("least-latency"), &peers(2, 6), 3_200)[0] < 160);
}

/// Two that were equal had 9 and 31 of 40 requests, and then the other way round.
#[test]
fn equals_have_their_share_of_any_requests_in_a_row_under_least_latency() {
    for count in 2..=INSTANCES_MAX {
        // One in three of a few is not well.
        for has_unwell in [false, true] {
            let is_unwell = |at: usize| has_unwell && count <= 8 && at % 3 == 1;
            let peers = peers(count, |at, peer| {
                peer.in_flight = 5;
                peer.latency_us = 1_000 + mix(at as u64) % 1_000;
                peer.state = if is_unwell(at) { State::Ejected } else { State::Healthy };
            });
            let well = (0..count).filter(|at| !is_unwell(*at)).count() as f64;
            // How far each is ahead of its share, and how far it was at most and at least: no requests in a row are
            // further off than these are apart.
            let mut ahead = vec![(0.0_f64, 0.0_f64, 0.0_f64); count];
            for turn in 0..2_000 {
                let draw = Draw { seed: mix(u64::from(turn)), turn, ..Draw::default() };
                let picked = named("least-latency").pick(count, &draw, &|at: usize| peers[at]);
                for (at, (now, most, least)) in ahead.iter_mut().enumerate() {
                    *now += if picked == Some(at) { 1.0 - 1.0 / well } else { -1.0 / well };
                    (*most, *least) = (most.max(*now), least.min(*now));
                }
            }
            for (at, (_, most, least)) in ahead.iter().enumerate().filter(|(at, _)| !is_unwell(*at))
            {
                assert!(most - least < 2.0 + 1e-6, "{at} of {count}: {least} to {most}");
            }
        }
    }
}

#[test]
fn a_burst_does_not_all_go_to_an_unmeasured_instance() {
    let mut peers = peers(3, |at, peer| peer.latency_us = if at == 0 { 0 } else { 50 });
    for turn in 0..300 {
        let draw = Draw { seed: u64::from(turn), turn, ..Draw::default() };
        let at = named("least-latency").pick(3, &draw, &|at: usize| peers[at]).unwrap();
        peers[at].in_flight += 1;
    }
    assert!(peers[0].in_flight < 200, "{peers:?}");
}

/// Nobody knows yet whether it answers at all.
#[test]
fn one_that_has_answered_nothing_yet_holds_up_a_few_requests_and_not_all() {
    for (load, most) in [(0, 8), (30, 20)] {
        let mut peers = peers(3, |at, peer| {
            (peer.latency_us, peer.in_flight) = if at == 0 { (0, 0) } else { (50_000, load) };
        });
        for turn in 0..120 {
            let draw = Draw { seed: u64::from(turn), turn, ..Draw::default() };
            let at = named("least-latency").pick(3, &draw, &|at: usize| peers[at]).unwrap();
            // It hangs; the others end one for each that they begin.
            peers[0].in_flight += u32::from(at == 0);
        }
        let held = peers[0].in_flight;
        assert!((1..=most).contains(&held), "{held} of 120 hang, others have {load} in flight");
    }
}

#[test]
fn one_that_is_new_and_well_gets_its_share_and_no_more() {
    let peers = peers(4, |at, peer| peer.latency_us = if at == 0 { 0 } else { 50_000 });
    let taken = tally(named("least-latency"), &peers, 4_000);
    assert!(taken.iter().all(|n| (850..1_150).contains(n)), "{taken:?}");
}

#[test]
fn the_least_outstanding_wins() {
    let peers = peers(5, |at, peer| peer.in_flight = if at == 3 { 1 } else { 2 });
    assert_eq!(tally(named("least-outstanding"), &peers, 100)[3], 100);
    assert_eq!(tally(named("model-aware"), &peers, 100)[3], 100);
}

#[test]
fn the_model_decides_only_where_asked() {
    let peers = peers(2, |at, peer| {
        peer.warm = at == 1;
        peer.in_flight = if at == 1 { 7 } else { 0 };
    });
    assert_eq!(tally(named("model-aware"), &peers, 50), [0, 50]);
    let mut crowded = peers.clone();
    crowded[1].in_flight = 9;
    assert_eq!(tally(named("model-aware"), &crowded, 50), [50, 0]);
    assert_eq!(tally(named("least-outstanding"), &peers, 50), [50, 0]);
}

#[test]
fn a_full_warm_instance_gives_way_to_a_cold_one() {
    let peers = peers(2, |at, peer| {
        (peer.warm, peer.state) =
            if at == 1 { (true, State::Saturated) } else { (false, State::Healthy) };
    });
    assert_eq!(tally(named("model-aware"), &peers, 50), [50, 0]);
}

#[test]
fn a_session_moves_only_when_its_instance_goes() {
    let policy = named("session");
    let peers = peers(8, |_, _| {});
    let mut moved = 0;
    for session in 0..1_000 {
        let draw = Draw { session: Some(mix(session)), ..Draw::default() };
        let home = policy.pick(8, &draw, &|at: usize| peers[at]).unwrap();
        let busy = Draw { seed: 99, turn: 5, ..draw };
        assert_eq!(policy.pick(8, &busy, &|at: usize| peers[at]), Some(home));
        // Instance 5 goes.
        let now = policy.pick(8, &Draw { tried: 1 << 5, ..draw }, &|at: usize| peers[at]).unwrap();
        assert!(now == home || home == 5);
        moved += u32::from(now != home);
    }
    assert!((80..180).contains(&moved), "{moved} of 1,000 moved, an eighth is 125");
}

#[test]
fn a_popular_prefix_overflows_to_the_next_in_its_order() {
    let policy = named("prefix-affine");
    let mut peers = peers(4, |_, _| {});
    let draw = Draw { prefix: Some(7), ..Draw::default() };
    let home = policy.pick(4, &draw, &|at: usize| peers[at]).unwrap();
    for _ in 0..400 {
        let at = policy.pick(4, &draw, &|at: usize| peers[at]).unwrap();
        peers[at].in_flight += 1;
    }
    let most = peers.iter().map(|peer| peer.in_flight).max().unwrap();
    assert_eq!(peers[home].in_flight, most);
    assert!(most <= 126, "1.25 times the even share of 100, rounded up: {peers:?}");
}

/// Counters are live: between two looks another request may change what was seen, and whoever was
/// drawing an instance must still get one of those that were fit.
#[test]
fn a_pick_succeeds_while_counters_change_under_it() {
    for policy in POLICIES {
        for (seed, stable_looks) in (0..200).flat_map(|seed| (0..12).map(move |n| (seed, n))) {
            let looks = Cell::new(0u32);
            let look = |at: usize| {
                looks.set(looks.get() + 1);
                let state =
                    if looks.get() > stable_looks { State::Draining } else { State::Healthy };
                Peer { state, in_flight: looks.get() % 3, ..peer(at) }
            };
            let draw = Draw { tried: 0, seed, turn: 3, session: Some(seed), prefix: Some(seed) };
            let picked = policy.pick(3, &draw, &Known(look));
            assert_eq!(picked.is_some(), stable_looks > 0, "{}", policy.name);
            assert!(picked.is_none_or(|at| at < 3));
        }
    }
}

#[test]
fn a_pick_allocates_nothing() {
    let peers = peers(64, |at, peer| peer.in_flight = u32::try_from(at).unwrap_or(0));
    for policy in POLICIES {
        let counted = allocation_counter::measure(|| {
            for seed in 0..100 {
                let draw =
                    Draw { tried: 0, seed, turn: 9, session: Some(seed), prefix: Some(seed) };
                assert!(policy.pick(64, &draw, &|at: usize| peers[at]).is_some());
            }
        });
        assert_eq!(counted.count_total, 0, "{}", policy.name);
    }
}

fn any_peer() -> impl Strategy<Value = Peer> {
    let state = (0..STATES.len()).prop_map(|at| STATES[at]);
    (state, any::<bool>(), 0u32..6, 0u64..5_000, 0u64..9, any::<u64>()).prop_map(
        |(state, warm, in_flight, latency_us, failed_at, id)| Peer {
            state,
            warm,
            in_flight,
            latency_us,
            failed_at: Millis(failed_at),
            id,
        },
    )
}

/// Instances on a board, with the seats that are taken there. Those that are not plainly well are doubted.
struct Fleet {
    peers: Vec<Peer>,
    posts: Vec<Arc<Post>>,
    lineup: Lineup,
    _seats: Vec<Seat>,
}

/// How many requests make the instance in this place full.
fn room_of(room: Room, told: &[Option<u32>], at: usize) -> u32 {
    let fewest = || told.iter().copied().flatten().min();
    let told = told.get(at).copied().flatten().or_else(fewest).filter(|_| room.told);
    told.map_or(room.most, |told| told.min(room.most))
}

impl Fleet {
    /// The place of each in the list is told by `order`, which places it on the board.
    fn new(peers: &[Peer], order: impl Fn(usize) -> usize, room: u32) -> Self {
        Self::telling(peers, order, room.into(), &[])
    }

    /// The same, where engines tell how many requests they take.
    fn telling(
        peers: &[Peer],
        order: impl Fn(usize) -> usize,
        room: Room,
        told: &[Option<u32>],
    ) -> Self {
        let board = Arc::new(Board::default());
        let mut posts: Vec<_> = (0..peers.len()).map(|_| board.post()).collect();
        let take = |at: usize| Arc::new(posts[order(at)].take().unwrap_or_default());
        let posts: Vec<_> = (0..peers.len()).map(take).collect();
        let mut seats = Vec::new();
        for (post, peer) in posts.iter().zip(peers) {
            seats.extend((0..peer.in_flight).map(|_| post.sit()));
            post.set_latency_us(peer.latency_us);
            post.set_tells_models(true);
            post.set_warm(3, peer.warm);
            if !matches!(peer.state, State::Healthy | State::Cold) {
                post.doubt();
            }
        }
        posts.iter().zip(told).for_each(|(post, told)| post.tells_room(*told));
        let mut peers = peers.to_vec();
        for (at, peer) in peers.iter_mut().enumerate() {
            let is_full = peer.in_flight >= room_of(room, told, at);
            peer.state = if is_full { peer.state.max(State::Saturated) } else { peer.state };
        }
        let ids = posts.iter().zip(&peers).map(|(post, peer)| (Arc::clone(post), peer.id));
        let lineup = Lineup::new(ids, room);
        Self { peers, posts, lineup, _seats: seats }
    }

    fn pick(&self, policy: &Policy, model: Option<u8>, draw: &Draw) -> Option<usize> {
        self.lineup.with(model, |at| self.peers[at]).pick(policy, draw)
    }

    fn looks(&self, policy: &Policy, draw: &Draw) -> usize {
        let looks = Cell::new(0);
        let look = |at: usize| {
            looks.set(looks.get() + 1);
            self.peers[at]
        };
        assert!(self.lineup.with(Some(3), look).pick(policy, draw).is_some());
        looks.get()
    }
}

/// To look at all of them takes longer than to decide.
#[test]
fn of_many_that_are_well_nobody_is_looked_at_and_of_the_others_each_once_or_twice() {
    let fleet = |unwell: u64| {
        let peers = peers(64, |at, peer| {
            peer.latency_us = 1;
            peer.in_flight = u32::try_from(at % 3).unwrap();
            peer.state = if unwell >> at & 1 == 1 { State::Ejected } else { State::Healthy };
        });
        Fleet::new(&peers, |at| at, 9)
    };
    let (well, some, most) = (fleet(0), fleet(0b1011), fleet(!1));
    for policy in POLICIES {
        for seed in 0..200 {
            let (session, prefix) = (Some(mix(seed)), Some(mix(seed ^ 1)));
            let draw = Draw { tried: 0, seed, turn: 7, session, prefix };
            assert_eq!(well.looks(policy, &draw), 0, "{}", policy.name);
            assert!(some.looks(policy, &draw) <= 3, "{}", policy.name);
            assert!(most.looks(policy, &draw) <= 2 * 63, "{}", policy.name);
        }
    }
}

/// Looked at one by one, of many the default looks at the two that it draws, whoever else there is.
#[test]
fn the_default_looks_at_the_pair_that_it_draws() {
    let looks = |unwell: u64, seed| {
        let looks = Cell::new(0);
        let look = |at: usize| {
            looks.set(looks.get() + 1);
            let state = if unwell >> at & 1 == 1 { State::Saturated } else { State::Healthy };
            Peer { state, latency_us: 1, ..peer(at) }
        };
        POLICIES[0].pick(64, &Draw { seed, ..Draw::default() }, &Known(look)).unwrap();
        looks.get()
    };
    assert!((0..200).all(|seed| looks(0, seed) == 2));
    // Of a few unwell ones mostly none is drawn.
    assert!((0..1_000).map(|seed| looks(0b1011, seed)).sum::<u32>() < 3_000);
}

/// Instances with room for one each, on one board or on one of their own each.
fn of_one_seat(instances: usize, is_one_board: bool) -> Fleet {
    let peers = peers(instances, |_, _| {});
    let mut fleet = Fleet::new(&peers, |at| at, 1);
    if !is_one_board {
        fleet.posts = peers.iter().map(|_| Arc::new(Post::default())).collect();
        let ids = fleet.posts.iter().zip(&peers).map(|(post, peer)| (Arc::clone(post), peer.id));
        fleet.lineup = Lineup::new(ids, 1);
    }
    fleet
}

/// What is seen of one of them: whether its seat is free.
fn seen(fleet: &Fleet, at: usize) -> Peer {
    let in_flight = fleet.posts[at].in_flight();
    let state = if in_flight == 0 { State::Healthy } else { State::Saturated };
    Peer { state, in_flight, ..fleet.peers[at] }
}

/// Two instances with a seat each, and one request that is always at the one that is looked at. Who looked at one
/// after the other saw both of them full, and sat down beside it.
#[test]
fn where_one_leaves_while_another_comes_none_is_filled_above_its_room() {
    for (policy, is_one_board) in POLICIES.iter().flat_map(|it| [(it, true), (it, false)]) {
        for seed in 0..32 {
            let fleet = of_one_seat(2, is_one_board);
            // Where all are well nobody is looked at.
            fleet.posts.iter().for_each(|post| post.doubt());
            let (other, moves) = (RefCell::new(None), Cell::new(0));
            let look = |at: usize| {
                if moves.replace(moves.get() + 1) < 12 {
                    drop(other.take());
                    other.replace(Some(fleet.posts[at].sit()));
                }
                seen(&fleet, at)
            };
            let (session, prefix) = (Some(mix(seed)), Some(mix(seed)));
            let draw = Draw { tried: 0, seed, turn: u32::try_from(seed).unwrap(), session, prefix };
            let taken = fleet.lineup.with(None, look).take(policy, &draw).unwrap();
            let both = fleet.posts.iter().all(|post| post.in_flight() == 1);
            assert!(taken.had_room && both, "{} {is_one_board} {seed}", policy.name);
        }
    }
}

/// The last seat at the one that is well is taken by another, who soon leaves. That is no reason to ask one that rests.
#[test]
fn who_was_late_for_the_last_seat_asks_none_that_rests() {
    for (policy, is_one_board) in POLICIES.iter().flat_map(|it| [(it, true), (it, false)]) {
        let fleet = of_one_seat(2, is_one_board);
        fleet.posts.iter().for_each(|post| post.doubt());
        let (other, moves) = (RefCell::new(None), Cell::new(0));
        let look = |at: usize| {
            let is_there = at == 1 && moves.replace(moves.get() + 1) < 3;
            drop(other.take());
            other.replace(is_there.then(|| fleet.posts[0].sit()));
            let rests = Peer { state: State::Ejected, ..fleet.peers[1] };
            if at == 0 { seen(&fleet, 0) } else { rests }
        };
        let draw = Draw { session: Some(1), prefix: Some(1), ..Draw::default() };
        let taken = fleet.lineup.with(None, look).take(policy, &draw).unwrap();
        assert_eq!((taken.at, taken.had_room), (0, true), "{} {is_one_board}", policy.name);
    }
}

/// No more requests than there are seats, which come and go without a pause: whenever one comes, there is room.
#[test]
fn who_comes_while_others_leave_fills_no_instance_above_its_room() {
    const ROUNDS: u64 = 20_000;
    for (policy, is_one_board) in POLICIES.iter().flat_map(|it| [(it, true), (it, false)]) {
        let fleet = of_one_seat(3, is_one_board);
        let look = |at: usize| seen(&fleet, at);
        let comes = &|seed: u64| {
            let (session, prefix) = (Some(mix(seed % 5)), Some(mix(seed % 3)));
            let draw = Draw { tried: 0, seed, turn: 0, session, prefix };
            fleet.lineup.with(None, look).take(policy, &draw).unwrap().had_room
        };
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let name = policy.name;
                let comes_and_goes = move || (0..ROUNDS).all(|round| comes(round * 3 + thread));
                scope.spawn(move || assert!(comes_and_goes(), "{name} {is_one_board}"));
            }
        });
    }
}

#[test]
fn where_nobody_has_room_one_is_filled_above_it_all_the_same() {
    let peers = peers(3, |_, peer| peer.in_flight = 2);
    let fleet = Fleet::new(&peers, |at| at, 2);
    for policy in POLICIES {
        let look = |at: usize| fleet.peers[at];
        let draw = Draw { tried: 1, session: Some(1), prefix: Some(1), ..Draw::default() };
        let taken = fleet.lineup.with(Some(3), look).take(policy, &draw).unwrap();
        assert!(!taken.had_room && taken.at != 0, "{}", policy.name);
        assert_eq!(fleet.posts[taken.at].in_flight(), 3);
    }
}

/// Whether all are looked at or a pair alone: who is unwell gives each of the others the same share.
#[test]
fn those_that_are_well_share_the_work_of_those_that_are_not() {
    for unwell in [0b1u64, 0b0110_0011, 0b1111_1100] {
        let peers = peers(8, |at, peer| {
            peer.state = if unwell >> at & 1 == 1 { State::Ejected } else { State::Healthy };
        });
        for policy in POLICIES {
            let taken = tally(policy, &peers, 8_000);
            let share = 8_000 / (8 - unwell.count_ones());
            for (at, taken) in taken.iter().enumerate() {
                let wanted = if unwell >> at & 1 == 1 { 0 } else { share };
                let name = policy.name;
                assert!(taken.abs_diff(wanted) <= wanted / 8, "{name} {unwell:b} {at}: {taken}");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_pick_is_untried_and_of_the_best_state_left(
        peers in prop::collection::vec(any_peer(), 0..70),
        tried in any::<u64>(), seed in any::<u64>(), turn in any::<u32>(),
        session in any::<Option<u64>>(), prefix in any::<Option<u64>>(), at in 0..POLICIES.len(),
    ) {
        let policy = &POLICIES[at];
        let draw = Draw { tried, seed, turn, session, prefix };
        let fitness = |peer: &Peer| match peer.state {
            State::Cold => State::Healthy,
            state => state,
        };
        let left = peers.iter().enumerate().take(INSTANCES_MAX)
            .filter(|(at, peer)| tried & (1 << at) == 0 && peer.state != State::Draining);
        let best = left.map(|(_, peer)| fitness(peer)).min();
        let picked = policy.pick(peers.len(), &draw, &|at: usize| peers[at]);
        prop_assert_eq!(picked.map(|at| fitness(&peers[at])), best);
        if let Some(at) = picked {
            prop_assert!(tried & (1 << at) == 0);
            prop_assert_eq!(policy.pick(peers.len(), &draw, &|at: usize| peers[at]), Some(at));
        }
    }

    /// Side by side on a board, in whatever order, or looked at one by one: the same policies, the same picks.
    #[test]
    fn a_board_changes_no_pick(
        (peers, told) in prop::collection::vec((any_peer(), prop::option::of(1u32..7)), 0..64)
            .prop_map(|both| both.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()),
        most in prop_oneof![1u32..7, Just(u32::MAX)], is_told: bool,
        tried in any::<u64>(), seed in any::<u64>(), turn in any::<u32>(),
        session in any::<Option<u64>>(), prefix in any::<Option<u64>>(), at in 0..POLICIES.len(),
    ) {
        let policy = &POLICIES[at];
        let count = peers.len();
        let draw = Draw { tried, seed, turn, session, prefix };
        let room = Room { most, told: is_told };
        let fleet = Fleet::telling(&peers, |at| at, room, &told);
        let looked = policy.pick(count, &draw, &|at: usize| fleet.peers[at]);
        prop_assert_eq!(fleet.pick(policy, Some(3), &draw), looked);
        prop_assert_eq!(fleet.pick(policy, None, &draw), looked);
        // Those on boards of their own are looked at.
        let doubted = || {
            let post = Arc::<Post>::default();
            post.doubt();
            post
        };
        let apart = peers.iter().map(|peer| (doubted(), peer.id));
        let apart = Lineup::new(apart, room);
        let apart = apart.with(Some(3), |at| fleet.peers[at]).pick(policy, &draw);
        prop_assert_eq!(apart, looked);
        // In another order others may be drawn, as fit as these.
        let turned = Fleet::telling(&peers, |at| count - 1 - at, room, &told);
        let fitness = |at: usize| match fleet.peers[at].state {
            State::Cold => State::Healthy,
            state => state,
        };
        let picked = turned.pick(policy, Some(3), &draw);
        prop_assert_eq!(picked.map(fitness), looked.map(fitness));
        prop_assert!(picked.is_none_or(|at| tried & (1 << at) == 0));
        let session = policy.name == "session" && session.is_some();
        prop_assert!(!session || picked == looked || fitness(picked.unwrap()) > State::Saturated);
    }
}
