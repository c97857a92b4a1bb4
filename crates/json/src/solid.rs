//! Solid bytes: a byte that repeats the one before it is left out. What they say of a prompt's tokens is for others to
//! know; here they are counted, in a text and in raw JSON, where an escape counts as one byte and that of a character
//! by its number as two.

use crate::blocks::each_backslash;

/// The solid bytes of a text.
pub fn solid_bytes(text: &str) -> u64 {
    changes(0, text.as_bytes())
}

/// How many bytes of a run differ from the one before them. Whole blocks are folded, which the compiler turns into
/// vector code.
fn changes(before: u8, run: &[u8]) -> u64 {
    const BLOCK: usize = 64;
    let Some((first, after)) = run.split_first() else { return 0 };
    let differ = |(one, next): (&[u8], &[u8])| {
        let both = one.iter().zip(next);
        u64::from(both.fold(0_u8, |sum, (one, next)| sum.wrapping_add(u8::from(one != next))))
    };
    let (blocks, others) = (run.as_chunks::<BLOCK>().0, after.as_chunks::<BLOCK>());
    let whole = blocks.iter().zip(others.0).map(|(one, next)| differ((one, next))).sum::<u64>();
    let rest = run.get(others.0.len() * BLOCK..).unwrap_or_default();
    u64::from(*first != before) + whole + differ((rest, others.1))
}

/// The solid bytes of raw JSON.
pub fn solid_json(raw: &[u8]) -> u64 {
    let mut escapes = Escapes::default();
    each_backslash(raw, |at| {
        if at >= escapes.end {
            escapes.meet(raw, at);
        }
    });
    escapes.solid(raw)
}

/// What raw JSON's escapes change of the count of its bytes, which is made as if it had none.
#[derive(Default)]
pub(crate) struct Escapes {
    /// What is to be added; it wraps below zero.
    more: u64,
    /// Where the last escape ended, and what it stood for.
    end: usize,
    last: u8,
}

impl Escapes {
    /// Takes in the escape whose backslash stands here, in the raw JSON or in what that is a part of: a text within its
    /// quotes. They come in their order, and each once.
    pub(crate) fn meet(&mut self, raw: &[u8], at: usize) {
        let around = at.checked_sub(1).and_then(|from| raw.get(from..)?.first_chunk());
        match around {
            Some(&[ahead, _, escaped, next]) if escaped != b'u' => {
                self.meet_letter((ahead, escaped, next), at);
            }
            _ => self.meet_any(raw, at),
        }
    }

    /// [`Escapes::meet_any`] of a letter's escape between two bytes.
    fn meet_letter(&mut self, (ahead, escaped, next): (u8, u8, u8), at: usize) {
        let (before, now) = (if at == self.end { self.last } else { ahead }, escaped | 0x80);
        let counts = |left: u8, right: u8| u64::from(left != right);
        let mut more = counts(before, now);
        more = more.wrapping_sub(counts(ahead, b'\\') + counts(b'\\', escaped));
        if next != b'\\' {
            more = more.wrapping_add(counts(now, next)).wrapping_sub(counts(escaped, next));
        }
        self.more = self.more.wrapping_add(more);
        (self.end, self.last) = (at + 2, now);
    }

    #[inline(never)]
    fn meet_any(&mut self, raw: &[u8], at: usize) {
        let byte = |at: usize| raw.get(at).copied().unwrap_or_default();
        // Before the first byte stands none.
        let ahead = at.checked_sub(1).map_or(0, byte);
        let before = if at == self.end { self.last } else { ahead };
        let (now, long, worth) = match raw.get(at + 1) {
            Some(b'u') => (0, 6, 2),
            Some(&escaped) => (escaped | 0x80, 2, 1),
            None => (b'\\', 1, 1),
        };
        self.end = raw.len().min(at + long);
        self.last = now;
        let count = |is: bool| u64::from(is);
        // As it counts, in place of the bytes that it is written with.
        let counts = if now != before || now == 0 { worth } else { 0 };
        let mut written = count(ahead != b'\\');
        for inner in at + 1..self.end {
            written += count(byte(inner) != byte(inner - 1));
        }
        self.more = self.more.wrapping_add(counts).wrapping_sub(written);
        // What follows is compared with what the escape stands for; another escape does so itself.
        let next = byte(self.end);
        if self.end < raw.len() && next != b'\\' {
            let (right, wrong) = (count(next != now), count(next != byte(self.end - 1)));
            self.more = self.more.wrapping_add(right).wrapping_sub(wrong);
        }
    }

    /// The solid bytes of the whole, whose escapes have all been met.
    pub(crate) fn solid(self, raw: &[u8]) -> u64 {
        changes(0, raw).wrapping_add(self.more)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Byte by byte, as it is meant.
        #[test]
        fn whole_runs_are_counted_as_single_bytes_are(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("a".to_owned()), Just(" ".repeat(300)), Just("\\n".to_owned()),
                    Just("\\u0041".to_owned()), Just("\\\\".to_owned()), "[a-c]{0,200}",
                    // Bytes like those that `\"` and `\n` stand for.
                    Just("\\\"".to_owned()), Just("â".to_owned()), Just("\u{e000}".to_owned()), "[nu\"]{0,3}",
                ], 0..20),
        ) {
            let raw = parts.concat();
            let (mut count, mut at, mut before) = (0, 0, 0);
            while let Some(&byte) = raw.as_bytes().get(at) {
                let (now, long, worth) = match (byte, raw.as_bytes().get(at + 1)) {
                    (b'\\', Some(b'u')) => (0, 6, 2),
                    (b'\\', Some(&escaped)) => (escaped | 0x80, 2, 1),
                    _ => (byte, 1, 1),
                };
                if now != before || now == 0 {
                    count += worth;
                }
                (before, at) = (now, at + long);
            }
            prop_assert_eq!(solid_json(raw.as_bytes()), count);
            let mut before = 0;
            let solid = raw.bytes().filter(|&byte| std::mem::replace(&mut before, byte) != byte);
            prop_assert_eq!(solid_bytes(&raw), solid.count() as u64);
        }
    }
}
