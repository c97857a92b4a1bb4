//! Chance from a seed: resampling, simulated traffic, tests.
//!
//! SplitMix64 (Steele, Lea & Flood 2014): one word of state, equal on every machine, good enough for
//! simulation and useless for secrets. Different purposes draw from different forks, so that adding a
//! draw to one leaves the others as they were.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Draws {
    state: u64,
    spare: Option<f64>,
}

/// Above this mean a Poisson count is drawn in halves, where e^-mean does not underflow.
const POISSON_MEAN_MAX: f64 = 500.0;

impl Draws {
    /// A stream that the seed decides.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, spare: None }
    }

    /// Another stream, decided by this one's seed and a number.
    pub fn fork(&self, which: u64) -> Self {
        // One step of the generator keeps forks of neighbouring numbers apart.
        Self::new(Self::new(self.state ^ which.wrapping_mul(0xd6e8_feb8_6659_fd93)).word())
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 / 2f64.powi(53)
    }

    /// True with this probability.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// A whole number below `n`, 0 if there is none. The bias of the multiplication is below n / 2^64.
    pub fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.word()) * u128::from(n);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Standard normal (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (2.0 * std::f64::consts::PI * self.uniform()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// How many of `n` trials hit, each with probability `p`; exact, at the price of the rarer outcome.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        if p <= 0.0 || p.is_nan() {
            return 0;
        }
        // Waiting times between hits are geometric: jump from hit to hit (Devroye 1986, X.4).
        let ln_miss = (-p).ln_1p();
        let (mut hits, mut passed) = (0, 0.0);
        loop {
            passed += (-self.exponential() / ln_miss).floor() + 1.0;
            if passed > n as f64 {
                return hits;
            }
            hits += 1;
        }
    }

    /// A Poisson count with this mean; 0 unless it is positive.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean > POISSON_MEAN_MAX {
            return self.poisson(mean / 2.0) + self.poisson(mean / 2.0);
        }
        if mean <= 0.0 || mean.is_nan() {
            return 0;
        }
        let (floor, mut product, mut count) = ((-mean).exp(), self.uniform(), 0);
        while product > floor {
            product *= self.uniform();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asymptotic::Moments;
    use crate::test_support::near;

    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let mut moments = Moments::default();
        for _ in 0..100_000 {
            moments.observe(draw()).unwrap();
        }
        (moments.mean(), moments.variance().unwrap())
    }

    #[test]
    fn the_distributions_have_their_mean_and_variance() {
        let mut draws = Draws::new(1);
        for (got, want) in [
            (moments(|| draws.uniform()), (0.5, 1.0 / 12.0)),
            (moments(|| draws.normal()), (0.0, 1.0)),
            (moments(|| draws.exponential()), (1.0, 1.0)),
            (moments(|| draws.poisson(3.0) as f64), (3.0, 3.0)),
            (moments(|| draws.binomial(20, 0.05) as f64), (1.0, 0.95)),
            (moments(|| draws.binomial(5, 0.9) as f64), (4.5, 0.45)),
            (moments(|| f64::from(u8::from(draws.chance(0.2)))), (0.2, 0.16)),
        ] {
            near(got.0, want.0, 0.02);
            near(got.1, want.1, 0.05);
        }
        near(moments(|| draws.poisson(2_000.0) as f64).0, 2_000.0, 1.0);
        assert_eq!((draws.poisson(0.0), draws.below(0), draws.below(1)), (0, 0, 0));
        assert_eq!((draws.binomial(7, 0.0), draws.binomial(7, 1.0)), (0, 7));
    }

    #[test]
    fn a_fork_repeats_and_differs_from_its_neighbour() {
        let draws = Draws::new(9);
        assert_eq!(draws.fork(1).word(), draws.fork(1).word());
        assert_ne!(draws.fork(1).word(), draws.fork(2).word());
    }
}
