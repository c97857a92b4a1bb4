//! The multiplication for x86 processors with AVX2, through safe wrappers of its instructions.
//!
//! A tile of a few weight rows and input rows is computed at a time, so that what is loaded is used
//! more than once. Each result is summed over the blocks in order, in eight lanes, as in llama.cpp.

use std::arch::x86_64::{__m256, __m256i};
use std::ops::Range;

use pulp::x86::V3;

use super::blocks::{Blocks, Bytes, Nibbles, Packed, Run};
use super::matrix::ROW_TILE;

/// Lanes of f32 in a register.
const LANES: usize = 8;

/// Integers that can be loaded into a register.
pub(super) trait Load: Packed {
    /// All 32 as signed bytes.
    fn load(self, simd: V3) -> __m256i;
}

impl Load for Bytes {
    #[inline(always)]
    fn load(self, _: V3) -> __m256i {
        pulp::cast(self)
    }
}

impl Load for Nibbles {
    #[inline(always)]
    fn load(self, simd: V3) -> __m256i {
        let packed = pulp::cast(self);
        let both = simd.avx._mm256_set_m128i(simd.sse2._mm_srli_epi16::<4>(packed), packed);
        let low = simd.avx2._mm256_and_si256(both, simd.avx._mm256_set1_epi8(0xf));
        simd.avx2._mm256_sub_epi8(low, simd.avx._mm256_set1_epi8(8))
    }
}

/// Whether this processor can do it.
pub(super) fn available() -> Option<V3> {
    V3::try_new()
}

/// Quantises inputs.
pub(super) fn quantise(simd: V3, input: &[f32], out: &mut Blocks<Bytes>) {
    simd.vectorize(|| out.replace(input));
}

/// Writes `weights * input` row by row; `stride` is the number of blocks in a row.
pub(super) fn multiply(
    simd: V3,
    weights: &Blocks<impl Load>,
    input: &Blocks<Bytes>,
    (stride, out): (usize, &mut [f32]),
) {
    let count = input.scales.len() / stride;
    let quantised = Quantised { simd, weights, input, stride };
    walk(&quantised, (out.len() / count, count), out);
}

/// Writes `weights * input` for full-precision rows of `cols` numbers.
pub(super) fn multiply_f32(
    simd: V3,
    weights: &[f32],
    input: &[f32],
    (cols, out): (usize, &mut [f32]),
) {
    let plain = Plain { simd, weights, input, cols };
    walk(&plain, (weights.len() / cols, input.len() / cols), out);
}

/// A multiplication that can compute `R` weight rows times `T` input rows at once.
trait Tile: Sync {
    fn simd(&self) -> V3;

    /// The products of weight rows from `row` on and input rows from `at` on.
    fn compute<const R: usize, const T: usize>(&self, row: usize, at: usize) -> [[f32; T]; R];
}

/// Covers all `rows` and inputs with tiles.
fn walk(tile: &impl Tile, (rows, count): (usize, usize), out: &mut [f32]) {
    tile.simd().vectorize(
        #[inline(always)]
        || {
            if count == 1 {
                // Weights are used once: reading them in one stream is what matters.
                for row in 0..rows {
                    store(&tile.compute::<1, 1>(row, 0), (rows, row, 0), out);
                }
                return;
            }
            for first in (0..count).step_by(ROW_TILE) {
                let inputs = first..count.min(first + ROW_TILE);
                let whole = rows / 4 * 4;
                for row in (0..whole).step_by(4) {
                    stripe::<4>(tile, (rows, row), inputs.clone(), out);
                }
                for row in whole..rows {
                    stripe::<1>(tile, (rows, row), inputs.clone(), out);
                }
            }
        },
    );
}

/// `R` weight rows from `row` on, for a range of inputs.
#[inline(always)]
fn stripe<const R: usize>(
    tile: &impl Tile,
    (rows, row): (usize, usize),
    inputs: Range<usize>,
    out: &mut [f32],
) {
    let mut at = inputs.start;
    while at + 2 <= inputs.end {
        store(&tile.compute::<R, 2>(row, at), (rows, row, at), out);
        at += 2;
    }
    if at < inputs.end {
        store(&tile.compute::<R, 1>(row, at), (rows, row, at), out);
    }
}

#[inline(always)]
fn store<const R: usize, const T: usize>(
    products: &[[f32; T]; R],
    (rows, row, at): (usize, usize, usize),
    out: &mut [f32],
) {
    for (r, products) in products.iter().enumerate() {
        for (t, product) in products.iter().enumerate() {
            out[(at + t) * rows + row + r] = *product;
        }
    }
}

