//! Answers whose form the engine does not hold: the one JSON object that was asked for, taken out of the
//! text and checked against the client's schema.

use bytes::Bytes;
use cutover_wire::structured::{repair, streamed};
use cutover_wire::{Reply, ReplyPlan, UpstreamFault};

use crate::exchange::Exchange;
use crate::rescue::Failure;

/// A good answer in the form that was asked for. As it came where the engine holds the form.
pub(crate) fn repaired(plan: &ReplyPlan, reply: Reply) -> Result<Reply, UpstreamFault> {
    match &plan.repair {
        None => Ok(reply),
        Some(wanted) => repair(wanted, reply, &cutover_evals::fits_schema),
    }
}

/// A good answer that was asked for whole, as the stream that the client asked for.
pub(crate) fn as_stream(
    exchange: &Exchange,
    plan: &ReplyPlan,
    reply: &Reply,
) -> Result<(Bytes, ReplyPlan), Failure> {
    let usage = exchange.head.include_usage;
    let broken = || Failure::broken("unreadable", "the upstream's answer could not be read");
    streamed(plan, usage, &reply.body).ok_or_else(broken)
}
