//! Errors of upstreams, brought into one form: who is to blame, whether another instance may help, and
//! what the client may read.
//!
//! Engine text is shown to a client only where the client itself is at fault, shortened, without
//! control characters and addresses: engines have leaked heap addresses that way (CVE-2026-22778).

use cutover_json::Secrets;
use cutover_units::Code;
use serde::Deserialize;
use serde_json::Value;

use crate::adapt::ReplyPlan;
use crate::endpoint::Endpoint;
use crate::errors::{Fault, VendorsWords};
use crate::providers::Dialect;
use crate::reply::{Received, Said, said};

mod account;

/// What kind of failure it was, for breakers, metrics and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// The request was wrong; the upstream is well.
    ClientFault,
    /// The upstream limits our rate.
    RateLimited,
    /// The account behind our key has no money left, or is not served.
    Account,
    /// The upstream is busy or still loading.
    Overloaded,
    /// The request met another one at the upstream, which is well: it may be sent again.
    Conflict,
    /// The upstream refused our key.
    Auth,
    /// The upstream failed.
    Failed,
    /// The upstream's answer could not be read.
    Unreadable,
    /// The model's answer is not of the form that was asked for. Its instance is well.
    Unfit,
}

impl FaultClass {
    /// The class's word in labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientFault => "client_fault",
            Self::RateLimited => "rate_limited",
            Self::Account => "account",
            Self::Overloaded => "overloaded",
            Self::Conflict => "conflict",
            Self::Auth => "auth",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
            Self::Unfit => "unfit",
        }
    }
}

/// An upstream's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFault {
    /// What the client may see.
    pub fault: Fault,
    /// What kind of failure it was.
    pub class: FaultClass,
    /// Whether another instance or arm may be tried (if no content has reached the client).
    pub failover_ok: bool,
    /// How long the upstream asked us to wait.
    pub retry_after_ms: Option<u64>,
    /// What the upstream said of it, for the operator.
    pub said: Option<Box<Said>>,
}

impl UpstreamFault {
    pub(crate) fn unreadable(what: &str) -> Self {
        let message = format!("the upstream's answer could not be read: {what}");
        Self::of(FaultClass::Unreadable, Fault::new(Code::BadGateway, message))
    }

    pub(crate) fn unfit(what: &str) -> Self {
        Self { class: FaultClass::Unfit, ..Self::unreadable(what) }
    }

    pub(crate) fn failed(what: &str) -> Self {
        Self::of(FaultClass::Failed, Fault::new(Code::BadGateway, what))
    }

    /// The prompt was cut, and the answer is one to its rest.
    pub(crate) fn prompt_cut(plan: &ReplyPlan) -> Self {
        const MESSAGE: &str =
            "the prompt does not fit the upstream's context: it answered a part of it";
        let field = plan.endpoint.prompt_field();
        let fault = Fault::of(Code::ContextLengthExceeded, field, MESSAGE);
        Self { failover_ok: true, ..Self::of(FaultClass::ClientFault, fault) }
    }

    fn of(class: FaultClass, fault: Fault) -> Self {
        let failover_ok = class != FaultClass::ClientFault;
        Self { fault, class, failover_ok, retry_after_ms: None, said: None }
    }

    fn client(code: Code, message: impl Into<String>) -> Self {
        Self::of(FaultClass::ClientFault, Fault::new(code, message))
    }
}

impl std::fmt::Display for UpstreamFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.fault, self.class.as_str())
    }
}

impl std::error::Error for UpstreamFault {}

/// The parts of an error body, in whatever form the engine wrote it.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    message: String,
    kind: String,
    code: String,
    param: Option<String>,
    /// The number some engines put into `code`.
    status: Option<u16>,
}

