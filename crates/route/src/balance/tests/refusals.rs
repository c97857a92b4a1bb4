//! Who says no to requests says it at once: it must not have those of all for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// What an answer takes on average, and a refusal.
const ANSWER_US: u64 = 200_000;
const REFUSAL_US: u64 = 1_000;
const REQUESTS: usize = 6_000;

/// The policies that look at what is in flight.
const BY_LOAD: [&str; 4] = ["least-latency", "least-outstanding", "model-aware", "prefix-affine"];

/// Clients each of whom asks again when it is answered, and instances that refuse so many of 100 requests.
struct Play<'a> {
    clients: usize,
    refuse: &'a [u64],
    /// From this request on nobody refuses any.
    until: usize,
    /// Else the last is on a board of its own.
    is_one_board: bool,
}

fn play(clients: usize, refuse: &[u64]) -> Play<'_> {
    Play { clients, refuse, until: usize::MAX, is_one_board: true }
}

impl Play<'_> {
    /// Where each request went.
    fn run(&self, policy: &Policy) -> Vec<usize> {
        let board = Arc::new(Board::default());
        let last = self.refuse.len() - 1;
        let post = |at| (self.is_one_board || at < last).then(|| board.post()).flatten();
        let posts: Vec<_> = (0..=last).map(|at| Arc::new(post(at).unwrap_or_default())).collect();
        let ids = posts.iter().zip(0..).map(|(post, at)| (Arc::clone(post), mix(at)));
        let lineup = Lineup::new(ids, u32::MAX);
        let look = |at: usize| Peer {
            in_flight: posts[at].in_flight(),
            latency_us: posts[at].latency_us(),
            ..peer(at)
        };
        let asks = |client| Reverse((0, client, None::<(usize, bool)>));
        let mut events: BinaryHeap<_> = (0..self.clients).map(asks).collect();
        let (mut taken, mut seats) = (Vec::new(), Vec::new());
        seats.resize_with(self.clients, || None);
        while let Some(Reverse((now_us, client, ended))) = events.pop() {
            seats[client] = None;
            match ended {
                Some((at, true)) => posts[at].owes(),
                Some((at, false)) => {
                    posts[at].set_latency_us(ANSWER_US);
                    posts[at].answered();
                }
                None => {}
            }
            if taken.len() == REQUESTS {
                break;
            }
            let turn = u32::try_from(taken.len()).unwrap();
            let chance = mix(u64::from(turn) | 1 << 40);
            let prefix = Some(mix(chance % 40));
            let draw = Draw { seed: u64::from(turn), turn, prefix, ..Draw::default() };
            let picked = lineup.with(None, look).take(policy, &draw).unwrap();
            let refuses = taken.len() < self.until && chance % 100 < self.refuse[picked.at];
            let takes_us = if refuses { REFUSAL_US } else { ANSWER_US / 2 };
            let takes_us = takes_us + mix(chance) % if refuses { 100 } else { ANSWER_US };
            taken.push(picked.at);
            seats[client] = Some(picked.seat);
            events.push(Reverse((now_us + takes_us, client, Some((picked.at, refuses)))));
        }
        taken
    }

    /// What each had of the last so many requests, in percent of its even share.
    fn shares(&self, policy: &Policy, last: usize) -> Vec<usize> {
        let taken = self.run(policy);
        let percent = |at: usize| {
            let its = taken[REQUESTS - last..].iter().filter(|to| **to == at).count();
            its * 100 * self.refuse.len() / last
        };
        (0..self.refuse.len()).map(percent).collect()
    }
}

#[test]
fn one_that_refuses_at_once_gets_no_more_than_its_even_share() {
    let cases: [&[u64]; 5] =
        [&[100, 0, 0], &[100, 0], &[0, 100, 100, 0], &[100, 100, 0], &[0, 40, 0]];
    for policy in BY_LOAD.map(named) {
        for (refuse, clients) in cases.iter().flat_map(|case| [1, 3, 12, 60].map(|n| (case, n))) {
            // Beside one that has no peer on its board nobody forgives anything.
            for is_one_board in [true, refuse.len() == 2] {
                let play = Play { is_one_board, ..play(clients, refuse) };
                let shares = play.shares(policy, REQUESTS);
                for (share, _) in shares.iter().zip(*refuse).filter(|(_, refuse)| **refuse > 0) {
                    let told = format!("{} {refuse:?} x{clients}: {shares:?}", policy.name);
                    assert!(*share <= 115, "{told}");
                }
            }
        }
    }
}

/// Who sends bad requests to all of them is no reason to ask one of them less.
#[test]
fn what_all_refuse_alike_changes_nobodys_share() {
    for policy in BY_LOAD[..3].iter().map(|name| named(name)) {
        for refuse in [[100; 4], [30; 4], [1; 4]] {
            for clients in [1, 12, 60] {
                let shares = play(clients, &refuse).shares(policy, REQUESTS);
                let even = shares.iter().all(|share| (85..=115).contains(share));
                assert!(even, "{} {refuse:?} x{clients}: {shares:?}", policy.name);
            }
        }
    }
}

#[test]
fn one_that_refuses_no_more_has_its_share_again_soon() {
    for policy in BY_LOAD[..3].iter().map(|name| named(name)) {
        for clients in [1, 12, 60] {
            let play = Play { until: 4_000, ..play(clients, &[100, 0, 0]) };
            let shares = play.shares(policy, 1_800);
            assert!(shares[0] >= 85, "{} x{clients}: {shares:?}", policy.name);
        }
    }
}

#[test]
fn what_one_owes_its_peers_answers_forgive_in_the_time_of_an_answer() {
    let board = Arc::new(Board::default());
    let [one, two, three] = [(); 3].map(|()| Arc::new(board.post().unwrap()));
    (0..8).for_each(|_| one.owes());
    one.answered();
    assert_eq!([&one, &two, &three].map(|post| post.owed()), [8, 0, 0], "its own forgive nothing");
    let seats: Vec<_> =
        [&two, &three].into_iter().flat_map(|post| (0..7).map(|_| post.sit())).collect();
    (0..8).for_each(|_| [&two, &three].into_iter().for_each(|post| post.answered()));
    assert!((2..=4).contains(&one.owed()), "of eight about three are left: {}", one.owed());
    drop(seats);
    (0..8).for_each(|_| two.answered());
    assert_eq!(one.owed(), 0);
    (0..1_000).for_each(|_| two.answered());
    assert_eq!(board.owing(), 0, "and nobody looks any more");
    // One alone has nobody who would take them.
    let alone = Post::default();
    alone.owes();
    assert_eq!(alone.owed(), 0);
}
