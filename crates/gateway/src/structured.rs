//! Answers whose form the engine does not hold: asked for whole, and streamed.

use bytes::Bytes;
use cutover_wire::structured::streamed;
use cutover_wire::{Reply, ReplyPlan};

use crate::exchange::Exchange;
use crate::rescue::Failure;

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
