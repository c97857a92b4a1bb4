//! From a client's request to what a target is sent.
//!
//! The same dialect: the client's bytes with a few ranges edited; nothing changed means the very same
//! `Bytes`. What the target cannot do is refused by name ([`Unsupported::Strict`]) or reported as a
//! [`Loss`] ([`Unsupported::Lenient`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cutover_units::Code;

use crate::endpoint::Endpoint;
use crate::errors::Fault;
use crate::head::{Head, Key};
use crate::json;
use crate::openai::embeddings::Encoding;
use crate::openai::sampling::Stop;
use crate::providers::{Act, Dialect, Provider, Rule};
use crate::reply::Secrets;
use crate::structured::{self, Form, Repair};
use crate::target::{StreamUsage, Target, Unsupported};

pub(crate) mod inside;
mod messages;
mod splice;

use splice::Edits;

/// What was done to a field that could not be sent as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossAction {
    /// It was left out.
    Dropped,
    /// Something near it was sent.
    Approximated,
    /// The upstream answered from a part of it only.
    Truncated,
}

impl LossAction {
    /// The action's word in headers, logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Approximated => "approximated",
            Self::Truncated => "truncated",
        }
    }
}

/// One line of the loss report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The field, by the client's name for it.
    pub field: String,
    /// What was done.
    pub action: LossAction,
    /// Why.
    pub why: &'static str,
}

/// Why a field is lost that nobody here knows.
const UNKNOWN: &str = "the engine does not know the field";

impl Loss {
    /// The field in a label: a name that the client made up is not one more series.
    pub fn label(&self) -> &str {
        if self.why == UNKNOWN { "unknown" } else { &self.field }
    }
}

/// What reading the answer needs to know about the request.
#[derive(Debug, Clone)]
pub struct ReplyPlan {
    /// The endpoint that the client asked.
    pub endpoint: Endpoint,
    /// Who answers.
    pub provider: &'static Provider,
    /// Whether the answer is a stream. False for a stream that is gathered and repaired first
    /// ([`structured::streamed`]).
    pub stream: bool,
    /// Whether the client asked for the usage chunk; if not, the one that we asked for is left out.
    pub include_usage: bool,
    /// Whether our ids and the client's model name replace the upstream's.
    pub mint: bool,
    /// Choices asked for.
    pub n: u32,
    /// The limit on generated tokens, if any.
    pub max_tokens: Option<u64>,
    /// Whether the upstream was asked for another model than the client named: "no such model" is then
    /// the operator's fault.
    pub renamed: bool,
    /// Whether the upstream was shown the client's own key: that it is refused is then for the client
    /// to know. [`adapt`] leaves it false; whoever sends the request sets it.
    pub clients_key: bool,
    /// What the upstream is shown and no client may read where it is quoted in an error.
    pub secrets: Secrets,
    /// Solid bytes of prompt text ([`crate::context`]), for telling a truncated prompt from its token
    /// count. 0 if not counted.
    pub prompt_bytes: u64,
    /// The most of them that a token has, in thousandths. Whoever has measured it sets it.
    pub millibytes_per_token: u32,
    /// The context of an upstream that may cut, if the prompt is expected to have more tokens, else 0.
    pub overfull_context: u32,
    /// Names of functions that the upstream was sent in place of the client's, each beside it, as JSON strings. [`adapt`]
    /// leaves it empty; whoever sends the request sets it.
    pub names: Arc<[(String, String)]>,
    /// The tools that a model may call in its text, where that is read as a call (Ollama).
    pub spoken_tools: Arc<[String]>,
    /// Whether an answer to a truncated prompt is a failure. False where the operator allowed the cut.
    pub must_be_whole: bool,
    /// The prompt's tokens as estimated, for a stream whose usage was not asked for
    /// ([`StreamUsage::Never`]): what the upstream does not tell by itself is then an estimate.
    pub unasked_prompt_tokens: Option<u64>,
    /// Whether that estimate is told in the stream, for a client whose dialect must have figures.
    pub tells_estimate: bool,
    /// The form that the answer shall be brought into, where the engine does not hold it.
    pub repair: Option<Repair>,
    /// How an embedding's vectors shall be written, where we write them.
    pub encoding: Encoding,
    /// Whether the upstream speaks the client's own dialect and was sent its own words ([`crate::own`]), so that
    /// the client gets the upstream's. [`adapt`] leaves it false; whoever sends the request sets it.
    pub own: bool,
    /// Whether it was sent to the upstream's Responses API, whose answers have another form ([`crate::own::responses`]).
    /// Whoever sends the request sets it.
    pub responses: bool,
}

