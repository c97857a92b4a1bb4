//! What a variant puts around a client's messages: its prompt, in the form that can be sent.
//!
//! ```text
//!  system: before + the client's own + after     (or in the client's stead)
//!  examples: user, assistant, user, assistant
//!  the client's messages; the last one of the user's own: before + its text + after
//! ```
//!
//! Where a model's template has no system role, the system text goes into the next user message
//! instead ([`Framing::folds_system`]). [`plan`] says for each dialect alike what becomes of each
//! message; the dialects carry it out. The client's own text is never parsed, only put between.

use std::fmt;

/// How a message begins that was made here of what a tool's result held besides its text: chat completions takes that
/// from the user alone. No client said it.
pub const ATTACHED: &str = "Attached to the result of tool call ";

/// Whether a text is the label of such a message's parts.
pub(crate) fn is_label(text: &str) -> bool {
    text.starts_with(ATTACHED)
}

/// What stands between two texts of one message.
const GAP: &str = "\n\n";

/// What a variant puts around a client's messages. Its `Debug` shows lengths only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Framing {
    /// System text before the client's own.
    pub system_before: Option<String>,
    /// System text after the client's own.
    pub system_after: Option<String>,
    /// Whether the client's own system text is left out.
    pub replaces_system: bool,
    /// Whether system text goes into the next user message: the model's template knows no such role.
    pub folds_system: bool,
    /// Put before the text of the last user message.
    pub user_before: Option<String>,
    /// Put after it.
    pub user_after: Option<String>,
    /// Messages between the system text and the client's messages.
    pub examples: Vec<Example>,
}

impl Framing {
    /// How many bytes of text it adds to a prompt.
    pub fn bytes(&self) -> usize {
        let texts = [&self.system_before, &self.system_after, &self.user_before, &self.user_after];
        let around: usize = texts.into_iter().flatten().map(String::len).sum();
        around + self.examples.iter().map(|example| example.text.len()).sum::<usize>()
    }
}

/// A message of an example.
#[derive(Clone, PartialEq, Eq)]
pub struct Example {
    /// Whether the model says it; else the user does.
    pub by_model: bool,
    /// What is said.
    pub text: String,
}

impl fmt::Debug for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Example({} bytes)", self.text.len())
    }
}

impl fmt::Debug for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |text: &Option<String>| text.as_ref().map(String::len);
        f.debug_struct("Framing")
            .field("system_before", &length(&self.system_before))
            .field("system_after", &length(&self.system_after))
            .field("replaces_system", &self.replaces_system)
            .field("folds_system", &self.folds_system)
            .field("user_before", &length(&self.user_before))
            .field("user_after", &length(&self.user_after))
            .field("examples", &self.examples)
            .finish()
    }
}

impl Framing {
    /// A system prompt before the client's own, and nothing else.
    pub fn system(text: impl Into<String>) -> Self {
        Self { system_before: Some(text.into()), ..Self::default() }
    }

    /// Whether it changes nothing in any request.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same with one more text at the end of the system text.
    #[must_use]
    pub fn with_instruction(mut self, text: &str) -> Self {
        let before = self.system_after.take();
        self.system_after =
            Some(before.map_or_else(|| text.to_owned(), |before| format!("{before}{GAP}{text}")));
        self
    }
}

/// Who says a message of the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// System or developer, in a form that text can be added to.
    System,
    /// The user, in a form that text can be added to.
    User,
    /// Anything else.
    Other,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The client's, with texts around its own; mostly none.
    Kept { at: usize, before: Vec<String>, after: Vec<String> },
    /// One of ours.
    New { role: &'static str, texts: Vec<String> },
}

/// Texts of one message as one.
pub(crate) fn joined(texts: &[String]) -> String {
    texts.join(GAP)
}

/// What becomes of a conversation. `text_of` gives the text of a system message.
pub(crate) fn plan(
    framing: &Framing,
    said: &[Said],
    text_of: &dyn Fn(usize) -> String,
) -> Vec<Item> {
    let mut items =
        if framing.folds_system { folded(framing, said, text_of) } else { framed(framing, said) };
    let last = said.iter().rposition(|said| *said == Said::User);
    for item in &mut items {
        if let Item::Kept { at, before, after } = item
            && Some(*at) == last
        {
            before.extend(framing.user_before.clone());
            after.extend(framing.user_after.clone());
        }
    }
    items
}

fn kept(at: usize) -> Item {
    Item::Kept { at, before: Vec::new(), after: Vec::new() }
}

fn role(example: &Example) -> &'static str {
    if example.by_model { "assistant" } else { "user" }
}

