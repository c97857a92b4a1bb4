//! Upstreams with an API that `wire` does not know: turned behind its back, on the way out and in, so that
//! it sees the OpenAI dialect on both.
//!
//! ```text
//! adapt ─▶ OpenAI dialect ─ adapted ─▶ upstream ─ received, Intake ─▶ OpenAI dialect ─▶ read_reply, Tap
//! ```

use bytes::{Bytes, BytesMut};
use cutover_dialects::egress::{self, EventsIn};
use cutover_units::Millis;
use cutover_wire::adapt::adapt;
use cutover_wire::providers::Dialect;
use cutover_wire::stream::{Limits, Tap};
use cutover_wire::{Fault, Head, Mint, Outgoing, Received, ReplyPlan, Target, UpstreamFault};

/// The request as a target's upstream is sent it.
pub(crate) fn adapted(head: &Head, body: &Bytes, target: &Target) -> Result<Outgoing, Fault> {
    let mut outgoing = adapt(head, body, target)?;
    if is_foreign(&outgoing.reply) {
        let sent = egress::request(&whole(&outgoing.body), target.unsupported)?;
        outgoing.path = egress::PATH;
        outgoing.body = vec![sent.body];
        outgoing.losses.extend(sent.losses);
    }
    Ok(outgoing)
}

fn is_foreign(plan: &ReplyPlan) -> bool {
    plan.provider.dialect == Dialect::Anthropic
}

fn whole(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [one] => one.clone(),
        many => {
            let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
            for piece in many {
                all.extend_from_slice(piece);
            }
            all.freeze()
        }
    }
}

/// A whole answer as `wire` can read it. One that is no message becomes one that it cannot read.
pub(crate) fn received<'a>(plan: &ReplyPlan, mint: &Mint, answer: Received<'a>) -> Received<'a> {
    if !is_foreign(plan) {
        return answer;
    }
    if (200..300).contains(&answer.status) {
        let body = egress::answer(&answer.body, created(mint)).unwrap_or_default();
        return Received { body, ..answer };
    }
    let (status, body) = egress::error(answer.status, &answer.body);
    Received { status, body, ..answer }
}

fn created(mint: &Mint) -> Millis {
    Millis(mint.created.saturating_mul(1_000))
}

/// Where a stream comes in. No `Debug`: it holds the answer.
pub(crate) struct Intake {
    pub(crate) tap: Tap,
    foreign: Option<Box<Foreign>>,
}

struct Foreign {
    events: EventsIn,
    turned: Vec<Bytes>,
}

impl Intake {
    /// For one answer.
    pub(crate) fn new(plan: ReplyPlan, mint: Mint, limits: Limits) -> Self {
        let foreign = is_foreign(&plan).then(|| {
            let events = EventsIn::new(created(&mint));
            Box::new(Foreign { events, turned: Vec::new() })
        });
        Self { tap: Tap::new(plan, mint, limits), foreign }
    }

    /// Takes a piece and appends what the client shall get.
    pub(crate) fn push(&mut self, data: Bytes, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        let Some(foreign) = &mut self.foreign else { return self.tap.push(data, out) };
        foreign.events.push(data, &mut foreign.turned);
        foreign.turned.drain(..).try_for_each(|piece| self.tap.push(piece, out))
    }

    /// The upstream's body has ended.
    pub(crate) fn finish(&mut self, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        if let Some(foreign) = &mut self.foreign {
            foreign.events.finish(&mut foreign.turned);
            foreign.turned.drain(..).try_for_each(|piece| self.tap.push(piece, out))?;
        }
        self.tap.finish(out)
    }
}
