//! Reading texts: normal forms, code fences, numbers.

use unicode_normalization::UnicodeNormalization as _;

/// Which differences between two texts do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Normal {
    pub(crate) case: bool,
    pub(crate) white_space: bool,
    pub(crate) punctuation: bool,
    pub(crate) unicode: bool,
}

impl Normal {
    pub(crate) fn of(self, text: &str) -> String {
        let mut out: String = if self.unicode { text.nfkc().collect() } else { text.to_owned() };
        if self.case {
            out = out.to_lowercase();
        }
        if self.punctuation {
            out.retain(|c| c.is_alphanumeric() || c.is_whitespace() || is_mark(c));
        }
        if self.white_space {
            out = out.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        out
    }

    pub(crate) fn same(self, a: &str, b: &str) -> bool {
        let (left, right) = (self.of(a), self.of(b));
        if left.is_empty() && right.is_empty() { a.trim() == b.trim() } else { left == right }
    }
}

/// Combining marks carry meaning in many scripts and are neither alphanumeric nor punctuation.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// A fenced code block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fenced<'a> {
    /// The word behind the opening fence, lower case not assured.
    pub(crate) tag: &'a str,
    pub(crate) body: &'a str,
    /// What follows the closing fence's line; empty when the block is never closed.
    rest: &'a str,
}

/// The code blocks of a Markdown text, in order. A block that is never closed ends with the text.
pub(crate) fn fenced(text: &str) -> Vec<Fenced<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, &str, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let (start, trimmed) = (at, line.trim());
        at += line.len();
        let fence = fence_of(trimmed);
        match (open, fence) {
            (None, Some(fence)) => {
                let tag = trimmed[fence.len()..].split_whitespace().next().unwrap_or("");
                open = Some((fence, tag, at));
            }
            (Some((fence, tag, from)), Some(closing)) if closes(fence, closing, trimmed) => {
                blocks.push(Fenced { tag, body: &text[from..start], rest: &text[at..] });
                open = None;
            }
            _ => {}
        }
    }
    if let Some((_, tag, from)) = open {
        blocks.push(Fenced { tag, body: &text[from..], rest: "" });
    }
    blocks
}

/// The run of three or more backticks or tildes that a line begins with.
fn fence_of(line: &str) -> Option<&str> {
    ['`', '~'].into_iter().find_map(|mark| {
        let rest = line.trim_start_matches(mark);
        let length = line.len() - rest.len();
        (length >= 3 && !rest.contains('`')).then(|| &line[..length])
    })
}

fn closes(opening: &str, closing: &str, line: &str) -> bool {
    closing.as_bytes().first() == opening.as_bytes().first()
        && closing.len() >= opening.len()
        && closing.len() == line.len()
}

/// The text without the one code fence that is all around it.
pub(crate) fn without_fence(text: &str) -> &str {
    let trimmed = text.trim();
    match (fence_of(trimmed.lines().next().unwrap_or("").trim()), fenced(trimmed).as_slice()) {
        (Some(_), [only]) if only.rest.is_empty() => only.body.trim(),
        _ => trimmed,
    }
}

/// How a text writes fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decimal {
    /// 1,234.56
    Point,
    /// 1.234,56
    Comma,
}

/// The last number of a text; group separators are read over, an exponent is read. What overflows is
/// no number.
pub(crate) fn last_number(text: &str, decimal: Decimal) -> Option<f64> {
    let chars: Vec<char> = text.chars().collect();
    let mut last = None;
    let mut at = 0;
    while at < chars.len() {
        if chars[at].is_ascii_digit() {
            let (number, after) = number_at(&chars, at, decimal);
            last = number.or(last);
            at = after;
        } else {
            at += 1;
        }
    }
    last
}

