//! Masks what looks like personal or secret data in a text.
//!
//! A heuristic over the text's form: it finds e-mail addresses, phone numbers, card numbers (with
//! their check digit), IBANs, bearer tokens and keys with the usual prefixes. It does not find
//! names, addresses, or a number written in words; and it masks some harmless numbers. Whoever must
//! not keep personal data sets `keep = "none"`.
//!
//! The result is as valid as JSON as the text was: what is masked never begins in the middle of an
//! escape, and marks hold no quote or backslash.

/// Beginnings of keys that providers and forges give out.
const KEY_PREFIXES: &[&str] = &[
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ck-",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "AKIA",
    "ASIA",
    "AIza",
    "hf_",
    "eyJ",
    "ya29.",
    "npm_",
    "pypi-",
];

/// A key is at least so long with its prefix: shorter words such as `sk-learn` are words.
const KEY_BYTES_MIN: usize = 16;

/// A token after `Bearer` is at least so long.
const BEARER_BYTES_MIN: usize = 8;

/// Digits of a phone number.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 9..=15;

/// Digits of a card number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Characters of an IBAN.
const IBAN_CHARS: std::ops::RangeInclusive<usize> = 15..=34;

/// The text without what looks like personal or secret data.
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let escape = escape(rest);
        if escape > 0 {
            out.push_str(&rest[..escape]);
            at += escape;
            continue;
        }
        let starts = !text[..at].ends_with(is_word) || ends_in_escape(&text[..at]);
        let found = if starts { find(rest) } else { None };
        match found {
            Some((bytes, mark)) => {
                out.push_str(mark);
                at += bytes;
            }
            None => {
                let next = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..next]);
                at += next;
            }
        }
    }
    out
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '+' | '%')
}

/// Bytes of a JSON escape at the beginning; 0 if there is none.
fn escape(text: &str) -> usize {
    match text.as_bytes() {
        [b'\\', b'u', hex @ ..] if hex.len() >= 4 && hex[..4].iter().all(u8::is_ascii_hexdigit) => {
            6
        }
        [b'\\', next, ..] if next.is_ascii() => 2,
        _ => 0,
    }
}

/// Whether what comes next begins a word although a letter stands before it: the letter is an
/// escape's.
fn ends_in_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let backslash = |back: usize| bytes.len().checked_sub(back).map(|at| bytes[at]) == Some(b'\\');
    backslash(2) || (backslash(6) && bytes[bytes.len() - 5] == b'u')
}

/// What begins here: its bytes and its mark.
fn find(text: &str) -> Option<(usize, &'static str)> {
    key(text).or_else(|| email(text)).or_else(|| iban(text)).or_else(|| number(text))
}

fn run(text: &str, is: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !is(c)).unwrap_or(text.len())]
}

fn key(text: &str) -> Option<(usize, &'static str)> {
    let token = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=".contains(c);
    if text.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("bearer ")) {
        let bytes = run(&text[7..], token).len();
        return (bytes >= BEARER_BYTES_MIN).then_some((7 + bytes, "Bearer [key]"));
    }
    KEY_PREFIXES.iter().find(|prefix| text.starts_with(**prefix))?;
    let bytes = run(text, |c| c.is_ascii_alphanumeric() || "-_.".contains(c)).len();
    (bytes >= KEY_BYTES_MIN).then_some((bytes, "[key]"))
}

fn email(text: &str) -> Option<(usize, &'static str)> {
    let local = run(text, |c| c.is_alphanumeric() || "._%+-'".contains(c));
    if local.is_empty() || local.len() > 64 {
        return None;
    }
    let domain = text[local.len()..].strip_prefix('@')?;
    let domain = run(domain, |c| c.is_alphanumeric() || c == '.' || c == '-');
    let domain = domain.trim_end_matches(['.', '-']);
    let (_, top) = domain.rsplit_once('.')?;
    let is_top = top.chars().count() >= 2 && !top.chars().all(|c| c.is_ascii_digit());
    is_top.then_some((local.len() + 1 + domain.len(), "[email]"))
}

/// Two letters, two check digits, and the rest, in groups of four or without; the whole is 1 modulo 97.
fn iban(text: &str) -> Option<(usize, &'static str)> {
    let [a, b, c, d, ..] = text.as_bytes() else { return None };
    let head = a.is_ascii_uppercase() && b.is_ascii_uppercase();
    if !head || !c.is_ascii_digit() || !d.is_ascii_digit() {
        return None;
    }
    let mut chars = Vec::new();
    let mut found = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' => chars.push(byte),
            b' ' => continue,
            _ => break,
        }
        if chars.len() > *IBAN_CHARS.end() {
            break;
        }
        if IBAN_CHARS.contains(&chars.len()) && is_iban(&chars) {
            found = Some((at + 1, "[iban]"));
        }
    }
    found
}

