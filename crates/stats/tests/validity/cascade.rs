//! A cascade's threshold: certified, against the boldest that looks good enough.

use cutover_stats::{Alpha, CalibrationItem, CascadeClaim, Draws, certify};

use crate::harness::{Stops, is_caught, limit};

const RUNS: u32 = 400;
const RETAINED: f64 = 0.97;
const BASELINE: f64 = 0.92;

/// The candidate's probability to be right, given its confidence: barely better than chance where it
/// is unsure, as good as the baseline where it is sure.
fn right(confidence: f64) -> f64 {
    0.55 + 0.43 * confidence
}

/// The true quality of the cascade relative to the baseline's, in closed form over uniform confidence.
fn relative_quality(threshold: Option<f64>) -> f64 {
    let Some(from) = threshold else { return 1.0 };
    let kept = 0.55 * (1.0 - from) + 0.43 * (1.0 - from * from) / 2.0;
    (kept + from * BASELINE) / BASELINE
}

fn items(draws: &mut Draws, n: u32) -> Vec<CalibrationItem> {
    let score = |hit: bool| f64::from(u8::from(hit));
    (0..n)
        .map(|_| {
            let confidence = draws.uniform();
            let candidate = score(draws.chance(right(confidence)));
            CalibrationItem { confidence, candidate, baseline: score(draws.chance(BASELINE)) }
        })
        .collect()
}

fn grid() -> Vec<f64> {
    (0..40).map(|i| f64::from(i) / 40.0).collect()
}

/// The lowest threshold at which the items themselves keep the promise.
fn best_empirical(items: &[CalibrationItem]) -> Option<f64> {
    let baseline: f64 = items.iter().map(|item| item.baseline).sum();
    grid().into_iter().find(|threshold| {
        let served = |item: &CalibrationItem| {
            if item.confidence >= *threshold { item.candidate } else { item.baseline }
        };
        items.iter().map(served).sum::<f64>() >= RETAINED * baseline
    })
}

fn broken(threshold: Option<f64>) -> bool {
    relative_quality(threshold) < RETAINED
}

#[test]
fn a_certified_threshold_keeps_its_promise() {
    let claim = CascadeClaim { retained: RETAINED, delta: Alpha::new(0.1).unwrap() };
    for n in [500, 2_000] {
        let mut used = 0;
        let stops = Stops::of(RUNS, |draws| {
            let found = certify(&items(draws, n), &grid(), claim).unwrap();
            used += u32::from(found.threshold.is_some());
            broken(found.threshold).then_some(1)
        });
        println!("cascade: n = {n}: broken {:.4}, certified {used} of {RUNS}", stops.rate());
        assert!(stops.rate() <= limit(claim.delta, RUNS), "{}", stops.rate());
        assert!(n < 2_000 || used > RUNS / 2, "{used}");
    }
}

#[test]
fn the_best_empirical_threshold_is_caught() {
    let stops = Stops::of(RUNS, |draws| broken(best_empirical(&items(draws, 500))).then_some(1));
    is_caught("best empirical threshold", &stops);
}
