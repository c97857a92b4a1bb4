//! Reading answers of the OpenAI dialect: whole ones, chunks, and errors in a stream.

use std::borrow::Cow;

use cutover_units::{Code, codes};
use cutover_wire::openai::chat::TokenLogprob;
use cutover_wire::{Endpoint, Fault, Finish, Usage};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::lost::{self, Lost};
use crate::signature;

/// An answer or a chunk of one; the members that the ingress dialects need.
#[derive(Deserialize)]
pub struct Answer<'a> {
    /// Who answered.
    #[serde(borrow, default)]
    pub model: Option<Cow<'a, str>>,
    /// The answers; none where the list is null, as beside the usage of some services.
    #[serde(default, deserialize_with = "or_none")]
    pub choices: Vec<Choice>,
    /// What it took, if it could be read.
    #[serde(default, deserialize_with = "readable")]
    pub usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

/// One of the answers, or a piece of it.
#[derive(Deserialize)]
pub struct Choice {
    /// Which of the answers.
    #[serde(default, deserialize_with = "or_none")]
    pub index: u64,
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    delta: Option<Said>,
    /// `/v1/completions`.
    #[serde(default)]
    pub text: Option<String>,
    /// Why it ended, if it has.
    #[serde(default)]
    pub finish_reason: Option<Finish>,
    /// vLLM: the stop sequence that was met (a text), or the token (a number).
    #[serde(default)]
    pub stop_reason: Option<Value>,
    #[serde(default)]
    logprobs: Option<Value>,
}

/// What is said, whole or a piece of it.
#[derive(Default, Deserialize)]
pub struct Said {
    /// The words.
    #[serde(default)]
    pub content: Content,
    /// What is said in place of an answer.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Reasoning, by the name of vLLM and llama.cpp.
    #[serde(default)]
    pub reasoning_content: Option<String>,
    // Not an alias: some engines send both names, and an alias would make that an error.
    /// Reasoning, by its shorter name.
    #[serde(default)]
    pub reasoning: Option<String>,
    /// Calls, or pieces of them.
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
    /// A call as chat completions had it before there were tools, or a piece of it.
    #[serde(default)]
    function_call: Option<Called>,
    /// Reasoning with what its maker needs to take it back: Anthropic's signatures.
    #[serde(default)]
    reasoning_details: Option<Vec<Value>>,
    /// Where the text is from.
    #[serde(default)]
    annotations: Option<Box<RawValue>>,
    #[serde(default)]
    images: Option<Box<RawValue>>,
    #[serde(default)]
    audio: Option<Box<RawValue>>,
}

/// What is said in words: a text, or the parts in which Mistral's reasoning models write it.
#[derive(Default)]
pub struct Content {
    /// The text, if there is any.
    pub text: Option<String>,
    thought: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SentContent {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thinking: Content,
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<SentContent>::deserialize(deserializer)? {
            None => Self::default(),
            Some(SentContent::Text(text)) => Self { text: Some(text), thought: None },
            Some(SentContent::Parts(parts)) => Self {
                text: Some(parts.iter().filter_map(|part| part.text.as_deref()).collect()),
                thought: Some(parts.iter().filter_map(|p| p.thinking.text.as_deref()).collect()),
            },
        })
    }
}

/// A call. Its id carries its signature, if its maker signed it.
#[derive(Deserialize)]
#[serde(from = "SentCall")]
pub struct Call {
    /// Which of the calls, in pieces.
    pub index: Option<u64>,
    /// Its id, in a call's first piece.
    pub id: Option<String>,
    /// What is called.
    pub function: Called,
}

/// A call as it comes.
#[derive(Deserialize)]
struct SentCall {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Called,
    #[serde(default)]
    extra_content: Option<Value>,
}

impl From<SentCall> for Call {
    fn from(sent: SentCall) -> Self {
        let SentCall { index, id, function, extra_content } = sent;
        let signed = extra_content.as_ref().and_then(|extra| {
            let text = extra.pointer("/google/thought_signature")?.as_str()?;
            Some(signature::join(id.as_deref()?, text))
        });
        Self { index, id: signed.or(id), function }
    }
}

/// A function by its name, with its arguments.
#[derive(Default, Deserialize)]
pub struct Called {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its arguments, or a piece of them.
    #[serde(default)]
    pub arguments: Option<String>,
}

/// A web page that a part of a text is from.
pub struct Source {
    /// Its address.
    pub url: String,
    /// Its title; empty if it was not told.
    pub title: String,
    /// Letters of the text before the part, and before its end.
    pub place: (u64, u64),
}

