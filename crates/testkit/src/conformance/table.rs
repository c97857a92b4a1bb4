//! The differences that are meant: which tests of a suite pass at the mock and not through the gateway, and
//! why.
//!
//! One difference per line: a pattern for tests (`*` stands for anything), ` | `, the words that the failure
//! must have, ` | `, the reason. Lines that start with `#` and empty ones are comments.

use std::collections::BTreeMap;

use super::suite::Results;

#[derive(Clone, Debug)]
struct Row {
    pattern: String,
    words: String,
    reason: String,
}

/// The differences that are meant in one run.
#[derive(Clone, Debug)]
pub struct Table(Vec<Row>);

/// What a comparison found, when it found nothing that is not meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Tests that pass directly and through the gateway.
    pub passed: usize,
    /// Tests that pass directly alone, by the table's reason.
    pub meant: BTreeMap<String, usize>,
    /// Tests that do not pass directly: the suite and the specification disagree.
    pub no_judge: usize,
}

impl Table {
    /// Reads a table.
    pub fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        Self(lines.map(row).collect())
    }

    /// Panics unless the tests that pass `through` are those that pass `direct`, less the rows of this
    /// table; every row must still be needed.
    pub fn assert_same(&self, direct: &Results, through: &Results) -> Compared {
        let mut needed = vec![false; self.0.len()];
        let mut wrong: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut compared = Compared::default();
        for (test, there) in direct {
            let here = through.get(test).unwrap_or_else(|| panic!("{test} did not run"));
            match (there, here) {
                (None, None) => compared.passed += 1,
                (None, Some(why)) => match self.find(test, why) {
                    Some(at) => {
                        needed[at] = true;
                        *compared.meant.entry(self.0[at].reason.clone()).or_default() += 1;
                    }
                    None => wrong.entry(why.clone()).or_default().push(test),
                },
                (Some(_), _) => compared.no_judge += 1,
            }
        }
        assert!(wrong.is_empty(), "differences that no row of the table explains: {wrong:#?}");
        let unneeded: Vec<&Row> = self
            .0
            .iter()
            .zip(&needed)
            .filter(|(_, needed)| !**needed)
            .map(|(row, _)| row)
            .collect();
        assert!(unneeded.is_empty(), "rows that no test needs any more: {unneeded:#?}");
        compared
    }

    fn find(&self, test: &str, why: &str) -> Option<usize> {
        self.0.iter().position(|row| fits(&row.pattern, test) && why.contains(&row.words))
    }
}

fn row(line: &str) -> Row {
    let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let [pattern, words, reason] = parts[..] else { panic!("a row has three parts: {line}") };
    assert!(!reason.is_empty(), "a row has a reason: {line}");
    Row { pattern: pattern.to_owned(), words: words.to_owned(), reason: reason.to_owned() }
}

/// Whether a text has the pattern's pieces in their order, from its start to its end.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(between) = last.replace(piece) {
            let Some(at) = rest.find(between) else { return false };
            rest = &rest[at + between.len()..];
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_from_start_to_end() {
        for (pattern, text, wanted) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }

    fn results(text: &str) -> Results {
        let one = |word: &str| match word.split_once('=') {
            Some((test, why)) => (test.to_owned(), Some(why.to_owned())),
            None => (word.to_owned(), None),
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn a_meant_difference_is_counted() {
        let table = Table::read("# why\n\nb* | 403 | not served\n");
        let direct = results("a b1 b2 c=odd");
        let compared = table.assert_same(&direct, &results("a b1=403 b2=403 c"));
        let meant = BTreeMap::from([("not served".to_owned(), 2)]);
        assert_eq!(compared, Compared { passed: 1, meant, no_judge: 1 });
    }

    #[test]
    #[should_panic(expected = "no row of the table")]
    fn another_difference_fails() {
        let table = Table::read("b* | 403 | not served");
        table.assert_same(&results("a b"), &results("a=500 b=403"));
    }

    #[test]
    #[should_panic(expected = "no row of the table")]
    fn a_meant_test_that_fails_otherwise_fails() {
        let table = Table::read("b* | 403 | not served");
        table.assert_same(&results("a b"), &results("a b=500"));
    }

    #[test]
    #[should_panic(expected = "no test needs any more")]
    fn a_stale_row_fails() {
        let table = Table::read("b* | 403 | not served");
        table.assert_same(&results("a b"), &results("a b"));
    }
}
