//! Streams of services that depart from the OpenAI dialect, as each dialect's clients see them: through `wire`, as the
//! gateway does it.

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::stream::{Limits, error_event};
use cutover_wire::{Endpoint, Head, Mint, Provider, ReplyPlan, Tap, Target, Usage, adapt};
use serde_json::Value;

use super::support::{CLIENTS, inbound, lenient, now, payloads};
use cutover_vendors::{anthropic, gemini};

/// What a client has of a stream.
#[derive(Debug, Default, PartialEq)]
struct Got {
    text: String,
    calls: Vec<(String, String)>,
    whole: bool,
    failure: Option<Code>,
}

/// A stream of the `services` fixtures of `wire`, as a client of a use case sees it.
fn through(client: (&str, &str), name: &str) -> Got {
    let file = format!("{}/../wire/fixtures/services/{name}.http", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).expect(&file);
    let (_, events) = text.split_once('\n').expect("a comment line");
    relayed(client, "openai-compatible", Bytes::copy_from_slice(events.as_bytes()))
}

/// Events of an upstream's in the OpenAI dialect, as a client of a use case sees them.
fn relayed((path, request): (&str, &str), provider: &str, events: Bytes) -> Got {
    let inbound = inbound(path, &Bytes::copy_from_slice(request.as_bytes()), &lenient());
    let head = Head::read(inbound.endpoint, &inbound.body).unwrap();
    let provider = Provider::by_name(provider).unwrap();
    let target = Target { model: Some("m".into()), mint: true, ..Target::untouched(provider) };
    let plan = adapt::adapt(&head, &inbound.body, &target).unwrap().reply;
    let plan = ReplyPlan { stream: true, include_usage: true, ..plan };
    let mint = Mint { id: "chatcmpl-1".into(), model: "asked".into(), created: 1 };
    let mut tap = Tap::new(plan, mint, Limits::default());
    let (mut stream, mut between, mut out) = (inbound.way_back.stream(), Vec::new(), Vec::new());
    let end = tap.push(events, &mut between).and_then(|()| tap.finish(&mut between));
    if let Err(fault) = end {
        between.push(error_event(&fault.fault));
    }
    for piece in between {
        stream.push(piece, now(), &mut out);
    }
    stream.finish(now(), &mut out);
    let mut got = Got { failure: stream.failure(), ..Got::default() };
    for payload in payloads(&String::from_utf8(out.concat()).unwrap()) {
        got.read(&payload);
    }
    got
}

impl Got {
    fn read(&mut self, payload: &Value) {
        let text = |at: &str| payload.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let call = |name: &str, arguments: &Value| {
            let arguments = arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned);
            (name.to_owned(), arguments)
        };
        match text("/type") {
            "content_block_delta" => self.text += text("/delta/text"),
            "content_block_start" if text("/content_block/type") == "tool_use" => {
                self.calls.push(call(text("/content_block/name"), &Value::from("")));
            }
            "message_stop" => self.whole = true,
            "response.output_text.delta" => self.text += text("/delta"),
            "response.completed" => {
                self.whole = true;
                let items = payload["response"]["output"].as_array().unwrap();
                let calls = items.iter().filter(|item| item["type"] == "function_call");
                let named = |item: &Value| call(item["name"].as_str().unwrap(), &item["arguments"]);
                self.calls = calls.map(named).collect();
            }
            _ => {}
        }
        if text("/delta/type") == "input_json_delta" {
            self.calls.last_mut().unwrap().1 += text("/delta/partial_json");
        }
        self.text += text("/message/content");
        for item in payload["message"]["tool_calls"].as_array().into_iter().flatten() {
            let function = &item["function"];
            self.calls.push(call(function["name"].as_str().unwrap(), &function["arguments"]));
        }
        self.whole |= payload["done"] == true;
        let candidate = &payload["candidates"][0];
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            self.text += part["text"].as_str().unwrap_or_default();
            if let Some(name) = part["functionCall"]["name"].as_str() {
                self.calls.push(call(name, &part["functionCall"]["args"]));
            }
        }
        self.whole |= candidate["finishReason"].is_string();
    }
}

#[test]
fn whole_answers_of_services_that_depart_from_the_dialect_are_whole_for_every_client() {
    for client in CLIENTS {
        for name in [
            "azure",
            "azure-asynchronous",
            "model-empty",
            "reason-empty",
            "message-last",
            "message-and-delta",
            "pings",
            "names-null",
        ] {
            let expected = Got { text: "Hello world".to_owned(), whole: true, ..Got::default() };
            assert_eq!(through(client, name), expected, "{name} {}", client.0);
        }
    }
}

