//! Rows of numbers as blocks of 32 small integers with a scale each, in llama.cpp's formats.
//!
//! Scales are rounded to f16, as in files, and held as f32 to be ready for use. Rounding of weights
//! follows llama.cpp's reference quantiser to the bit.

use half::f16;

/// Numbers in a block.
pub(super) const BLOCK: usize = 32;

/// 32 small integers.
pub(super) trait Packed: Copy + Sync {
    /// The integers one by one.
    fn integers(self) -> [i8; BLOCK];
}

/// 8 bits each: Q8_0. Also the form that inputs are turned into.
pub(super) type Bytes = [i8; BLOCK];

/// 4 bits each: Q4_0. A byte holds a number of the first half in its low bits and one of the second
/// half in its high bits, each 8 too large.
pub(super) type Nibbles = [u8; BLOCK / 2];

/// Rows of blocks, one after the other. A row is a whole number of blocks.
pub(super) struct Blocks<P> {
    pub(super) packed: Vec<P>,
    pub(super) scales: Vec<f32>,
}

/// Blocks that follow each other.
#[derive(Clone, Copy)]
pub(super) struct Run<'a, P> {
    pub(super) packed: &'a [P],
    pub(super) scales: &'a [f32],
}

impl Packed for Bytes {
    #[inline(always)]
    fn integers(self) -> [i8; BLOCK] {
        self
    }
}

impl Packed for Nibbles {
    #[inline(always)]
    fn integers(self) -> [i8; BLOCK] {
        let mut out = [0; BLOCK];
        for (j, byte) in self.iter().enumerate() {
            out[j] = (byte & 0xf).cast_signed() - 8;
            out[j + BLOCK / 2] = (byte >> 4).cast_signed() - 8;
        }
        out
    }
}

impl<P> Default for Blocks<P> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<P> Blocks<P> {
    pub(super) fn with_capacity(blocks: usize) -> Self {
        Self { packed: Vec::with_capacity(blocks), scales: Vec::with_capacity(blocks) }
    }

    /// Bytes that all blocks take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.packed[..]) + size_of_val(&self.scales[..])
    }

    /// `count` blocks from `first` on.
    #[inline(always)]
    pub(super) fn run(&self, first: usize, count: usize) -> Run<'_, P> {
        Run { packed: &self.packed[first..][..count], scales: &self.scales[first..][..count] }
    }
}

impl<P: Packed> Run<'_, P> {
    /// Writes the numbers that the blocks stand for.
    pub(super) fn numbers(&self, out: &mut [f32]) {
        for ((packed, scale), out) in
            self.packed.iter().zip(self.scales).zip(out.chunks_exact_mut(BLOCK))
        {
            for (out, integer) in out.iter_mut().zip(packed.integers()) {
                *out = f32::from(integer) * scale;
            }
        }
    }

    /// The product with a run of inputs, for processors without a faster way.
    pub(super) fn dot(&self, input: Run<'_, Bytes>) -> f32 {
        let weights = self.packed.iter().zip(self.scales);
        let inputs = input.packed.iter().zip(input.scales);
        let product = |((w, w_scale), (x, x_scale)): ((&P, &f32), (&Bytes, &f32))| {
            let pairs = w.integers().into_iter().zip(x);
            let sum: i32 = pairs.map(|(w, x)| i32::from(w) * i32::from(*x)).sum();
            // At most 32 * 128 * 127: exact in f32.
            sum as f32 * (w_scale * x_scale)
        };
        weights.zip(inputs).map(product).sum()
    }
}

impl Blocks<Bytes> {
    /// Appends weights as the reference quantiser rounds them: halves away from zero.
    #[inline(always)]
    pub(super) fn push(&mut self, values: &[f32]) {
        for block in values.chunks_exact(BLOCK) {
            let scale = largest(block) / 127.0;
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            self.scales.push(rounded(scale));
            self.packed.push(std::array::from_fn(|j| to_i8((block[j] * inverse).round())));
        }
    }

    /// Replaces the content by inputs, rounded as llama.cpp's fast path does: halves to even.
    #[inline(always)]
    pub(super) fn replace(&mut self, values: &[f32]) {
        self.scales.clear();
        self.packed.clear();
        for block in values.chunks_exact(BLOCK) {
            let largest = largest(block);
            let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
            self.scales.push(rounded(largest / 127.0));
            let integer = |j: usize| to_i8((block[j] * inverse).round_ties_even());
            self.packed.push(std::array::from_fn(integer));
        }
    }
}

impl Blocks<Nibbles> {
    /// Appends weights as the reference quantiser rounds them: the largest becomes exactly -8.
    #[inline(always)]
    pub(super) fn push(&mut self, values: &[f32]) {
        for block in values.chunks_exact(BLOCK) {
            let (mut most, mut largest) = (0.0, 0.0f32);
            for x in block {
                if x.abs() > most {
                    (most, largest) = (x.abs(), *x);
                }
            }
            let scale = largest / -8.0;
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let nibble = |x: f32| to_u8((x * inverse + 8.5).min(15.0));
            let half = BLOCK / 2;
            self.scales.push(rounded(scale));
            self.packed
                .push(std::array::from_fn(|j| nibble(block[j]) | nibble(block[j + half]) << 4));
        }
    }
}

#[inline(always)]
fn largest(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |most, x| x.abs().max(most))
}

#[inline(always)]
fn rounded(scale: f32) -> f32 {
    f16::from_f32(scale).to_f32()
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "already rounded and within -127..=127")]
fn to_i8(x: f32) -> i8 {
    x as i8
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cutting the fraction off is the rounding; the value is within 0..=15"
)]
fn to_u8(x: f32) -> u8 {
    x as u8
}
