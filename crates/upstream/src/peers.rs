//! Instances of one upstream beside each other.

use cutover_route::health::{Tally, outliers};
use cutover_units::Millis;

use crate::health::Health;

/// Ejects those that failed beyond doubt more often than the others since this was asked last. Who rests for that
/// already is not judged by what ends meanwhile, and neither is who had no request: its rest is no good while.
pub fn compare<'a>(peers: impl Iterator<Item = &'a Health> + Clone, now: Millis) {
    let tally = |peer: &Health| {
        let tally = peer.take_tally();
        if peer.is_outlier(now) { Tally::default() } else { tally }
    };
    let tallies: Vec<_> = peers.clone().map(tally).collect();
    let resting = peers.clone().filter(|peer| peer.is_outlier(now) && !peer.is_out()).count();
    let found = outliers(&tallies, resting);
    for (at, (peer, tally)) in peers.zip(&tallies).enumerate() {
        if tally.ok > 0 || tally.failed > 0 {
            peer.judged_by_peers(at < 64 && found & (1 << at) != 0, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_MS: u64 = 10_000;

    /// Requests of one window, by turns, at those that do not rest: so many of a hundred fail, never five in a row.
    fn window(peers: &[Health], failing: &[u32], from: u64) {
        for (peer, failing) in peers.iter().zip(failing) {
            if peer.is_outlier(Millis(from)) {
                continue;
            }
            for nth in 0..100 {
                let at = Millis(from + 1 + nth);
                let has_failed = |nth: u64| nth * u64::from(*failing) / 100;
                if has_failed(nth + 1) > has_failed(nth) {
                    peer.failed(at, at);
                } else {
                    peer.succeeded();
                }
            }
        }
        compare(peers.iter(), Millis(from + WINDOW_MS));
    }

    fn peers() -> [Health; 4] {
        std::array::from_fn(|_| Health::default())
    }

    /// Two of four rested, and the next window took the third.
    #[test]
    fn at_most_half_rest_at_once_over_many_windows() {
        let peers = peers();
        let mut most = 0;
        for from in (0..60).map(|nth| nth * WINDOW_MS) {
            window(&peers, &[75, 75, 50, 0], from);
            let now = Millis(from + WINDOW_MS);
            most = most.max(peers.iter().filter(|peer| peer.is_outlier(now)).count());
        }
        assert_eq!(most, 2);
    }

    /// The windows of its rest, in which it had no request, had forgiven it: each rest was of 30 s.
    #[test]
    fn an_outlier_that_stays_one_rests_for_longer_and_longer() {
        let peers = peers();
        let mut rests = Vec::new();
        let mut since = None;
        for from in (0..150).map(|nth| nth * WINDOW_MS) {
            window(&peers, &[75, 0, 0, 0], from);
            let end = from + WINDOW_MS;
            match (since, peers[0].is_outlier(Millis(end))) {
                (None, true) => since = Some(end),
                (Some(began), false) => {
                    rests.push((end - began) / 1_000);
                    since = None;
                }
                _ => {}
            }
        }
        assert_eq!(rests[..4], [30, 60, 90, 120]);
        assert!(rests.iter().all(|rest| *rest <= 300), "{rests:?}");
    }
}
