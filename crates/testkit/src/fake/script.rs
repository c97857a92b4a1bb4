//! What a scripted upstream shall answer, and how it shall misbehave.
//!
//! A [`Reply`] is given by the test ([`super::Fake::always`], [`super::Fake::once`]) or asked for by a
//! marker inside the prompt, for clients in other processes that have no hand on the fake:
//!
//! ```text
//! [[fake: status=429 retry_after_ms=20 times=2 id=a1]]
//! ```
//!
//! `times=2` misbehaves for the first two requests that carry this very marker and answers well after
//! that; without it, always. Keys: `status`, `retry_after`, `retry_after_ms`, `times`, `id` (anything,
//! keeps two markers apart), `fault` (a name of [`Fault::named`]), `after` (content chunks before the
//! fault), `tokens` (length of the answer), `pace_ms`.

use std::time::Duration;

use super::gate::Gate;

/// A function call that the model asks for.
#[derive(Clone, Debug)]
pub struct Call {
    /// Function name.
    pub name: String,
    /// Arguments, JSON text.
    pub arguments: String,
}

/// One scripted answer. `Reply::default()` is the persona's usual answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub(super) tokens: Option<Vec<String>>,
    pub(super) finish: Option<String>,
    pub(super) calls: Vec<Call>,
    pub(super) blocked: Option<String>,
    pub(super) no_usage: bool,
    pub(super) headers: Vec<(String, String)>,
    pub(super) before_headers: Option<Gate>,
    pub(super) before_first: Option<Gate>,
    pub(super) per_chunk: Option<Gate>,
    pub(super) pace: Option<Duration>,
    pub(super) comments: bool,
    pub(super) carriage_returns: bool,
    pub(super) dribble: Option<usize>,
    pub(super) fault: Option<Fault>,
    pub(super) after: usize,
}

/// How an answer goes wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is reset after the request was read.
    Reset,
    /// The connection is closed in an orderly way without a byte.
    Close,
    /// An error in the persona's own shape.
    Status {
        /// HTTP status.
        status: u16,
        /// `retry-after`, seconds or a date, as text.
        retry_after: Option<String>,
        /// `retry-after-ms`.
        retry_after_ms: Option<u64>,
    },
    /// These bytes instead of a response, then close.
    Raw(Vec<u8>),
    /// A page as a proxy or a captive portal sends it, with this status.
    Html(u16),
    /// 200 and JSON content type, but no JSON.
    NotJson,
    /// `content-length` and `transfer-encoding` together.
    LengthAndChunked,
    /// Two differing `content-length` lines.
    TwoLengths,
    /// Less body than announced, then close.
    Half,
    /// Less body than announced, and nothing more until the gate opens; then close.
    HalfThen(Gate),
    /// Headers of this many bytes in total.
    HugeHeaders(usize),
    /// 302 to this address.
    Redirect(String),
    /// Stream: nothing more until the gate opens, then the rest.
    Stall(Gate),
    /// Stream: the connection is reset.
    Cut,
    /// Stream: half an event, then the body's orderly end.
    HalfEvent,
    /// Stream: an event that is not JSON, then the rest.
    Malformed,
    /// Stream: orderly end, no finish reason, no `[DONE]`.
    EarlyEnd,
    /// Stream: `[DONE]` without a finish reason.
    EarlyDone,
    /// Stream: everything but the last `[DONE]` (NDJSON: everything but the last line).
    NoDone,
    /// Stream: an error object, then the end as this persona ends after an error.
    ErrorEvent,
    /// Stream: a line that never ends; filler until the client leaves.
    EndlessLine,
    /// Stream: these bytes again and again, until the client leaves.
    Alive(Vec<u8>),
    /// Stream: one event of this many bytes, then the rest.
    HugeEvent(usize),
    /// Stream: bytes that are no UTF-8 inside an event, then the rest.
    BadUtf8,
}

impl Fault {
    /// The faults a marker can name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "reset" => Self::Reset,
            "close" => Self::Close,
            "html" => Self::Html(200),
            "html502" => Self::Html(502),
            "not-json" => Self::NotJson,
            "half" => Self::Half,
            "cut" => Self::Cut,
            "half-event" => Self::HalfEvent,
            "malformed" => Self::Malformed,
            "early-end" => Self::EarlyEnd,
            "early-done" => Self::EarlyDone,
            "no-done" => Self::NoDone,
            "error-event" => Self::ErrorEvent,
            "endless-line" => Self::EndlessLine,
            "bad-utf8" => Self::BadUtf8,
            "stall" => Self::Stall(Gate::new()),
            _ => return None,
        })
    }

    /// A whole answer to the letter, with a status such as `400 Bad Request`.
    pub fn answer(status: &str, content_type: &str, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}");
        let length = body.len();
        Self::Raw(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes())
    }

    /// A plain error status.
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None, retry_after_ms: None }
    }
}

impl Reply {
    /// Says `text`, one token per word (leading spaces stay with their word).
    pub fn text(text: &str) -> Self {
        Self::tokens(&split_words(text))
    }

    /// Says exactly these tokens, one chunk each.
    pub fn tokens<T: AsRef<str>>(tokens: &[T]) -> Self {
        let tokens = tokens.iter().map(|token| token.as_ref().to_owned()).collect();
        Self { tokens: Some(tokens), ..Self::default() }
    }

