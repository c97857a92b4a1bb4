//! What becomes of requests that an upstream has no room for, in the full form.

use std::fmt::Write as _;

use cutover_units::NanoUsd;

use super::Toml;
use crate::overflow::{Overflow, Queue};
use crate::quantity::{print_duration, print_price};

impl Toml {
    pub(super) fn queue(&mut self, queue: Option<&Queue>) {
        let Some(queue) = queue else { return };
        let mut inner =
            format!("length = {}, wait = \"{}\"", queue.length, print_duration(queue.wait));
        if let Some(first_token) = queue.first_token {
            let _ = write!(inner, ", first_token = \"{}\"", print_duration(first_token));
        }
        self.line("queue", format!("{{ {inner} }}"));
    }

    pub(super) fn overflow(&mut self, overflow: Option<&Overflow>) {
        let Some(overflow) = overflow else { return };
        let budget = match overflow.budget_per_day {
            Some(NanoUsd(nano)) => print_price(nano),
            None => "unlimited".to_owned(),
        };
        let inner = format!(
            "wait = \"{}\", budget_per_day = \"{budget}\", unpriced = {}, batch = {}",
            print_duration(overflow.wait),
            overflow.unpriced,
            overflow.batch
        );
        self.line("overflow", format!("{{ {inner} }}"));
    }
}
