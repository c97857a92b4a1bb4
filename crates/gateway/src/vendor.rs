//! Upstreams with an API that `wire` does not know: turned behind its back, on the way out and in, so that
//! it sees the OpenAI dialect on both.
//!
//! ```text
//! adapt ─▶ OpenAI dialect ─ adapted ─▶ upstream ─ received, Intake ─▶ OpenAI dialect ─▶ read_reply, Tap
//! ```

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use cutover_dialects::anthropic::ANTHROPIC;
use cutover_dialects::gemini::GEMINI;
use cutover_dialects::ollama::OLLAMA;
use cutover_dialects::responses::RESPONSES;
use cutover_route::UseCase;
use cutover_units::Millis;
use cutover_vendors::anthropic::{self, EventsIn};
use cutover_vendors::{self as vendors, Defaults, gemini, responses};
use cutover_wire::adapt::adapt;
use cutover_wire::own::{self, Events as OwnEvents};
use cutover_wire::providers::Dialect;
use cutover_wire::stream::{Limits, Tap};
use cutover_wire::{
    Endpoint, Fault, Head, Loss, LossAction, Mint, Outgoing, Received, Reply, ReplyPlan, Target,
    UpstreamFault, Usage, read_reply,
};
use http::uri::PathAndQuery;
use memchr::memmem;

use crate::exchange::Exchange;
use crate::live::Lane;
use crate::passthrough::without_keys;
use crate::structured;

/// A request as its client wrote it, in a dialect that some upstreams speak themselves. No `Debug`: it holds the
/// prompt.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) dialect: Dialect,
    /// What Google's paths end with; Ollama's as a whole.
    pub(crate) method: Option<&'static str>,
    /// What stands behind Anthropic's path, with its question mark: it chooses the fields that are known.
    /// Google's holds keys and how an answer is written, which is made here.
    query: String,
    pub(crate) body: Bytes,
}

