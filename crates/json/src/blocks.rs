//! Where a walk must look within strings, for whole blocks of bytes at once: a bit for each byte.
//!
//! A search from mark to mark pays for its start each time, and text is full of escapes; a step for each escape pays for
//! each. Here whole blocks are compared at once, each byte with the two before it, and the escapes that texts are full of
//! leave no mark at all. Blocks are looked at [`BATCH`] at a time, in the widest registers that this processor has.

use std::ops::Range;

use wide::i8x16;

/// Bytes of a block: a bit of a word for each.
pub(super) const BLOCK: usize = 64;

/// Blocks that are looked at in one go.
const BATCH: usize = 16;

/// Bytes that every processor compares at once.
const PIECE: usize = 16;

/// The places where a walk must look that is within a string: quotes and control characters that have no backslash before
/// them, what has one and is not of the [`COMMON`], and everything behind two backslashes.
pub(super) struct Marks<'a> {
    text: &'a [u8],
    eyes: Eyes,
    /// Where the blocks begin that were looked at last.
    start: usize,
    /// Their marks, the first byte's in the lowest bit. All behind the text's end is marked, so that none goes past it.
    words: [u64; BATCH],
}

/// What may be escaped and leaves no mark.
const COMMON: [u8; 4] = [b'"', b'\\', b'n', b't'];

impl<'a> Marks<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        let eyes = if text.len() < BATCH * BLOCK { Eyes::plain() } else { Eyes::best() };
        let mut marks = Self { text, eyes, start: 0, words: [u64::MAX; BATCH] };
        marks.look(0);
        marks
    }

    /// The marks of the block that begins at `start`.
    #[inline]
    pub(super) fn at(&mut self, start: usize) -> u64 {
        match self.words.get(start.wrapping_sub(self.start) / BLOCK) {
            Some(marks) => *marks,
            None => self.look(start),
        }
    }

    /// The first block with marks behind that at `start`, which was looked at: where it begins, and these.
    #[inline]
    pub(super) fn behind(&mut self, start: usize) -> (usize, u64) {
        let mut next = start.wrapping_sub(self.start) / BLOCK + 1;
        loop {
            while let Some(marks) = self.words.get(next) {
                if *marks != 0 {
                    return (self.start + next * BLOCK, *marks);
                }
                next += 1;
            }
            self.look(self.start + BATCH * BLOCK);
            next = 0;
        }
    }

    #[inline(never)]
    fn look(&mut self, start: usize) -> u64 {
        self.start = start;
        self.eyes.look(self.text, start, &mut self.words);
        self.words[0]
    }
}

/// What looks at blocks.
#[derive(Clone, Copy)]
struct Eyes {
    #[cfg(target_arch = "x86_64")]
    wide: Option<pulp::x86::V3>,
}

impl Eyes {
    /// Those of every processor.
    fn plain() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            wide: None,
        }
    }

    /// Those of this processor.
    fn best() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            wide: pulp::x86::V3::try_new(),
        }
    }

    /// Writes the marks of the blocks that begin at `start`.
    fn look(self, text: &[u8], start: usize, words: &mut [u64; BATCH]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = self.wide
            && let Some(batch) = Shifted::of(text, start, BATCH * BLOCK)
        {
            return avx2::marks(wide, batch, words);
        }
        for (word, start) in words.iter_mut().zip((start..).step_by(BLOCK)) {
            *word = match Shifted::of(text, start, BLOCK) {
                Some(block) => block.marks(),
                None => marks_at_edge(text, start),
            };
        }
    }
}

/// The marks of a block at the text's beginning or its end, or behind that.
fn marks_at_edge(text: &[u8], start: usize) -> u64 {
    let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) else { return u64::MAX };
    let before = text.get(start.saturating_sub(2)..start).unwrap_or_default();
    // What is behind the end is like a control character.
    let mut block = [0; BLOCK + 2];
    let places = block.iter_mut().skip(2 - before.len());
    places.zip(before.iter().chain(rest)).for_each(|(to, from)| *to = *from);
    Shifted::of(&block, 2, BLOCK).map_or(u64::MAX, Shifted::marks)
}

/// Bytes, those before each of them, and those before these.
#[derive(Clone, Copy)]
struct Shifted<'a> {
    bytes: &'a [u8],
    before: &'a [u8],
    twice: &'a [u8],
}

impl<'a> Shifted<'a> {
    /// So many bytes of a text from here on, if it has them and two before them.
    fn of(text: &'a [u8], start: usize, count: usize) -> Option<Self> {
        let from = |start: usize| text.get(start..start + count);
        Some(Self {
            bytes: from(start)?,
            before: from(start.checked_sub(1)?)?,
            twice: from(start.checked_sub(2)?)?,
        })
    }

