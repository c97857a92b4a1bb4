//! How often, until when and where a request is asked again: the values, and how they are read.

use std::time::Duration;

use cutover_units::WeightBp;

use cutover_wire::Prefill;

use crate::checked::{Upstream, UseCase, Variant};
use crate::reader::{NamedTable, Table};
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

/// An arm as far as it is known.
#[derive(Clone, Copy)]
struct Arm<'a> {
    variant: &'a Variant,
    upstream: &'a Upstream,
}

impl Arm<'_> {
    /// Whether there may be a second instance.
    fn has_others(&self) -> bool {
        self.upstream.instances.len() > 1 || self.upstream.resolve.is_some()
    }

    /// Whether it takes the beginning of an answer.
    fn goes_on(&self) -> bool {
        self.variant.prefill.unwrap_or(self.upstream.provider.prefill != Prefill::None)
    }
}

/// Warns of hedges and continuations that can never happen.
pub(crate) fn note_idle(
    tables: &[NamedTable<'_>],
    use_cases: &[Option<UseCase>],
    (variants, upstreams): (&[Option<Variant>], &[Option<Upstream>]),
) {
    let arm = |at: usize| {
        let variant = variants.get(at)?.as_ref()?;
        Some(Arm { variant, upstream: upstreams.get(variant.upstream)?.as_ref()? })
    };
    for (entry, use_case) in tables.iter().zip(use_cases) {
        let Some(use_case) = use_case else { continue };
        let Some(baseline) = arm(use_case.baseline) else { continue };
        let candidate = use_case.candidate.map(arm);
        if matches!(candidate, Some(None)) {
            continue;
        }
        let arms = (candidate.flatten(), baseline);
        if use_case.endurance.hedge_after.is_some() {
            note_hedges(&entry.table, arms);
        }
        if use_case.endurance.on_interrupt == OnInterrupt::Continue {
            note_continuations(&entry.table, use_case, arms);
        }
    }
}

fn note_hedges(table: &Table<'_>, (candidate, baseline): (Option<Arm<'_>>, Arm<'_>)) {
    let arms = || candidate.into_iter().chain([baseline]);
    if !arms().any(|arm| arm.has_others()) {
        let message = "nothing is ever hedged: no arm's upstream has a second instance";
        let hint = "a hedge stays within one upstream; give it `instances`, or remove this line";
        table.warn("hedge_after", message, Some(hint.to_owned()));
    } else if !arms().any(|arm| arm.has_others() && arm.upstream.cancel_on_disconnect) {
        let message = "nothing is ever hedged: what is cancelled there is lost and billed";
        let hint = "upstreams with cancel_on_disconnect = false are not hedged";
        table.warn("hedge_after", message, Some(hint.to_owned()));
    }
}

fn note_continuations(
    table: &Table<'_>,
    use_case: &UseCase,
    (candidate, baseline): (Option<Arm<'_>>, Arm<'_>),
) {
    let may_see = |arm: &Arm<'_>| !use_case.local_only || arm.upstream.local;
    // Another instance of the same arm, or the baseline behind the candidate.
    let by_itself = |arm: &Arm<'_>| arm.has_others() && arm.goes_on();
    let behind = candidate.is_some() && use_case.failover && baseline.goes_on();
    let possible = candidate.iter().chain([&baseline]).any(|arm| may_see(arm) && by_itself(arm))
        || (behind && may_see(&baseline));
    if possible {
        return;
    }
    let message = "no stream is ever continued: nobody behind it takes the beginning of an answer";
    let hint = "a second instance, or a baseline, whose provider takes one \
                (docs/reference/failures.md); or set `prefill` in a variant whose model does";
    table.warn("on_interrupt", message, Some(hint.to_owned()));
}
