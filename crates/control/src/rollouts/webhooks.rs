//! Tells others of decisions. What is decided never waits for who is told.
//!
//! ```text
//! tell > a bounded queue per webhook > POST > 2xx: done
//!                                        |
//!                                        +-- no answer, 408, 429, 5xx: again, later and later
//!                                        +-- any other status: given up, it would not change
//! ```
//!
//! Invariants:
//! - `tell` never waits: a full queue drops, and counts;
//! - the body is signed with the webhook's secret, over a time stamp and the body, so that neither
//!   can be changed nor an old message sent again;
//! - a decision holds numbers and names; a prompt or an answer is never in it.
//!
//! What waits when the process ends gets one more short chance and is then lost: the decisions
//! themselves are in the database.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cutover_telemetry::{Registry, events, families};
use cutover_units::Millis;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::outgoing::{Outgoing, Post, Url};
use crate::sign::hmac_sha256;

/// Decisions that wait for one webhook at most: a rollout makes a dozen in its life.
const QUEUE: usize = 256;

/// Tries of one message. With the pauses below the last one comes after about ten minutes.
const TRIES: u32 = 8;

/// The pause after the first failure; each further one doubles it.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// An answer's length is nobody's business.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// At the end of the process, what waits may take so long.
const LAST_CHANCE: Duration = Duration::from_secs(2);

const SIGNATURE: HeaderName = HeaderName::from_static("x-cutover-signature");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-cutover-timestamp");
const DELIVERY: HeaderName = HeaderName::from_static("x-cutover-delivery");

/// Somebody who wants to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name in the config file.
    pub name: String,
    /// Where it listens.
    pub url: Url,
    /// What messages are signed with; none: they are not signed.
    pub secret: Option<String>,
    /// Time for one try.
    pub timeout: Duration,
    /// The actions it is told of; empty: all.
    pub events: Vec<String>,
}

/// Without the secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({}, {:?})", self.name, self.url)
    }
}

/// What has become of a webhook's messages since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookStatus {
    /// Its name.
    pub name: String,
    /// Messages that were taken.
    pub delivered: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Messages that found the queue full.
    pub dropped: u64,
    /// Messages that wait.
    pub waiting: u64,
    /// Why the last try failed; none after a success.
    pub last_failure: Option<String>,
}

/// All webhooks: a cheap handle.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

struct Shared {
    outgoing: Outgoing,
    registry: Registry,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    hooks: Mutex<BTreeMap<String, Hook>>,
    tasks: TaskTracker,
    ending: CancellationToken,
}

struct Hook {
    webhook: Webhook,
    queue: mpsc::Sender<Message>,
    figures: Arc<Mutex<WebhookStatus>>,
    gone: CancellationToken,
}

struct Message {
    id: String,
    body: Bytes,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhooks")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Webhooks {
    /// None yet.
    pub fn new(
        outgoing: Outgoing,
        registry: Registry,
        clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    ) -> Self {
        Self(Arc::new(Shared {
            outgoing,
            registry,
            clock,
            hooks: Mutex::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        }))
    }

    /// From now on these and no others are told. One that has not changed keeps its queue.
    pub fn set(&self, webhooks: Vec<Webhook>) {
        let mut hooks = lock(&self.0.hooks);
        let before = std::mem::take(&mut *hooks);
        for (_, hook) in before {
            if webhooks.contains(&hook.webhook) {
                hooks.insert(hook.webhook.name.clone(), hook);
            } else {
                hook.gone.cancel();
            }
        }
        for webhook in webhooks {
            hooks.entry(webhook.name.clone()).or_insert_with(|| self.start(webhook));
        }
    }

    fn start(&self, webhook: Webhook) -> Hook {
        let (queue, messages) = mpsc::channel(QUEUE);
        let figures = WebhookStatus { name: webhook.name.clone(), ..WebhookStatus::default() };
        let (figures, gone) = (Arc::new(Mutex::new(figures)), CancellationToken::new());
        let teller =
            Teller { shared: self.0.clone(), webhook: webhook.clone(), figures: figures.clone() };
        let over = gone.clone();
        self.0.tasks.spawn(async move {
            tokio::select! { () = teller.run(messages) => {}, () = over.cancelled() => {} }
        });
        Hook { webhook, queue, figures, gone }
    }

    /// Tells all that want to know of this action. `id` is the same in each try.
    pub(crate) fn tell(&self, id: &str, action: &str, body: &Bytes) {
        let hooks = lock(&self.0.hooks);
        let wants = |hook: &&Hook| {
            let events = &hook.webhook.events;
            events.is_empty() || events.iter().any(|event| event == action)
        };
        for hook in hooks.values().filter(wants) {
            let message = Message { id: id.to_owned(), body: body.clone() };
            if hook.queue.try_send(message).is_err() {
                lock(&hook.figures).dropped += 1;
                self.0.count(&hook.webhook.name, "dropped");
            } else {
                lock(&hook.figures).waiting += 1;
            }
        }
    }

    /// What has become of their messages.
    pub fn statuses(&self) -> Vec<WebhookStatus> {
        lock(&self.0.hooks).values().map(|hook| lock(&hook.figures).clone()).collect()
    }

    /// Gives what waits a last short chance.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.ending.cancel();
        lock(&self.0.hooks).values_mut().for_each(|hook| {
            let (closed, _) = mpsc::channel(1);
            hook.queue = closed;
        });
        if tokio::time::timeout(LAST_CHANCE, self.0.tasks.wait()).await.is_err() {
            lock(&self.0.hooks).values().for_each(|hook| hook.gone.cancel());
            self.0.tasks.wait().await;
        }
    }
}

