//! Requests of other dialects than chat completions: turned at the edge on their way in, and their
//! answers at the edge on their way out. Everything between the edges (decision, attempts, failover,
//! records, copies) sees the OpenAI dialect only.
//!
//! ```text
//! client ─ foreign::read ─▶ Form: body, head, losses ─▶ the pipeline ─▶ Foreign::reply, or Edge ─▶ client
//! ```
//!
//! What a field of the client's may become depends on the target, which is not known when the body is
//! read. So both sides of each question are kept, and a leg takes the one that fits it:
//! - Fields that a strict variant refuses: read strictly; if that fails, leniently, with the refusal
//!   kept for the legs whose variant is strict.
//! - Earlier reasoning that the client sends back: self-hosted engines take it, hosted services refuse
//!   it. A request that holds any has a second form without.
//! - An upstream that speaks the client's own dialect gets the client's own words ([`Own`]), unless the
//!   variant or the conversation needs the conversion.
//! - Marks for caching and signatures of calls, how Anthropic's clients ask for thinking and mark errors: only
//!   Anthropic's and Gemini's own APIs take them, so a request has a form with them for those.

use bytes::Bytes;
use cutover_dialects::anthropic::ANTHROPIC;
use cutover_dialects::gemini::GEMINI;
use cutover_dialects::responses::{RESPONSES, Stored};
use cutover_dialects::{
    Answer, Asked, Dialect, Inbound, Moment, Origins, RequestFacts, Sent, StoreNeeds, StreamOut,
    WayBack,
};
use cutover_relay::Own;
use cutover_units::{Code, Micros, Millis};
use cutover_wire::providers::Dialect as Provided;
use cutover_wire::{Fault, Head, Loss, Target, Unsupported};
use http::{HeaderName, HeaderValue, Response, header};
use memchr::memmem;
use tokio::time::Instant;

use crate::body::{Out, json};
use crate::exchange::micros;

/// How a dialect's routes read a body.
pub(crate) type ReadBody<'a> =
    &'a (dyn Fn(&Bytes, &RequestFacts<'_>) -> Result<Asked, Fault> + Sync);

/// What ids of signed calls hold.
const SIGNED: &[u8] = cutover_dialects::SIGNED_ID.as_bytes();

/// The members in which Gemini's clients send what only Gemini takes.
const GOOGLES: [&[u8]; 4] = [
    b"\"thoughtSignature\"",
    b"\"thought_signature\"",
    b"\"thinkingConfig\"",
    b"\"thinking_config\"",
];

/// The members in which Anthropic's clients send what chat completions cannot say so, marks for caching among them.
const ANTHROPICS: [&[u8]; 4] =
    [b"\"cache_control\"", b"\"thinking\"", b"\"effort\"", b"\"is_error\""];

/// The member that earlier reasoning becomes.
const REASONING: &[u8] = b"\"reasoning_";

/// A request in the OpenAI dialect.
pub(crate) struct Form {
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    /// What of the client's request is not in it.
    pub(crate) losses: Vec<Loss>,
}

/// What a request of another dialect needs besides its main form. No `Debug`: it holds the prompt.
pub(crate) struct Foreign {
    pub(crate) dialect: &'static Dialect,
    /// What is not in the main form.
    pub(crate) losses: Vec<Loss>,
    /// The form for targets that take no earlier reasoning, if there is any.
    pub(crate) plain: Option<Box<Form>>,
    /// The form for targets that take marks for caching, if there are any.
    pub(crate) marked: Option<Box<Form>>,
    /// What the client calls the fields of the request as it is sent on.
    pub(crate) origins: Origins,
    /// The request as the client wrote it, where some upstream speaks its dialect.
    pub(crate) own: Option<Own>,
    /// What a strict variant says to the request.
    refusal: Option<Fault>,
    /// What every variant says to it, but for one whose upstream speaks the client's dialect.
    never: Option<Fault>,
    /// Whether its answer shall be kept, which is made of converted ones.
    keeps: bool,
    /// The key that an answer is kept for.
    pub(crate) owner: Option<i64>,
    /// Whether it goes on from an answer of a local-only use case.
    pub(crate) local_only: bool,
    /// None: a stream has taken it.
    way_back: Option<WayBack>,
}

/// What a body turned out to be.
pub(crate) enum Reading {
    /// An inference request: its main form, and the rest.
    Infer(Form, Box<Foreign>),
    /// Stored answers must be loaded first, and the body read again with them.
    Load(StoreNeeds),
    /// Answered already.
    Now(Answer),
}

