//! Answers of the Responses API that clients want kept: loading what a request goes on from, keeping
//! what was answered, and the routes that show and delete it.
//!
//! ```text
//! previous_response_id ─ load ─▶ read again with it ─▶ the pipeline ─▶ answer ─ keep ─▶ client
//! ```
//!
//! The gateway waits for the store nowhere else. Here the request itself asks for what is stored, so it
//! waits, for [`LOOKUP_WITHIN`] at most; a store that is away is an error of that request alone. An answer
//! is kept in memory first, from where the next request can read at once, and its client is told of its end
//! once it is written, so that a kill takes nothing away of which somebody was told `"store": true`; after
//! [`WRITTEN_WITHIN`] it is told all the same, and that is counted. Only who wants an answer kept waits.
//!
//! Whose an answer is, is a matter of its key: to others it is not there. What a local-only use case
//! answered goes on in a local-only use case or not at all.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use cutover_dialects::responses::{self, Loaded, Stored};
use cutover_dialects::{Answer, StoreNeeds};
use cutover_store::{Conversation, ConversationQuery, Document, KeptResponse, Key};
use cutover_telemetry::families;
use cutover_units::Code;
use cutover_wire::Fault;
use tokio::time::timeout;

use crate::exchange::Exchange;

/// How long a request waits for what it goes on from. Reading takes well under a millisecond; a database
/// that is locked for longer will not be there for this request.
const LOOKUP_WITHIN: Duration = Duration::from_secs(2);

/// How long the end of an answer waits until it is written: a write takes well under a millisecond. A
/// database that takes longer is locked or ill, which is told in the log and no reason to hold an answer.
const WRITTEN_WITHIN: Duration = Duration::from_millis(250);

/// Most turns of a conversation that is gone on with.
const TURNS_MAX: usize = 1_000;

/// Most answers that single items of a request may refer to.
const ITEMS_MAX: usize = 100;

/// The field that names the answer a request goes on from.
const PARAM: &str = "previous_response_id";

/// The place is away: nothing can be said of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// What looking something up becomes.
pub type Looking<T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send>>;

/// What an answer that is kept becomes: whether it was written.
pub type Writing = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Where answers are kept: all that the gateway may ask of the store.
pub trait KeptAnswers: Send + Sync {
    /// Whether one more answer would be taken now.
    fn has_room(&self) -> bool;
    /// Takes an answer at once, and tells when it is written. False: it was dropped and counted, or it
    /// waits in memory for a database that is away.
    fn keep(&self, answer: KeptResponse) -> Writing;
    /// One answer, if it is this key's.
    fn answer(&self, id: String, owner: Option<i64>) -> Looking<Option<KeptResponse>>;
    /// A conversation, oldest answer first.
    fn conversation(&self, query: ConversationQuery) -> Looking<Conversation>;
    /// Deletes an answer, if it is this key's. Tells whether it was there.
    fn delete(&self, id: String, owner: Option<i64>) -> Looking<bool>;
}

/// Whose answers a caller may see: its key's own, or those of nobody where no keys are asked for.
pub(crate) fn owner(caller: Option<&Arc<Key>>) -> Option<i64> {
    caller.map(|key| key.id)
}

/// What a request goes on from. No `Debug`: it holds the conversation.
#[derive(Default)]
pub(crate) struct Before {
    earlier: Vec<Stored>,
    items: Vec<Stored>,
    /// Whether any of it is a local-only use case's.
    pub(crate) local_only: bool,
}

impl Before {
    /// As the dialect reads it.
    pub(crate) fn loaded(&self) -> Loaded<'_> {
        Loaded { earlier: &self.earlier, items: &self.items }
    }
}

/// Who looks, and how much may be loaded.
#[derive(Clone, Copy)]
pub(crate) struct Looker<'a> {
    pub(crate) kept: &'a dyn KeptAnswers,
    pub(crate) owner: Option<i64>,
    pub(crate) bytes_max: usize,
}

