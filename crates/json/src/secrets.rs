//! Secrets that may stand in a text of somebody else's, and the same text without them.
//!
//! A secret is found whole or not at all. To hide a part of one, such as a beginning that the end of a text cuts
//! off, would tell whoever can have a text of theirs quoted how far their guess is right, letter by letter. So would a
//! search that takes longer the more of a guess is right: windows of the text are compared by their sums.
//!
//! What is found is the secret as it is, and as writers of JSON and of addresses spell it: behind a backslash, as
//! `\u002f` or as `%2F`, also where one text is quoted in another (`\\\/`, `%252F`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Shorter values hide nothing: `none` and `EMPTY` are what engines without keys are shown, and words of many
/// messages.
const BYTES_MIN: usize = 8;

/// Nor do values of nothing but letters that are shorter: they are words, such as `password`.
const LETTERS_MIN: usize = 16;

/// What stands in a secret's place. As long as it was, so that no length on the way becomes wrong.
const HIDDEN: u8 = b'*';

/// As often are escapes of one kind undone: a text in a text in a text.
const QUOTED_MAX: usize = 3;

/// What an escape stands for with which a text begins, and how long it is.
type Escape = fn(&[u8]) -> Option<(u8, usize)>;

/// What nobody else is to read. Cheap to clone; its `Debug` tells how many there are.
#[derive(Clone, Default)]
pub struct Secrets(Arc<[Box<[u8]>]>);

impl Secrets {
    /// Of these values those that are no words.
    pub fn new<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Self {
        let is_word = |value: &[u8]| {
            let letters = value.len() < LETTERS_MIN && value.iter().all(u8::is_ascii_alphabetic);
            letters || value.len() < BYTES_MIN
        };
        let values = values.into_iter().filter(|value| !is_word(value));
        Self(values.map(Into::into).collect())
    }

    /// The same without them, if one is in it. JSON stays JSON: no escape is cut.
    pub fn hidden(&self, text: &[u8]) -> Option<Vec<u8>> {
        let found = self.places(text);
        if found.is_empty() {
            return None;
        }
        let mut hidden = text.to_vec();
        for place in &found {
            hidden[place.clone()].fill(HIDDEN);
        }
        let mut places = found.into_iter().peekable();
        for escape in escapes(text) {
            while places.next_if(|place| place.end <= escape.start).is_some() {}
            let Some(place) = places.peek() else { break };
            let inside = |at: usize| escape.start < at && at < escape.end;
            if inside(place.start) || inside(place.end) {
                hidden[escape].fill(HIDDEN);
            }
        }
        Some(hidden)
    }

    /// Where one of them stands, in any spelling: in order, and none touches another.
    fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.0.is_empty() {
            return found;
        }
        let mut quoted = Some(Reading::of(text));
        for _ in 0..=QUOTED_MAX {
            let Some(json) = quoted else { break };
            self.find(&json, &mut found);
            let mut address = json.without(in_address, b'%');
            for _ in 0..QUOTED_MAX {
                let Some(reading) = address else { break };
                self.find(&reading, &mut found);
                address = reading.without(in_address, b'%');
            }
            quoted = json.without(in_json, b'\\');
        }
        found
    }

    fn find(&self, reading: &Reading<'_>, found: &mut Vec<Range<usize>>) {
        for secret in &*self.0 {
            reading.find(secret, found);
            join(found);
        }
    }

    /// [`Self::hidden`] of a text.
    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let hidden = self.hidden(text.as_bytes());
        hidden.map_or(Cow::Borrowed(text), |bytes| {
            String::from_utf8_lossy(&bytes).into_owned().into()
        })
    }

    /// [`Self::hide`] of no more than the beginning of a text. Twice that is looked through, so that one is found whole
    /// that the end cuts.
    pub fn hide_beginning<'t>(&self, text: &'t str, bytes_max: usize) -> Cow<'t, str> {
        let end = text.floor_char_boundary(bytes_max);
        match self.hide(&text[..text.floor_char_boundary(bytes_max.saturating_mul(2))]) {
            Cow::Borrowed(_) => Cow::Borrowed(&text[..end]),
            Cow::Owned(mut hidden) => {
                hidden.truncate(hidden.floor_char_boundary(bytes_max));
                Cow::Owned(hidden)
            }
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// Puts places in order, and makes one of those that overlap or touch.
fn join(places: &mut Vec<Range<usize>>) {
    places.sort_by_key(|place| place.start);
    places.dedup_by(|next, kept| {
        let touches = next.start <= kept.end;
        if touches {
            kept.end = kept.end.max(next.end);
        }
        touches
    });
}

/// A text with some of its escapes undone.
struct Reading<'t> {
    bytes: Cow<'t, [u8]>,
    /// Where in the text each byte's spelling ends, and the next one's begins. None: it is the text itself.
    ends: Option<Vec<usize>>,
}