/// Reads a body of another dialect.
pub(crate) fn read(
    dialect: &'static Dialect,
    read: ReadBody<'_>,
    body: &Bytes,
    facts: RequestFacts<'_>,
) -> Result<Reading, Fault> {
    let holds = |mark: &[u8]| memmem::find(body, mark).is_some();
    let anthropics = ANTHROPICS.into_iter().filter(|_| dialect.name == ANTHROPIC.name);
    let googles = GOOGLES.into_iter().filter(|_| dialect.name == GEMINI.name);
    let marks = googles.chain([SIGNED]).chain(anthropics);
    let marked = facts.keep_marks && marks.into_iter().any(holds);
    let may_pass = facts.own;
    let mut facts = RequestFacts {
        unsupported: Unsupported::Strict,
        keep_reasoning: true,
        keep_marks: false,
        own: false,
        ..facts
    };
    let (mut refusal, mut never) = (None, None);
    let asked = loop {
        match read(body, &facts) {
            Err(fault) if fault.code != Code::UnsupportedParameter => return Err(fault),
            Err(fault) if refusal.is_none() => {
                (facts.unsupported, refusal) = (Unsupported::Lenient, Some(fault));
            }
            Err(fault) if may_pass && never.is_none() => (facts.own, never) = (true, Some(fault)),
            asked => break asked?,
        }
    };
    let mut inbound = match asked {
        Asked::Now(answer) => return Ok(Reading::Now(answer)),
        Asked::Infer(inbound) => *inbound,
    };
    if inbound.needs.must_load() {
        // What goes on from a stored answer goes by conversion.
        return never.map_or(Ok(Reading::Load(inbound.needs)), Err);
    }
    let keeps = inbound.needs.keep;
    let plain = match memmem::find(&inbound.body, REASONING) {
        None => None,
        Some(_) => match read(body, &RequestFacts { keep_reasoning: false, ..facts })? {
            Asked::Infer(plain) if plain.body != inbound.body => Some(Box::new(form(*plain)?.0)),
            _ => None,
        },
    };
    let all = RequestFacts { keep_marks: true, ..facts };
    let marked = match marked.then(|| read(body, &all)).transpose()? {
        Some(Asked::Infer(marked)) if marked.body != inbound.body => {
            Some(Box::new(form(*marked)?.0))
        }
        _ => None,
    };
    let origins = std::mem::take(&mut inbound.origins);
    let read = form(inbound).map_err(|fault| origins.in_clients_words(fault));
    let (mut form, way_back) = read?;
    let losses = std::mem::take(&mut form.losses);
    let foreign = Foreign {
        dialect,
        losses,
        plain,
        marked,
        origins,
        own: None,
        refusal,
        never,
        keeps,
        owner: None,
        local_only: false,
        way_back: Some(way_back),
    };
    Ok(Reading::Infer(form, Box::new(foreign)))
}

fn form(inbound: Inbound) -> Result<(Form, WayBack), Fault> {
    let Inbound { endpoint, body, losses, way_back, .. } = inbound;
    let mut head = Head::of_made(endpoint, &body)?;
    head.stream_options_are_ours = true;
    Ok((Form { head, body, losses }, way_back))
}

/// Whether a target takes the reasoning of earlier answers back. Anthropic's is signed and wanted.
fn takes_reasoning(target: &Target) -> bool {
    target.provider.self_hosted || target.provider.dialect == Provided::Anthropic
}

impl Foreign {
    /// The form for a target, if it is not the main one.
    pub(crate) fn form_for(&self, target: &Target) -> Option<&Form> {
        // What only Gemini takes is reported as lost to everyone else by the main form.
        let fits = self.dialect.name != GEMINI.name || target.provider.dialect == Provided::Gemini;
        let takes = fits && cutover_relay::takes_marks(target);
        if let Some(marked) = self.marked.as_deref().filter(|_| takes) {
            return Some(marked);
        }
        self.plain.as_deref().filter(|_| !takes_reasoning(target))
    }

    /// Whether the request asks for tools that run at its vendor, which are billed apart from tokens.
    pub(crate) fn wants_vendors_tools(&self) -> bool {
        if self.dialect.name == ANTHROPIC.name || self.dialect.name == RESPONSES.name {
            // Those that the client runs itself stand under another name.
            return self.losses.iter().any(|loss| loss.field == "tools[].type");
        }
        let param = self.refusal.as_ref().and_then(|fault| fault.param.as_deref());
        param.is_some_and(|param| param.starts_with("tools"))
    }

    /// Whether the request asks for Anthropic's faster mode, which has a price of its own.
    pub(crate) fn wants_speed(&self) -> bool {
        self.losses.iter().any(|loss| loss.field == "speed")
    }

    /// What a strict variant says to the request.
    pub(crate) fn refusal(&self) -> Option<&Fault> {
        self.refusal.as_ref()
    }

    /// What every variant says to it whose upstream speaks another dialect.
    pub(crate) fn never(&self) -> Option<&Fault> {
        self.never.as_ref()
    }

    /// Why a target refuses the request as it is converted, if it does.
    pub(crate) fn refused_by(&self, target: &Target) -> Option<&Fault> {
        let strict = self.refusal.as_ref().filter(|_| target.unsupported == Unsupported::Strict);
        strict.or(self.never.as_ref())
    }

    /// The request in the client's own words, if the target takes them. An answer that shall be kept is made by way
    /// of the conversion, where there is one: its items have names by which they are found again.
    pub(crate) fn own_for(&self, target: &Target) -> Option<&Own> {
        let own = self.own.as_ref().filter(|own| own.is_for(target))?;
        (!self.keeps || self.refused_by(target).is_some()).then_some(own)
    }

    /// Turns a whole answer into the client's dialect, with what shall be kept of it.
    pub(crate) fn reply(
        &self,
        body: &[u8],
        (sent, now): (Option<Sent<'_>>, Moment),
    ) -> Result<(Response<Out>, Option<Stored>), Fault> {
        let way_back = self.way_back.as_ref();
        let way_back = way_back.ok_or_else(|| Fault::new(Code::Internal, "no way back"))?;
        way_back.reply_and_keep(body, (sent, now)).map(|(answer, kept)| (response(answer), kept))
    }

    /// Where a stream leaves in the client's dialect. Once.
    pub(crate) fn edge(&mut self, started: Instant, started_at: Millis) -> Option<Edge> {
        let out = self.way_back.take()?.stream();
        Some(Edge { out, started, started_at, turned: Vec::new(), passes: None })
    }
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

    /// Why the stream could not be turned, or how it was ended.
    pub(crate) fn failure(&self) -> Option<Code> {
        self.out.failure()
    }
}

/// The content type of server-sent events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
