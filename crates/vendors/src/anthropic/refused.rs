//! What of a client's own words Anthropic would refuse, though the client cannot help it: it came of another upstream's
//! answers. A request with any of it must be converted, where it is mended.

use std::collections::HashSet;

use cutover_wire::providers::CallIds;
use memchr::memmem;

use crate::read::{At, Text};
use crate::split;

/// Whether a Messages request holds any of it: ids of calls with other letters or there twice, texts of white space
/// alone, or a turn of calls that did not begin with thinking where thinking has a budget.
pub fn must_be_mended(body: &[u8]) -> bool {
    let calls = memmem::find(body, b"\"tool_").is_some();
    let budget = calls && memmem::find(body, b"\"enabled\"").is_some();
    let blank = may_be_blank(body, b"\"text\"") || may_be_blank(body, b"\"content\"");
    if !calls && !blank {
        return false;
    }
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let text = text.trim_ascii();
    let thinks = budget
        && member(text, "\"thinking\"").and_then(|thinking| member(thinking, "\"type\""))
            == Some("\"enabled\"");
    let mut talk = Talk { used: HashSet::new(), turns: Vec::new() };
    let turns = list(text, "\"messages\"");
    (blank && list(text, "\"system\"").any(is_blank))
        || turns.into_iter().any(|turn| talk.refuses(turn, blank))
        || (thinks && talk.lacks_thinking())
}

/// Whether the turn of calls that a conversation ends in has no thinking. Turns of the assistant's and of results go
/// on with it; each tells whether it is the user's, and whether it holds results, or thinking.
pub(super) fn lacks_thinking(turns: impl DoubleEndedIterator<Item = (bool, bool)>) -> bool {
    let mut speaks = false;
    for (is_user, holds) in turns.rev() {
        match (is_user, holds) {
            (true, true) => {}
            (true, false) => break,
            (false, true) => return false,
            (false, false) => speaks = true,
        }
    }
    speaks
}

/// Whether a member of this name may be a text without a letter.
fn may_be_blank(body: &[u8], name: &[u8]) -> bool {
    memmem::find_iter(body, name).any(|at| {
        let after = body.get(at + name.len()..).unwrap_or_default().trim_ascii_start();
        let value = after.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
        // White space stands in texts as it is or escaped; other escapes are looked at later.
        let inner = value.strip_prefix(b"\"").and_then(<[u8]>::first);
        inner.is_some_and(|first| matches!(first, b'"' | b' ' | b'\\' | 0x80..))
    })
}

struct Talk<'a> {
    used: HashSet<&'a str>,
    /// Turns of one role in a row are one.
    turns: Vec<(bool, bool)>,
}

impl<'a> Talk<'a> {
    fn refuses(&mut self, turn: &'a str, blank: bool) -> bool {
        let is_user = member(turn, "\"role\"") != Some("\"assistant\"");
        let content = member(turn, "\"content\"").unwrap_or_default();
        if content.starts_with('"') {
            self.note(is_user, false);
            return blank && is_blank_text(content);
        }
        let mut blocks = split::elements(content).into_iter().flatten();
        blocks.any(|block| {
            let kind = member(block, "\"type\"").unwrap_or_default();
            let holds = match kind {
                "\"tool_result\"" => is_user,
                "\"thinking\"" | "\"redacted_thinking\"" => !is_user,
                _ => false,
            };
            self.note(is_user, holds);
            match kind {
                "\"tool_use\"" => {
                    let id = member(block, "\"id\"").unwrap_or_default();
                    !self.used.insert(id) || !is_plain(id)
                }
                "\"tool_result\"" => {
                    !is_plain(member(block, "\"tool_use_id\"").unwrap_or_default())
                        || (blank && list(block, "\"content\"").any(is_blank))
                }
                _ => blank && is_blank(block),
            }
        })
    }

    fn note(&mut self, is_user: bool, holds: bool) {
        match self.turns.last_mut().filter(|turn| turn.0 == is_user) {
            Some(turn) => turn.1 |= holds,
            None => self.turns.push((is_user, holds)),
        }
    }

    fn lacks_thinking(&self) -> bool {
        lacks_thinking(self.turns.iter().copied())
    }
}

/// Whether a literal is an id that is taken. What is no text is the vendor's to judge.
fn is_plain(literal: &str) -> bool {
    Text::read(literal, At::Root).map_or(true, |id| CallIds::Plain.takes(&id.decode()))
}

/// Whether a block is a text without a letter.
fn is_blank(block: &str) -> bool {
    member(block, "\"type\"") == Some("\"text\"")
        && member(block, "\"text\"").is_some_and(is_blank_text)
}

