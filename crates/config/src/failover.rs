//! How often, until when and where a request is asked again: the values, and how they are read.

use std::time::Duration;

use cutover_units::WeightBp;

use crate::reader::Table;
use crate::values;

/// How an upstream is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Retries as a share of the requests of the last ten seconds.
    pub budget: WeightBp,
    /// Retries per second that are allowed however few requests there are.
    pub per_second_min: u32,
    /// How often an instance is asked a second time where there is nobody else to ask.
    pub again: u32,
}

/// What becomes of a stream that breaks off after its first content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnInterrupt {
    /// It ends with an error event.
    #[default]
    Terminate,
    /// Where that is safe, another variant goes on from the text so far.
    Continue,
}

impl OnInterrupt {
    pub(crate) const WORDS: &'static [&'static str] = &["terminate", "continue"];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Continue => "continue",
        }
    }
}

/// How a use case's requests are kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Endurance {
    /// Until when an answer must be there, or a stream begun, over all attempts.
    pub deadline: Option<Duration>,
    /// The silence after which a second instance is asked as well.
    pub hedge_after: Option<Duration>,
    /// What becomes of a stream that breaks off after its first content.
    pub on_interrupt: OnInterrupt,
}

pub(crate) fn retries(table: &Table<'_>) -> Option<Retries> {
    let budget = table.read("retry_budget", values::percent);
    let per_second_min = table.read("retry_budget_min", values::count);
    let again = table.read("retries", values::count);
    Some(Retries { budget: budget?, per_second_min: per_second_min?, again: again? })
}

pub(crate) fn endurance(table: &Table<'_>) -> Option<Endurance> {
    let deadline = table.read("deadline", values::duration);
    let hedge_after = table.read("hedge_after", values::duration);
    let on_interrupt = table.read("on_interrupt", values::choice)?;
    let on_interrupt =
        if on_interrupt == "continue" { OnInterrupt::Continue } else { OnInterrupt::Terminate };
    if let (Some(deadline), Some(hedge_after)) = (deadline, hedge_after)
        && hedge_after >= deadline
    {
        table.warn("hedge_after", "not shorter than deadline, so nothing is ever hedged", None);
    }
    Some(Endurance { deadline, hedge_after, on_interrupt })
}
