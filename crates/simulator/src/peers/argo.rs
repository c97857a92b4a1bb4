//! Argo Rollouts: a background analysis measures the canary's success rate in windows; more failed
//! measurements than `failureLimit` abort, the last step's end promotes. A window without data is no
//! measurement, and an analysis without measurements is successful.

use cutover_units::{Arm, Millis};

use super::{Peer, Policy, Say, success};
use cutover_rollout::Window;

/// Weights of the steps, each held for an hour.
const STEPS: [u16; 4] = [500, 2_500, 5_000, 7_500];
const STEP: u64 = 3_600_000;

struct Windows {
    least: f64,
    interval: u64,
    failure_limit: u32,
    failed: u32,
    elapsed: u64,
}

impl Policy for Windows {
    fn interval(&self) -> Millis {
        Millis(self.interval)
    }

    fn first_weight(&self) -> u16 {
        STEPS[0]
    }

    fn look(&mut self, seen: &Window) -> Say {
        self.elapsed += self.interval;
        self.failed += u32::from(success(seen, Arm::Candidate).is_some_and(|s| s < self.least));
        if self.failed > self.failure_limit {
            return Say::RollBack;
        }
        let step = usize::try_from(self.elapsed / STEP).unwrap_or(usize::MAX);
        STEPS.get(step).map_or(Say::Promote, |weight| Say::Weight(*weight))
    }
}

pub(super) const LENIENT: Peer = Peer {
    name: "Argo, success >= 95 %",
    rule: "canary's success rate in 5-minute windows at least 95 %, aborts at the 4th failure; 5, 25, 50, \
           75 % for an hour each",
    source: "Argo Rollouts documentation, Analysis: success-rate example with failureLimit 3",
    start: || {
        Box::new(Windows {
            least: 0.95,
            interval: 300_000,
            failure_limit: 3,
            failed: 0,
            elapsed: 0,
        })
    },
};

pub(super) const STRICT: Peer = Peer {
    name: "Argo, success >= 99 %",
    rule: "the same with 1-minute windows and 99 %",
    source: "Argo Rollouts documentation, Analysis: the same template with other arguments",
    start: || {
        Box::new(Windows { least: 0.99, interval: 60_000, failure_limit: 3, failed: 0, elapsed: 0 })
    },
};
