//! How long things may get before they must be split.

use std::collections::BTreeMap;

use crate::tidy::Report;
use crate::tidy::repo::{File, Repo};

/// A file is read in one sitting.
const FILE_LINES_MAX: usize = 500;

/// A crate is known by one person.
const CRATE_LINES_MAX: usize = 12_000;

/// Lines that ship: all but tests.
fn product_lines(file: &File) -> usize {
    let Some(rust) = file.rust.as_ref().filter(|_| !file.is_test_file()) else { return 0 };
    file.lines().filter(|(n, _)| !rust.test[n - 1]).count()
}

pub(crate) fn files_stay_short(repo: &Repo, report: &mut Report) {
    for file in repo.with_extension("rs") {
        let lines = product_lines(file);
        if lines > FILE_LINES_MAX {
            let message = format!("{lines} lines without tests, {FILE_LINES_MAX} are the most");
            report.add(&file.path, FILE_LINES_MAX + 1, message + ": split by responsibility");
        }
    }
}

pub(crate) fn crates_stay_small(repo: &Repo, report: &mut Report) {
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for file in repo.with_extension("rs") {
        if let Some(folder) = file.crate_folder() {
            *lines.entry(folder).or_default() += product_lines(file);
        }
    }
    for (folder, lines) in lines.into_iter().filter(|(_, lines)| *lines > CRATE_LINES_MAX) {
        let message = format!("{lines} lines without tests, {CRATE_LINES_MAX} are the most");
        report.add(&format!("crates/{folder}/Cargo.toml"), 1, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&Repo, &mut Report), files: &[(&str, &str)]) -> usize {
        let mut report = Report::default();
        rule(&Repo::sample(files), &mut report);
        report.findings.len()
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "fn a() {}\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(found(files_stay_short, &[("crates/x/src/a.rs", &long)]), 1);
        assert_eq!(found(files_stay_short, &[("crates/x/src/a/tests.rs", &long)]), 0);
        let tested = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(found(files_stay_short, &[("crates/x/src/a.rs", &tested)]), 0);
    }

    #[test]
    fn a_large_crate_is_found() {
        let half = "fn a() {}\n".repeat(CRATE_LINES_MAX / 2 + 1);
        let one = ("crates/x/src/a.rs", half.as_str());
        assert_eq!(found(crates_stay_small, &[one, ("crates/y/src/a.rs", &half)]), 0);
        assert_eq!(found(crates_stay_small, &[one, ("crates/x/src/b.rs", &half)]), 1);
    }
}
