//! The lowest confidence from which a candidate's answers may stand, certified (Learn-then-Test).
//!
//! A cascade serves the candidate's answer when its confidence reaches a threshold and asks the
//! baseline otherwise. "At least r times as good as the baseline" is tested for each threshold in a
//! fixed order, from the safest (ask always) to the boldest, each by E1 on
//! y = served - r * baseline; the first that is not proved ends the search. Because the order is fixed,
//! no correction is needed: with probability at least 1 - delta the threshold returned is good enough.
//! Source: Angelopoulos, Bates, Candes, Jordan & Lei, "Learn then Test" (arXiv 2110.01052), fixed
//! sequence testing.
//!
//! Taking instead the boldest threshold whose empirical quality suffices breaks the promise in a
//! third of all cases, because the maximum over thresholds follows the noise. The thresholds must be
//! chosen without the calibration items. Assumes items like those to come; a new model, prompt,
//! quantisation or template needs a new certificate.

use crate::betting::Betting;
use crate::claims::PairClaim;
use crate::level::{Alpha, Count, Invalid, LogE, check};

/// One item that both arms answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationItem {
    /// How sure the candidate is; any scale, more is surer.
    pub confidence: f64,
    /// The candidate's score, 0 to 1.
    pub candidate: f64,
    /// The baseline's score, 0 to 1.
    pub baseline: f64,
}

/// What a certificate promises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CascadeClaim {
    /// The retained share of the baseline's quality, such as 0.95.
    pub retained: f64,
    /// The accepted probability that the promise is broken.
    pub delta: Alpha,
}

/// The result of a search for a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    /// The candidate's answer stands from this confidence on; none: the baseline must always be asked.
    pub threshold: Option<f64>,
    /// Calibration items whose answer would stand.
    pub kept: Count,
    /// The evidence for the last threshold that was proved, or for the first that was not.
    pub log_e: LogE,
}

/// Searches the thresholds from the highest down. Asking always is tested first and needs its proof
/// like the rest.
pub fn certify(
    items: &[CalibrationItem],
    thresholds: &[f64],
    claim: CascadeClaim,
) -> Result<Certificate, Invalid> {
    let quality = PairClaim::Retains(claim.retained).checked()?;
    let mut order = thresholds.to_vec();
    for threshold in thresholds {
        check("threshold", *threshold, true)?;
    }
    for item in items {
        check("confidence", item.confidence, true)?;
        quality.value(item.candidate, item.baseline)?;
    }
    order.sort_by(|a, b| b.total_cmp(a));
    let always_ask = Certificate {
        threshold: None,
        kept: Count { hits: 0, trials: items.len() as u64 },
        log_e: evidence(items, f64::INFINITY, claim)?,
    };
    if !always_ask.log_e.proves_at(claim.delta) {
        return Ok(always_ask);
    }
    let mut best = always_ask;
    for threshold in order {
        let log_e = evidence(items, threshold, claim)?;
        if !log_e.proves_at(claim.delta) {
            break;
        }
        let hits = items.iter().filter(|item| item.confidence >= threshold).count() as u64;
        best = Certificate { threshold: Some(threshold), kept: Count { hits, ..best.kept }, log_e };
    }
    Ok(best)
}

fn evidence(
    items: &[CalibrationItem],
    threshold: f64,
    claim: CascadeClaim,
) -> Result<LogE, Invalid> {
    let quality = PairClaim::Retains(claim.retained);
    let mut process = Betting::default();
    for item in items {
        let kept = item.confidence >= threshold;
        let served = if kept { item.candidate } else { item.baseline };
        process.observe(quality.stake(served, item.baseline)?)?;
    }
    Ok(process.log_e())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: CascadeClaim = CascadeClaim { retained: 0.95, delta: Alpha::FIVE_PERCENT };

    fn items(n: usize, right_from: f64) -> Vec<CalibrationItem> {
        (0..n)
            .map(|i| {
                let confidence = (i % 100) as f64 / 100.0;
                let candidate = f64::from(u8::from(confidence >= right_from));
                CalibrationItem { confidence, candidate, baseline: 1.0 }
            })
            .collect()
    }

    fn grid() -> Vec<f64> {
        (0..40).map(|i| f64::from(i) / 40.0).collect()
    }

    #[test]
    fn the_threshold_stops_where_quality_would_fall_short() {
        let got = certify(&items(2_000, 0.6), &grid(), CLAIM).unwrap();
        let threshold = got.threshold.unwrap();
        assert!((0.55..0.625).contains(&threshold), "{got:?}");
        assert!(got.kept.share().unwrap() > 0.35);
    }

    #[test]
    fn too_few_items_certify_nothing() {
        assert_eq!(certify(&items(40, 0.0), &grid(), CLAIM).unwrap().threshold, None);
        assert_eq!(certify(&[], &grid(), CLAIM).unwrap().kept, Count::default());
    }

    #[test]
    fn a_candidate_that_is_always_right_is_kept_always() {
        assert_eq!(certify(&items(2_000, 0.0), &grid(), CLAIM).unwrap().threshold, Some(0.0));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert!(certify(&items(10, 0.5), &[f64::NAN], CLAIM).is_err());
        let mut bad = items(10, 0.5);
        bad[3].candidate = 1.5;
        assert!(certify(&bad, &grid(), CLAIM).is_err());
        bad[3] = CalibrationItem { confidence: f64::NAN, candidate: 1.0, baseline: 1.0 };
        assert!(certify(&bad, &grid(), CLAIM).is_err());
    }
}
