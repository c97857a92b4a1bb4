//! What the rest of the file tells of the sources that a rollout's gates are measured on.

use cutover_evals::Row;
use cutover_rollout::Sources;

use crate::address::Reach;
use crate::checked::{Upstream, UseCase, Variant};
use crate::rollouts::Scorer;
use crate::sections::Keys;

/// What a use case is read with.
pub(crate) struct Around<'a> {
    pub(crate) keys: Keys,
    /// Whether there is a price file: what is in it shows when it is read.
    pub(crate) price_file: bool,
    /// Whether a record per request is kept.
    pub(crate) records: Option<bool>,
    pub(crate) variants: &'a [Option<Variant>],
    pub(crate) upstreams: &'a [Option<Upstream>],
}

impl Around<'_> {
    /// What is known of the sources of this use case's gates.
    pub(super) fn sources(&self, use_case: &UseCase) -> Sources {
        let scorer = use_case.scorer.as_ref();
        Sources {
            form: Some(scorer.and_then(Scorer::row).is_some_and(Row::judges_form)),
            // The gateway passes live answers on without a look at their form.
            live_form: Some(false),
            baseline_priced: self.priced(use_case.baseline),
            candidate_priced: use_case.candidate.and_then(|at| self.priced(at)),
            failover: Some(use_case.failover),
            overflow: Some(use_case.overflow.is_some()),
            feedback: self.records,
            streams: None,
        }
    }

    /// How many instances a use case's candidate has; `None` where names tell it anew. An engine of this process is one.
    pub(super) fn instances(&self, use_case: &UseCase) -> Option<usize> {
        let variant = self.variants.get(use_case.candidate?)?.as_ref()?;
        let upstream = self.upstreams.get(variant.upstream)?.as_ref()?;
        upstream.resolve.is_none().then_some(upstream.instances.len().max(1))
    }

    /// Whether requests of a variant have a price. Without one of its own it may be in the catalogue if
    /// a service of others answers; whether it is, shows when it is looked up.
    fn priced(&self, variant: usize) -> Option<bool> {
        let variant = self.variants.get(variant)?.as_ref()?;
        if variant.price.is_some() {
            return Some(true);
        }
        let upstream = self.upstreams.get(variant.upstream)?.as_ref()?;
        let public = upstream.instances.iter().all(|url| url.reach() == Reach::Public);
        let listed = matches!(upstream.provider.name, "openai" | "openai-compatible");
        let may_be = listed && public && !upstream.local;
        (!may_be && !self.price_file).then_some(false)
    }
}
