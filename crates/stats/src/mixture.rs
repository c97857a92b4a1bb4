//! Mixture boundaries: curves that a random walk crosses with probability at most alpha, ever.
//!
//! For a sum S with intrinsic variance V the mixture supermartingale exceeds 1/alpha with probability at
//! most alpha, so the S at which it does is a boundary. Two are here:
//!
//! * two-sided normal mixture (sub-Gaussian S): u(v) = sqrt((v + rho)(ln(1 + v/rho) + 2 ln(1/alpha)));
//! * beta-binomial mixture (increments in {-g, h} or bounded by them), one- or two-sided.
//!
//! rho is tuned to be tightest at an expected variance v_opt: rho = v_opt / (2 ln(1/a) + ln(1 + 2
//! ln(1/a))). Being wrong about v_opt costs width, never validity. Source: Howard, Ramdas, McAuliffe &
//! Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences" (arXiv 1810.08240).
//!
//! Assumes one observation per unit. Fails like every such boundary on dependent observations.

use crate::level::{Alpha, Count, Interval, Invalid, check};
use crate::special::{bisect, bisect_up, ln_beta, ln_beta_cdf};

/// Keeps the beta prior proper where the tuned variance is tiny.
const PRIOR_MIN: f64 = 1e-3;

fn tuned_rho(v_opt: f64, alpha: f64) -> f64 {
    let twice = -2.0 * alpha.ln();
    v_opt / (twice + twice.ln_1p())
}

/// Boundary of the two-sided normal mixture at variance `v`, tightest near `v_opt`.
pub fn normal_bound(v: f64, v_opt: f64, alpha: Alpha) -> Result<f64, Invalid> {
    check("variance", v, v >= 0.0)?;
    check("expected variance", v_opt, v_opt > 0.0)?;
    let rho = tuned_rho(v_opt, alpha.get());
    Ok(((v + rho) * ((v / rho).ln_1p() - 2.0 * alpha.get().ln())).sqrt())
}

/// Whether a boundary guards one direction or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Only upwards.
    One,
    /// Upwards and downwards, at the same alpha together.
    Two,
}

/// The beta-binomial mixture for increments between `-down` and `up`.
#[derive(Clone, Copy, Debug)]
pub struct BetaBinomial {
    down: f64,
    up: f64,
    prior: f64,
    sides: Sides,
    log_normalizer: f64,
}

/// The range of the increments that a boundary is for, and the variance where it is to be tightest.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// An increment is at least minus this.
    pub down: f64,
    /// An increment is at most this.
    pub up: f64,
    /// The variance at which a decision is expected.
    pub v_opt: f64,
}

impl BetaBinomial {
    /// A mixture tuned for this walk and level.
    pub fn new(walk: Walk, alpha: Alpha, sides: Sides) -> Result<Self, Invalid> {
        let Walk { down, up, v_opt } = walk;
        check("increment downwards", down, down > 0.0)?;
        check("increment upwards", up, up > 0.0)?;
        check("expected variance", v_opt, v_opt > 0.0)?;
        let rho = match sides {
            // Above one half a one-sided boundary would have no prior left to tune.
            Sides::One => tuned_rho(v_opt, (2.0 * alpha.get()).min(0.999)),
            Sides::Two => tuned_rho(v_opt, alpha.get()),
        };
        let prior = (rho - down * up).max(PRIOR_MIN * down * up);
        let mut mixture = Self { down, up, prior, sides, log_normalizer: 0.0 };
        mixture.log_normalizer = mixture.ln_beta_part(0.0, 0.0);
        Ok(mixture)
    }

    #[expect(clippy::many_single_char_names, reason = "the names of the published formula")]
    fn ln_beta_part(&self, s: f64, v: f64) -> f64 {
        let Self { down: g, up: h, prior, .. } = *self;
        let a = (prior + v - g * s) / (g * (g + h));
        let b = (prior + v + h * s) / (h * (g + h));
        let part = match self.sides {
            Sides::One => ln_beta_cdf(a, b, h / (g + h)),
            Sides::Two => 0.0,
        };
        part + ln_beta(a, b)
    }

    /// The logarithm of the mixture at sum `s` and variance `v`.
    pub fn log_e(&self, s: f64, v: f64) -> f64 {
        let Self { down: g, up: h, .. } = *self;
        v / (g * h) * (g + h).ln()
            - (v + h * s) / (h * (g + h)) * g.ln()
            - (v - g * s) / (g * (g + h)) * h.ln()
            + self.ln_beta_part(s, v)
            - self.log_normalizer
    }

    /// The sum that is reached with probability at most alpha, or `None` while even the largest
    /// possible sum is no surprise. (Taking that largest sum for a boundary would turn "no bound yet"
    /// into a bound that is crossed freely.)
    pub fn bound(&self, v: f64, alpha: Alpha) -> Option<f64> {
        let most = v / self.down;
        let threshold = -alpha.get().ln();
        let below = |s| self.log_e(s, v) < threshold;
        (!below(most)).then(|| bisect_up(0.0, most, below))
    }
}

/// Confidence sequence for the probability of a hit, two-sided at `alpha`, tightest near `n_opt` trials.
pub fn bernoulli_interval(count: Count, alpha: Alpha, n_opt: f64) -> Result<Interval, Invalid> {
    check("expected trials", n_opt, n_opt >= 1.0)?;
    let Some(seen) = count.share() else { return Ok(Interval { low: 0.0, high: 1.0 }) };
    let n = count.trials as f64;
    let refuted = |p: f64| {
        let walk = Walk { down: p, up: 1.0 - p, v_opt: p * (1.0 - p) * n_opt };
        BetaBinomial::new(walk, alpha, Sides::Two).is_ok_and(|mixture| {
            mixture.log_e((seen - p) * n, p * (1.0 - p) * n) >= -alpha.get().ln()
        })
    };
    Ok(Interval {
        low: if count.hits == 0 { 0.0 } else { bisect(0.0, seen, refuted) },
        high: if count.misses() == 0 { 1.0 } else { bisect(seen, 1.0, |p| !refuted(p)) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{count, near};

    const ALPHA: Alpha = Alpha::FIVE_PERCENT;

    #[test]
    fn the_normal_boundary_is_the_published_one() {
        near(normal_bound(100.0, 100.0, ALPHA).unwrap(), 30.352_09, 1e-5);
    }

    #[test]
    fn the_beta_binomial_boundaries_are_the_published_ones() {
        let walk = Walk { down: 0.2, up: 0.8, v_opt: 100.0 };
        let bound =
            |sides| BetaBinomial::new(walk, ALPHA, sides).unwrap().bound(100.0, ALPHA).unwrap();
        near(bound(Sides::Two), 31.430_8, 1e-4);
        near(bound(Sides::One), 28.412_38, 1e-5);
    }

    #[test]
    fn bernoulli_sequences_are_the_published_ones() {
        let check = |hits, trials, n_opt, low, high| {
            let got = bernoulli_interval(count(hits, trials), ALPHA, n_opt).unwrap();
            near(got.low, low, 1e-5);
            near(got.high, high, 1e-5);
        };
        check(700, 1_000, 100.0, 0.651_629, 0.745_949);
        check(15, 50, 50.0, 0.129_556, 0.511_896);
        check(5, 50, 50.0, 0.013_021, 0.269_264);
        check(1, 50, 50.0, 0.0, 0.134_89);
        check(1, 2, 50.0, 0.0, 1.0);
        check(100, 200, 1.0, 0.328_923, 0.671_076);
        check(0, 1, 50.0, 0.0, 1.0);
        check(1, 1, 50.0, 0.0, 1.0);
    }
}
