//! The normal quantile that intervals here need.

use cutover_stats::fixed::wilson;
use cutover_stats::{Alpha, Count};

/// The two-sided critical value z of the normal distribution. Wilson's interval for no hit in one
/// trial ends at z^2 / (1 + z^2), so z is read off it: one normal quantile for the whole project.
pub(crate) fn critical_value(alpha: Alpha) -> f64 {
    let high = wilson(Count { hits: 0, trials: 1 }, alpha).high;
    (high / (1.0 - high)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_in_the_tables() {
        assert!((critical_value(Alpha::FIVE_PERCENT) - 1.959_963_985).abs() < 1e-7);
        assert!((critical_value(Alpha::ONE_IN_A_THOUSAND) - 3.290_526_731).abs() < 1e-6);
    }
}
