//! The immutable picture that requests read: use cases, variants, weights.

use cutover_units::{UpstreamName, UseCaseName, VariantName, WeightBp};

use crate::matching::{Index, Matcher};

/// A variant's place in [`Snapshot::variants`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariantIx(pub u16);

/// A use case's place in [`Snapshot::use_cases`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UseCaseIx(pub u16);

/// What the router knows of a variant; the rest (model, prompt, prices) hangs on the same index in
/// the gateway.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name.
    pub name: VariantName,
    /// Where it is served.
    pub upstream: UpstreamName,
    /// Whether its upstream may see data that must stay local.
    pub local: bool,
}

/// Where a request's unit comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitSource {
    /// A request header, by lower-case name.
    Header(String),
    /// An entry of the body's `metadata`.
    Metadata(String),
    /// The body's `safety_identifier`, else its `user`.
    User,
    /// The caller's API key.
    Key,
    /// The request itself: nothing is sticky.
    Request,
}

/// One use case with its arms and weight.
#[derive(Debug, Clone)]
pub struct UseCase {
    /// Its name.
    pub name: UseCaseName,
    /// What makes a request belong to it.
    pub matcher: Matcher,
    /// Where the unit comes from.
    pub unit: UnitSource,
    /// Hashed before the unit. Defaults to the use case's name.
    pub salt: String,
    /// The variant that serves today.
    pub baseline: VariantIx,
    /// The variant that shall take over, if any.
    pub candidate: Option<VariantIx>,
    /// The candidate's share.
    pub weight: WeightBp,
    /// Of the units that the baseline serves, the share whose requests are copied to the candidate.
    pub shadow: WeightBp,
    /// Whether its requests may be seen by local upstreams only.
    pub local_only: bool,
    /// Units that always get the candidate while the weight is above zero; sorted.
    pub pilot: Vec<String>,
    /// Units that never get the candidate; sorted.
    pub excluded: Vec<String>,
    /// Whether a failed candidate attempt is repeated on the baseline.
    pub failover: bool,
    /// Whether `priority: cost|quality` is honoured.
    pub priority_hint: bool,
}

/// The two shares of a use case that change while it is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The candidate's share.
    pub weight: WeightBp,
    /// Of the units that the baseline serves, the share whose requests are copied to the candidate.
    pub shadow: WeightBp,
}

/// What a [`Snapshot`] is made of.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// All variants; the use cases' indices point here.
    pub variants: Vec<Variant>,
    /// All use cases, in order of precedence: the first that matches is the request's.
    pub use_cases: Vec<UseCase>,
    /// The variant of the default upstream, which takes every model as asked. None: no default,
    /// so a request that no use case matches is an unknown model.
    pub default: Option<VariantIx>,
}

/// The immutable picture that requests read.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) draft: Draft,
    pub(crate) index: Index,
    /// The local-only use cases that know a request by its body.
    pub(crate) local_by_body: Vec<UseCaseIx>,
}

impl Snapshot {
    /// Sorts and indexes a draft.
    pub fn build(mut draft: Draft) -> Self {
        for use_case in &mut draft.use_cases {
            use_case.pilot.sort_unstable();
            use_case.excluded.sort_unstable();
        }
        let index = Index::build(draft.use_cases.iter().map(|u| &u.matcher));
        let local_by_body = (0u16..).zip(&draft.use_cases).filter_map(|(at, use_case)| {
            (use_case.local_only && use_case.matcher.reads_body()).then_some(UseCaseIx(at))
        });
        let local_by_body = local_by_body.collect();
        Self { draft, index, local_by_body }
    }

    /// All use cases.
    pub fn use_cases(&self) -> &[UseCase] {
        &self.draft.use_cases
    }

    /// All variants.
    pub fn variants(&self) -> &[Variant] {
        &self.draft.variants
    }

    /// The variant of the default upstream.
    pub fn default_variant(&self) -> Option<VariantIx> {
        self.draft.default
    }

    /// Whether a variant may see data that must stay local.
    pub(crate) fn is_local(&self, at: VariantIx) -> bool {
        self.draft.variants.get(usize::from(at.0)).is_some_and(|variant| variant.local)
    }

    /// One use case.
    pub fn use_case(&self, at: UseCaseIx) -> Option<&UseCase> {
        self.draft.use_cases.get(usize::from(at.0))
    }

    /// The same snapshot with other shares: `traffic_of` is asked for each use case.
    pub fn with_traffic(&self, traffic_of: &dyn Fn(&UseCase) -> Traffic) -> Self {
        let mut next = self.clone();
        for use_case in &mut next.draft.use_cases {
            let Traffic { weight, shadow } = traffic_of(use_case);
            (use_case.weight, use_case.shadow) = (weight, shadow);
        }
        next
    }
}
