//! Steady with a vendor's specification, and a small server before it that remembers its verdicts.
//!
//! Steady answers with JSON, streams included. The server before it lets Steady judge a request for a
//! stream, and then streams a short answer, as the vendor does.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::NamedTempFile;

use super::Vendor;
use crate::cloud::Arrived;
use crate::cloud::http::{Incoming, Told};
use crate::raw;
use crate::rig::{self, Unavailable};

/// Steady reads three megabytes of YAML before it listens.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Another process may take a free port between our look and Steady's bind.
const STARTS: usize = 5;
/// Bodies are kept whole: the largest that a test sends is far smaller.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A request and what Steady said to it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Method and path.
    pub line: String,
    /// The body, `Null` if it is no JSON.
    pub body: Value,
    /// Steady's status.
    pub status: u16,
    /// What Steady complains of; empty for a request that is as the specification says.
    pub complaint: String,
}

struct Shared {
    vendor: Vendor,
    steady: String,
    judged: Mutex<Vec<Judged>>,
    stopped: AtomicBool,
}

impl Shared {
    fn judged(&self) -> MutexGuard<'_, Vec<Judged>> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running mock of a vendor's API; its process ends with the value.
pub struct Mock {
    shared: Arc<Shared>,
    address: SocketAddr,
    steady: Child,
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Mock({:?}, {})", self.shared.vendor, self.address)
    }
}

