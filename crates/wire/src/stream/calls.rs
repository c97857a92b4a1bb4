//! Calls of tools without an index of their own, as some compatible services stream them: clients put a call
//! together by its index, and without one they fail or mix two calls. Each gets the number it would have had.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::json::{self, Scan};
use crate::reply::openai::{Patch, Patches, first_members};

/// Most indices that are remembered of one choice; no answer has as many calls.
const INDICES_MAX: usize = 1_024;

/// How far one choice is.
#[derive(Debug, Default)]
struct Progress {
    /// The number of the call that is being told.
    open: Option<u64>,
    next: u64,
    /// Its id, as JSON, where it came without an index: some services repeat it with every piece.
    id: String,
    /// The call that an index means now.
    told: BTreeMap<u64, Told>,
    /// Whether a call had no index of its own.
    mended: bool,
}

/// A call that came with an index.
#[derive(Debug, Default)]
struct Told {
    number: u64,
    /// As JSON.
    id: String,
    name: String,
    arguments: Scan,
}

/// What a chunk tells of a call, as JSON; what it says nothing of is none.
struct Piece<'a> {
    id: Option<&'a str>,
    name: Option<&'a str>,
    arguments: Option<&'a str>,
}

/// The calls of one stream, by the index of their choice.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<u64, Progress>);

/// What stands in a chunk instead.
#[derive(Default)]
pub(super) struct Mended {
    pub(super) patches: Patches,
    /// The answer was said to stop, and has calls.
    pub(super) calls: bool,
}

impl Calls {
    /// Numbers the calls of a chunk that have no index, or that of another call. A choice whose calls were
    /// numbered here ends with `tool_calls`, too: services that leave the index out end it with `stop`.
    pub(super) fn number(&mut self, text: &str) -> Mended {
        let mut mended = Mended::default();
        for choice in elements(member(text, "choices")) {
            let at = member(choice, "index").and_then(|raw| raw.parse().ok()).unwrap_or(0);
            let calls = member(choice, "delta").and_then(|delta| member(delta, "tool_calls"));
            for call in elements(calls) {
                let number = self.0.entry(at).or_default().take(call);
                mended.patches.extend(number.map(|number| numbered(text, call, number)));
            }
            let ends = member(choice, "finish_reason").filter(|raw| *raw == "\"stop\"");
            let ours = self.0.get(&at).is_some_and(|progress| progress.mended);
            if let Some(raw) = ends.filter(|_| ours) {
                mended.patches.push((json::range_in(text, raw), "\"tool_calls\"".to_owned()));
                mended.calls = true;
            }
        }
        mended
    }

    /// Whether any call had to be numbered.
    pub(super) fn any(&self) -> bool {
        self.0.values().any(|progress| progress.mended)
    }
}

/// Gives a call its number, where another stands or as a member more.
fn numbered(text: &str, call: &str, number: u64) -> Patch {
    match member(call, "index") {
        Some(raw) => (json::range_in(text, raw), number.to_string()),
        None => {
            let (place, added) = first_members(call, &format!("\"index\":{number}"));
            let start = json::range_in(text, call).start;
            (start + place.start..start + place.end, added)
        }
    }
}

impl Progress {
    /// The number that a call, or a piece of one, must be given.
    fn take(&mut self, call: &str) -> Option<u64> {
        if !call.starts_with('{') {
            return None;
        }
        let piece = Piece::read(call);
        if let Some(index) = member(call, "index").and_then(|raw| raw.parse::<u64>().ok()) {
            let number = self.indexed(index, &piece);
            self.open = Some(number);
            return (number != index).then_some(number);
        }
        self.mended = true;
        let begins = match piece.id {
            Some(id) => id != self.id,
            None => piece.name.is_some(),
        };
        if let Some(id) = piece.id.filter(|_| begins) {
            id.clone_into(&mut self.id);
        }
        if begins || self.open.is_none() {
            self.open = Some(self.next);
            self.next = self.next.saturating_add(1);
        }
        self.open
    }

    /// The number of a call with an index: that index, unless another call has it.
    fn indexed(&mut self, index: u64, piece: &Piece<'_>) -> u64 {
        let known = self.told.get(&index);
        let another = known.is_some_and(|told| told.is_over_at(piece));
        if another || known.is_none() && self.told.len() < INDICES_MAX {
            // Once a number was given here, those below the next one may be taken.
            let taken = another || (self.mended && index < self.next);
            let number = if taken { self.next } else { index };
            self.mended |= taken;
            self.next = self.next.max(number.saturating_add(1));
            self.told.insert(index, Told { number, ..Told::default() });
        }
        self.told.get_mut(&index).map_or(index, |told| told.take(piece))
    }
}

impl Told {
    /// Whether a piece under this call's index begins another call: it has an id and a name of its own, and this
    /// call has another name or all its arguments. vLLM once gave each piece a new id, and with a tool that the
    /// request named the name, too.
    fn is_over_at(&self, piece: &Piece<'_>) -> bool {
        let (Some(id), Some(name)) = (piece.id, piece.name) else { return false };
        let renamed = !self.name.is_empty() && name != self.name;
        !self.id.is_empty() && id != self.id && (renamed || self.arguments.is_complete())
    }

