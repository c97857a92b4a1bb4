//! Kayenta: metrics as time series of one point per minute, canary against baseline by Mann-Whitney at
//! confidence 0.98; a metric is high when the interval of the shift lies above a quarter of the
//! estimated shift. The score is the share of metrics that pass; looked at each hour for three hours.

use cutover_units::{Arm, Millis};

use super::{Peer, Policy, Say, of};
use cutover_rollout::{ArmSide, Window};

const WEIGHT: u16 = 1_000;
const HOURS: u32 = 3;
const HOUR_POINTS: u32 = 60;
/// Below the first it aborts at once; the last judgement must reach the second.
const MARGINAL: f64 = 50.0;
const PASS: f64 = 75.0;
const TOLERANCE: f64 = 0.25;
/// The 99 % point of a standard normal variable: two-sided confidence 0.98.
const Z: f64 = 2.326_347_874;

/// Points of one metric in both arms.
#[derive(Default)]
struct Series {
    candidate: Vec<f64>,
    baseline: Vec<f64>,
    /// Whether less is worse.
    falling: bool,
}

struct Judge {
    minutes: u32,
    metrics: [Series; 3],
}

impl Policy for Judge {
    fn interval(&self) -> Millis {
        Millis(60_000)
    }

    fn first_weight(&self) -> u16 {
        WEIGHT
    }

    fn wants_pairs(&self) -> bool {
        true
    }

    fn look(&mut self, seen: &Window) -> Say {
        self.minutes += 1;
        let [errors, times, scores] = &mut self.metrics;
        for arm in [Arm::Candidate, Arm::Baseline] {
            let n = of(seen, arm).count() as f64;
            if n > 0.0 {
                let failed = of(seen, arm).filter(|seen| seen.served.failed).count() as f64;
                let total: f64 = of(seen, arm).map(|seen| f64::from(seen.served.total_ms)).sum();
                errors.push(arm, failed / n);
                times.push(arm, total / n);
            }
        }
        let side = |of: fn(&cutover_rollout::ScoredPair) -> ArmSide| {
            let n = seen.pairs.len() as f64;
            let sum: f64 = seen.pairs.iter().filter_map(|pair| of(pair).score).map(f64::from).sum();
            (n > 0.0).then(|| sum / n)
        };
        if let (Some(c), Some(b)) = (side(|pair| pair.candidate), side(|pair| pair.baseline)) {
            scores.push(Arm::Candidate, c);
            scores.push(Arm::Baseline, b);
        }
        if !self.minutes.is_multiple_of(HOUR_POINTS) {
            return Say::Weight(WEIGHT);
        }
        let passed = self.metrics.iter().filter(|series| !series.is_worse()).count();
        let score = 100.0 * passed as f64 / self.metrics.len() as f64;
        let last = self.minutes >= HOURS * HOUR_POINTS;
        if score < MARGINAL || (last && score < PASS) {
            Say::RollBack
        } else if last {
            Say::Promote
        } else {
            Say::Weight(WEIGHT)
        }
    }
}

impl Series {
    fn push(&mut self, arm: Arm, value: f64) {
        match arm {
            Arm::Candidate => self.candidate.push(value),
            _ => self.baseline.push(value),
        }
    }

    /// Classified as high (or low, where less is worse). No data passes.
    fn is_worse(&self) -> bool {
        let (n, m) = (self.candidate.len() as f64, self.baseline.len() as f64);
        let mut shifts: Vec<f64> =
            self.candidate.iter().flat_map(|c| self.baseline.iter().map(move |b| c - b)).collect();
        if shifts.is_empty() {
            return false;
        }
        let sign = if self.falling { -1.0 } else { 1.0 };
        for shift in &mut shifts {
            *shift *= sign;
        }
        shifts.sort_by(f64::total_cmp);
        let estimate = f64::midpoint(shifts[(shifts.len() - 1) / 2], shifts[shifts.len() / 2]);
        // The rank from which the ordered shifts bound the shift (normal approximation).
        let rank = (n * m / 2.0 - Z * (n * m * (n + m + 1.0) / 12.0).sqrt()).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 0 and below the number of shifts"
        )]
        let low = shifts[rank as usize];
        low > TOLERANCE * estimate.abs()
    }
}

pub(super) const ROW: Peer = Peer {
    name: "Kayenta, Mann-Whitney",
    rule: "10 % for three hours; per-minute error rate, mean time and mean score of both arms; rolls back \
           if at an hour fewer than half of the metrics pass or at the end fewer than 75 %",
    source: "spinnaker/kayenta, kayenta-judge and kayenta-mannwhitney: confidence 0.98, tolerance 0.25",
    start: || {
        let scores = Series { falling: true, ..Series::default() };
        Box::new(Judge { minutes: 0, metrics: [Series::default(), Series::default(), scores] })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    fn series(candidate: &[f64], baseline: &[f64]) -> Series {
        Series { candidate: candidate.to_vec(), baseline: baseline.to_vec(), falling: false }
    }

    #[test]
    fn an_effect_widens_its_own_tolerance() {
        // Seven of ten points at a hundred times the baseline pass, as in the project's issue 6278: the
        // tolerance grows with the estimate.
        let mut candidate = vec![99.999_93; 7];
        candidate.extend([1.0; 3]);
        let baseline: Vec<f64> = (0..10).map(|i| 1.0 + f64::from(i) * 1e-5).collect();
        assert!(!series(&candidate, &baseline).is_worse());
        assert!(series(&[100.0; 10], &baseline).is_worse());
        assert!(!series(&[], &baseline).is_worse());
    }
}
