//! What goes in with a request, and what comes out of reading one.

use bytes::Bytes;
use cutover_units::{Micros, Millis};
use cutover_wire::{Endpoint, Fault, Loss, Unsupported};

use crate::answer::Answer;
use crate::losses::{Losses, Refused};
use crate::origins::Origins;
use crate::responses::Stored;
use crate::sampled::Sent;
use crate::stream::StreamOut;
use crate::table::Field;
use crate::{anthropic, gemini, ollama, responses};

/// What reading a request needs to know besides its body.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// A text that no other request has, in letters and digits: ids shown to the client are made of it.
    pub id: &'a str,
    /// When the request came.
    pub now: Millis,
    /// Whether answers can be stored: without it, what needs a stored one is refused.
    pub storage: bool,
    /// Whether one more answer can be stored now; if not, the answer says that it is not.
    pub room: bool,
    /// What happens to fields that the dialect's table marks as unsupported.
    pub unsupported: Unsupported,
    /// Whether an earlier answer's reasoning is sent back as `reasoning_content`, which self-hosted
    /// engines use and OpenAI's own API refuses. Off: it is dropped and reported.
    pub keep_reasoning: bool,
    /// Whether marks for caching are sent on, as members of parts, messages and tools, and signatures of
    /// calls, which only Anthropic's and Gemini's own APIs take. Off: the marks are dropped and reported.
    pub keep_marks: bool,
    /// Whether what no conversion can carry is left out, and not refused: the vendor's own API is sent what the client
    /// wrote, and nobody is sent what is read here.
    pub own: bool,
    /// Whether what is refused is noted ([`Inbound::refused`]) and left out, as a lenient caller does: what is asked of
    /// the body is then known after one reading.
    pub notes: bool,
    /// The model that the path names, its escapes undone; None where paths name none.
    pub named: Option<&'a str>,
    /// Whether the query asks for a stream of events, where a dialect has another form, too.
    pub events: bool,
}

impl<'a> RequestFacts<'a> {
    /// Facts with the careful choices: nothing stored, unsupported fields refused, no reasoning sent
    /// back.
    pub fn new(id: &'a str, now: Millis) -> Self {
        Self {
            id,
            now,
            storage: false,
            room: true,
            unsupported: Unsupported::Strict,
            keep_reasoning: false,
            keep_marks: false,
            own: false,
            notes: false,
            named: None,
            events: false,
        }
    }

    /// A report of what is lost or refused, by the rows of a table.
    pub(crate) fn losses(&self, fields: &'static [Field]) -> Losses {
        Losses::new(fields, self.unsupported).noting(self.notes)
    }
}

/// What the caller knows of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFacts {
    /// The name that clients ask for.
    pub name: String,
    /// When it was made, if known.
    pub modified: Millis,
    /// Tokens of context, if known.
    pub context_tokens: Option<u64>,
    /// Whether it can call tools, see images or think; `None`: not known, and not claimed.
    pub tools: Option<bool>,
    /// See `tools`.
    pub images: Option<bool>,
    /// See `tools`.
    pub thinking: Option<bool>,
    /// Whether it embeds instead of generating.
    pub embeds: bool,
}

/// When something happened, for answers that tell times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    pub at: Millis,
    /// Since the request came.
    pub elapsed: Micros,
}

/// A request that was read.
pub enum Asked {
    /// To be run.
    Infer(Box<Inbound>),
    /// Answered already: token estimates, Ollama's empty prompts.
    Now(Answer),
}

/// A request in the OpenAI dialect, and the way back. No `Debug`: it holds the prompt.
pub struct Inbound {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The request, in the OpenAI dialect.
    pub body: Bytes,
    /// Whether the client wants a stream; `body` says the same.
    pub stream: bool,
    /// What could not be carried as it was.
    pub losses: Vec<Loss>,
    /// What was refused of it, where that was noted.
    pub refused: Refused,
    /// What must be loaded before it can run, and kept afterwards.
    pub needs: StoreNeeds,
    /// What the client calls the fields of `body`.
    pub origins: Origins,
    /// Turns the answer into the client's dialect.
    pub way_back: WayBack,
}

/// What a request wants of the store of answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreNeeds {
    /// The answer shall be kept under its id.
    pub keep: bool,
    /// The conversation goes on from this answer: load it and its forerunners, and read the request
    /// again with [`responses::read_after`]. `body` lacks them until then.
    pub previous: Option<String>,
    /// Answers that single items refer to: to be loaded as well.
    pub items: Vec<String>,
}

impl StoreNeeds {
    /// Whether something must be loaded first.
    pub fn must_load(&self) -> bool {
        self.previous.is_some() || !self.items.is_empty()
    }
}

/// What the way back needs to know. No `Debug`: it may hold the client's instructions.
pub struct WayBack {
    pub(crate) kind: Back,
    pub(crate) model: String,
    pub(crate) id: String,
    pub(crate) created: Millis,
}

pub(crate) enum Back {
    Anthropic,
    Responses(Box<responses::Echo>),
    Ollama(ollama::Shape),
    Gemini(gemini::Shape),
}

impl WayBack {
    /// Turns a whole answer (status 200, the OpenAI dialect) into the client's dialect.
    pub fn reply(&self, body: &[u8], now: Moment) -> Result<Answer, Fault> {
        match &self.kind {
            Back::Anthropic => anthropic::reply(self, body),
            Back::Responses(echo) => {
                responses::reply(self, (echo, None), body, now).map(|(a, _)| a)
            }
            Back::Ollama(shape) => ollama::reply(self, *shape, body, now),
            Back::Gemini(shape) => gemini::reply(self, *shape, body),
        }
    }

    /// [`WayBack::reply`], as the answer to what was sent, with what shall be stored of it, if the client wants it
    /// stored.
    pub fn reply_and_keep(
        &self,
        body: &[u8],
        (sent, now): (Option<Sent<'_>>, Moment),
    ) -> Result<(Answer, Option<Stored>), Fault> {
        match &self.kind {
            Back::Responses(echo) => responses::reply(self, (echo, sent), body, now),
            _ => self.reply(body, now).map(|answer| (answer, None)),
        }
    }

    /// Turns a stream of the OpenAI dialect into the client's.
    pub fn stream(self) -> StreamOut {
        StreamOut::new(self)
    }

    /// The answer's id, as the client sees it.
    pub fn answer_id(&self) -> String {
        let prefix = match self.kind {
            Back::Anthropic => "msg_",
            Back::Responses(_) => "resp_",
            Back::Ollama(_) | Back::Gemini(_) => "",
        };
        format!("{prefix}{}", self.id)
    }
}
