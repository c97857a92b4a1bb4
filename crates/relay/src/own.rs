//! Requests in their clients' own words, for upstreams that speak the same dialect.

use std::borrow::Cow;

use bytes::Bytes;
use cutover_dialects::anthropic::ANTHROPIC;
use cutover_dialects::gemini::GEMINI;
use cutover_dialects::ollama::OLLAMA;
use cutover_dialects::responses::RESPONSES;
use cutover_vendors::{anthropic, gemini};
use cutover_wire::adapt::adapt;
use cutover_wire::own::{self, Layout, Written};
use cutover_wire::providers::Dialect;
use cutover_wire::{Fault, Head, Loss, LossAction, Outgoing, Target};
use memchr::memmem;

use crate::sent::note_estimate;

/// A request as its client wrote it, in a dialect that some upstreams speak themselves. No `Debug`: it holds the
/// prompt.
#[derive(Clone)]
pub struct Own {
    /// Whose dialect it is.
    pub dialect: Dialect,
    /// What Google's paths end with; Ollama's as a whole.
    pub method: Option<&'static str>,
    /// What stands behind Anthropic's path, with its question mark: it chooses the fields that are known.
    /// Google's holds keys and how an answer is written, which is made here.
    query: String,
    /// As it came.
    pub body: Bytes,
    /// What is known of it, if that is all that must be known.
    layout: Option<Layout>,
}

impl Own {
    /// A request in a client's dialect. `None`: no provider speaks it, or the conversion is made there, too.
    pub fn of(
        dialect: &cutover_dialects::Dialect,
        (method, query): (Option<&'static str>, &str),
        body: &Bytes,
    ) -> Option<Self> {
        let provided = match dialect.name {
            name if name == GEMINI.name => Dialect::Gemini,
            name if name == ANTHROPIC.name => Dialect::Anthropic,
            name if name == OLLAMA.name => Dialect::Ollama,
            name if name == RESPONSES.name => Dialect::OpenAi,
            _ => return None,
        };
        let passes = |path: &str| own::ollama::ROUTES.contains(&path);
        if provided == Dialect::Ollama && !method.is_some_and(passes) {
            return None;
        }
        let query =
            if provided == Dialect::Anthropic { without_keys(query) } else { String::new() };
        Some(Self { dialect: provided, method, query, body: body.clone(), layout: None })
    }

    /// What an outline told of the body: it need not be looked at again.
    pub fn known(self, layout: Layout) -> Self {
        Self { layout: Some(layout), ..self }
    }

    /// Whether a target speaks it. OpenAI's clients of chat completions have no words of their own: they are all passed.
    pub fn is_for(&self, target: &Target) -> bool {
        let dialect = target.provider.dialect;
        self.dialect == dialect && (dialect != Dialect::OpenAi || target.responses)
    }

    /// The request for a target that speaks the same, in the client's own words. The head and body are those of the
    /// converted form. `None`: the target gets that one.
    pub fn adapted(
        &self,
        (head, body): (&Head, &Bytes),
        target: &Target,
    ) -> Option<Result<Outgoing, Fault>> {
        if !self.is_for(target) {
            return None;
        }
        if self.dialect == Dialect::Ollama {
            let asked = (self.written(), self.method?);
            return own::ollama::outgoing(asked, (head, body), target).map(Ok);
        }
        if self.dialect == Dialect::OpenAi {
            let (own, losses) = own::responses::request(self.written(), &head.model, target)?;
            return Some(adapt(head, body, target).map(|mut outgoing| {
                (outgoing.path, outgoing.body) = (Cow::Borrowed(own::responses::PATH), own);
                outgoing.losses = losses;
                (outgoing.reply.own, outgoing.reply.responses) = (true, true);
                outgoing
            }));
        }
        let model = target.model.as_ref().unwrap_or(&head.model);
        let path = match (self.dialect, self.method) {
            (Dialect::Gemini, Some(_)) if head.stream => gemini::path(model, gemini::STREAM),
            (Dialect::Gemini, Some(method)) => gemini::path(model, method),
            (Dialect::Anthropic, _) if self.query.is_empty() => Cow::Borrowed(anthropic::PATH),
            (Dialect::Anthropic, _) => Cow::Owned(format!("{}{}", anthropic::PATH, self.query)),
            _ => return None,
        };
        let may_be_mended = self.layout.as_ref().is_none_or(|known| known.calls);
        if self.dialect == Dialect::Anthropic
            && may_be_mended
            && anthropic::must_be_mended(&self.body)
        {
            return None;
        }
        let own = own::request(self.written(), &head.model, target)?;
        Some(adapt(head, body, target).map(|mut outgoing| {
            (outgoing.path, outgoing.body) = (path, own);
            outgoing.losses = own::left_out(&self.body, target);
            if self.dialect == Dialect::Anthropic && target.settings.seed.is_some() {
                outgoing.losses.push(no_seed());
            }
            outgoing.reply.own = true;
            note_estimate(head, &mut outgoing);
            outgoing
        }))
    }

    fn written(&self) -> Written<'_> {
        Written(&self.body, self.layout.as_ref())
    }

    /// Whether it holds the tokens of an earlier answer, which Ollama's `/api/generate` gives and takes.
    pub fn holds_tokens(&self) -> bool {
        self.method == Some("/api/generate") && memmem::find(&self.body, b"\"context\"").is_some()
    }
}

/// A variant's seed has no place in a client's own words to Anthropic.
fn no_seed() -> Loss {
    let why = "Anthropic has no seed";
    Loss { field: "variant.seed".to_owned(), action: LossAction::Dropped, why }
}

/// Parts of a query in which some clients send keys.
const KEYS: [&str; 6] = ["key", "api_key", "api-key", "apikey", "access_token", "token"];

/// A query without its keys, with its question mark; empty if nothing is left.
pub fn without_keys(query: &str) -> String {
    let is_key = |part: &&str| {
        let name = part.split('=').next().unwrap_or_default();
        KEYS.iter().any(|key| name.eq_ignore_ascii_case(key))
    };
    let mut text = String::new();
    for part in query.split('&').filter(|part| !part.is_empty()).filter(|part| !is_key(part)) {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(part);
    }
    text
}
