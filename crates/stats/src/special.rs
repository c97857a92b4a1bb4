//! Special functions: what the standard library lacks, to about 12 digits.
//!
//! Stirling's series for the log-gamma function, the series and continued fractions of the incomplete
//! gamma and beta functions (Abramowitz & Stegun 6.1.40, 6.5.29, 6.5.31, 26.5.8), inverses by
//! bisection. Logarithms are returned where a value may underflow.

use std::f64::consts::{PI, SQRT_2};

/// Continued fractions here converge in far fewer steps; beyond it the last value is good enough.
const STEPS_MAX: usize = 1_000;

/// Keeps Lentz's recurrence away from a division by zero.
const TINY: f64 = 1e-300;

/// A bisection halves its bracket this often: below one unit in the last place of any bracket here.
const HALVINGS: usize = 100;

/// ln Γ(x) for x > 0.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    // The series is exact to 1e-15 from here on; smaller arguments are shifted up.
    const SERIES_FROM: f64 = 15.0;
    let (mut x, mut product) = (x, 1.0);
    while x < SERIES_FROM {
        product *= x;
        x += 1.0;
    }
    let square = x * x;
    let tail =
        1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1_260.0 - 1.0 / (1_680.0 * square)) / square) / square;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + tail / x - product.ln()
}

/// ln B(a, b).
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// ln of the sum of e^x over the terms.
pub(crate) fn ln_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if most.is_infinite() {
        return most;
    }
    most + terms.map(|term| (term - most).exp()).sum::<f64>().ln()
}

/// ln of the regularised incomplete beta function I_x(a, b).
pub(crate) fn ln_beta_cdf(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let front = a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b);
    // The fraction converges fast below the mean; above it the other tail is taken.
    if x < (a + 1.0) / (a + b + 2.0) {
        front - a.ln() + beta_fraction(a, b, x).ln()
    } else {
        let other = front - b.ln() + beta_fraction(b, a, 1.0 - x).ln();
        (-other.exp().min(1.0)).ln_1p()
    }
}

#[expect(clippy::many_single_char_names, reason = "the names of the published formula")]
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for step in 1..STEPS_MAX {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        value *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// The x with I_x(a, b) = p.
pub(crate) fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    bisect(0.0, 1.0, |x| ln_beta_cdf(a, b, x) < p.ln())
}

/// Upper tail of the regularised incomplete gamma function, Q(a, x).
#[expect(clippy::many_single_char_names, reason = "the names of the published formula")]
pub(crate) fn gamma_upper(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..STEPS_MAX {
            term *= x / (a + step as f64);
            sum += term;
            if term < sum * 1e-16 {
                break;
            }
        }
        return 1.0 - front * sum;
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut value = d;
    for step in 1..STEPS_MAX {
        let m = step as f64;
        let an = -m * (m - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        value *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * value
}

/// P(chi-square with `freedom` degrees exceeds x).
pub(crate) fn chi_square_tail(x: f64, freedom: f64) -> f64 {
    gamma_upper(freedom / 2.0, x / 2.0)
}

/// P(Z <= z) of a standard normal Z.
pub fn normal_cdf(z: f64) -> f64 {
    let tail = 0.5 * gamma_upper(0.5, (z / SQRT_2).powi(2));
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// The z with P(Z <= z) = p, for 0 < p < 1.
pub fn normal_quantile(p: f64) -> f64 {
    // The lower tail keeps its digits where 1 - p would lose them.
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    bisect(-40.0, 0.0, |z| normal_cdf(z) < p)
}

/// The point where `below` turns from true to false on a bracket; `below` holds left of it.
pub(crate) fn bisect(low: f64, high: f64, below: impl Fn(f64) -> bool) -> f64 {
    let (low, high) = halve((low, high), 0.0, below);
    low + (high - low) / 2.0
}

/// The same to a billionth of the range, from above: where `below` has certainly ended.
pub(crate) fn bisect_up(low: f64, high: f64, below: impl Fn(f64) -> bool) -> f64 {
    halve((low, high), 1e-9 * (high - low), below).1
}

/// Two points around the end of `below`, no further apart than asked if numbers allow it.
fn halve((low, high): (f64, f64), enough: f64, below: impl Fn(f64) -> bool) -> (f64, f64) {
    let (mut low, mut high) = (low, high);
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high || high - low <= enough {
            break;
        }
        if below(middle) { low = middle } else { high = middle }
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-10 * want.abs().max(1.0), "{got} is not {want}");
    }

    #[test]
    fn known_values_come_out() {
        near(ln_gamma(1.0), 0.0);
        near(ln_gamma(0.5), 0.572_364_942_924_700_1);
        near(ln_gamma(100.0), 359.134_205_369_575_4);
        near(normal_quantile(0.975), 1.959_963_984_540_054);
        near(normal_quantile(0.05), -1.644_853_626_951_472_7);
        near(normal_cdf(1.0), 0.841_344_746_068_542_9);
        near(ln_beta_cdf(2.0, 3.0, 0.5).exp(), 0.6875);
        near(
            ln_beta_cdf(300.0, 2.0, 0.999).exp(),
            1.0 - (1.0 - 301.0 * 0.999f64.powi(300) + 300.0 * 0.999f64.powi(301)),
        );
        near(chi_square_tail(3.841_458_820_694_124, 1.0), 0.05);
    }

    #[test]
    fn a_deep_tail_keeps_its_logarithm() {
        // I_x(a, 1) = x^a exactly.
        near(ln_beta_cdf(5_000.0, 1.0, 0.5), 5_000.0 * 0.5f64.ln());
    }
}
