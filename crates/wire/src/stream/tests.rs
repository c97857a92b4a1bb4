use super::*;
use crate::Endpoint;
use crate::fixtures::{self, exchange, mint};
use proptest::prelude::*;
use serde_json::Value;

mod services;

/// What a client got, and how the stream ended.
struct Got {
    text: String,
    end: Result<(), UpstreamFault>,
    tap: Tap,
}

impl Got {
    /// The payloads that are JSON.
    fn chunks(&self) -> Vec<Value> {
        let lines = self.text.lines().filter_map(|l| l.strip_prefix("data: "));
        lines.filter(|l| *l != "[DONE]").map(|l| serde_json::from_str(l).expect(l)).collect()
    }

    fn done(&self) -> usize {
        self.text.matches("data: [DONE]").count()
    }

    fn content(&self) -> String {
        let piece = |c: &Value| c["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
        self.chunks().iter().filter_map(piece).collect()
    }
}

fn run(plan: &ReplyPlan, frames: impl IntoIterator<Item = Bytes>) -> Got {
    let mut tap = Tap::new(plan.clone(), mint(), Limits::default());
    let mut out = vec![];
    let mut end = Ok(());
    for frame in frames {
        end = tap.push(frame, &mut out);
        if end.is_err() {
            break;
        }
    }
    if end.is_ok() {
        end = tap.finish(&mut out);
    }
    Got { text: String::from_utf8(out.concat()).unwrap(), end, tap }
}

fn plan(provider: &str) -> ReplyPlan {
    ReplyPlan { stream: true, ..fixtures::plan(provider, Endpoint::ChatCompletions) }
}

/// As some compatible services stream calls: whole, without an index, ended with `stop`.
const UNNUMBERED: &str = concat!(
    r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"so"}}]}"#,
    "\n\n",
    r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#,
    "\n\n",
    r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"id":"c2","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#,
    "\n\n",
    r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "\n\ndata: [DONE]\n\n",
);

#[test]
fn calls_without_an_index_are_numbered_where_such_services_are_known() {
    for mint in [false, true] {
        let plan = ReplyPlan { mint, ..plan("openai-compatible") };
        let got = run(&plan, [Bytes::from_static(UNNUMBERED.as_bytes())]);
        let chunks = got.chunks();
        let index = |at: usize| chunks[at]["choices"][0]["delta"]["tool_calls"][0]["index"].clone();
        assert_eq!((index(1), index(2)), (Value::from(0), Value::from(1)), "{}", got.text);
        assert_eq!(chunks[3]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(got.tap.finish_reason(), Some(Finish::ToolCalls));
        assert!(got.tap.numbered_calls() && got.end.is_ok());
    }
    let got = run(&plan("openai"), [Bytes::from_static(UNNUMBERED.as_bytes())]);
    assert_eq!(got.text, UNNUMBERED, "OpenAI's own bytes are not touched");
    let mut numbered = UNNUMBERED.to_owned();
    for (id, index) in [("c1", 0), ("c2", 1)] {
        let call = format!(r#"{{"id":"{id}""#);
        numbered = numbered.replace(&call, &format!(r#"{{"index":{index},{}"#, &call[1..]));
    }
    let got = run(&plan("openai-compatible"), [Bytes::from(numbered.clone())]);
    assert_eq!((got.text.as_str(), got.tap.numbered_calls()), (&*numbered, false));
}

#[test]
fn usage_that_was_not_asked_for_is_estimated_and_told_only_where_it_must_be() {
    const STREAM: &str = concat!(
        r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"content":"one"}}]}"#,
        "\n\n",
        r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"content":" two"}}]}"#,
        "\n\n",
        r#"data: {"id":"a","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "\n\n",
    );
    const TOLD: &str = concat!(
        r#"data: {"id":"a","model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
        "\n\n",
    );
    const DONE: &str = "data: [DONE]\n\n";
    let unasked = ReplyPlan { unasked_prompt_tokens: Some(9), ..plan("openai-compatible") };
    let telling = ReplyPlan { tells_estimate: true, ..unasked.clone() };
    let estimate = Usage { estimated: true, ..Usage::new(9, 2) };
    for end in [DONE, ""] {
        let stream = Bytes::from(format!("{STREAM}{end}"));
        assert_eq!(run(&plan("openai-compatible"), [stream.clone()]).tap.usage(), None);
        let quiet = run(&unasked, [stream.clone()]);
        assert_eq!((quiet.tap.usage(), quiet.chunks().len(), quiet.done()), (Some(estimate), 3, 1));
        let told = run(&telling, [stream]);
        assert_eq!((told.tap.usage(), told.done()), (Some(estimate), 1));
        assert!(told.text.ends_with(DONE));
        let chunks = told.chunks();
        assert_eq!(chunks.len(), 4);
        assert_eq!(chunks[3]["usage"]["completion_tokens"], 2);
        let real = run(&telling, [Bytes::from(format!("{STREAM}{TOLD}{end}"))]);
        assert_eq!(real.tap.usage(), Some(Usage::new(7, 2)), "what the upstream says is taken");
        assert_eq!(real.chunks().len(), 4);
    }
    let cut = run(&unasked, [Bytes::from(STREAM.split_inclusive("\n\n").next().unwrap())]);
    assert_eq!((cut.end.is_err(), cut.tap.usage()), (true, None));
}

