//! What a request asks for, and what the persona will say.

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::schema;
use super::script::{Call, Reply, split_words};
use super::{Persona, Setup};

/// Bytes per token in the fakes' own counting: simple, stable, close to English.
const TOKEN_BYTES: u64 = 4;

/// The routed members of a request, of whichever dialect.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) n: usize,
    pub(super) logprobs: Option<u64>,
    pub(super) prompt_tokens: u64,
    /// Ollama: the model thinks aloud before it answers.
    pub(super) thinks: bool,
    max_tokens: Option<usize>,
    schema: Option<Value>,
    tools: Vec<Value>,
    forced: Option<String>,
    /// Content of the last message, if that is a tool's answer.
    tool_answer: Option<String>,
    prompt: String,
}

/// What comes back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) tokens: Vec<String>,
    pub(super) calls: Vec<Call>,
    pub(super) finish: String,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
}

impl Ask {
    /// Reads a request of the OpenAI dialect as this persona's server would.
    pub(super) fn openai(body: &Value, setup: &Setup, chat: bool) -> Result<Self, Refusal> {
        if setup.persona != Persona::LlamaCpp {
            known_model(body, setup)?;
        }
        if !setup.stream_options && body.get("stream_options").is_some() {
            return Err(Refusal::Unrecognized { param: "stream_options" });
        }
        let messages = if chat { messages(body, setup)? } else { Vec::new() };
        let legacy = number(body, "max_tokens")?;
        // Ollama's /v1 has no such field: it neither refuses nor obeys it.
        let modern = match setup.persona {
            Persona::Ollama => None,
            _ => number(body, "max_completion_tokens")?,
        };
        let top = number(body, "top_logprobs")?.unwrap_or(0);
        if top > 20 {
            return Err(Refusal::TooManyLogprobs);
        }
        let logprobs = match body.get("logprobs") {
            Some(Value::Bool(true)) => Some(top),
            Some(Value::Number(count)) if !chat => count.as_u64(),
            _ => None,
        };
        let tools = list(body, "tools");
        check_tools(body, setup, &tools)?;
        let format = body.get("response_format");
        let schema = match format.and_then(|format| format["type"].as_str()) {
            Some("json_schema") => format.map(|format| format["json_schema"]["schema"].clone()),
            Some("json_object") => Some(json!({"type": "object"})),
            _ => body.pointer("/structured_outputs/json").cloned(),
        };
        let n = match setup.persona {
            Persona::Ollama => 1,
            _ => number(body, "n")?.unwrap_or(1),
        };
        let prompt = if chat { last_text(&messages) } else { body["prompt"].to_string() };
        let ask = Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            stream: body["stream"].as_bool().unwrap_or(false),
            include_usage: body["stream_options"]["include_usage"].as_bool().unwrap_or(false),
            n: usize::try_from(n).unwrap_or(1).max(1),
            logprobs,
            prompt_tokens: count(&messages, &body["prompt"]),
            thinks: false,
            max_tokens: modern.or(legacy).and_then(|limit| usize::try_from(limit).ok()),
            schema,
            // Ollama has no tool_choice.
            forced: match setup.persona {
                Persona::Ollama => None,
                _ => forced_tool(body, &tools),
            },
            tools,
            tool_answer: tool_answer(&messages),
            prompt,
        };
        ask.fits(setup)
    }

    /// Reads a request of Ollama's own dialect.
    pub(super) fn ollama(body: &Value, setup: &Setup, num_ctx: u64) -> Result<Self, Refusal> {
        known_model(body, setup)?;
        let messages = list(body, "messages");
        let options = &body["options"];
        for name in ["temperature", "top_p", "num_predict", "num_ctx", "seed"] {
            if options.get(name).is_some_and(|value| !value.is_number()) {
                return Err(Refusal::BadOption { name: name.to_owned() });
            }
        }
        let tools = list(body, "tools");
        if !tools.is_empty() && !setup.tools {
            return Err(Refusal::ToolsUnsupported { model: setup.first_model() });
        }
        let thinks = match &body["think"] {
            Value::Null => setup.thinking,
            Value::Bool(wanted) => *wanted,
            _ => true,
        };
        if thinks && !setup.thinking {
            return Err(Refusal::ThinkingUnsupported { model: setup.first_model() });
        }
        let schema = match body.get("format") {
            Some(Value::String(kind)) if kind == "json" => Some(json!({"type": "object"})),
            Some(schema @ Value::Object(_)) => Some(schema.clone()),
            _ => None,
        };
        let prompt_tokens = count(&messages, &body["prompt"]);
        let refuse_long = body["truncate"].as_bool() == Some(false) && !setup.ignores_truncate;
        if refuse_long && prompt_tokens > num_ctx {
            return Err(Refusal::Context { tokens: prompt_tokens, limit: num_ctx });
        }
        let predict = options["num_predict"].as_i64().and_then(|count| usize::try_from(count).ok());
        Ok(Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            stream: body["stream"].as_bool().unwrap_or(true),
            include_usage: true,
            n: 1,
            logprobs: body["logprobs"]
                .as_bool()
                .filter(|&wanted| wanted)
                .map(|_| body["top_logprobs"].as_u64().unwrap_or(0)),
            prompt_tokens: truncated(prompt_tokens, num_ctx),
            thinks,
            max_tokens: predict,
            schema,
            forced: None,
            tools,
            tool_answer: tool_answer(&messages),
            prompt: last_text(&messages) + body["prompt"].as_str().unwrap_or_default(),
        })
    }

    /// The context limit: refused, or cut silently where the real server does so.
    fn fits(mut self, setup: &Setup) -> Result<Self, Refusal> {
        if setup.persona == Persona::Ollama {
            self.prompt_tokens = truncated(self.prompt_tokens, setup.context);
        } else if self.prompt_tokens > setup.context {
            return Err(Refusal::Context { tokens: self.prompt_tokens, limit: setup.context });
        }
        Ok(self)
    }

    /// What the persona says: the script, else tools, schema or a greeting that names the fake.
    pub(super) fn answer(&self, reply: &Reply, setup: &Setup) -> Answer {
        let calls = if reply.calls.is_empty() { self.calls(setup) } else { reply.calls.clone() };
        let mut tokens = if !calls.is_empty() {
            Vec::new()
        } else if let Some(tokens) = &reply.tokens {
            tokens.clone()
        } else if let Some(schema) = &self.schema {
            split_words(&schema::instance(schema).to_string().replace(',', ", "))
        } else if let Some(answer) = &self.tool_answer {
            split_words(&format!("The tool said: {answer}"))
        } else {
            split_words(&format!("Hello from {}, how can I help?", setup.name))
        };
        let limit = self.max_tokens.unwrap_or(usize::MAX);
        let cut = tokens.len() > limit;
        tokens.truncate(limit);
        let finish = match &reply.finish {
            Some(finish) => finish.as_str(),
            None if !calls.is_empty() => "tool_calls",
            None if cut => "length",
            None => "stop",
        };
        let completion_tokens = if calls.is_empty() { tokens.len() } else { calls.len() * 8 };
        Answer {
            completion_tokens: completion_tokens as u64,
            tokens,
            calls,
            finish: finish.to_owned(),
            prompt_tokens: self.prompt_tokens,
        }
    }

    /// A tool is called when one is forced, or when the last message is the user's and says CALL_TOOL.
    fn calls(&self, setup: &Setup) -> Vec<Call> {
        // llama.cpp's server without a tool template drops tools without a word.
        if !setup.tools || self.tool_answer.is_some() {
            return Vec::new();
        }
        let wanted = self.forced.is_some() || self.prompt.contains("CALL_TOOL");
        let name_of = |tool: &Value| tool["function"]["name"].as_str().map(str::to_owned);
        let forced = self.forced.as_ref();
        let tool = self
            .tools
            .iter()
            .find(|tool| forced.is_none_or(|name| name_of(tool).as_ref() == Some(name)));
        match tool {
            Some(tool) if wanted => {
                let arguments = schema::instance(&tool["function"]["parameters"]);
                let arguments = match arguments {
                    Value::Object(_) => arguments.to_string(),
                    _ => "{}".to_owned(),
                };
                vec![Call { name: name_of(tool).unwrap_or_default(), arguments }]
            }
            _ => Vec::new(),
        }
    }
}

