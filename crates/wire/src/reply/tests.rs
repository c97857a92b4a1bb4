use super::*;
use crate::fixtures::{self, exchange, mint};
use crate::{Endpoint, UpstreamFault};
use proptest::prelude::*;
use serde_json::Value;

fn read(provider: &str, name: &str, minted: bool, n: u32) -> Result<Reply, UpstreamFault> {
    let endpoint =
        if name == "v1compl" { Endpoint::Completions } else { Endpoint::ChatCompletions };
    let plan = ReplyPlan { mint: minted, n, ..fixtures::plan(provider, endpoint) };
    let captured = exchange(provider, name);
    let received = Received {
        content_type: captured.content_type.as_deref(),
        ..Received::new(captured.status, captured.body.clone())
    };
    read_reply(&plan, &mint(), received)
}

#[test]
fn a_good_answer_is_passed_on_as_the_same_bytes() {
    for (provider, name) in [("llamacpp", "chat"), ("vllm", "chat"), ("openai", "v1chat")] {
        let folder = if provider == "openai" { "ollama" } else { provider };
        let body = exchange(folder, name).body;
        let plan = fixtures::plan(provider, Endpoint::ChatCompletions);
        let reply = read_reply(&plan, &mint(), Received::new(200, body.clone())).unwrap();
        assert_eq!(reply.body.as_ptr(), body.as_ptr(), "{provider}");
        assert_eq!(reply.finish, Some(Finish::Length));
        assert!(reply.usage.unwrap().prompt_tokens > 10);
    }
}

#[test]
fn a_minted_answer_differs_in_id_and_model_only() {
    for (provider, name) in [("llamacpp", "chat"), ("vllm", "chat")] {
        let reply = read(provider, name, true, 1).unwrap();
        let mut before: Value = serde_json::from_slice(&exchange(provider, name).body).unwrap();
        let after: Value = serde_json::from_slice(&reply.body).unwrap();
        before["id"] = Value::from("chatcmpl-ours");
        before["model"] = Value::from("asked-for");
        assert_eq!(after, before);
    }
}