/// A request ready to be sent. Its `Debug` shows no body.
pub struct Outgoing {
    /// The path at the upstream (see [`crate::providers::request_path`]).
    pub path: Cow<'static, str>,
    /// The body in pieces; those that were not changed are slices of the client's.
    pub body: Vec<Bytes>,
    /// What could not be sent as it was.
    pub losses: Vec<Loss>,
    /// How to read the answer.
    pub reply: ReplyPlan,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("path", &self.path)
            .field("body_bytes", &self.body_len())
            .field("losses", &self.losses)
            .field("reply", &self.reply)
            .finish_non_exhaustive()
    }
}

impl Outgoing {
    /// The body's length in bytes.
    pub fn body_len(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }
}

/// Adapts a request to a target. `body` must be the one that `head` was read from.
pub fn adapt(head: &Head, body: &Bytes, target: &Target) -> Result<Outgoing, Fault> {
    if body.len() != head.body_len {
        return Err(Fault::new(Code::Internal, "head and body do not belong together"));
    }
    if !target.provider.endpoints.contains(&head.endpoint) {
        let message = format!("the target of this request does not serve {}", head.endpoint.path());
        return Err(Fault::new(Code::NotSupported, message));
    }
    if target.capabilities.images == Some(false) && head.has_images(body) {
        // An answer about a picture that was left out would be made up: refused in either mode.
        let place = messages::first_image(head, body);
        let place = place.as_deref().unwrap_or(Key::Messages.name());
        return Err(Fault::unsupported(place, "the model does not see images"));
    }
    let convert = match target.provider.dialect {
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Gemini => same_dialect,
        Dialect::Ollama => crate::ollama::convert,
    };
    let gathers = structured::gathers(head, target);
    let whole = gathers.then(|| Head { stream: false, include_usage: false, ..head.clone() });
    let mut outgoing = convert(whole.as_ref().unwrap_or(head), body, target)?;
    if gathers {
        outgoing.losses.push(structured::gathered());
    }
    if outgoing.reply.repair.is_some() && head.wants_logprobs(body) {
        outgoing.losses.push(structured::spelled());
    }
    Ok(outgoing)
}

pub(crate) fn plan(head: &Head, target: &Target) -> ReplyPlan {
    let unasked = head.stream && target.stream_usage == StreamUsage::Never;
    ReplyPlan {
        stream: head.stream,
        include_usage: head.include_usage,
        mint: target.mint,
        n: head.n,
        max_tokens: head.max_tokens,
        renamed: target.model.as_ref().is_some_and(|m| *m != head.model),
        unasked_prompt_tokens: unasked.then_some(head.est_prompt_tokens),
        tells_estimate: unasked && head.stream_options_are_ours,
        secrets: target.secrets.clone(),
        ..ReplyPlan::bare(head.endpoint, target.provider)
    }
}

impl ReplyPlan {
    /// Of a request of which nothing else is known.
    pub(crate) fn bare(endpoint: Endpoint, provider: &'static Provider) -> Self {
        Self {
            endpoint,
            provider,
            stream: false,
            include_usage: false,
            mint: false,
            n: 1,
            max_tokens: None,
            renamed: false,
            clients_key: false,
            secrets: Secrets::default(),
            prompt_bytes: 0,
            millibytes_per_token: crate::context::MILLIBYTES_PER_TOKEN,
            overfull_context: 0,
            must_be_whole: false,
            names: Arc::default(),
            spoken_tools: Arc::default(),
            unasked_prompt_tokens: None,
            tells_estimate: false,
            repair: None,
            encoding: Encoding::default(),
            own: false,
            responses: false,
        }
    }
}

fn same_dialect(head: &Head, body: &Bytes, target: &Target) -> Result<Outgoing, Fault> {
    let mut edits = Edits::new(head, body);
    let mut losses = Vec::new();
    rename_model(head, target, &mut edits);
    apply_rules(head, target, &mut edits, &mut losses)?;
    inside::apply((head, body), target, (&mut edits, &mut losses))?;
    ask_for_usage(head, target, &mut edits);
    ask_whole((head, body), &mut edits);
    apply_settings(head, target, &mut edits, &mut losses);
    add_stops((head, body), target, &mut edits, &mut losses)?;
    let mut reply = plan(head, target);
    if head.endpoint == Endpoint::ChatCompletions {
        let mut shaped = structured::shape(head, body, target)?;
        if let Some(shaped) = &mut shaped {
            apply_form(head, &shaped.form, &mut edits)?;
            reply.repair = shaped.repair.take();
        }
        let shaped = shaped.as_ref().and_then(|shaped| shaped.framing.as_ref());
        let framing = shaped.or(target.settings.framing.as_deref());
        messages::edit(head, body, (target, framing), &mut edits)?;
    }
    Ok(Outgoing { path: head.endpoint.path().into(), body: edits.finish(), losses, reply })
}

