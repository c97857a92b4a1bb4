//! What chat and plain completions share: from typed fields to engine requests, and the run of all
//! choices of a request.

use std::sync::Arc;

use cutover_units::Code;
use cutover_wire::openai::sampling::{FormatKind, LogitBias, ResponseFormat};
use cutover_wire::{Endpoint, Fault, Mint, Usage};
use serde_json::Value;

use super::fault::{self, invalid};
use super::{Answer, Body, EventStream, Service};
use crate::{Engine, Finish, GenerateRequest, Generation, OutputFormat, Sampling};

/// Choices that one request may ask for, over all its prompts.
const CHOICES_MAX: usize = 16;

/// The longest JSON schema that is read, as long as one that is checked elsewhere may be: a grammar is made of it on the
/// engine's own thread, where all others wait meanwhile.
const SCHEMA_BYTES_MAX: usize = 256 << 10;

/// Sampling fields as the dialect has them.
pub(super) struct Fields<'a> {
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) logit_bias: Option<&'a LogitBias>,
    pub(super) seed: Option<i64>,
}

impl Fields<'_> {
    /// A client that sets one of temperature and top_p takes both into its hands: the other one is
    /// then the dialect's 1, not the engine's default.
    pub(super) fn sampling(&self) -> Result<Sampling, Fault> {
        let mut sampling = Sampling::default();
        if self.temperature.is_some() || self.top_p.is_some() {
            sampling.temperature = self.temperature.map_or(1.0, narrow);
            sampling.top_p = self.top_p.map_or(1.0, narrow);
        }
        sampling.presence_penalty = self.presence_penalty.map_or(0.0, narrow);
        sampling.frequency_penalty = self.frequency_penalty.map_or(0.0, narrow);
        sampling.seed = self.seed.map(i64::cast_unsigned);
        for (token, bias) in self.logit_bias.into_iter().flatten() {
            let token = token
                .parse()
                .map_err(|_| invalid("logit_bias", "the keys of logit_bias must be token ids"))?;
            sampling.logit_bias.push((token, narrow(*bias)));
        }
        Ok(sampling)
    }
}

fn narrow(x: f64) -> f32 {
    crate::kernels::narrow(x)
}

/// `response_format`.
pub(super) fn format(format: Option<&ResponseFormat>) -> Result<OutputFormat, Fault> {
    const SCHEMA: &str = "response_format.json_schema.schema";
    let Some(format) = format else { return Ok(OutputFormat::Text) };
    Ok(match format.kind {
        FormatKind::Text => OutputFormat::Text,
        FormatKind::JsonObject => OutputFormat::JsonObject,
        FormatKind::JsonSchema => {
            let schema = format.json_schema.as_ref().and_then(|s| s.schema.as_deref());
            let schema = schema.ok_or_else(|| {
                Fault::of(Code::MissingField, SCHEMA, format!("'{SCHEMA}' is required"))
            })?;
            let long = schema.get().len();
            if long > SCHEMA_BYTES_MAX {
                let (long, most) = (long.div_ceil(1 << 10), SCHEMA_BYTES_MAX >> 10);
                let why = format!("the JSON schema is too long: {long} KiB, of at most {most} KiB");
                return Err(invalid(SCHEMA, why));
            }
            let schema: Value = serde_json::from_str(schema.get())
                .map_err(|e| invalid(SCHEMA, format!("the schema cannot be read: {e}")))?;
            OutputFormat::JsonSchema(schema)
        }
    })
}

