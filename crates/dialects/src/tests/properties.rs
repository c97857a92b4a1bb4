//! Properties: the cuts of a stream do not matter, no bytes make anything panic, and a stream tells
//! what the whole answer tells.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::support::{
    facts, fixture, inbound, lenient, names, now, path_of, payloads, read, stream,
};
use crate::{Asked, DIALECTS, Inbound, find};

const REQUESTS: [&str; 5] = [
    "anthropic/minimal.json",
    "responses/tool-kinds.json",
    "ollama/chat-full.json",
    "ollama/generate.json",
    "gemini/full.json",
];

fn asked(request: &str) -> Inbound {
    inbound(path_of(request), &fixture(request), &lenient())
}

#[test]
fn a_stream_is_the_same_wherever_it_is_cut() {
    for name in names("chat", ".sse") {
        let text = fixture(&format!("chat/{name}"));
        for request in REQUESTS {
            let whole = stream(asked(request).way_back, &[&text]);
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(stream(asked(request).way_back, &bytes), whole, "{name} {request}");
            for at in (0..text.len()).step_by(17) {
                let (start, end) = text.split_at(at);
                assert_eq!(stream(asked(request).way_back, &[start, end]), whole, "{name} {at}");
            }
        }
    }
}

#[test]
fn a_stream_that_stops_anywhere_ends_in_an_error() {
    let text = fixture("chat/tools.sse");
    let done = text.windows(12).position(|w| w == b"data: [DONE]").unwrap() + 12;
    for request in REQUESTS {
        for at in (0..done).step_by(5) {
            let out = stream(asked(request).way_back, &[&text[..at]]);
            assert!(out.contains("error"), "{request} {at}");
            assert!(!out.contains("finishReason"), "{request} {at}");
            payloads(&out);
        }
    }
}

#[test]
fn every_event_of_a_response_is_numbered_without_a_gap() {
    for name in names("chat", ".sse") {
        let out =
            stream(asked("responses/full.json").way_back, &[&fixture(&format!("chat/{name}"))]);
        for (n, event) in payloads(&out).iter().enumerate() {
            assert_eq!(event["sequence_number"], Value::from(n), "{name}");
        }
    }
}

#[test]
fn a_response_stream_tells_its_items_as_its_last_event_does() {
    for name in ["tools", "refusal-length", "llamacpp-chat-stream", "llamacpp-logprobs-stream"] {
        let text = fixture(&format!("chat/{name}.sse"));
        let events = payloads(&stream(asked("responses/full.json").way_back, &[&text]));
        let done: Vec<&Value> = events
            .iter()
            .filter(|event| event["type"] == "response.output_item.done")
            .map(|event| &event["item"])
            .collect();
        let last = &events.last().unwrap()["response"];
        assert_eq!(last["output"].as_array().unwrap().iter().collect::<Vec<_>>(), done, "{name}");
        for (n, event) in
            events.iter().filter(|e| e["type"] == "response.output_item.added").enumerate()
        {
            assert_eq!(event["output_index"], Value::from(n));
        }
        // What the deltas say is what the done event says.
        for done in events.iter().filter(|e| e["type"] == "response.output_text.done") {
            let said: String = events
                .iter()
                .filter(|e| {
                    e["type"] == "response.output_text.delta" && e["item_id"] == done["item_id"]
                })
                .filter_map(|e| e["delta"].as_str())
                .collect();
            assert_eq!(done["text"], Value::from(said));
        }
    }
}

#[test]
fn anthropic_blocks_open_and_close_one_after_another() {
    for name in names("chat", ".sse") {
        let out =
            stream(asked("anthropic/minimal.json").way_back, &[&fixture(&format!("chat/{name}"))]);
        let (mut open, mut next) = (None, 0);
        for event in payloads(&out) {
            let index = event.get("index").and_then(Value::as_u64);
            match event["type"].as_str().unwrap() {
                "content_block_start" => {
                    assert_eq!((open, index), (None, Some(next)), "{name}");
                    open = index;
                }
                "content_block_delta" => assert_eq!(open, index, "{name}"),
                "content_block_stop" => {
                    assert_eq!(open.take(), index, "{name}");
                    next += 1;
                }
                "message_delta" => assert_eq!(open, None, "{name}"),
                _ => {}
            }
        }
    }
}