    /// The marks of a block.
    fn marks(self) -> u64 {
        let of = |bytes: &'a [u8]| bytes.as_chunks::<PIECE>().0.iter();
        let pieces = of(self.bytes).zip(of(self.before)).zip(of(self.twice)).rev();
        pieces.fold(0, |behind, ((bytes, before), twice)| {
            behind << PIECE | u64::from(marks_of([*bytes, *before, *twice]))
        })
    }
}

/// The marks of a piece.
fn marks_of(piece: [[u8; PIECE]; 3]) -> u32 {
    let [bytes, before, twice] = piece.map(|bytes| i8x16::new(bytes.map(turned)));
    let is = |byte: u8| bytes.simd_eq(i8x16::splat(turned(byte)));
    let backslash = i8x16::splat(turned(b'\\'));
    let (escaped, behind_two) = (before.simd_eq(backslash), twice.simd_eq(backslash));
    let [quote, other, n, t] = COMMON.map(is);
    let passed = (quote | other | n | t) & !behind_two;
    let small = bytes.simd_lt(i8x16::splat(FIRST_PLAIN));
    (small & !escaped | escaped & !passed).to_bitmask()
}

/// Whether a part of a text has a backslash. Where it is short, as names are, no step depends on its length.
pub(super) fn has_backslash(text: &[u8], part: Range<usize>) -> bool {
    let count = part.len();
    match text.get(part.start..).and_then(<[u8]>::first_chunk) {
        Some(bytes) if count < BLOCK => backslashes(bytes) & ((1 << count) - 1) != 0,
        _ => text.get(part).is_some_and(|part| part.contains(&b'\\')),
    }
}

/// Where a text's backslashes stand. A search from one to the next would pay for each start.
pub(super) fn each_backslash(text: &[u8], mut each: impl FnMut(usize)) {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut start = 0;
    let mut each_in = |block: &[u8; BLOCK]| {
        let mut ahead = backslashes(block);
        while ahead != 0 {
            each(start + ahead.trailing_zeros() as usize);
            ahead &= ahead - 1;
        }
        start += BLOCK;
    };
    blocks.iter().for_each(&mut each_in);
    if rest.contains(&b'\\') {
        let mut block = [0; BLOCK];
        block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        each_in(&block);
    }
}

fn backslashes(block: &[u8; BLOCK]) -> u64 {
    let (pieces, _) = block.as_chunks::<PIECE>();
    pieces.iter().rev().fold(0, |behind, piece| {
        let found = i8x16::new(piece.map(turned)).simd_eq(i8x16::splat(turned(b'\\')));
        behind << PIECE | u64::from(found.to_bitmask())
    })
}

/// A byte turned so that the control characters and the quote are the smallest: one comparison finds them. Its second
/// bit makes the quote the neighbour of the control characters, which stay among themselves; its first gives signed bytes
/// the order of unsigned ones, as processors compare no others.
const fn turned(byte: u8) -> i8 {
    (byte ^ TURN).cast_signed()
}

const TURN: u8 = 0x82;
const FIRST_PLAIN: i8 = turned(b'"') + 1;

/// The same for processors with AVX2, through safe wrappers of its instructions.
#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::inline_always,
    reason = "only what is inlined there is compiled for these processors"
)]
mod avx2 {
    use std::arch::x86_64::__m256i;

    use pulp::x86::V3;

    use super::{BATCH, COMMON, FIRST_PLAIN, Shifted, TURN};

    /// Bytes of a register.
    const PIECE: usize = 32;

    /// The [`COMMON`] by their low halves, of which no two have the same; elsewhere stands what no byte of that half is.
    const BY_HALF: [u8; PIECE] = {
        let (mut table, mut at) = ([0; PIECE], 0);
        (table[0], table[PIECE / 2]) = (u8::MAX, u8::MAX);
        while at < COMMON.len() {
            let half = (COMMON[at] & 0xF) as usize;
            (table[half], table[PIECE / 2 + half]) = (COMMON[at], COMMON[at]);
            at += 1;
        }
        table
    };