    /// Says `count` words.
    pub fn words(count: usize) -> Self {
        let tokens: Vec<String> = (0..count).map(|index| format!("w{index} ")).collect();
        Self::tokens(&tokens)
    }

    /// Goes wrong at once.
    pub fn fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// Goes wrong after `chunks` content chunks of the stream.
    #[must_use]
    pub fn and_then(mut self, chunks: usize, fault: Fault) -> Self {
        self.after = chunks;
        self.fault = Some(fault);
        self
    }

    /// Calls a function instead of talking.
    #[must_use]
    pub fn call(mut self, name: &str, arguments: &str) -> Self {
        self.calls.push(Call { name: name.to_owned(), arguments: arguments.to_owned() });
        self
    }

    /// Ends with this finish reason instead of `stop`.
    #[must_use]
    pub fn finish(mut self, reason: &str) -> Self {
        self.finish = Some(reason.to_owned());
        self
    }

    /// Gemini: does not answer this prompt, for this reason.
    #[must_use]
    pub fn blocked(mut self, reason: &str) -> Self {
        self.blocked = Some(reason.to_owned());
        self
    }

    /// Never reports usage, even when asked.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        self.no_usage = true;
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends nothing, not even headers, before the gate opens.
    #[must_use]
    pub fn hold_headers(mut self, gate: &Gate) -> Self {
        self.before_headers = Some(gate.clone());
        self
    }

    /// Sends headers at once and the first event only when the gate opens.
    #[must_use]
    pub fn hold_first_token(mut self, gate: &Gate) -> Self {
        self.before_first = Some(gate.clone());
        self
    }

    /// Each content chunk of the stream takes one permit of the gate.
    #[must_use]
    pub fn hold_each_chunk(mut self, gate: &Gate) -> Self {
        self.per_chunk = Some(gate.clone());
        self
    }

    /// Real time between content chunks, for demonstrations and load; tests use gates.
    #[must_use]
    pub fn pace(mut self, between: Duration) -> Self {
        self.pace = Some(between);
        self
    }

    /// An SSE comment before every event.
    #[must_use]
    pub fn with_comments(mut self) -> Self {
        self.comments = true;
        self
    }

    /// CRLF line ends in the event stream.
    #[must_use]
    pub fn with_carriage_returns(mut self) -> Self {
        self.carriage_returns = true;
        self
    }

    /// Writes the body in pieces of this many bytes, wherever characters and events fall.
    #[must_use]
    pub fn dribble(mut self, bytes: usize) -> Self {
        self.dribble = Some(bytes.max(1));
        self
    }
}

/// Words with their leading blanks, so that joining them gives the text back.
pub(super) fn split_words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for letter in text.chars() {
        let starts = letter.is_whitespace() && inside;
        if words.is_empty() || starts {
            words.push(String::new());
        }
        inside = !letter.is_whitespace();
        if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    words
}

/// A marker found in a prompt.
pub(super) struct Marker {
    /// The whole text: counts of `times` hang on it.
    pub(super) text: String,
    pub(super) times: Option<u64>,
    pub(super) reply: Reply,
}

/// Finds `[[fake: ...]]` in a request body.
pub(super) fn marker(body: &str) -> Option<Marker> {
    let start = body.find("[[fake:")?;
    let text = &body[start..start + body[start..].find("]]")?];
    let mut reply = Reply::default();
    let (mut times, mut status, mut after, mut after_ms) = (None, None, None, None);
    for pair in text["[[fake:".len()..].split_whitespace() {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let number = value.parse::<u64>().ok();
        match key {
            "times" => times = number,
            "status" => status = value.parse::<u16>().ok(),
            "retry_after" => after = Some(value.to_owned()),
            "retry_after_ms" => after_ms = number,
            "fault" => reply.fault = Fault::named(value),
            "after" => reply.after = value.parse().unwrap_or(0),
            "tokens" => reply.tokens = Reply::words(value.parse().unwrap_or(0)).tokens,
            "pace_ms" => reply.pace = number.map(Duration::from_millis),
            _ => {}
        }
    }
    if let Some(status) = status {
        reply.fault = Some(Fault::Status { status, retry_after: after, retry_after_ms: after_ms });
    }
    Some(Marker { text: text.to_owned(), times, reply })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_join_to_the_text() {
        for text in ["", "one", "one two", "  lead and  double ", "é ü\n日本"] {
            assert_eq!(split_words(text).concat(), text);
        }
        assert_eq!(split_words("a b c").len(), 3);
    }

    #[test]
    fn markers_name_faults() {
        for name in ["reset", "html", "cut", "stall", "error-event", "endless-line"] {
            assert!(Fault::named(name).is_some(), "{name}");
        }
        assert!(Fault::named("earthquake").is_none());
    }

    #[test]
    fn a_marker_is_read_from_the_middle_of_a_prompt() {
        let found = marker("x [[fake: status=429 retry_after_ms=20 times=2 id=q]] y").unwrap();
        assert_eq!(found.times, Some(2));
        assert!(matches!(
            found.reply.fault,
            Some(Fault::Status { status: 429, retry_after_ms: Some(20), .. })
        ));
        assert!(marker("no marker [[fake: open").is_none());
    }
}