impl Shared {
    fn count(&self, webhook: &str, result: &'static str) {
        self.registry.counter(families::WEBHOOK_DELIVERIES, [webhook, result]).inc();
    }
}

/// What came of one try.
enum Tried {
    Taken,
    /// It may be taken later.
    Later(String),
    /// It would never be taken.
    Never(String),
}

/// The one who tells one webhook.
struct Teller {
    shared: Arc<Shared>,
    webhook: Webhook,
    figures: Arc<Mutex<WebhookStatus>>,
}

impl Teller {
    async fn run(self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            let result = self.deliver(&message).await;
            let mut figures = lock(&self.figures);
            figures.waiting = figures.waiting.saturating_sub(1);
            match result {
                Ok(()) => {
                    figures.delivered += 1;
                    figures.last_failure = None;
                    self.shared.count(&self.webhook.name, "delivered");
                }
                Err(why) => {
                    figures.failed += 1;
                    figures.last_failure = Some(why);
                    self.shared.count(&self.webhook.name, "failed");
                }
            }
        }
    }

    async fn deliver(&self, message: &Message) -> Result<(), String> {
        let mut pause = PAUSE;
        for tried in 1..=TRIES {
            let why = match self.attempt(message).await {
                Tried::Taken => return Ok(()),
                Tried::Never(why) => {
                    self.tell_failure(&why);
                    return Err(why);
                }
                Tried::Later(why) => why,
            };
            self.tell_failure(&why);
            lock(&self.figures).last_failure = Some(why.clone());
            if tried == TRIES || self.shared.ending.is_cancelled() {
                return Err(why);
            }
            self.shared.count(&self.webhook.name, "retried");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.ending.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Err("it was never tried".to_owned())
    }

    async fn attempt(&self, message: &Message) -> Tried {
        let post = Post {
            url: self.webhook.url.clone(),
            headers: self.headers(message),
            body: message.body.clone(),
            timeout: self.webhook.timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        match self.shared.outgoing.post(post).await {
            Ok((200..=299, _)) => Tried::Taken,
            Ok((status @ (408 | 429 | 500..), _)) => Tried::Later(format!("status {status}")),
            Ok((status, _)) => Tried::Never(format!("status {status}")),
            Err(error) => Tried::Later(error.to_string()),
        }
    }

    fn headers(&self, message: &Message) -> Vec<(HeaderName, HeaderValue)> {
        let at = ((self.shared.clock)().0 / 1_000).to_string();
        let signature = self.webhook.secret.as_ref().map(|secret| {
            let parts = [at.as_bytes(), b".", &message.body];
            format!("sha256={}", hmac_sha256(secret.as_bytes(), &parts))
        });
        let rows = [(DELIVERY, Some(message.id.clone())), (SIGNATURE, signature)];
        let rows = rows.into_iter().chain([(TIMESTAMP, Some(at))]);
        rows.filter_map(|(name, value)| Some((name, HeaderValue::try_from(value?).ok()?))).collect()
    }

    fn tell_failure(&self, why: &str) {
        let at = (self.shared.clock)();
        events::WebhookFailed { webhook: &self.webhook.name, why, at }.emit(&self.shared.registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Server};

    fn webhooks(server: &Server, timeout: Duration) -> Webhooks {
        let clock = Arc::new(|| Millis(1_795_256_103_000));
        let webhooks = Webhooks::new(Outgoing::new(None), Registry::new(), clock);
        webhooks.set(vec![Webhook {
            name: "chat".into(),
            url: Url::parse(&format!("http://{}/hook", server.address())).unwrap(),
            secret: Some("s3cret".into()),
            timeout,
            events: vec!["advance".into()],
        }]);
        webhooks
    }

    fn body() -> Bytes {
        Bytes::from_static(br#"{"action":"advance"}"#)
    }

    async fn until(webhooks: &Webhooks, done: impl Fn(&WebhookStatus) -> bool) {
        while !webhooks.statuses().iter().all(&done) {
            tokio::time::advance(Duration::from_millis(200)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_signed_over_time_and_body() {
        let server = Server::start(|_| Answer::new(204, "")).await;
        let webhooks = webhooks(&server, Duration::from_hours(9));
        webhooks.tell("run/2", "pause", &body());
        webhooks.tell("run/3", "advance", &body());
        server.asked(1).await;
        let asked = &server.seen()[0];
        let code = hmac_sha256(b"s3cret", &[b"1795256103.", &body()]);
        assert!(asked.head.contains(&format!("x-cutover-signature: sha256={code}")));
        assert!(asked.head.contains("x-cutover-delivery: run/3"));
        assert_eq!(asked.body.as_bytes(), body());
        until(&webhooks, |hook| hook.delivered == 1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_fails_is_asked_again_and_a_refusal_is_final() {
        let server =
            Server::start(|n| Answer::new([500, 429, 200, 410].get(n).copied().unwrap_or(200), ""))
                .await;
        let webhooks = webhooks(&server, Duration::from_hours(9));
        webhooks.tell("run/1", "advance", &body());
        until(&webhooks, |hook| hook.delivered == 1 && hook.last_failure.is_none()).await;
        assert_eq!(server.seen().len(), 3);
        webhooks.tell("run/2", "advance", &body());
        until(&webhooks, |hook| hook.failed == 1).await;
        assert_eq!(webhooks.statuses()[0].last_failure.as_deref(), Some("status 410"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_hangs_holds_up_nobody() {
        let server = Server::start(|_| Answer::Never).await;
        let webhooks = webhooks(&server, Duration::from_secs(5));
        for n in 0..QUEUE + 10 {
            webhooks.tell(&format!("run/{n}"), "advance", &body());
        }
        assert!(webhooks.statuses()[0].dropped >= 9);
        webhooks.close().await;
    }
}
