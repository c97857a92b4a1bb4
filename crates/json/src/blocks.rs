//! Where a string's plain text ends, for a whole block of bytes at once: a bit for each byte that is a quote, a
//! backslash or a control character.
//!
//! A search from mark to mark pays for its start each time, and text is full of escapes. Here a block is looked at once,
//! and each mark in it is the next bit of a word.

use wide::u8x16;

/// Bytes of a block: a bit of a word for each.
pub(super) const BLOCK: usize = 64;

/// Bytes that a processor compares at once.
const PIECE: usize = 16;

/// The marks of a block, the first byte's in the lowest bit.
pub(super) fn marks(block: &[u8; BLOCK]) -> u64 {
    let (pieces, _) = block.as_chunks::<PIECE>();
    pieces.iter().rev().fold(0, |behind, piece| behind << PIECE | u64::from(marks_of(*piece)))
}

/// The marks of a piece.
fn marks_of(piece: [u8; PIECE]) -> u32 {
    let bytes = u8x16::new(piece);
    let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
    let last = u8x16::splat(b' ' - 1);
    (bytes.max(last).simd_eq(last) | is(b'"') | is(b'\\')).to_bitmask()
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
