//! Answers whose form the engine does not hold: the one JSON object that was asked for, taken out of the
//! text and checked against the client's schema.

use cutover_wire::structured::repair;
use cutover_wire::{Reply, ReplyPlan, UpstreamFault};

/// A good answer in the form that was asked for. As it came where the engine holds the form.
pub(crate) fn repaired(plan: &ReplyPlan, reply: Reply) -> Result<Reply, UpstreamFault> {
    match &plan.repair {
        None => Ok(reply),
        Some(wanted) => repair(wanted, reply, &cutover_evals::fits_schema),
    }
}
