//! A prompt that surely does not fit is not sent.
//!
//! Engines answer such a prompt with an error, after queueing for it; Ollama would answer a part of it.
//! What is refused here is only what cannot fit: tokens are estimated from below
//! ([`cutover_wire::context`]), with the figure that each model's own answers have shown ([`Gauge`]).
//! Everything between is the engine's to judge. A refused candidate's request goes to the baseline.
//!
//! Instances may hold contexts of unequal length. One whose own is surely exceeded is passed over, and where
//! one refuses what the estimate let pass, the largest is asked, or one of those that do not tell: it is its
//! limit that a client is told.
//!
//! Limits: the context length that requests are sent with (`num_ctx`) or that the engine was started
//! with bind everyone. What Ollama has loaded just now may be loaded anew for the next request, so that
//! it only keeps a candidate from being asked, where the baseline answers.

use cutover_route::Leg;
use cutover_units::{Arm, Code};
use cutover_upstream::health::Health;
use cutover_upstream::{Gauge, models};
use cutover_wire::context::{MILLIBYTES_PER_TOKEN, prompt_bytes, tokens_at_least};
use cutover_wire::providers::Dialect;
use cutover_wire::{Endpoint, Fault, Outgoing};

use crate::exchange::Exchange;
use crate::live::Lane;
use crate::ollama;

/// No engine has a shorter context: a prompt below it need not be looked at.
const TOKENS_LEAST: u64 = 256;

/// What a prompt must fit into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    tokens: u64,
    /// Whether it holds for the next request, too.
    lasts: bool,
}

/// Lets a request pass that may fit, with what its answer will be judged by.
pub(crate) fn fits(
    exchange: &mut Exchange,
    leg: Leg,
    lane: &Lane,
    mut outgoing: Outgoing,
) -> Result<Outgoing, Fault> {
    exchange.trail.prompt_bytes = 0;
    exchange.trail.too_small = 0;
    awaits_no_cold_model(exchange, leg, lane)?;
    if exchange.endpoint == Endpoint::Embeddings || !lane.target.provider.self_hosted {
        return Ok(outgoing);
    }
    let native = lane.target.provider.dialect == Dialect::Ollama;
    let gauge = gauge(lane, &exchange.head.model);
    let most = gauge.map_or(MILLIBYTES_PER_TOKEN, Gauge::millibytes_per_token);
    outgoing.reply.millibytes_per_token = most;
    let at_most =
        if native { outgoing.reply.prompt_bytes / 2 } else { exchange.head.est_prompt_tokens * 2 };
    if at_most <= TOKENS_LEAST {
        return Ok(outgoing);
    }
    let (limit, least) = limits(lane, &exchange.head.model);
    let bytes = match native {
        true => outgoing.reply.prompt_bytes,
        // Counting costs a pass over the prompt: for those alone that come near a limit.
        false if least.is_some_and(|least| at_most > least) => {
            exchange.chat().ok().and_then(|(head, body)| prompt_bytes(head, body)).unwrap_or(0)
        }
        false => 0,
    };
    exchange.trail.prompt_bytes = bytes;
    let tokens = tokens_at_least(bytes, most);
    if least.is_some_and(|least| tokens > least) {
        exchange.trail.too_small |= smaller_than(tokens, lane, &exchange.head.model);
    }
    let Some(limit) = limit.filter(|_| !native || outgoing.reply.must_be_whole) else {
        return Ok(outgoing);
    };
    let likely = gauge.and_then(Gauge::millibytes_per_token_of_its_kind);
    if native && limit.lasts && likely.is_some_and(|of| tokens_at_least(bytes, of) > limit.tokens) {
        outgoing.reply.overfull_context = u32::try_from(limit.tokens).unwrap_or(0);
    }
    let elsewhere = leg.arm == Arm::Candidate && exchange.chosen.legs.len() > 1;
    if tokens <= limit.tokens || !(limit.lasts || elsewhere) {
        return Ok(outgoing);
    }
    let message = format!(
        "the prompt has at least {tokens} tokens; the upstream's context holds {}",
        limit.tokens
    );
    Err(Fault::of(Code::ContextLengthExceeded, exchange.endpoint.prompt_field(), message))
}

