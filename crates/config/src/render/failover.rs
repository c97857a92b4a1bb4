//! What says how a request is asked again, in the full form.

use super::Toml;
use crate::failover::{Endurance, Retries};

impl Toml {
    pub(super) fn retries(&mut self, retries: &Retries) {
        self.text("retry_budget", &retries.budget.to_string());
        self.line("retry_budget_min", retries.per_second_min);
        self.line("retries", retries.again);
    }

    pub(super) fn endurance(&mut self, endurance: &Endurance) {
        if let Some(deadline) = endurance.deadline {
            self.duration("deadline", deadline);
        }
        if let Some(hedge_after) = endurance.hedge_after {
            self.duration("hedge_after", hedge_after);
        }
        self.text("on_interrupt", endurance.on_interrupt.as_str());
    }
}
