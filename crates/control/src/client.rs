//! A small HTTP client for servers on this machine: our own admin API and local engines.
//!
//! No TLS, no redirects, no reuse of connections, one deadline for the whole exchange. It speaks
//! HTTP/1.0 on purpose: no server may answer that in chunks, so an answer ends where the connection
//! ends, and nothing has to be parsed but the status line and the head's end.

use std::fmt::{self, Write as _};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use cutover_prompts::{LabelName, Reference};
use cutover_units::PromptName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::instances::{DrainInstance, Drained, Instances};
use crate::api::keys::{AddKey, KeyStatus, NewKey, RevokeKey, RotateKey};
use crate::api::models::{ManageModels, ModelsJob};
use crate::api::prompts::{AddPrompt, AddedPrompt, MoveLabel, MovedLabel, PromptList, PromptText};
use crate::api::rating::{LabelPair, Labelled, NextPair};
use crate::api::rollouts::{
    CommandRollout, DecisionStatus, ExplainedDecision, ReplayRollout, Replayed, RolloutStatus,
    StartRollout, Verified,
};
use crate::api::{
    ExplainRequest, Explanation, Failure, Reloaded, RollBack, RolledBack, SetWeight, Status,
    UseCaseStatus,
};

/// The largest answer read. A status of a thousand use cases has a tenth of this.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Long enough for a commit that waits for a busy disk, short enough for a person.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A rollback is answered within [`crate::Deadlines::total`]. Who gets no answer by then writes the
/// override itself.
pub const ROLLBACK_TIMEOUT: Duration = Duration::from_millis(900);

/// A long run has a hundred thousand windows.
pub const REPLAY_TIMEOUT: Duration = Duration::from_mins(2);

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there: nothing was sent.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("no answer from {address} within {} s", timeout.as_secs_f32())]
    Timeout {
        /// From whom.
        address: SocketAddr,
        /// The deadline.
        timeout: Duration,
    },
    /// The connection broke.
    #[error("connection to {address} broke")]
    Broken {
        /// To whom.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What came back is not HTTP, not the JSON we expect, or too long.
    #[error("{address} gave an answer that cannot be read: {what}")]
    Unreadable {
        /// From whom.
        address: SocketAddr,
        /// What is wrong with it.
        what: String,
    },
    /// The server said no.
    #[error("{}", .0.message)]
    Refused(Failure, u16),
}

impl CallError {
    /// Whether there is no cutover at the other end that could have acted.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. })
    }
}

/// One request.
#[derive(Clone)]
pub struct Call<'a> {
    /// Where to.
    pub address: SocketAddr,
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// Bearer token.
    pub token: Option<&'a str>,
    /// JSON body.
    pub body: Option<Vec<u8>>,
    /// Deadline of the whole exchange.
    pub timeout: Duration,
}

/// Without token and body.
impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.method, self.address, self.path)
    }
}

/// One answer.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Without the body.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

impl<'a> Call<'a> {
    /// A GET.
    pub fn get(address: SocketAddr, path: &'a str, timeout: Duration) -> Self {
        Self { address, method: "GET", path, token: None, body: None, timeout }
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Result<Answer, CallError> {
        let (address, timeout) = (self.address, self.timeout);
        match tokio::time::timeout(timeout, self.exchange()).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Timeout { address, timeout }),
        }
    }

    async fn exchange(self) -> Result<Answer, CallError> {
        let address = self.address;
        let mut stream = TcpStream::connect(address)
            .await
            .map_err(|source| CallError::Connect { address, source })?;
        let broken = |source| CallError::Broken { address, source };
        stream.write_all(&self.head_and_body()).await.map_err(broken)?;
        let mut answer = Vec::new();
        let limit = ANSWER_BYTES_MAX as u64 + 1;
        let read = stream.take(limit).read_to_end(&mut answer).await.map_err(broken)?;
        if read > ANSWER_BYTES_MAX {
            let what = format!("it is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(CallError::Unreadable { address, what });
        }
        parse(&answer).map_err(|what| CallError::Unreadable { address, what: what.to_owned() })
    }

    fn head_and_body(&self) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.0\r\nhost: {}\r\naccept: application/json\r\nconnection: close\r\n",
            self.method, self.path, self.address
        );
        // Writing to a String cannot fail.
        if let Some(token) = self.token {
            let _ = write!(head, "authorization: Bearer {token}\r\n");
        }
        if let Some(body) = &self.body {
            let _ = write!(
                head,
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            );
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

fn parse(bytes: &[u8]) -> Result<Answer, &'static str> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("the head has no end")?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "the head is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|rest| rest.get(2..5))
        .and_then(|digits| digits.parse().ok())
        .ok_or("no HTTP status line")?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    let length = answer.header("content-length").map(str::parse::<usize>);
    match length {
        Some(Err(_)) => Err("content-length is not a number"),
        Some(Ok(length)) if length > answer.body.len() => Err("it was cut off"),
        Some(Ok(length)) => {
            answer.body.truncate(length);
            Ok(answer)
        }
        None => Ok(answer),
    }
}