/// Has a candidate that is not in memory read in while the baseline answers, where that is wished.
fn awaits_no_cold_model(exchange: &mut Exchange, leg: Leg, lane: &Lane) -> Result<(), Fault> {
    let use_case = exchange.chosen.use_case.and_then(|at| exchange.live.use_case(at));
    let wished = use_case.is_some_and(|use_case| use_case.baseline_while_cold);
    let elsewhere = leg.arm == Arm::Candidate && exchange.chosen.legs.len() > 1;
    let now = exchange.shared.now();
    if !(wished && elsewhere) {
        return Ok(());
    }
    if let Some(cold) = ollama::beside_warm(lane, &exchange.head.model, now) {
        exchange.trail.too_small = cold;
        return Ok(());
    }
    ollama::warm_one(&exchange.shared, lane, now);
    Err(Fault::new(Code::Overloaded, "the upstream reads its model in"))
}

/// What a whole answer told of its prompt.
pub(crate) fn learn(exchange: &Exchange) {
    let trail = &exchange.trail;
    let Some(usage) = trail.usage.filter(|usage| !usage.estimated && trail.code.is_none()) else {
        return;
    };
    if trail.prompt_bytes == 0 {
        return;
    }
    let Some((lane, _, _)) = exchange.lane() else { return };
    if let Some(gauge) = gauge(lane, &exchange.head.model) {
        // No other engine cuts.
        let native = lane.target.provider.dialect == Dialect::Ollama;
        let limit = native.then(|| limits(lane, &exchange.head.model).0).flatten();
        let context = limit.map(|limit| limit.tokens);
        gauge.learn(trail.prompt_bytes, usage.prompt_tokens, context);
    }
}

fn gauge<'a>(lane: &'a Lane, asked: &str) -> Option<&'a Gauge> {
    let upstream = &lane.upstream;
    let place = lane.model_place.or_else(|| models::place_of(&upstream.asked_models, asked))?;
    upstream.gauges.get(usize::from(place)).map(|gauge| &**gauge)
}

/// The longest context among the instances, if each of them tells, and the shortest that is told.
fn limits(lane: &Lane, asked: &str) -> (Option<Limit>, Option<u64>) {
    let model = lane.target.model.as_deref().unwrap_or(asked);
    let native = lane.target.provider.dialect == Dialect::Ollama;
    if native && let Some(tokens) = lane.target.settings.ollama.context_of(model) {
        return (Some(Limit { tokens: tokens.into(), lasts: true }), None);
    }
    let (mut longest, mut least, mut all_tell) = (None, None, true);
    for (_, told) in contexts(lane, asked) {
        all_tell &= told.is_some();
        longest = longest.max(told);
        least = [least, told].into_iter().flatten().min();
    }
    let limit = longest.filter(|_| all_tell).map(|tokens| Limit { tokens, lasts: !native });
    (limit, least)
}

/// The instances that take requests, and the context that each has for a model, if it tells.
fn contexts<'a>(
    lane: &'a Lane,
    asked: &'a str,
) -> impl Iterator<Item = (usize, Option<u64>)> + use<'a> {
    let model = lane.target.model.as_deref().unwrap_or(asked);
    let of = move |health: &Health| health.facts()?.context_of(model).map(u64::from);
    lane.upstream.taking().map(move |(at, lane)| (at, of(&lane.health)))
}

/// A bit for each instance whose context surely does not hold so many tokens. None of Ollama's, which has a
/// model anew for a longer prompt.
fn smaller_than(tokens: u64, lane: &Lane, asked: &str) -> u64 {
    if lane.target.provider.dialect == Dialect::Ollama {
        return 0;
    }
    let small = |told: Option<u64>| told.is_some_and(|context| context < tokens);
    let small = contexts(lane, asked).filter(|(at, told)| *at < 64 && small(*told));
    small.fold(0, |set, (at, _)| set | 1 << at)
}

/// A bit for each instance that holds no more than one that has refused a prompt as too long, as far as they
/// tell, if another may hold more: one that tells so, or of which nobody knows. None of a hosted service's
/// or Ollama's, whose instances hold the same.
pub(crate) fn no_larger_than(instance: usize, lane: &Lane, asked: &str) -> Option<u64> {
    let provider = lane.target.provider;
    if !provider.self_hosted || provider.dialect == Dialect::Ollama {
        return None;
    }
    let own = contexts(lane, asked).find(|(at, _)| *at == instance).and_then(|(_, told)| told);
    let others = || contexts(lane, asked).filter(|(at, _)| *at != instance && *at < 64);
    let most = others().filter_map(|(_, told)| told).max();
    let is_small = |told| most > Some(told) || own >= Some(told);
    let (small, may_hold): (Vec<_>, Vec<_>) =
        others().partition(|(_, told)| told.is_some_and(is_small));
    let set = small.into_iter().fold(1 << instance.min(63), |set, (at, _)| set | 1 << at);
    (!may_hold.is_empty()).then_some(set)
}
