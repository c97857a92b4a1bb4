//! The thread that turns requests into jobs: template, tokens, schema, context check.
//!
//! It exists so that neither the caller's event loop nor a slot busy with an answer does this work:
//! a prompt that is too long is refused at once, not after waiting for its turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc as sync_mpsc};

use tokio::sync::{mpsc, oneshot};

use super::Model;
use super::slot::{Job, Queue, Ticket};
use crate::grammar::STACK_BYTES;
use crate::request::Prompt;
use crate::sample::Sampler;
use crate::text::Text;
use crate::{Event, GenerateRequest, RequestError};

/// A request on its way in.
pub(super) struct Submission {
    pub(super) request: GenerateRequest,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) accepted: oneshot::Sender<Result<usize, RequestError>>,
    pub(super) ticket: Ticket,
}

/// The thread's door. The thread ends when the door is dropped.
pub(super) struct Intake {
    sender: sync_mpsc::Sender<Submission>,
}

impl Intake {
    pub(super) fn start(model: Arc<Model>, queue: Arc<Queue>) -> std::io::Result<Self> {
        let (sender, receiver) = sync_mpsc::channel();
        let thread = std::thread::Builder::new().name("engine-intake".into());
        thread.stack_size(STACK_BYTES).spawn(move || {
            for submission in receiver {
                admit(&model, &queue, submission);
            }
        })?;
        Ok(Self { sender })
    }

    pub(super) fn submit(&self, submission: Submission) -> Result<(), RequestError> {
        self.sender.send(submission).map_err(|_| RequestError::Stopped)
    }
}

fn admit(model: &Model, queue: &Queue, submission: Submission) {
    let Submission { request, events, accepted, ticket } = submission;
    if accepted.is_closed() {
        return;
    }
    // Templates, tokenizers and schemas are other people's; one that panics must not take the thread
    // and with it everybody's requests.
    let prepared = catch_unwind(AssertUnwindSafe(|| prepare(model, request)));
    match prepared.unwrap_or(Err(RequestError::Failed)) {
        Err(refusal) => drop(accepted.send(Err(refusal))),
        Ok(prepared) => {
            let prompt_tokens = prepared.prompt.len();
            // Queued before told, so that who is told can count on being in the queue. Events wait in
            // their channel; if the caller has gone, so has the channel's other end.
            queue.push(Job { prepared, events, ticket });
            drop(accepted.send(Ok(prompt_tokens)));
        }
    }
}

/// A request with everything worked out that needs no model run.
pub(super) struct Prepared {
    pub(super) prompt: Vec<u32>,
    pub(super) max_tokens: usize,
    pub(super) sampler: Sampler,
    pub(super) text: Text,
    pub(super) logprobs: Option<usize>,
    pub(super) constraint: Option<crate::grammar::Constraint>,
}

fn prepare(model: &Model, request: GenerateRequest) -> Result<Prepared, RequestError> {
    let prompt = tokens(model, request.prompt)?;
    let context = model.card.context;
    if prompt.len() >= context {
        return Err(RequestError::ContextLength {
            prompt_tokens: prompt.len(),
            context_tokens: context,
        });
    }
    let room = context - prompt.len();
    let unknown = |(token, _): &&(u32, f32)| *token as usize >= model.card.vocabulary;
    if let Some((token, _)) = request.sampling.logit_bias.iter().find(unknown) {
        let why = format!("the model has no token {token}");
        return Err(RequestError::invalid("logit_bias", why));
    }
    let seed = match request.sampling.seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(|_| {
            RequestError::invalid("seed", "this system gives no random numbers; name a seed")
        })?,
    };
    Ok(Prepared {
        max_tokens: request.max_tokens.unwrap_or(room).min(room),
        sampler: Sampler::new(request.sampling, seed),
        text: Text::new(request.stop),
        logprobs: request.logprobs,
        constraint: model.grammars.constraint(request.format)?,
        prompt,
    })
}

fn tokens(model: &Model, prompt: Prompt) -> Result<Vec<u32>, RequestError> {
    let text = match prompt {
        Prompt::Tokens(tokens) => {
            let known = |t: &u32| (*t as usize) < model.card.vocabulary;
            if tokens.is_empty() || !tokens.iter().all(known) {
                return Err(RequestError::invalid("prompt", "the prompt has no or unknown tokens"));
            }
            return Ok(tokens);
        }
        Prompt::Text(text) => text,
        Prompt::Messages(messages) => {
            let template = model.template.as_ref().ok_or_else(|| {
                let reason = "this model has no chat template; use a plain completion";
                RequestError::invalid("messages", reason)
            })?;
            template.render(&messages)?
        }
    };
    // Text that cannot fit whatever its tokens are is not worth splitting: that would keep others
    // waiting for as long as the sender likes.
    let at_least = text.len() / model.longest_token;
    if at_least > model.card.context {
        return Err(RequestError::ContextLength {
            prompt_tokens: at_least,
            context_tokens: model.card.context,
        });
    }
    let tokens = model
        .tokenizer
        .encode(&text)
        .map_err(|e| RequestError::invalid("prompt", format!("the prompt cannot be read: {e}")))?;
    if tokens.is_empty() {
        return Err(RequestError::invalid("prompt", "the prompt is empty"));
    }
    Ok(tokens)
}
