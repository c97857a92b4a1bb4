//! The arithmetic under both models: matrices of f32, f16 or quantised weights times rows of f32.
//!
//! candle's own tensor operations share work over one process-wide pool of spinning threads, which
//! costs a small machine more than it gives and makes concurrent requests wait for each other. So
//! only its block formats and their dot products (SIMD chosen at run time) are used here, and every
//! caller computes on its own thread.
//!
//! Invariant: a row's result does not depend on which rows are computed beside it. Reusing a cached
//! prefix or cutting a prompt into pieces therefore never changes an answer.

use candle_core::cpu::erf::erf_f32;
use candle_core::quantized::k_quants::{BlockQ4_0, BlockQ8_0, GgmlType};
use half::f16;

/// Rows of input that walk over the weights together: small enough that their quantised form stays
/// in the first-level cache, large enough that weights are fetched from memory seldom.
const ROW_TILE: usize = 16;

/// A weight matrix of `rows` outputs by `cols` inputs.
pub(crate) enum Matrix {
    /// Full precision.
    F32(Blocks<f32>),
    /// Half precision; inputs are rounded to f16 as llama.cpp does.
    F16(Blocks<f16>),
    /// 8-bit blocks of 32; inputs are quantised alike.
    Q8(Blocks<BlockQ8_0>),
    /// 4-bit blocks of 32; inputs are quantised to 8 bits.
    Q4(Blocks<BlockQ4_0>),
}

/// Weights of one type, row after row.
pub(crate) struct Blocks<T> {
    rows: usize,
    cols: usize,
    data: Vec<T>,
}

/// How a matrix is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    F32,
    F16,
    Q8,
    Q4,
}

impl Matrix {
    /// An empty matrix that rows are appended to.
    pub(crate) fn with_capacity(precision: Precision, rows: usize, cols: usize) -> Self {
        match precision {
            Precision::F32 => Self::F32(Blocks::with_capacity(rows, cols)),
            Precision::F16 => Self::F16(Blocks::with_capacity(rows, cols)),
            Precision::Q8 => Self::Q8(Blocks::with_capacity(rows, cols)),
            Precision::Q4 => Self::Q4(Blocks::with_capacity(rows, cols)),
        }
    }

    /// Appends whole rows.
    pub(crate) fn push_rows(&mut self, values: &[f32]) {
        match self {
            Self::F32(m) => m.push_rows(values),
            Self::F16(m) => m.push_rows(values),
            Self::Q8(m) => m.push_rows(values),
            Self::Q4(m) => m.push_rows(values),
        }
    }

    /// Outputs and inputs.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Self::F32(m) => (m.rows, m.cols),
            Self::F16(m) => (m.rows, m.cols),
            Self::Q8(m) => (m.rows, m.cols),
            Self::Q4(m) => (m.rows, m.cols),
        }
    }

    /// Bytes the weights take.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::F32(m) => size_of_val(&m.data[..]),
            Self::F16(m) => size_of_val(&m.data[..]),
            Self::Q8(m) => size_of_val(&m.data[..]),
            Self::Q4(m) => size_of_val(&m.data[..]),
        }
    }

    /// Reads one row as f32 (an embedding look-up).
    pub(crate) fn row(&self, index: usize, out: &mut [f32]) {
        match self {
            Self::F32(m) => m.row(index, out),
            Self::F16(m) => m.row(index, out),
            Self::Q8(m) => m.row(index, out),
            Self::Q4(m) => m.row(index, out),
        }
    }

    /// `out[r] = self * input[r]` for each of the rows in `input`.
    pub(crate) fn multiply(&self, input: &[f32], out: &mut Vec<f32>, scratch: &mut Scratch) {
        match self {
            Self::F32(m) => m.multiply(input, out),
            Self::F16(m) => {
                scratch.half.resize(input.len(), f16::ZERO);
                f16::from_float(input, &mut scratch.half);
                m.multiply(&scratch.half, out);
            }
            Self::Q8(m) => m.multiply(scratch.quantise(input), out),
            Self::Q4(m) => m.multiply(scratch.quantise(input), out),
        }
    }
}

impl<T: GgmlType> Blocks<T> {
    fn with_capacity(rows: usize, cols: usize) -> Self {
        Self { rows: 0, cols, data: Vec::with_capacity(rows * cols / T::BLCK_SIZE) }
    }

    fn push_rows(&mut self, values: &[f32]) {
        let start = self.data.len();
        self.data.resize(start + values.len() / T::BLCK_SIZE, T::zeros());
        T::from_float(values, &mut self.data[start..]);
        self.rows += values.len() / self.cols;
    }

    fn row(&self, index: usize, out: &mut [f32]) {
        let stride = self.cols / T::BLCK_SIZE;
        T::to_float(&self.data[index * stride..(index + 1) * stride], out);
    }