impl Looker<'_> {
    /// Loads what a request needs.
    pub(crate) async fn load(self, needs: &StoreNeeds) -> Result<Before, Fault> {
        let mut before = Before::default();
        let mut bytes = 0_usize;
        if let Some(id) = &needs.previous {
            for turn in self.conversation(id).await? {
                bytes = bytes.saturating_add(turn.document.0.len());
                before.local_only |= turn.local_only;
                before.earlier.push(stored(&turn)?);
            }
        }
        if needs.items.len() > ITEMS_MAX {
            let message = format!("items refer to more than {ITEMS_MAX} stored responses");
            return Err(wrong("input", message));
        }
        for id in &needs.items {
            let found = await_kept(self.kept.answer(id.clone(), self.owner)).await?;
            let found = found.ok_or_else(|| responses::not_stored(id, Some("input")))?;
            bytes = bytes.saturating_add(found.document.0.len());
            if bytes > self.bytes_max {
                return Err(wrong("input", self.too_long()));
            }
            before.local_only |= found.local_only;
            before.items.push(stored(&found)?);
        }
        Ok(before)
    }

    async fn conversation(self, id: &str) -> Result<Vec<KeptResponse>, Fault> {
        let query = ConversationQuery {
            id: id.to_owned(),
            owner: self.owner,
            turns_max: TURNS_MAX,
            bytes_max: self.bytes_max,
        };
        match await_kept(self.kept.conversation(query)).await? {
            Conversation::Whole(turns) => Ok(turns),
            Conversation::Missing(missing) if missing == id => {
                Err(responses::not_stored(id, Some(PARAM)))
            }
            Conversation::Missing(_) => {
                let message = "an earlier response of this conversation was deleted or has expired; \
                               send the whole conversation as input";
                Err(Fault::of(Code::PreviousResponseNotFound, PARAM, message))
            }
            Conversation::TooLong => Err(wrong(PARAM, self.too_long())),
        }
    }

    fn too_long(self) -> String {
        let bytes = self.bytes_max;
        format!("the stored conversation has more than {TURNS_MAX} turns or {bytes} bytes")
    }

    /// One answer, for the routes that name it in their path.
    async fn one(self, id: &str) -> Result<Stored, Fault> {
        let found = await_kept(self.kept.answer(id.to_owned(), self.owner)).await?;
        stored(&found.ok_or_else(|| responses::not_stored(id, None))?)
    }
}

/// What is asked of one kept answer.
#[derive(Clone, Copy)]
pub(crate) enum About {
    Show,
    Delete,
    Input,
}

/// `GET` and `DELETE` of an answer, and its input items.
pub(crate) async fn about(
    looker: Looker<'_>,
    (about, id): (About, &str),
    query: &str,
) -> Result<Answer, Fault> {
    match about {
        About::Show => {
            if query.split('&').any(|pair| pair == "stream=true") {
                return Err(wrong("stream", "cutover does not replay streams".to_owned()));
            }
            looker.one(id).await.map(|stored| responses::get(&stored))
        }
        About::Input => responses::input_items(&looker.one(id).await?, query),
        About::Delete => {
            let there = await_kept(looker.kept.delete(id.to_owned(), looker.owner)).await?;
            if there { Ok(responses::deleted(id)) } else { Err(responses::not_stored(id, None)) }
        }
    }
}

/// The end of an answer, held back until the answer is written. Over when there is nothing to wait for.
#[derive(Default)]
pub(crate) struct Held(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Held {
    /// Waits no longer than is allowed.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = &mut self.0 else { return Poll::Ready(()) };
        ready!(waiting.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(())
    }

    /// Until it is over.
    pub(crate) async fn over(mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    /// Keeps an answer, if the client wants that. What has no room is counted there.
    pub(crate) fn keep(&mut self, exchange: &Exchange, stored: Option<Stored>) {
        let Some(stored) = stored else { return };
        let (Some(kept), Some(foreign)) = (&exchange.shared.answers, &exchange.foreign) else {
            return;
        };
        let document = Document(stored.to_json());
        let writing = kept.keep(KeptResponse {
            id: stored.id,
            owner: foreign.owner,
            at: exchange.shared.now(),
            previous: stored.previous,
            local_only: exchange.chosen.local_only || foreign.local_only,
            document,
        });
        let late = exchange.shared.registry.counter(families::RESPONSES_LATE, []);
        self.0 = Some(Box::pin(async move {
            if timeout(WRITTEN_WITHIN, writing).await != Ok(true) {
                late.inc();
            }
        }));
    }
}

/// Why a request may not go on with what it names, if so: it would carry a local-only use case's words
/// elsewhere.
pub(crate) fn strays(exchange: &Exchange) -> Option<Fault> {
    let foreign = exchange.foreign.as_ref()?;
    let strays = foreign.local_only && !exchange.chosen.local_only;
    let message = "this conversation is a local-only use case's, and can go on in such a one only";
    strays.then(|| Fault::of(Code::PermissionDenied, PARAM, message))
}

async fn await_kept<T>(looking: Looking<T>) -> Result<T, Fault> {
    match timeout(LOOKUP_WITHIN, looking).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(Unavailable)) | Err(_) => {
            let message = "stored responses cannot be read at the moment; send it again later, or \
                           send the whole conversation as input";
            Err(Fault::new(Code::StoredResponsesUnavailable, message))
        }
    }
}

fn stored(kept: &KeptResponse) -> Result<Stored, Fault> {
    let damaged = || Fault::new(Code::Internal, "a stored response could not be read");
    Stored::from_json(&kept.document.0).ok_or_else(damaged)
}

fn wrong(param: &str, message: String) -> Fault {
    Fault::of(Code::InvalidValue, param, message)
}
