//! Where a string's plain text ends, for a whole block of bytes at once: a bit for each byte that is a quote, a
//! backslash or a control character.
//!
//! A search from mark to mark pays for its start each time, and text is full of escapes. Here a block is looked at once,
//! and each mark in it is the next bit of a word.

/// Bytes of a block: a bit of a word for each.
pub(super) const BLOCK: usize = 64;

/// Words of a block.
const WORDS: usize = 8;

/// For each byte of a block a bit: that of its word's number.
const OF_WORD: [u8; BLOCK] = {
    let (mut bits, mut at) = ([0; BLOCK], 0);
    while at < BLOCK {
        bits[at] = 1 << (at / WORDS);
        at += 1;
    }
    bits
};

/// The marks of a block, the first byte's in the lowest bit.
///
/// Each byte is turned into its bit, which the compiler does to many at once, and all words are laid on one another. So
/// bit `w` of byte `b` tells of byte `b` of word `w`: what is left is to turn this square of eight by eight bits.
#[expect(clippy::needless_bitwise_bool, reason = "a lazy operator would end in the middle")]
pub(super) fn marks(block: &[u8; BLOCK]) -> u64 {
    let mut bits = OF_WORD;
    for (bit, &byte) in bits.iter_mut().zip(block) {
        let is_mark = (byte == b'"') | (byte == b'\\') | (byte < b' ');
        *bit &= if is_mark { u8::MAX } else { 0 };
    }
    let (words, _) = bits.as_chunks::<WORDS>();
    turned(words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word)))
}

/// How many bytes from here on lie in blocks without a mark, as far as whole stretches of [`STRETCH`] go. Where text is
/// plain it takes a third of what its blocks' marks do: nothing is asked but whether there is one. Not inlined: within a
/// larger loop the compiler looks at one byte at a time.
#[inline(never)]
pub(super) fn plain(text: &[u8]) -> usize {
    let (stretches, _) = text.as_chunks::<STRETCH>();
    stretches.iter().take_while(|stretch| !has_mark(stretch)).count() * STRETCH
}

/// Bytes that are asked about at once.
const STRETCH: usize = 2 * BLOCK;

/// Whether there is a mark. No byte ends the look, so that the compiler looks at many at once.
fn has_mark(stretch: &[u8; STRETCH]) -> bool {
    let any = stretch.iter().fold(0, |any, &byte| {
        any | u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < b' ')
    });
    any != 0
}

/// Bit `w` of byte `b` becomes bit `b` of byte `w`: single bits change places across the diagonal, then squares of two by
/// two, then of four by four.
fn turned(square: u64) -> u64 {
    let steps =
        [(7, 0x00AA_00AA_00AA_00AA), (14, 0x0000_CCCC_0000_CCCC), (28, 0x0000_0000_F0F0_F0F0_u64)];
    steps.into_iter().fold(square, |square, (far, one_side)| {
        let differ = (square ^ (square >> far)) & one_side;
        square ^ differ ^ (differ << far)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_mark(byte: u8) -> bool {
        matches!(byte, b'"' | b'\\' | 0..b' ')
    }

    #[test]
    fn each_byte_is_known_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK {
                let mut block = [b'a'; BLOCK];
                block[at] = byte;
                assert_eq!(marks(&block), u64::from(is_mark(byte)) << at, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn plain_text_ends_before_the_stretch_with_a_mark() {
        let text = vec![b'a'; 5 * STRETCH + 7];
        assert_eq!(plain(&text), 5 * STRETCH);
        assert_eq!(plain(&text[..STRETCH - 1]), 0);
        for byte in 0..=u8::MAX {
            for at in [0, 1, STRETCH - 1, STRETCH, 3 * STRETCH - 1, 5 * STRETCH] {
                let mut text = text.clone();
                text[at] = byte;
                let end = if is_mark(byte) { at / STRETCH * STRETCH } else { 5 * STRETCH };
                assert_eq!(plain(&text), end, "{byte} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_block_is_marked_as_single_bytes_are(
            block in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\\x1f\x20\x21\x23\x5b\x5d\x7f\x80\xa2\xdc"[..])],
                BLOCK,
            ),
        ) {
            let block: [u8; BLOCK] = block.try_into().unwrap();
            let single = block.iter().enumerate();
            let single = single.fold(0, |all, (at, &byte)| all | u64::from(is_mark(byte)) << at);
            prop_assert_eq!(marks(&block), single);
        }
    }
}
