//! Claims of published articles about money, each recomputed here.
//!
//! One row per claim: what was said, and a function that says what is so. The cost section of
//! `docs/guides/claims-checked.md` is generated from the rows, and tests hold their figures. Prices are those
//! that the articles themselves state.

mod case_study;
mod others;
mod playbook;

use cutover_units::Wrong;
use cutover_units::claims::{Article, Holds};

use crate::analysis::{Analysis, analyse};
use crate::nano::Nano;
use crate::scenario::Draft;
use crate::words::{short, usd};

/// What is so about money.
pub type Finding = cutover_units::claims::Finding<Nano>;

/// One claim about money.
pub type Claim = cutover_units::claims::Claim<Nano>;

/// All claims about money.
pub fn claims() -> impl Iterator<Item = &'static Claim> {
    [case_study::CLAIMS, playbook::CLAIMS, others::CLAIMS].into_iter().flatten()
}

/// The rows as a Markdown table.
pub fn markdown() -> String {
    cutover_units::claims::markdown(claims())
}

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
