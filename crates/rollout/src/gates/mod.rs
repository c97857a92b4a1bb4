//! The kinds of gates: one file each, one row in [`GATES`] each. Planner, evidence, report, config and
//! documentation read the rows; none of them knows a kind by name.

mod cost;
mod errors_margin;
mod errors_ratio;
mod errors_share;
mod fallback;
mod feedback;
mod invalid;
mod privacy;
mod quality;
mod quantile_limit;
mod quantile_ratio;

use std::fmt::Write as _;

use cutover_stats::Invalid;
use cutover_units::Millis;

use crate::observe::ScoredPair;
use crate::process::Process;
use crate::spec::{Gate, Role};

/// What a gate is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Live units.
    Live,
    /// Shadow pairs.
    Pairs,
    /// Both.
    LiveAndPairs,
    /// What users say.
    Votes,
    /// Every request's bill.
    Bills,
    /// Every request, also those that chance did not assign.
    Requests,
}

/// One kind of gate.
#[derive(Debug)]
pub struct Row {
    /// What it is called in the documentation.
    pub name: &'static str,
    /// How it is written.
    pub grammar: &'static str,
    /// An example with the usual number.
    pub example: &'static str,
    /// What it is measured on.
    pub data: Data,
    /// Whether it compares with the baseline: then it says nothing new where the candidate has
    /// everything.
    pub needs_baseline: bool,
    /// Its role unless it says otherwise.
    pub default_role: Role,
    /// What is computed, in a sentence.
    pub test: &'static str,
    /// Where the formula is from.
    pub source: &'static str,
    /// What it takes for granted, and how it fails.
    pub assumes: &'static str,
    /// Where its expected size is from.
    pub expected: &'static str,
    pub(crate) suits: fn(&Gate) -> bool,
    pub(crate) open: fn(&Gate) -> Result<Process, Invalid>,
    /// The pair's two values (candidate, baseline), if both are known.
    pub(crate) pair: fn(&ScoredPair) -> Option<(f64, f64)>,
}

/// All kinds.
pub static GATES: [Row; 11] = [
    quality::ROW,
    errors_margin::ROW,
    errors_ratio::ROW,
    errors_share::ROW,
    quantile_limit::ROW,
    quantile_ratio::ROW,
    invalid::ROW,
    feedback::ROW,
    fallback::ROW,
    cost::ROW,
    privacy::ROW,
];

/// E1's paper, cited by most rows.
const BETTING: &str = "E1 betting e-process: Waudby-Smith & Ramdas, arXiv 2010.09686";
const KELLY: &str = "threshold over the growth of the best bet (Kelly 1956), at measured rates from 30 \
                     observations on, before that at assumed ones";

/// The kind of a gate; none: its claim does not suit its metric.
pub fn row(gate: &Gate) -> Option<&'static Row> {
    GATES.iter().find(|row| (row.suits)(gate))
}

impl Row {
    /// Whether shadow pairs alone can prove it.
    pub fn on_pairs(&self) -> bool {
        matches!(self.data, Data::Pairs | Data::LiveAndPairs)
    }
}

fn no_pair(_: &ScoredPair) -> Option<(f64, f64)> {
    None
}

/// Milliseconds from a limit.
pub(crate) fn millis(limit: f64) -> Millis {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a limit is written as a duration, and a cast of anything else saturates"
    )]
    Millis(limit.round() as u64)
}

/// The table of gates as markdown, for the reference.
pub fn reference() -> String {
    let mut out =
        String::from("# Gates\n\nWritten `METRIC OP VALUE (ROLE)`; the role may be left out. ");
    out.push_str(
        "Roles: `required` must pass where a step requires it, and rolls back on proof of harm; \
         `rollback` only rolls back; `signal` only holds; `dry run` is shown and does nothing.\n",
    );
    for row in &GATES {
        let role = match row.default_role {
            Role::Required => "required",
            Role::Rollback => "rollback",
            Role::Signal => "signal",
            Role::DryRun => "dry run",
        };
        let data = match row.data {
            Data::Live => "live units",
            Data::Pairs => "shadow pairs",
            Data::LiveAndPairs => "live units and shadow pairs, in one process",
            Data::Votes => "users' feedback",
            Data::Bills => "the bill of every counted request",
            Data::Requests => "every request",
        };
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "\n## {}\n\n`{}`, for example `{}`. Default role: {role}. Measured on {data}.\n\n{}\n\n\
             - Source: {}.\n- Assumes: {}\n- Expected size: {}.\n",
            row.name, row.grammar, row.example, row.test, row.source, row.assumes, row.expected
        );
    }
    out
}

#[cfg(test)]
mod tests;
