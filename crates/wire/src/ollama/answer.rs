//! Whole answers: from Ollama's form to the client's.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::spoken::{self, Spoken};
use crate::adapt::ReplyPlan;
use crate::endpoint::Endpoint;
use crate::mint::Mint;
use crate::openai::chat::{self, CallOut, CallOutFunction, Logprobs, TokenLogprob};
use crate::openai::embeddings::{Response, Vector};
use crate::openai::{completions, write};
use crate::reply::{Reply, UpstreamFault, of_value, openai};
use crate::usage::{Finish, TOKENS_MAX, Usage};

/// An answer of `/api/chat` or `/api/generate`, or one line of its stream.
#[derive(Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) message: Option<Said>,
    #[serde(default)]
    response: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    pub(super) done: bool,
    #[serde(default, deserialize_with = "if_readable")]
    done_reason: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    prompt_eval_count: Option<u64>,
    #[serde(default, deserialize_with = "if_readable")]
    eval_count: Option<u64>,
    #[serde(default)]
    pub(super) logprobs: Option<Vec<TokenLogprob>>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

/// What the model said.
#[derive(Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
}

impl Part {
    /// Reads an answer or line; an error in it is an upstream failure.
    pub(super) fn read(plan: &ReplyPlan, text: &[u8]) -> Result<Self, UpstreamFault> {
        let part: Self = serde_json::from_slice(text)
            .map_err(|_| UpstreamFault::unreadable("it is not an answer of Ollama's"))?;
        match (&part.error, part.done_reason.as_deref()) {
            (Some(error), _) => Err(of_value(plan, error)),
            // What a request without a prompt is answered with; none such is sent for a client.
            (None, Some("load" | "unload")) => Err(UpstreamFault::failed(
                "the upstream loaded or unloaded its model and said nothing",
            )),
            (None, _) => Ok(part),
        }
    }

    /// The text, of either endpoint.
    pub(super) fn text(&mut self) -> String {
        let said = self.message.as_mut().and_then(|said| said.content.take());
        said.or_else(|| self.response.take()).unwrap_or_default()
    }

    /// The reasoning, of either endpoint.
    pub(super) fn thinking(&mut self) -> Option<String> {
        let said = self.message.as_mut().and_then(|said| said.thinking.take());
        said.or_else(|| self.thinking.take()).filter(|text| !text.is_empty())
    }

    /// The tool calls in the client's form. Ids are made from the answer's own, numbered from `from`,
    /// where Ollama gives none.
    pub(super) fn calls(&mut self, mint: &Mint, from: u32) -> Vec<CallOut> {
        let calls = self.message.as_mut().and_then(|said| said.tool_calls.take());
        let numbered = calls.unwrap_or_default().into_iter().zip(from..);
        let suffix = mint.id.rsplit('-').next().unwrap_or_default();
        numbered
            .map(|(call, index)| CallOut {
                index: Some(index),
                id: call
                    .id
                    .filter(|id| !id.is_empty())
                    .unwrap_or_else(|| format!("call_{suffix}_{index}")),
                kind: "function",
                function: CallOutFunction {
                    name: call.function.name,
                    arguments: call
                        .function
                        .arguments
                        .map_or_else(|| "{}".to_owned(), |raw| as_text(raw.get())),
                },
            })
            .collect()
    }

    /// Why it ended.
    pub(super) fn finish(&self, called: bool) -> Finish {
        match self.done_reason.as_deref() {
            _ if called => Finish::ToolCalls,
            Some("length") => Finish::Length,
            _ => Finish::Stop,
        }
    }

    /// The tokens used. Older versions leave the prompt's count out if it was cached: it is then
    /// estimated, as is the answer's by its chunks.
    pub(super) fn usage(&self, plan: &ReplyPlan, chunks: u64) -> Usage {
        const BYTES_PER_TOKEN: u64 = 4;
        let (prompt, answer) = (believed(self.prompt_eval_count), believed(self.eval_count));
        let estimated = prompt.is_none() || answer.is_none();
        let prompt = prompt.unwrap_or(plan.prompt_bytes / BYTES_PER_TOKEN);
        Usage { estimated, ..Usage::new(prompt, answer.unwrap_or(chunks)) }
    }
}

/// What stands beside an answer, if it is of its kind: else it is as if it were missing, for no answer is thrown away
/// for a wrong counter.
fn if_readable<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let raw = <&RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// A call's arguments as text. What is the text of an object already is not made a text once more.
fn as_text(arguments: &str) -> String {
    let is_object = |text: &String| {
        let raw = serde_json::from_str::<&RawValue>(text);
        raw.is_ok_and(|raw| raw.get().starts_with('{'))
    };
    let text = serde_json::from_str::<String>(arguments).ok().filter(is_object);
    text.unwrap_or_else(|| arguments.to_owned())
}

