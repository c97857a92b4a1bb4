//! Whose turn it is, unless another that is drawn would plainly answer sooner.
//!
//! Averages of few answers are noise, and an instance that seems slow gets few: a policy that believes them
//! sends all to the one that was lucky last, for as long as nobody looks at the other, and where the wait is
//! part of what is measured, to and fro. So of a difference only what lies beyond a doubt counts, and of that
//! no more than [`MOST`]: what is under way is known, and weighs down the rest. The doubt is drawn anew for each
//! request, mostly little and seldom great, so that an instance is asked the oftener the less slow it seems.
//!
//! Invariant: of instances that have as much to do, and averages within the least doubt, any n requests in a row
//! give each n / count, but for less than 2. Where some are not well that holds for [`FEW`].

use super::field::{Best, Field, Peers, is_fittest, len, nth};
use super::{Draw, Kind, Peer, Policy, below, mix};

pub(super) const POLICY: Policy = Policy {
    name: "least-latency",
    doc: "One after the other, unless another instance, drawn by chance, would plainly answer sooner: by its \
          requests in flight, and by its average time to the first byte where that is more than twice as \
          good. Copes with instances of unequal speed, and lets equal ones share evenly. One that has not \
          answered yet counts as fast as the other, and each request it holds as four.",
    reads_prefix: false,
    kind: Kind::LeastLatency,
};

/// What a request in flight counts as at an instance that has not answered any. Not so much that all
/// would wait for the first of several that have just been started to answer.
const UNANSWERED_COUNTS_AS: u64 = 4;

/// How many times as slow as another an instance is taken to be at most: so it gets at least so small a part of
/// what the other has in flight, by which it is seen to be well again. More shows in its requests in flight.
const MOST: u64 = 4;

/// What [`DOUBTS`] are counted in.
const ONE: u64 = 16;

/// How many times as slow an instance must seem to be taken for slower at all, each as likely as another. The nth
/// is 2 x (32 / n)^(1/3): averages of about eight answers of usual spread, of two equal instances, differ by 2 now
/// and then, by 4 hardly ever. One of them believes nothing: an instance that was slow once would never be measured
/// again, were it only taken when it is the faster of two.
const DOUBTS: [u64; 32] = doubts();

const fn doubts() -> [u64; 32] {
    // Of sixteenths, the cube is 2^20 / n.
    let mut doubts = [u64::MAX; 32];
    let mut at = 1;
    while at < doubts.len() {
        let mut doubt: u64 = 2 * ONE;
        while (doubt + 1).pow(3) * (at as u64 + 1) <= 1 << 20 {
            doubt += 1;
        }
        doubts[at] = doubt;
        at += 1;
    }
    doubts
}

/// Averages are taken to be no longer than this, so that products of them are figures: twelve days.
const LONGEST_US: u64 = 1 << 40;

/// So many pairs are drawn of many in the hope that both are well, before all are looked at.
const PAIRS: u64 = 3;

/// So few are all looked at: what those that are well share is even whoever is not.
const FEW: usize = 8;

/// Power of two choices (Mitzenmacher, 2001), the first of them by turn. A pair with one that is not well is not
/// taken: so it is as if it had been drawn from those that are.
pub(super) fn choose<P: Peers + ?Sized>(mut field: Field<'_, P>, draw: &Draw) -> Option<usize> {
    let pairs = if len(field.rest()) > FEW { PAIRS } else { 0 };
    for drawn in 0..pairs {
        let (first, second) = pair(field.rest(), draw, drawn);
        let (one, other) = (field.look(first), field.look(second));
        if is_fittest(&one) && is_fittest(&other) {
            return Some(if is_better(other, one, draw) { second } else { first });
        }
    }
    let set = match field.best()? {
        Best::Fit(set) => set,
        Best::Rested(at) => return Some(at),
    };
    let (first, second) = pair(set, draw, 0);
    Some(if is_better(field.again(second), field.again(first), draw) { second } else { first })
}

/// The one whose turn it is, and another by chance; the same twice if there is only one. Turns go around in an
/// order that begins elsewhere in each round, so that requests which come in turns of their own are not sorted.
fn pair(set: u64, draw: &Draw, drawn: u64) -> (usize, usize) {
    let (mixed, len) = (mix(draw.seed.wrapping_add(drawn << 32)), len(set).max(1));
    if len < 2 {
        return (nth(set, 0), nth(set, 0));
    }
    let turn = draw.turn as usize;
    let first = match drawn {
        0 => turn + below(mix((turn / len) as u64), len),
        _ => below(mixed, len),
    };
    // The second is drawn from the others.
    let second = first + 1 + below(mixed >> 32, len - 1);
    (nth(set, first), nth(set, second))
}

/// The second must be a fifth better to displace the first: small differences in what is under way come and go.
fn is_better(second: Peer, first: Peer, draw: &Draw) -> bool {
    let doubt = DOUBTS[below(mix(draw.seed ^ u64::MAX), DOUBTS.len()) % DOUBTS.len()];
    let (of_first, of_second) = slowness(first.latency_us, second.latency_us, doubt);
    let wait_first = of_first.saturating_mul(to_do(first));
    let wait_second = of_second.saturating_mul(to_do(second));
    wait_second < wait_first - wait_first / 5
}

/// How slow two instances are, each compared with the other, with that much doubt. Nobody knows yet whether one
/// that has answered nothing is slower or faster.
fn slowness(first_us: u64, second_us: u64, doubt: u64) -> (u64, u64) {
    if doubt == u64::MAX || first_us == 0 || second_us == 0 {
        return (1, 1);
    }
    let (first_us, second_us) = (first_us.min(LONGEST_US), second_us.min(LONGEST_US));
    let believed = |slow: u64, fast: u64| (slow * ONE).clamp(fast * doubt, fast * doubt * MOST);
    if first_us < second_us {
        (first_us * doubt, believed(second_us, first_us))
    } else {
        (believed(first_us, second_us), second_us * doubt)
    }
}

/// The requests that an instance would have. Whether one that has answered nothing answers at all nobody knows, so
/// that those that it was sent count several times: one that hangs holds up a few requests, and not all.
fn to_do(peer: Peer) -> u64 {
    let each = if peer.latency_us == 0 { UNANSWERED_COUNTS_AS } else { 1 };
    u64::from(peer.in_flight) * each + 1
}