    /// Writes the marks of blocks.
    pub(super) fn marks(simd: V3, batch: Shifted<'_>, words: &mut [u64; BATCH]) {
        let pieces =
            [batch.bytes, batch.before, batch.twice].map(|bytes| bytes.as_chunks::<PIECE>().0);
        simd.vectorize(
            #[inline(always)]
            || {
                let [bytes, before, twice] = pieces;
                for (at, word) in words.iter_mut().enumerate() {
                    let (first, second) = (2 * at, 2 * at + 1);
                    if second < bytes.len() && second < before.len() && second < twice.len() {
                        let first = marks_of(simd, [&bytes[first], &before[first], &twice[first]]);
                        let second =
                            marks_of(simd, [&bytes[second], &before[second], &twice[second]]);
                        *word = u64::from(first) | u64::from(second) << PIECE;
                    }
                }
            },
        );
    }

    /// The marks of a piece.
    #[inline(always)]
    fn marks_of(simd: V3, [bytes, before, twice]: [&[u8; PIECE]; 3]) -> u32 {
        let simd = (simd.avx, simd.avx2);
        let (bytes, before, twice): (__m256i, __m256i, __m256i) =
            (pulp::cast(*bytes), pulp::cast(*before), pulp::cast(*twice));
        let all = |byte: i8| simd.0._mm256_set1_epi8(byte);
        let backslash = all(b'\\'.cast_signed());
        let escaped = simd.1._mm256_cmpeq_epi8(before, backslash);
        let behind_two = simd.1._mm256_cmpeq_epi8(twice, backslash);
        let like = simd.1._mm256_shuffle_epi8(pulp::cast(BY_HALF), bytes);
        let passed = simd.1._mm256_andnot_si256(behind_two, simd.1._mm256_cmpeq_epi8(bytes, like));
        let turned = simd.1._mm256_xor_si256(bytes, all(TURN.cast_signed()));
        let small = simd.1._mm256_cmpgt_epi8(all(FIRST_PLAIN), turned);
        let marks = simd.1._mm256_or_si256(
            simd.1._mm256_andnot_si256(escaped, small),
            simd.1._mm256_andnot_si256(passed, escaped),
        );
        simd.1._mm256_movemask_epi8(marks).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The marks as single steps find them.
    fn stepped(text: &[u8]) -> Vec<bool> {
        let (mut before, mut twice) = (0, 0);
        let step = |&byte: &u8| {
            let plain = byte >= b' ' && byte != b'"';
            let marked =
                if before == b'\\' { twice == b'\\' || !COMMON.contains(&byte) } else { !plain };
            (before, twice) = (byte, before);
            marked
        };
        text.iter().map(step).collect()
    }

    fn marked(text: &[u8], eyes: Eyes) -> Vec<bool> {
        let mut marks = Marks { eyes, ..Marks::of(text) };
        marks.look(0);
        let bit = |at: usize| marks.at(at - at % BLOCK) >> (at % BLOCK) & 1 == 1;
        (0..text.len()).map(bit).collect()
    }

    fn is_marked_alike(text: &[u8]) {
        let wanted = stepped(text);
        assert!(marked(text, Eyes::plain()) == wanted, "{:?}", String::from_utf8_lossy(text));
        assert!(marked(text, Eyes::best()) == wanted, "{:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn each_byte_is_known_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in [0, 1, 2, 15, 16, 31, 32, 33, 47, 48, 62, 63] {
                for before in [b'a', b'\\'] {
                    let mut text = [b'a'; 2 * BATCH * BLOCK + 7];
                    (text[BLOCK + at - 1], text[BLOCK + at]) = (before, byte);
                    is_marked_alike(&text);
                }
            }
        }
    }

    #[test]
    fn runs_of_backslashes_are_known_wherever_they_stand() {
        for long in 1..=2 * BLOCK + 3 {
            for at in (0..BLOCK).chain(BATCH * BLOCK - BLOCK..BATCH * BLOCK) {
                let mut text = [b'"'; 2 * BATCH * BLOCK + 7];
                text[at..at + long].fill(b'\\');
                is_marked_alike(&text);
            }
        }
    }

    #[test]
    fn what_lies_behind_the_end_is_marked() {
        for long in 0..3 * BATCH * BLOCK {
            let text = vec![b'a'; long];
            let mut marks = Marks::of(&text);
            let first = marks.at(0);
            let (start, word) = if first == 0 { marks.behind(0) } else { (0, first) };
            assert_eq!(start + word.trailing_zeros() as usize, long);
        }
    }

    proptest! {
        #[test]
        fn texts_are_marked_as_steps_do(
            text in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\\\\\nt\x1f\x20\x21\x23\x5b\x5d\x7f\x80\xa2\xdcu"[..])],
                0..3 * BATCH * BLOCK,
            ),
        ) {
            is_marked_alike(&text);
        }
    }
}