fn known_model(body: &Value, setup: &Setup) -> Result<(), Refusal> {
    let model = match body.get("model") {
        Some(Value::String(model)) => model.clone(),
        Some(_) => return Err(Refusal::BadType { param: "model".to_owned() }),
        None => String::new(),
    };
    let known = setup.models.contains(&model);
    if known { Ok(()) } else { Err(Refusal::UnknownModel { model }) }
}

fn messages(body: &Value, setup: &Setup) -> Result<Vec<Value>, Refusal> {
    match body.get("messages") {
        None => Err(Refusal::NoMessages),
        Some(Value::Array(list)) if list.is_empty() && setup.persona != Persona::LlamaCpp => {
            Err(Refusal::NoMessages)
        }
        Some(Value::Array(list)) => Ok(list.clone()),
        Some(_) => Err(Refusal::BadType { param: "messages".to_owned() }),
    }
}

fn check_tools(body: &Value, setup: &Setup, tools: &[Value]) -> Result<(), Refusal> {
    if tools.is_empty() || setup.tools {
        return Ok(());
    }
    match setup.persona {
        Persona::Vllm if body["tool_choice"] == "required" => Err(Refusal::ToolChoiceUnsupported),
        Persona::Vllm | Persona::Ollama => {
            Err(Refusal::ToolsUnsupported { model: setup.first_model() })
        }
        Persona::OpenAi | Persona::LlamaCpp | Persona::Gemini => Ok(()),
    }
}

fn forced_tool(body: &Value, tools: &[Value]) -> Option<String> {
    match &body["tool_choice"] {
        Value::String(choice) if choice == "required" => {
            tools.first()?["function"]["name"].as_str().map(str::to_owned)
        }
        choice => choice["function"]["name"].as_str().map(str::to_owned),
    }
}

fn tool_answer(messages: &[Value]) -> Option<String> {
    let last = messages.last()?;
    (last["role"] == "tool").then(|| text(&last["content"]))
}

fn last_text(messages: &[Value]) -> String {
    messages.last().map(|message| text(&message["content"])).unwrap_or_default()
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn count(messages: &[Value], prompt: &Value) -> u64 {
    let of = |text: &str| (text.len() as u64).div_ceil(TOKEN_BYTES);
    let said: u64 = messages.iter().map(|message| 4 + of(&text(&message["content"]))).sum();
    said + prompt.as_str().map_or(0, of)
}

/// Ollama keeps the first tokens and the newest half when a prompt does not fit, and says nothing.
fn truncated(tokens: u64, limit: u64) -> u64 {
    if tokens > limit { limit / 2 + 2 } else { tokens }
}

fn number(body: &Value, name: &str) -> Result<Option<u64>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_u64().map(Some).ok_or_else(|| Refusal::BadType { param: name.to_owned() })
        }
    }
}

fn list(body: &Value, name: &str) -> Vec<Value> {
    body.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}