#[test]
fn an_untouched_stream_is_the_same_slices() {
    let body = exchange("llamacpp", "chat-stream").body;
    let frames = [body.slice(..400), body.slice(400..)];
    let got = run(&plan("llamacpp"), frames);
    assert!(got.end.is_ok());
    assert_eq!(got.text.trim_end(), std::str::from_utf8(&body).unwrap().trim_end());
    assert!(got.tap.ended_well());
    assert_eq!(got.tap.usage().unwrap().cached_tokens, Some(35));
    assert_eq!(got.tap.finish_reason(), Some(Finish::Length));
    assert_eq!(got.tap.content_chunks(), 4);

    let mut tap = Tap::new(plan("llamacpp"), mint(), Limits::default());
    let mut out = vec![];
    tap.push(body.clone(), &mut out).unwrap();
    assert_eq!((out.len(), out[0].as_ptr()), (1, body.as_ptr()));
}

#[test]
fn usage_that_the_client_did_not_ask_for_is_kept_for_us() {
    for provider in ["llamacpp", "vllm"] {
        let name = if provider == "vllm" { "stream" } else { "chat-stream" };
        let quiet = ReplyPlan { include_usage: false, ..plan(provider) };
        let got = run(&quiet, [exchange(provider, name).body]);
        assert!(got.tap.usage().is_some());
        assert!(!got.text.contains("\"usage\"") && got.done() == 1, "{provider}");
        assert!(got.chunks().iter().all(|c| !c["choices"].as_array().unwrap().is_empty()));
    }
}

