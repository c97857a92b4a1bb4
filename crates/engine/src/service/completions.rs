//! `/v1/completions`: prompts continued as they stand, without the chat template.

use bytes::Bytes;
use cutover_wire::openai::completions::{self, Logprobs};
use cutover_wire::openai::{parse, write};
use cutover_wire::{Endpoint, Fault};

use super::chat::entries;
use super::fault::{invalid, unsupported};
use super::job::{self, Choice, Fields, Job, Running};
use super::{Answer, Service};
use crate::{GenerateRequest, Prompt};

/// What the dialect answers with when no limit is given.
const MAX_TOKENS: u64 = 16;

pub(super) async fn call(service: &Service, body: &Bytes) -> Result<Answer, Fault> {
    let request: completions::Request = parse(body)?;
    let (model, engine) = service.engine(&request.model)?;
    if request.echo == Some(true) {
        return Err(unsupported("echo", "it does not repeat the prompt"));
    }
    if request.suffix.as_ref().is_some_and(|s| !s.is_empty()) {
        return Err(unsupported("suffix", "its model cannot fill a gap"));
    }
    if request.best_of.is_some_and(|best| best > request.n.unwrap_or(1)) {
        return Err(unsupported("best_of", "it returns every choice that it makes"));
    }
    let fields = Fields {
        temperature: request.temperature,
        top_p: request.top_p,
        presence_penalty: request.presence_penalty,
        frequency_penalty: request.frequency_penalty,
        logit_bias: request.logit_bias.as_ref(),
        seed: request.seed,
    };
    let prompts: Vec<Prompt> = match request.prompt {
        completions::Prompt::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
        completions::Prompt::Tokens(lists) => lists.into_iter().map(Prompt::Tokens).collect(),
    };
    if prompts.is_empty() {
        return Err(invalid("prompt", "'prompt' must not be empty"));
    }
    let mut template = GenerateRequest::new(Prompt::Tokens(Vec::new()));
    template.max_tokens = job::limit(request.max_tokens.or(Some(MAX_TOKENS)));
    template.sampling = fields.sampling()?;
    template.stop = request.stop.unwrap_or_default().0;
    template.logprobs = request.logprobs.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let include_usage = request.stream_options.and_then(|o| o.include_usage).unwrap_or(false);
    let job = Job {
        endpoint: Endpoint::Completions,
        engine,
        model,
        prompts: prompts
            .into_iter()
            .map(|p| GenerateRequest { prompt: p, ..template.clone() })
            .collect(),
        choices: request.n,
        stream: request.stream.unwrap_or(false),
        include_usage,
    };
    job.answer(service, completion).await
}

fn completion(running: &Running, choices: Vec<Choice>) -> Bytes {
    let numbered = choices.into_iter().zip(0..);
    let choices = numbered
        .map(|(choice, index)| completions::Choice {
            text: choice.text,
            index,
            logprobs: running.logprobs.then(|| Logprobs::from_chat(&entries(&choice.tokens), 0).0),
            finish_reason: choice.finish.map(job::finish),
        })
        .collect();
    write(&completions::Completion::new(&running.mint, choices, Some(running.usage)))
}
