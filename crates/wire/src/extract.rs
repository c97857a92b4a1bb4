//! What an answer says: text, tool calls, finish reason, usage, out of the bytes that a client got.
//!
//! It reads answers in the client's dialect, whole or as a stream, after [`crate::read_reply`] or
//! [`crate::Tap`] have brought them there. It is for comparing answers once they have been given, not
//! for the way to the client: it is lenient (what it cannot read it leaves out) and it copies.
//!
//! Of several choices the first is read: an answer is compared with one other.
//!
//! Invariants: the same comes out however a stream's bytes are cut; no bytes make it panic; `Debug`
//! shows sizes, never what was said.

use bytes::Bytes;
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::stream::halves::Joiner;
use crate::stream::split::{Event, Framing, Splitter};
use crate::usage::{Finish, Usage};

/// What an answer says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extract {
    /// The text; a refusal's where there is no other; of embeddings the vectors as JSON.
    pub text: String,
    /// The tools it wants called, in order.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: Option<Finish>,
    /// The tokens used, if it tells.
    pub usage: Option<Usage>,
}

/// A tool that an answer wants called.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The function's name.
    pub name: String,
    /// Its arguments, the JSON text as the model wrote it.
    pub arguments: String,
}

impl std::fmt::Debug for Extract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extract")
            .field("text_bytes", &self.text.len())
            .field("tool_calls", &self.tool_calls)
            .field("finish", &self.finish)
            .field("usage", &self.usage)
            .finish()
    }
}

impl std::fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, arguments) = (self.name.len(), self.arguments.len());
        write!(f, "ToolCall({name} + {arguments} bytes)")
    }
}

impl Extract {
    /// Reads an answer that is there as a whole.
    pub fn of_json(body: &[u8]) -> Self {
        let mut reader = Reader::default();
        reader.json(body);
        reader.end()
    }

    /// Reads an answer that came as a stream of events.
    pub fn of_stream<'a>(pieces: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let mut stream = StreamExtractor::default();
        for piece in pieces {
            stream.push(piece.clone());
        }
        stream.finish()
    }
}

/// Reads a stream as it comes. Its caller bounds how much that is.
pub struct StreamExtractor {
    splitter: Splitter,
    reader: Reader,
}

impl std::fmt::Debug for StreamExtractor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamExtractor")
    }
}

impl Default for StreamExtractor {
    fn default() -> Self {
        Self { splitter: Splitter::new(Framing::Events, usize::MAX), reader: Reader::default() }
    }
}

impl StreamExtractor {
    /// Reads the next bytes.
    pub fn push(&mut self, piece: Bytes) {
        let mut records = Vec::new();
        // No limit is set: nothing is too long.
        let (whole, _) = self.splitter.feed(piece, &mut records);
        for range in records {
            self.reader.event(whole.get(range).unwrap_or_default());
        }
    }

    /// What has been said. An event that lacks its end mark counts.
    pub fn finish(mut self) -> Extract {
        self.end();
        self.reader.end()
    }

    /// Whether nothing but words has come so far, and not the end: no call, no refusal, no reasoning, nothing
    /// that is not known.
    pub fn is_plain(&self) -> bool {
        !self.reader.more
    }

    /// What has been said, if that is words alone, each of them followed, and has not ended.
    pub fn plain(mut self) -> Option<String> {
        self.end();
        let Reader { said, more, halves, .. } = self.reader;
        (!more && halves.is_whole()).then_some(said.text)
    }

    fn end(&mut self) {
        let rest = self.splitter.rest();
        self.reader.event(&[&rest[..], b"\n\n"].concat());
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    said: Extract,
    refusal: String,
    /// The `index` of each of the tool calls.
    indices: Vec<u64>,
    halves: Joiner,
    /// Whether more has come than words of a choice that goes on.
    more: bool,
}

impl Reader {
    fn event(&mut self, record: &[u8]) {
        let event = Event::read(record);
        let data = event.data.bytes().trim_ascii();
        if data.is_empty() {
            return;
        }
        if event.is_error || data.starts_with(b"[DONE]") {
            self.more = true;
            return;
        }
        self.json(data);
    }

