//! The decision: use case, arm, legs.

use std::borrow::Cow;

use cutover_units::{Arm, WeightBp};
use smallvec::SmallVec;

use crate::snapshot::{Snapshot, UnitSource, UseCase, UseCaseIx, VariantIx};
use crate::sticky::{self, Purpose};

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// The API key's name, if keys are in use.
    pub key_name: Option<&'a str>,
    /// The use case the key is bound to, if any: it wins over every matcher.
    pub use_case: Option<&'a str>,
}

/// What a request says, as far as routing reads it.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The model asked for.
    pub model: &'a str,
    /// The body's `safety_identifier`, else `user`.
    pub user: Option<&'a str>,
    /// Looks up a header by lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Looks up an entry of the body's metadata.
    pub metadata: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
    /// Who asks.
    pub caller: Caller<'a>,
    /// The use case the client names itself (`x-cutover-use-case`), if any.
    pub use_case: Option<&'a str>,
    /// The client's hint for this one request.
    pub priority: Option<Priority>,
    /// Whether the client's key, or the request itself, says that it stays local.
    pub local_only: bool,
    /// This request's id: the unit when there is no other.
    pub request_id: &'a str,
}

/// The client's hint for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Prefer the candidate, if it may serve at all.
    Cost,
    /// Prefer the baseline.
    Quality,
}

impl Priority {
    /// Reads the hint's word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "cost" => Some(Self::Cost),
            "quality" => Some(Self::Quality),
            _ => None,
        }
    }
}

/// How the arm was found. Only `Sticky` and `Request` are random assignments: the others never
/// count in statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// By hash of the configured unit.
    Sticky,
    /// By hash of the request id: the unit was missing, or none is configured.
    Request,
    /// The unit is on the pilot list.
    Pilot,
    /// The unit is on the excluded list.
    Excluded,
    /// The client's priority hint.
    Hint,
    /// The baseline may not see the request, so that the candidate alone can serve it.
    Residency,
    /// There is no candidate, or no use case.
    Fixed,
}

impl Assignment {
    /// The word in records and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sticky => "sticky",
            Self::Request => "request",
            Self::Pilot => "pilot",
            Self::Excluded => "excluded",
            Self::Hint => "hint",
            Self::Residency => "residency",
            Self::Fixed => "fixed",
        }
    }

    /// Whether chance alone chose the arm, so that the request may count in a comparison.
    pub fn is_random(self) -> bool {
        matches!(self, Self::Sticky | Self::Request)
    }
}

/// One variant to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// Which.
    pub variant: VariantIx,
    /// In which role.
    pub arm: Arm,
}

/// The legs in order; two are common, four the most.
pub type Legs = SmallVec<[Leg; 4]>;

/// What was decided, and why.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// The use case, unless the default took the request.
    pub use_case: Option<UseCaseIx>,
    /// The arm the request was assigned to. Which arm answered in the end is another matter.
    pub arm: Arm,
    /// How the arm was found.
    pub assignment: Assignment,
    /// The unit that was hashed or listed.
    pub unit: Cow<'a, str>,
    /// Whether the unit outlives the request: the client named one.
    pub unit_is_known: bool,
    /// The unit's bucket, where one was computed.
    pub bucket: Option<u16>,
    /// What to try, in order. Empty: no use case matched and there is no default, or (with
    /// `local_only`) none of the arm's variants is local.
    pub legs: Legs,
    /// Whether local upstreams alone may see the request.
    pub local_only: bool,
    /// The candidate that gets a copy of the request once the baseline has answered it.
    pub shadow: Option<VariantIx>,
}

/// The use case that a request names; none, if its key is bound to one that does not exist.
struct Named(Option<UseCaseIx>);

