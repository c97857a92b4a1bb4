//! From a decided request to its response: whole, as a stream, or as an error.

use std::sync::Arc;

use cutover_units::Code;
use cutover_upstream::in_a_row;
use cutover_wire::Fault;
use http::{HeaderMap, HeaderValue, Response, header};
use tokio::sync::oneshot;

use crate::answer;
use crate::attempt::{self, Opened, Started};
use crate::body::{Out, json};
use crate::exchange::Exchange;
use crate::live::UpstreamLane;
use crate::rescue::{self, Failure};
use crate::stream::Relay;
use crate::{admission, foreign, responses};

/// Asks upstreams and answers. A stream that takes long to begin gets its head, and comments, first.
pub(crate) async fn infer(mut exchange: Box<Exchange>) -> Response<Out> {
    let full = admission::enter(&mut exchange);
    if exchange.head.stream {
        return stream(exchange, full).await;
    }
    if let Some(upstream) = full {
        // Boxed, as few requests wait, and all would carry the room for it.
        if let Err(failure) = Box::pin(admission::turn(&mut exchange, upstream)).await {
            return finish(exchange, Err(failure)).await;
        }
    }
    if exchange.cancels_with_client() {
        let (exchange, result) = attempt::ask(exchange).await;
        let response = finish(exchange, result).await;
        in_a_row().await;
        return response;
    }
    // The upstream must not be cut off when the client goes: a task of its own reads on.
    let tasks = exchange.shared.tasks.clone();
    let (sender, asked) = oneshot::channel();
    // Nobody to take it: it is let go, and recorded, before the task is counted as ended.
    tasks.spawn(async move { drop(sender.send(attempt::ask(exchange).await)) });
    match asked.await {
        Ok((exchange, result)) => finish(exchange, result).await,
        Err(_) => {
            let fault = Fault::new(Code::Internal, "the request's task failed");
            rescue::response(&Failure::client(fault), 1, None)
        }
    }
}

async fn stream(exchange: Box<Exchange>, full: Option<Arc<UpstreamLane>>) -> Response<Out> {
    let mut signed = HeaderMap::new();
    answer::sign_id(&mut signed, &exchange);
    let mut relay = Box::new(Relay::new(exchange, full));
    match relay.beginning().await {
        Some((exchange, Ok(Started::Stream(opened)))) => flowing(exchange, *opened, relay),
        Some((exchange, result)) => finish(exchange, result).await,
        None => {
            event_stream(&mut signed, relay.content_type());
            let mut response = Response::new(Out::Relay(relay));
            *response.headers_mut() = signed;
            response
        }
    }
}

fn flowing(exchange: Box<Exchange>, mut opened: Opened, mut relay: Box<Relay>) -> Response<Out> {
    let mut headers = std::mem::take(&mut opened.headers);
    event_stream(&mut headers, relay.content_type());
    answer::sign(&mut headers, &exchange);
    relay.begin(exchange, opened);
    let mut response = Response::new(Out::Relay(relay));
    *response.headers_mut() = headers;
    response
}

/// Answers a request that was decided and may not run.
pub(crate) fn refuse(mut exchange: Box<Exchange>, fault: Fault) -> Response<Out> {
    exchange.sample = None;
    finished(exchange, Err(Failure::client(fault)), &mut responses::Held::default())
}

/// Turns an answer that is there as a whole, or a failure, into a response; one to keep is written by then.
async fn finish(exchange: Box<Exchange>, result: Result<Started, Failure>) -> Response<Out> {
    let mut held = responses::Held::default();
    let response = finished(exchange, result, &mut held);
    held.over().await;
    response
}

fn finished(
    mut exchange: Box<Exchange>,
    result: Result<Started, Failure>,
    held: &mut responses::Held,
) -> Response<Out> {
    let failure = match result {
        Ok(Started::Whole { body, own, turned, headers }) => {
            exchange.keep(&body);
            let mut response = match turned {
                Some(turned) => {
                    held.keep(&exchange, turned.kept);
                    foreign::response(turned.answer)
                }
                None => json(own.unwrap_or(body)),
            };
            exchange.trail.status = 200;
            exchange.trail.answered = true;
            response.headers_mut().extend(headers);
            answer::sign(response.headers_mut(), &exchange);
            return response;
        }
        Err(failure) => residency(&exchange, failure),
        // A request that is no stream is answered whole: `attempt` sees to it.
        Ok(Started::Stream(_)) => {
            Failure::client(Fault::new(Code::Internal, "no stream was asked"))
        }
    };
    let mut response = rescue::response(&failure, exchange.attempts(), exchange.words());
    exchange.trail.status = response.status().as_u16();
    exchange.trail.code = Some(failure.fault.code);
    exchange.trail.answered = true;
    answer::sign(response.headers_mut(), &exchange);
    response
}

/// What stays local and was reached by nobody is told so, not only that somebody was away: the client may
/// know another way, and cutover may not.
fn residency(exchange: &Exchange, failure: Failure) -> Failure {
    if !exchange.chosen.local_only || failure.fault.code != Code::UpstreamUnavailable {
        return failure;
    }
    let message = "no local instance could be reached, and this request goes to no other";
    Failure { fault: Fault::new(Code::NoLocalUpstream, message), ..failure }
}

/// No proxy on the way may hold an event back.
fn event_stream(headers: &mut HeaderMap, content_type: &'static str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}