impl<'t> Reading<'t> {
    fn of(text: &'t [u8]) -> Self {
        Self { bytes: Cow::Borrowed(text), ends: None }
    }

    /// Where in the text the spelling of a reading's first bytes ends.
    fn end_of(&self, count: usize) -> usize {
        let before = count.checked_sub(1);
        let known = self.ends.as_ref().zip(before).map(|(ends, before)| ends[before]);
        known.unwrap_or(count)
    }

    /// The same without escapes of a kind, which begin with `mark`; None: it has none.
    fn without(&self, escape: Escape, mark: u8) -> Option<Reading<'static>> {
        let is_escape = |at: &usize| escape(&self.bytes[*at..]).is_some();
        let first = memchr::memchr_iter(mark, &self.bytes).find(is_escape)?;
        let mut bytes = self.bytes[..first].to_vec();
        let mut ends: Vec<usize> = (1..=first).map(|count| self.end_of(count)).collect();
        let mut at = first;
        while let Some(&byte) = self.bytes.get(at) {
            let (byte, length) = escape(&self.bytes[at..]).unwrap_or((byte, 1));
            at += length;
            bytes.push(byte);
            ends.push(self.end_of(at));
        }
        Some(Reading { bytes: Cow::Owned(bytes), ends: Some(ends) })
    }

    /// Where a secret stands. Each byte costs the same, however much of a secret stands before it.
    fn find(&self, secret: &[u8], found: &mut Vec<Range<usize>>) {
        /// Odd, so that no byte of a window is shifted out of its sum.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let add = |sum: u64, &byte: &u8| sum.wrapping_mul(FACTOR).wrapping_add(byte.into());
        let wanted = secret.iter().fold(0, add);
        let leaves = secret.iter().fold(1_u64, |product, _| product.wrapping_mul(FACTOR));
        let mut sum = 0;
        for (last, byte) in self.bytes.iter().enumerate() {
            sum = add(sum, byte);
            let Some(first) = (last + 1).checked_sub(secret.len()) else { continue };
            if let Some(before) = first.checked_sub(1) {
                sum = sum.wrapping_sub(leaves.wrapping_mul(self.bytes[before].into()));
            }
            if sum == wanted && self.bytes[first..=last] == *secret {
                let place = self.end_of(first)..self.end_of(last + 1);
                // One that overlaps itself has a place at nearly each byte.
                match found.last_mut().filter(|kept| (kept.start..=kept.end).contains(&place.start))
                {
                    Some(kept) => kept.end = kept.end.max(place.end),
                    None => found.push(place),
                }
            }
        }
    }
}

/// What an escape of JSON stands for with which a text begins, and how long it is. Those of letters stand for no part
/// of a header.
fn in_json(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'\\', b'u', rest @ ..] => {
            let byte = u8::try_from(number(rest.get(..4))?).ok()?;
            byte.is_ascii().then_some((byte, 6))
        }
        [b'\\', byte, ..] => byte.is_ascii_punctuation().then_some((*byte, 2)),
        _ => None,
    }
}

