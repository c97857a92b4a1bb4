//! Prompts that begin alike go to the same instance, unless it has more than its share.

use super::field::{Field, Peers};
use super::row::Row;
use super::{Draw, Kind, Policy, least_latency};

pub(super) const POLICY: Policy = Policy {
    name: "prefix-affine",
    doc: "Prompts that begin alike go to the same instance, whose key-value cache then holds their \
          beginning, unless it already has 1.25 times its even share of the requests in flight: then the \
          next in that prompt's own order. Requests without a long beginning go as with least-latency.",
    reads_prefix: true,
    kind: Kind::PrefixAffine,
};

/// How far above the even share an instance may go: consistent hashing with bounded loads
/// (Mirrokni, Thorup and Zadimoghaddam, 2018), with the factor that Google and Vimeo report using.
const BOUND_PERCENT: u64 = 125;

pub(super) fn choose<P: Peers + ?Sized>(field: Field<'_, P>, draw: &Draw) -> Option<usize> {
    let Some(prefix) = draw.prefix else { return least_latency::choose(field, draw) };
    let mut loads = Row::default();
    field.loads(&mut loads);
    let mut total = loads.total();
    if total.0 == 0 {
        if let Err(rested) = field.loads_of_the_next(&mut loads)? {
            return Some(rested);
        }
        total = loads.total();
    }
    // The first with room in the prefix's own order is the owner among those with room. The bound is above the
    // mean, so that there is one.
    Some(field.owner_within(&loads, bound(total), prefix))
}

/// The most that one may have in flight to get one more, of so many that have so much together.
fn bound((count, total): (u64, u64)) -> u32 {
    let bound = ((total + 1) * BOUND_PERCENT - 1) / (100 * count.max(1));
    u32::try_from(bound).unwrap_or(u32::MAX)
}
