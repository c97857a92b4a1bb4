//! Names of functions that a dialect takes and chat completions does not: there and back.
//!
//! Anthropic takes 128 characters, Google dots and colons; OpenAI's API 64 letters, digits, `_` and `-`, which everyone
//! takes. What is made of a name is the same in each request, so that a cached prefix stays one. Where the upstream
//! speaks the client's own dialect, it is sent the client's own names.

use std::borrow::Cow;

use cutover_wire::providers::CallIds;
use memchr::memmem;

use crate::pivot::{Chat, Message, choose_function};
use crate::read::{At, Obj, Text};

const CHARS_MAX: usize = 64;

/// The functions of a request that got other names, as JSON strings: theirs and the client's.
#[derive(Default)]
pub(crate) struct Renamed(Vec<(String, String)>);

impl Renamed {
    /// Gives the functions of a request names that are taken everywhere.
    pub(crate) fn of(chat: &mut Chat<'_>) -> Self {
        let mut renamed = Self::default();
        for tool in &mut chat.tools {
            renamed.name(&mut tool.name);
        }
        for message in &mut chat.messages {
            if let Message::Assistant(said) = message {
                said.calls.iter_mut().for_each(|call| renamed.name(&mut call.name));
            }
        }
        if renamed.0.is_empty() {
            return renamed;
        }
        for (_, raw) in chat.fields.iter_mut().filter(|(field, _)| *field == "tool_choice") {
            let at = At::Root;
            let choice = Obj::read(raw, at).and_then(|choice| choice.object(at, "function"));
            let Some(chosen) = choice.ok().flatten().and_then(|f| f.need_text(at, "name").ok())
            else {
                continue;
            };
            let mut name = Text::from(chosen.decode().into_owned());
            renamed.name(&mut name);
            *raw = choose_function(&name).into();
        }
        renamed
    }

    fn name(&mut self, name: &mut Text<'_>) {
        let own = name.decode().into_owned();
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if own.is_empty() || (own.len() <= CHARS_MAX && own.chars().all(safe)) {
            return;
        }
        let tail = format!("_{}", CallIds::Nine.taken(&own));
        let letters = own.chars().map(|c| if safe(c) { c } else { '_' });
        let new: String = letters.take(CHARS_MAX - tail.len()).chain(tail.chars()).collect();
        let literal = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let pair = (literal(&new), literal(&own));
        if !self.0.contains(&pair) {
            self.0.push(pair);
        }
        *name = new.into();
    }

    /// An answer in chat completions, or an event of one, with the client's names.
    pub(crate) fn back<'t>(&self, body: &'t [u8]) -> Cow<'t, [u8]> {
        let mut body = Cow::Borrowed(body);
        for (new, own) in &self.0 {
            if memmem::find(&body, new.as_bytes()).is_none() {
                continue;
            }
            // A literal with such a tail is no part of another text: its quotes would be escaped there.
            let text = String::from_utf8_lossy(&body).replace(&**new, own);
            body = Cow::Owned(text.into_bytes());
        }
        body
    }
}
