//! The two sides of a comparison: what happened in a period, or what was assigned to an arm. Pure.

use cutover_store::{Ending, Judged, Observations, Observed};

use super::period::Period;

/// Of how many answers one may be without a price before the others say nothing of all: then no cost of an answer, no
/// month and no saving is told. The rest of a candidate on hardware of its own is what fell back, at the old price.
const UNPRICED_ONE_OF: usize = 100;

/// One side of the comparison.
pub(super) struct Side {
    pub(super) name: String,
    pub(super) requests: Vec<Observed>,
    pub(super) judged: Vec<Judged>,
    pub(super) days: f64,
    /// It is one arm of a traffic that the other side is the rest of.
    pub(super) arm: bool,
    /// Its period goes on.
    pub(super) unfinished: bool,
}

impl Side {
    /// What happened in a period.
    pub(super) fn of_period(seen: &Observations, period: Period) -> Self {
        let name = format!(
            "from {} to {}",
            cutover_console::clock::show(period.from),
            cutover_console::clock::show(period.until)
        );
        Self {
            name,
            requests: seen.requests.clone(),
            judged: seen.judged.clone(),
            days: period.days(),
            arm: false,
            unfinished: period.unfinished,
        }
    }

    /// What was assigned to an arm.
    pub(super) fn of_arm(seen: &Observations, candidate: bool) -> Self {
        let requests: Vec<Observed> =
            seen.requests.iter().filter(|one| one.candidate == candidate).copied().collect();
        let judged = seen.judged.iter().filter(|one| one.candidate == candidate).copied().collect();
        let times = || seen.requests.iter().map(|one| one.at.0);
        let span = times().max().unwrap_or(0) - times().min().unwrap_or(0);
        let name = if candidate { "assigned to the candidate" } else { "assigned to the baseline" };
        Self {
            name: name.to_owned(),
            requests,
            judged,
            days: (span as f64 / 86_400_000.0).max(1.0 / 24.0),
            arm: true,
            unfinished: false,
        }
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = &Observed> {
        self.requests.iter().filter(|one| good(one))
    }

    /// Answers whose cost nobody knows.
    pub(super) fn unpriced(&self) -> usize {
        self.answers().filter(|one| one.cost.is_none()).count()
    }

    /// Whether the answers that have a price stand for all.
    pub(super) fn is_priced(&self) -> bool {
        self.unpriced() * UNPRICED_ONE_OF <= self.answers().count()
    }
}

pub(super) fn good(one: &Observed) -> bool {
    one.ending == Ending::Good
}
