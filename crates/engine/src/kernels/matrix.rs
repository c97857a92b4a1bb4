//! Weight matrices in one of four precisions.

use half::f16;

use super::blocks::{BLOCK, Blocks, Bytes, Nibbles};

/// What a block format must offer on this processor family.
#[cfg(target_arch = "x86_64")]
use super::avx2::Load as Format;
#[cfg(not(target_arch = "x86_64"))]
use super::blocks::Packed as Format;

/// Rows of input that walk over the weights together: few enough that their quantised form stays in
/// the first-level cache, enough that weights are fetched from memory seldom.
pub(super) const ROW_TILE: usize = 16;

/// How a matrix is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// Full precision.
    F32,
    /// Half precision; inputs are rounded to f16 as llama.cpp does.
    F16,
    /// 8-bit blocks of 32; inputs are quantised alike.
    Q8,
    /// 4-bit blocks of 32; inputs are quantised to 8 bits.
    Q4,
}

/// A weight matrix of `rows` outputs by `cols` inputs.
pub(crate) struct Matrix {
    rows: usize,
    cols: usize,
    weights: Weights,
}

enum Weights {
    F32(Vec<f32>),
    /// Numbers of half precision, held ready for use.
    F16(Vec<f32>),
    Q8(Blocks<Bytes>),
    Q4(Blocks<Nibbles>),
}

impl Matrix {
    /// An empty matrix that rows are appended to.
    pub(crate) fn with_capacity(precision: Precision, rows: usize, cols: usize) -> Self {
        let size = rows * cols;
        let weights = match precision {
            Precision::F32 => Weights::F32(Vec::with_capacity(size)),
            Precision::F16 => Weights::F16(Vec::with_capacity(size)),
            Precision::Q8 => Weights::Q8(Blocks::with_capacity(size / BLOCK)),
            Precision::Q4 => Weights::Q4(Blocks::with_capacity(size / BLOCK)),
        };
        Self { rows: 0, cols, weights }
    }

    /// Appends whole rows.
    pub(crate) fn push_rows(&mut self, values: &[f32]) {
        self.rows += values.len() / self.cols;
        match &mut self.weights {
            Weights::F32(m) => m.extend_from_slice(values),
            Weights::F16(m) => m.extend(values.iter().map(|x| f16::from_f32(*x).to_f32())),
            Weights::Q8(m) => super::vectorised(|| m.push(values)),
            Weights::Q4(m) => super::vectorised(|| m.push(values)),
        }
    }

    /// Outputs and inputs.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Bytes the weights take.
    pub(crate) fn bytes(&self) -> usize {
        match &self.weights {
            Weights::F32(m) | Weights::F16(m) => size_of_val(&m[..]),
            Weights::Q8(m) => m.bytes(),
            Weights::Q4(m) => m.bytes(),
        }
    }

    /// Reads one row as f32 (an embedding look-up).
    pub(crate) fn row(&self, index: usize, out: &mut [f32]) {
        let at = index * self.cols;
        match &self.weights {
            Weights::F32(m) | Weights::F16(m) => out.copy_from_slice(&m[at..at + self.cols]),
            Weights::Q8(m) => m.run(at / BLOCK, self.cols / BLOCK).numbers(out),
            Weights::Q4(m) => m.run(at / BLOCK, self.cols / BLOCK).numbers(out),
        }
    }

    /// `out[r] = self * input[r]` for each of the rows in `input`.
    pub(crate) fn multiply(&self, input: &[f32], out: &mut Vec<f32>, scratch: &mut Scratch) {
        out.clear();
        out.resize(input.len() / self.cols * self.rows, 0.0);
        match &self.weights {
            Weights::F32(m) => self.multiply_f32(m, input, out),
            Weights::F16(m) => {
                scratch.rounded.clear();
                scratch.rounded.extend_from_slice(input);
                super::round_to_half(&mut scratch.rounded);
                self.multiply_f32(m, &scratch.rounded, out);
            }
            Weights::Q8(m) => self.multiply_blocks(m, scratch.quantise(input), out),
            Weights::Q4(m) => self.multiply_blocks(m, scratch.quantise(input), out),
        }
    }

    fn multiply_f32(&self, m: &[f32], input: &[f32], out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = super::avx2::available() {
            return super::avx2::multiply_f32(simd, m, input, (self.cols, out));
        }
        let tiles = input.chunks(ROW_TILE * self.cols).zip(out.chunks_mut(ROW_TILE * self.rows));
        for (input, out) in tiles {
            for (row, weights) in m.chunks_exact(self.cols).enumerate() {
                let rows = input.chunks_exact(self.cols).zip(out.chunks_exact_mut(self.rows));
                for (x, out) in rows {
                    out[row] = super::dot(weights, x);
                }
            }
        }
    }

    fn multiply_blocks(&self, m: &Blocks<impl Format>, input: &Blocks<Bytes>, out: &mut [f32]) {
        let stride = self.cols / BLOCK;
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = super::avx2::available() {
            return super::avx2::multiply(simd, m, input, (stride, out));
        }
        for (t, out) in out.chunks_exact_mut(self.rows).enumerate() {
            for (row, out) in out.iter_mut().enumerate() {
                *out = m.run(row * stride, stride).dot(input.run(t * stride, stride));
            }
        }
    }
}

/// Buffers for the quantised form of an input, reused from call to call.
#[derive(Default)]
pub(crate) struct Scratch {
    quantised: Blocks<Bytes>,
    rounded: Vec<f32>,
}

impl Scratch {
    fn quantise(&mut self, input: &[f32]) -> &Blocks<Bytes> {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = super::avx2::available() {
            super::avx2::quantise(simd, input, &mut self.quantised);
            return &self.quantised;
        }
        self.quantised.replace(input);
        &self.quantised
    }
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

    #[test]
    fn the_portable_path_gives_the_same_products() {
        let (weights, input) = (values(8 * 96, 7), values(3 * 96, 9));
        let mut inputs = Blocks::<Bytes>::default();
        inputs.replace(&input);
        let mut eight = Blocks::<Bytes>::default();
        eight.push(&weights);
        let mut four = Blocks::<Nibbles>::default();
        four.push(&weights);
        let mut out = Vec::new();
        for precision in [Precision::Q8, Precision::Q4] {
            matrix(precision, 8, 96).multiply(&input, &mut out, &mut Scratch::default());
            for (t, out) in out.chunks(8).enumerate() {
                for (row, fast) in out.iter().enumerate() {
                    let x = inputs.run(t * 3, 3);
                    let portable = match precision {
                        Precision::Q8 => eight.run(row * 3, 3).dot(x),
                        _ => four.run(row * 3, 3).dot(x),
                    };
                    assert!((fast - portable).abs() < 1e-4, "{precision:?}: {fast} {portable}");
                }
            }
        }
    }
}
