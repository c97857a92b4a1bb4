//! Claims of published articles about money, each recomputed here.
//!
//! One row per claim: what was said, and a function that says what is so. The cost section of
//! `docs/guides/claims-checked.md` is generated from the rows, and tests hold their figures. Prices are those
//! that the articles themselves state.

mod case_study;
mod others;
mod playbook;

use crate::analysis::{Analysis, analyse};
use crate::nano::Nano;
use crate::scenario::Draft;
use crate::words::{short, usd};
use crate::wrong::Wrong;

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

/// What is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the claim holds.
    pub holds: Holds,
    /// Our figures, by name.
    pub figures: Vec<(&'static str, Nano)>,
    /// The figures in words.
    pub words: String,
}

/// One claim.
#[derive(Debug)]
pub struct Claim {
    /// A short name.
    pub name: &'static str,
    /// Where it was made: case study, playbook, budget or enterprise.
    pub article: &'static str,
    /// What was said.
    pub said: &'static str,
    /// Finds out what is so.
    pub check: fn() -> Result<Finding, Wrong>,
}

/// All claims about money.
pub fn claims() -> impl Iterator<Item = &'static Claim> {
    [case_study::CLAIMS, playbook::CLAIMS, others::CLAIMS].into_iter().flatten()
}

/// The rows as a Markdown table.
pub fn markdown() -> String {
    let mut out = String::from("| article | claim | holds | what is so |\n|---|---|---|---|\n");
    for claim in claims() {
        let (holds, words) = match (claim.check)() {
            Ok(finding) => (finding.holds.as_str(), finding.words),
            Err(wrong) => ("?", wrong.problem),
        };
        let cells = [claim.article, claim.said, holds, &words].map(|cell| cell.replace('|', "\\|"));
        out.push_str("| ");
        out.push_str(&cells.join(" | "));
        out.push_str(" |\n");
    }
    out
}

const PLAYBOOK: &str = "playbook";
const CASE: &str = "case study";

fn n(text: &str) -> Result<Nano, Wrong> {
    Nano::parse(text)
}

fn ratio(of: Nano, by: Nano) -> Nano {
    of.over(by).unwrap_or(Nano::ZERO)
}

/// A scenario from assignments, judged.
fn judged(assignments: &[&str]) -> Result<Analysis, Wrong> {
    let mut draft = Draft::default();
    for one in assignments {
        draft.assign(one)?;
    }
    analyse(draft.finish()?)
}

/// What a month costs at prices per million tokens.
fn month(tokens: [&str; 2], prices: [&str; 2]) -> Result<Nano, Wrong> {
    let million = Nano::whole(1_000_000);
    let part = |at: usize| Ok::<_, Wrong>(n(tokens[at])?.times(n(prices[at])?));
    Ok(ratio(part(0)? + part(1)?, million))
}

/// A claim whose figure is recomputed: true if it comes out.
fn recomputed(name: &'static str, said: Nano, found: Nano, words: String) -> Finding {
    let holds = if said == found { Holds::Yes } else { Holds::No };
    Finding { holds, figures: vec![(name, found)], words }
}

fn months(value: Nano) -> String {
    format!("{} months", short(value, 2))
}

fn money(value: Nano) -> String {
    usd(value).trim_end_matches(".00").to_owned()
}
