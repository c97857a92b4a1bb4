//! Requests of other dialects than chat completions: turned at the edge on their way in, and their
//! answers at the edge on their way out. Everything between the edges (decision, attempts, failover,
//! records, copies) sees the OpenAI dialect only.
//!
//! ```text
//! client ─ outlined, read_foreign ─▶ head, body, Foreign ─▶ the pipeline ─▶ Foreign::reply, or Edge ─▶ client
//! ```
//!
//! What a request becomes on the way in, and when, is [`cutover_relay`]'s: a request that some upstream takes as its
//! client wrote it is outlined, and converted only if a leg asks for that.

use std::collections::HashMap;

use bytes::Bytes;
use cutover_dialects::responses::Stored;
use cutover_dialects::{Answer, Dialect, Moment, Sent, StreamOut, WayBack};
use cutover_relay::{Conversion, Own};
use cutover_units::{Code, Micros, Millis};
use cutover_wire::{Fault, Loss, Target};
use http::{HeaderName, HeaderValue, Response, header};
use tokio::time::Instant;

use crate::body::{Out, json};
use crate::exchange::{Exchange, micros};

/// What a request of another dialect needs besides the head and body that it was decided by. No `Debug`: it holds
/// the prompt.
pub(crate) struct Foreign {
    pub(crate) dialect: &'static Dialect,
    /// The request as a chat.
    pub(crate) chat: Conversion,
    /// The request as the client wrote it, where some upstream speaks its dialect.
    pub(crate) own: Option<Own>,
    /// The key that an answer is kept for.
    pub(crate) owner: Option<i64>,
    /// What stands in the `metadata` of the client's words, where that decides anything.
    pub(crate) metadata: HashMap<String, String>,
    /// Whether it goes on from an answer of a local-only use case.
    pub(crate) local_only: bool,
    /// None: a stream has taken it.
    pub(crate) way_back: Option<WayBack>,
}

impl Exchange {
    /// Its metadata as its client wrote it, where that was in another dialect.
    pub(crate) fn own_metadata(&self) -> Option<&HashMap<String, String>> {
        self.foreign.as_ref().map(|foreign| &foreign.metadata)
    }
}

impl Foreign {
    /// The request in the client's own words, if the target takes them. An answer that shall be kept is made by way
    /// of the conversion, where there is one: its items have names by which they are found again.
    pub(crate) fn own_for(&self, target: &Target) -> Option<&Own> {
        let own = self.own.as_ref().filter(|own| own.is_for(target))?;
        (!self.chat.keeps() || self.chat.refused_by(target).is_some()).then_some(own)
    }

    /// Turns a whole answer into the client's dialect, with what shall be kept of it.
    pub(crate) fn reply(
        &self,
        body: &[u8],
        (sent, now): (Option<Sent<'_>>, Moment),
    ) -> Result<Turned, Fault> {
        let way_back = self.way_back.as_ref();
        let way_back = way_back.ok_or_else(|| Fault::new(Code::Internal, "no way back"))?;
        way_back.reply_and_keep(body, (sent, now)).map(|(answer, kept)| Turned { answer, kept })
    }

    /// Where a stream leaves in the client's dialect. Once.
    pub(crate) fn edge(&mut self, started: Instant, started_at: Millis) -> Option<Edge> {
        let way_back = self.way_back.take()?;
        let (shown, out) = (way_back.shown(), way_back.stream());
        Some(Edge { out, shown, started, started_at, turned: Vec::new(), passes: None })
    }
}

/// A whole answer in its client's dialect. No `Debug`: it holds the answer.
pub(crate) struct Turned {
    pub(crate) answer: Answer,
    /// What shall be kept of it.
    pub(crate) kept: Option<Stored>,
}

/// An answer in a dialect's shape, ready to send.
pub(crate) fn response(answer: Answer) -> Response<Out> {
    let mut response = json(answer.body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// When something happens, for answers that tell times.
pub(crate) fn moment(started_at: Millis, elapsed: Micros) -> Moment {
    Moment { at: Millis(started_at.0.saturating_add(elapsed.0 / 1_000)), elapsed }
}

/// Where a stream leaves in the client's dialect. No `Debug`: it holds the answer.
pub(crate) struct Edge {
    out: StreamOut,
    /// What its client sees of a stream.
    pub(crate) shown: cutover_dialects::Shown,
    started: Instant,
    started_at: Millis,
    turned: Vec<Bytes>,
    /// Whether the upstream's own events pass, once one has come.
    passes: Option<bool>,
}

impl Edge {
    fn now(&self) -> Moment {
        moment(self.started_at, micros(self.started.elapsed()))
    }

    /// Tells what was sent, before the first piece is turned.
    pub(crate) fn was_sent(&mut self, sent: Sent<'_>) {
        self.out.was_sent(sent);
    }

    /// The stream's content type.
    pub(crate) fn content_type(&self) -> &'static str {
        self.out.content_type()
    }

    /// Whether the stream is of lines rather than of events.
    pub(crate) fn is_lines(&self) -> bool {
        self.content_type() != EVENT_STREAM
    }

    /// Passes events of the upstream's that are in the client's dialect, in place of what they were turned into.
    /// False: what the client has got already does not go with them.
    pub(crate) fn pass(&mut self, events: Vec<Bytes>, pieces: &mut Vec<Bytes>) -> bool {
        if !*self.passes.get_or_insert(self.out.can_pass()) {
            return false;
        }
        pieces.clear();
        for event in events {
            self.out.pass(event, pieces);
        }
        true
    }

    /// Turns pieces of the OpenAI dialect, in place.
    pub(crate) fn turn(&mut self, pieces: &mut Vec<Bytes>) {
        let now = self.now();
        for piece in pieces.drain(..) {
            self.out.push(piece, now, &mut self.turned);
        }
        std::mem::swap(pieces, &mut self.turned);
    }

    /// The upstream's stream has ended well: adds what is missing of the client's.
    pub(crate) fn finish(&mut self, pieces: &mut Vec<Bytes>) {
        if self.passes == Some(true) {
            return self.out.passed(pieces);
        }
        self.out.finish(self.now(), pieces);
    }

    /// What shall be kept, once the stream has ended well. Once.
    pub(crate) fn take_stored(&mut self) -> Option<Stored> {
        self.out.take_stored()
    }

    /// Ends the stream with an error. Nothing comes out if it has ended.
    pub(crate) fn error(&mut self, fault: &Fault) -> Option<Bytes> {
        let mut out = Vec::new();
        self.out.error(fault, self.now(), &mut out);
        out.pop()
    }

    /// What the client's dialect has no room for.
    pub(crate) fn losses(&self) -> &[Loss] {
        self.out.losses()
    }

    /// Why the stream could not be turned, or how it was ended.
    pub(crate) fn failure(&self) -> Option<Code> {
        self.out.failure()
    }
}

/// The content type of server-sent events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
