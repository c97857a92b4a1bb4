//! Many streams at once, each with a text of its own that is known beforehand, and each one judged.
//!
//! A real engine is made to say a given text by a grammar (llama.cpp's `grammar` member): for request 17
//! `q17.0 q17.1 q17.2 ...`. So a text that is repeated, cut, or another request's is seen to the byte,
//! whatever the model's weights are.
//!
//! ```text
//! client thread: request > head (flows at an instance) > body to its end > verdict > next request
//! ```
//!
//! Contract: nothing is retried, each request leaves one [`Ended`]. Verdicts: [`End::Whole`], the whole
//! text, one finish reason, one `[DONE]` and nothing after it; [`End::Interrupted`], a beginning of the
//! text, then an error of four members and nothing after it; [`End::Refused`], an error before any
//! content; everything else is [`End::Wrong`]. A stream may not mix the ids of two answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::raw::{Raw, Response};
use crate::wait;

/// Two hundred streams of real engines on two busy cores take their time: whatever is waited for of them.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Who asks, and for what.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// `http://127.0.0.1:PORT`.
    pub base_url: String,
    /// Model in the requests.
    pub model: String,
    /// Streams at once.
    pub clients: usize,
    /// Words of each answer.
    pub words: usize,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that was to be said.
    Whole,
    /// A beginning, and an error that says so.
    Interrupted,
    /// An error before anything was said: what came.
    Refused(String),
    /// Neither: what is wrong with it.
    Wrong(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its number.
    pub number: usize,
    /// `x-request-id` of the answer; empty if there was none.
    pub request_id: String,
    /// `x-cutover-instance` of the answer, where the head told it.
    pub instance: Option<String>,
    /// The verdict.
    pub end: End,
}

impl Crowd {
    /// Starts the clients; each asks again until it is told to stop.
    pub fn start(self) -> Asking {
        self.begin(client)
    }

    /// Starts the clients; each asks once.
    pub fn once(self) -> Asking {
        self.begin(|crowd, shared| ask_once(crowd, shared, &mut None))
    }

    fn begin(self, client: fn(&Self, &Shared)) -> Asking {
        let (crowd, shared) = (Arc::new(self), Arc::new(Shared::default()));
        let clients = (0..crowd.clients)
            .map(|_| {
                let (crowd, shared) = (Arc::clone(&crowd), Arc::clone(&shared));
                std::thread::spawn(move || client(&crowd, &shared))
            })
            .collect();
        Asking { shared, clients }
    }
}

/// The request for a stream that says [`text_of`] this number.
pub fn saying(model: &str, number: usize, words: usize) -> Value {
    let text = text_of(number, words);
    json!({"model": model, "stream": true, "max_tokens": 4 * text.len(),
        "messages": [{"role": "user", "content": format!("Say {number}.")}],
        "grammar": format!("root ::= \"{text}\"")})
}

/// What request `number` is answered.
pub fn text_of(number: usize, words: usize) -> String {
    let words: Vec<String> = (0..words).map(|word| format!("q{number}.{word} ")).collect();
    words.concat()
}

/// How often everything shall go wrong: `CUTOVER_STORM_ROUNDS`, else once.
pub fn storm_rounds() -> usize {
    let told = std::env::var("CUTOVER_STORM_ROUNDS").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    next: AtomicUsize,
    ended: Mutex<Vec<Ended>>,
    flowing: Mutex<BTreeMap<String, usize>>,
}

impl Shared {
    fn ended(&self) -> MutexGuard<'_, Vec<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flowing(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.flowing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients at work; dropping it stops them.
#[derive(Debug)]
pub struct Asking {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Asking {
    /// How many requests have ended so far.
    pub fn ended(&self) -> usize {
        self.shared.ended().len()
    }

    /// Waits until so many more have ended.
    pub fn more(&self, count: usize) {
        let goal = self.ended() + count;
        let what = format!("{count} more streams to end");
        wait::until_within(PATIENCE, &what, || (self.ended() >= goal).then_some(()));
    }

    /// Streams whose answer has begun and not ended, at instances whose name begins so.
    pub fn flowing(&self, instance: &str) -> usize {
        let flowing = self.shared.flowing();
        flowing.iter().filter(|(name, _)| name.starts_with(instance)).map(|(_, count)| count).sum()
    }

    /// Waits until at least so many streams flow from this instance.
    pub fn flow_from(&self, instance: &str, count: usize) {
        let what = format!("{count} streams from {instance}");
        wait::until_within(PATIENCE, &what, || (self.flowing(instance) >= count).then_some(()));
    }

    /// Waits until no stream flows from this instance.
    pub fn none_from(&self, instance: &str) {
        let what = format!("the streams from {instance} to end");
        wait::until_within(PATIENCE, &what, || (self.flowing(instance) == 0).then_some(()));
    }

    /// Lets each client end its request, and returns all that were made.
    pub fn stop(mut self) -> Vec<Ended> {
        self.halt();
        std::mem::take(&mut self.shared.ended())
    }

