//! Streams that broke off after content, continued elsewhere: only where the use case wants it and
//! nothing speaks against it.
//!
//! ```text
//!  instance A ├─ "Once upon a" ─✗
//!  instance B     prompt + "Once upon a" ├─ " time" ─ end     one stream, one id, marked `continued`
//! ```
//!
//! What must hold: text alone, both ways ([`cutover_vendors::continuation::is_safe`]); a target whose provider
//! takes the beginning of an answer; at most one continuation for a request; an attempt and a retry left.
//! A request of another dialect than OpenAI's is continued in the form it was turned into, behind the edge,
//! which sees one stream; but not where the upstream's own events pass the edge as they are. Another instance of the same variant is asked first: its
//! words are the same model's; but one that can serve goes before one that cannot or is full, and where one fails before
//! it has said a word the next is asked. Who may see the request is not asked anew: the legs are those that were
//! decided, and one that is not local never follows for a request that stays local.

use std::sync::Arc;

use bytes::Bytes;
use cutover_ledger::Cost;
use cutover_route::Leg;
use cutover_route::health::State;
use cutover_telemetry::families;
use cutover_units::{Arm, Code};
use cutover_vendors::continuation;
use cutover_wire::adapt::Outgoing;
use cutover_wire::extract::StreamExtractor;
use cutover_wire::providers::Dialect;
use cutover_wire::stream::pacing;
use cutover_wire::{Endpoint, Fault, Head, Prefill, Usage};
use memchr::memmem;

use crate::attempt::{Course, Opened, Started, may, taken_over};
use crate::exchange::{Exchange, micros};
use crate::live::Lane;
use crate::prices::tokens;
use crate::rescue::Failure;
use crate::stream::Beginning;
use cutover_telemetry::marks::Mark;

/// The most of an answer's events that are remembered: a longer one ends when it breaks off.
const STORY_BYTES_MAX: usize = 1 << 20;

/// What an answer has said so far. No `Debug`: it holds prompt and answer.
pub(crate) struct Story {
    prompt: Bytes,
    said: StreamExtractor,
    bytes: usize,
}

/// The part of an answer that came before it broke off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) usage: Usage,
    pub(crate) chunks: u64,
    /// Who gave it.
    pub(crate) arm: Arm,
    /// At that arm's price.
    pub(crate) cost: Option<Cost>,
}

impl Part {
    /// Both parts were taken, and both are billed.
    pub(crate) fn and(&self, rest: Option<Usage>) -> Usage {
        let rest = rest.unwrap_or_default();
        let prompt = self.usage.prompt_tokens.saturating_add(rest.prompt_tokens);
        let completion = self.usage.completion_tokens.saturating_add(rest.completion_tokens);
        Usage {
            cached_tokens: rest.cached_tokens,
            cache_write_tokens: rest.cache_write_tokens,
            reasoning_tokens: rest.reasoning_tokens,
            estimated: true,
            ..Usage::new(prompt, completion)
        }
    }
}

impl Story {
    /// Begins to remember an answer, if it may be continued. Before the request's body is let go.
    pub(crate) fn of(exchange: &Exchange) -> Option<Box<Self>> {
        let wanted = exchange
            .endurance()
            .is_some_and(|e| e.on_interrupt == cutover_config::OnInterrupt::Continue);
        if !wanted || exchange.trail.own || targets(exchange).next().is_none() {
            return None;
        }
        let (head, body) = exchange.chat().ok()?;
        if !continuation::is_safe(head, body) {
            return None;
        }
        let prompt = body.clone();
        Some(Box::new(Self { prompt, said: StreamExtractor::default(), bytes: 0 }))
    }

    /// Remembers a piece. False: it cannot be continued any more.
    pub(crate) fn keep(&mut self, piece: &Bytes) -> bool {
        self.bytes = self.bytes.saturating_add(piece.len());
        self.said.push(piece.clone());
        // What is no text cannot be given back as the beginning of an answer, and one that has ended has no rest.
        self.bytes <= STORY_BYTES_MAX && self.said.is_plain()
    }
}