/// A count, if it can be one.
fn believed(count: Option<u64>) -> Option<u64> {
    count.filter(|count| *count <= TOKENS_MAX)
}

/// The mint with the upstream's model name, if the client shall see that.
pub(super) fn named(plan: &ReplyPlan, mint: &Mint, model: Option<&str>) -> Mint {
    match model {
        Some(model) if !plan.mint => Mint { model: model.into(), ..mint.clone() },
        _ => mint.clone(),
    }
}

/// A call that was said in the text, in the client's form.
pub(crate) fn spoken_call(spoken: Spoken, mint: &Mint) -> CallOut {
    let suffix = mint.id.rsplit('-').next().unwrap_or_default();
    CallOut {
        index: Some(0),
        id: format!("call_{suffix}_0"),
        kind: "function",
        function: CallOutFunction { name: spoken.name, arguments: spoken.arguments },
    }
}

/// Whether the prompt was cut; an error where it must not be.
pub(super) fn whole(plan: &ReplyPlan, usage: &Usage) -> Result<bool, UpstreamFault> {
    match openai::truncated(plan, Some(usage)) {
        true if plan.must_be_whole => Err(UpstreamFault::prompt_cut(plan)),
        cut => Ok(cut),
    }
}

/// Converts a whole answer.
pub(crate) fn read(plan: &ReplyPlan, mint: &Mint, body: &Bytes) -> Result<Reply, UpstreamFault> {
    if plan.endpoint == Endpoint::Embeddings {
        return embeddings(plan, mint, body);
    }
    let mut part = Part::read(plan, body)?;
    if !part.done {
        return Err(UpstreamFault::unreadable("the answer is not complete"));
    }
    let mint = named(plan, mint, part.model.as_deref());
    let mut text = part.text();
    let usage = part.usage(plan, 0);
    let (body, finish) = if plan.endpoint == Endpoint::Completions {
        let finish = part.finish(false);
        let logprobs = part.logprobs.map(|list| completions::Logprobs::from_chat(&list, 0).0);
        let choice = completions::Choice { text, index: 0, logprobs, finish_reason: Some(finish) };
        (write(&completions::Completion::new(&mint, vec![choice], Some(usage))), finish)
    } else {
        let mut calls = part.calls(&mint, 0);
        if calls.is_empty()
            && let Some(spoken) = spoken::call(&text, &plan.spoken_tools)
        {
            calls.push(spoken_call(spoken, &mint));
            text.clear();
        }
        for call in &mut calls {
            call.index = None;
        }
        let finish = part.finish(!calls.is_empty());
        let message = chat::Answer {
            // Beside tool calls the text is null, as the vendor has it.
            content: (calls.is_empty() || !text.is_empty()).then_some(text),
            reasoning_content: part.thinking(),
            tool_calls: calls,
            ..chat::Answer::text("")
        };
        let logprobs = part.logprobs.map(Logprobs::new);
        let choice = chat::Choice { index: 0, message, logprobs, finish_reason: finish };
        (write(&chat::Completion::new(&mint, vec![choice], Some(usage))), finish)
    };
    let prompt_truncated = whole(plan, &usage)?;
    Ok(Reply {
        body,
        usage: Some(usage),
        finish: Some(finish),
        prompt_truncated,
        own: None,
        losses: Vec::new(),
    })
}

fn embeddings(plan: &ReplyPlan, mint: &Mint, body: &[u8]) -> Result<Reply, UpstreamFault> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        model: Option<String>,
        #[serde(default)]
        embeddings: Vec<Box<RawValue>>,
        #[serde(default, deserialize_with = "if_readable")]
        prompt_eval_count: Option<u64>,
        #[serde(default)]
        error: Option<serde_json::Value>,
    }
    let unreadable = || UpstreamFault::unreadable("it is no list of embeddings");
    let wire: Wire = serde_json::from_slice(body).map_err(|_| unreadable())?;
    if let Some(error) = &wire.error {
        return Err(of_value(plan, error));
    }
    let vectors: Option<Vec<Vector>> =
        wire.embeddings.iter().map(|raw| Vector::of_list(raw, plan.encoding)).collect();
    let vectors = vectors.filter(|all| !all.is_empty()).ok_or_else(unreadable)?;
    let mint = named(plan, mint, wire.model.as_deref());
    let estimate = plan.prompt_bytes / 4;
    let told = believed(wire.prompt_eval_count);
    let prompt_tokens = told.unwrap_or(estimate);
    let usage = Usage { estimated: told.is_none(), ..Usage::new(prompt_tokens, 0) };
    let prompt_truncated = whole(plan, &usage)?;
    Ok(Reply {
        body: write(&Response::new(&mint.model, vectors, prompt_tokens)),
        usage: Some(usage),
        finish: None,
        prompt_truncated,
        own: None,
        losses: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