fn framed(framing: &Framing, said: &[Said]) -> Vec<Item> {
    let mut items = Vec::with_capacity(said.len() + framing.examples.len() + 1);
    let ours = framing.system_before.iter().chain(&framing.system_after);
    let leading = said.iter().take_while(|said| **said == Said::System).count();
    if leading == 0 || framing.replaces_system {
        let texts: Vec<_> = ours.cloned().collect();
        if !texts.is_empty() {
            items.push(Item::New { role: "system", texts });
        }
    } else {
        // Many templates take one system message only, and only first: the client's is extended
        // instead of getting a second beside it.
        for at in 0..leading {
            let first = framing.system_before.iter().filter(|_| at == 0);
            let last = framing.system_after.iter().filter(|_| at + 1 == leading);
            let (before, after) = (first.cloned().collect(), last.cloned().collect());
            items.push(Item::Kept { at, before, after });
        }
    }
    items.extend(
        framing
            .examples
            .iter()
            .map(|example| Item::New { role: role(example), texts: vec![example.text.clone()] }),
    );
    let rest = said.iter().enumerate().skip(leading);
    let left_out = |said: Said| framing.replaces_system && said == Said::System;
    items.extend(rest.filter(|(_, said)| !left_out(**said)).map(|(at, _)| kept(at)));
    items
}

/// System text waits for the next user message.
fn folded(framing: &Framing, said: &[Said], text_of: &dyn Fn(usize) -> String) -> Vec<Item> {
    let mut items = Vec::with_capacity(said.len() + framing.examples.len() + 1);
    let leading = said.iter().take_while(|said| **said == Said::System).count();
    let own = |at| (!framing.replaces_system).then(|| text_of(at)).filter(|text| !text.is_empty());
    let mut waiting: Vec<String> = framing.system_before.clone().into_iter().collect();
    waiting.extend((0..leading).filter_map(own));
    waiting.extend(framing.system_after.clone());
    for example in &framing.examples {
        let mut texts = if example.by_model { Vec::new() } else { std::mem::take(&mut waiting) };
        texts.push(example.text.clone());
        items.push(Item::New { role: role(example), texts });
    }
    for (at, said) in said.iter().enumerate().skip(leading) {
        match said {
            Said::System => waiting.extend(own(at)),
            Said::User => {
                let before = std::mem::take(&mut waiting);
                items.push(Item::Kept { at, before, after: Vec::new() });
            }
            Said::Other => items.push(kept(at)),
        }
    }
    if !waiting.is_empty() {
        items.push(Item::New { role: "user", texts: waiting });
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(framing: &Framing, said: &str) -> String {
        let said: Vec<Said> = said
            .chars()
            .map(|c| match c {
                's' => Said::System,
                'u' => Said::User,
                _ => Said::Other,
            })
            .collect();
        let items = plan(framing, &said, &|at| format!("own{at}"));
        let texts = |texts: &[String]| texts.join("+");
        let items: Vec<String> = items
            .iter()
            .map(|item| match item {
                Item::Kept { at, before, after } => {
                    format!("{}[{at}]{}", texts(before), texts(after))
                }
                Item::New { role, texts: list } => format!("{role}:{}", texts(list)),
            })
            .collect();
        items.join(" ")
    }

    fn full() -> Framing {
        let example = |by_model, text: &str| Example { by_model, text: text.to_owned() };
        Framing {
            system_before: Some("B".into()),
            system_after: Some("A".into()),
            user_before: Some("ub".into()),
            user_after: Some("ua".into()),
            examples: vec![example(false, "q"), example(true, "a")],
            ..Framing::default()
        }
    }

    #[test]
    fn each_part_finds_its_place() {
        assert_eq!(shown(&full(), "suau"), "B[0]A user:q assistant:a [1] [2] ub[3]ua");
        assert_eq!(shown(&full(), "u"), "system:B+A user:q assistant:a ub[0]ua");
        assert_eq!(shown(&full(), "ssu"), "B[0] [1]A user:q assistant:a ub[2]ua");
        assert_eq!(shown(&full(), "usa"), "system:B+A user:q assistant:a ub[0]ua [1] [2]");
        assert_eq!(shown(&full(), ""), "system:B+A user:q assistant:a");
        assert_eq!(shown(&Framing::default(), "sus"), "[0] [1] [2]");
    }

    #[test]
    fn the_clients_own_system_text_can_be_left_out() {
        let replacing = Framing { replaces_system: true, ..full() };
        assert_eq!(shown(&replacing, "ssus"), "system:B+A user:q assistant:a ub[2]ua");
        let bare = Framing { replaces_system: true, ..Framing::default() };
        assert_eq!(shown(&bare, "su"), "[1]");
    }

    #[test]
    fn system_text_is_folded_into_the_next_user_message() {
        let fold = Framing { folds_system: true, ..Framing::default() };
        assert_eq!(shown(&fold, "sua"), "own0[1] [2]");
        assert_eq!(shown(&fold, "ausu"), "[0] [1] own2[3]");
        assert_eq!(shown(&fold, "uas"), "[0] [1] user:own2");
        let full = Framing { folds_system: true, ..full() };
        assert_eq!(shown(&full, "su"), "user:B+own0+A+q assistant:a ub[1]ua");
        let replacing = Framing { replaces_system: true, examples: vec![], ..full };
        assert_eq!(shown(&replacing, "su"), "B+A+ub[1]ua");
    }

    #[test]
    fn instructions_come_last() {
        let framing = Framing::system("S").with_instruction("first").with_instruction("next");
        assert_eq!(framing.system_after.as_deref(), Some("first\n\nnext"));
        assert!(!format!("{framing:?}").contains("first"));
    }
}