impl Mock {
    /// Starts one with the published specification of this vendor.
    pub fn start(vendor: Vendor) -> Result<Self, Unavailable> {
        let trouble = |error: std::io::Error| Unavailable(format!("starting Steady: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(trouble)?;
        let address = listener.local_addr().map_err(trouble)?;
        let mut last = String::new();
        for _ in 0..STARTS {
            let (judged, stopped) = (Mutex::default(), AtomicBool::new(false));
            let (steady, child, log) = spawn(vendor)?;
            let shared = Arc::new(Shared { vendor, steady, judged, stopped });
            // From here on the value's drop ends the process, whatever happens.
            let mut mock = Self { shared, address, steady: child };
            match mock.wait_until_ready(&log) {
                Ok(()) => {
                    let shared = Arc::clone(&mock.shared);
                    thread::spawn(move || listen(&listener, &shared));
                    return Ok(mock);
                }
                Err(why) => last = why,
            }
        }
        Err(Unavailable(last))
    }

    /// Its own word counts: another process may have taken the port, and would answer there.
    fn wait_until_ready(&mut self, log: &NamedTempFile) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let said = fs::read_to_string(log.path()).unwrap_or_default();
            let words = ["Ready to accept requests", "Server listening at"];
            if words.iter().any(|word| said.contains(word)) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.steady.try_wait() {
                return Err(format!("Steady ended with {status}:\n{said}"));
            }
            if start.elapsed() > READY_WITHIN {
                return Err(format!("Steady was not ready within {READY_WITHIN:?}:\n{said}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where it listens, as the vendor's clients want it: OpenAI's with `/v1`.
    pub fn base_url(&self) -> String {
        match self.shared.vendor {
            Vendor::OpenAi => format!("http://{}/v1", self.address),
            Vendor::Anthropic => format!("http://{}", self.address),
        }
    }

    /// All requests so far, with what Steady said.
    pub fn judged(&self) -> Vec<Judged> {
        self.shared.judged().clone()
    }

    /// Panics with every request that departed from the specification, and unless exactly so many came:
    /// one that is not made any more is not judged any more.
    pub fn assert_all_valid(&self, count: usize) {
        let judged = self.judged();
        let wrong: Vec<&Judged> = judged.iter().filter(|one| one.status >= 400).collect();
        assert!(wrong.is_empty(), "{} requests are not valid: {wrong:#?}", wrong.len());
        let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &judged {
            *asked.entry(&one.line).or_default() += 1;
        }
        assert_eq!(judged.len(), count, "{asked:#?}");
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        // The listener's thread sees the flag at its next connection.
        let _ = TcpStream::connect(self.address);
        let _ = self.steady.kill();
        let _ = self.steady.wait();
    }
}

/// Steady on a port that was free a moment ago: its address, its process, what it prints.
fn spawn(vendor: Vendor) -> Result<(String, Child, NamedTempFile), Unavailable> {
    let trouble = |error: std::io::Error| Unavailable(format!("starting Steady: {error}"));
    let (program, spec) = (rig::steady()?, rig::vendor_spec(vendor.name())?);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(trouble)?;
    let port = free.local_addr().map_err(trouble)?.port();
    drop(free);
    let log = NamedTempFile::new().map_err(trouble)?;
    // Both streams at the end of the file: a runtime that keeps its own place in each would write one
    // over the other, and its word of being ready might be lost.
    let append = || fs::OpenOptions::new().append(true).open(log.path()).map_err(trouble);
    let (out, error) = (append()?, append()?);
    let child = Command::new(program)
        .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--quiet"])
        .args(["query-array", "query-object", "form-array", "form-object"].map(brackets))
        .arg(spec)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(error)
        .spawn()
        .map_err(trouble)?;
    Ok((format!("http://127.0.0.1:{port}"), child, log))
}

/// How the vendors' SDKs write lists and objects into queries and forms.
fn brackets(what: &str) -> String {
    format!("--validator-{what}-format=brackets")
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.stopped.load(SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(stream, &shared));
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut incoming = Incoming::new(stream);
    while let Ok(Some(head)) = incoming.head() {
        let arrived = incoming.body(&head, BODY_BYTES_MAX, &|_| ());
        if !arrived.whole || incoming.answer(&answer(shared, &arrived)).is_err() {
            return;
        }
    }
}

fn answer(shared: &Shared, arrived: &Arrived) -> Told {
    let path = match shared.vendor {
        // The document's paths do not have the version, which is part of its server's address.
        Vendor::OpenAi => arrived.target.strip_prefix("/v1").unwrap_or(&arrived.target),
        Vendor::Anthropic => &arrived.target,
    };
    let line = format!("{} {path}", arrived.method);
    let body = arrived.body.as_deref().unwrap_or_default();
    let headers: Vec<String> = arrived
        .headers
        .iter()
        .filter(|(name, _)| {
            !["host", "connection", "content-length", "accept-encoding"].contains(&name.as_str())
        })
        // `raw` says the type of a body by itself.
        .filter(|(name, _)| name != "content-type" || body.is_empty())
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let said = raw::exchange(&shared.steady, &line, &headers, body);
    let said = said.unwrap_or_else(|error| raw::Response {
        status: 599,
        body: error.to_string().into_bytes(),
        ..raw::Response::default()
    });
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let streams = sent["stream"] == Value::Bool(true) && said.status == 200;
    let complaint = if said.status >= 400 { said.text() } else { String::new() };
    shared.judged().push(Judged { line, body: sent, status: said.status, complaint });
    if streams {
        let text = match (shared.vendor, path) {
            (Vendor::Anthropic, _) => MESSAGES_STREAM,
            (_, "/completions") => COMPLETIONS_STREAM,
            _ => CHAT_STREAM,
        };
        return Told::bytes("text/event-stream", text.as_bytes().to_vec());
    }
    let kind = said.header("content-type").unwrap_or("application/json").to_owned();
    Told { status: said.status, ..Told::bytes(&kind, said.body) }
}

const CHAT_STREAM: &str = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}

data: [DONE]

"#;

const COMPLETIONS_STREAM: &str = r#"data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"Hello","logprobs":null,"finish_reason":null}]}

data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}]}

data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}

data: [DONE]

"#;

const MESSAGES_STREAM: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}

event: message_stop
data: {"type":"message_stop"}

"#;
