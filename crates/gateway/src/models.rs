//! `GET /v1/models`: what can be asked for here.
//!
//! The list is what configuration names (the models of use cases, models listed for upstreams) and what
//! the default upstream says it serves, asked when a client asks. A name of our own is found without
//! asking. Where the upstream must be asked and cannot be, the answer is an error: a shorter list, or a
//! 404, would say that models are gone which are only out of reach. An upstream that answers and has
//! no list adds nothing.

use std::borrow::Cow;
use std::time::Duration;

use cutover_units::{Code, Millis};
use cutover_upstream::{Deadlines, Outbound};
use cutover_wire::Fault;
use cutover_wire::openai::models::{List, Model, read_list};
use cutover_wire::openai::write;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;

use crate::attempt::unknown_model;
use crate::body::{Out, json};
use crate::live::{Live, UpstreamLane};

/// How long the default upstream may take to list its models.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest list read.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All models.
pub(crate) async fn list(
    live: &Live,
    headers: &HeaderMap,
    now: Millis,
) -> Result<Response<Out>, Fault> {
    gather(live, headers, now).await.map(|models| json(write(&List::new(models))))
}

/// One model.
pub(crate) async fn one(
    live: &Live,
    (id, headers): (&str, &HeaderMap),
    now: Millis,
) -> Result<Response<Out>, Fault> {
    find(live, (&unescaped(id), headers), now).await.map(|model| json(write(&model)))
}

/// What is known of one model.
pub(crate) async fn find(
    live: &Live,
    (id, headers): (&str, &HeaderMap),
    now: Millis,
) -> Result<Model, Fault> {
    if let Some(entry) = live.models.iter().find(|entry| entry.id == id) {
        return Ok(Model::new(&entry.id, now.0 / 1_000, &entry.owned_by));
    }
    let models = gather(live, headers, now).await?;
    models.into_iter().find(|model| model.id == id).ok_or_else(|| unknown_model(id))
}

/// A path's text without its percent escapes: SDKs write the slash of `org/model` as `%2F`. What is
/// no escape, or not UTF-8 without them, is taken as it stands.
pub(crate) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| first == b'%').and_then(|two| {
            let digit = |at: usize| char::from(two[at]).to_digit(16);
            u8::try_from(digit(0)? * 16 + digit(1)?).ok()
        });
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// All models that are known.
pub(crate) async fn gather(
    live: &Live,
    headers: &HeaderMap,
    now: Millis,
) -> Result<Vec<Model>, Fault> {
    let created = now.0 / 1_000;
    let named = live.models.iter();
    let mut models: Vec<_> =
        named.map(|entry| Model::new(&entry.id, created, &entry.owned_by)).collect();
    let default = live.snapshot.default_variant().and_then(|at| live.lane(at));
    if let Some(lane) = default
        && !live.default_is_listed
    {
        let owner = lane.upstream.name.as_str();
        let asked = timeout(ASK_TIMEOUT, ask(&lane.upstream, headers)).await;
        for listed in asked.ok().flatten().ok_or_else(out_of_reach)? {
            if models.iter().all(|model| model.id != listed) {
                models.push(Model::new(listed, created, owner));
            }
        }
    }
    Ok(models)
}

fn out_of_reach() -> Fault {
    let message = "the upstream could not be asked which models it has";
    Fault::new(Code::UpstreamUnavailable, message)
}

/// The names an upstream lists, none if it has no list to give; None if it could not be asked.
async fn ask(upstream: &UpstreamLane, client: &HeaderMap) -> Option<Vec<String>> {
    let instance = upstream.calmest()?;
    let mut headers = upstream.request_headers(client);
    headers.remove(header::CONTENT_TYPE);
    let outbound = Outbound {
        method: Method::GET,
        path_and_query: PathAndQuery::from_static("/v1/models"),
        headers,
        body: Vec::new(),
    };
    let deadlines = Deadlines { connect: upstream.timeouts.connect, first_byte: ASK_TIMEOUT };
    let response = instance.instance.send(outbound, deadlines).await.ok()?;
    match response.status() {
        status if status.is_success() => {}
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => return None,
        _ => return Some(Vec::new()),
    }
    let body = Limited::new(response.into_body(), LIST_BYTES_MAX).collect().await.ok()?;
    let listed = read_list(&body.to_bytes()).unwrap_or_default();
    Some(listed.into_iter().map(|model| model.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_is_read_as_sdks_write_it() {
        for (path, name) in [
            ("gpt-4o", "gpt-4o"),
            ("Qwen%2FQwen2.5-7B", "Qwen/Qwen2.5-7B"),
            ("qwen2.5%3A32b", "qwen2.5:32b"),
            ("m%C3%A9", "mé"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "%ff"),
        ] {
            assert_eq!(unescaped(path), name);
        }
    }
}