    fn multiply(&self, input: &[T::VecDotType], out: &mut Vec<f32>) {
        let (rows, cols) = (self.rows, self.cols);
        let stride = cols / T::BLCK_SIZE;
        let count = input.len() / stride;
        out.clear();
        out.resize(count * rows, 0.0);
        for (tile_in, tile_out) in
            input.chunks(ROW_TILE * stride).zip(out.chunks_mut(ROW_TILE * rows))
        {
            let quads = self.data.chunks_exact(4 * stride);
            let rest = quads.remainder();
            for (quad, weights) in quads.enumerate() {
                let (a, b) = weights.split_at(2 * stride);
                let ((w0, w1), (w2, w3)) = (a.split_at(stride), b.split_at(stride));
                for (x, y) in tile_in.chunks_exact(stride).zip(tile_out.chunks_exact_mut(rows)) {
                    let (d0, d1, d2, d3) = T::vec_dot_4(cols, w0, w1, w2, w3, x);
                    y[4 * quad..4 * quad + 4].copy_from_slice(&[d0, d1, d2, d3]);
                }
            }
            let first = rows - rest.len() / stride;
            for (i, w) in rest.chunks_exact(stride).enumerate() {
                for (x, y) in tile_in.chunks_exact(stride).zip(tile_out.chunks_exact_mut(rows)) {
                    y[first + i] = T::vec_dot(cols, w, x);
                }
            }
        }
    }
}

/// Buffers for the quantised form of an input, reused from call to call.
#[derive(Default)]
pub(crate) struct Scratch {
    quantised: Vec<BlockQ8_0>,
    half: Vec<f16>,
}

impl Scratch {
    fn quantise(&mut self, input: &[f32]) -> &[BlockQ8_0] {
        self.quantised.resize(input.len() / BlockQ8_0::BLCK_SIZE, BlockQ8_0::zeros());
        BlockQ8_0::from_float(input, &mut self.quantised);
        &self.quantised
    }
}

/// The dot product of two equally long rows.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    f32::vec_dot(a.len(), a, b)
}

/// `y += factor * x`.
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
        *x *= 0.5 * (1.0 + erf_f32(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
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

    fn values(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from(u16::try_from(state >> 16).expect("16 bits")) / 32_768.0 - 1.0
            })
            .collect()
    }

    fn matrix(precision: Precision, rows: usize, cols: usize) -> Matrix {
        let mut m = Matrix::with_capacity(precision, rows, cols);
        m.push_rows(&values(rows * cols, 7));
        m
    }

    #[test]
    fn each_precision_multiplies_within_its_own_error() {
        let (rows, cols) = (7, 64);
        let (weights, input) = (values(rows * cols, 7), values(2 * cols, 9));
        for (precision, tolerance) in [
            (Precision::F32, 1e-4),
            (Precision::F16, 0.02),
            (Precision::Q8, 0.2),
            (Precision::Q4, 2.0),
        ] {
            let mut out = Vec::new();
            matrix(precision, rows, cols).multiply(&input, &mut out, &mut Scratch::default());
            for r in 0..2 {
                for o in 0..rows {
                    let exact: f32 = weights[o * cols..(o + 1) * cols]
                        .iter()
                        .zip(&input[r * cols..(r + 1) * cols])
                        .map(|(a, b)| a * b)
                        .sum();
                    let got = out[r * rows + o];
                    assert!((got - exact).abs() < tolerance, "{precision:?}: {got} vs {exact}");
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_feel_its_neighbours() {
        let input = values(40 * 64, 3);
        for precision in [Precision::F32, Precision::F16, Precision::Q8, Precision::Q4] {
            let m = matrix(precision, 10, 64);
            let (mut all, mut one) = (Vec::new(), Vec::new());
            m.multiply(&input, &mut all, &mut Scratch::default());
            for (r, row) in input.chunks(64).enumerate() {
                m.multiply(row, &mut one, &mut Scratch::default());
                assert_eq!(one, all[r * 10..(r + 1) * 10]);
            }
        }
    }

    #[test]
    fn quantised_weights_survive_a_round_trip_through_f32_unchanged() {
        for precision in [Precision::Q8, Precision::Q4] {
            let first = matrix(precision, 4, 64);
            let mut rows = vec![0.0; 4 * 64];
            for r in 0..4 {
                first.row(r, &mut rows[r * 64..(r + 1) * 64]);
            }
            let mut second = Matrix::with_capacity(precision, 4, 64);
            second.push_rows(&rows);
            let mut again = vec![0.0; 64];
            for r in 0..4 {
                second.row(r, &mut again);
                assert_eq!(again, rows[r * 64..(r + 1) * 64]);
            }
        }
    }
}
