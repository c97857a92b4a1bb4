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
const BATCH: usize = 64;

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
        // To ask what the processor has takes longer than to look at little.
        let eyes = if text.len() < 4 * BLOCK { Eyes::plain() } else { Eyes::best() };
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
        let whole = BATCH.min(text.len().saturating_sub(start) / BLOCK);
        // The text's first block has nothing before it.
        let first = usize::from(start == 0 && whole > 0);
        if first > 0 {
            words[0] = marks_at_edge(text, start);
        }
        if let Some(blocks) = Shifted::of(text, start + first * BLOCK, (whole - first) * BLOCK) {
            self.mark(blocks, &mut words[first..whole]);
        }
        if let Some((last, behind)) = words[whole..].split_first_mut() {
            *last = marks_at_edge(text, start + whole * BLOCK);
            behind.fill(u64::MAX);
        }
    }

    /// Writes the marks of these blocks.
    fn mark(self, blocks: Shifted<'_>, words: &mut [u64]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = self.wide {
            return avx2::mark(wide, blocks, words);
        }
        let [bytes, before, twice] = blocks.cut::<BLOCK>().map(<[_]>::iter);
        for (word, ((bytes, before), twice)) in words.iter_mut().zip(bytes.zip(before).zip(twice)) {
            *word = Shifted([bytes, before, twice]).marks();
        }
    }
}

/// The marks of a text's first block, or of what is left behind the last whole one.
fn marks_at_edge(text: &[u8], start: usize) -> u64 {
    let rest = text.get(start..).unwrap_or_default();
    match *rest {
        [] => u64::MAX,
        // Two by themselves, and a block behind them.
        [first, second, ..]
            if start == 0
                && let Some(behind) = Shifted::of(text, 2, BLOCK) =>
        {
            behind.marks() << 2 | is_mark(first, second) << 1 | is_mark(0, first)
        }
        // The end of the text's last block.
        [..] if start > 0
            && let Some(last) = Shifted::of(text, text.len() - BLOCK, BLOCK) =>
        {
            last.marks() >> (BLOCK - rest.len()) | u64::MAX << rest.len()
        }
        [..] => marks_of_short(&text[start.saturating_sub(2)..], start.min(2)),
    }
}

/// Whether there is a mark at a byte, which has no two before it: 1 or 0.
fn is_mark(before: u8, byte: u8) -> u64 {
    u64::from(if before == b'\\' {
        !COMMON.contains(&byte)
    } else {
        matches!(byte, b'"' | 0..b' ')
    })
}

/// The marks of bytes that are less than a block with what is before it, after those of them that are before it.
fn marks_of_short(known: &[u8], before: usize) -> u64 {
    // What is behind the end is like a control character.
    let mut around = [0; BLOCK + 2];
    let places = around.iter_mut().skip(2 - before);
    places.zip(known).for_each(|(to, from)| *to = *from);
    Shifted::of(&around, 2, BLOCK).map_or(u64::MAX, Shifted::marks)
}

/// Bytes, those before each of them, and those before these.
#[derive(Clone, Copy)]
struct Shifted<'a>([&'a [u8]; 3]);

impl<'a> Shifted<'a> {
    /// So many bytes of a text from here on, if it has them and two before them.
    fn of(text: &'a [u8], start: usize, count: usize) -> Option<Self> {
        let from = |start: usize| text.get(start..start + count);
        Some(Self([from(start)?, from(start.checked_sub(1)?)?, from(start.checked_sub(2)?)?]))
    }

    /// These in pieces of so many.
    fn cut<const N: usize>(self) -> [&'a [[u8; N]]; 3] {
        self.0.map(|bytes| bytes.as_chunks().0)
    }