impl Source {
    /// From an annotation. `None`: it is of another kind.
    fn of(annotation: &Value) -> Option<Self> {
        let cited = annotation.get("url_citation")?;
        let text = |key: &str| cited[key].as_str();
        let number = |key: &str| cited[key].as_u64().unwrap_or(0);
        let place = (number("start_index"), number("end_index"));
        let title = text("title").unwrap_or_default().to_owned();
        Some(Self { url: text("url")?.to_owned(), title, place })
    }
}

/// A usage of another form is as good as none: the answer is the same.
fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Usage>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| Usage::read(Endpoint::ChatCompletions, &value.to_string())))
}

/// Null is what the member's absence is.
fn or_none<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Choice {
    /// What a chunk says. Some services end a stream with the whole message: it counts where nothing was said
    /// before.
    pub fn said(&mut self, is_first: bool) -> Said {
        let whole = self.message.take().filter(|_| is_first);
        self.delta.take().or(whole).unwrap_or_default()
    }

    /// The probabilities of the tokens, where they were asked for.
    pub fn logprobs(&self) -> Vec<TokenLogprob> {
        let content = self.logprobs.as_ref().and_then(|l| l.get("content"));
        let list = content.map(Vec::<TokenLogprob>::deserialize);
        list.and_then(Result::ok).unwrap_or_default()
    }

    /// The stop sequence that was met, where the engine tells it.
    pub fn stop_sequence(&self) -> Option<String> {
        self.stop_reason.as_ref().and_then(Value::as_str).map(str::to_owned)
    }
}

impl Said {
    /// What no dialect here has room for.
    pub fn lost(&self) -> Lost {
        let mut lost = Lost::default();
        for (part, raw) in [(lost::IMAGES, &self.images), (lost::AUDIO, &self.audio)] {
            if raw.as_ref().is_some_and(|raw| !matches!(raw.get(), "null" | "[]" | "{}" | "\"\"")) {
                lost.note(part);
            }
        }
        lost
    }

    /// The web pages that the text is from, and whether it is from anything else.
    pub fn sources(&self) -> (Vec<Source>, bool) {
        let Some(raw) = self.annotations.as_ref() else { return (Vec::new(), false) };
        let list: Option<Vec<Value>> = serde_json::from_str(raw.get()).ok();
        let list = list.unwrap_or_default();
        let sources: Vec<_> = list.iter().filter_map(Source::of).collect();
        let others = sources.len() < list.len();
        (sources, others)
    }

    /// Takes the calls out, or pieces of them. One of the old form is the only one, and has no id.
    pub fn take_calls(&mut self) -> Vec<Call> {
        let calls = self.tool_calls.take().unwrap_or_default();
        let says = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let told = |old: &Called| calls.is_empty() && (says(&old.name) || says(&old.arguments));
        let old = self.function_call.take().filter(told);
        let old = old.map(|function| Call { index: Some(0), id: None, function });
        calls.into_iter().chain(old).collect()
    }

    /// The signature of the reasoning, if its maker signs.
    pub fn signature(&self) -> Option<String> {
        let mut details = self.reasoning_details.as_ref()?.iter().rev();
        details.find_map(|detail| detail.get("signature")?.as_str()).map(str::to_owned)
    }

    /// Reasoning as its maker takes it back; empty if it has no signatures.
    pub fn signed(&self) -> Vec<Signed> {
        let text = |detail: &Value, key: &str| detail.get(key)?.as_str().map(str::to_owned);
        let details = self.reasoning_details.iter().flatten();
        let signed = details.filter_map(|detail| match text(detail, "data") {
            Some(data) => Some(Signed::Hidden(data)),
            None => Some(Signed::Open(
                text(detail, "text").unwrap_or_default(),
                text(detail, "signature")?,
            )),
        });
        signed.collect()
    }

    /// The reasoning, by whichever name it came.
    pub fn reasoning(&self) -> Option<&str> {
        let filled = |text: &'_ &String| !text.is_empty();
        let named = [&self.reasoning_content, &self.reasoning, &self.content.thought];
        named.into_iter().flatten().find(filled).map(String::as_str)
    }
}

/// What is said of an answer that is none.
pub fn unreadable() -> Fault {
    Fault::new(Code::BadGateway, "the upstream's answer could not be read")
}

/// Reads an answer or chunk. An error object in it is an error.
pub fn read(body: &[u8]) -> Result<Answer<'_>, Fault> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| unreadable())?;
    match &answer.error {
        None | Some(Value::Null) => Ok(answer),
        Some(error) => Err(fault_of(error)),
    }
}

/// The fault that an error body or event of the OpenAI dialect tells.
pub fn fault_of(error: &Value) -> Fault {
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    let named = text("code").and_then(|name| codes::TABLE.iter().find(|row| row.name == name));
    let message = text("message").unwrap_or("the upstream failed").to_owned();
    Fault {
        code: named.map_or(Code::BadGateway, |row| row.code),
        message,
        param: text("param").map(str::to_owned),
        vendors: None,
    }
}