/// Asks for the answer's form in another way than the client did.
fn apply_form(head: &Head, form: &Form, edits: &mut Edits<'_>) -> Result<(), Fault> {
    let member = head.members.iter().position(|m| m.key == Key::ResponseFormat);
    match (form, member) {
        (Form::Json, _) => edits.set(Key::ResponseFormat, "{\"type\":\"json_object\"}"),
        (Form::Gone, Some(member)) => edits.remove(member),
        (Form::Field(name, raw), Some(member)) => {
            let key = Key::from_name(name);
            if head.members.iter().any(|m| m.key == key && key != Key::Other) {
                let message = format!("'response_format' and '{name}' must not be given together");
                return Err(Fault::of(Code::InvalidValue, *name, message));
            }
            edits.remove(member);
            edits.append(name, raw);
        }
        (Form::AsItCame | Form::Gone | Form::Field(..), _) => {}
    }
    Ok(())
}

fn rename_model(head: &Head, target: &Target, edits: &mut Edits<'_>) {
    if let Some(model) = target.model.as_ref().filter(|m| **m != head.model) {
        edits.set(Key::Model, &json::string(model));
    }
}

fn apply_rules(
    head: &Head,
    target: &Target,
    edits: &mut Edits<'_>,
    losses: &mut Vec<Loss>,
) -> Result<(), Fault> {
    let mut guided = Vec::new();
    for (index, member) in head.members.iter().enumerate() {
        if member.key == Key::Other && target.provider.takes.is_none() {
            continue;
        }
        let rule = tools_rule(member.key, target)
            .or_else(|| stream_options_rule(member.key, target))
            .or_else(|| target.provider.rule(member.key, head.endpoint));
        let Some(rule) = rule else {
            if target.provider.passes_over(member.key, head.endpoint) {
                pass_over(index, target, edits, losses)?;
            }
            continue;
        };
        let raw = edits.value(index);
        let ours = member.key == Key::StreamOptions && head.stream_options_are_ours;
        if is_neutral(rule, raw) || ours {
            edits.remove(index);
            continue;
        }
        match rule.act {
            Act::Carry => {}
            Act::Rename(name) => rename(index, name, head, edits),
            Act::Guided(name) => {
                guided.push(format!("\"{name}\":{raw}"));
                edits.remove(index);
            }
            Act::Drop => {
                edits.remove(index);
                losses.push(dropped(member.key.name(), rule.why));
            }
            Act::Refuse | Act::Forbid => {
                losses.push(refuse_or_drop(member.key.name(), rule.why, target.unsupported)?);
                edits.remove(index);
            }
        }
    }
    if guided.is_empty() {
        return Ok(());
    }
    if head.members.iter().any(|m| m.key == Key::StructuredOutputs) {
        let message = "'structured_outputs' and 'guided_*' must not be given together";
        return Err(Fault::of(Code::InvalidValue, "structured_outputs", message));
    }
    edits.append("structured_outputs", &format!("{{{}}}", guided.join(",")));
    Ok(())
}

/// A field that the engine would not even look at.
fn pass_over(
    index: usize,
    target: &Target,
    edits: &mut Edits<'_>,
    losses: &mut Vec<Loss>,
) -> Result<(), Fault> {
    if edits.value(index) != "null" {
        losses.push(refuse_or_drop(&edits.name(index), UNKNOWN, target.unsupported)?);
    }
    edits.remove(index);
    Ok(())
}