/// Reads the number whose first digit stands at `at`; returns it and where reading ended.
fn number_at(chars: &[char], at: usize, decimal: Decimal) -> (Option<f64>, usize) {
    let (point, group) = match decimal {
        Decimal::Point => ('.', ','),
        Decimal::Comma => (',', '.'),
    };
    let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
    let three = |i: usize| (i..i + 3).all(digit) && !digit(i + 3);
    let mut plain = String::new();
    if at.checked_sub(1).is_some_and(|i| is_minus(chars, i)) {
        plain.push('-');
    }
    // ".5": the point stands before the first digit.
    let led = at.checked_sub(1).is_some_and(|i| chars[i] == point);
    if led {
        if at.checked_sub(2).is_some_and(|i| is_minus(chars, i)) {
            plain.push('-');
        }
        plain.push_str("0.");
    }
    let mut i = at;
    let mut fraction = led;
    while let Some(c) = chars.get(i) {
        if c.is_ascii_digit() {
            plain.push(*c);
        } else if !fraction && *c == point && digit(i + 1) {
            plain.push('.');
            fraction = true;
        } else if fraction || !is_group(*c, group) || !three(i + 1) {
            break;
        }
        i += 1;
    }
    if matches!(chars.get(i), Some('e' | 'E')) {
        let sign = usize::from(matches!(chars.get(i + 1), Some('+' | '-')));
        if digit(i + 1 + sign) {
            plain.push('e');
            plain.extend((i + 1..i + 1 + sign).filter_map(|j| chars.get(j)));
            i += 1 + sign;
            while digit(i) {
                plain.push(chars[i]);
                i += 1;
            }
        }
    }
    (plain.parse().ok().filter(|number: &f64| number.is_finite()), i)
}

fn is_group(c: char, group: char) -> bool {
    c == group || matches!(c, '\u{a0}' | '\u{202f}' | '\'' | '_')
}

/// A minus, and not the dash of a range or a compound ("3-5", "A-4").
fn is_minus(chars: &[char], at: usize) -> bool {
    matches!(chars[at], '-' | '\u{2212}')
        && at.checked_sub(1).is_none_or(|i| !chars[i].is_alphanumeric())
}

/// The text cut to a number of bytes at a character's end, and whether it was cut.
pub(crate) fn cut(text: &str, bytes_max: usize) -> (&str, bool) {
    if text.len() <= bytes_max {
        return (text, false);
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (&text[..end], true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms_take_out_what_does_not_matter() {
        let all = Normal { case: true, white_space: true, punctuation: true, unicode: true };
        assert!(all.same("  The ﬁne\tCat!", "the fine cat"));
        assert!(all.same("Ｈ２Ｏ", "h2o"));
        assert!(!all.same("the cat", "the cats"));
        assert!(!all.same("!!!", "???"));
        // A vowel sign is no punctuation.
        assert!(!all.same("कि", "क"));
        let none = Normal { case: false, white_space: false, punctuation: false, unicode: false };
        assert!(!none.same("A", "a") && !none.same("a ", "a") && !none.same("a.", "a"));
    }

    #[test]
    fn the_last_number_is_found_as_people_write_it() {
        let point = |text| last_number(text, Decimal::Point);
        for (text, number) in [
            ("it is 42.", 42.0),
            ("first 1, then 1,234.56 EUR", 1_234.56),
            ("range 3-5", 5.0),
            ("minus -7", -7.0),
            ("\u{2212}7 degrees", -7.0),
            ("1.5e-3", 0.0015),
            ("is .5", 0.5),
            ("$-3,000,000", -3_000_000.0),
            ("10 000", 0.0),
            ("1\u{a0}000", 1_000.0),
            ("pages 1,2", 2.0),
        ] {
            assert_eq!(point(text).map(f64::to_bits), Some(f64::to_bits(number)), "{text}");
        }
        assert_eq!(point("no number"), None);
        assert_eq!(point("1e999"), None);
        assert_eq!(
            last_number("1.234,56 EUR", Decimal::Comma).map(f64::to_bits),
            Some(1_234.56f64.to_bits())
        );
    }

    #[test]
    fn code_blocks_are_found_and_a_fence_all_around_is_taken_off() {
        let text = "look:\n```python\nprint(1)\n```\nand\n~~~\nx\n~~~\n";
        let blocks = fenced(text);
        assert_eq!(
            blocks.iter().map(|b| (b.tag, b.body)).collect::<Vec<_>>(),
            [("python", "print(1)\n"), ("", "x\n")]
        );
        assert_eq!(fenced("```\nopen")[0].body, "open");
        assert_eq!(without_fence("```json\n{\"a\": 1}\n```"), "{\"a\": 1}");
        assert_eq!(without_fence(" {} "), "{}");
        assert_eq!(without_fence("```\na\n``` tail"), "a\n``` tail");
        assert_eq!(without_fence("so: ```x```"), "so: ```x```");
    }

    #[test]
    fn cuts_respect_characters() {
        assert_eq!(cut("aé", 2), ("a", true));
        assert_eq!(cut("aé", 3), ("aé", false));
    }
}
