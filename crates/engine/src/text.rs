//! From token bytes to the text a client sees: whole characters only, and never a part of a stop
//! string.

/// The growing text of one answer.
///
/// ```text
/// token bytes -> [incomplete character] -> [could begin a stop string] -> released
/// ```
pub(crate) struct Text {
    stops: Vec<String>,
    partial: Vec<u8>,
    held: String,
    released: usize,
}

/// What a token's bytes led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Released {
    /// Text that may be shown now.
    pub(crate) text: String,
    /// Whether a stop string was met; nothing may follow.
    pub(crate) stopped: bool,
}

impl Text {
    /// Empty stop strings match nothing.
    pub(crate) fn new(stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|s| !s.is_empty()).collect();
        Self { stops, partial: Vec::new(), held: String::new(), released: 0 }
    }

    /// Bytes of text decoded so far, held back or released.
    pub(crate) fn decoded(&self) -> usize {
        self.released + self.held.len()
    }

    /// Bytes of text released so far.
    pub(crate) fn released(&self) -> usize {
        self.released
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Released {
        self.partial.extend_from_slice(bytes);
        let complete = decode_complete(&mut self.partial);
        self.held.push_str(&complete);
        // The one completed first, so that it does not matter how the text was cut into tokens.
        let found = |s: &String| self.held.find(s.as_str()).map(|at| (at + s.len(), at));
        if let Some((_, at)) = self.stops.iter().filter_map(found).min() {
            self.held.truncate(at);
            self.partial.clear();
            self.released += at;
            return Released { text: std::mem::take(&mut self.held), stopped: true };
        }
        let keep = self.could_begin_a_stop();
        let text: String = self.held.drain(..self.held.len() - keep).collect();
        self.released += text.len();
        Released { text, stopped: false }
    }

    /// The rest, when the answer ended otherwise. Half a character becomes U+FFFD.
    pub(crate) fn finish(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.held);
        rest.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.partial)));
        self.released += rest.len();
        rest
    }

    /// Length of the longest end of the held text that begins a stop string.
    fn could_begin_a_stop(&self) -> usize {
        let longest = |stop: &String| {
            (1..stop.len().min(self.held.len() + 1))
                .rev()
                .find(|n| self.held.as_bytes().ends_with(&stop.as_bytes()[..*n]))
        };
        let keep = self.stops.iter().filter_map(longest).max().unwrap_or(0);
        // Half a character of a stop string cannot end whole text, so this is a boundary.
        debug_assert!(self.held.is_char_boundary(self.held.len() - keep));
        keep
    }
}

/// Takes all complete characters; bytes that can never become one turn into U+FFFD.
fn decode_complete(bytes: &mut Vec<u8>) -> String {
    let mut out = String::new();
    let mut rest = bytes.as_slice();
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                out.push_str(text);
                rest = &[];
                break;
            }
            Err(e) => {
                let (valid, tail) = rest.split_at(e.valid_up_to());
                out.push_str(&String::from_utf8_lossy(valid));
                rest = tail;
                let Some(bad) = e.error_len() else { break };
                out.push(char::REPLACEMENT_CHARACTER);
                rest = &rest[bad..];
            }
        }
    }
    *bytes = rest.to_vec();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let mut text = Text::new(stops.iter().map(ToString::to_string).collect());
        let mut out = Vec::new();
        for piece in pieces {
            let released = text.push(piece);
            out.push(released.text);
            if released.stopped {
                return (out, true);
            }
        }
        out.push(text.finish());
        (out, false)
    }

    #[test]
    fn a_character_is_shown_only_whole() {
        let euro = "€".as_bytes();
        let (out, _) = run(&[], &[b"a", &euro[..1], &euro[1..2], &euro[2..], b"b"]);
        assert_eq!(out, ["a", "", "", "€", "b", ""]);
    }

    #[test]
    fn half_a_character_at_the_end_becomes_the_replacement_character() {
        assert_eq!(run(&[], &[b"a", &"€".as_bytes()[..2]]).0, ["a", "", "\u{fffd}"]);
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced_at_once() {
        assert_eq!(run(&[], &[b"\xff", b"\xe2b"]).0, ["\u{fffd}", "\u{fffd}b", ""]);
    }

    #[test]
    fn a_stop_string_never_shows_even_across_tokens() {
        assert_eq!(
            run(&["END"], &[b"say E", b"N", b"D more"]),
            (vec!["say ".into(), String::new(), String::new()], true)
        );
    }

    #[test]
    fn text_that_only_looked_like_a_stop_is_released() {
        assert_eq!(run(&["END"], &[b"E", b"N", b"X"]).0, ["", "", "ENX", ""]);
    }

    #[test]
    fn the_stop_completed_first_wins() {
        assert_eq!(run(&["long stop", "st"], &[b"a long stop"]), (vec!["a long ".into()], true));
    }

    proptest! {
        #[test]
        fn cuts_do_not_change_the_text(s in "[ab€😀]{0,20}", cut in 1usize..5, stop in "[ab€]{0,3}") {
            let whole = run(&[&stop], &[s.as_bytes()]);
            let pieces: Vec<&[u8]> = s.as_bytes().chunks(cut).collect();
            let cut = run(&[&stop], &pieces);
            prop_assert_eq!(whole.0.concat(), cut.0.concat());
            prop_assert_eq!(whole.1, cut.1);
            prop_assert!(stop.is_empty() || !whole.0.concat().contains(&stop));
        }

        #[test]
        fn any_bytes_give_the_lossy_text(bytes in prop::collection::vec(any::<u8>(), 0..40), cut in 1usize..4) {
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(run(&[], &pieces).0.concat(), String::from_utf8_lossy(&bytes));
        }
    }
}