    /// A whole answer, or a chunk of one, as it was written.
    fn json(&mut self, data: &[u8]) {
        let joined = self.halves.joined(data);
        match serde_json::from_slice(joined.as_deref().unwrap_or(data)) {
            Ok(answer) => self.answer(&answer),
            Err(_) => self.more = true,
        }
    }

    /// A whole answer, or a chunk of one.
    fn answer(&mut self, answer: &Value) {
        if let Some(usage) = answer.get("usage").filter(|usage| usage.is_object()) {
            let endpoint = match answer.get("data") {
                Some(_) => Endpoint::Embeddings,
                None => Endpoint::ChatCompletions,
            };
            let told = Usage::read(endpoint, &usage.to_string());
            self.said.usage = Usage::and_then_told(self.said.usage, told);
        }
        let first = |choice: &&Value| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0;
        let choices = answer.get("choices").and_then(Value::as_array);
        let is_plain = |choice: &Value| first(&choice) && goes_on(choice);
        self.more |= answer.get("error").is_some_and(says)
            || !choices.is_some_and(|all| all.iter().all(is_plain));
        if let Some(choice) = choices.and_then(|all| all.iter().find(first)) {
            self.choice(choice);
        }
        if let Some(vectors) = answer.get("data").and_then(Value::as_array) {
            let vectors = vectors.iter().filter_map(|vector| vector.get("embedding"));
            self.said.text = Value::Array(vectors.cloned().collect()).to_string();
        }
    }

    fn choice(&mut self, choice: &Value) {
        let reason = choice.get("finish_reason").filter(|reason| !reason.is_null());
        if let Some(reason) = reason {
            self.said.finish = Some(reason.as_str().map_or(Finish::Other, Finish::from_word));
        }
        append(&mut self.said.text, choice.get("text"));
        for said in ["message", "delta"].iter().filter_map(|key| choice.get(key)) {
            append(&mut self.said.text, said.get("content"));
            append(&mut self.refusal, said.get("refusal"));
            for call in said.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                self.call(call.get("index").and_then(Value::as_u64), call.get("function"));
            }
            // The form before tools, of which there is one at most.
            if let Some(function) = said.get("function_call").filter(|call| call.is_object()) {
                self.call(Some(0), Some(function));
            }
        }
    }

    /// A tool call, or a further piece of one: pieces share an `index`. Whole answers give none, and
    /// neither do some engines' chunks, where a name begins the next call.
    fn call(&mut self, index: Option<u64>, function: Option<&Value>) {
        let name = function.and_then(|f| f.get("name")).and_then(Value::as_str);
        let known = match index {
            Some(index) => self.indices.iter().rposition(|known| *known == index),
            None if name.is_some_and(|name| !name.is_empty()) => None,
            None => self.indices.len().checked_sub(1),
        };
        let at = known.unwrap_or_else(|| {
            let next = self.indices.iter().max().map_or(0, |last| last.saturating_add(1));
            self.indices.push(index.unwrap_or(next));
            self.said.tool_calls.push(ToolCall::default());
            self.indices.len() - 1
        });
        let Some(call) = self.said.tool_calls.get_mut(at) else { return };
        call.name.push_str(name.unwrap_or_default());
        match function.and_then(|f| f.get("arguments")) {
            // Some engines give the object itself.
            Some(arguments @ Value::Object(_)) => call.arguments += &arguments.to_string(),
            arguments => append(&mut call.arguments, arguments),
        }
    }

    fn end(mut self) -> Extract {
        if self.said.text.is_empty() {
            self.said.text = self.refusal;
        }
        self.said
    }
}