impl Parts {
    /// Reads a body: OpenAI's envelope, a plain string in it, JSON nested in that string (Ollama),
    /// `detail` with a text or a list of `loc` and `msg` (FastAPI), or plain text.
    pub(crate) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str::<Value>(&text) {
            Ok(value) => Self::of(&value),
            Err(_) => Self { message: text.trim().to_owned(), ..Self::default() },
        }
    }

    /// Reads an error value: an object's `error`, `detail` or `message`, or the error itself.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => {
                let nested = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
                match nested {
                    Some(inner) => Self::of(&inner),
                    None => Self { message: text.clone(), ..Self::default() },
                }
            }
            Value::Object(map) => {
                if let Some(inner) = map.get("error").or_else(|| map.get("detail")) {
                    return Self::of(inner);
                }
                let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
                let code = map.get("code");
                let number = code.and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
                let message = map.get("message").or_else(|| map.get("msg"));
                let named = map.get("param").and_then(Value::as_str).map(str::to_owned);
                Self {
                    message: message.and_then(Value::as_str).unwrap_or_default().to_owned(),
                    kind: text("type").to_owned(),
                    code: code.and_then(Value::as_str).unwrap_or_default().to_owned(),
                    param: named.or_else(|| location(map.get("loc")?)),
                    status: number.filter(|n| (400..600).contains(n)),
                }
            }
            Value::Array(items) => items.first().map(Self::of).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    /// The beginnings of the same, without what the upstream was shown: that is hidden before anything is cut off, as a
    /// part of a secret is none.
    fn without(mut self, secrets: &Secrets) -> Self {
        for text in
            [&mut self.message, &mut self.kind, &mut self.code].into_iter().chain(&mut self.param)
        {
            *text = secrets.hide_beginning(text, TEXT_BYTES_MAX).into_owned();
        }
        self
    }

    /// The status of an error that was told where none could be sent any more: by its code, else its type, else (TGI's
    /// has neither there) its words.
    fn told(&self) -> Option<u16> {
        let status = |word: &str| TOLD.iter().find(|(name, _)| *name == word).map(|row| row.1);
        let is_full = || self.says(&["model is overloaded", "model is currently overloaded"]);
        status(&self.code).or_else(|| status(&self.kind)).or_else(|| is_full().then_some(503))
    }

    /// What a hosted service of the OpenAI dialect calls its refusal. An engine's words are its own: no client
    /// of OpenAI's knows them.
    fn vendors_words(&self, plan: &ReplyPlan, status: u16) -> Option<Box<VendorsWords>> {
        if plan.provider.dialect != Dialect::OpenAi || plan.provider.self_hosted {
            return None;
        }
        let is_word = |text: &&str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(plain)
        };
        let word = |text: &str| Some(text).filter(is_word).map(Into::into);
        let words = VendorsWords { status, kind: word(&self.kind), code: word(&self.code) };
        Some(Box::new(words))
    }

    /// Whether the text of the request was refused, which services tell with the status of a refused key, too.
    fn was_moderated(&self) -> bool {
        MODERATED.contains(&self.code.as_str()) || self.says(&["input was flagged"])
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    }
}

/// FastAPI's place of a field, as a path without the `body` it begins with.
fn location(steps: &Value) -> Option<String> {
    let mut path = String::new();
    for step in steps.as_array()? {
        match step {
            Value::String(name) if path.is_empty() && name == "body" => {}
            Value::String(name) if path.is_empty() => path.push_str(name),
            Value::String(name) => path.extend([".", name]),
            number => path.extend(["[", &number.to_string(), "]"]),
        }
    }
    (!path.is_empty()).then_some(path)
}

/// An error answer, by its status and body.
pub(crate) fn of_answer(plan: &ReplyPlan, status: u16, body: &[u8]) -> UpstreamFault {
    if body.trim_ascii_start().starts_with(b"<") {
        return of_page(plan, status);
    }
    of_parts(plan, status, &Parts::read(body).without(&plan.secrets))
}

/// A web page: another server stands at the address, mostly a proxy before the engine. What it says of
/// the engine by its status holds; the rest says no more than that this is no engine.
fn of_page(plan: &ReplyPlan, status: u16) -> UpstreamFault {
    match status {
        // nginx takes 1 MB unless told otherwise. The engine behind it is well.
        413 => {
            let message = "a server in front of the upstream takes no request of this size";
            UpstreamFault::client(Code::RequestTooLarge, message)
        }
        401 | 403 if !plan.clients_key => classify(plan, status, &Parts::default()),
        300..=399 | 408 | 429 | 503 | 504 => classify(plan, status, &Parts::default()),
        _ => {
            UpstreamFault::unreadable(&format!("it is a web page, not JSON, with status {status}"))
        }
    }
}

fn of_parts(plan: &ReplyPlan, status: u16, parts: &Parts) -> UpstreamFault {
    let said = Said::new(&parts.kind, &parts.code, &parts.message);
    UpstreamFault { said, ..classify(plan, status, parts) }
}

/// What services and cutover itself call their errors, and the status that each has outside a stream.
const TOLD: &[(&str, u16)] = &[
    ("invalid_request_error", 400),
    ("invalid_request", 400),
    ("context_length_exceeded", 400),
    ("BadRequestError", 400),
    ("authentication_error", 401),
    ("invalid_api_key", 401),
    ("billing_error", 402),
    ("insufficient_quota", 402),
    ("permission_error", 403),
    ("permission_denied", 403),
    ("conflict_error", 409),
    ("upstream_conflict", 409),
    ("not_found_error", 404),
    ("model_not_found", 404),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("overloaded_error", 503),
    ("server_is_overloaded", 503),
    ("timeout_error", 504),
    ("upstream_timeout", 504),
];