/// Integers times integers, block by block.
struct Quantised<'a, P> {
    simd: V3,
    weights: &'a Blocks<P>,
    input: &'a Blocks<Bytes>,
    stride: usize,
}

impl<P: Load> Tile for Quantised<'_, P> {
    fn simd(&self) -> V3 {
        self.simd
    }

    #[inline(always)]
    fn compute<const R: usize, const T: usize>(&self, row: usize, at: usize) -> [[f32; T]; R] {
        let simd = self.simd;
        let stride = self.stride;
        let ones = simd.avx._mm256_set1_epi16(1);
        let weights: [Run<'_, P>; R] =
            std::array::from_fn(|r| self.weights.run((row + r) * stride, stride));
        let inputs: [Run<'_, Bytes>; T] =
            std::array::from_fn(|t| self.input.run((at + t) * stride, stride));
        let mut sums = [[simd.avx._mm256_set1_ps(0.0); T]; R];
        for block in 0..stride {
            let inputs: [(__m256i, f32); T] = std::array::from_fn(|t| {
                (inputs[t].packed[block].load(simd), inputs[t].scales[block])
            });
            for (sums, weights) in sums.iter_mut().zip(&weights) {
                let (integers, scale) = (weights.packed[block].load(simd), weights.scales[block]);
                // The instruction multiplies unsigned by signed: the sign moves to the input.
                let sizes = simd.avx2._mm256_sign_epi8(integers, integers);
                for (sum, (input, input_scale)) in sums.iter_mut().zip(&inputs) {
                    let signed = simd.avx2._mm256_sign_epi8(*input, integers);
                    let pairs = simd.avx2._mm256_maddubs_epi16(sizes, signed);
                    let fours = simd.avx2._mm256_madd_epi16(pairs, ones);
                    let factor = simd.avx._mm256_set1_ps(scale * input_scale);
                    let products = simd.avx._mm256_cvtepi32_ps(fours);
                    *sum = simd.fma._mm256_fmadd_ps(factor, products, *sum);
                }
            }
        }
        sums.map(|sums| sums.map(total))
    }
}

/// f32 times f32.
struct Plain<'a> {
    simd: V3,
    weights: &'a [f32],
    input: &'a [f32],
    cols: usize,
}

impl Tile for Plain<'_> {
    fn simd(&self) -> V3 {
        self.simd
    }

    #[inline(always)]
    fn compute<const R: usize, const T: usize>(&self, row: usize, at: usize) -> [[f32; T]; R] {
        let (simd, cols) = (self.simd, self.cols);
        let w: [Lanes<'_>; R] = std::array::from_fn(|r| lanes(self.weights, row + r, cols));
        let x: [Lanes<'_>; T] = std::array::from_fn(|t| lanes(self.input, at + t, cols));
        let mut sums = [[simd.avx._mm256_set1_ps(0.0); T]; R];
        for i in 0..cols / LANES {
            let x: [__m256; T] = std::array::from_fn(|t| pulp::cast(x[t].0[i]));
            for (sums, (w, _)) in sums.iter_mut().zip(&w) {
                let w = pulp::cast(w[i]);
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = simd.fma._mm256_fmadd_ps(w, x, *sum);
                }
            }
        }
        std::array::from_fn(|r| {
            std::array::from_fn(|t| {
                let rest: f32 = w[r].1.iter().zip(x[t].1).map(|(w, x)| w * x).sum();
                total(sums[r][t]) + rest
            })
        })
    }
}

/// A row as whole registers and a rest.
type Lanes<'a> = (&'a [[f32; LANES]], &'a [f32]);

#[inline(always)]
fn lanes(rows: &[f32], row: usize, cols: usize) -> Lanes<'_> {
    rows[row * cols..][..cols].as_chunks()
}

/// Runs code compiled for AVX2.
#[inline(always)]
pub(super) fn run<R>(simd: V3, code: impl FnOnce() -> R) -> R {
    simd.vectorize(code)
}

/// The sum of all lanes, in llama.cpp's order.
#[inline(always)]
fn total(sum: __m256) -> f32 {
    let s: [f32; LANES] = pulp::cast(sum);
    let half = [s[0] + s[4], s[1] + s[5], s[2] + s[6], s[3] + s[7]];
    (half[0] + half[2]) + (half[1] + half[3])
}