    fn take(&mut self, piece: &Piece<'_>) -> u64 {
        let learn = |slot: &mut String, told: Option<&str>| {
            if let Some(told) = told.filter(|_| slot.is_empty()) {
                told.clone_into(slot);
            }
        };
        learn(&mut self.id, piece.id);
        learn(&mut self.name, piece.name);
        if let Some(raw) = piece.arguments {
            let text = serde_json::from_str::<String>(raw);
            self.arguments.read(text.as_deref().unwrap_or(raw));
        }
        self.number
    }
}

impl<'a> Piece<'a> {
    fn read(call: &'a str) -> Self {
        let told = |raw: Option<&'a str>| raw.filter(|raw| !matches!(*raw, "null" | "\"\""));
        let function = |key| member(call, "function").and_then(|function| member(function, key));
        Self {
            id: told(member(call, "id")),
            name: told(function("name")),
            arguments: told(function("arguments")),
        }
    }
}

/// The value of an object's member, as JSON.
pub(super) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    let _ = json::members(object, |key, raw| {
        if key == name {
            found = Some(raw.get());
        }
    });
    found
}

fn elements(raw: Option<&str>) -> Vec<&str> {
    let list = raw.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw).ok());
    list.unwrap_or_default().into_iter().map(RawValue::get).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::openai::patch;
    use proptest::prelude::*;

    fn chunk(calls: &str) -> String {
        format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{calls}]}}}}]}}"#)
    }

    fn numbered(calls: &mut Calls, text: &str) -> String {
        String::from_utf8(patch(text, calls.number(text).patches)).unwrap()
    }

    #[test]
    fn whole_calls_pieces_and_repeated_ids_get_the_number_of_their_call() {
        let mut calls = Calls::default();
        let mut check = |given: &str, wanted: &str| {
            assert_eq!(numbered(&mut calls, &chunk(given)), chunk(wanted));
        };
        check(
            r#"{"id":"a","function":{"name":"f"}},{"id":"b","function":{"name":"g"}}"#,
            r#"{"index":0,"id":"a","function":{"name":"f"}},{"index":1,"id":"b","function":{"name":"g"}}"#,
        );
        check(
            r#"{"index":null,"function":{"arguments":"{"}}"#,
            r#"{"index":1,"function":{"arguments":"{"}}"#,
        );
        check(r#"{"id":"b","function":{}}"#, r#"{"index":1,"id":"b","function":{}}"#);
        check(
            r#"{"id":"","function":{"name":"h"}}"#,
            r#"{"index":2,"id":"","function":{"name":"h"}}"#,
        );
        check(r#"{"index":7,"id":"z"}"#, r#"{"index":7,"id":"z"}"#);
        check(r#"{"id":"y"}"#, r#"{"index":8,"id":"y"}"#);
        assert!(calls.any());
    }

    #[test]
    fn a_call_under_the_index_of_another_gets_a_number_of_its_own() {
        let mut calls = Calls::default();
        let mut check = |given: &str, wanted: &str| {
            assert_eq!(numbered(&mut calls, &chunk(given)), chunk(wanted));
        };
        let mut same = |text: &str| check(text, text);
        same(r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}"#);
        same(r#"{"index":0,"id":"a","function":{"name":"f","arguments":"1}"}}"#);
        same(r#"{"index":0,"id":"a","function":{"name":"f","arguments":""}}"#);
        check(
            r#"{"index":0,"id":"b","function":{"name":"f","arguments":""}}"#,
            r#"{"index":1,"id":"b","function":{"name":"f","arguments":""}}"#,
        );
        check(
            r#"{"index":0,"function":{"arguments":"{}"}}"#,
            r#"{"index":1,"function":{"arguments":"{}"}}"#,
        );
        check(
            r#"{"index":1,"id":"c","function":{"name":"g"}}"#,
            r#"{"index":2,"id":"c","function":{"name":"g"}}"#,
        );
        // No arguments at all, and another tool.
        check(
            r#"{"index":1,"id":"d","function":{"name":"h"}}"#,
            r#"{"index":3,"id":"d","function":{"name":"h"}}"#,
        );
        check("{}", r#"{"index":3}"#);
        assert!(calls.any());
    }

    /// As vLLM 0.6 streams a tool that the request named.
    #[test]
    fn pieces_of_one_call_with_a_new_id_each_stay_one_call() {
        let mut calls = Calls::default();
        for (id, arguments) in
            [("a", ""), ("b", r#"{\"city"#), ("c", r#"\":\"Par"#), ("d", r#"is\"}"#)]
        {
            let function = format!(r#"{{"name":"f","arguments":"{arguments}"}}"#);
            let piece = format!(r#"{{"index":0,"id":"{id}","function":{function}}}"#);
            assert!(calls.number(&chunk(&piece)).patches.is_empty(), "{id}");
        }
        assert!(!calls.any());
    }

    #[test]
    fn an_end_becomes_one_with_calls_only_where_calls_were_numbered() {
        let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let mut calls = Calls::default();
        assert!(calls.number(&chunk(r#"{"index":0,"id":"a"}"#)).patches.is_empty());
        assert!(!calls.number(end).calls && !calls.any());
        calls.number(&chunk(r#"{"id":"b"}"#));
        assert!(numbered(&mut calls, end).contains(r#""finish_reason":"tool_calls""#));
        let other = r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#;
        assert!(!calls.number(other).calls);
    }

    proptest! {
        #[test]
        fn no_chunk_makes_it_panic(text in "[\\[{\"a\\\\,:tool_calls}\\]]{0,40}") {
            let _ = Calls::default().number(&text);
            let _ = Calls::default().number(&chunk(&text));
        }
    }
}