/// Where the rest may come from, the same leg and those behind it, each with how the fittest of its instances is.
fn targets(exchange: &Exchange) -> impl Iterator<Item = (State, Leg)> {
    let (tried, now) = (exchange.trail.tried, exchange.shared.now());
    let from = tried.map(|tried| tried.leg);
    let legs = exchange.chosen.legs.iter().copied().skip_while(move |leg| Some(*leg) != from);
    legs.filter_map(move |leg| {
        let lane = exchange.live.lane(leg.variant)?;
        let broke = tried.filter(|tried| tried.leg == leg).map(|tried| tried.instance);
        let others = lane.upstream.taking().filter(|(at, _)| Some(*at) != broke);
        let fittest = others.map(|(_, one)| one.state(now)).min()?;
        let may_see = lane.upstream.local || !exchange.chosen.local_only;
        let refuses =
            exchange.foreign.as_ref().is_some_and(|f| f.chat.refused_by(&lane.target).is_some());
        (may_see && !refuses && takes(exchange.endpoint, lane)).then_some((fittest, leg))
    })
}

/// Whether a lane's model goes on from the beginning of an answer. A prompt without a chat is nothing else,
/// where no template makes a chat of it.
fn takes(endpoint: Endpoint, lane: &Lane) -> bool {
    let templated = lane.target.settings.ollama.completions_use_template;
    match (endpoint, lane.target.provider.dialect) {
        (Endpoint::ChatCompletions, _) => lane.prefill != Prefill::None,
        (Endpoint::Completions, Dialect::OpenAi) => true,
        (Endpoint::Completions, Dialect::Ollama) => !templated,
        _ => false,
    }
}

/// Asks for the rest of an answer that broke off for this reason. Where nobody gives it, the request is what it was:
/// that of whose stream broke.
pub(crate) async fn ask(
    mut exchange: Box<Exchange>,
    story: Box<Story>,
    broke: &'static str,
) -> Beginning {
    if let Some(tried) = exchange.trail.tried {
        exchange.looks_beyond(tried.leg, 0);
    }
    let before = exchange.trail.tried;
    let result = rest(&mut exchange, *story).await;
    let taken = std::mem::replace(&mut exchange.trail.tried, before);
    if result.is_ok() {
        exchange.trail.failed = Some(broke);
        let live = Arc::clone(&exchange.live);
        let lane = taken.and_then(|taken| Some((live.lane(taken.leg.variant)?, taken.instance)));
        if let Some(next) = lane.and_then(|(lane, at)| lane.upstream.instances.get(at)) {
            taken_over(&mut exchange, next);
        }
        exchange.trail.tried = taken;
    } else {
        exchange.trail.failed = None;
        exchange.trail.before = None;
    }
    (exchange, result.map(|opened| Started::Stream(Box::new(opened))))
}

/// Nobody else gives it.
fn none() -> Failure {
    Failure::client(Fault::new(Code::Internal, "nobody can continue the answer"))
}