#[test]
fn debug_shows_no_body() {
    let body = Bytes::from_static(br#"{"choices":[{"message":{"content":"secret"}}]}"#);
    let received = Received::new(200, body);
    let shown = format!("{received:?}");
    let plan = fixtures::plan("openai", Endpoint::ChatCompletions);
    let reply = read_reply(&plan, &mint(), received).unwrap();
    let shown = shown + &format!("{reply:?}");
    assert!(shown.contains("body_bytes: 46") && !shown.contains("secret"), "{shown}");
}

#[test]
fn a_missing_id_is_added() {
    let plan = ReplyPlan { mint: true, ..fixtures::plan("openai", Endpoint::ChatCompletions) };
    let body = Bytes::from_static(br#" {"choices":[{}]}"#);
    let reply = read_reply(&plan, &mint(), Received::new(200, body)).unwrap();
    assert_eq!(reply.body, r#" {"model":"asked-for","id":"chatcmpl-ours","choices":[{}]}"#);
}

#[test]
fn usage_of_one_choice_is_made_usage_of_all() {
    let reply = read("llamacpp", "n2", false, 2).unwrap();
    let usage = reply.usage.unwrap();
    assert!(usage.estimated && usage.completion_tokens > 3);
    let value: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(value["usage"]["completion_tokens"], usage.completion_tokens);
    assert_eq!(value["usage"]["total_tokens"], usage.total_tokens);
    assert_eq!(value["usage"]["prompt_tokens_details"]["cached_tokens"], 30);
    let vllm = read("vllm", "n2", false, 2).unwrap().usage.unwrap();
    assert!(!vllm.estimated);
    assert_eq!(vllm.completion_tokens, 6);
}

#[test]
fn with_a_limit_the_choices_that_met_it_are_counted_exactly() {
    let plan = ReplyPlan {
        n: 2,
        max_tokens: Some(3),
        ..fixtures::plan("llamacpp", Endpoint::ChatCompletions)
    };
    let body = exchange("llamacpp", "n2").body;
    let reply = read_reply(&plan, &mint(), Received::new(200, body)).unwrap();
    assert_eq!(reply.usage.unwrap().completion_tokens, 6);
}

#[test]
fn completions_of_llama_server_get_the_endpoints_own_logprobs() {
    let value: Value =
        serde_json::from_slice(&read("llamacpp", "v1compl", true, 1).unwrap().body).unwrap();
    let logprobs = &value["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], serde_json::json!([",", " the", " city"]));
    assert_eq!(logprobs["text_offset"], serde_json::json!([0, 1, 5]));
    assert!(logprobs["top_logprobs"][0][","].is_number());
    assert!(logprobs.get("content").is_none());
}

#[test]
fn answers_that_are_none_are_upstream_failures() {
    let plan = fixtures::plan("openai", Endpoint::ChatCompletions);
    let bodies: [&'static [u8]; 10] = [
        b"{\"choices\":[]}",
        b"{\"id\":\"a\",\"choices\":[ ],\"usage\":{\"prompt_tokens\":1}}",
        b"",
        b"<html></html>",
        b"[]",
        b"{}",
        b"{\"choices\":5}",
        b"{\"choices\":[]",
        b"\xff\xfe",
        b"{\"object\":\"list\",\"data\":[]}",
    ];
    for body in bodies {
        let fault = read_reply(&plan, &mint(), Received::new(200, Bytes::from_static(body)))
            .expect_err("no answer");
        assert_eq!(fault.class, FaultClass::Unreadable, "{body:?}");
        assert!(fault.failover_ok);
    }
    let page = Received { content_type: Some("text/html; x"), ..Received::new(200, Bytes::new()) };
    assert!(read_reply(&plan, &mint(), page).is_err());
}

#[test]
fn an_error_in_a_200_is_an_error() {
    let plan = fixtures::plan("openai-compatible", Endpoint::ChatCompletions);
    let body = Bytes::from_static(br#"{"error":{"message":"upstream down","code":502},"id":"x"}"#);
    let fault = read_reply(&plan, &mint(), Received::new(200, body)).unwrap_err();
    assert_eq!(fault.class, FaultClass::Failed);
    let body = Bytes::from_static(br#"{"error":null,"choices":[{}]}"#);
    assert!(read_reply(&plan, &mint(), Received::new(200, body)).is_ok());
}

#[test]
fn a_wait_travels_with_the_failure() {
    let plan = fixtures::plan("openai", Endpoint::ChatCompletions);
    let received = Received { retry_after: Some("3"), ..Received::new(429, Bytes::new()) };
    assert_eq!(read_reply(&plan, &mint(), received).unwrap_err().retry_after_ms, Some(3_000));
}

#[test]
fn an_answer_that_cannot_be_used_says_why_where_it_is_known() {
    let plan = fixtures::plan("gemini", Endpoint::ChatCompletions);
    let answer = |native: &str| {
        let body = format!(
            r#"{{"choices":[{{"message":{{}},"finish_reason":"error"{native}}}],"model":"m"}}"#
        );
        Received::new(200, Bytes::from(body))
    };
    let why = |native: &str| read_reply(&plan, &mint(), answer(native)).unwrap_err().fault.message;
    let named = r#","native_finish_reason":"MALFORMED_FUNCTION_CALL""#;
    assert_eq!(why(named), "the model's answer cannot be used: MALFORMED_FUNCTION_CALL");
    for odd in ["", r#","native_finish_reason":"my prompt""#, r#","native_finish_reason":{}"#] {
        assert_eq!(why(odd), "the upstream gave up in the middle of the answer");
    }
    // Services have words of their own for it: an answer that they gave up was taken for a whole one.
    for word in ["abort", "timeout", "cancelled", "network_error", "insufficient_system_resource"] {
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":"Half"}},"finish_reason":"{word}"}}],"model":"m"}}"#
        );
        let received = Received::new(200, Bytes::from(body));
        assert!(read_reply(&plan, &mint(), received).is_err(), "{word}");
    }
    let own = ReplyPlan { own: true, ..plan };
    let reply = read_reply(&own, &mint(), answer(named)).unwrap();
    assert_eq!(reply.finish, Some(Finish::Failed), "in the upstream's own words");
}

#[test]
fn a_prompt_cut_to_half_is_noticed() {
    let plan = ReplyPlan {
        prompt_bytes: 24_000,
        ..fixtures::plan("openai-compatible", Endpoint::ChatCompletions)
    };
    let body = |tokens| {
        format!(
            r#"{{"choices":[{{}}],"usage":{{"prompt_tokens":{tokens},"completion_tokens":1}}}}"#
        )
    };
    let cut = |tokens| {
        let received = Received::new(200, Bytes::from(body(tokens)));
        read_reply(&plan, &mint(), received).unwrap().prompt_truncated
    };
    assert!(cut(2_050));
    assert!(!cut(6_010) && !cut(0));
}

#[test]
fn embeddings_without_a_vector_are_no_answer() {
    let plan = fixtures::plan("vllm", Endpoint::Embeddings);
    let body = Bytes::from_static(br#"{"object":"list","data":[],"model":"up"}"#);
    let fault = read_reply(&plan, &mint(), Received::new(200, body)).unwrap_err();
    assert_eq!(fault.class, FaultClass::Unreadable);
}

/// Voyage's documented form has the sum alone: all of it is the prompt.
#[test]
fn embeddings_count_by_their_sum_and_nothing_by_nothing() {
    let read = |endpoint, body: &str| {
        let plan = fixtures::plan("openai-compatible", endpoint);
        read_reply(&plan, &mint(), Received::new(200, Bytes::from(body.to_owned()))).unwrap().usage
    };
    let vectors = |usage: &str| {
        let body = format!(r#"{{"data":[{{"embedding":[0.5]}}],"usage":{usage}}}"#);
        read(Endpoint::Embeddings, &body)
    };
    assert_eq!(vectors(r#"{"total_tokens":12}"#), Some(Usage::new(12, 0)));
    assert_eq!(vectors("{}"), None);
    let chat = |usage: &str| {
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":"stop"}}],"usage":{usage}}}"#
        );
        read(Endpoint::ChatCompletions, &body)
    };
    assert_eq!(chat(r#"{"total_tokens":11}"#), None);
    assert_eq!(chat(r#"{"input_tokens":5,"output_tokens":6}"#), Some(Usage::new(5, 6)));
}

#[test]
fn embeddings_keep_their_vectors_and_get_our_model_name() {
    let plan = ReplyPlan { mint: true, ..fixtures::plan("vllm", Endpoint::Embeddings) };
    let body = Bytes::from_static(
        br#"{"object":"list","data":[{"index":0,"embedding":[1e-7,0.10000000149011612]}],"model":"up","usage":{"prompt_tokens":2,"total_tokens":2}}"#,
    );
    let reply = read_reply(&plan, &mint(), Received::new(200, body.clone())).unwrap();
    let expected = String::from_utf8(body.to_vec()).unwrap().replace("\"up\"", "\"asked-for\"");
    assert_eq!(reply.body, expected);
    assert_eq!(reply.usage, Some(Usage::new(2, 0)));
}

proptest! {
    #[test]
    fn no_answer_makes_reading_panic(
        status in prop_oneof![Just(200_u16), 100_u16..600],
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..120),
            "\\{\"(choices|data|message|error|response)\":[\\[{}\"a-z0-9:,\\]]{0,60}\\}".prop_map(String::into_bytes),
        ],
        minted in any::<bool>(),
    ) {
        for provider in crate::PROVIDERS {
            for endpoint in Endpoint::ALL {
                let plan = ReplyPlan { mint: minted, n: 2, ..fixtures::plan(provider.name, endpoint) };
                let received = Received::new(status, Bytes::from(body.clone()));
                let _ = read_reply(&plan, &mint(), received);
            }
        }
    }
}

#[test]
fn names_of_a_whole_answer_that_are_null_are_replaced_and_stand_once() {
    let text = r#"{"id": null, "model":null,"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#;
    let plan = ReplyPlan { mint: true, ..fixtures::plan("openai", Endpoint::ChatCompletions) };
    let reply = read_reply(&plan, &mint(), Received::new(200, Bytes::from(text))).unwrap();
    let body = std::str::from_utf8(&reply.body).unwrap();
    let expected =
        text.replacen("null", "\"chatcmpl-ours\"", 1).replacen("null", "\"asked-for\"", 1);
    assert_eq!(body, expected);
}

/// A stream that ends so was cut off; a body that is whole was not.
#[test]
fn a_whole_answer_may_end_without_saying_why() {
    for (reason, finish) in [("null", None), ("\"\"", Some(Finish::Other))] {
        let text =
            format!(r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":{reason}}}]}}"#);
        let plan = fixtures::plan("openai-compatible", Endpoint::ChatCompletions);
        let received = Received::new(200, Bytes::from(text.clone()));
        let reply = read_reply(&plan, &mint(), received).unwrap();
        assert_eq!((reply.finish, reply.body), (finish, Bytes::from(text)));
    }
}
