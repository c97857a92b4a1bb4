//! Asking upstreams: over the legs of the decision and the instances of each leg, until one answers.
//!
//! ```text
//!  leg: candidate ─ adapt ─ instance A ─ instance B ─┐ each failure: may another do better?
//!  leg: baseline  ─ adapt ─ instance C ──────────────┘ no content has reached the client yet
//! ```
//!
//! A failed candidate is always repeated on the baseline where the plan has one, even when the
//! candidate blamed the client: whether a request is at fault is the baseline's to say, since it is
//! what served the use case before. A failed baseline is repeated on another of its instances, and on
//! the same one only where `retries` says so.
//!
//! Second attempts at an upstream are taken out of its retry budget. The first attempt of a leg never
//! is: the baseline's answer for a failed candidate is what the user would have had without us.
//!
//! An answer counts as begun when the client is about to see some of it; until then a failure is invisible. One that
//! has no form in the client's dialect is a failure, too.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cutover_config::UpstreamMessages;
use cutover_dialects::ollama::OLLAMA;
use cutover_images::Bound;
use cutover_route::Leg;
use cutover_telemetry::events;
use cutover_units::{Arm, Code, Side};
use cutover_wire::adapt::Outgoing;
use cutover_wire::providers::Dialect;
use cutover_wire::{Fault, Head, Loss, Target};
use http::HeaderMap;

use crate::admission;
use crate::context_guard;
use crate::exchange::Exchange;
use crate::foreign::Turned;
use crate::live::{InstanceLane, Lane, UpstreamLane};
use crate::overflow;
use crate::rescue::Failure;
use crate::stream::Beginning;
use cutover_telemetry::marks::Mark;

mod asking;
mod count;
mod course;
pub(crate) mod hedge;
mod unseen;

pub(crate) use asking::{Asking, Landed, Opened, booked, collect, cut_off};
pub(crate) use count::{Uncounted, count, given_up};
use course::Next;
pub(crate) use course::{Course, judge, may};

/// Requests sent for one request of a client, at most. With SDKs that retry twice themselves it
/// bounds what one call can cost.
pub(crate) const ATTEMPTS_MAX: u32 = 4;

/// An answer that has begun.
pub(crate) enum Started {
    /// It is there as a whole.
    Whole {
        /// The body for the client.
        body: Bytes,
        /// The same in the upstream's own words, where they are the client's.
        own: Option<Bytes>,
        /// In the client's dialect, where that is another.
        turned: Option<Box<Turned>>,
        /// Headers of the upstream's that pass.
        headers: HeaderMap,
    },
    /// Its first content is there.
    Stream(Box<Opened>),
}

/// Asks until an answer begins, and gives the exchange back with it.
pub(crate) async fn ask(mut exchange: Box<Exchange>) -> Beginning {
    let result = run(&mut exchange).await;
    (exchange, result)
}

async fn run(exchange: &mut Exchange) -> Result<Started, Failure> {
    let mut legs = exchange.chosen.legs.clone();
    // What is told, and whether its leg was asked; the first leg that was spared because another could be asked.
    let (mut told, mut spared) = (None::<(Failure, bool)>, None);
    let (mut next, count) = (0, legs.len());
    while let Some(leg) = legs.get(next).copied() {
        let (at, before) = (next, exchange.attempts());
        let was_sent_on = exchange.admission.overflow.is_some();
        next += 1;
        let (failure, goes_on) = match unasked(exchange, &legs[at..]).await {
            Some(failure) => (failure, true),
            None => match run_leg(exchange, (leg, 0), &legs[next.min(count)..count]).await {
                Ok(started) => return Ok(started),
                Err(failure) => {
                    let elsewhere = failure.elsewhere || leg.arm == Arm::Candidate;
                    let goes_on = exchange.may_go_on() && elsewhere && !exchange.admission.kept;
                    (failure, goes_on)
                }
            },
        };
        if !was_sent_on && exchange.admission.overflow.is_some() {
            // If the baseline fails its excess, its own engine serves it late, and not nobody.
            legs.push(leg);
        }
        let (is_last, asked) = (next == legs.len(), exchange.attempts() > before);
        if !asked && !is_last && failure.may_pass() {
            spared = spared.or(Some(leg));
        }
        // Who was sent nothing did not fail in the place of who was.
        if asked || told.as_ref().is_none_or(|(_, asked)| !asked) {
            told = Some((failure, asked));
        }
        if is_last || !goes_on {
            break;
        }
    }
    let nobody_asked = told.as_ref().is_some_and(|(_, asked)| !asked);
    if let Some(leg) = spared.filter(|_| nobody_asked && exchange.may_go_on()) {
        // Whoever it was spared for does not take the request.
        exchange.chosen.legs.retain(|known| *known == leg);
        return run_leg(exchange, (leg, 0), &[]).await;
    }
    Err(told.map_or_else(|| unserved(exchange), |(failure, _)| failure))
}