fn is_iban(chars: &[u8]) -> bool {
    let rotated = chars[4..].iter().chain(&chars[..4]);
    let rest = rotated.fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    rest == 1
}

/// A card number by its check digit; else a phone number: with a plus, or in groups.
fn number(text: &str) -> Option<(usize, &'static str)> {
    let first = text.chars().next()?;
    if !(first.is_ascii_digit() || first == '+' || first == '(') {
        return None;
    }
    let whole = run(text, |c| c.is_ascii_digit() || " -.()/+".contains(c));
    let whole = whole.trim_end_matches(|c: char| !c.is_ascii_digit());
    let digits: Vec<u8> = whole.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
    let is_card = CARD_DIGITS.contains(&digits.len())
        && whole.bytes().all(|b| b.is_ascii_digit() || b == b' ' || b == b'-')
        && luhn(&digits);
    if is_card {
        return Some((whole.len(), "[card]"));
    }
    let grouped = whole.bytes().skip(1).filter(|b| !b.is_ascii_digit()).count();
    let is_phone = PHONE_DIGITS.contains(&digits.len())
        && (first == '+' || first == '0' || first == '(' || grouped >= 2)
        && !is_date_or_decimal(whole);
    is_phone.then_some((whole.len(), "[phone]"))
}

/// Dates and amounts have groups, too: an ISO date begins with a year and a dash.
fn is_date_or_decimal(text: &str) -> bool {
    let bytes = text.as_bytes();
    let iso = bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-';
    let decimal = text.matches('.').count() == 1 && !text.contains([' ', '-', '/', '(', '+']);
    iso || decimal
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .zip(0_u32..)
        .map(|(digit, place)| match (u32::from(*digit), place % 2) {
            (digit, 0) => digit,
            (digit, _) if digit > 4 => digit * 2 - 9,
            (digit, _) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(redact(text), expected);
    }

    #[test]
    fn mail_addresses_are_masked() {
        check("write to jane.doe+x@mail.example.org.", "write to [email].");
        check("<jürgen@exämple.de>", "<[email]>");
        check("foo@bar and @home and a@1.2", "foo@bar and @home and a@1.2");
    }

    #[test]
    fn phone_numbers_are_masked_and_other_numbers_stay() {
        check("call +49 170 1234567 now", "call [phone] now");
        check("(212) 555-0123-4", "[phone]");
        check("030/1234567", "[phone]");
        check("555-123-4567", "[phone]");
        check("on 2026-11-21 12:30", "on 2026-11-21 12:30");
        check("0.123456789 and 12345.67", "0.123456789 and 12345.67");
        check("order 1234567890", "order 1234567890");
        check("{\"created\":1732190000123}", "{\"created\":1732190000123}");
    }

    #[test]
    fn card_and_account_numbers_are_masked() {
        check("4111 1111 1111 1111, ok", "[card], ok");
        check("5500-0055-5555-5559", "[card]");
        check("4111111111111112", "4111111111111112");
        check("IBAN DE89 3704 0044 0532 0130 00.", "IBAN [iban].");
        check("GB82WEST12345698765432", "[iban]");
        check("DE88370400440532013000", "DE88370400440532013000");
    }

    #[test]
    fn keys_are_masked() {
        check("Authorization: Bearer abc.def-ghi123", "Authorization: Bearer [key]");
        check("key=sk-proj-0123456789abcdef;", "key=[key];");
        check("AKIAIOSFODNN7EXAMPLE", "[key]");
        check("use sk-learn", "use sk-learn");
        check("a bearer of news", "a bearer of news");
    }

    #[test]
    fn escapes_of_json_stay_whole() {
        check(r#"{"a":"x\njane@doe.org\"y"}"#, r#"{"a":"x\n[email]\"y"}"#);
        check(r#""\u00e9jane@doe.org""#, r#""\u00e9[email]""#);
        check(r#""\\+49 170 1234567""#, r#""\\[phone]""#);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_and_json_stays_json(text in "[\\PC\\n\"@.+0-9 a-z\\\\-]{0,80}") {
            let json = serde_json::to_string(&text).unwrap();
            let redacted = redact(&json);
            prop_assert!(serde_json::from_str::<String>(&redacted).is_ok(), "{redacted}");
        }
    }
}