impl Snapshot {
    /// Decides where a request goes.
    pub fn decide<'a>(&self, ask: &Ask<'a>) -> Decision<'a> {
        match self.find_use_case(ask) {
            Some((at, use_case)) => self.decide_arm(at, use_case, ask),
            None => self.decide_default(ask),
        }
    }

    /// Whether metadata decides anything: which use case a request is of, its unit, or its arm.
    pub fn reads_metadata(&self) -> bool {
        self.use_cases().iter().any(|case| {
            !case.matcher.metadata.is_empty()
                || matches!(case.unit, UnitSource::Metadata(_))
                || case.priority_hint && case.candidate.is_some()
        })
    }

    /// Whether a request whose body has not been read (so that `ask` has neither model nor metadata) may turn out
    /// to be of a local-only use case by what stands in it. A request that names its use case does not.
    pub fn may_turn_local(&self, ask: &Ask<'_>) -> bool {
        if self.local_by_body.is_empty() || self.named(ask).is_some() {
            return false;
        }
        let found = self.index.find(ask);
        let mut earlier =
            self.local_by_body.iter().take_while(|at| found.is_none_or(|found| **at < found));
        earlier.any(|at| self.use_case(*at).is_some_and(|case| case.matcher.fits_unread(ask)))
    }

    /// A key's binding wins over a name the client gives, which wins over matchers. A name that does
    /// not exist is as good as none: the request goes where it would have gone without it.
    fn find_use_case(&self, ask: &Ask<'_>) -> Option<(UseCaseIx, &UseCase)> {
        let at = match self.named(ask) {
            Some(Named(at)) => at,
            None => self.index.find(ask),
        }?;
        self.use_case(at).map(|use_case| (at, use_case))
    }

    /// What a binding or a name leads to, if there is one of them.
    fn named(&self, ask: &Ask<'_>) -> Option<Named> {
        let by_name = |name: &str| {
            let at = self.use_cases().iter().position(|u| u.name.as_str() == name)?;
            u16::try_from(at).ok().map(UseCaseIx)
        };
        match ask.caller.use_case {
            Some(bound) => Some(Named(by_name(bound))),
            None => ask.use_case.and_then(by_name).map(|at| Named(Some(at))),
        }
    }

    fn decide_default<'a>(&self, ask: &Ask<'a>) -> Decision<'a> {
        let default = self.default_variant().filter(|at| !ask.local_only || self.is_local(*at));
        let legs = default.map(|variant| Leg { variant, arm: Arm::Default });
        Decision {
            use_case: None,
            arm: Arm::Default,
            assignment: Assignment::Fixed,
            unit: Cow::Borrowed(ask.request_id),
            unit_is_known: false,
            bucket: None,
            legs: legs.into_iter().collect(),
            local_only: ask.local_only,
            shadow: None,
        }
    }

    fn decide_arm<'a>(&self, at: UseCaseIx, use_case: &UseCase, ask: &Ask<'a>) -> Decision<'a> {
        let local_only = use_case.local_only || ask.local_only;
        let may_see = |at: VariantIx| !local_only || self.is_local(at);
        let baseline = Some(use_case.baseline).filter(|at| may_see(*at));
        let (unit, sticky) = find_unit(&use_case.unit, ask);
        let mut decision = Decision {
            use_case: Some(at),
            arm: Arm::Baseline,
            assignment: Assignment::Fixed,
            unit,
            unit_is_known: sticky,
            bucket: None,
            legs: Legs::new(),
            local_only,
            shadow: None,
        };
        // A candidate that may not see the request is as good as none.
        let candidate = use_case.candidate.filter(|at| may_see(*at));
        if let Some(variant) = candidate {
            assign(use_case, ask.priority, sticky, &mut decision);
            if baseline.is_none() {
                keep_local(use_case, &mut decision);
            }
            if decision.arm == Arm::Candidate {
                decision.legs.push(Leg { variant, arm: Arm::Candidate });
            }
        }
        let wants_baseline = decision.legs.is_empty() || use_case.failover;
        if wants_baseline && let Some(variant) = baseline {
            decision.legs.push(Leg { variant, arm: Arm::Baseline });
            // What a copy leads to (scorers, kept texts) is checked for a use case as a whole, not for
            // single requests of it that stay local.
            let copied = local_only == use_case.local_only && is_copied(use_case, &decision);
            decision.shadow = candidate.filter(|_| copied);
        }
        decision
    }
}

/// Whether a request of the baseline's is copied to the candidate, by a hash of its own. Only what
/// chance gave to the baseline is: an excluded unit is none of the candidate's business, and a pilot's
/// or a hinted request is not like those that the candidate would get.
fn is_copied(use_case: &UseCase, decision: &Decision<'_>) -> bool {
    use_case.shadow != WeightBp::NONE
        && decision.arm == Arm::Baseline
        && decision.assignment.is_random()
        && sticky::candidate_owns(
            sticky::bucket(Purpose::Shadow, &use_case.salt, &decision.unit),
            use_case.shadow,
        )
}

/// Excluded beats pilot beats hint beats chance; weight zero beats all of them.
fn assign(use_case: &UseCase, priority: Option<Priority>, sticky: bool, to: &mut Decision<'_>) {
    let listed = |list: &[String]| list.binary_search_by(|u| u.as_str().cmp(&to.unit)).is_ok();
    let hint = priority.filter(|_| use_case.priority_hint);
    let bucket = sticky::bucket(Purpose::Arm, &use_case.salt, &to.unit);
    let (assignment, wants_candidate) = if sticky && listed(&use_case.excluded) {
        (Assignment::Excluded, false)
    } else if sticky && listed(&use_case.pilot) {
        (Assignment::Pilot, true)
    } else if let Some(hint) = hint {
        (Assignment::Hint, hint == Priority::Cost)
    } else {
        let by = if sticky { Assignment::Sticky } else { Assignment::Request };
        (by, sticky::candidate_owns(bucket, use_case.weight))
    };
    to.bucket = Some(bucket);
    to.assignment = assignment;
    if wants_candidate && use_case.weight != WeightBp::NONE {
        to.arm = Arm::Candidate;
    }
}

/// The baseline may not see the request. The candidate takes it, if it may serve at all and the unit is
/// not excluded from it. Chance had no part in it, whichever arm it would have named.
fn keep_local(use_case: &UseCase, to: &mut Decision<'_>) {
    if matches!(to.assignment, Assignment::Excluded | Assignment::Pilot) {
        return;
    }
    to.assignment = Assignment::Residency;
    to.arm = if use_case.weight == WeightBp::NONE { Arm::Baseline } else { Arm::Candidate };
}

/// The unit, and whether it outlives the request.
fn find_unit<'a>(source: &UnitSource, ask: &Ask<'a>) -> (Cow<'a, str>, bool) {
    let found = match source {
        UnitSource::Header(name) => (ask.header)(name).map(Cow::Borrowed),
        UnitSource::Metadata(name) => (ask.metadata)(name),
        UnitSource::User => ask.user.map(Cow::Borrowed),
        UnitSource::Key => ask.caller.key_name.map(Cow::Borrowed),
        UnitSource::Request => None,
    };
    match found.filter(|unit| !unit.is_empty()) {
        Some(unit) => (unit, true),
        None => (Cow::Borrowed(ask.request_id), false),
    }
}

#[cfg(test)]
mod tests;
