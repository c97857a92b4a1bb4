//! The arithmetic under both models: matrices of f32, f16 or quantised weights times rows of f32,
//! and what lies between.
//!
//! candle's own tensor operations share work over one process-wide pool of spinning threads, which
//! costs a small machine more than it gives and makes concurrent requests wait for each other. Here
//! every caller computes on its own thread, with AVX2 where the processor has it.
//!
//! Invariant: a row's result does not depend on which rows are computed beside it. Reusing a cached
//! prefix or cutting a prompt into pieces therefore never changes an answer.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the function compiled for AVX2 runs without it"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod blocks;
mod matrix;

use half::f16;

/// Partial sums kept apart in a dot product.
const LANES: usize = 16;

pub(crate) use matrix::{Matrix, Precision, Scratch};

/// Runs code as compiled for this processor's best vectors. What the code calls must be inlined into
/// it to gain.
#[inline(always)]
pub(crate) fn vectorised<R>(code: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = avx2::available() {
        return avx2::run(simd, code);
    }
    code()
}

/// The dot product of two equally long rows.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Lanes that do not wait for each other become one register.
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for (lane, (x, y)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// `y += factor * x`.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// `y += x`.
pub(crate) fn add(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// Root-mean-square normalisation of each row, times a weight per column.
pub(crate) fn rms_norm(input: &[f32], weight: &[f32], eps: f32, out: &mut Vec<f32>) {
    out.clear();
    for row in input.chunks_exact(weight.len()) {
        let sum: f64 = row.iter().map(|x| f64::from(x * x)).sum();
        let scale = 1.0 / (narrow(sum / row.len() as f64) + eps).sqrt();
        out.extend(row.iter().zip(weight).map(|(x, w)| x * scale * w));
    }
}

/// Mean and variance normalisation of each row in place, times weight, plus bias.
pub(crate) fn layer_norm(rows: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    for row in rows.chunks_exact_mut(weight.len()) {
        let n = row.len() as f64;
        let mean = narrow(row.iter().map(|x| f64::from(*x)).sum::<f64>() / n);
        let variance = row.iter().map(|x| f64::from((x - mean) * (x - mean))).sum::<f64>() / n;
        let scale = 1.0 / (narrow(variance) + eps).sqrt();
        for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) * scale * w + b;
        }
    }
}

/// Turns scores into probabilities in place.
pub(crate) fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f64;
    for s in scores.iter_mut() {
        *s = (*s - max).exp();
        sum += f64::from(*s);
    }
    let scale = narrow(1.0 / sum);
    for s in scores {
        *s *= scale;
    }
}

/// `gate = silu(gate) * up`.
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + (-*g).exp()) * u;
    }
}

/// The Gaussian error linear unit, exact form.
pub(crate) fn gelu(values: &mut [f32]) {
    for x in values {
        *x *= 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// The error function to 1.5e-7: formula 7.1.26 of Abramowitz and Stegun.
fn erf(x: f32) -> f32 {
    const FACTORS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let polynomial = FACTORS.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    (1.0 - polynomial * (-x * x).exp()).copysign(x)
}

/// Rounds to f16 and back: what a half-precision cache would hold.
pub(crate) fn round_to_half(values: &mut [f32]) {
    for v in values {
        *v = f16::from_f32(*v).to_f32();
    }
}

/// Back from the double precision that long sums are taken in.
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
pub(crate) fn narrow(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        for (x, expected) in
            [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3)]
        {
            assert!((erf(x) - expected).abs() < 3e-7, "{x}");
            assert!((erf(-x) + expected).abs() < 3e-7, "-{x}");
        }
    }
}
