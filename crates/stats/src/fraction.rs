//! E1 for a plain fraction: "at most p0 of the requests are over the limit".
//!
//! Likelihood ratio of Bernoulli trials against p0, averaged over a fixed grid of alternatives
//! p_j = f_j p0:
//!
//! ```text
//! log E = ln( (1/J) sum_j exp( k ln(p_j/p0) + (n-k) ln((1-p_j)/(1-p0)) ) )
//! ```
//!
//! with f in {0.1, 0.25, 0.5, 0.7, 0.85} for the proof that the fraction is below p0 and
//! {1.2, 1.5, 2, 3, 5} for the proof that it is above (capped halfway to 1). The wealth of one bet is a
//! supermartingale for every fraction on the null's side, because the ratio is monotone in the
//! outcome. Source: Wald's sequential likelihood ratio, mixture as in arXiv 2010.09686.
//!
//! The state is two integers: merging adds them, a restart keeps them. Assumes one trial per unit and
//! window. Fails when the fraction drifts and the gate should only judge now: a cumulative process
//! dilutes what came late, so harm processes restart at each step of a rollout. The alternatives stop
//! at factors of 0.85 and 1.2, so a truth within those of p0 grows evidence slowly or never; the
//! [`bernoulli`](crate::mixture::bernoulli_interval) sequence is the better report.

use crate::betting::mixture;
use crate::claims::Direction;
use crate::level::{Alpha, Count, Interval, Invalid, LogE, check};
use crate::special::bisect;

const BELOW: [f64; 5] = [0.1, 0.25, 0.5, 0.7, 0.85];
const ABOVE: [f64; 5] = [1.2, 1.5, 2.0, 3.0, 5.0];

/// The claim that a fraction lies below or above a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FractionClaim {
    direction: Direction,
    limit: f64,
}

impl FractionClaim {
    /// "The fraction is below (or above) `limit`", a limit strictly between 0 and 1.
    pub fn new(direction: Direction, limit: f64) -> Result<Self, Invalid> {
        check("limit", limit, limit > 0.0 && limit < 1.0)?;
        Ok(Self { direction, limit })
    }

    /// The evidence in these counts for the claim.
    pub fn log_e(self, count: Count) -> LogE {
        log_e(self.direction, self.limit, count)
    }

    /// What one more trial adds to each alternative's log wealth: what a
    /// [`Detector`](crate::Detector) takes.
    pub fn log_factors(self, hit: bool) -> [f64; 5] {
        factors(self.direction, self.limit)
            .map(|(on_hit, on_miss)| if hit { on_hit } else { on_miss })
    }
}

/// Per alternative, the log wealth that a hit and a miss bring.
fn factors(direction: Direction, limit: f64) -> [(f64, f64); 5] {
    let grid = match direction {
        Direction::Below => BELOW,
        Direction::Above => ABOVE,
    };
    grid.map(|factor| {
        let alternative = (factor * limit).min(f64::midpoint(1.0, limit));
        ((alternative / limit).ln(), (-alternative).ln_1p() - (-limit).ln_1p())
    })
}

fn log_e(direction: Direction, limit: f64, count: Count) -> LogE {
    let (hits, misses) = (count.hits as f64, count.misses() as f64);
    mixture(&factors(direction, limit).map(|(on_hit, on_miss)| hits * on_hit + misses * on_miss))
}

/// The limits that neither claim refutes, each side at its own `alpha`: a confidence sequence for the
/// fraction.
pub fn fraction_interval(count: Count, alpha: Alpha) -> Interval {
    // Evidence for "below" grows with the limit and evidence for "above" shrinks, so each end is the
    // single point where the claim stops or starts being proved.
    let proved = |direction, limit| log_e(direction, limit, count).proves_at(alpha);
    Interval {
        low: if count.hits == 0 { 0.0 } else { bisect(0.0, 1.0, |p| proved(Direction::Above, p)) },
        high: if count.misses() == 0 {
            1.0
        } else {
            bisect(0.0, 1.0, |p| !proved(Direction::Below, p))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{count, near};

    #[test]
    fn limits_are_proved_as_the_reference_says() {
        let claim = FractionClaim::new(Direction::Below, 0.05).unwrap();
        near(claim.log_e(count(0, 100)).get(), 3.530_736, 1e-6);
        near(claim.log_e(count(5, 400)).get(), 7.111_551, 1e-6);
        near(claim.log_e(count(20, 1_000)).get(), 10.235_884, 1e-6);
    }

    #[test]
    fn nothing_seen_proves_nothing() {
        for direction in [Direction::Below, Direction::Above] {
            near(
                FractionClaim::new(direction, 0.9).unwrap().log_e(Count::default()).get(),
                0.0,
                1e-12,
            );
        }
        assert_eq!(
            fraction_interval(Count::default(), Alpha::FIVE_PERCENT),
            Interval { low: 0.0, high: 1.0 }
        );
    }

    #[test]
    fn the_interval_holds_what_was_seen_and_narrows() {
        let few = fraction_interval(count(5, 100), Alpha::FIVE_PERCENT);
        let many = fraction_interval(count(500, 10_000), Alpha::FIVE_PERCENT);
        assert!(few.low < many.low && many.low < 0.05, "{few:?} {many:?}");
        assert!(0.05 < many.high && many.high < few.high, "{few:?} {many:?}");
        assert!(
            FractionClaim::new(Direction::Above, many.low * 0.999)
                .is_ok_and(|claim| claim.log_e(count(500, 10_000)).proves_at(Alpha::FIVE_PERCENT))
        );
    }
}