/// A usage without counts was one of 0 tokens, and took the place of the real one before it.
#[test]
fn a_usage_without_counts_is_none_and_replaces_none() {
    let chunk = |delta: &str, finish: &str, usage: &str| {
        let choice = format!(r#"{{"index":0,"delta":{delta},"finish_reason":{finish}}}"#);
        format!(
            "data: {{\"id\":\"a\",\"model\":\"m\",\"choices\":[{choice}],\"usage\":{usage}}}\n\n"
        )
    };
    let real = r#"{"prompt_tokens":5,"completion_tokens":2}"#;
    let quiet = ReplyPlan { include_usage: false, ..plan("openai") };
    for (first, last, expected) in [
        ("null", "{}", None),
        ("null", r#"{"total_tokens":7}"#, None),
        (real, "{}", Some(7)),
        (real, r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#, Some(7)),
        ("{}", real, Some(7)),
    ] {
        let body = chunk(r#"{"content":"x"}"#, "null", first)
            + &chunk("{}", "\"stop\"", last)
            + "data: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
        let got = run(&quiet, [Bytes::from(body)]);
        assert!(got.end.is_ok() && got.done() == 1);
        assert_eq!(got.tap.usage().map(|usage| usage.total_tokens), expected, "{first} {last}");
        assert!(got.chunks().iter().all(|chunk| chunk["usage"].is_null()), "{}", got.text);
        assert_eq!(got.chunks().len(), 2, "nobody asked for the last");
    }
}

#[test]
fn minted_streams_carry_our_names_in_every_chunk() {
    let cases = [("llamacpp", "chat-stream"), ("vllm", "stream"), ("vllm", "stream-cont")];
    for (provider, name) in cases {
        let body = exchange(provider, name).body;
        let minted = ReplyPlan { mint: true, ..plan(provider) };
        let got = run(&minted, [body.clone()]);
        let plain = run(&plan(provider), [body]);
        assert_eq!(got.chunks().len(), plain.chunks().len());
        for (ours, theirs) in got.chunks().into_iter().zip(plain.chunks()) {
            let mut expected = theirs;
            expected["id"] = Value::from("chatcmpl-ours");
            expected["model"] = Value::from("asked-for");
            expected["created"] = plain.chunks()[0]["created"].clone();
            assert_eq!(ours, expected);
        }
        assert_eq!(got.done(), 1);
    }
}

#[test]
fn names_that_change_on_the_way_are_replaced_too() {
    let chunk = |id: &str| {
        format!(
            "data: {{\"id\": \"{id}\", \"model\":\"m\",\"choices\":[{{\"delta\":{{\"content\":\"\\\"id\\\": \\\"a\\\"\"}},\"finish_reason\":null}}]}}\n\n"
        )
    };
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let text = ["a", "a", "b", "c", "c"].map(chunk).concat() + end;
    let minted = ReplyPlan { mint: true, ..plan("openai-compatible") };
    let got = run(&minted, [Bytes::from(text)]);
    assert!(got.chunks().iter().all(|c| c["id"] == "chatcmpl-ours" && c["model"] == "asked-for"));
    assert_eq!(got.content(), "\"id\": \"a\"".repeat(5));
    assert_eq!(got.done(), 1, "a missing [DONE] after success is added");
}

#[test]
fn usage_in_every_chunk_is_no_harm() {
    let got = run(&plan("vllm"), [exchange("vllm", "stream-cont").body]);
    assert_eq!(got.tap.usage().unwrap().completion_tokens, 1);
    assert_eq!(got.tap.finish_reason(), Some(Finish::Length));
    assert!(got.end.is_ok());
}

#[test]
fn tool_calls_are_content_and_end_well() {
    let got = run(&plan("vllm"), [exchange("vllm", "tools-stream").body]);
    assert!(got.end.is_ok() && got.tap.first_content_seen());
    assert_eq!(got.tap.finish_reason(), Some(Finish::ToolCalls));
}

#[test]
fn an_engine_that_dies_never_ends_with_done() {
    // vLLM sends an error event and then [DONE]; llama-server's socket dies; Ollama's /v1 ends politely.
    let cases = [
        ("vllm", "vllm", "kill"),
        ("llamacpp", "llamacpp", "kill"),
        ("openai", "ollama", "kill-v1"),
    ];
    for (provider, folder, name) in cases {
        let got = run(&plan(provider), [exchange(folder, name).body]);
        let fault = got.end.as_ref().expect_err(provider);
        assert_eq!(got.done(), 0, "{provider}");
        assert_eq!(fault.class, FaultClass::Failed);
        assert_eq!(
            fault.fault.code,
            Code::BadGateway,
            "who knows what was sent says what broke off"
        );
        assert!(!got.tap.ended_well() && got.tap.finish_reason().is_none());
        assert!(!got.text.contains("EngineCore"));
    }
}

#[test]
fn before_content_another_upstream_may_be_asked() {
    let first = exchange("vllm", "kill").body;
    let role = first.slice(..first.iter().position(|&b| b == b'\n').unwrap() + 2);
    let got = run(&plan("vllm"), [role]);
    let fault = got.end.unwrap_err();
    assert!(fault.failover_ok);
    assert_eq!(fault.fault.code, Code::BadGateway, "no stream has begun that could break");
}

#[test]
fn done_without_an_answer_is_a_failure() {
    let got = run(&plan("openai"), [Bytes::from_static(b"data: [DONE]\n\n")]);
    assert_eq!(got.end.unwrap_err().fault.code, Code::BadGateway);
    assert!(got.text.is_empty());
}

#[test]
fn malformed_events_end_the_stream() {
    let good = "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}\n\n";
    for bad in ["data: <html>\n\n", "data: {\"a\"\n\n", "data: nonsense}\n\n", "data: [1]\n\n"] {
        let got = run(&plan("openai"), [Bytes::from(format!("{good}{bad}{good}"))]);
        assert_eq!(got.end.unwrap_err().class, FaultClass::Unreadable, "{bad}");
        assert_eq!(got.text, good);
    }
    let cut = run(&plan("openai"), [Bytes::from(format!("{good}data: {{\"choi"))]);
    assert_eq!(cut.end.unwrap_err().fault.code, Code::BadGateway);
}

/// A client's SDK goes through the choices of each chunk: one without ends the loop by an error of its own, and the
/// error event behind it is never read.
#[test]
fn what_is_no_chunk_is_an_error_or_left_out_and_never_shown() {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"a\",\"model\":\"m\",\"choices\":[{{\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let good = chunk(r#"{"content":"x"}"#, "null").repeat(2);
    let end = chunk("{}", "\"stop\"") + "data: [DONE]\n\n";
    let errors = [
        (r#"{"detail":"overloaded, SECRET"}"#, FaultClass::Failed),
        (r#"{"object":"error","message":"SECRET","code":500}"#, FaultClass::Failed),
        (r#"{"object":"error","message":"SECRET","type":"x","code":503}"#, FaultClass::Overloaded),
        (r#"{"type":"error","message":"SECRET"}"#, FaultClass::Failed),
        (r#"{"message":"SECRET","code":429}"#, FaultClass::RateLimited),
    ];
    let left_out = [
        "data: {\"type\":\"SECRET\"}\n\n",
        "data: {\"choices\":null,\"x\":\"SECRET\"}\n\n",
        "<html>SECRET</html>\n\n",
        "error: SECRET\n\n",
        "SECRET\r\n\r\n",
    ];
    for mint in [false, true] {
        for before in ["", &*good] {
            let plan = ReplyPlan { mint, ..plan("openai-compatible") };
            for (event, class) in errors {
                let text = format!("{before}data: {event}\n\n{end}");
                let got = run(&plan, [Bytes::from(text)]);
                assert_eq!(got.end.as_ref().expect_err(event).class, class, "{event}");
                assert!(!got.text.contains("SECRET") && got.done() == 0, "{}", got.text);
            }
            for strange in left_out {
                let got = run(&plan, [Bytes::from(format!("{before}{strange}{end}"))]);
                assert!(got.end.is_ok() && got.done() == 1, "{strange}");
                assert_eq!(got.chunks().len(), 1 + before.matches("data").count(), "{strange}");
                assert!(!got.text.contains("SECRET"), "{}", got.text);
                let cut = run(&plan, [Bytes::from(format!("{before}{strange}"))]);
                assert!(cut.end.is_err() && !cut.text.contains("SECRET"), "{}", cut.text);
            }
            // What is no field does not spoil the event that it stands in.
            let both = format!("{before}error: SECRET\n{good}{end}SECRET\ndata: [DONE]\n\n");
            let got = run(&plan, [Bytes::from(both)]);
            assert!(got.end.is_ok() && got.content().ends_with("xx"), "{}", got.text);
            assert!(!got.text.contains("SECRET") && got.done() == 1, "{}", got.text);
        }
    }
}

#[test]
fn a_usage_beside_no_choices_comes_with_an_empty_list_of_them() {
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    for mint in [false, true] {
        let plan = ReplyPlan { mint, ..plan("openai-compatible") };
        for list in ["", "\"choices\":null,"] {
            let usage = format!(
                "data: {{{list}\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":2}}}}\n\n"
            );
            let got = run(&plan, [Bytes::from(format!("{end}{usage}data: [DONE]\n\n"))]);
            assert!(got.end.is_ok() && got.tap.usage().is_some(), "{}", got.text);
            assert_eq!(got.chunks()[1]["choices"], serde_json::json!([]), "{}", got.text);
        }
    }
}

#[test]
fn trouble_after_the_end_is_no_part_of_the_answer() {
    let end = |index| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n"
        )
    };
    let errors = [
        "data: <html>\n\n",
        "data: {\"error\":{\"message\":\"x\"}}\n\n",
        "data: {\"error\":{\"message\":\"x\",\"code\":400}}\n\n",
        "event: error\ndata: {\"message\":\"x\"}\n\n",
    ];
    for trouble in errors {
        // In one piece, in two, and without the mark that ends an event.
        let (whole, tail) = (end(0) + trouble + &end(0), trouble.trim_end().to_owned());
        let cases = [vec![whole], vec![end(0), trouble.to_owned()], vec![end(0) + &tail]];
        for pieces in cases {
            let got = run(&plan("openai"), pieces.iter().cloned().map(Bytes::from));
            assert!(got.end.is_ok() && got.tap.ended_well(), "{pieces:?}");
            assert_eq!(got.tap.finish_reason(), Some(Finish::Stop), "{pieces:?}");
            assert!(got.tap.was_cut(), "{pieces:?}");
            assert_eq!(got.text, end(0) + "data: [DONE]\n\n");
        }
        let two = ReplyPlan { n: 2, ..plan("openai") };
        let got = run(&two, [Bytes::from(end(0) + trouble + &end(1))]);
        assert!(got.end.is_err() && got.done() == 0, "the other has not ended");
        let got = run(&plan("openai"), [Bytes::from(trouble)]);
        assert!(got.end.is_err() && got.done() == 0, "nothing has ended");
    }
    let done = run(&plan("openai"), [Bytes::from(end(0) + "data: [DONE]\n\n" + errors[1])]);
    assert!(done.end.is_ok() && !done.tap.was_cut());
    assert_eq!(done.text, end(0) + "data: [DONE]\n\n");
}

/// Braces alone do not make an event JSON: a client would have been the first to find out.
#[test]
fn an_event_that_does_not_parse_ends_the_stream_also_after_content() {
    let event = |id: &str, text: &str| {
        format!(
            "data: {{\"id\":\"{id}\",\"model\":\"m\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
        )
    };
    let good = event("a", "x") + &event("a", "y") + &event("a", "z");
    let mut bad: Vec<Vec<u8>> = vec![
        // Of another shape than the events before.
        b"data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"x}\n\n"
            .to_vec(),
        b"data: {\"id\":\"a\",\"model\":\"m\" \"choices\":[]}\n\n".to_vec(),
        b"data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[]}}\n\n".to_vec(),
        b"data: {this is} not {json}\n\n".to_vec(),
    ];
    // Of the same shape, with a text that is none.
    bad.extend(["\\x", "\\u12g4", "a\u{7}", "\\"].map(|text| event("a", text).into_bytes()));
    let mut cut = event("a", "?").into_bytes();
    let at = cut.iter().position(|&byte| byte == b'?').unwrap();
    cut[at] = 0xff;
    bad.push(cut);
    for mint in [false, true] {
        for bad in &bad {
            let plan = ReplyPlan { mint, ..plan("openai-compatible") };
            let body = [good.as_bytes(), bad, good.as_bytes()].concat();
            let got = run(&plan, [Bytes::from(body)]);
            let shown = String::from_utf8_lossy(bad);
            let fault = got.end.as_ref().expect_err(&shown);
            assert_eq!(fault.class, FaultClass::Unreadable, "{shown}");
            assert_eq!(fault.fault.code, Code::BadGateway, "{shown}");
            assert_eq!((got.content().as_str(), got.done()), ("xyz", 0), "{shown}");
        }
    }
    let odd = event("a", "\\u00e9\\/\\ud83e") + &event("a", "é\u{1f980}");
    assert_eq!(run(&plan("openai"), [Bytes::from(odd)]).end.unwrap_err().class, FaultClass::Failed);
}

#[test]
fn a_tail_cut_after_the_finish_does_not_spoil_the_answer() {
    let body = exchange("llamacpp", "chat-stream").body;
    let at = memchr::memmem::find(&body, b"\"usage\"").unwrap();
    let got = run(&plan("llamacpp"), [body.slice(..at)]);
    assert!(got.end.is_ok() && got.done() == 1);
    assert_eq!(got.tap.usage(), None);
}

#[test]
fn an_endless_event_is_cut_off() {
    let mut tap = Tap::new(plan("openai"), mint(), Limits { event_bytes: 1_000 });
    let mut out = vec![];
    let frame = Bytes::from(vec![b'x'; 600]);
    tap.push(frame.clone(), &mut out).unwrap();
    assert_eq!(tap.push(frame.clone(), &mut out).unwrap_err().class, FaultClass::Unreadable);
    assert!(tap.push(frame, &mut out).is_ok(), "nothing more is read");
    assert!(out.is_empty());
}

#[test]
fn all_choices_must_have_ended_or_with_done_all_that_began() {
    const DONE: &str = "data: [DONE]\n\n";
    let chunk = |index: u8, delta: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let text = "{\"content\":\"x\"}";
    let one = chunk(0, text, "null") + &chunk(1, text, "null") + &chunk(0, "{}", "\"stop\"");
    let two = ReplyPlan { n: 2, ..plan("openai") };
    assert!(run(&two, [Bytes::from(one.clone())]).end.is_err());
    let half = run(&two, [Bytes::from(one.clone() + DONE)]);
    assert_eq!(half.end.unwrap_err().class, FaultClass::Failed, "the second was cut off");
    let twice = one.clone() + &chunk(0, "{}", "\"stop\"");
    assert!(run(&two, [Bytes::from(twice)]).end.is_err(), "one choice does not end for another");
    let only = chunk(0, text, "null") + &chunk(0, "{}", "\"stop\"");
    assert!(run(&two, [Bytes::from(only.clone() + DONE)]).end.is_ok(), "it gives one choice only");
    assert!(run(&two, [Bytes::from(only)]).end.is_err());
    assert!(run(&two, [Bytes::from(one.clone() + &chunk(1, "{}", "\"length\""))]).end.is_ok());
    let gave_up = one + &chunk(1, "{}", "\"error\"") + "data: [DONE]\n\n";
    assert_eq!(run(&two, [Bytes::from(gave_up)]).end.unwrap_err().class, FaultClass::Failed);
}

#[test]
fn completions_of_llama_server_get_the_endpoints_form() {
    let chunk = r#"data: {"choices":[{"text":", the","index":0,"logprobs":{"content":[{"id":28,"token":",","bytes":[44],"logprob":-0.5,"top_logprobs":[]}]},"finish_reason":null}],"model":"m","object":"text_completion","id":"chatcmpl-A"}"#;
    let end = r#"data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"model":"m","object":"text_completion","id":"chatcmpl-A"}"#;
    let text = format!("{chunk}\n\n{chunk}\n\n{end}\n\ndata: [DONE]\n\n");
    let plan = ReplyPlan { endpoint: Endpoint::Completions, mint: true, ..plan("llamacpp") };
    let got = run(&plan, [Bytes::from(text)]);
    let chunks = got.chunks();
    assert_eq!(chunks.len(), 3);
    for chunk in &chunks[..2] {
        assert_eq!(chunk["choices"][0]["logprobs"]["tokens"], serde_json::json!([","]));
        assert_eq!(chunk["id"], "chatcmpl-ours");
    }
    assert_eq!(got.tap.content_chunks(), 2);
}

#[test]
fn usage_on_the_finish_chunk_of_a_completion_is_given_as_openai_gives_it() {
    // As llama.cpp's server b10434 answers `/v1/completions`, whether usage was asked for or not.
    let text = concat!(
        r#"data: {"choices":[{"text":" with","index":0,"logprobs":null,"finish_reason":null}],"created":7,"model":"m","object":"text_completion","id":"chatcmpl-A"}"#,
        "\n\n",
        r#"data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"created":7,"model":"m","object":"text_completion","usage":{"completion_tokens":1,"prompt_tokens":5,"total_tokens":6},"id":"chatcmpl-A"}"#,
        "\n\ndata: [DONE]\n\n"
    );
    for mint in [false, true] {
        for asked in [false, true] {
            let endpoint = Endpoint::Completions;
            let plan = ReplyPlan { mint, include_usage: asked, endpoint, ..plan("llamacpp") };
            let got = run(&plan, [Bytes::from(text)]);
            assert!(got.end.is_ok() && got.done() == 1);
            assert_eq!(got.tap.usage().unwrap().completion_tokens, 1);
            let chunks = got.chunks();
            assert_eq!(chunks.len(), if asked { 3 } else { 2 });
            assert!(chunks[..2].iter().all(|chunk| chunk["usage"].is_null()));
            assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
            assert!(chunks.iter().all(|chunk| chunk["model"] == chunks[0]["model"]));
            if asked {
                assert_eq!(chunks[2]["choices"], serde_json::json!([]));
                assert_eq!(chunks[2]["usage"]["total_tokens"], 6);
            }
        }
    }
}

#[test]
fn all_chunks_of_a_minted_stream_have_the_time_of_the_first() {
    let chunk = |created: u32, delta: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}],\"created\":{created},\"id\":\"chatcmpl-A\",\"model\":\"m\"}}\n\n"
        )
    };
    let content = r#"{"content":"\"created\":9"}"#;
    let text = chunk(98, "{\"role\":\"assistant\"}", "null")
        + &chunk(98, content, "null")
        + &chunk(99, content, "null")
        + &chunk(100, content, "null")
        + &chunk(101, "{}", "\"stop\"");
    let got = run(&ReplyPlan { mint: true, ..plan("llamacpp") }, [Bytes::from(text)]);
    assert!(got.end.is_ok());
    assert!(got.chunks().iter().all(|chunk| chunk["created"] == 98), "{}", got.text);
    assert_eq!(got.content(), "\"created\":9".repeat(3));
}