/// The same of an address.
fn in_address(text: &[u8]) -> Option<(u8, usize)> {
    let digits = text.strip_prefix(b"%")?;
    Some((u8::try_from(number(digits.get(..2))?).ok()?, 3))
}

/// A number of hexadecimal digits, in either case.
fn number(digits: Option<&[u8]>) -> Option<u32> {
    let mut digits = digits?.iter().map(|&digit| char::from(digit).to_digit(16));
    digits.try_fold(0, |sum, digit| Some(sum * 16 + digit?))
}

/// The escapes of a text that is JSON.
fn escapes(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + memchr::memchr(b'\\', &text[from..])?;
        let length = match text.get(at + 1) {
            Some(b'u') if number(text.get(at + 2..at + 6)).is_some() => 6,
            Some(byte) if byte.is_ascii() => 2,
            _ => 1,
        };
        from = at + length;
        Some(at..from)
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "Ab1/cd+Ef2/gh3==XYZ987";

    fn of(secrets: &[&str]) -> Secrets {
        Secrets::new(secrets.iter().map(|secret| secret.as_bytes()))
    }

    #[test]
    fn whole_secrets_are_hidden_wherever_they_stand_and_all_else_stays() {
        let secrets = of(&["key-0123456789", "tenant-4711"]);
        for (text, seen) in [
            ("key-0123456789", "**************"),
            ("wrong: 'key-0123456789'.", "wrong: '**************'."),
            (
                "key-0123456789key-0123456789 tenant-4711",
                "**************************** ***********",
            ),
            ("Authorization: Bearer key-0123456789", "Authorization: Bearer **************"),
            ("é key-0123456789 é", "é ************** é"),
        ] {
            assert_eq!(secrets.hide(text), seen, "{text}");
        }
        for text in [
            "",
            "application/json",
            "key-012345678",
            "key-01234567 key-01234567",
            "ey-0123456789",
            "tenant-4712",
            "KEY-0123456789",
            "Bearer key-",
        ] {
            assert!(matches!(secrets.hide(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    /// A key with a slash went out whole, as most writers of JSON outside of Rust escape it.
    #[test]
    fn it_is_found_as_writers_of_json_and_of_addresses_spell_it() {
        let spellings = [
            r"Ab1\/cd+Ef2\/gh3==XYZ987",
            r"Ab1\u002fcd\u002BEf2\u002Fgh3\u003d\u003D\u0058YZ987",
            r"Ab1\\\/cd+Ef2\\\/gh3==XYZ987",
            r"Ab1\\u002fcd+Ef2/gh3==XYZ987",
            "Ab1%2Fcd%2bEf2%2fgh3%3D%3DXYZ987",
            "Ab1%252Fcd%252BEf2%252Fgh3%253D%253DXYZ987",
            r"\u0041b1/cd+Ef2/gh3==XYZ98\u0037",
            "%41b1/cd+Ef2%2Fgh3==XYZ98%37",
        ];
        for spelled in spellings {
            let (text, seen) = (format!("<{spelled}>"), format!("<{}>", "*".repeat(spelled.len())));
            assert_eq!(of(&[KEY]).hide(&text), seen);
            let cut = &text[..text.len() - 2];
            assert_eq!(of(&[KEY]).hide(cut), cut);
        }
        for (secret, text) in [
            (r"back\slash\", r"back\\slash\\"),
            (r"back\slash\", r"back\slash\"),
            ("100%25 of it", "100%2525%20of%20it"),
            ("100%25 of it", "100%25 of it"),
            (r#"a"quote"d"#, r#"a\"quote\"d"#),
        ] {
            assert_eq!(of(&[secret]).hide(text), "*".repeat(text.len()), "{secret}");
        }
    }

    #[test]
    fn json_stays_json() {
        let secrets = of(&["041bc12345", r"abcdefg1\", "u002bxyz1"]);
        for text in [
            r#"["\u0041bc12345"]"#,
            r#"["abcdefg1\\"]"#,
            r#"["abcdefg1\""]"#,
            r#"["abcdefg1\u0041"]"#,
            r#"["\u002bxyz1"]"#,
            r#"["\\u002bxyz1"]"#,
        ] {
            let hidden = secrets.hidden(text.as_bytes()).expect("one is in it");
            assert_eq!(hidden.len(), text.len());
            let read: Result<Vec<String>, _> = serde_json::from_slice(&hidden);
            assert!(read.is_ok(), "{text}: {}", String::from_utf8_lossy(&hidden));
        }
    }

    #[test]
    fn a_value_that_is_a_word_hides_none() {
        let secrets = of(&["EMPTY", "", "key-012", "password", "production", "abcdefghijklmno"]);
        for text in ["the prompt is EMPTY", "a password for production", "abcdefghijklmnopq"] {
            assert!(matches!(secrets.hide(text), Cow::Borrowed(_)), "{text}");
        }
        let secrets = of(&["passw0rd", "abcdefghijklmnop"]);
        assert_eq!(secrets.hide("passw0rd, abcdefghijklmnop"), "********, ****************");
        assert_eq!(format!("{secrets:?}"), "Secrets(2)");
        assert_eq!(Secrets::default().hidden(b"application/json"), None);
    }

    #[test]
    fn what_is_full_of_beginnings_is_read_at_once() {
        let secret = format!("{}b", "a/".repeat(30));
        let text = [r"\".repeat(200_000), "a/".repeat(200_000), "%25".repeat(100_000)].concat();
        assert_eq!(of(&[&secret]).hide(&text), text);
    }

    /// All escapes were held against all places: 2.6 MB of keys and escapes took 21 seconds, and these would take hours.
    #[test]
    fn many_keys_among_many_escapes_are_hidden_in_one_pass() {
        let escapes = r"\n".repeat(20);
        let (text, seen): (String, String) = (0..60_000)
            .map(|_| (KEY.to_owned() + &escapes, "*".repeat(KEY.len()) + &escapes))
            .unzip();
        assert_eq!(of(&[KEY]).hide(&text), seen);
    }

    /// What was found of one that overlaps itself took sixteen bytes for each byte of the text, in each reading.
    #[test]
    fn places_that_overlap_or_touch_are_one() {
        let secrets = of(&["0000000000", "%30000000000"]);
        let text = format!("{}1{}2%30", "0".repeat(50), "%30".repeat(20));
        assert_eq!(secrets.places(text.as_bytes()), [0..50, 51..111]);
        let mut found = Vec::new();
        Reading::of("0".repeat(5_000).as_bytes()).find(b"0000000000", &mut found);
        assert!(found.len() == 1 && found[0] == (0..5_000), "{found:?}");
    }

    /// A text took 25 times its length, whether there was anything to undo in it or not.
    #[test]
    fn a_text_without_escapes_is_not_copied() {
        let text = r"100 % plain".repeat(1_000);
        let reading = Reading::of(text.as_bytes());
        assert!(matches!(reading.bytes, Cow::Borrowed(_)) && reading.ends.is_none());
        assert!(reading.without(in_address, b'%').is_none());
        assert!(Reading::of(br"a\\").without(in_json, b'\\').is_some());
    }

    /// A secret is shown whole, as stars, or as its upstream cut it: never a part that only a cut of ours made.
    #[test]
    fn one_that_the_end_of_a_beginning_cuts_is_hidden() {
        let secrets = of(&[KEY]);
        for before in 0..40 {
            let text = format!("{}{KEY} and é more of it {KEY}", "é".repeat(before));
            let shown = secrets.hide_beginning(&text, 40);
            assert!(shown.len() <= 40 && shown.len() >= 39, "{shown}");
            let whole = secrets.hide(&text);
            assert!(whole.starts_with(&*shown), "{shown}");
            assert!(!shown.contains("Ab1"), "{shown}");
        }
        assert!(matches!(secrets.hide_beginning("short", 40), Cow::Borrowed("short")));
        assert_eq!(secrets.hide_beginning(&"a".repeat(100), 40), "a".repeat(40));
    }

    /// As a writer of JSON (0), of addresses (1), of JSON with addresses in it (2) or of JSON in JSON (3) spells it. The
    /// ways say which bytes are escaped, and in which case; some must be.
    fn spelled_out(text: &str, writer: u8, ways: &[u8]) -> String {
        let json = |(byte, way): (u8, &u8)| match way {
            0 => format!(r"\u{byte:04x}"),
            1 => format!(r"\u{byte:04X}"),
            2 if byte == b'/' => r"\/".to_owned(),
            _ if matches!(byte, b'"' | b'\\') => format!(r"\{}", char::from(byte)),
            _ => char::from(byte).to_string(),
        };
        let address = |(byte, way): (u8, &u8)| match way {
            0 => format!("%{byte:02x}"),
            1 => format!("%{byte:02X}"),
            _ if byte == b'%' => "%25".to_owned(),
            _ => char::from(byte).to_string(),
        };
        let each = || text.bytes().zip(ways.iter().cycle());
        match writer {
            0 => each().map(json).collect(),
            1 => each().map(address).collect(),
            2 => spelled_out(&spelled_out(text, 1, ways), 0, ways),
            _ => spelled_out(&spelled_out(text, 0, ways), 0, ways),
        }
    }

    prop_compose! {
        /// A secret, how its bytes are spelled, and two places in it.
        fn secret_and_places()(
            secret in "[A-Za-z/+=_.%-]{1,40}[0-9][A-Za-z0-9/+=_-]{8,40}",
            ways in (0_u8..4, vec(0_u8..9, 1..20)),
            at in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) -> (String, (u8, Vec<u8>), usize, usize) {
            let (one, other) = (at.0.index(secret.len()), at.1.index(secret.len()));
            (secret, ways, one, other)
        }
    }

    proptest! {
        /// The oracle: whoever guesses a beginning, an end or a middle is told nothing of how far it is right.
        /// The byte that stands for a wrong guess is in no secret.
        #[test]
        fn a_guess_that_is_not_of_the_whole_is_shown_as_it_was_sent(
            (secret, ways, one, other) in secret_and_places(),
            before in "[ -~]{0,20}[ #]",
            after in "([ #][ -~]{0,20})?",
        ) {
            let secrets = of(&[&secret]);
            let (from, to) = (one.min(other), one.max(other));
            let wrong = format!("{}#{}", &secret[..one], &secret[one + 1..]);
            for guess in [&secret[..one], &secret[one + 1..], &secret[from..to], &wrong] {
                let guess = spelled_out(guess, ways.0, &ways.1);
                for text in [guess.clone(), format!("{before}{guess}{after}"), format!("Bearer {guess}")] {
                    prop_assert_eq!(&*secrets.hide(&text), &text);
                }
            }
        }

        #[test]
        fn the_whole_is_hidden_in_any_spelling(
            (secret, ways, ..) in secret_and_places(),
            before in "[a-z ]{0,20}",
            after in "[a-z ]{0,20}",
        ) {
            let spelled = spelled_out(&secret, ways.0, &ways.1);
            let stars = "*".repeat(spelled.len());
            let seen = of(&[&secret]).hide(&format!("{before}{spelled} {after}")).into_owned();
            prop_assert_eq!(seen, format!("{before}{stars} {after}"));
        }

        #[test]
        fn nothing_panics_and_no_length_changes(
            secret in r"[a-c\\%u0-3/]{8,12}",
            text in r"[a-c\\%u0-3/é]{0,60}",
        ) {
            let hidden = of(&[&secret, "aaaaaaa1"]).hide(&text).into_owned();
            prop_assert_eq!(hidden.len(), text.len());
            let is_json = |text: &str| serde_json::from_str::<String>(&format!("\"{text}\"")).is_ok();
            prop_assert!(!is_json(&text) || is_json(&hidden), "{} {}", text, hidden);
        }
    }
}
