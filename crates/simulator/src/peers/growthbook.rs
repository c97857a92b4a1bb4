//! GrowthBook Safe Rollouts: guardrail metrics with one-sided asymptotic confidence sequences; a
//! significant harm of any size rolls back, no significant harm by the end of the duration ships.

use cutover_stats::{Alpha, Asymptotic, Moments, mixture::Sides};
use cutover_units::{Arm, Millis};

use super::{Peer, Policy, Say};
use cutover_rollout::Window;

const DURATION: u64 = 24 * 3_600_000;
const INTERVAL: u64 = 10 * 60_000;
/// The sample that its sequential tests are tuned for.
const TUNED_FOR: f64 = 5_000.0;
/// Fewer units than this per arm are not judged.
const UNITS_MIN: u64 = 100;

#[derive(Default)]
struct Guardrails {
    elapsed: u64,
    errors: (Moments, Moments),
    times: (Moments, Moments),
    /// Candidate's score minus baseline's.
    scores: Moments,
}

impl Guardrails {
    /// The first quarter ramps up, the rest compares equal halves.
    fn weight(&self) -> u16 {
        match self.elapsed {
            0..7_200_000 => 500,
            7_200_000..21_600_000 => 2_500,
            _ => 5_000,
        }
    }

    fn harmful(&self) -> bool {
        let Ok(sequence) = Asymptotic::new(TUNED_FOR, Alpha::FIVE_PERCENT, Sides::One) else {
            return false;
        };
        let rises = |(candidate, baseline): &(Moments, Moments)| {
            let n = candidate.n() + baseline.n();
            let enough = candidate.n().min(baseline.n()) >= UNITS_MIN;
            let variance = candidate.mean_variance().zip(baseline.mean_variance());
            enough
                && variance.is_some_and(|(c, b)| {
                    candidate.mean() - baseline.mean() > sequence.half_width(n, c + b)
                })
        };
        let falls = self.scores.n() >= UNITS_MIN
            && self.scores.mean_variance().is_some_and(|variance| {
                self.scores.mean() < -sequence.half_width(self.scores.n(), variance)
            });
        falls || rises(&self.errors) || rises(&self.times)
    }
}

impl Policy for Guardrails {
    fn interval(&self) -> Millis {
        Millis(INTERVAL)
    }

    fn first_weight(&self) -> u16 {
        self.weight()
    }

    fn wants_pairs(&self) -> bool {
        true
    }

    fn look(&mut self, seen: &Window) -> Say {
        self.elapsed += INTERVAL;
        for exposure in &seen.exposures {
            let share = exposure.share.basis_points();
            // A control as large as the treatment, not next to it.
            let control = 5_000..5_000 + share;
            let (errors, times) = match exposure.arm {
                Arm::Candidate => (&mut self.errors.0, &mut self.times.0),
                _ if control.contains(&exposure.bucket) => (&mut self.errors.1, &mut self.times.1),
                _ => continue,
            };
            let failed = f64::from(u8::from(exposure.served.failed));
            let taken =
                errors.observe(failed).and(times.observe(f64::from(exposure.served.total_ms)));
            debug_assert!(taken.is_ok(), "finite numbers");
        }
        for pair in &seen.pairs {
            if let (Some(c), Some(b)) = (pair.candidate.score, pair.baseline.score) {
                let taken = self.scores.observe((f64::from(c) - f64::from(b)) / 100.0);
                debug_assert!(taken.is_ok(), "finite numbers");
            }
        }
        if self.harmful() {
            Say::RollBack
        } else if self.elapsed >= DURATION {
            Say::Promote
        } else {
            Say::Weight(self.weight())
        }
    }
}

pub(super) const ROW: Peer = Peer {
    name: "GrowthBook, ships if inconclusive",
    rule: "5, 25, then 50 % over a day against an equal control; rolls back on any significant harm in \
           errors, mean time or score, ships otherwise",
    source: "GrowthBook documentation, Safe Rollouts; asymptotic confidence sequences tuned for 5,000",
    start: || Box::<Guardrails>::default(),
};
