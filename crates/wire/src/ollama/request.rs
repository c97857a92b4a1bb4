//! Requests: from the client's dialect to Ollama's.

use bytes::Bytes;
use cutover_json::solid::solid_bytes;
use cutover_units::Code;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::messages::{self, Message};
use crate::adapt::{
    Loss, LossAction, Outgoing, dropped, is_neutral, plan, refuse_or_drop, stops, tools_rule,
};
use crate::endpoint::Endpoint;
use crate::errors::Fault;
use crate::head::{Head, Key};
use crate::json;
use crate::openai::completions::Prompt;
use crate::openai::sampling::{FormatKind, ResponseFormat, Stop};
use crate::openai::{chat, embeddings};
use crate::providers::Act;
use crate::structured::{self, Form};
use crate::target::{OllamaSettings, Target, Think};

/// The dialect's own default limit for completions; chat has none.
const COMPLETION_TOKENS_DEFAULT: u64 = 16;

/// What all three of Ollama's endpoints take.
#[derive(Serialize)]
struct Common<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<Value>,
    truncate: bool,
    #[serde(skip_serializing_if = "Map::is_empty")]
    options: Map<String, Value>,
}

/// What its two generating endpoints take.
#[derive(Serialize)]
struct Generating<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    stream: bool,
    /// Off: an answer that fills the context ends with `length`, as with any other engine, instead of
    /// going on without the start of the conversation.
    shift: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
}

#[derive(Serialize)]
struct Chat<'a> {
    #[serde(flatten)]
    base: Generating<'a>,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Generate<'a> {
    #[serde(flatten)]
    base: Generating<'a>,
    prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<String>,
    raw: bool,
}

#[derive(Serialize)]
struct Embed<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    input: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

/// Converts a request.
pub(crate) fn convert(head: &Head, body: &Bytes, target: &Target) -> Result<Outgoing, Fault> {
    let mut work = Work { head, body, target, losses: Vec::new(), skipped: Vec::new() };
    work.check_fields()?;
    match head.endpoint {
        Endpoint::ChatCompletions => work.chat(),
        Endpoint::Completions => work.completion(),
        Endpoint::Embeddings => work.embedding(),
    }
}

struct Work<'a> {
    head: &'a Head,
    body: &'a Bytes,
    target: &'a Target,
    losses: Vec<Loss>,
    /// Fields that were dropped: not to be carried.
    skipped: Vec<Key>,
}

impl<'a> Work<'a> {
    /// Sorts every field of the request: carried, refused, or dropped and reported.
    fn check_fields(&mut self) -> Result<(), Fault> {
        const UNKNOWN: &str = "Ollama's API has no such field";
        for (index, member) in self.head.members.iter().enumerate() {
            let raw = self.head.text(self.body, &member.value);
            let rule = tools_rule(member.key, self.target)
                .or_else(|| self.target.provider.rule(member.key, self.head.endpoint));
            let (name, why, act) = match rule {
                Some(rule) if rule.act == Act::Carry => continue,
                Some(rule) if is_neutral(rule, raw) => {
                    self.skipped.push(member.key);
                    continue;
                }
                Some(rule) => (member.key.name().to_owned(), rule.why, rule.act),
                None if raw == "null" => continue,
                None => (self.head.member_name(self.body, index), UNKNOWN, Act::Refuse),
            };
            self.losses.push(match act {
                Act::Drop => dropped(&name, why),
                _ => refuse_or_drop(&name, why, self.target.unsupported)?,
            });
            self.skipped.push(member.key);
        }
        Ok(())
    }