/// An error inside a stream that began well, or inside a 200.
pub(crate) fn of_value(plan: &ReplyPlan, value: &Value) -> UpstreamFault {
    const UNNAMED: &str = "the upstream told of an error in place of an answer";
    let parts = Parts::of(value).without(&plan.secrets);
    if let Some(status) = parts.status.or_else(|| parts.told()) {
        return of_parts(plan, status, &parts);
    }
    let said = Said::new(&parts.kind, &parts.code, &parts.message);
    let known = by_meaning(plan, 500, &parts);
    UpstreamFault { said, ..known.unwrap_or_else(|| UpstreamFault::failed(UNNAMED)) }
}

fn classify(plan: &ReplyPlan, status: u16, parts: &Parts) -> UpstreamFault {
    if let Some(fault) = by_meaning(plan, status, parts) {
        return fault;
    }
    let upstream = |class, code, message: &str| UpstreamFault::of(class, Fault::new(code, message));
    match status {
        403 if parts.was_moderated() => invalid(plan, status, parts),
        401 | 403 if plan.clients_key => account::key_refused(plan),
        401 => account::key_refused(plan),
        403 => {
            let message =
                "the upstream does not allow this to the key it was shown; an operator must act";
            upstream(FaultClass::Auth, Code::UpstreamAuth, message)
        }
        402 => account::no_money(plan),
        404 if plan.endpoint != Endpoint::ChatCompletions => {
            let message = format!("the upstream does not serve {}", plan.endpoint.path());
            UpstreamFault::client(Code::NotSupported, message)
        }
        413 => UpstreamFault::client(Code::RequestTooLarge, clean(&parts.message)),
        429 => upstream(
            FaultClass::RateLimited,
            Code::RateLimitExceeded,
            "the upstream limits the rate",
        ),
        400 | 422 => invalid(plan, status, parts),
        409 => upstream(
            FaultClass::Conflict,
            Code::UpstreamConflict,
            "the request met another one at the upstream",
        ),
        501 => UpstreamFault::client(Code::NotSupported, clean(&parts.message)),
        503 | 529 => upstream(
            FaultClass::Overloaded,
            Code::Overloaded,
            "the upstream is busy or still loading its model",
        ),
        408 | 504 => upstream(
            FaultClass::Failed,
            Code::UpstreamTimeout,
            "the upstream did not answer in time",
        ),
        300..=399 => {
            let message = format!(
                "the upstream answers with a redirect (status {status}), which is not followed: its \
                 base_url must lead to the API itself"
            );
            upstream(FaultClass::Failed, Code::BadGateway, &message)
        }
        other => {
            let message = format!("the upstream failed with status {other}");
            upstream(FaultClass::Failed, Code::BadGateway, &message)
        }
    }
}

/// The most bytes of each of an error's texts that are looked at: one that quotes a request is as long as that. Words
/// stand at the beginning.
const TEXT_BYTES_MAX: usize = 32 << 10;

/// The longest word of a vendor's that a client is shown, in bytes.
const WORD_MAX: usize = 64;
/// What services call a text that they refuse. OpenRouter has no code for it and says that the "input was
/// flagged" (its reference of errors).
const MODERATED: &[&str] =
    &["content_policy_violation", "content_filter", "moderation_blocked", "moderation_error"];
const TOO_LONG: &[&str] = &[
    "maximum context length",
    "exceeds the available context size",
    "exceeds the context length",
    "context length exceeded",
    "exceeds the model's context",
    "cannot be greater than max_model_len",
    "prompt is too long",
    "exceeds the maximum number of tokens allowed",
    "is too large to process",
];
const NO_SUCH_MODEL: &[&str] = &["not found", "does not exist", "no such model"];
const NO_TOOLS: &[&str] = &[
    "does not support tools",
    "requires --enable-auto-tool-choice",
    "requires --tool-call-parser",
];
/// What llama-server and Ollama answer with 500 although the request is at fault.
const CLIENT_500: &[&str] = &["not supported", "too large", "must be of type"];

