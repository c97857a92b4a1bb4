//! Follows a JSON object or list as it arrives, in pieces.

/// Knows when the first value is complete. It does not judge it.
#[derive(Debug, Default)]
pub struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
    complete: bool,
}

impl Scan {
    /// Reads the next piece.
    pub fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.escaped {
                self.escaped = false;
                continue;
            }
            match (self.in_string, byte) {
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.complete |= self.depth == 0;
                }
                _ => {}
            }
        }
    }

    /// Whether an object or a list has ended.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_complete_with_its_own_brace_however_it_is_cut() {
        let text = r#" {"a":["}\"]",{}]}"#;
        for cut in 0..text.len() {
            let mut scan = Scan::default();
            scan.read(&text[..cut]);
            assert!(!scan.is_complete(), "{cut}");
            scan.read(&text[cut..]);
            assert!(scan.is_complete(), "{cut}");
        }
    }
}
