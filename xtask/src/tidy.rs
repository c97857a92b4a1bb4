//! The rules that neither the compiler nor clippy checks, over the tree and the package graph.
//!
//! A rule is a row in [`RULES`] and a function that adds findings. Each has a test that shows a
//! sample which breaks it: a rule that cannot fail protects nothing.

mod graph;
mod repo;
mod rules;
mod rust;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use repo::Repo;
use rules::RULES;

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the root.
    file: String,
    /// The line, counted from one.
    line: usize,
    /// The rule's name.
    rule: &'static str,
    /// What is wrong and what to do instead.
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.message)
    }
}

/// One rule.
pub(crate) struct Rule {
    /// Its name in findings.
    name: &'static str,
    /// What it asks for and why, in one line.
    what: &'static str,
    /// Adds a finding for each place that breaks it.
    check: fn(&Repo, &mut Report),
}

/// Collects findings of one rule after the other.
#[derive(Default)]
pub(crate) struct Report {
    rule: &'static str,
    findings: Vec<Finding>,
}

impl Report {
    /// Adds a finding for a line counted from one.
    pub(crate) fn add(&mut self, file: &str, line: usize, message: impl Into<String>) {
        let message = message.into();
        self.findings.push(Finding { file: file.to_owned(), line, rule: self.rule, message });
    }
}

/// Checks everything and prints what is wrong. Whether all is well.
pub(crate) fn run(root: &Path, out: &mut impl Write) -> io::Result<bool> {
    let repo = Repo::load(root)?;
    let findings = check(&repo);
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    writeln!(
        out,
        "tidy: {} rules, {} files, {} findings",
        RULES.len(),
        repo.files.len(),
        findings.len()
    )?;
    Ok(findings.is_empty())
}

/// Prints the rules.
pub(crate) fn list(out: &mut impl Write) -> io::Result<()> {
    RULES.iter().try_for_each(|rule| writeln!(out, "{:<14} {}", rule.name, rule.what))
}

fn check(repo: &Repo) -> Vec<Finding> {
    let mut report = Report::default();
    for rule in RULES {
        report.rule = rule.name;
        (rule.check)(repo, &mut report);
    }
    report.findings.sort();
    report.findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let repo = Repo::load(&crate::root()).expect("the tree and cargo metadata can be read");
        assert!(repo.files.len() > 20, "only {} files found", repo.files.len());
        let findings = check(&repo);
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}", lines.join("\n"));
    }

    #[test]
    fn rules_have_names_of_their_own() {
        let mut names: Vec<_> = RULES.iter().map(|r| r.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }
}
