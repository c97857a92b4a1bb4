//! Where the model is in memory already, unless too many wait there.

use super::field::{Field, Peers};
use super::{Draw, Kind, Policy};

pub(super) const POLICY: Policy = Policy {
    name: "model-aware",
    doc: "As least-outstanding, but an instance that has to load the request's model first counts as if \
          it had eight more requests in flight (one that is at it already does not): loads are rare, and \
          yet a model that is in demand spreads. \
          The default for Ollama, where a load takes seconds to minutes and may put another model out.",
    reads_prefix: false,
    kind: Kind::ModelAware,
};

/// So many requests may wait for a warm instance before a cold one is worth its load. With answers of a
/// few seconds and a load of some ten seconds the two waits are about equal.
const LOAD_COUNTS_AS: u32 = 8;

pub(super) fn choose<P: Peers + ?Sized>(field: &Field<'_, P>, draw: &Draw) -> Option<usize> {
    field.lightest(draw.seed, LOAD_COUNTS_AS)
}