/// There is no leg.
fn unserved(exchange: &Exchange) -> Failure {
    Failure::client(if exchange.chosen.local_only {
        Fault::new(Code::NoLocalUpstream, "no local upstream may serve this request")
    } else {
        unknown_model(&exchange.head.model)
    })
}

/// Why the first of these legs is not asked, if the one behind it can be instead.
async fn unasked(exchange: &mut Exchange, legs: &[Leg]) -> Option<Failure> {
    if passes_over(exchange, legs) {
        let live = Arc::clone(&exchange.live);
        return Some(nobody(exchange, live.lane(legs.first()?.variant)));
    }
    if !has_no_connection(exchange, legs)
        || !Box::pin(are_taking(exchange, legs.get(1..)?, true)).await
    {
        return None;
    }
    let failure = Failure::out_of_connections();
    // Where the next arm costs money that is not there, or has a line itself, it waits for a connection.
    let leg = *legs.first()?;
    let stays = overflow::would_rather_wait(exchange, leg, &failure);
    (!stays && overflow::goes_on(exchange, leg, &failure)).then(|| {
        course::limit_hit(&exchange.shared);
        exchange.trail.failed = Some(failure.reason);
        failure
    })
}

/// The upstream that would be asked first now.
pub(crate) fn first_asked(exchange: &mut Exchange) -> Option<Arc<UpstreamLane>> {
    let legs = exchange.chosen.legs.clone();
    let leg = legs.get(usize::from(passes_over(exchange, &legs)))?;
    Some(Arc::clone(&exchange.live.lane(leg.variant)?.upstream))
}

/// Whether the first of these legs is passed over by all that is known now: others may have come since the request did.
fn passes_over(exchange: &mut Exchange, legs: &[Leg]) -> bool {
    while is_passed_over(exchange, legs) {
        if !legs.first().is_some_and(|leg| exchange.looks_for_others(*leg)) {
            return true;
        }
    }
    false
}

/// Whether the first of these legs is a candidate that nobody can serve, while the leg behind it can be:
/// its instances rest, are down or are out. To ask one of them all the same would make each request wait for
/// an answer that is not expected. A baseline is asked whatever is known of it, for there is nobody else.
fn is_passed_over(exchange: &Exchange, legs: &[Leg]) -> bool {
    let [leg, next, ..] = legs else { return false };
    leg.arm == Arm::Candidate && !can_be_served(exchange, *leg) && can_be_served(exchange, *next)
}

/// Whether an instance of a leg can serve.
fn can_be_served(exchange: &Exchange, leg: Leg) -> bool {
    let lane = exchange.live.lane(leg.variant);
    lane.is_some_and(|lane| lane.upstream.can_serve(exchange.shared.now()))
}

/// Whether the first of these legs would wait for a connection, while the one behind it can be served
/// at once.
fn has_no_connection(exchange: &Exchange, legs: &[Leg]) -> bool {
    let [leg, next, ..] = legs else { return false };
    let is_full = |leg: &Leg| {
        let lane = exchange.live.lane(leg.variant);
        lane.is_some_and(|lane| lane.upstream.taking().all(|(_, one)| one.instance.is_full()))
    };
    is_full(leg) && can_be_served(exchange, *next) && !is_full(next)
}

/// No instance of a leg is asked.
fn nobody(exchange: &mut Exchange, lane: Option<&Lane>) -> Failure {
    let failure = Failure::of_nobody(lane.map(|lane| &*lane.upstream));
    exchange.trail.failed = Some(failure.reason);
    failure
}