/// Failures known by what they say, whatever their status.
fn by_meaning(plan: &ReplyPlan, status: u16, parts: &Parts) -> Option<UpstreamFault> {
    let from_client = matches!(status, 400..=422 | 500);
    let too_long = parts.code == "context_length_exceeded"
        || parts.kind == "exceed_context_size_error"
        || parts.says(TOO_LONG);
    if from_client && too_long {
        let param = Some(plan.endpoint.prompt_field().to_owned());
        let mut fault = UpstreamFault::client(Code::ContextLengthExceeded, clean(&parts.message));
        fault.fault.param = param;
        return Some(fault);
    }
    let about_model = parts.param.as_deref() == Some("model") || parts.says(&["model"]);
    let no_model = parts.code == "model_not_found"
        || (status == 404 && about_model && parts.says(NO_SUCH_MODEL))
        // OpenRouter's words for a model that it does not have, or that nobody serves there now.
        || (status == 404 && parts.says(&["no endpoints found"]));
    if no_model {
        return Some(no_such_model(plan));
    }
    if let Some(fault) = account::trouble(plan, status, parts) {
        return Some(fault);
    }
    if from_client && parts.says(NO_TOOLS) {
        let mut fault = UpstreamFault::client(Code::UnsupportedParameter, clean(&parts.message));
        fault.fault.param = Some("tools".to_owned());
        return Some(fault);
    }
    let hidden = plan.provider.quirks.client_faults_as_500 && status == 500;
    (hidden && parts.says(CLIENT_500)).then(|| invalid(plan, 400, parts))
}

/// The client asked for a model that is not there; or the operator did, in a variant.
fn no_such_model(plan: &ReplyPlan) -> UpstreamFault {
    if plan.renamed {
        let message =
            "the upstream does not have the model of the variant that serves this request";
        let fault = Fault::new(Code::BadGateway, message);
        return UpstreamFault::of(FaultClass::Failed, fault);
    }
    let mut fault =
        UpstreamFault::client(Code::ModelNotFound, "the model does not exist at the upstream");
    fault.fault.param = Some("model".to_owned());
    // Instances of one upstream may hold different models.
    fault.failover_ok = true;
    fault
}

fn invalid(plan: &ReplyPlan, status: u16, parts: &Parts) -> UpstreamFault {
    let mut fault = UpstreamFault::client(Code::InvalidRequest, clean(&parts.message));
    fault.fault.vendors = parts.vendors_words(plan, status);
    // vLLM names fields as `body.messages`.
    let param = parts.param.as_deref().map(|p| p.strip_prefix("body.").unwrap_or(p));
    fault.fault.param = param.map(clean);
    fault
}

/// The most characters of engine text that a client is shown.
const MESSAGE_MAX: usize = 500;

/// Engine text fit to be shown: one line, bounded, without addresses, and without the echo of the
/// request's own values that vLLM adds (errors are logged; prompts are not).
pub(crate) fn clean(text: &str) -> String {
    let text = text.split("'input':").next().unwrap_or(text).trim_end_matches([' ', ',']);
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let shown = |word| match word {
        word if is_address(word) => "[address]",
        word if said::has_key(word) => "[key]",
        word => word,
    };
    let words: Vec<&str> = line.split_whitespace().map(shown).collect();
    let mut shown: String = words.join(" ").chars().take(MESSAGE_MAX).collect();
    if shown.is_empty() {
        shown.push_str("the upstream refused the request and gave no reason");
    }
    shown
}

/// Whether a word looks like a URL, a host with a port, an IP address or a memory address.
fn is_address(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let parts: Vec<&str> = bare.split(['.', ':']).collect();
    let ipv4 = parts.len() >= 4
        && parts.iter().take(4).all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let port = bare.rsplit_once(':').is_some_and(|(host, port)| {
        host.len() > 1 && port.len() >= 2 && port.bytes().all(|b| b.is_ascii_digit())
    });
    word.contains("://") || ipv4 || port || (bare.starts_with("0x") && bare.len() > 7)
}

/// Milliseconds from `retry-after-ms`, else from `retry-after` in seconds, else from it as a date by the
/// answer's own clock.
pub(crate) fn retry_after(received: &Received<'_>) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Number(f64);
    let number = |text: &str| serde_json::from_str::<Number>(text.trim()).ok().map(|n| n.0);
    let seconds = received.retry_after;
    let whole = received
        .retry_after_ms
        .and_then(number)
        .or_else(|| seconds.and_then(number).map(|s| s * 1_000.0))
        .or_else(|| until(seconds?, received.date?))?;
    // The cap keeps the cast exact; nobody waits a year.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    Some(whole.clamp(0.0, 31_536_000_000.0) as u64)
}

/// Milliseconds from one HTTP date to another; 0 if that has passed.
fn until(end: &str, now: &str) -> Option<f64> {
    let read = |text: &str| httpdate::parse_http_date(text.trim()).ok();
    let left = read(end)?.duration_since(read(now)?).unwrap_or_default();
    Some(left.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests;