/// The rest, from the first that begins it.
async fn rest(exchange: &mut Exchange, story: Story) -> Result<Opened, Failure> {
    let text = story.said.plain().ok_or_else(none)?;
    let (broke, part) = (exchange.trail.tried, first_part(exchange));
    exchange.trail.before = Some(part);
    let mut targets: Vec<_> = targets(exchange).collect();
    // Of equals in their order. What an instance has to load first is its policy's to say.
    targets.sort_by_key(|(fittest, _)| (*fittest).max(State::Cold));
    let mut result = Err(none());
    for (_, leg) in targets {
        (exchange.trail.tried, exchange.trail.failed) = (broke, None);
        result = rest_of(exchange, leg, (&story.prompt, &text), part).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The rest, from one of a leg's instances.
async fn rest_of(
    exchange: &mut Exchange,
    leg: Leg,
    (prompt, text): (&Bytes, &str),
    part: Part,
) -> Result<Opened, Failure> {
    let live = Arc::clone(&exchange.live);
    let before = exchange.trail.tried.ok_or_else(none)?;
    let lane = live.lane(leg.variant).ok_or_else(none)?;
    // Anthropic refuses a beginning that ends in space, and without it the words would run together.
    let refused = lane.target.provider.dialect == Dialect::Anthropic
        && text.ends_with(|last: char| last.is_whitespace());
    if refused {
        return Err(none());
    }
    if !exchange.may_go_on() || !may(exchange, &lane.upstream, "continuation") {
        return Err(none());
    }
    let outgoing = outgoing((exchange, prompt), (text, part.chunks), lane);
    let outgoing = outgoing.map_err(Failure::client)?;
    let mut course = Course::new(lane, leg, &outgoing);
    if leg == before.leg {
        course = course.without(before.instance);
    }
    let at = course.pick(exchange).ok_or_else(none)?;
    let bills = |lane: &Lane| lane.bills(&exchange.head.model, exchange.started_at);
    let first = exchange.lane().is_some_and(|(lane, _, _)| bills(lane));
    if leg.variant != before.leg.variant && (first || bills(lane)) {
        // What the first part took is estimated.
        exchange.trail.marks.add(Mark::CostPartial);
    }
    if leg.variant != before.leg.variant {
        exchange.trail.too_small = 0;
    }
    let asking = course.begin(exchange, at)?;
    let sent_at = asking.sent_at();
    let result = asking.open(exchange).await;
    exchange.trail.asking_since = None;
    exchange.trail.waited_us += micros(sent_at.elapsed()).0;
    course.settle(exchange, &result);
    if result.is_ok() {
        exchange.trail.marks.add(Mark::Continued);
        let instance = lane.upstream.instances.get(at).map_or("", |lane| lane.id.as_str());
        let labels = [lane.upstream.name.as_str(), instance];
        exchange.shared.registry.counter(families::STREAMS_CONTINUED, labels).inc();
    }
    result
}

/// What the first part took. Upstreams tell it at the end, which this one did not reach.
fn first_part(exchange: &Exchange) -> Part {
    let chunks = exchange.trail.chunks;
    let told = exchange.trail.usage;
    let usage = told.unwrap_or_else(|| Usage {
        estimated: true,
        ..Usage::new(exchange.head.est_prompt_tokens, chunks)
    });
    let arm = exchange.lane().map_or(exchange.chosen.arm, |(_, _, arm)| arm);
    Part { usage, chunks, arm, cost: exchange.priced(tokens(&usage)) }
}

fn outgoing(
    (exchange, prompt): (&Exchange, &Bytes),
    said: (&str, u64),
    lane: &Lane,
) -> Result<Outgoing, Fault> {
    lane.upstream.check_key(&exchange.headers)?;
    let body = continuation::request(prompt, said, lane.prefill)?;
    let mut head = Head::read(exchange.endpoint, &body)?;
    head.stream_options_are_ours = exchange.head.stream_options_are_ours;
    let own = exchange.own_metadata();
    let target = lane.target_for(head.endpoint, |name| head.metadata_said(&body, own, name))?;
    let mut outgoing = cutover_relay::adapted(&head, &body, &target)?;
    outgoing.reply.clients_key = lane.upstream.pass_bearer;
    Ok(outgoing)
}

/// Pieces of the rest, on their way to a dialect that tells the usage without being asked for it.
pub(crate) fn told_whole(exchange: &Exchange, pieces: &mut [Bytes]) {
    let Some(before) = exchange.trail.before else { return };
    for piece in pieces {
        if memmem::find(piece, b"\"usage\"").is_some() {
            let events = pacing::split(piece.clone(), false);
            let events: Vec<_> =
                events.map(|event| continuation::with_part(&event, before.chunks)).collect();
            *piece = events.concat().into();
        }
    }
}

/// The rest's first pieces, without what the answer has said of itself already.
pub(crate) fn joined(pieces: Vec<Bytes>) -> Vec<Bytes> {
    let events = pieces.into_iter().flat_map(|piece| pacing::split(piece, false));
    events.filter_map(|event| continuation::without_role(&event)).collect()
}
