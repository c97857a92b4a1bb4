//! The true rate behind a judge's rate.
//!
//! A judge passes a right answer with probability q1 (sensitivity) and fails a wrong one with q0
//! (specificity). Of the rate p that it passes, the true rate is (Rogan & Gladen 1978)
//!
//! ```text
//! theta = (p + q0 - 1) / (q0 + q1 - 1)
//! ```
//!
//! The interval carries the sampling of the judged pairs and of both calibration samples (Lee et al.,
//! arXiv 2511.21140, with their smoothing): with z the normal quantile, p~ = (n p + z^2/2) / (n + z^2),
//! q~ = (m q + 1) / (m + 2) for each calibration sample, n~ = n + z^2 and m~ = m + 2,
//!
//! ```text
//! d      = 2 z^2 ( theta~ q~1 (1 - q~1) / m~1 - (1 - theta~) q~0 (1 - q~0) / m~0 )
//! se^2   = ( p~ (1 - p~) / n~ + (1 - theta~)^2 q~0 (1 - q~0) / m~0 + theta~^2 q~1 (1 - q~1) / m~1 )
//!          / (q~0 + q~1 - 1)^2
//! theta~ + d +- z se,  cut to [0, 1]
//! ```
//!
//! Assumes that calibration pairs are drawn like the judged ones; one look, for reports. A judge with
//! q0 + q1 <= 1 says nothing about the truth and is refused.

use cutover_stats::{Alpha, Count, Interval};
use serde::{Deserialize, Serialize};

use crate::normal::critical_value;
use crate::refusal::Refusal;

/// How a judge does on answers whose truth people know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// Right answers: how many the judge passed.
    pub sensitivity: Count,
    /// Wrong answers: how many the judge failed.
    pub specificity: Count,
}

/// A corrected rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Corrected {
    /// The estimate, in [0, 1].
    pub estimate: f64,
    /// Its two-sided interval.
    pub interval: Interval,
    /// What the judge said, uncorrected.
    pub naive: f64,
}

/// Corrects the rate at which a judge passed answers.
pub fn corrected_rate(
    passed: Count,
    calibration: &Calibration,
    alpha: Alpha,
) -> Result<Corrected, Refusal> {
    let Calibration { sensitivity, specificity } = *calibration;
    let labels = sensitivity.trials.min(specificity.trials);
    let (Some(p), Some(q1), Some(q0)) = (passed.share(), sensitivity.share(), specificity.share())
    else {
        return Err(Refusal::TooFewLabels { labels, needed: 1 });
    };
    let z = critical_value(alpha);
    let smooth = |count: Count| (count.hits as f64 + 1.0) / (count.trials as f64 + 2.0);
    let (s1, s0) = (smooth(sensitivity), smooth(specificity));
    if q0 + q1 <= 1.0 || s0 + s1 <= 1.0 {
        return Err(Refusal::Uninformative { sum: q0 + q1 });
    }
    let n = passed.trials as f64 + z * z;
    let ps = (passed.hits as f64 + z * z / 2.0) / n;
    let theta = (ps + s0 - 1.0) / (s0 + s1 - 1.0);
    let spread1 = s1 * (1.0 - s1) / (sensitivity.trials as f64 + 2.0);
    let spread0 = s0 * (1.0 - s0) / (specificity.trials as f64 + 2.0);
    let shift = 2.0 * z * z * (theta * spread1 - (1.0 - theta) * spread0);
    let variance = ps * (1.0 - ps) / n + (1.0 - theta).powi(2) * spread0 + theta * theta * spread1;
    let half = z * variance.sqrt() / (s0 + s1 - 1.0);
    Ok(Corrected {
        estimate: ((p + q0 - 1.0) / (q0 + q1 - 1.0)).clamp(0.0, 1.0),
        interval: Interval {
            low: (theta + shift - half).clamp(0.0, 1.0),
            high: (theta + shift + half).clamp(0.0, 1.0),
        },
        naive: p,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(hits: u64, trials: u64) -> Count {
        Count::new(hits, trials).expect("hits within trials")
    }

    fn correct(passed: Count, right: Count, wrong: Count) -> Result<Corrected, Refusal> {
        let calibration = Calibration { sensitivity: right, specificity: wrong };
        corrected_rate(passed, &calibration, Alpha::FIVE_PERCENT)
    }

    #[test]
    fn the_worked_values_are_met() {
        // The formulas above, computed independently.
        let got = correct(count(5_000, 10_000), count(4_500, 5_000), count(4_500, 5_000)).unwrap();
        assert!((got.estimate - 0.5).abs() < 1e-12);
        assert!((got.interval.low - 0.485_708_8).abs() < 1e-6, "{got:?}");
        assert!((got.interval.high - 0.514_291_2).abs() < 1e-6, "{got:?}");
        let got = correct(count(773, 1_000), count(90, 100), count(85, 100)).unwrap();
        assert!((got.estimate - 0.830_666_7).abs() < 1e-6);
        assert!((got.interval.low - 0.762_333_1).abs() < 1e-6, "{got:?}");
        assert!((got.interval.high - 0.919_586_3).abs() < 1e-6, "{got:?}");
    }

    #[test]
    fn a_perfect_judge_is_believed_and_a_coin_is_refused() {
        let got = correct(count(60, 100), count(1_000, 1_000), count(1_000, 1_000)).unwrap();
        assert!((got.estimate - got.naive).abs() < 1e-12);
        assert!(got.interval.contains(0.6));
        let coin = correct(count(60, 100), count(50, 100), count(50, 100));
        assert_eq!(coin, Err(Refusal::Uninformative { sum: 1.0 }));
        assert!(correct(count(60, 100), Count::default(), count(5, 5)).is_err());
    }

    #[test]
    fn fewer_labels_widen_the_interval() {
        let width = |m: u64| {
            let got =
                correct(count(600, 1_000), count(9 * m, 10 * m), count(9 * m, 10 * m)).unwrap();
            got.interval.high - got.interval.low
        };
        assert!(width(5) > width(50) && width(50) > width(500));
    }
}
