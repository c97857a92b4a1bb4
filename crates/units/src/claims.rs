//! What published articles claim, and what became of it: the shape that `sizing` and `tco` share.
//!
//! One row per claim: what was said, and a function that says what is so. The guide
//! `docs/guides/claims-checked.md` is generated from the rows.

use std::fmt::Write as _;

use crate::wrong::Wrong;

/// An article.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Article {
    /// The case study of TechDocs SaaS (2026).
    CaseStudy,
    /// The Ollama migration playbook (December 2025).
    Playbook,
    /// "Scaling AI inference on a budget" (May 2026).
    Budget,
    /// Three enterprise case studies (2026).
    Enterprise,
}

impl Article {
    /// Its short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CaseStudy => "case study",
            Self::Playbook => "playbook",
            Self::Budget => "budget",
            Self::Enterprise => "enterprise",
        }
    }
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It is so.
    Yes,
    /// It is so under a condition that was not said.
    Partly,
    /// It is not so.
    No,
}

impl Holds {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "true",
            Self::Partly => "depends",
            Self::No => "false",
        }
    }
}

/// What is so, with figures of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding<F> {
    /// Whether the claim holds.
    pub holds: Holds,
    /// Our figures, by name, for tests.
    pub figures: Vec<(&'static str, F)>,
    /// The figures in words.
    pub words: String,
}

/// One claim, about figures of one kind.
#[derive(Debug)]
pub struct Claim<F> {
    /// A short name.
    pub name: &'static str,
    /// Where it was made.
    pub article: Article,
    /// What was said.
    pub said: &'static str,
    /// Finds out what is so.
    pub check: fn() -> Result<Finding<F>, Wrong>,
}

/// The rows as a Markdown table.
pub fn markdown<'a, F: 'a>(claims: impl Iterator<Item = &'a Claim<F>>) -> String {
    let mut out = String::from("| article | claim | holds | what is so |\n|---|---|---|---|\n");
    for claim in claims {
        let (holds, words) = match (claim.check)() {
            Ok(finding) => (finding.holds.as_str(), finding.words),
            Err(wrong) => ("?", wrong.problem),
        };
        let cells = [claim.article.as_str(), claim.said, holds, &words];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_said_and_what_is_so() {
        let claims = [
            Claim {
                name: "one",
                article: Article::Budget,
                said: "a | b",
                check: || {
                    Ok(Finding {
                        holds: Holds::Partly,
                        figures: vec![("n", 1)],
                        words: "it is 1".into(),
                    })
                },
            },
            Claim {
                name: "other",
                article: Article::CaseStudy,
                said: "c",
                check: || Err(Wrong::new("nobody knows")),
            },
        ];
        let text = markdown(claims.iter());
        let rows: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            ["| budget | a \\| b | depends | it is 1 |", "| case study | c | ? | nobody knows |"]
        );
    }
}