/// No use case matches and there is no default upstream.
pub(crate) fn unknown_model(model: &str) -> Fault {
    let shown: String = model.chars().take(100).collect();
    let message = format!("the model '{shown}' does not exist; /v1/models lists those that do");
    Fault::of(Code::ModelNotFound, "model", message)
}

/// Asks one leg, and not again the instances with these bits. Behind it are these legs, which are asked where it fails.
async fn run_leg(
    exchange: &mut Exchange,
    (leg, tried): (Leg, u64),
    behind: &[Leg],
) -> Result<Started, Failure> {
    let live = Arc::clone(&exchange.live);
    exchange.trail.own = false;
    let Some(lane) = live.lane(leg.variant) else {
        return Err(Failure::client(unknown_model(&exchange.head.model)));
    };
    let adapted = match adapted(exchange, lane).await {
        Ok(outgoing) => context_guard::fits(exchange, leg, lane, outgoing)
            .map_err(|fault| in_clients_words(exchange, fault)),
        refused => refused,
    };
    let outgoing = match adapted {
        Ok(mut outgoing) => {
            outgoing.reply.clients_key = lane.upstream.pass_bearer;
            outgoing
        }
        Err(fault) => {
            let failure = Failure::refused(fault);
            exchange.trail.failed = Some(failure.reason);
            return Err(failure);
        }
    };
    exchange.trail.own = outgoing.reply.own;
    exchange.trail.losses = lost(exchange, lane, &outgoing);
    if is_priced_apart(exchange, &outgoing) && lane.bills(&exchange.head.model, exchange.started_at)
    {
        exchange.trail.marks.add(Mark::CostPartial);
    }
    let mut course = Course::new(lane, leg, &outgoing).after_those(tried);
    let mut last = None;
    while let Some(at) = course.pick(exchange) {
        let failure = match course.attempt(exchange, at).await {
            Ok(started) => return Ok(started),
            Err(failure) => told(exchange, (failure, last.take()), &outgoing),
        };
        let goes_on =
            (failure.elsewhere || course.has_larger(exchange, &failure)) && exchange.may_go_on();
        if goes_on && let Some(tried) = course.looks_beyond(exchange) {
            return beyond(exchange, (leg, tried), behind, failure).await;
        }
        let next = if goes_on {
            // Boxed, as few requests are asked again, and all would carry the room for it.
            let spares = course.spares(exchange);
            let is_last = behind.is_empty()
                || (spares
                    || course.asks_again(exchange, &failure)
                    || overflow::is_excess(exchange, leg, &failure))
                    && !Box::pin(are_taking(exchange, behind, spares)).await;
            course.after(exchange, &failure, is_last)
        } else {
            Next::End
        };
        let paused = match next {
            Next::Again(wait) => Box::pin(paused(exchange, &course, wait)).await,
            Next::Another => Ok(None),
            Next::End => Err(failure.retry_after_ms),
        };
        match paused {
            Ok(None) => last = Some(failure),
            Ok(Some(tried)) => return beyond(exchange, (leg, tried), behind, failure).await,
            Err(retry_after_ms) => return Err(Failure { retry_after_ms, ..failure }),
        }
    }
    match last {
        Some(failure) => Err(failure),
        // They left while it was on its way.
        None if exchange.looks_for_others(leg) => {
            Box::pin(run_leg(exchange, (leg, tried), behind)).await
        }
        None => Err(nobody(exchange, Some(lane))),
    }
}

/// Waits before the leg's upstream is asked again. Gives the bits of those that were tried where others replaced all of
/// its instances meanwhile. None in time: after how long to come back.
async fn paused(
    exchange: &mut Exchange,
    course: &Course<'_>,
    wait: Duration,
) -> Result<Option<u64>, Option<u32>> {
    admission::pause(exchange, &course.lane.upstream, wait).await?;
    Ok(course.looks_beyond(exchange))
}

