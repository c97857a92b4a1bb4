//! A small load driver: some clients, each with its own units, until it is told to stop.
//!
//! Contract: every request is recorded with its unit, status, arm and latency, in the order of its
//! end; nothing is dropped and nothing retried, so "no failed request" can be asserted. One thread
//! and one kept-alive connection per client: for correctness under load, not for benchmarks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::raw::{Raw, Response};
use crate::wait;

/// What to drive.
#[derive(Clone, Debug)]
pub struct Load {
    /// `http://127.0.0.1:PORT`.
    pub base_url: String,
    /// Client key.
    pub api_key: String,
    /// Model in the requests.
    pub model: String,
    /// Further header lines, e.g. `x-use-case: statements`.
    pub headers: Vec<String>,
    /// Header that carries the unit.
    pub unit_header: String,
    /// Number of clients.
    pub clients: usize,
    /// Number of distinct units; clients take turns through all of them.
    pub units: usize,
    /// Ask for streams.
    pub stream: bool,
}

impl Load {
    /// Four clients and 200 units against a server.
    pub fn new(base_url: &str, api_key: &str, model: &str) -> Self {
        Self {
            base_url: base_url.to_owned(),
            api_key: api_key.to_owned(),
            model: model.to_owned(),
            headers: Vec::new(),
            unit_header: "x-unit".to_owned(),
            clients: 4,
            units: 200,
            stream: false,
        }
    }

    /// Starts the clients.
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let load = Arc::new(self);
        let clients = (0..load.clients)
            .map(|_| {
                let (shared, load) = (Arc::clone(&shared), Arc::clone(&load));
                std::thread::spawn(move || client(&load, &shared))
            })
            .collect();
        Running { shared, clients }
    }
}

/// One request, answered or not.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The unit it was made for.
    pub unit: String,
    /// HTTP status; 0 when there was no answer.
    pub status: u16,
    /// `x-cutover-arm`.
    pub arm: Option<String>,
    /// The answer was whole: body complete and, in a stream, ended by `[DONE]` without an error.
    pub whole: bool,
    /// When it was sent.
    pub sent: Instant,
    /// When its last byte was there.
    pub ended: Instant,
    /// What came instead of a good answer.
    pub trouble: Option<String>,
}

impl Sample {
    /// A 200 with a whole body.
    pub fn good(&self) -> bool {
        self.status == 200 && self.whole
    }

    /// From the request to its last byte.
    pub fn latency(&self) -> Duration {
        self.ended - self.sent
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    turn: AtomicUsize,
    samples: Mutex<Vec<Sample>>,
}

impl Shared {
    fn samples(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Load under way; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Running {
    /// What has ended so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.shared.samples().clone()
    }

    /// How many requests have ended so far.
    pub fn ended(&self) -> usize {
        self.shared.samples().len()
    }

    /// Waits until so many requests more have ended.
    pub async fn more(&self, count: usize) {
        let goal = self.ended() + count;
        wait::until_async("requests to end under load", || self.ended() >= goal).await;
    }

    /// Stops the clients after their current request and returns all samples.
    pub fn stop(mut self) -> Vec<Sample> {
        self.halt();
        self.samples()
    }

    fn halt(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.halt();
    }
}

/// The arm that each unit got, if it was always the same one; panics on a unit that got two.
pub fn arms_by_unit(samples: &[Sample]) -> BTreeMap<String, String> {
    let mut arms = BTreeMap::new();
    for sample in samples {
        let Some(arm) = &sample.arm else { continue };
        let first = arms.entry(sample.unit.clone()).or_insert_with(|| arm.clone());
        assert!(first == arm, "unit {} moved from {first} to {arm}", sample.unit);
    }
    arms
}

/// Panics with the first few failures unless every request was answered well.
pub fn assert_all_good(samples: &[Sample]) {
    let bad: Vec<&Sample> = samples.iter().filter(|sample| !sample.good()).collect();
    let total = samples.len();
    assert!(total > 0, "no request was made");
    assert!(bad.is_empty(), "{} of {total} failed: {:#?}", bad.len(), &bad[..bad.len().min(3)]);
}

fn client(load: &Load, shared: &Shared) {
    let mut connection = None;
    while !shared.stop.load(Ordering::SeqCst) {
        let turn = shared.turn.fetch_add(1, Ordering::SeqCst);
        let unit = format!("unit-{}", turn % load.units.max(1));
        let sent = Instant::now();
        let outcome = ask(load, &unit, &mut connection);
        let mut sample = Sample {
            unit,
            status: 0,
            arm: None,
            whole: false,
            sent,
            ended: Instant::now(),
            trouble: None,
        };
        match outcome {
            Ok(response) => {
                sample.status = response.status;
                sample.arm = response.header("x-cutover-arm").map(str::to_owned);
                sample.whole = response.complete && (!load.stream || ended_well(&response));
                if !sample.good() {
                    sample.trouble = Some(response.text().chars().take(300).collect());
                }
            }
            Err(error) => {
                connection = None;
                sample.trouble = Some(error.to_string());
            }
        }
        shared.samples().push(sample);
    }
}

fn ask(load: &Load, unit: &str, connection: &mut Option<Raw>) -> std::io::Result<Response> {
    let body = json!({"model": load.model, "stream": load.stream, "max_tokens": 8,
        "messages": [{"role": "user", "content": "Say hello."}]});
    let key = format!("authorization: Bearer {}", load.api_key);
    let unit = format!("{}: {unit}", load.unit_header);
    let mut headers = vec![key.as_str(), unit.as_str()];
    headers.extend(load.headers.iter().map(String::as_str));
    let raw = match connection {
        Some(raw) => raw,
        None => connection.insert(Raw::open(&load.base_url)?),
    };
    raw.request("POST /v1/chat/completions", &headers, body.to_string())?;
    let response = raw.response()?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
        *connection = None;
    }
    Ok(response)
}

fn ended_well(response: &Response) -> bool {
    let events = response.events();
    events.last().is_some_and(|last| last == "[DONE]")
        && !events.iter().any(|event| event.contains("\"error\""))
}