    fn halt(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.halt();
    }
}

fn client(crowd: &Crowd, shared: &Shared) {
    let mut connection = None;
    while !shared.stop.load(Ordering::SeqCst) {
        ask_once(crowd, shared, &mut connection);
    }
}

fn ask_once(crowd: &Crowd, shared: &Shared, connection: &mut Option<Raw>) {
    let number = shared.next.fetch_add(1, Ordering::SeqCst);
    let mut ended = Ended { number, request_id: String::new(), instance: None, end: End::Whole };
    let outcome = ask(crowd, (number, shared), connection, &mut ended);
    ended.end = outcome.unwrap_or_else(|error| {
        *connection = None;
        End::Wrong(format!("the connection failed: {error}"))
    });
    shared.ended().push(ended);
}

fn ask(
    crowd: &Crowd,
    (number, shared): (usize, &Shared),
    connection: &mut Option<Raw>,
    ended: &mut Ended,
) -> std::io::Result<End> {
    let raw = match connection {
        Some(raw) => raw,
        None => connection.insert(Raw::open(&crowd.base_url)?.patient(PATIENCE)?),
    };
    let unit = format!("x-unit: u{number}");
    let body = saying(&crowd.model, number, crowd.words);
    raw.request("POST /v1/chat/completions", &[&unit], body.to_string())?;
    let mut response = raw.response_head()?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let header = |name: &str| response.header(name).map(str::to_owned);
    ended.request_id = header("x-request-id").unwrap_or_default();
    ended.instance = header("x-cutover-instance");
    let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let flows = Flows::enter(shared, ended.instance.clone().filter(|_| response.status == 200));
    raw.response_body(&mut response)?;
    drop(flows);
    if closes || !response.complete {
        *connection = None;
    }
    Ok(judge(&response, &text_of(number, crowd.words)))
}

/// One stream that flows from an instance.
struct Flows<'a>(&'a Shared, Option<String>);

impl<'a> Flows<'a> {
    fn enter(shared: &'a Shared, instance: Option<String>) -> Self {
        if let Some(name) = &instance {
            *shared.flowing().entry(name.clone()).or_default() += 1;
        }
        Self(shared, instance)
    }
}

impl Drop for Flows<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.1 {
            let mut flowing = self.0.flowing();
            let count = flowing.entry(name.clone()).or_default();
            *count = count.saturating_sub(1);
        }
    }
}

/// The verdict on one answer whose whole text would be `expected`.
pub fn judge(response: &Response, expected: &str) -> End {
    let shown = || format!("{} {}", response.status, response.text());
    if response.status != 200 {
        let told = response.complete && response.json()["error"]["code"].is_string();
        return if told { End::Refused(shown()) } else { End::Wrong(shown()) };
    }
    match verdict(response, expected) {
        Ok(end) => end,
        Err(why) => {
            let text = response.text();
            let from = text.len().saturating_sub(600);
            let tail = String::from_utf8_lossy(&text.as_bytes()[from..]).into_owned();
            End::Wrong(format!("{why}; it ends with: {tail}"))
        }
    }
}

fn verdict(response: &Response, expected: &str) -> Result<End, String> {
    if !response.complete {
        return Err("the body has no end".to_owned());
    }
    let events = response.events();
    let Some((last, before)) = events.split_last() else {
        return Err("no event".to_owned());
    };
    let (mut said, mut finishes) = (String::new(), Vec::new());
    let mut ids = BTreeSet::new();
    for event in before {
        let chunk: Value = serde_json::from_str(event).map_err(|_| format!("no JSON: {event}"))?;
        if !chunk["error"].is_null() {
            return Err("something follows an error".to_owned());
        }
        ids.insert(chunk["id"].to_string());
        let choice = &chunk["choices"][0];
        said.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        finishes.extend(choice["finish_reason"].as_str().map(str::to_owned));
    }
    if ids.len() > 1 {
        return Err(format!("the ids of {} answers", ids.len()));
    }
    if !expected.starts_with(&said) {
        return Err(format!("not what was to be said: {said:?}"));
    }
    if last == "[DONE]" {
        let whole = said == expected && finishes == ["stop"];
        return if whole { Ok(End::Whole) } else { Err(format!("[DONE] after {said:?}")) };
    }
    let error = serde_json::from_str::<Value>(last).unwrap_or_default()["error"].take();
    let members = ["message", "type", "param", "code"];
    if !members.iter().all(|member| error.get(member).is_some()) || !finishes.is_empty() {
        return Err("neither an end nor an error".to_owned());
    }
    Ok(if said.is_empty() { End::Refused(error.to_string()) } else { End::Interrupted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(events: &[&str], complete: bool) -> Response {
        let body: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        Response { status: 200, headers: Vec::new(), body: body.concat().into_bytes(), complete }
    }

    #[test]
    fn every_wrong_end_is_seen() {
        let a = r#"{"id":"1","choices":[{"delta":{"content":"ab"},"finish_reason":null}]}"#;
        let b = r#"{"id":"1","choices":[{"delta":{"content":"cd"},"finish_reason":null}]}"#;
        let other = r#"{"id":"2","choices":[{"delta":{"content":"cd"},"finish_reason":null}]}"#;
        let stop = r#"{"id":"1","choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        let error = r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#;
        let done = "[DONE]";
        let end = |events: &[&str]| judge(&stream(events, true), "abcd");
        assert_eq!(end(&[a, b, stop, done]), End::Whole);
        assert_eq!(end(&[a, error]), End::Interrupted);
        assert!(matches!(end(&[error]), End::Refused(_)));
        for wrong in [
            &[a, b, done][..],
            &[a, stop, done],
            &[a, b, stop],
            &[a, a, b, stop, done],
            &[a, other, stop, done],
            &[a, error, done],
            &[a, error, b],
            &[a, b, stop, error],
            &[a],
            &[],
            &[a, b, stop, done, done],
        ] {
            assert!(matches!(end(wrong), End::Wrong(_)), "{wrong:?}");
        }
        let cut = stream(&[a, b, stop, done], false);
        assert!(matches!(judge(&cut, "abcd"), End::Wrong(_)));
    }
}