/// A failure as its client is told of it. Who does not have the model says nothing of those that have it.
fn told(
    exchange: &Exchange,
    (failure, before): (Failure, Option<Failure>),
    outgoing: &Outgoing,
) -> Failure {
    let lacks = |failure: &Failure| failure.status == Some(404);
    if let Some(before) = before.filter(|before| lacks(&failure) && !lacks(before)) {
        return before;
    }
    let fault = in_senders_places(exchange, failure.fault, outgoing);
    let fault = with_its_name(exchange, fault);
    Failure { fault: in_clients_words(exchange, fault), ..failure }
}

/// The leg's instances have failed like this or left, and others came meanwhile: they are asked.
async fn beyond(
    exchange: &mut Exchange,
    (leg, tried): (Leg, u64),
    behind: &[Leg],
    failure: Failure,
) -> Result<Started, Failure> {
    let upstream = exchange.live.lane(leg.variant).map(|lane| Arc::clone(&lane.upstream));
    if !upstream.is_some_and(|upstream| may(exchange, &upstream, "retry")) {
        return Err(failure);
    }
    let before = exchange.attempts();
    // Boxed, as few requests come here.
    match Box::pin(run_leg(exchange, (leg, tried), behind)).await {
        Err(_) if exchange.attempts() == before => Err(failure),
        answer => answer,
    }
}

/// Whether one of these legs takes the request, and perhaps can be served. One that does not is sent nothing, so that
/// it mends nothing.
async fn are_taking(exchange: &mut Exchange, legs: &[Leg], served: bool) -> bool {
    let live = Arc::clone(&exchange.live);
    let before = (exchange.trail.prompt_bytes, exchange.trail.too_small);
    let mut taking = false;
    for leg in legs {
        let Some(lane) = live.lane(leg.variant) else { continue };
        if served && !can_be_served(exchange, *leg) {
            continue;
        }
        let Ok(outgoing) = adapted(exchange, lane).await else { continue };
        taking |= context_guard::fits(exchange, *leg, lane, outgoing).is_ok();
    }
    // They are the leg's that is under way.
    (exchange.trail.prompt_bytes, exchange.trail.too_small) = before;
    taking
}

/// Whether an answer may cost something else than what its tokens usually do: tools that run at the vendor's, its
/// faster mode, a tier of the client's choice.
fn is_priced_apart(exchange: &Exchange, outgoing: &Outgoing) -> bool {
    let foreign = exchange.foreign.as_ref().filter(|_| exchange.trail.own);
    let own = foreign.is_some_and(|own| own.chat.wants_vendors_tools() || own.chat.wants_speed());
    let kept = || !outgoing.losses.iter().any(|loss| loss.field == "service_tier");
    own || exchange.head.chooses_tier(&exchange.body) && kept()
}

/// An error about the request as it is sent on, in the words of the client that wrote it otherwise.
pub(crate) fn in_clients_words(exchange: &Exchange, fault: Fault) -> Fault {
    match &exchange.foreign {
        // What is known of Ollama's errors is told in the words of the chat that the request was read as.
        Some(foreign) if !exchange.trail.own || foreign.dialect.name == OLLAMA.name => {
            foreign.chat.in_clients_words(fault)
        }
        _ => fault,
    }
}

/// An upstream that does not have the model the client named: by that name, and where others are found.
fn with_its_name(exchange: &Exchange, fault: Fault) -> Fault {
    if fault.code != Code::ModelNotFound {
        return fault;
    }
    let Fault { message, .. } = unknown_model(&exchange.head.model);
    Fault { message, ..fault }
}

/// What an upstream says of a message, at the place where the request had it before the variant added its own.
fn in_senders_places(exchange: &Exchange, fault: Fault, outgoing: &Outgoing) -> Fault {
    let framed = outgoing.reply.provider.dialect == Dialect::OpenAi;
    let Some(tried) = exchange.trail.tried.filter(|_| framed) else { return fault };
    let Some(lane) = exchange.live.lane(tried.leg.variant) else { return fault };
    match form_for(exchange, &lane.target) {
        Ok((_, body)) => cutover_relay::in_senders_places(fault, body, outgoing),
        Err(_) => fault,
    }
}

/// The form of a request that a target takes.
fn form_for<'e>(exchange: &'e Exchange, target: &Target) -> Result<(&'e Head, &'e Bytes), Fault> {
    let other = exchange.foreign.as_ref().map(|foreign| foreign.chat.form_for(target));
    match other.transpose()?.flatten() {
        Some(form) => Ok((&form.head, &form.body)),
        None => Ok((&exchange.head, &exchange.body)),
    }
}

