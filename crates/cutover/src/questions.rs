//! Questions of scorers to configured variants: as a client of ours would ask, but past weights,
//! records and live metrics.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cutover_control::rollouts::{CallFailed, Called, Caller, Calling, Chat, Embed};
use cutover_evals::{ChatMessage, Role};
use cutover_gateway::{Lane, Live};
use cutover_ledger::Tokens;
use cutover_relay::{adapted, read};
use cutover_units::NanoUsd;
use cutover_upstream::{Body, Deadlines, Outbound};
use cutover_wire::extract::Extract;
use cutover_wire::{Endpoint, Head, Mint, Received, Target, Unsupported, Usage};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::clock;
use crate::process::Process;

/// Asks the variants of a process.
pub(crate) struct Questions(pub(crate) Arc<Process>);

impl Caller for Questions {
    fn chat(&self, ask: Chat) -> Calling<String> {
        let process = self.0.clone();
        Box::pin(async move {
            let to = To { variant: &ask.variant, local_only: ask.local_only };
            let body = chat_body(&ask.messages, ask.max_tokens, &ask.schema);
            let (said, cost) = to.ask(&process, Endpoint::ChatCompletions, body).await?;
            Ok(Called { answer: said.text, cost })
        })
    }

    fn embed(&self, ask: Embed) -> Calling<Vec<Vec<f32>>> {
        let process = self.0.clone();
        Box::pin(async move {
            let to = To { variant: &ask.variant, local_only: ask.local_only };
            let body = json!({ "model": ask.variant, "input": ask.texts });
            let (said, cost) = to.ask(&process, Endpoint::Embeddings, body).await?;
            let vectors = serde_json::from_str(&said.text);
            let answer = vectors.map_err(|_| failed("the answer holds no vectors"))?;
            Ok(Called { answer, cost })
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err calls it")]
fn failed(why: impl ToString) -> CallFailed {
    CallFailed::Failed(why.to_string())
}

fn chat_body(messages: &[ChatMessage], max_tokens: u32, schema: &Value) -> Value {
    let messages: Vec<Value> = messages
        .iter()
        .map(|message| {
            let role = match message.role {
                Role::System => "system",
                Role::User => "user",
            };
            json!({ "role": role, "content": message.content })
        })
        .collect();
    let form = json!({ "name": "verdict", "strict": true, "schema": schema });
    json!({
        "model": "judge",
        "messages": messages,
        "temperature": 0,
        "max_tokens": max_tokens,
        "response_format": { "type": "json_schema", "json_schema": form },
    })
}

/// Whom a question goes to.
struct To<'a> {
    variant: &'a str,
    local_only: bool,
}

impl To<'_> {
    async fn ask(
        &self,
        process: &Process,
        endpoint: Endpoint,
        body: Value,
    ) -> Result<(Extract, Option<NanoUsd>), CallFailed> {
        let gateway = process.gateway().ok_or_else(|| failed("the process is still starting"))?;
        let live = gateway.live();
        let lane = self.lane(&live)?;
        let body = Bytes::from(body.to_string());
        let head = Head::read(endpoint, &body).map_err(|fault| failed(fault.message))?;
        // A model that cannot be held to a form is asked all the same: its answer is checked.
        let target = lane.target_for(endpoint, |name| head.metadata(&body, name));
        let target = target.map_err(|fault| failed(fault.message))?;
        let target = Target { unsupported: Unsupported::Lenient, ..target.into_owned() };
        let outgoing = adapted(&head, &body, &target).map_err(|fault| failed(fault.message))?;
        let outbound = Outbound {
            method: Method::POST,
            path_and_query: PathAndQuery::try_from(&*outgoing.path).map_err(failed)?,
            headers: lane.upstream.headers.for_client(&HeaderMap::new()),
            body: outgoing.body.clone(),
        };
        let timeouts = lane.upstream.timeouts;
        let deadlines = Deadlines { connect: timeouts.connect, first_byte: timeouts.total };
        let instance = lane.upstream.calmest();
        let instance = instance.ok_or_else(|| failed("its upstream has no instance"))?;
        let response = instance.instance.send(outbound, deadlines).await.map_err(failed)?;
        let (parts, answer) = response.into_parts();
        let content_type = parts.headers.get("content-type").and_then(|v| v.to_str().ok());
        let received = Received {
            content_type,
            ..Received::new(
                parts.status.as_u16(),
                collect(answer, lane.upstream.answer_bytes_max).await?,
            )
        };
        let id = "scorer".to_owned();
        let mint = Mint { id, model: head.model.clone(), created: clock::now().0 / 1_000 };
        let (_, reply) = read(&outgoing.reply, &mint, received);
        let reply = reply
            // Its own words may quote the prompt, so only their kind is told.
            .map_err(|error| failed(format!("it answered with an error: {:?}", error.class)))?;
        let cost = reply.usage.and_then(|usage| price(lane, &head, usage));
        Ok((Extract::of_json(&reply.body), cost))
    }

    fn lane<'l>(&self, live: &'l Live) -> Result<&'l Lane, CallFailed> {
        let unknown = || CallFailed::Unknown(self.variant.to_owned());
        let variants = live.snapshot.variants();
        let at = variants.iter().position(|variant| variant.name.as_str() == self.variant);
        let lane = at.and_then(|at| live.lanes.get(at)).ok_or_else(unknown)?;
        if self.local_only && !lane.upstream.local {
            return Err(CallFailed::NotLocal(self.variant.to_owned()));
        }
        Ok(lane)
    }
}

/// What an answer cost. What nobody has a price for costs nothing at one's own engines.
fn price(lane: &Lane, head: &Head, usage: Usage) -> Option<NanoUsd> {
    let tokens = Tokens {
        prompt: usage.prompt_tokens,
        cached: usage.cached_tokens.unwrap_or(0),
        completion: usage.completion_tokens,
    };
    let model = lane.target.model.as_ref().unwrap_or(&head.model);
    let known = lane.price.cost(model, tokens, clock::now()).map(|cost| cost.amount);
    known.or_else(|| lane.upstream.own.then_some(NanoUsd(0)))
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, CallFailed> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(failed)?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(failed("the answer is too large"));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