fn is_blank_text(literal: &str) -> bool {
    Text::read(literal, At::Root).is_ok_and(|text| text.is_blank())
}

fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    split::members(object)?.find(|(name, _)| *name == key).map(|(_, raw)| raw)
}

fn list<'a>(object: &'a str, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    member(object, key).and_then(split::elements).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mends(turns: &str, settings: &str) -> bool {
        let body = format!(
            r#" {{"model":"m",{settings}"messages":[{{"role":"user","content":"a"}},{turns}]}}"#
        );
        must_be_mended(body.as_bytes())
    }

    fn said(block: &str) -> bool {
        mends(&format!(r#"{{"role":"assistant","content":[{block}]}}"#), "")
    }

    #[test]
    fn a_conversation_with_ids_of_others_is_told() {
        assert!(said(r#"{"type":"tool_use","id":"functions.f:0","name":"f","input":{}}"#));
        assert!(said(r#"{"type":"tool_result","content":"a","tool_use_id":""}"#));
        let call = r#"{"type":"tool_use","id":"call_1","name":"f","input":{"id":"a.b"}}"#;
        assert!(!said(call));
        assert!(said(&format!("{call},{call}")));
        assert!(!said(r#"{"type":"text","text":"\"tool_use\" a.b","id":"a.b"}"#));
    }

    #[test]
    fn texts_without_a_letter_are_told() {
        let call = r#"{"type":"tool_use","id":"a","name":"f","input":{"text":"\n","content":" "}}"#;
        assert!(said(&format!(r#"{{"type":"text","text":"\n\n"}},{call}"#)));
        assert!(said(r#"{ "text" : " \u0020\t" , "type" : "text" }"#));
        assert!(said(r#"{"type":"text","text":""}"#));
        assert!(said("{\"type\":\"text\",\"text\":\"\u{a0}\"}"));
        assert!(mends(r#"{"role":"user","content":" "}"#, ""));
        let result =
            r#"{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"\n"}]}"#;
        assert!(mends(&format!(r#"{{"role":"user","content":[{result}]}}"#), ""));
        assert!(mends("{}", r#""system":[{"type":"text","text":" "}],"#));
        assert!(!said(call));
        assert!(!said(r#"{"type":"text","text":"\n\n a"}"#));
        assert!(!said(r#"{"type":"thinking","thinking":"","signature":"s"}"#));
        assert!(!mends(r#"{"role":"user","content":"\"text\": \" \""}"#, ""));
    }

    #[test]
    fn a_turn_of_calls_must_have_begun_with_thinking_of_a_budget() {
        const ON: &str = r#""thinking":{"type":"enabled","budget_tokens":2000},"#;
        let call =
            |id: &str| format!(r#"{{"type":"tool_use","id":"{id}","name":"f","input":{{}}}}"#);
        let result = |id: &str| {
            format!(
                r#"{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"{id}","content":"r"}}]}}"#
            )
        };
        let by_model = |blocks: &str| format!(r#"{{"role":"assistant","content":[{blocks}]}}"#);
        let thought = r#"{"type":"thinking","thinking":"h","signature":"s"},"#;
        let bare = format!("{},{}", by_model(&call("a")), result("a"));
        assert!(mends(&bare, ON));
        assert!(!mends(&bare, ""));
        assert!(!mends(&bare, r#""thinking":{"type":"adaptive"},"#));
        let own = format!("{},{}", by_model(&format!("{thought}{}", call("a"))), result("a"));
        assert!(!mends(&own, ON));
        // Without interleaving a later call of the turn has none.
        assert!(!mends(&format!("{own},{},{}", by_model(&call("b")), result("b")), ON));
        // An earlier turn does not count, whatever it was.
        let next = r#"{"role":"assistant","content":"x"},{"role":"user","content":"y"}"#;
        assert!(!mends(&format!("{bare},{next}"), ON));
        assert!(mends(&format!("{own},{next},{},{}", by_model(&call("b")), result("b")), ON));
        // A word beside the results does not end the turn, in a message of its own neither.
        assert!(mends(&format!(r#"{bare},{{"role":"user","content":"hurry"}}"#), ON));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..80)) {
            must_be_mended(&body);
            must_be_mended(&[b"{\"messages\":[{\"content\":[{\"tool_", &body[..]].concat());
            must_be_mended(&[b"{\"messages\":[{\"content\":\" \"},{\"tool_", &body[..]].concat());
        }
    }
}
