//! Who is told of what happens: log, metrics, webhooks, and the status.

use std::sync::Arc;

use cutover_rollout::{Decision, Report};
use cutover_telemetry::{events, families};

use super::seat::Seat;
use super::{Rollouts, Run, lock};
use crate::api::rollouts::verdict_word;
use crate::controller::word;

impl Rollouts {
    /// Tells log and metrics. Webhooks are told from the outbox, which the commit has filled.
    pub(super) fn announce(&self, run: &Run, seat: &Seat, decision: &Decision) {
        let step = seat.spec.steps.get(usize::from(decision.to_step));
        events::RolloutDecided {
            use_case: run.use_case.as_str(),
            action: decision.action.as_str(),
            actor: &decision.actor.to_string(),
            step: step.map_or("", |step| step.name.as_str()),
            weight: decision.weight,
            reason: &decision.reason,
        }
        .emit(self.registry());
        self.webhooks().wake();
    }

    /// Shows what the run looks like now.
    pub(super) fn show(&self, run: &Run, seat: &Seat) {
        *lock(&run.view) = Arc::new(seat.view());
        let use_case = run.use_case.as_str();
        let registry = self.registry();
        registry.gauge(families::ROLLOUT_STEP, [use_case]).set(seat.state.step.into());
        let now = word(&seat.state.phase);
        for phase in ["running", "holding", "paused", "promoted", "rolled_back", "abandoned"] {
            let gauge = registry.gauge(families::ROLLOUT_PHASE, [use_case, phase]);
            gauge.set((phase == now).into());
        }
    }

    /// Shows what a tick found of each gate.
    pub(super) fn measure(&self, run: &Run, report: &Report) {
        let use_case = run.use_case.as_str();
        let registry = self.registry();
        for gate in &report.gates {
            let labels = [use_case, gate.gate.as_str()];
            registry.gauge(families::GATE_EVIDENCE_PASS, labels).set(thousandths(gate.log_e_pass));
            registry.gauge(families::GATE_EVIDENCE_FAIL, labels).set(thousandths(gate.log_e_fail));
            let found = verdict_word(gate.verdict);
            for verdict in ["pass", "fail", "hold", "no_data"] {
                let labels = [use_case, gate.gate.as_str(), verdict];
                registry.gauge(families::GATE_VERDICT, labels).set((verdict == found).into());
            }
        }
    }
}

fn thousandths(nats: f64) -> i64 {
    // Saturates; what is not a number becomes 0.
    #[expect(clippy::cast_possible_truncation, reason = "a float's cast saturates")]
    let value = (nats * 1_000.0).round() as i64;
    value
}