/// What is lost of a request on its way to a lane's target, by the client's names.
pub(crate) fn lost(exchange: &Exchange, lane: &Lane, outgoing: &Outgoing) -> Vec<Loss> {
    let Some(foreign) = exchange.foreign.as_ref().filter(|_| !outgoing.reply.own) else {
        return outgoing.losses.clone();
    };
    let before = foreign.chat.lost_for(&lane.target).iter().cloned();
    let then = outgoing.losses.iter().cloned();
    before.chain(then.map(|loss| foreign.chat.loss_in_clients_words(loss))).collect()
}

/// The request as a lane's upstream is sent it.
pub(crate) async fn adapted(exchange: &Exchange, lane: &Lane) -> Result<Outgoing, Fault> {
    lane.upstream.check_key(&exchange.headers)?;
    let (own, head, body) = (exchange.own_metadata(), &exchange.head, &exchange.body);
    let target = lane.target_for(head.endpoint, |name| head.metadata_said(body, own, name))?;
    let bound = Bound {
        images: &exchange.live.images,
        registry: &exchange.shared.registry,
        upstream: &lane.upstream.name,
        image_urls: lane.upstream.image_urls,
        local_only: exchange.chosen.local_only,
    };
    if let Some(adapted) = in_own_words(exchange, &bound, &target) {
        return adapted.map_err(|fault| in_clients_words(exchange, fault));
    }
    let (head, body) = form_for(exchange, &target)?;
    if let Some(fault) = exchange.foreign.as_ref().and_then(|it| it.chat.refused_by(&target)) {
        return Err(fault.clone());
    }
    let inside = if bound.concerns(head, body) {
        Box::pin(bound.inside(head, body)).await
    } else {
        Ok(None)
    };
    let adapted = inside.and_then(|form| match &form {
        Some(form) => cutover_relay::adapted(&form.head, &form.body, &target),
        None => cutover_relay::adapted(head, body, &target),
    });
    adapted.map_err(|fault| in_clients_words(exchange, fault))
}

/// The request as its client wrote it, where the target speaks the same and nothing must be done to it.
fn in_own_words(
    exchange: &Exchange,
    bound: &Bound<'_>,
    target: &Target,
) -> Option<Result<Outgoing, Fault>> {
    let own = exchange.foreign.as_ref()?.own_for(target)?;
    match bound.names_outside(&exchange.head, &exchange.body) {
        Ok(true) => None,
        Ok(false) => own.adapted((&exchange.head, &exchange.body), target),
        Err(fault) => Some(Err(fault)),
    }
}

fn attempt_failed(exchange: &Exchange, failure: &Failure) {
    let (served, at) = (exchange.served(), exchange.shared.now());
    let said = failure.said.as_deref();
    let message = said.and_then(|said| match exchange.live.limits.upstream_messages {
        UpstreamMessages::Words => said.known_words(),
        UpstreamMessages::Full => said.message(),
    });
    let said = said.map(|said| events::UpstreamSaid {
        kind: said.kind(),
        code: said.code(),
        message: message.as_deref(),
    });
    events::AttemptFailed {
        served,
        reason: failure.reason,
        by_client: failure.fault.code.row().side == Side::Client,
        status: failure.status,
        why: failure.why.as_deref(),
        said,
        at,
    }
    .emit(&exchange.shared.registry);
}

/// The next instance takes over what the last one failed at.
pub(crate) fn taken_over(exchange: &mut Exchange, next: &InstanceLane) {
    let Some(reason) = exchange.trail.failed.take() else { return };
    let (mut served, at) = (exchange.served(), exchange.shared.now());
    let chosen = exchange.chosen.legs.first().and_then(|leg| exchange.live.lane(leg.variant));
    if let Some(lane) = chosen.filter(|_| exchange.trail.tried.is_none()) {
        served.upstream = lane.upstream.name.as_str();
    }
    events::FailedOver { served, to_instance: next.id.as_str(), reason, at }
        .emit(&exchange.shared.registry);
}