#[test]
fn an_answer_that_is_cut_off_is_whole_for_no_client() {
    for client in CLIENTS {
        let got = through(client, "reason-empty-cut");
        let failure = Some(Code::BadGateway);
        assert_eq!((got.whole, got.failure), (false, failure), "{}", client.0);
    }
}

#[test]
fn two_calls_under_one_index_are_two_calls_for_every_client() {
    let call = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
    let calls = vec![call("f", r#"{"a":1}"#), call("g", r#"{"b":1}"#)];
    for client in CLIENTS {
        let expected = Got { calls: calls.clone(), whole: true, ..Got::default() };
        assert_eq!(through(client, "one-index"), expected, "{}", client.0);
    }
}

/// A stream that has the whole message and nothing before.
#[test]
fn a_message_in_place_of_all_deltas_is_said_once() {
    for (path, request) in CLIENTS {
        let request = Bytes::copy_from_slice(request.as_bytes());
        let mut stream = inbound(path, &request, &lenient()).way_back.stream();
        let event = r#"{"model":"m","choices":[{"index":0,"message":{"content":"Hello world"},"finish_reason":"stop"}]}"#;
        let text = Bytes::from(format!("data: {event}\n\ndata: [DONE]\n\n"));
        let mut out = Vec::new();
        stream.push(text, now(), &mut out);
        let mut got = Got::default();
        for payload in payloads(&String::from_utf8(out.concat()).unwrap()) {
            got.read(&payload);
        }
        assert_eq!((got.text.as_str(), got.whole), ("Hello world", true), "{path}");
    }
}

/// Chat's clients had the whole answer, all others an error after all of its text.
#[test]
fn choices_that_are_null_are_none_for_every_client() {
    const NULL: &str = concat!(
        r#"data: {"choices":[{"index":null,"delta":{"content":"Hello world"}}]}"#,
        "\n\n",
        r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "\n\n",
        r#"data: {"choices":null,"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
        "\n\ndata: [DONE]\n\n"
    );
    for client in CLIENTS {
        let expected = Got { text: "Hello world".to_owned(), whole: true, ..Got::default() };
        let got = relayed(client, "openai-compatible", Bytes::from_static(NULL.as_bytes()));
        assert_eq!(got, expected, "{}", client.0);
    }
}

/// Nobody had counted: it was 0 tokens, which have a price of 0.
#[test]
fn what_a_vendor_does_not_count_is_unknown() {
    let usage_of = |events: &str, own: fn(&str) -> Vec<Bytes>| {
        let target = Target::untouched(Provider::by_name("openai-compatible").unwrap());
        let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        let plan = adapt::adapt(&head, &body, &target).unwrap().reply;
        let mint = Mint { id: "chatcmpl-1".into(), model: "asked".into(), created: 1 };
        let mut tap = Tap::new(ReplyPlan { stream: true, ..plan }, mint, Limits::default());
        let mut out = Vec::new();
        for piece in own(events) {
            tap.push(piece, &mut out).unwrap();
        }
        tap.finish(&mut out).unwrap();
        tap.usage()
    };
    let claude = |events: &str| {
        let (mut turned, mut out) =
            (anthropic::EventsIn::new(cutover_units::Millis(0)), Vec::new());
        turned.push(Bytes::copy_from_slice(events.as_bytes()), &mut out);
        turned.finish(&mut out);
        out
    };
    let google = |events: &str| {
        let (mut turned, mut out) = (gemini::EventsIn::new(cutover_units::Millis(0)), Vec::new());
        turned.push(Bytes::copy_from_slice(events.as_bytes()), &mut out);
        turned.finish(&mut out);
        out
    };
    let message = |began: &str, ended: &str| {
        [
            format!(r#"{{"type":"message_start","message":{{"id":"a","model":"m"{began}}}}}"#),
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#
                .to_owned(),
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#
                .to_owned(),
            format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}}{ended}}}"#),
            r#"{"type":"message_stop"}"#.to_owned(),
        ]
        .map(|event| format!("data: {event}\n\n"))
        .concat()
    };
    let began = r#","usage":{"input_tokens":5,"output_tokens":1}"#;
    let ended = r#","usage":{"output_tokens":2}"#;
    assert_eq!(usage_of(&message("", ""), claude), None);
    assert_eq!(usage_of(&message("", ended), claude), None);
    assert_eq!(usage_of(&message(began, ended), claude), Some(Usage::new(5, 2)));
    // What its beginning says of the output is a placeholder.
    for ended in ["", r#","usage":null"#, r#","usage":{}"#, r#","usage":{"output_tokens":null}"#] {
        assert_eq!(usage_of(&message(began, ended), claude), None, "{ended}");
    }
    let piece = |usage: &str| {
        let said = r#"{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}"#;
        format!("data: {{\"candidates\":[{said}]{usage}}}\n\n")
    };
    assert_eq!(usage_of(&piece(""), google), None);
    assert_eq!(usage_of(&piece(r#","usageMetadata":{"totalTokenCount":7}"#), google), None);
    let told = r#","usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}"#;
    assert_eq!(usage_of(&piece(told), google), Some(Usage::new(5, 0)), "a 0 is left out");
    let whole = br#"{"id":"a","model":"m","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn"}"#;
    let answer = anthropic::answer(whole, cutover_units::Millis(0)).unwrap().body;
    assert!(serde_json::from_slice::<Value>(&answer).unwrap()["usage"].is_null());
    let whole = br#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}"#;
    let answer = gemini::answer(whole, cutover_units::Millis(0)).unwrap().body;
    assert!(serde_json::from_slice::<Value>(&answer).unwrap()["usage"].is_null());
}

/// As Mistral's reasoning models stream: lists of parts, then texts.
#[test]
fn words_in_parts_are_said_and_thoughts_are_told_apart() {
    const PARTS: &str = concat!(
        r#"data: {"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]}]}}]}"#,
        "\n\n",
        r#"data: {"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"Hello"}]}}]}"#,
        "\n\n",
        r#"data: {"choices":[{"index":0,"delta":{"content":" world"},"finish_reason":"stop"}]}"#,
        "\n\ndata: [DONE]\n\n"
    );
    for (path, request) in CLIENTS {
        let request = Bytes::copy_from_slice(request.as_bytes());
        let mut stream = inbound(path, &request, &lenient()).way_back.stream();
        let mut out = Vec::new();
        stream.push(Bytes::from_static(PARTS.as_bytes()), now(), &mut out);
        let text = String::from_utf8(out.concat()).unwrap();
        let mut got = Got::default();
        for payload in payloads(&text) {
            got.read(&payload);
        }
        assert_eq!((got.text.as_str(), got.whole), ("Hello world", true), "{path}");
        assert_eq!(text.contains("\"Hm\""), path != "/v1beta/models/asked:streamGenerateContent");
    }
}

/// What a chat client gets unharmed, other clients get as well.
#[test]
fn a_whole_answer_without_a_reason_or_a_readable_usage_is_one_for_every_client() {
    for usage in ["null", r#""none""#, r#"{"prompt_tokens":1e9}"#, "[]"] {
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":"Hello"}},"finish_reason":null}}],"usage":{usage}}}"#
        );
        for (path, request) in CLIENTS {
            let request = Bytes::copy_from_slice(request.as_bytes());
            let back = inbound(path, &request, &lenient()).way_back;
            let out = back.reply(body.as_bytes(), now());
            assert!(out.is_ok(), "{path} {usage}");
        }
    }
}

/// Google's description has both names as optional.
#[test]
fn streams_of_gemini_that_tell_no_names_are_whole() {
    let piece = |text: &str, end: &str| {
        let content = format!(r#""content":{{"role":"model","parts":[{{"text":"{text}"}}]}}"#);
        format!("data: {{\"candidates\":[{{{content}{end}}}]}}\r\n\r\n")
    };
    let answer = piece("Hello", "") + &piece(" world", r#","finishReason":"STOP""#);
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\r\n\r\n";
    for client in CLIENTS {
        for (text, said) in [(answer.as_str(), Some("Hello world")), (blocked, None)] {
            let mut events = gemini::EventsIn::new(cutover_units::Millis(0));
            let mut out = Vec::new();
            events.push(Bytes::copy_from_slice(text.as_bytes()), &mut out);
            events.finish(&mut out);
            let got = relayed(client, "gemini", Bytes::from(out.concat()));
            assert_eq!(got.failure, None, "{} {text}", client.0);
            // How a refusal is told is each dialect's own.
            let told = said.is_none_or(|said| got.text == said && got.whole);
            assert!(told, "{} {text} {got:?}", client.0);
        }
    }
}