/// Reads an error answer of the OpenAI dialect, for a caller that has the answer and not the fault. A
/// code that is not ours is told by the status.
pub fn read_error(status: u16, body: &[u8]) -> Fault {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = value.get("error").unwrap_or(&Value::Null);
    let fault = fault_of(error);
    if fault.code.status() == status {
        return fault;
    }
    let code = match codes::TABLE.iter().find(|row| row.status == status) {
        // The first row of 400 is about syntax, which says too much.
        Some(row) if status != 400 => row.code,
        _ if status < 500 => Code::InvalidRequest,
        _ => Code::BadGateway,
    };
    Fault { code, ..fault }
}

/// A part of reasoning that its maker signed.
pub enum Signed {
    /// Its text and signature.
    Open(String, String),
    /// Text that only its maker can read.
    Hidden(String),
}

impl Turn {
    /// What the answer loses in a dialect without room for the sources of a text.
    pub fn lost_with_sources(&self) -> Lost {
        let mut lost = self.lost.clone();
        if !self.sources.is_empty() {
            lost.note(lost::ANNOTATIONS);
        }
        lost
    }
}

/// A whole answer in pieces, in the order in which dialects with blocks tell them.
#[derive(Default)]
pub struct Turn {
    /// Who answered.
    pub model: Option<String>,
    /// Reasoning, by its shorter name.
    pub reasoning: Option<String>,
    /// Reasoning as its maker takes it back.
    pub signed: Vec<Signed>,
    /// The text, if there is any.
    pub text: Option<String>,
    /// What is said in place of an answer.
    pub refusal: Option<String>,
    /// The calls.
    pub calls: Vec<Call>,
    /// The probabilities of the tokens.
    pub logprobs: Vec<TokenLogprob>,
    /// The web pages that the text is from.
    pub sources: Vec<Source>,
    /// What has no room in any dialect here.
    pub lost: Lost,
    /// How it ended.
    pub end: End,
}

/// How an answer ended.
#[derive(Clone)]
pub struct End {
    /// Why it ended.
    pub finish: Finish,
    /// The stop sequence that was met.
    pub stop_sequence: Option<String>,
    /// What it took.
    pub usage: Usage,
    /// Whether a tool was called: some engines end such an answer with `stop`.
    pub called: bool,
}

impl Default for End {
    fn default() -> Self {
        Self { finish: Finish::Stop, stop_sequence: None, usage: Usage::default(), called: false }
    }
}

impl End {
    /// Whether calls may be cut off in the middle.
    pub fn is_cut(&self) -> bool {
        self.finish == Finish::Length
    }
}

/// Reads a whole answer; the first choice counts, as no dialect here asks for more.
pub fn turn(body: &[u8]) -> Result<Turn, Fault> {
    let answer = read(body)?;
    let usage = answer.usage.unwrap_or_default();
    let model = answer.model.map(Cow::into_owned).filter(|m| !m.is_empty());
    let choice = answer.choices.into_iter().next().ok_or_else(unreadable)?;
    let filled = |text: Option<String>| text.filter(|t| !t.is_empty());
    let end = End {
        // Whole it is, whether it says why or not.
        finish: choice.finish_reason.unwrap_or(Finish::Other),
        stop_sequence: choice.stop_sequence(),
        usage,
        called: false,
    };
    let logprobs = choice.logprobs();
    let mut said = choice.message.unwrap_or_default();
    let calls = said.take_calls();
    let (sources, others) = said.sources();
    let mut lost = said.lost();
    if others {
        lost.note(lost::ANNOTATIONS);
    }
    let (reasoning, signed) = (said.reasoning().map(str::to_owned), said.signed());
    let text = filled(said.content.text.or(choice.text));
    let refusal = filled(said.refusal);
    let words = text.is_some() || refusal.is_some() || reasoning.is_some();
    lost.or_nothing_left(words || !calls.is_empty())?;
    Ok(Turn { model, reasoning, signed, text, refusal, calls, logprobs, sources, lost, end })
}

/// A call's arguments as an object's text: empty ones are `{}`. `None` if they are no JSON object.
pub fn arguments_object(arguments: &str) -> Option<&str> {
    let text = arguments.trim();
    if text.is_empty() {
        return Some("{}");
    }
    let valid =
        text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    valid.then_some(text)
}

/// What is said of a call whose arguments are no JSON object.
pub fn bad_arguments() -> Fault {
    Fault::new(Code::BadGateway, "the model called a tool with arguments that are no JSON object")
}