/// A client of the admin API.
#[derive(Clone)]
pub struct Admin {
    address: SocketAddr,
    token: String,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({})", self.address)
    }
}

impl Admin {
    /// A client of the admin listener at an address.
    pub fn new(address: SocketAddr, token: String) -> Self {
        Self { address, token }
    }

    /// `GET /admin/status`.
    pub async fn status(&self) -> Result<Status, CallError> {
        self.call("GET", "/admin/status", None::<&()>).await
    }

    /// `POST /admin/use-cases/{name}/weight`.
    pub async fn set_weight(&self, name: &str, to: &SetWeight) -> Result<UseCaseStatus, CallError> {
        self.call("POST", &format!("/admin/use-cases/{name}/weight"), Some(to)).await
    }

    /// `POST /admin/use-cases/{name}/rollback`.
    pub async fn roll_back(&self, name: &str, by: &RollBack) -> Result<RolledBack, CallError> {
        let path = format!("/admin/use-cases/{name}/rollback");
        self.call_within(ROLLBACK_TIMEOUT, ("POST", &path), Some(by)).await
    }

    /// `POST /admin/reload`.
    pub async fn reload(&self) -> Result<Reloaded, CallError> {
        self.call("POST", "/admin/reload", Some(&serde_json::Map::new())).await
    }

