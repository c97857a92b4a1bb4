//! Flagger: every interval one check of the canary's success rate; a passed check adds `stepWeight`, a
//! failed one (also one without values) counts, and `threshold` failed checks roll back. Beyond
//! `maxWeight` it promotes.

use cutover_units::{Arm, Millis};

use super::{Peer, Policy, Say, success};
use cutover_rollout::Window;

const STEP_WEIGHT: u16 = 500;
const MAX_WEIGHT: u16 = 5_000;
const THRESHOLD: u32 = 10;
const LEAST: f64 = 0.99;

struct Checks {
    weight: u16,
    failed: u32,
}

impl Policy for Checks {
    fn interval(&self) -> Millis {
        Millis(60_000)
    }

    fn first_weight(&self) -> u16 {
        STEP_WEIGHT
    }

    fn look(&mut self, seen: &Window) -> Say {
        if success(seen, Arm::Candidate).is_some_and(|success| success >= LEAST) {
            self.weight += STEP_WEIGHT;
        } else {
            self.failed += 1;
        }
        if self.failed >= THRESHOLD {
            return Say::RollBack;
        }
        if self.weight > MAX_WEIGHT { Say::Promote } else { Say::Weight(self.weight) }
    }
}

pub(super) const ROW: Peer = Peer {
    name: "Flagger, success >= 99 %",
    rule: "one check a minute of the canary's success rate; 5 % more at each that passes, promotes beyond \
           50 %, rolls back at the 10th that fails; no values count as failed",
    source: "Flagger documentation, Canary analysis (request-success-rate min 99, threshold 10, \
             stepWeight 5, maxWeight 50), and pkg/controller/scheduler_metrics.go",
    start: || Box::new(Checks { weight: STEP_WEIGHT, failed: 0 }),
};