    /// A field's raw text, unless it is absent, null or dropped.
    fn raw(&self, key: Key) -> Option<&'a str> {
        self.head.raw(self.body, key).filter(|_| !self.skipped.contains(&key))
    }

    /// A field in its typed form.
    fn field<T: serde::de::DeserializeOwned>(&self, key: Key) -> Result<Option<T>, Fault> {
        self.raw(key).map(|raw| json::typed(raw, key.name())).transpose()
    }

    fn model(&self) -> &'a str {
        self.target.model.as_deref().unwrap_or(&self.head.model)
    }

    fn chat(mut self) -> Result<Outgoing, Fault> {
        let raw = self.raw(Key::Messages).unwrap_or("[]");
        let list: Vec<chat::Message> = json::typed(raw, "messages")?;
        if list.is_empty() {
            // Ollama would take this as the wish to load the model.
            return Err(empty("messages"));
        }
        let shaped = structured::shape(self.head, self.body, self.target)?;
        let own = self.target.settings.framing.as_deref();
        let framing = shaped.as_ref().and_then(|shaped| shaped.framing.as_ref()).or(own);
        let converted = messages::convert(list, (framing, self.target))?;
        self.losses.extend(converted.losses);
        let format = match shaped.as_ref().map(|shaped| &shaped.form) {
            Some(Form::Gone) => None,
            Some(Form::Json) => RawValue::from_string("\"json\"".to_owned()).ok(),
            _ => self.format()?,
        };
        let tools = self.tools()?;
        let logprobs = self.field::<bool>(Key::Logprobs)?.filter(|&wanted| wanted);
        let top_logprobs = self.field(Key::TopLogprobs)?;
        let base = self.generating(logprobs, top_logprobs)?;
        let plain = format.is_none() && shaped.is_none();
        let spoken = tools.filter(|_| plain).map(names).transpose()?.unwrap_or_default();
        let request = Chat { base, messages: converted.messages, tools, format };
        let text = json::to_vec(&request);
        let mut outgoing = self.outgoing("/api/chat", text, converted.text_bytes);
        outgoing.reply.spoken_tools = spoken.into();
        outgoing.reply.repair = shaped.and_then(|shaped| shaped.repair);
        Ok(outgoing)
    }

    fn completion(mut self) -> Result<Outgoing, Fault> {
        const ONE: &str = "Ollama takes one text per request";
        let prompt = match self.field::<Prompt>(Key::Prompt)? {
            Some(Prompt::Texts(texts)) => <[String; 1]>::try_from(texts).ok(),
            _ => None,
        };
        let Some([prompt]) = prompt else { return Err(Fault::unsupported("prompt", ONE)) };
        if prompt.is_empty() {
            return Err(empty("prompt"));
        }
        if self.target.settings.framing.is_some() {
            self.losses.push(dropped("variant.system_prompt", crate::adapt::NO_SYSTEM_MESSAGE));
        }
        let suffix: Option<String> = self.field(Key::Suffix)?;
        // Filling in the middle is the template's work: there is no raw form of it.
        let raw = !self.target.settings.ollama.completions_use_template && suffix.is_none();
        let top: Option<u32> = self.field(Key::Logprobs)?;
        let base = self.generating(top.map(|_| true), top)?;
        let text_bytes = solid_bytes(&prompt);
        let text = json::to_vec(&Generate { base, prompt: &prompt, suffix, raw });
        Ok(self.outgoing("/api/generate", text, text_bytes))
    }

    fn embedding(self) -> Result<Outgoing, Fault> {
        const TEXTS: &str = "Ollama embeds texts, not token ids";
        let Some(Prompt::Texts(input)) = self.field(Key::Input)? else {
            return Err(Fault::unsupported("input", TEXTS));
        };
        let encoding: Option<embeddings::Encoding> = self.field(Key::EncodingFormat)?;
        let text_bytes = input.iter().map(|text| solid_bytes(text)).sum();
        let mut options = Map::new();
        self.context_option(&mut options);
        let dimensions = self.field(Key::Dimensions)?;
        let request = Embed { common: self.common(options), input, dimensions };
        let text = json::to_vec(&request);
        let mut outgoing = self.outgoing("/api/embed", text, text_bytes);
        outgoing.reply.encoding = encoding.unwrap_or_default();
        Ok(outgoing)
    }

    fn outgoing(self, path: &'static str, body: Vec<u8>, prompt_bytes: u64) -> Outgoing {
        let mut reply = plan(self.head, self.target);
        reply.prompt_bytes = prompt_bytes;
        reply.must_be_whole = !self.target.settings.ollama.truncate;
        Outgoing { path: path.into(), body: vec![Bytes::from(body)], losses: self.losses, reply }
    }

    fn common(&self, options: Map<String, Value>) -> Common<'a> {
        let settings = &self.target.settings.ollama;
        let keep_alive = keep_alive(settings);
        Common { model: self.model(), keep_alive, truncate: settings.truncate, options }
    }

    fn generating(
        &mut self,
        logprobs: Option<bool>,
        top_logprobs: Option<u32>,
    ) -> Result<Generating<'a>, Fault> {
        let options = self.options()?;
        let think = self.think()?;
        Ok(Generating {
            common: self.common(options),
            stream: self.head.stream,
            shift: false,
            think,
            logprobs,
            top_logprobs: top_logprobs.filter(|_| logprobs.is_some()),
        })
    }

    fn options(&self) -> Result<Map<String, Value>, Fault> {
        const NUMBERS: [(Key, &str); 6] = [
            (Key::FrequencyPenalty, "frequency_penalty"),
            (Key::PresencePenalty, "presence_penalty"),
            (Key::TopK, "top_k"),
            (Key::MinP, "min_p"),
            (Key::RepetitionPenalty, "repeat_penalty"),
            (Key::RepeatPenalty, "repeat_penalty"),
        ];
        let settings = &self.target.settings;
        let mut options = Map::new();
        self.context_option(&mut options);
        let temperature: Option<f64> = self.field(Key::Temperature)?;
        let temperature = temperature.or(settings.temperature).unwrap_or(1.0);
        options.insert("temperature".into(), Value::from(temperature));
        let top_p: Option<f64> = self.field(Key::TopP)?;
        options.insert("top_p".into(), Value::from(top_p.or(settings.top_p).unwrap_or(1.0)));
        if let Some(limit) = self.limit()? {
            options.insert("num_predict".into(), Value::from(limit));
        }
        if let Some(seed) = self.field::<i64>(Key::Seed)?.or(settings.seed) {
            options.insert("seed".into(), Value::from(seed));
        }
        let own = || self.field::<Stop>(Key::Stop).map(|own| own.map(|Stop(texts)| texts));
        if let Some(texts) =
            stops(self.raw(Key::Stop), self.target)?.map_or_else(own, |all| Ok(Some(all)))?
        {
            options.insert("stop".into(), Value::from(texts));
        }
        for (key, name) in NUMBERS {
            if let Some(number) = self.field::<f64>(key)? {
                let raw = self.raw(key).and_then(|raw| serde_json::from_str(raw).ok());
                options.insert(name.into(), raw.unwrap_or_else(|| Value::from(number)));
            }
        }
        Ok(options)
    }

    fn context_option(&self, options: &mut Map<String, Value>) {
        if let Some(num_ctx) = self.target.settings.ollama.context_of(self.model()) {
            options.insert("num_ctx".into(), Value::from(num_ctx));
        }
    }

    /// The limit on generated tokens. Zero is refused: Ollama would take it as no limit.
    fn limit(&self) -> Result<Option<u64>, Fault> {
        let fallback = match self.head.endpoint {
            // Converted ones are from clients of Ollama's own API: who names no limit there wants none.
            Endpoint::Completions if !self.head.stream_options_are_ours => {
                Some(COMPLETION_TOKENS_DEFAULT)
            }
            _ => None,
        };
        let limit = self.head.max_tokens.or(self.target.settings.max_tokens).or(fallback);
        if limit == Some(0) {
            let newer = self.raw(Key::MaxCompletionTokens).is_some();
            let name = if newer { "max_completion_tokens" } else { "max_tokens" };
            let message = format!("'{name}' must be at least 1");
            return Err(Fault::of(Code::InvalidValue, name, message));
        }
        Ok(limit)
    }

    fn think(&mut self) -> Result<Option<Value>, Fault> {
        const LEVELS: &str = "Ollama knows the levels low, medium and high";
        if self.head.endpoint != Endpoint::ChatCompletions {
            return Ok(None);
        }
        let effort: Option<String> = self.field(Key::ReasoningEffort)?;
        let (value, exact) = match effort.as_deref() {
            None => return Ok(self.target.settings.ollama.think.map(think_value)),
            Some("none") => (Value::Bool(false), true),
            Some("low") => (Value::from("low"), true),
            Some("medium") => (Value::from("medium"), true),
            Some("high") => (Value::from("high"), true),
            Some("minimal") => (Value::from("low"), false),
            Some("xhigh" | "max") => (Value::from("high"), false),
            Some(_) => {
                let message =
                    "'reasoning_effort' must be none, minimal, low, medium, high, xhigh or max";
                return Err(Fault::of(Code::InvalidValue, "reasoning_effort", message));
            }
        };
        if !exact {
            let field = "reasoning_effort".to_owned();
            self.losses.push(Loss { field, action: LossAction::Approximated, why: LEVELS });
        }
        Ok(Some(value))
    }

    fn format(&mut self) -> Result<Option<Box<RawValue>>, Fault> {
        const UNTOLD: &str =
            "Ollama holds the answer to the schema and tells the model nothing of it";
        let Some(format) = self.field::<ResponseFormat>(Key::ResponseFormat)? else {
            return Ok(None);
        };
        match format.kind {
            FormatKind::Text => Ok(None),
            FormatKind::JsonObject => Ok(RawValue::from_string("\"json\"".to_owned()).ok()),
            FormatKind::JsonSchema => {
                let named = format.json_schema;
                let told = named.as_ref().and_then(|named| named.description.as_ref());
                if told.is_some_and(|told| !told.is_empty()) {
                    self.losses.push(dropped("response_format.json_schema.description", UNTOLD));
                }
                let schema = named.and_then(|named| named.schema);
                let schema = schema.filter(|raw| raw.get().starts_with('{'));
                let missing = || Fault::missing("response_format.json_schema.schema");
                schema.map(Some).ok_or_else(missing)
            }
        }
    }

    /// The tools as the client wrote them. `tool_choice: "none"` leaves them out; other choices than
    /// `auto` were refused or reported before.
    fn tools(&mut self) -> Result<Option<&'a RawValue>, Fault> {
        let Some(raw) = self.raw(Key::Tools) else { return Ok(None) };
        if self.head.raw(self.body, Key::ToolChoice) == Some("\"none\"") {
            return Ok(None);
        }
        let list: Vec<chat::Tool> = json::typed(raw, "tools")?;
        let odd = list.iter().position(|tool| tool.kind != "function" || tool.function.is_none());
        if let Some(index) = odd {
            let param = format!("tools[{index}].type");
            return Err(Fault::unsupported(&param, "Ollama knows function tools only"));
        }
        let strict =
            |tool: &chat::Tool| tool.function.as_ref().is_some_and(|f| f.strict == Some(true));
        if list.iter().any(strict) {
            self.losses
                .push(dropped("tools[].function.strict", "Ollama holds no call to its schema"));
        }
        let raw = (!list.is_empty()).then(|| serde_json::from_str(raw).ok());
        Ok(raw.flatten())
    }
}

/// `keep_alive` as Ollama reads it, if the variant sets it.
pub(crate) fn keep_alive(settings: &OllamaSettings) -> Option<Value> {
    settings.keep_alive.as_deref().map(|text| match text.parse::<i64>() {
        // A bare number is seconds, and negative is for ever; as a text it would be refused.
        Ok(seconds) => Value::from(seconds),
        Err(_) => Value::from(text),
    })
}

/// The names of declared tools.
fn names(tools: &RawValue) -> Result<Vec<String>, Fault> {
    let list: Vec<chat::Tool> = json::typed(tools.get(), "tools")?;
    Ok(list.into_iter().filter_map(|tool| Some(tool.function?.name)).collect())
}

/// `think` as Ollama reads it.
pub(crate) fn think_value(think: Think) -> Value {
    match think {
        Think::Off => Value::Bool(false),
        Think::On => Value::Bool(true),
        Think::Low => Value::from("low"),
        Think::Medium => Value::from("medium"),
        Think::High => Value::from("high"),
    }
}

fn empty(param: &str) -> Fault {
    Fault::of(Code::InvalidValue, param, format!("'{param}' must not be empty"))
}