#[test]
fn only_content_counts_where_chunks_mend_the_usage() {
    let chunk = |index: u32, delta: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut text = String::new();
    for index in [0, 1] {
        text += &chunk(index, r#"{"role":"assistant","content":null}"#, "null");
        text += &chunk(index, r#"{"content":"a"}"#, "null").repeat(3);
        text += &chunk(index, "{}", "\"length\"");
    }
    text += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,\"total_tokens\":8}}\n\n";
    let got = run(&ReplyPlan { n: 2, ..plan("llamacpp") }, [Bytes::from(text)]);
    assert!(got.end.is_ok());
    assert_eq!(got.tap.usage().unwrap().completion_tokens, 6);
}

#[test]
fn what_the_upstream_calls_unusable_passes_where_its_own_words_do() {
    let text = concat!(
        "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\",",
        "\"native_finish_reason\":\"MALFORMED_FUNCTION_CALL\"}]}\n\ndata: [DONE]\n\n"
    );
    let own = ReplyPlan { own: true, ..plan("gemini") };
    let seen = run(&own, [Bytes::from_static(text.as_bytes())]);
    assert!(seen.end.is_ok(), "{:?}", seen.end.err());
    let fault = run(&plan("gemini"), [Bytes::from_static(text.as_bytes())]).end.unwrap_err();
    let why = "the model's answer cannot be used: MALFORMED_FUNCTION_CALL";
    assert!(fault.fault.message.contains(why), "{fault}");
    assert_eq!(fault.fault.code, Code::BadGateway);
}

#[test]
fn an_error_event_is_what_sdks_raise() {
    let event = error_event(&Fault::new(Code::StreamInterrupted, "it broke"));
    assert_eq!(
        event,
        "data: {\"error\":{\"message\":\"it broke\",\"type\":\"server_error\",\"param\":null,\"code\":\"stream_interrupted\"}}\n\n"
    );
}

proptest! {
    #[test]
    fn every_chunking_gives_the_client_the_same(
        which in 0_usize..5,
        minted in any::<bool>(),
        wants_usage in any::<bool>(),
        crlf in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let cases = [("llamacpp", "llamacpp", "chat-stream"), ("vllm", "vllm", "stream"), ("vllm", "vllm", "kill"),
            ("openai", "ollama", "v1chat-stream"), ("llamacpp", "llamacpp", "logprobs-stream")];
        let (provider, folder, name) = cases[which];
        let mut body = exchange(folder, name).body;
        if crlf {
            body = Bytes::from(String::from_utf8(body.to_vec()).unwrap().replace('\n', "\r\n"));
        }
        let plan = ReplyPlan { mint: minted, include_usage: wants_usage, ..plan(provider) };
        let whole = run(&plan, [body.clone()]);
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(body.len() + 1)).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        let frames = at.windows(2).map(|w| body.slice(w[0]..w[1])).collect::<Vec<_>>();
        let parts = run(&plan, frames);
        prop_assert_eq!(&parts.text, &whole.text);
        prop_assert_eq!(parts.end, whole.end);
        prop_assert_eq!(parts.tap.usage(), whole.tap.usage());
        prop_assert_eq!(parts.tap.content_chunks(), whole.tap.content_chunks());
    }

    #[test]
    fn no_bytes_make_the_tap_panic(
        frames in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            "(data: )?[\\[{}\"a-z0-9:,\\] \n]{0,60}\n\n?".prop_map(String::into_bytes),
            Just(b"data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n".to_vec()),
            Just(b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n".to_vec()),
            Just(b"data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n".to_vec()),
            Just(b"{\"message\":{\"content\":\"x\"},\"done\":false}\n".to_vec()),
        ], 0..10),
        minted in any::<bool>(),
    ) {
        for provider in crate::PROVIDERS {
            for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions] {
                let plan = ReplyPlan { mint: minted, n: 2, endpoint, ..plan(provider.name) };
                let mut tap = Tap::new(plan, mint(), Limits { event_bytes: 300 });
                let mut out = vec![];
                for frame in &frames {
                    let _ = tap.push(Bytes::copy_from_slice(frame), &mut out);
                }
                let ok = tap.finish(&mut out).is_ok();
                let text = out.concat();
                let done = memchr::memmem::find_iter(&text, b"data: [DONE]").count();
                prop_assert!(done <= 1, "[DONE] comes once at most");
                prop_assert!(done == 0 || tap.ended_well());
                prop_assert!(!ok || done == usize::from(tap.ended_well()));
            }
        }
    }
}