/// Tools where the model is known to have none.
pub(crate) fn tools_rule(key: Key, target: &Target) -> Option<&'static Rule> {
    const NO_TOOLS: &str = "the model has no tool support";
    static RULES: [Rule; 3] = [
        Rule::new(Key::Tools, Act::Refuse, NO_TOOLS).neutral(&["[]"]),
        Rule::new(Key::ToolChoice, Act::Refuse, NO_TOOLS).neutral(&[r#""none""#, r#""auto""#]),
        Rule::new(Key::ParallelToolCalls, Act::Drop, NO_TOOLS).neutral(&["true", "false"]),
    ];
    let none = target.capabilities.tools == Some(false);
    RULES.iter().find(|rule| none && rule.key == key)
}

/// `stream_options` where the upstream refuses it.
fn stream_options_rule(key: Key, target: &Target) -> Option<&'static Rule> {
    const NOT_TAKEN: &str = "the upstream does not take the field";
    static RULE: Rule = Rule::new(Key::StreamOptions, Act::Refuse, NOT_TAKEN)
        .neutral(&["{}", r#"{"include_usage":false}"#]);
    (key == RULE.key && target.stream_usage == StreamUsage::Never).then_some(&RULE)
}

/// Whether a value asks for nothing. Values are compared without whitespace: all neutral ones are
/// short and hold none.
pub(crate) fn is_neutral(rule: &Rule, raw: &str) -> bool {
    if raw == "null" || rule.neutral.contains(&raw) {
        return true;
    }
    !rule.neutral.is_empty() && raw.len() < 40 && {
        let compact: String = raw.split_ascii_whitespace().collect();
        rule.neutral.contains(&compact.as_str())
    }
}

pub(crate) fn dropped(field: &str, why: &'static str) -> Loss {
    Loss { field: field.to_owned(), action: LossAction::Dropped, why }
}

/// A field that the target cannot act on: a refusal, or a line in the report.
pub(crate) fn refuse_or_drop(
    field: &str,
    why: &'static str,
    mode: Unsupported,
) -> Result<Loss, Fault> {
    match mode {
        Unsupported::Strict => Err(Fault::unsupported(field, why)),
        Unsupported::Lenient => Ok(dropped(field, why)),
    }
}

/// Sends a field under another name, unless that name is there too: then the new one wins, as it does
/// in [`Head::max_tokens`].
fn rename(index: usize, name: &'static str, head: &Head, edits: &mut Edits<'_>) {
    let other = Key::from_name(name);
    if let Some(taken) = head.members.iter().position(|m| m.key == other && other != Key::Other) {
        edits.remove(taken);
    }
    edits.rename(index, name);
}

/// Usage is wanted wherever it may be asked for: records and prices need it. The chunk is left out of the answer if the
/// client did not ask.
fn ask_for_usage(head: &Head, target: &Target, edits: &mut Edits<'_>) {
    if !head.stream || head.include_usage || target.stream_usage == StreamUsage::Never {
        return;
    }
    let options = head.members.iter().position(|m| m.key == Key::StreamOptions);
    let current = options.map_or("null", |index| edits.value(index));
    let text = splice::with_member(current, "include_usage", "true");
    edits.set(Key::StreamOptions, &text);
}

/// A stream of which the head says that it is none is asked for whole.
fn ask_whole((head, body): (&Head, &Bytes), edits: &mut Edits<'_>) {
    let wished = head.raw(body, Key::Stream) == Some("true");
    if head.stream || !wished || head.endpoint != Endpoint::ChatCompletions {
        return;
    }
    edits.set(Key::Stream, "false");
    if let Some(options) = head.members.iter().position(|m| m.key == Key::StreamOptions) {
        edits.remove(options);
    }
}

pub(crate) const NO_SYSTEM_MESSAGE: &str =
    "this endpoint continues a prompt and has no system message";

fn apply_settings(head: &Head, target: &Target, edits: &mut Edits<'_>, losses: &mut Vec<Loss>) {
    let settings = &target.settings;
    if head.endpoint == Endpoint::Embeddings {
        return;
    }
    if let Some(value) = settings.temperature {
        edits.set_default(Key::Temperature, &value.to_string());
    }
    if let Some(value) = settings.top_p {
        edits.set_default(Key::TopP, &value.to_string());
    }
    if let Some(value) = settings.seed {
        edits.set_default(Key::Seed, &value.to_string());
    }
    if let (Some(value), None) = (settings.max_tokens, head.max_tokens) {
        let new = target.provider.quirks.new_limit_name && head.endpoint != Endpoint::Completions;
        let key = if new { Key::MaxCompletionTokens } else { Key::MaxTokens };
        edits.set_default(key, &value.to_string());
    }
    if settings.framing.is_some() && head.endpoint == Endpoint::Completions {
        losses.push(dropped("variant.system_prompt", NO_SYSTEM_MESSAGE));
    }
}

/// The request's stop sequences and the variant's. None: the variant has none to add.
pub(crate) fn stops(raw: Option<&str>, target: &Target) -> Result<Option<Vec<String>>, Fault> {
    let ours = &target.settings.stop;
    if ours.is_empty() {
        return Ok(None);
    }
    let own: Option<Stop> = raw.map(|raw| json::typed(raw, "stop")).transpose()?;
    let mut all = own.unwrap_or_default().0;
    for stop in ours {
        if !all.contains(stop) {
            all.push(stop.clone());
        }
    }
    Ok(Some(all))
}

fn add_stops(
    (head, body): (&Head, &Bytes),
    target: &Target,
    edits: &mut Edits<'_>,
    losses: &mut Vec<Loss>,
) -> Result<(), Fault> {
    const TOO_MANY: &str = "the service takes no more stop sequences, the variant's included";
    if head.endpoint == Endpoint::Embeddings {
        return Ok(());
    }
    let Some(mut all) = stops(head.raw(body, Key::Stop), target)? else { return Ok(()) };
    if let Some(most) = target.provider.stops_max.filter(|most| all.len() > *most) {
        losses.push(refuse_or_drop("stop", TOO_MANY, target.unsupported)?);
        all.truncate(most);
    }
    let list = String::from_utf8(json::to_vec(&all)).unwrap_or_default();
    edits.set(Key::Stop, &list);
    Ok(())
}

#[cfg(test)]
mod tests;