#[test]
fn geminis_stream_without_events_is_one_list_however_it_ends() {
    let request = "gemini/full.json";
    for name in names("chat", ".sse") {
        let text = fixture(&format!("chat/{name}"));
        let as_list = |text: &[u8]| -> Vec<Value> {
            let facts = crate::RequestFacts { events: false, ..lenient() };
            let back = || inbound(path_of(request), &fixture(request), &facts).way_back;
            assert_eq!(back().stream().content_type(), "application/json");
            let out = stream(back(), &[text]);
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{name} {error}: {out}"))
        };
        let events = payloads(&stream(asked(request).way_back, &[&text]));
        // Signs of life are space in a list.
        let says = |event: &&Value| {
            let empty = event.pointer("/candidates/0/content/parts/0/text") == Some(&"".into());
            !empty || event.pointer("/candidates/0/finishReason").is_some()
        };
        let events: Vec<Value> = events.iter().filter(says).cloned().collect();
        assert_eq!(as_list(&text), events, "{name}");
        let cut = as_list(&text[..text.len() / 2]);
        assert!(cut.last().unwrap().get("error").is_some(), "{name}");
    }
}

/// A piece of JSON that looks like what the dialects read.
fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "true",
        "1e9",
        "-1",
        "\"type\"",
        "\"text\"",
        "\"role\"",
        "\"user\"",
        "\"content\"",
        "\"messages\"",
        "\"input\"",
        "\"tools\"",
        "\"model\"",
        "\"max_tokens\"",
        "\"tool_use\"",
        "\"function_call\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        " ",
        "\n",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_body_makes_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), soup in soup()) {
        for dialect in DIALECTS {
            for route in dialect.routes {
                let Some(Ok(found)) = find(route.method, route.path) else { continue };
                if let crate::Ask::Read(read) = found.ask {
                    let _ = read(&Bytes::from(bytes.clone()), &lenient());
                    let _ = read(&Bytes::from(soup.clone()), &facts());
                }
            }
        }
    }

    #[test]
    fn a_request_with_one_byte_changed_is_read_or_refused(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()
    ) {
        for request in
            ["anthropic/full.json", "responses/full.json", "ollama/chat-full.json", "gemini/full.json"]
        {
            let mut body = fixture(request).to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            if cut {
                body.truncate(at);
            }
            match read(path_of(request), &Bytes::from(body), &lenient()) {
                Ok(Asked::Infer(inbound)) => {
                    prop_assert!(serde_json::from_slice::<Value>(&inbound.body).is_ok());
                }
                Ok(Asked::Now(_)) => {}
                Err(fault) => prop_assert!(fault.code.status() < 500),
            }
        }
    }

    #[test]
    fn no_answer_makes_the_way_back_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        for request in REQUESTS {
            let _ = asked(request).way_back.reply(&bytes, now());
            let out = stream(asked(request).way_back, &[&bytes]);
            payloads(&out);
            for name in ["chat/tools.json", "chat/logprobs.json"] {
                let mut body = fixture(name).to_vec();
                let at = at.index(body.len());
                body[at] = byte;
                if let Ok(answer) = asked(request).way_back.reply(&body, now()) {
                    prop_assert!(serde_json::from_slice::<Value>(&answer.body).is_ok());
                }
            }
            let mut text = fixture("chat/tools.sse").to_vec();
            let at = at.index(text.len());
            text[at] = byte;
            payloads(&stream(asked(request).way_back, &[&text]));
        }
    }
}
