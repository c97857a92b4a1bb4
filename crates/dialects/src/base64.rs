//! A look into what base64 holds, without decoding all of it.

/// What base64 holds.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a>(&'a [u8]);

impl<'a> Data<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self(text.trim_end_matches('=').as_bytes())
    }

    /// Its length in bytes.
    pub(crate) fn len(self) -> usize {
        self.0.len() * 3 / 4
    }

    /// So many bytes from a place on; fewer where it ends.
    pub(crate) fn bytes(self, from: usize, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 3);
        let (mut bits, mut held) = (0_u32, 0);
        for digit in self.0.iter().skip(from / 3 * 4) {
            if bytes.len() >= count + from % 3 {
                break;
            }
            let six = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                _ => 63,
            };
            bits = bits << 6 | u32::from(six);
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.extend(u8::try_from(bits >> held & 0xff));
            }
        }
        bytes.drain(..(from % 3).min(bytes.len()));
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use cutover_wire::openai::embeddings::base64;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_those_that_were_put_in(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            from in 0_usize..70,
            count in 0_usize..70,
        ) {
            let text = base64(&bytes);
            let data = Data::of(&text);
            let wanted: Vec<u8> = bytes.iter().skip(from).take(count).copied().collect();
            prop_assert_eq!(data.len(), bytes.len());
            prop_assert_eq!(data.bytes(from, count), wanted);
        }
    }
}