    /// `POST /admin/explain`.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, CallError> {
        self.call("POST", "/admin/explain", Some(request)).await
    }

    /// `GET /admin/keys`.
    pub async fn keys(&self) -> Result<Vec<KeyStatus>, CallError> {
        self.call("GET", "/admin/keys", None::<&()>).await
    }

    /// `POST /admin/keys`.
    pub async fn add_key(&self, key: &AddKey) -> Result<NewKey, CallError> {
        self.call("POST", "/admin/keys", Some(key)).await
    }

    /// `POST /admin/keys/{name}/rotate`.
    pub async fn rotate_key(&self, name: &str, rotate: &RotateKey) -> Result<NewKey, CallError> {
        self.call("POST", &format!("/admin/keys/{name}/rotate"), Some(rotate)).await
    }

    /// `DELETE /admin/keys/{name}`.
    pub async fn revoke_key(&self, name: &str, by: &RevokeKey) -> Result<KeyStatus, CallError> {
        self.call("DELETE", &format!("/admin/keys/{name}"), Some(by)).await
    }

    /// `GET /admin/prompts`.
    pub async fn prompts(&self) -> Result<PromptList, CallError> {
        self.call("GET", "/admin/prompts", None::<&()>).await
    }

    /// `POST /admin/prompts`.
    pub async fn add_prompt(&self, prompt: &AddPrompt) -> Result<AddedPrompt, CallError> {
        self.call("POST", "/admin/prompts", Some(prompt)).await
    }

    /// `GET /admin/prompts/{reference}`.
    pub async fn prompt(&self, of: &Reference) -> Result<PromptText, CallError> {
        self.call("GET", &format!("/admin/prompts/{of}"), None::<&()>).await
    }

    /// `POST /admin/prompts/{name}/labels/{label}`.
    pub async fn move_label(
        &self,
        (name, label): (&PromptName, &LabelName),
        to: &MoveLabel,
    ) -> Result<MovedLabel, CallError> {
        self.call("POST", &format!("/admin/prompts/{name}/labels/{label}"), Some(to)).await
    }

    /// `POST /admin/upstreams/{name}/models`.
    pub async fn manage_models(
        &self,
        upstream: &str,
        order: &ManageModels,
    ) -> Result<ModelsJob, CallError> {
        self.call("POST", &format!("/admin/upstreams/{upstream}/models"), Some(order)).await
    }

    /// `GET /admin/upstreams/{name}/models/{job}`.
    pub async fn models_job(&self, upstream: &str, job: u64) -> Result<ModelsJob, CallError> {
        let path = format!("/admin/upstreams/{upstream}/models/{job}");
        self.call("GET", &path, None::<&()>).await
    }

    /// `GET /admin/instances`.
    pub async fn instances(&self) -> Result<Instances, CallError> {
        self.call("GET", "/admin/instances", None::<&()>).await
    }

    /// `POST /admin/instances/drain`, or `/resume`.
    pub async fn drain(&self, order: &DrainInstance, out: bool) -> Result<Drained, CallError> {
        let verb = if out { "drain" } else { "resume" };
        self.call("POST", &format!("/admin/instances/{verb}"), Some(order)).await
    }

    /// `GET /admin/rollouts`.
    pub async fn rollouts(&self) -> Result<Vec<RolloutStatus>, CallError> {
        self.call("GET", "/admin/rollouts", None::<&()>).await
    }

    /// `GET /admin/rollouts/{name}`.
    pub async fn rollout(&self, name: &str) -> Result<RolloutStatus, CallError> {
        self.call("GET", &format!("/admin/rollouts/{name}"), None::<&()>).await
    }

    /// `POST /admin/rollouts/{name}/start`.
    pub async fn start_rollout(
        &self,
        name: &str,
        request: &StartRollout,
    ) -> Result<RolloutStatus, CallError> {
        self.call("POST", &format!("/admin/rollouts/{name}/start"), Some(request)).await
    }

    /// `POST /admin/rollouts/{name}/command`.
    pub async fn command_rollout(
        &self,
        name: &str,
        request: &CommandRollout,
    ) -> Result<RolloutStatus, CallError> {
        self.call("POST", &format!("/admin/rollouts/{name}/command"), Some(request)).await
    }

    /// `GET /admin/rollouts/{name}/history`.
    pub async fn rollout_history(&self, name: &str) -> Result<Vec<DecisionStatus>, CallError> {
        self.call("GET", &format!("/admin/rollouts/{name}/history"), None::<&()>).await
    }

    /// `POST /admin/rollouts/{name}/replay`.
    pub async fn replay_rollout(
        &self,
        name: &str,
        request: &ReplayRollout,
    ) -> Result<Replayed, CallError> {
        let path = format!("/admin/rollouts/{name}/replay");
        self.call_within(REPLAY_TIMEOUT, ("POST", &path), Some(request)).await
    }

    /// `GET /admin/rollouts/{name}/pairs/next`.
    pub async fn next_pair(&self, name: &str, rater: &str) -> Result<NextPair, CallError> {
        // No name for a rater needs escaping; what is none must still arrive to be refused.
        let plain = |c: char| if c.is_ascii_graphic() && c != '&' { c } else { '?' };
        let rater: String = rater.chars().map(plain).collect();
        let path = format!("/admin/rollouts/{name}/pairs/next?rater={rater}");
        self.call("GET", &path, None::<&()>).await
    }

    /// `POST /admin/rollouts/{name}/pairs/{pair}/label`.
    pub async fn label_pair(
        &self,
        name: &str,
        pair: u64,
        label: &LabelPair,
    ) -> Result<Labelled, CallError> {
        self.call("POST", &format!("/admin/rollouts/{name}/pairs/{pair}/label"), Some(label)).await
    }

    /// `GET /admin/decisions/{seq}`.
    pub async fn explain_decision(&self, seq: u64) -> Result<ExplainedDecision, CallError> {
        self.call("GET", &format!("/admin/decisions/{seq}"), None::<&()>).await
    }

    /// `GET /admin/decisions`.
    pub async fn verify_decisions(&self) -> Result<Verified, CallError> {
        self.call_within(REPLAY_TIMEOUT, ("GET", "/admin/decisions"), None::<&()>).await
    }

    async fn call<B: Serialize, A: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&B>,
    ) -> Result<A, CallError> {
        self.call_within(TIMEOUT, (method, path), body).await
    }

    async fn call_within<B: Serialize, A: DeserializeOwned>(
        &self,
        timeout: Duration,
        (method, path): (&str, &str),
        body: Option<&B>,
    ) -> Result<A, CallError> {
        let address = self.address;
        let unreadable = |e: serde_json::Error| CallError::Unreadable {
            address,
            // serde_json's messages may quote values; position and kind are enough.
            what: format!("unexpected JSON at line {} column {}", e.line(), e.column()),
        };
        let body = body.map(serde_json::to_vec).transpose().map_err(unreadable)?;
        let token = Some(self.token.as_str());
        let call = Call { address, method, path, token, body, timeout };
        let answer = call.send().await?;
        if (200..300).contains(&answer.status) {
            return serde_json::from_slice(&answer.body).map_err(unreadable);
        }
        if let Ok(failure) = serde_json::from_slice::<Failure>(&answer.body) {
            return Err(CallError::Refused(failure, answer.status));
        }
        // A refused reload is an answer of its own kind, with the status of a failure.
        serde_json::from_slice(&answer.body).map_err(|_| CallError::Unreadable {
            address,
            what: format!("status {} without a cutover error body", answer.status),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    #[test]
    fn answers_are_cut_at_their_length() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokxx").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
        assert_eq!(parse(b"HTTP/1.0 404 No\r\n\r\nx").unwrap().body, b"x");
        for bad in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 2\r\n\r\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").is_err());
    }

    #[tokio::test]
    async fn an_unreachable_server_is_told_from_one_that_says_no() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = Admin::new(address, "t".into()).status().await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_costs_the_deadline_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let call = Call::get(listener.local_addr().unwrap(), "/", Duration::from_millis(50));
        assert!(matches!(call.send().await, Err(CallError::Timeout { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