/// `max_tokens` under any of its names.
pub(super) fn limit(tokens: Option<u64>) -> Option<usize> {
    tokens.map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// A request with all its choices.
pub(super) struct Job {
    pub(super) endpoint: Endpoint,
    pub(super) engine: Engine,
    pub(super) model: Arc<str>,
    /// One per prompt; each gives `choices` choices.
    pub(super) prompts: Vec<GenerateRequest>,
    pub(super) choices: Option<u32>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

/// Text, log-probabilities and end of one choice.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) text: String,
    pub(super) tokens: Vec<crate::TokenLogprob>,
    pub(super) finish: Option<Finish>,
}

/// A job whose prompts have all been accepted.
pub(super) struct Running {
    pub(super) endpoint: Endpoint,
    pub(super) mint: Mint,
    pub(super) generations: Vec<Generation>,
    pub(super) usage: Usage,
    pub(super) include_usage: bool,
    pub(super) logprobs: bool,
}

impl Job {
    /// Has every choice accepted by the engine, or none.
    pub(super) async fn start(self, service: &Service) -> Result<Running, Fault> {
        let each = usize::try_from(self.choices.unwrap_or(1)).unwrap_or(usize::MAX);
        let all = self.prompts.len().saturating_mul(each);
        if each == 0 || all > CHOICES_MAX {
            let message = format!("between 1 and {CHOICES_MAX} choices in all can be asked for");
            return Err(invalid("n", message));
        }
        let mut generations = Vec::with_capacity(all);
        let mut usage = Usage::default();
        let logprobs = self.prompts.iter().any(|p| p.logprobs.is_some());
        for prompt in self.prompts {
            for choice in 0..each {
                let mut request = prompt.clone();
                if let Some(seed) = &mut request.sampling.seed {
                    *seed = seed.wrapping_add(choice as u64);
                }
                let generation = self.engine.generate(request).await;
                let generation = generation.map_err(|e| fault::of(e, self.endpoint))?;
                if choice == 0 {
                    usage.prompt_tokens += generation.prompt_tokens as u64;
                }
                generations.push(generation);
            }
        }
        let mint = Mint { id: id(self.endpoint)?, model: self.model, created: service.now() };
        Ok(Running {
            endpoint: self.endpoint,
            mint,
            generations,
            usage,
            include_usage: self.include_usage,
            logprobs,
        })
    }

    /// Runs the job to an answer; `write` forms the body of one that is not a stream.
    pub(super) async fn answer(
        self,
        service: &Service,
        write: fn(&Running, Vec<Choice>) -> bytes::Bytes,
    ) -> Result<Answer, Fault> {
        let stream = self.stream;
        let mut running = self.start(service).await?;
        if stream {
            let body = Body::Events(Box::new(EventStream::new(running)));
            return Ok(Answer { status: 200, content_type: "text/event-stream", body });
        }
        let mut choices = Vec::new();
        for mut generation in std::mem::take(&mut running.generations) {
            choices.push(collect(&mut generation, &mut running.usage).await?);
        }
        Ok(super::json(write(&running, choices)))
    }
}

async fn collect(generation: &mut Generation, usage: &mut Usage) -> Result<Choice, Fault> {
    let mut choice = Choice::default();
    loop {
        match generation.events.recv().await {
            Some(crate::Event::Delta(delta)) => {
                choice.text.push_str(&delta.text);
                choice.tokens.extend(delta.tokens);
            }
            Some(crate::Event::Done(done)) => {
                count(usage, done.usage);
                choice.finish = Some(done.finish);
                return Ok(choice);
            }
            Some(crate::Event::Failed(reason)) => return Err(Fault::new(Code::Internal, reason)),
            None => return Err(Fault::new(Code::ShuttingDown, "the engine has stopped")),
        }
    }
}

/// Adds one choice's answer to the request's usage; its prompt is counted already.
pub(super) fn count(usage: &mut Usage, of_choice: crate::Usage) {
    usage.completion_tokens += of_choice.completion_tokens as u64;
    usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
    // The first choice tells what the cache held before this request.
    usage.cached_tokens.get_or_insert(of_choice.cached_tokens as u64);
}

fn id(endpoint: Endpoint) -> Result<String, Fault> {
    let random = getrandom::u64()
        .map_err(|_| Fault::new(Code::Internal, "this system gives no random numbers"))?;
    Ok(format!("{}{random:016x}", endpoint.id_prefix()))
}

/// The dialect's word for how a choice ended.
pub(super) fn finish(finish: Finish) -> cutover_wire::Finish {
    match finish {
        Finish::Stop => cutover_wire::Finish::Stop,
        Finish::Length => cutover_wire::Finish::Length,
    }
}
