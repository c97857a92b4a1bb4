//! What cannot be served now, for `/ready`.

use std::sync::Arc;

use cutover_units::Millis;

use super::{Live, UpstreamLane};

impl UpstreamLane {
    /// Whether nobody can be asked because no name server has told an address yet.
    pub(crate) fn is_unfound(&self) -> bool {
        self.instances.iter().all(|lane| lane.leaving)
    }
}

impl Live {
    /// The baselines, and the default upstream, that no instance can serve, in words. A candidate that cannot be
    /// served is no reason to take the process out of service: its requests go to the baseline.
    pub fn unserved(&self, now: Millis) -> Vec<String> {
        let dead = |at| self.lane(at).map(|lane| &lane.upstream).filter(|one| !one.can_serve(now));
        let waits = |part: String, upstream: &UpstreamLane| match self
            .unfound(upstream)
            .join(", ")
            .as_str()
        {
            "" => format!("an instance {part}"),
            names => format!("an instance {part}: no address of {names} is known yet"),
        };
        let (mut told, mut known) = (Vec::new(), Vec::new());
        for use_case in self.snapshot.use_cases() {
            if let Some(upstream) = dead(use_case.baseline) {
                told.push(waits(format!("for the baseline of {}", use_case.name), upstream));
                known.push(upstream);
            }
        }
        // Where a baseline waits for the same upstream it is named already.
        let default = self.snapshot.default_variant().and_then(dead);
        if let Some(one) = default.filter(|one| known.iter().all(|known| !Arc::ptr_eq(known, one)))
        {
            told.push(waits(format!("of the default upstream {}", one.name), one));
        }
        told
    }

    /// The hosts of an upstream that only a name server knows, and that have no address yet.
    fn unfound(&self, upstream: &UpstreamLane) -> Vec<String> {
        let mold = upstream.mold.iter();
        mold.flat_map(|mold| mold.unfound(&self.resolved)).map(str::to_owned).collect()
    }
}
