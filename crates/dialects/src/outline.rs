//! What a request tells without a conversion, in one pass over its own body: where it goes and how its answer is
//! turned back. For upstreams that speak the client's dialect that is all there is to know.
//!
//! ```text
//! body ─ walk ─▶ settings as a chat without words (the sketch) ─▶ Head    the same as the conversion's
//!            └─▶ unusual, wrong, or in need of a closer look: None        the conversion is made, and says why
//! ```
//!
//! Invariant: a body that has an outline can be converted, and a strict target refuses nothing of it
//! (`tests::outlines` compares the two). So an outline decides speed, never what is let in.

use bytes::Bytes;
use cutover_wire::json::walk::{Stop, Walk, Walked};
use cutover_wire::own::{Layout, SEPARATOR, SIGNATURE};
use cutover_wire::{Endpoint, Head, Loss};
use memchr::memmem;

use crate::inbound::{RequestFacts, WayBack};
use crate::losses::Losses;
use crate::pivot::{Chat, Tool};
use crate::read::Text;

/// How a dialect outlines a request. `None`: it must be converted.
pub type Outliner = fn(&Bytes, &RequestFacts<'_>) -> Option<Outline>;

/// A request of which its settings alone were read. No `Debug`: it may hold the client's instructions.
pub struct Outline {
    /// A chat completions request with the settings of the one that it stands for, and none of its messages. Of its
    /// tools it has the names.
    pub sketch: Bytes,
    /// The sketch's head, with the prompt's size as it is.
    pub head: Head,
    /// What of the settings is not in it.
    pub losses: Vec<Loss>,
    /// What the upstream's own dialect needs to know of the body.
    pub layout: Layout,
    /// Turns the answer into the client's dialect.
    pub way_back: WayBack,
}

/// What a dialect's conversion makes of all but the conversation.
pub(crate) struct Settings<'a> {
    pub(crate) model: Text<'a>,
    pub(crate) stream: bool,
    pub(crate) chat: Chat<'a>,
    pub(crate) losses: Losses,
    pub(crate) way_back: WayBack,
}

/// What the walks of a body found.
#[derive(Default)]
pub(crate) struct Found<'a> {
    pub(crate) members: Vec<(&'a str, &'a str)>,
    pub(crate) tools: Vec<Tool<'a>>,
    /// Bytes of what the model reads, tools apart.
    pub(crate) prompt: usize,
    pub(crate) calls: bool,
    pub(crate) reasoning: bool,
    /// Solid bytes of the texts, where somebody counts them.
    pub(crate) solid: u64,
}

impl<'a> Found<'a> {
    /// Walks a body. `each` gets the members' names, and walks their values.
    pub(crate) fn walk(
        body: &'a Bytes,
        mut each: impl FnMut(&mut Walk<'a>, &'a str, &mut Self) -> Walked<()>,
    ) -> Walked<Self> {
        let mut walk = Walk::of(body)?;
        let mut found = Self { members: Vec::with_capacity(16), ..Self::default() };
        walk.object(|walk, name| {
            let (raw, ()) = walk.with_text(|walk| each(walk, name, &mut found))?;
            found.members.push((name, raw));
            Ok(())
        })?;
        if !walk.is_text() {
            return Err(Stop);
        }
        walk.end().map(|_| found)
    }

    /// What was found, with the settings that the conversion read of it.
    pub(crate) fn outline(&self, body: &Bytes, settings: Settings<'a>) -> Option<Outline> {
        let Settings { model, stream, chat, losses, way_back } = settings;
        let sketch = Chat { bytes: 0, ..chat }.write(&model, stream);
        let mut head = Head::of_made(Endpoint::ChatCompletions, &sketch).ok()?;
        head.stream_options_are_ours = true;
        head.est_prompt_tokens = (self.prompt / crate::answer::BYTES_PER_TOKEN) as u64;
        let place = |part: &str| {
            let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
            start..start + part.len()
        };
        let members = self.members.iter().map(|(name, raw)| (place(name), place(raw))).collect();
        let Self { calls, reasoning, solid, .. } = *self;
        let layout = Layout { members, calls, reasoning, solid };
        Some(Outline { sketch, head, losses: losses.into_list(), layout, way_back })
    }
}

/// Goes on if this holds.
pub(crate) fn only_if(holds: bool) -> Walked<()> {
    if holds { Ok(()) } else { Err(Stop) }
}

/// Whether a value is a text.
pub(crate) fn is_text(raw: Option<&str>) -> bool {
    raw.is_some_and(|raw| raw.starts_with('"'))
}

/// Whether a value is not there, or has this form.
pub(crate) fn is_none_or(raw: Option<&str>, form: impl Fn(&str) -> bool) -> bool {
    raw.is_none_or(|raw| raw == "null" || form(raw))
}

/// Whether a value is an object.
pub(crate) fn is_object(raw: &str) -> bool {
    raw.starts_with('{')
}

/// Whether a value is a flag.
pub(crate) fn is_flag(raw: &str) -> bool {
    matches!(raw, "true" | "false")
}

/// Whether a value is an id that holds nothing but itself.
pub(crate) fn is_id(raw: Option<&str>) -> bool {
    raw.is_some_and(|raw| {
        raw.starts_with('"') && memmem::find(raw.as_bytes(), SEPARATOR.as_bytes()).is_none()
    })
}

/// Whether a value is a signature, as far as can be told: cutover writes one of its own, and others none.
pub(crate) fn is_signature(raw: Option<&str>) -> bool {
    let inner = raw.and_then(|raw| raw.strip_prefix('"')?.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.is_empty() && inner != SIGNATURE)
}

/// A function of which no more is known than its name.
pub(crate) fn named(name: &str) -> Tool<'_> {
    Tool {
        name: Text::Literal(name),
        description: None,
        parameters: None,
        strict: None,
        mark: None,
    }
}