/// Whether a choice of a chunk holds words alone, and no end.
fn goes_on(choice: &Value) -> bool {
    let is_text = |text: &Value| text.is_null() || text.is_string();
    let is_plain = |(name, said): (&String, &Value)| match name.as_str() {
        "role" => true,
        "content" => is_text(said),
        _ => !says(said),
    };
    let delta = choice.get("delta").and_then(Value::as_object);
    choice.get("finish_reason").is_none_or(Value::is_null)
        && choice.get("message").is_none()
        && choice.get("text").is_none_or(is_text)
        && delta.is_none_or(|delta| delta.iter().all(is_plain))
}

/// Whether a member holds anything: servers write those that do not as null, or as empty ones.
fn says(member: &Value) -> bool {
    match member {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Appends a text, or those among parts; thoughts have another member.
fn append(to: &mut String, text: Option<&Value>) {
    to.push_str(text.and_then(Value::as_str).unwrap_or_default());
    for part in text.and_then(Value::as_array).into_iter().flatten() {
        to.push_str(part.get("text").and_then(Value::as_str).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = concat!(
        ": keep-alive\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüß \"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"dich\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",",
        "\"function\":{\"name\":\"get\",\"arguments\":\"\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"b\",",
        "\"function\":{\"name\":\"put\",\"arguments\":\"{}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,",
        "\"function\":{\"arguments\":\"{\\\"x\\\":\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,",
        "\"function\":{\"arguments\":\"1}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,",
        "\"total_tokens\":5}}\n\n",
        "data: [DONE]\n\n",
    );

    fn call(name: &str, arguments: &str) -> ToolCall {
        ToolCall { name: name.to_owned(), arguments: arguments.to_owned() }
    }

    fn expected() -> Extract {
        Extract {
            text: "Grüß dich".to_owned(),
            tool_calls: vec![call("get", "{\"x\":1}"), call("put", "{}")],
            finish: Some(Finish::ToolCalls),
            usage: Some(Usage::new(3, 2)),
        }
    }

    #[test]
    fn words_in_parts_are_read_without_the_thoughts_among_them() {
        let body = r#"{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text",
            "text":"Hm"}]},{"type":"text","text":"Hello"},{"type":"text","text":" world"}]}}]}"#;
        assert_eq!(Extract::of_json(body.as_bytes()).text, "Hello world");
    }

    #[test]
    fn a_stream_and_a_whole_answer_say_the_same() {
        assert!(Extract::of_stream(&[Bytes::from_static(STREAM.as_bytes())]) == expected());
        let whole = r#"{"choices":[{"index":0,"message":{"content":"Grüß dich","tool_calls":[
            {"id":"a","type":"function","function":{"name":"get","arguments":"{\"x\":1}"}},
            {"id":"b","type":"function","function":{"name":"put","arguments":"{}"}}]},
            "finish_reason":"tool_calls"}],
            "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
        assert!(Extract::of_json(whole.as_bytes()) == expected());
    }

    #[test]
    fn completions_refusals_old_calls_and_embeddings_are_read() {
        let text = |body: &str| Extract::of_json(body.as_bytes()).text;
        assert_eq!(text(r#"{"choices":[{"text":"a b","finish_reason":"stop"}]}"#), "a b");
        let refused = r#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#;
        assert_eq!(text(refused), "no");
        let vectors = r#"{"data":[{"embedding":[0.5,1]},{"embedding":"AAAA"}]}"#;
        assert_eq!(text(vectors), r#"[[0.5,1],"AAAA"]"#);
        let old = r#"{"choices":[{"message":{"function_call":{"name":"f","arguments":"{}"}}}]}"#;
        assert!(Extract::of_json(old.as_bytes()).tool_calls == [call("f", "{}")]);
    }

    #[test]
    fn a_stream_that_broke_off_says_what_came_before() {
        let cut =
            "data: {\"choices\":[{\"delta\":{\"content\":\"so far\"}}]}\n\ndata: {\"error\":{}}";
        let said = Extract::of_stream(&[Bytes::from(cut)]);
        assert_eq!((said.text.as_str(), said.finish), ("so far", None));
    }

    fn plain(pieces: &[&str]) -> Option<String> {
        let mut stream = StreamExtractor::default();
        for piece in pieces {
            stream.push(Bytes::from(format!("data: {{\"choices\":[{piece}]}}\n\n")));
        }
        let is_plain = stream.is_plain();
        stream.plain().filter(|_| is_plain)
    }

    #[test]
    fn words_alone_that_go_on_are_plain_and_nothing_else_is() {
        let word = r#"{"index":0,"delta":{"content":"so"},"finish_reason":null}"#;
        for nothing in [
            r#"{"delta":{"role":"assistant","content":"","refusal":null,"tool_calls":[]}}"#,
            r#"{"index":0,"delta":{"content":null,"reasoning_content":""},"logprobs":null}"#,
            r#"{"text":"","finish_reason":null,"stop_reason":null}"#,
            "",
        ] {
            assert_eq!(plain(&[word, nothing]).as_deref(), Some("so"), "{nothing}");
        }
        for more in [
            r#"{"delta":{},"finish_reason":"stop"}"#,
            r#"{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}"#,
            r#"{"delta":{"function_call":{"name":"f"}}}"#,
            r#"{"delta":{"refusal":"no"}}"#,
            r#"{"delta":{"audio":{"data":"AA"}}}"#,
            r#"{"delta":{"reasoning":"hm"}}"#,
            r#"{"delta":{"some_new_thing":1}}"#,
            r#"{"delta":{"content":[{"type":"text","text":"so"}]}}"#,
            r#"{"index":1,"delta":{"content":"other"}}"#,
            r#"{"delta":{"content":"\ud83d"}}"#,
            r#"{"delta":{"content":"a\ud83db"}}"#,
            r#"{"delta":"#,
        ] {
            assert_eq!(plain(&[word, more]), None, "{more}");
        }
    }

    #[test]
    fn a_pair_that_came_in_two_pieces_is_read_as_one() {
        let [one, two] =
            ["a\\ud83d", "\\ude00b"].map(|text| format!(r#"{{"delta":{{"content":"{text}"}}}}"#));
        assert_eq!(plain(&[&one, &two]).as_deref(), Some("a😀b"));
        let whole = format!(r#"{{"choices":[{}]}}"#, r#"{"message":{"content":"a\ud83db"}}"#);
        assert_eq!(Extract::of_json(whole.as_bytes()).text, "a\u{fffd}b", "and not nothing");
    }

    #[test]
    fn debug_output_holds_nothing_that_was_said() {
        let shown = format!("{:?}", expected());
        for word in ["Grüß", "get", "\"x\""] {
            assert!(!shown.contains(word), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_says_the_same(mut cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
            cuts.sort_unstable();
            let whole = Bytes::from_static(STREAM.as_bytes());
            let ends = cuts.iter().copied().chain([STREAM.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let pieces: Vec<_> = starts.zip(ends).map(|(a, b)| whole.slice(a..b)).collect();
            prop_assert!(Extract::of_stream(&pieces) == expected());
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Extract::of_json(&bytes);
            let _ = Extract::of_stream(&[Bytes::from(bytes)]);
        }

        #[test]
        fn no_shape_makes_it_panic(
            parts in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "null", "1", "-1", "\"a\"", "\"choices\"", "\"delta\"",
                "\"tool_calls\"", "\"index\"", "\"function\"", "\"content\"", "\"usage\"", "\"data\"",
            ]), 0..24),
        ) {
            let text = parts.concat();
            let _ = Extract::of_json(text.as_bytes());
            let _ = Extract::of_stream(&[Bytes::from(format!("data: {text}\n\n"))]);
        }
    }
}
