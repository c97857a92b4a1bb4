//! The demo's clients: real texts, sent over HTTP as an application would.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use cutover_control::client::Call;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A request of the demo takes a second or two; a machine under load may need many more.
const TIMEOUT: Duration = Duration::from_mins(2);

/// What the users of `extraction` send.
const STATEMENTS: &[&str] = &[
    "On 3 March 2026 we debited 48.20 EUR from your account for electricity.",
    "Your salary of 2,913.77 EUR was credited on 27 February 2026.",
    "Card payment 12.90 EUR, bakery Hofmann, booked on 1 April 2026.",
    "Standing order: rent 890.00 EUR, executed on 2 May 2026.",
    "Refund of 59.99 EUR from the shoe shop, value date 14 June 2026.",
    "Cash withdrawal of 100 EUR at the main station on 9 July 2026.",
    "Interest for the second quarter: 3.17 EUR, credited on 30 June 2026.",
    "Insurance premium 231.40 EUR, debited on 15 August 2026.",
];

/// What the users of `summaries` send.
const CHANGES: &[&str] = &[
    "The cache no longer grows without bound: entries that were not read for a day are removed.",
    "Uploads of more than 2 GB failed on 32-bit systems because the size overflowed; it is 64 bits now.",
    "The login page works without JavaScript again.",
    "Searching for a word with an umlaut now also finds its spelling with two vowels.",
    "The nightly export runs in a transaction, so that a reader never sees half of it.",
    "Time zones are taken from the user's profile instead of the server's settings.",
    "A broken image in an article no longer stops the whole page from being shown.",
    "The command-line tool prints an error instead of a stack trace when the server is away.",
];

/// What the users of `triage` send.
const MAILS: &[&str] = &[
    "The boiler leaks and water runs into the cellar.",
    "Please send me last year's invoice once more.",
    "Nobody can log in since this morning.",
    "The lift is stuck with two people inside.",
    "I would like to change my postal address.",
    "When does the canteen open on Friday?",
    "Our card terminal refuses every payment.",
    "Thank you for the quick help yesterday.",
];

/// The schema of an answer of `extraction`: asked of the model, and judged by the scorer.
pub(super) const STATEMENT_SCHEMA: &str = include_str!("statement.json");

/// The users of one use case. Each asks once, so that each is an observation.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) use_case: &'static str,
    texts: &'static [&'static str],
    max_tokens: u32,
    /// What the answer has to look like, if it is JSON.
    format: Option<Value>,
    sent: AtomicU32,
    by_candidate: AtomicU32,
    failed: AtomicU32,
}

impl Crowd {
    /// The users of `extraction`.
    pub(super) fn extraction() -> anyhow::Result<Self> {
        let schema: Value = serde_json::from_str(STATEMENT_SCHEMA)?;
        let format = json!({
            "type": "json_schema",
            "json_schema": {"name": "statement", "strict": true, "schema": schema},
        });
        Ok(Self { format: Some(format), ..Self::new("extraction", STATEMENTS, 40) })
    }

    /// The users of `summaries`.
    pub(super) fn summaries() -> Self {
        Self::new("summaries", CHANGES, 12)
    }

    /// The users of `triage`.
    pub(super) fn triage() -> Self {
        Self::new("triage", MAILS, 4)
    }

    fn new(use_case: &'static str, texts: &'static [&'static str], max_tokens: u32) -> Self {
        let zero = AtomicU32::default;
        let (sent, by_candidate, failed) = (zero(), zero(), zero());
        Self { use_case, texts, max_tokens, format: None, sent, by_candidate, failed }
    }

    /// Requests so far.
    pub(super) fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Requests that the candidate answered.
    pub(super) fn by_candidate(&self) -> u32 {
        self.by_candidate.load(Ordering::Relaxed)
    }

    /// Requests that failed for their client.
    pub(super) fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Sends one request after the other until `stop`.
    pub(super) async fn send(&self, address: SocketAddr, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let at = self.sent.fetch_add(1, Ordering::Relaxed);
            match self.ask(address, at).await {
                Ok(arm) if arm == "candidate" => {
                    self.by_candidate.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(use_case = self.use_case, "a request failed: {error:#}");
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// One request as a stream, read to its end. Returns the arm that answered.
    async fn ask(&self, address: SocketAddr, at: u32) -> anyhow::Result<String> {
        let text = self.texts[at as usize % self.texts.len()];
        let mut body = json!({
            "model": self.use_case,
            "user": format!("{}-user-{at}", self.use_case),
            "stream": true,
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": text}],
        });
        if let Some(format) = &self.format {
            body["response_format"] = format.clone();
        }
        let call = Call {
            address,
            method: "POST",
            path: "/v1/chat/completions",
            token: None,
            body: Some(body.to_string().into_bytes()),
            timeout: TIMEOUT,
        };
        let answer = call.send().await?;
        anyhow::ensure!(answer.status == 200, "answered with status {}", answer.status);
        anyhow::ensure!(answer.body.ends_with(b"data: [DONE]\n\n"), "a stream did not end well");
        let arm = answer.header("x-cutover-arm").context("an answer does not tell its arm")?;
        Ok(arm.to_owned())
    }
}
