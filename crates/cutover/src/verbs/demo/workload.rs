//! The demo's clients: real texts, sent over HTTP as an application would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use cutover_control::client::Call;
use serde_json::json;

/// Answers are short, so that the demo is.
const MAX_TOKENS: u32 = 16;

/// A request of the demo takes a second or two; a machine under load may need many more.
const TIMEOUT: Duration = Duration::from_mins(2);

/// What the users of `extraction` send.
const STATEMENTS: [&str; 8] = [
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
const CHANGES: [&str; 8] = [
    "The cache no longer grows without bound: entries that were not read for a day are removed.",
    "Uploads of more than 2 GB failed on 32-bit systems because the size overflowed; it is 64 bits now.",
    "The login page works without JavaScript again.",
    "Searching for a word with an umlaut now also finds its spelling with two vowels.",
    "The nightly export runs in a transaction, so that a reader never sees half of it.",
    "Time zones are taken from the user's profile instead of the server's settings.",
    "A broken image in an article no longer stops the whole page from being shown.",
    "The command-line tool prints an error instead of a stack trace when the server is away.",
];

/// The users of one use case, and who answered each of them last.
#[derive(Debug)]
pub(super) struct Crowd {
    use_case: &'static str,
    texts: &'static [&'static str],
    users: usize,
    sent: usize,
    arms: BTreeMap<String, String>,
    /// Users that a growing weight moved from candidate to baseline.
    pub(super) moved_back: usize,
}

/// What one step's requests came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Answered by the baseline.
    pub(super) baseline: usize,
    /// Answered by the candidate.
    pub(super) candidate: usize,
}

impl Crowd {
    /// The users of `extraction`.
    pub(super) fn extraction(users: usize) -> Self {
        Self::new("extraction", &STATEMENTS, users)
    }

    /// The users of `summaries`.
    pub(super) fn summaries(users: usize) -> Self {
        Self::new("summaries", &CHANGES, users)
    }

    fn new(use_case: &'static str, texts: &'static [&'static str], users: usize) -> Self {
        Self { use_case, texts, users, sent: 0, arms: BTreeMap::new(), moved_back: 0 }
    }

    /// How many users have asked so far.
    pub(super) fn seen(&self) -> usize {
        self.arms.len()
    }

    /// Sends so many requests, one after the other. `growing` says that no user may move back.
    pub(super) async fn send(
        &mut self,
        address: SocketAddr,
        (requests, growing): (usize, bool),
        done: &(dyn Fn() + Sync),
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        for _ in 0..requests {
            let user = format!("{}-user-{}", self.use_case, self.sent % self.users);
            let text = self.texts[self.sent % self.texts.len()];
            self.sent += 1;
            let arm = ask(address, self.use_case, &user, text).await?;
            match arm.as_str() {
                "candidate" => tally.candidate += 1,
                _ => tally.baseline += 1,
            }
            let before = self.arms.insert(user, arm.clone());
            if growing && before.as_deref() == Some("candidate") && arm == "baseline" {
                self.moved_back += 1;
            }
            done();
        }
        Ok(tally)
    }
}

/// One request as a stream, read to its end. Returns the arm that answered.
async fn ask(address: SocketAddr, model: &str, user: &str, text: &str) -> anyhow::Result<String> {
    let body = json!({
        "model": model,
        "user": user,
        "stream": true,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": text}],
    });
    let call = Call {
        address,
        method: "POST",
        path: "/v1/chat/completions",
        token: None,
        body: Some(body.to_string().into_bytes()),
        timeout: TIMEOUT,
    };
    let answer = call.send().await?;
    ensure!(answer.status == 200, "a request was answered with status {}", answer.status);
    ensure!(answer.body.ends_with(b"data: [DONE]\n\n"), "a stream did not end well");
    let arm = answer.header("x-cutover-arm").context("an answer does not tell its arm")?;
    Ok(arm.to_owned())
}
