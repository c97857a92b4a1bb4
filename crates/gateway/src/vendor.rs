//! Upstreams with an API that `wire` does not know: turned behind its back, on the way out and in, so that
//! it sees the OpenAI dialect on both.
//!
//! ```text
//! adapt ─▶ OpenAI dialect ─ adapted ─▶ upstream ─ received, Intake ─▶ OpenAI dialect ─▶ read_reply, Tap
//! ```

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use cutover_dialects::egress::{self, EventsIn, gemini};
use cutover_units::Millis;
use cutover_wire::adapt::adapt;
use cutover_wire::providers::Dialect;
use cutover_wire::stream::{Limits, Tap};
use cutover_wire::{
    Fault, Head, Mint, Outgoing, Received, Reply, ReplyPlan, Target, UpstreamFault, read_reply,
};
use http::uri::PathAndQuery;

use crate::structured;

/// The request as a target's upstream is sent it.
pub(crate) fn adapted(head: &Head, body: &Bytes, target: &Target) -> Result<Outgoing, Fault> {
    let mut outgoing = adapt(head, body, target)?;
    let request = match outgoing.reply.provider.dialect {
        Dialect::Anthropic => egress::request,
        Dialect::Gemini => gemini::request,
        Dialect::OpenAi | Dialect::Ollama => return Ok(outgoing),
    };
    let adapted = whole(&outgoing.body);
    let sent = request(&adapted, target.unsupported)
        .map_err(|fault| egress::in_senders_places(fault, body, &adapted))?;
    outgoing.path = sent.path;
    outgoing.body = vec![sent.body];
    outgoing.losses.extend(sent.losses);
    Ok(outgoing)
}

/// A path as it is sent. Ours are good ones; what is made of a model's name is escaped.
#[expect(clippy::ptr_arg, reason = "a path of ours is static, and then taken as it is")]
pub(crate) fn path_and_query(path: &Cow<'static, str>) -> PathAndQuery {
    match path {
        Cow::Borrowed(path) => PathAndQuery::from_static(path),
        Cow::Owned(path) => {
            PathAndQuery::try_from(&**path).unwrap_or_else(|_| PathAndQuery::from_static("/"))
        }
    }
}

/// Whether a target takes marks for caching and signatures of calls.
pub(crate) fn takes_marks(target: &Target) -> bool {
    matches!(target.provider.dialect, Dialect::Anthropic | Dialect::Gemini)
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

/// Reads a whole answer; tells its status, too, as it would be in the OpenAI dialect.
pub(crate) fn read(
    plan: &ReplyPlan,
    mint: &Mint,
    answer: Received<'_>,
) -> (u16, Result<Reply, UpstreamFault>) {
    let good = (200..300).contains(&answer.status);
    let (mut received, mut wait) = (answer, None::<String>);
    // An answer that is none becomes one that `wire` cannot read.
    match plan.provider.dialect {
        Dialect::OpenAi | Dialect::Ollama => {}
        Dialect::Anthropic if good => {
            received.body = egress::answer(&received.body, created(mint)).unwrap_or_default();
        }
        Dialect::Anthropic => {
            (received.status, received.body) = egress::error(received.status, &received.body);
        }
        Dialect::Gemini if good => {
            received.body = gemini::answer(&received.body, created(mint)).unwrap_or_default();
        }
        Dialect::Gemini => {
            let told = gemini::error(received.status, &received.body);
            (received.status, received.body) = (told.status, told.body);
            wait = told.retry_after_ms.map(|wait| wait.to_string());
        }
    }
    let Received { status, content_type, retry_after, retry_after_ms, body } = received;
    let retry_after_ms = wait.as_deref().or(retry_after_ms);
    let received = Received { status, content_type, retry_after, retry_after_ms, body };
    let reply = read_reply(plan, mint, received);
    (status, reply.and_then(|reply| structured::repaired(plan, reply)))
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
    events: Events,
    turned: Vec<Bytes>,
}

enum Events {
    Anthropic(EventsIn),
    Gemini(gemini::EventsIn),
}

impl Foreign {
    fn push(&mut self, data: Bytes) {
        match &mut self.events {
            Events::Anthropic(events) => events.push(data, &mut self.turned),
            Events::Gemini(events) => events.push(data, &mut self.turned),
        }
    }

    fn finish(&mut self) {
        match &mut self.events {
            Events::Anthropic(events) => events.finish(&mut self.turned),
            Events::Gemini(events) => events.finish(&mut self.turned),
        }
    }
}

impl Intake {
    /// For one answer.
    pub(crate) fn new(plan: ReplyPlan, mint: Mint, limits: Limits) -> Self {
        let events = match plan.provider.dialect {
            Dialect::OpenAi | Dialect::Ollama => None,
            Dialect::Anthropic => Some(Events::Anthropic(EventsIn::new(created(&mint)))),
            Dialect::Gemini => Some(Events::Gemini(gemini::EventsIn::new(created(&mint)))),
        };
        let foreign = events.map(|events| Box::new(Foreign { events, turned: Vec::new() }));
        Self { tap: Tap::new(plan, mint, limits), foreign }
    }

    /// Takes a piece and appends what the client shall get.
    pub(crate) fn push(&mut self, data: Bytes, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        let Some(foreign) = &mut self.foreign else { return self.tap.push(data, out) };
        foreign.push(data);
        foreign.turned.drain(..).try_for_each(|piece| self.tap.push(piece, out))
    }

    /// The upstream's body has ended.
    pub(crate) fn finish(&mut self, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        if let Some(foreign) = &mut self.foreign {
            foreign.finish();
            foreign.turned.drain(..).try_for_each(|piece| self.tap.push(piece, out))?;
        }
        self.tap.finish(out)
    }
}