impl Own {
    /// A request in a client's dialect. `None`: no provider speaks it, or the conversion is made there, too.
    pub(crate) fn of(
        dialect: &cutover_dialects::Dialect,
        (method, query): (Option<&'static str>, &str),
        body: &Bytes,
    ) -> Option<Self> {
        let provided = match dialect.name {
            name if name == GEMINI.name => Dialect::Gemini,
            name if name == ANTHROPIC.name => Dialect::Anthropic,
            name if name == OLLAMA.name => Dialect::Ollama,
            name if name == RESPONSES.name => Dialect::OpenAi,
            _ => return None,
        };
        let passes = |path: &str| own::ollama::ROUTES.contains(&path);
        if provided == Dialect::Ollama && !method.is_some_and(passes) {
            return None;
        }
        let query =
            if provided == Dialect::Anthropic { without_keys(query) } else { String::new() };
        Some(Self { dialect: provided, method, query, body: body.clone() })
    }

    /// Whether any of these speaks it.
    pub(crate) fn has_upstream(&self, lanes: &[Lane]) -> bool {
        lanes.iter().any(|lane| self.is_for(&lane.target))
    }

    /// Whether a target speaks it. OpenAI's clients of chat completions have no words of their own: they are all passed.
    pub(crate) fn is_for(&self, target: &Target) -> bool {
        let dialect = target.provider.dialect;
        self.dialect == dialect && (dialect != Dialect::OpenAi || target.responses)
    }

    /// The request for a target that speaks the same, in the client's own words. The head and body are those of the
    /// converted form. `None`: the target gets that one.
    pub(crate) fn adapted(
        &self,
        (head, body): (&Head, &Bytes),
        target: &Target,
    ) -> Option<Result<Outgoing, Fault>> {
        if !self.is_for(target) {
            return None;
        }
        if self.dialect == Dialect::Ollama {
            let written = (&self.body, self.method?);
            return own::ollama::outgoing(written, (head, body), target).map(Ok);
        }
        if self.dialect == Dialect::OpenAi {
            let (own, losses) = own::responses::request(&self.body, &head.model, target)?;
            return Some(adapt(head, body, target).map(|mut outgoing| {
                (outgoing.path, outgoing.body) = (Cow::Borrowed(own::responses::PATH), own);
                outgoing.losses = losses;
                (outgoing.reply.own, outgoing.reply.responses) = (true, true);
                outgoing
            }));
        }
        let model = target.model.as_ref().unwrap_or(&head.model);
        let path = match (self.dialect, self.method) {
            (Dialect::Gemini, Some(_)) if head.stream => gemini::path(model, gemini::STREAM),
            (Dialect::Gemini, Some(method)) => gemini::path(model, method),
            (Dialect::Anthropic, _) if self.query.is_empty() => Cow::Borrowed(anthropic::PATH),
            (Dialect::Anthropic, _) => Cow::Owned(format!("{}{}", anthropic::PATH, self.query)),
            _ => return None,
        };
        if self.dialect == Dialect::Anthropic && anthropic::must_be_mended(&self.body) {
            return None;
        }
        let own = own::request(&self.body, &head.model, target)?;
        Some(adapt(head, body, target).map(|mut outgoing| {
            (outgoing.path, outgoing.body) = (path, own);
            outgoing.losses = own::left_out(&self.body, target);
            if self.dialect == Dialect::Anthropic && target.settings.seed.is_some() {
                outgoing.losses.push(no_seed());
            }
            outgoing.reply.own = true;
            note_estimate(head, &mut outgoing);
            outgoing
        }))
    }

    /// Whether it holds the tokens of an earlier answer, which Ollama's `/api/generate` gives and takes.
    fn holds_tokens(&self) -> bool {
        self.dialect == Dialect::Ollama && memmem::find(&self.body, b"\"context\"").is_some()
    }
}

/// Tokens of an earlier answer mean something to the model alone that gave it. Where the arms of a use case are of
/// several, whose they are cannot be known: such a request goes by conversion, which refuses or reports them.
pub(crate) fn leave_strange_tokens(exchange: &mut Exchange) {
    let Some(foreign) = &mut exchange.foreign else { return };
    if !foreign.own.as_ref().is_some_and(Own::holds_tokens) {
        return;
    }
    let live = &exchange.live;
    let all = live.snapshot.use_cases();
    let use_case = exchange.chosen.use_case.and_then(|at| all.get(usize::from(at.0)));
    let model = |at| {
        let target = &live.lane(at)?.target;
        target.model.as_ref().filter(|_| target.provider.dialect == Dialect::Ollama)
    };
    let differ = |of: &UseCase| of.candidate.is_some_and(|at| model(at) != model(of.baseline));
    if use_case.is_some_and(differ) {
        foreign.own = None;
    }
}

/// A variant's seed has no place in a client's own words to Anthropic.
fn no_seed() -> Loss {
    let why = "Anthropic has no seed";
    Loss { field: "variant.seed".to_owned(), action: LossAction::Dropped, why }
}

/// The request as a target's upstream is sent it.
pub fn adapted(head: &Head, body: &Bytes, target: &Target) -> Result<Outgoing, Fault> {
    let mut outgoing = adapt(head, body, target)?;
    let adapted = || whole(&outgoing.body);
    let sent = match outgoing.reply.provider.dialect {
        Dialect::OpenAi => return Ok(vendors::without_others(outgoing, head, target)),
        Dialect::Ollama => return Ok(outgoing),
        Dialect::Anthropic => {
            let defaults = Defaults::of(body, &target.settings);
            anthropic::request(&adapted(), target.unsupported, &defaults)
        }
        Dialect::Gemini if head.endpoint == Endpoint::Embeddings => {
            note_estimate(head, &mut outgoing);
            let sent = gemini::embeddings::request(&whole(&outgoing.body), target.unsupported);
            sent.map(|(sent, encoding)| {
                outgoing.reply.encoding = encoding;
                sent
            })
        }
        Dialect::Gemini => gemini::request(&adapted(), target.unsupported),
    };
    let sent = sent.map_err(|fault| in_senders_places(fault, body, &outgoing))?;
    outgoing.path = sent.path;
    outgoing.body = vec![sent.body];
    outgoing.losses.extend(sent.losses);
    Ok(outgoing)
}

/// Gemini does not tell what embeddings took.
fn note_estimate(head: &Head, outgoing: &mut Outgoing) {
    if head.endpoint == Endpoint::Embeddings {
        outgoing.reply.unasked_prompt_tokens = Some(head.est_prompt_tokens);
    }
}

/// An error about a request as it is sent, with the messages' places in the one that it was made of.
pub(crate) fn in_senders_places(fault: Fault, sent: &Bytes, outgoing: &Outgoing) -> Fault {
    vendors::in_senders_places(fault, sent, &whole(&outgoing.body))
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
pub fn read(
    plan: &ReplyPlan,
    mint: &Mint,
    answer: Received<'_>,
) -> (u16, Result<Reply, UpstreamFault>) {
    let good = (200..300).contains(&answer.status);
    let own = (good && plan.own).then(|| answer.body.clone());
    let (mut received, mut wait) = (answer, None::<String>);
    // An answer that is none becomes one that `wire` cannot read.
    match plan.provider.dialect {
        Dialect::OpenAi if good && plan.responses => {
            received.body = responses::answer(&received.body, created(mint)).unwrap_or_default();
        }
        Dialect::OpenAi | Dialect::Ollama => {}
        Dialect::Anthropic if good => {
            received.body = anthropic::answer(&received.body, created(mint)).unwrap_or_default();
        }
        Dialect::Anthropic => {
            (received.status, received.body) = anthropic::error(received.status, &received.body);
        }
        Dialect::Gemini if good && plan.endpoint == Endpoint::Embeddings => {
            let tokens = plan.unasked_prompt_tokens.unwrap_or(0);
            let shown = (&*mint.model, plan.encoding);
            let read = gemini::embeddings::answer(&received.body, shown, tokens);
            received.body = read.unwrap_or_default();
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
    let Received { status, content_type, retry_after, retry_after_ms, date, body } = received;
    let retry_after_ms = wait.as_deref().or(retry_after_ms);
    let received = Received { status, content_type, retry_after, retry_after_ms, date, body };
    let reply = read_reply(plan, mint, received).map(|reply| {
        let untold =
            plan.provider.dialect == Dialect::Gemini && plan.endpoint == Endpoint::Embeddings;
        let usage =
            reply.usage.map(|usage| Usage { estimated: usage.estimated || untold, ..usage });
        Reply { own: own.map(|own| own_names(plan, mint, own)), usage, ..reply }
    });
    (status, reply.and_then(|reply| structured::repaired(plan, reply)))
}

/// An answer in the upstream's own words, with the names that the client shall see.
fn own_names(plan: &ReplyPlan, mint: &Mint, body: Bytes) -> Bytes {
    let dialect = plan.provider.dialect;
    if dialect == Dialect::Ollama {
        return own::ollama::answer(plan, mint, &body);
    }
    let named = plan.mint.then(|| {
        own::named(dialect, std::str::from_utf8(&body).ok()?, &dialects_mint(dialect, mint))
    });
    named.flatten().map_or(body, Bytes::from)
}

/// Our names as a dialect's clients know them: Anthropic's ids say what they are of.
fn dialects_mint(dialect: Dialect, mint: &Mint) -> Mint {
    let bare = mint.id.split_once('-').map_or(&*mint.id, |(_, bare)| bare);
    let prefix = match dialect {
        Dialect::Anthropic => "msg_",
        Dialect::OpenAi => "resp_",
        Dialect::Gemini | Dialect::Ollama => "",
    };
    Mint { id: format!("{prefix}{bare}"), ..mint.clone() }
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
    /// Where the client speaks the upstream's dialect: its own events, and those ready for the client.
    own: Option<(OwnEvents, Vec<Bytes>)>,
}

enum Events {
    Anthropic(EventsIn),
    Gemini(gemini::EventsIn),
    Responses(responses::EventsIn),
}

impl Foreign {
    fn push(&mut self, data: Bytes) {
        match &mut self.events {
            Events::Anthropic(events) => events.push(data, &mut self.turned),
            Events::Gemini(events) => events.push(data, &mut self.turned),
            Events::Responses(events) => events.push(data, &mut self.turned),
        }
    }

    fn finish(&mut self) {
        match &mut self.events {
            Events::Anthropic(events) => events.finish(&mut self.turned),
            Events::Gemini(events) => events.finish(&mut self.turned),
            Events::Responses(events) => events.finish(&mut self.turned),
        }
    }

    /// Takes a piece, or what is left at the end, and gives the tap what it knows.
    fn take(
        &mut self,
        data: Option<Bytes>,
        (tap, out): (&mut Tap, &mut Vec<Bytes>),
    ) -> Result<(), UpstreamFault> {
        let Some((own, _)) = &mut self.own else {
            if let Some(data) = data {
                self.push(data);
            }
            return self.turned.drain(..).try_for_each(|piece| tap.push(piece, out));
        };
        let events = match data {
            Some(data) => own.cut(data),
            None => own.rest().into_iter().collect(),
        };
        // One by one: of a broken stream the client gets what came before it broke.
        for event in events {
            self.push(event.clone());
            self.turned.drain(..).try_for_each(|piece| tap.push(piece, out))?;
            if let Some((own, ready)) = &mut self.own {
                ready.extend(own.for_client(event));
            }
        }
        Ok(())
    }
}

impl Intake {
    /// For one answer.
    pub(crate) fn new(plan: ReplyPlan, mint: Mint, limits: Limits) -> Self {
        let dialect = plan.provider.dialect;
        let events = match dialect {
            Dialect::OpenAi if plan.responses => {
                Some(Events::Responses(responses::EventsIn::new(created(&mint))))
            }
            Dialect::OpenAi | Dialect::Ollama => None,
            Dialect::Anthropic => Some(Events::Anthropic(EventsIn::new(created(&mint)))),
            Dialect::Gemini => Some(Events::Gemini(gemini::EventsIn::new(created(&mint)))),
        };
        let own = plan.own.then(|| {
            let names = plan.mint.then(|| dialects_mint(dialect, &mint));
            (OwnEvents::new(dialect, names), Vec::new())
        });
        let foreign = events.map(|events| Box::new(Foreign { events, turned: Vec::new(), own }));
        Self { tap: Tap::new(plan, mint, limits), foreign }
    }

    /// Takes a piece and appends what the client shall get.
    pub(crate) fn push(&mut self, data: Bytes, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        match &mut self.foreign {
            None => self.tap.push(data, out),
            Some(foreign) => foreign.take(Some(data), (&mut self.tap, out)),
        }
    }

    /// The upstream's body has ended.
    pub(crate) fn finish(&mut self, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        if let Some(foreign) = &mut self.foreign {
            foreign.take(None, (&mut self.tap, out))?;
            foreign.finish();
            foreign.turned.drain(..).try_for_each(|piece| self.tap.push(piece, out))?;
        }
        self.tap.finish(out)
    }

    /// What the upstream has told of the usage before its stream ended.
    pub(crate) fn usage_so_far(&self) -> Option<Usage> {
        match &self.foreign.as_ref()?.events {
            Events::Anthropic(events) => events.usage_so_far(),
            Events::Gemini(events) => events.usage_so_far(),
            // It is told at the end alone.
            Events::Responses(_) => None,
        }
    }

    /// Whether any of the answer has come: words, calls, or signs of a tool at work at the vendor's. Until then another
    /// upstream may be asked.
    pub(crate) fn first_content_seen(&self) -> bool {
        let works = |foreign: &Foreign| match &foreign.events {
            Events::Responses(events) => events.works(),
            Events::Anthropic(_) | Events::Gemini(_) => false,
        };
        self.tap.first_content_seen() || self.foreign.as_deref().is_some_and(works)
    }

    /// What has come in the client's own dialect, as the upstream wrote it. `None`: it speaks another.
    pub(crate) fn take_own(&mut self) -> Option<Vec<Bytes>> {
        let Some(foreign) = &mut self.foreign else { return self.tap.take_own() };
        let (_, ready) = foreign.own.as_mut()?;
        Some(std::mem::take(ready))
    }
}