    /// The marks of a block.
    fn marks(self) -> u64 {
        let [bytes, before, twice] = self.cut::<PIECE>().map(<[_]>::iter);
        let pieces = bytes.zip(before).zip(twice).rev();
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

/// Whether a part of a text has a backslash. Names are short, and no step depends on their length.
pub(super) fn has_backslash(text: &[u8], part: Range<usize>) -> bool {
    let count = part.len();
    match text.get(part.start..).and_then(<[u8]>::first_chunk) {
        Some(piece) if count < PIECE => backslashes_of(piece) & ((1 << count) - 1) != 0,
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
    let (pieces, _) = block.as_chunks();
    pieces.iter().rev().fold(0, |behind, piece| behind << PIECE | u64::from(backslashes_of(piece)))
}

fn backslashes_of(piece: &[u8; PIECE]) -> u32 {
    i8x16::new(piece.map(turned)).simd_eq(i8x16::splat(turned(b'\\'))).to_bitmask()
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

    use super::{COMMON, FIRST_PLAIN, Shifted, TURN};

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
    pub(super) fn mark(simd: V3, blocks: Shifted<'_>, words: &mut [u64]) {
        let [bytes, before, twice] = blocks.cut::<PIECE>();
        simd.vectorize(
            #[inline(always)]
            || {
                // Said once, so that it is not asked of each block.
                let count =
                    words.len().min(bytes.len() / 2).min(before.len() / 2).min(twice.len() / 2);
                let (bytes, before, twice) =
                    (&bytes[..2 * count], &before[..2 * count], &twice[..2 * count]);
                for (at, word) in words[..count].iter_mut().enumerate() {
                    let of = [2 * at, 2 * at + 1]
                        .map(|at| marks_of(simd, [&bytes[at], &before[at], &twice[at]]));
                    *word = u64::from(of[0]) | u64::from(of[1]) << PIECE;
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

    /// A text that goes on behind the first batch.
    const TEXT: usize = BATCH * BLOCK + 2 * BLOCK + 7;

    #[test]
    fn each_byte_is_known_wherever_it_stands() {
        for before in [b'a', b'\\'] {
            // All of them, at places that differ.
            for shift in [0, 1, 31, 32, 62] {
                let pairs = (0..=u8::MAX).flat_map(|byte| [before, byte, b'a']);
                let text: Vec<u8> = [b'a'].repeat(shift).into_iter().chain(pairs).collect();
                is_marked_alike(&text.repeat(7));
            }
        }
    }

    #[test]
    fn runs_of_backslashes_are_known_wherever_they_stand() {
        for long in [1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 66, 2 * BLOCK + 3] {
            for at in (0..BLOCK).step_by(3).chain(BATCH * BLOCK - 4..BATCH * BLOCK + 2) {
                let mut text = [b'"'; TEXT + 2 * BLOCK];
                text[at..at + long].fill(b'\\');
                is_marked_alike(&text);
            }
        }
    }

    #[test]
    fn what_lies_behind_the_end_is_marked() {
        for long in (0..4 * BLOCK).chain(BATCH * BLOCK - 2 * BLOCK..TEXT) {
            let text = vec![b'a'; long];
            let mut marks = Marks::of(&text);
            let first = marks.at(0);
            let (start, word) = if first == 0 { marks.behind(0) } else { (0, first) };
            assert_eq!(start + word.trailing_zeros() as usize, long);
        }
    }

    proptest! {
        #[test]
        fn backslashes_are_found_in_any_part(
            text in prop::collection::vec(prop::sample::select(&b"\\abcdefghijklmnop"[..]), 0..3 * BLOCK),
            part in (0..3 * BLOCK, 0..2 * BLOCK),
        ) {
            let start = part.0.min(text.len());
            let part = start..(start + part.1).min(text.len());
            prop_assert_eq!(has_backslash(&text, part.clone()), text[part].contains(&b'\\'));
            let mut found = Vec::new();
            each_backslash(&text, |at| found.push(at));
            let wanted: Vec<_> = (0..text.len()).filter(|&at| text[at] == b'\\').collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn texts_are_marked_as_steps_do(
            text in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\\\\\nt\x1f\x20\x21\x23\x5b\x5d\x7f\x80\xa2\xdcu"[..])],
                0..TEXT + BATCH * BLOCK,
            ),
        ) {
            is_marked_alike(&text);
        }
    }
}
