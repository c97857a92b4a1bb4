use super::*;
use crate::fixtures;
use bytes::Bytes;
use proptest::prelude::*;

fn endpoint_of(name: &str) -> Endpoint {
    match name {
        "emb" | "embed" => Endpoint::Embeddings,
        "v1compl" | "compl-arr" => Endpoint::Completions,
        _ => Endpoint::ChatCompletions,
    }
}

/// Every captured error of an engine, and what the client sees of it.
fn all_errors(provider: &str) -> String {
    let mut text = String::new();
    for name in fixtures::names(provider) {
        let exchange = fixtures::exchange(provider, &name);
        if exchange.status < 400 {
            continue;
        }
        let plan = fixtures::plan(provider, endpoint_of(&name));
        let seen = of_answer(&plan, exchange.status, &exchange.body);
        let line = format!(
            "{name}: {} -> {} {} ({}{}) param={}\n    {}\n",
            exchange.status,
            seen.fault.code.status(),
            seen.fault.code.name(),
            seen.class.as_str(),
            if seen.failover_ok { ", failover" } else { "" },
            seen.fault.param.as_deref().unwrap_or("-"),
            seen.fault.message,
        );
        text.push_str(&line);
    }
    text
}

#[test]
fn errors_of_real_engines_have_one_form() {
    for provider in ["llamacpp", "vllm", "ollama"] {
        insta::assert_snapshot!(format!("errors_{provider}"), all_errors(provider));
    }
}

fn seen(provider: &str, status: u16, body: &str) -> UpstreamFault {
    of_answer(&fixtures::plan(provider, Endpoint::ChatCompletions), status, body.as_bytes())
}

#[test]
fn an_account_at_fault_is_no_fault_of_the_clients_though_the_status_is_400() {
    let cases = [
        (
            "openai",
            r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#,
            FaultClass::Account,
        ),
        (
            "anthropic",
            r#"{"error":{"message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.","type":"invalid_request_error","code":"invalid_request"}}"#,
            FaultClass::Account,
        ),
        (
            "anthropic",
            r#"{"error":{"message":"You have reached your specified API usage limits. You will regain access on 2026-12-01.","type":"invalid_request_error","code":"invalid_request"}}"#,
            FaultClass::Account,
        ),
        (
            "openai-compatible",
            r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***bc. You can obtain one at the console."}"#,
            FaultClass::Auth,
        ),
        (
            "gemini",
            r#"{"error":{"message":"User location is not supported for the API use.","code":"invalid_request"}}"#,
            FaultClass::Account,
        ),
        (
            "gemini",
            r#"{"error":{"message":"Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio.","code":"invalid_request"}}"#,
            FaultClass::Account,
        ),
    ];
    for (provider, body, class) in cases {
        let seen = seen(provider, 400, body);
        assert_eq!(seen.class, class, "{body}");
        assert!(seen.failover_ok, "{body}");
        for words in ["balance", "Billing", "key provided", "location", "tier"] {
            assert!(!seen.fault.message.contains(words), "{}", seen.fault.message);
        }
    }
    // A value that the client sent, and a self-hosted engine, which has no accounts.
    let echo = r#"{"error":{"message":"Invalid value: 'Your credit balance is too low'","code":"invalid_value"}}"#;
    assert_eq!(seen("openai", 400, echo).class, FaultClass::ClientFault);
    let engine = r#"{"error":{"message":"Your credit balance is too low"}}"#;
    assert_eq!(seen("vllm", 400, engine).class, FaultClass::ClientFault);
    let idle = r#"{"error":{"message":"Your account is not active","type":"billing_not_active","code":"billing_not_active"}}"#;
    let idle = seen("openai", 429, idle);
    assert_eq!((idle.class, idle.fault.code), (FaultClass::Account, Code::InsufficientQuota));
}

#[test]
fn trouble_with_a_clients_own_account_is_told_the_client() {
    let plan = fixtures::plan("openai-compatible", Endpoint::ChatCompletions);
    let theirs = ReplyPlan { clients_key: true, ..plan };
    let refused = of_answer(&theirs, 400, br#"{"error":"Incorrect API key provided: xa***bc."}"#);
    assert_eq!((refused.class, refused.fault.code), (FaultClass::ClientFault, Code::InvalidApiKey));
    let spent = of_answer(&theirs, 402, b"{}").fault;
    assert_eq!(spent.code, Code::InsufficientQuota);
    assert!(spent.message.contains("this request's API key"), "{spent}");
    assert!(
        of_answer(&fixtures::plan("openai", Endpoint::ChatCompletions), 402, b"{}")
            .fault
            .message
            .contains("an operator must act")
    );
}

#[test]
fn a_vendors_refusal_keeps_its_own_words_for_clients_that_know_them() {
    let shown = |provider: &str, status: u16, body: &str| {
        let fault = seen(provider, status, body).fault;
        assert_eq!(fault.code, Code::InvalidRequest, "{body}");
        let body: Value = serde_json::from_slice(&crate::errors::body(&fault)).unwrap();
        let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
        (fault.status(), text("type"), text("code"))
    };
    let told = |status: u16, kind: &str, code: &str| (status, kind.to_owned(), code.to_owned());
    let value = r#"{"error":{"message":"Invalid 'messages'","type":"invalid_request_error","param":"messages","code":"invalid_value"}}"#;
    assert_eq!(shown("openai", 400, value), told(400, "invalid_request_error", "invalid_value"));
    let filtered = r#"{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400}}"#;
    assert_eq!(
        shown("openai-compatible", 400, filtered),
        told(400, "invalid_request_error", "content_filter")
    );
    let flagged = r#"{"error":{"message":"Your chosen model requires moderation and your input was flagged for \"x\".","code":403}}"#;
    assert_eq!(
        shown("openai-compatible", 403, flagged),
        told(403, "invalid_request_error", "invalid_request")
    );
    let schema =
        r#"{"detail":[{"loc":["body","messages"],"msg":"Field required","type":"missing"}]}"#;
    assert_eq!(shown("openai-compatible", 422, schema), told(422, "missing", "invalid_request"));
    // What is no word is not passed on, and an engine's words are nobody's.
    let odd = r#"{"error":{"message":"no","type":"a type","code":"http://10.0.0.1:8000/"}}"#;
    assert_eq!(shown("openai", 400, odd), told(400, "invalid_request_error", "invalid_request"));
    let engine = r#"{"error":{"message":"no","type":"BadRequestError","code":"odd"}}"#;
    assert_eq!(shown("vllm", 422, engine), told(400, "invalid_request_error", "invalid_request"));
}

#[test]
fn a_model_that_openrouter_has_nowhere_is_no_model() {
    let body = r#"{"error":{"message":"No endpoints found for foo/bar.","code":404}}"#;
    let fault = seen("openai-compatible", 404, body).fault;
    assert_eq!((fault.code, fault.param.as_deref()), (Code::ModelNotFound, Some("model")));
}

#[test]
fn whose_key_was_refused_decides_who_is_told() {
    for status in [401, 403] {
        let ours = fixtures::plan("vllm", Endpoint::ChatCompletions);
        let theirs = ReplyPlan { clients_key: true, ..ours.clone() };
        let body = br#"{"error":"Unauthorized"}"#;
        let seen = of_answer(&ours, status, body);
        assert_eq!((seen.class, seen.fault.code), (FaultClass::Auth, Code::UpstreamAuth));
        let seen = of_answer(&theirs, status, body);
        assert_eq!((seen.class, seen.fault.code), (FaultClass::ClientFault, Code::InvalidApiKey));
        assert!(!seen.failover_ok, "another instance would be shown the same key");
    }
}

#[test]
fn odd_bodies_are_understood() {
    let vllm_key = seen("vllm", 401, r#"{"error":"Unauthorized"}"#);
    assert_eq!((vllm_key.class, vllm_key.fault.code), (FaultClass::Auth, Code::UpstreamAuth));
    let page = seen("openai", 502, "<html>Bad gateway</html>");
    assert_eq!((page.class, page.fault.code), (FaultClass::Unreadable, Code::BadGateway));
    assert!(page.failover_ok && !page.fault.message.contains("html>"));
    let busy =
        seen("vllm", 503, r#"{"error":{"message":"The engine is currently busy","code":503}}"#);
    assert_eq!((busy.class, busy.fault.code), (FaultClass::Overloaded, Code::Overloaded));
    let queue = seen(
        "ollama",
        503,
        r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
    );
    assert_eq!(queue.class, FaultClass::Overloaded);
    let fastapi = r#"{"detail":[{"type":"int_parsing","loc":["body","messages",0,"n"],"msg":"Input should be a valid integer","input":"secret"}]}"#;
    let fastapi = seen("vllm", 422, fastapi).fault;
    assert_eq!(fastapi.code, Code::InvalidRequest);
    assert_eq!(fastapi.message, "Input should be a valid integer");
    assert_eq!(fastapi.param.as_deref(), Some("messages[0].n"));
    let moved = seen("openai", 307, "").fault;
    assert!(moved.message.contains("redirect") && moved.message.contains("base_url"), "{moved}");
    assert_eq!(
        seen("openai", 308, "<html>moved").fault.message,
        moved.message.replace("307", "308")
    );
    let empty = seen("openai", 400, "");
    assert_eq!(empty.fault.code, Code::InvalidRequest);
    let batch = r#"{"error":{"code":500,"message":"input (702 tokens) is too large to process. increase the physical batch size (current batch size: 512)","type":"server_error"}}"#;
    let batch = seen("llamacpp", 500, batch);
    assert_eq!(
        (batch.class, batch.fault.code),
        (FaultClass::ClientFault, Code::ContextLengthExceeded)
    );
}

#[test]
fn a_page_of_a_server_in_front_counts_by_its_status() {
    for (status, class, code) in [
        (413, FaultClass::ClientFault, Code::RequestTooLarge),
        (401, FaultClass::Auth, Code::UpstreamAuth),
        (403, FaultClass::Auth, Code::UpstreamAuth),
        (404, FaultClass::Unreadable, Code::BadGateway),
        (429, FaultClass::RateLimited, Code::RateLimitExceeded),
        (502, FaultClass::Unreadable, Code::BadGateway),
        (503, FaultClass::Overloaded, Code::Overloaded),
        (504, FaultClass::Failed, Code::UpstreamTimeout),
    ] {
        let page = seen("openai", status, "<html><h1>said by nginx/1.22.1</h1></html>");
        assert_eq!((page.class, page.fault.code), (class, code), "{status}");
        assert!(!page.fault.message.contains("nginx"), "{page:?}");
    }
}

#[test]
fn the_vendors_own_codes_are_kept() {
    let quota = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
    let quota = seen("openai", 429, quota);
    assert_eq!((quota.class, quota.fault.code), (FaultClass::Account, Code::InsufficientQuota));
    let rate = r#"{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
    assert_eq!(seen("openai", 429, rate).fault.code, Code::RateLimitExceeded);
    let context = r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
    assert_eq!(seen("openai", 400, context).fault.code, Code::ContextLengthExceeded);
    let model = r#"{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    assert_eq!(seen("openai", 404, model).fault.code, Code::ModelNotFound);
}

#[test]
fn a_model_that_the_operator_named_is_not_the_clients_fault() {
    let body = r#"{"error":"model 'qwen' not found"}"#;
    let mut plan = fixtures::plan("ollama", Endpoint::ChatCompletions);
    plan.renamed = true;
    let fault = of_answer(&plan, 404, body.as_bytes());
    assert_eq!((fault.class, fault.failover_ok), (FaultClass::Failed, true));
    assert!(!fault.fault.message.contains("qwen"));
}

/// It was the client's fault, so that SDKs did not send it again, as they do by themselves.
#[test]
fn a_conflict_passes_and_is_no_fault_of_the_clients() {
    let body = r#"{"error":{"message":"another request is updating this, try again","type":"invalid_request_error","code":null}}"#;
    for provider in ["openai", "vllm", "ollama"] {
        let fault = seen(provider, 409, body);
        assert_eq!(fault.fault.code, Code::UpstreamConflict, "{provider}");
        assert_eq!((fault.fault.code.status(), fault.fault.code.row().retry), (409, true));
        assert_eq!((fault.class, fault.failover_ok), (FaultClass::Conflict, true));
    }
}

#[test]
fn an_error_told_without_a_status_is_what_it_is_called() {
    let plan = fixtures::plan("openai", Endpoint::ChatCompletions);
    let told = |code: Option<&str>, kind: &str| {
        let value = serde_json::json!({"message": "m", "type": kind, "code": code});
        let fault = of_value(&plan, &value);
        (fault.class, fault.fault.code)
    };
    for (code, kind, class, seen) in [
        (None, "overloaded_error", FaultClass::Overloaded, Code::Overloaded),
        (Some("server_is_overloaded"), "server_error", FaultClass::Overloaded, Code::Overloaded),
        (None, "rate_limit_error", FaultClass::RateLimited, Code::RateLimitExceeded),
        (Some("rate_limit_exceeded"), "tokens", FaultClass::RateLimited, Code::RateLimitExceeded),
        (None, "invalid_request_error", FaultClass::ClientFault, Code::InvalidRequest),
        (Some("odd"), "invalid_request_error", FaultClass::ClientFault, Code::InvalidRequest),
        (None, "authentication_error", FaultClass::Auth, Code::UpstreamAuth),
        (None, "timeout_error", FaultClass::Failed, Code::UpstreamTimeout),
        (None, "api_error", FaultClass::Failed, Code::BadGateway),
    ] {
        assert_eq!(told(code, kind), (class, seen), "{code:?} {kind}");
    }
    let unnamed = of_value(&plan, &serde_json::json!("the runner has died at 10.0.0.7:80"));
    assert_eq!(unnamed.fault.message, "the upstream told of an error in place of an answer");
    assert!(unnamed.said.is_some(), "its words are the operator's");
    // TGI's, in a stream.
    let full = of_value(&plan, &serde_json::json!("Model is overloaded"));
    assert_eq!((full.class, full.fault.code), (FaultClass::Overloaded, Code::Overloaded));
}

#[test]
fn a_server_fault_shows_nothing_of_the_server() {
    let body = r#"{"error":{"message":"assert at 0x7f3a11112222 in http://10.0.0.7:8000","type":"x","code":500}}"#;
    let fault = seen("vllm", 500, body);
    assert_eq!(fault.fault.message, "the upstream failed with status 500");
    let text = clean(
        "no 0x7ffd00112233 at http://a/b, 10.1.2.3:80 or gpu-1:8000\u{7}\nend; ratio 3:4, v1.2.3",
    );
    assert_eq!(text, "no [address] at [address] [address] or [address] end; ratio 3:4, v1.2.3");
    assert_eq!(clean(&"x".repeat(2_000)).len(), MESSAGE_MAX);
    assert_eq!(clean("bad key: sk-proj-0123456789abcdef."), "bad key: [key]");
    assert_eq!(clean("bad {'loc': 'a', 'input': 'a secret prompt'}"), "bad {'loc': 'a'");
}

#[test]
fn waits_are_read_in_all_their_forms() {
    let wait = |retry_after_ms: Option<&str>, after: Option<&str>| {
        let date = Some("Wed, 21 Oct 2026 07:28:00 GMT");
        let received = Received::new(429, Bytes::new());
        retry_after(&Received { retry_after_ms, retry_after: after, date, ..received })
    };
    assert_eq!(wait(Some("1500"), Some("9")), Some(1_500));
    assert_eq!(wait(None, Some(" 2.5 ")), Some(2_500));
    assert_eq!(wait(Some("x"), None), None);
    assert_eq!(wait(None, Some("-5")), Some(0));
    assert_eq!(wait(None, Some("1e300")), Some(31_536_000_000));
    // A date, by the clock of the server that wrote it.
    assert_eq!(wait(None, Some("Wed, 21 Oct 2026 07:28:30 GMT")), Some(30_000));
    assert_eq!(wait(None, Some("Wed, 21 Oct 2026 07:27:30 GMT")), Some(0));
    let dateless = Received {
        retry_after: Some("Wed, 21 Oct 2026 07:28:30 GMT"),
        ..Received::new(429, Bytes::new())
    };
    assert_eq!(retry_after(&dateless), None, "nobody knows how long that is");
}

proptest! {
    #[test]
    fn no_error_body_makes_it_panic(
        status in 300_u16..600,
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            "\\{\"error\":[\\[{\"a-z0-9:,\\]}]{0,40}\\}".prop_map(String::into_bytes),
        ],
    ) {
        for provider in crate::PROVIDERS {
            let plan = fixtures::plan(provider.name, Endpoint::ChatCompletions);
            let fault = of_answer(&plan, status, &body);
            prop_assert!(fault.fault.message.chars().count() <= MESSAGE_MAX);
            prop_assert!(!fault.fault.message.contains(char::is_control));
        }
    }
}

/// Thirty megabytes were looked through for the 500 letters that are shown. What a cut leaves of a secret is hidden, too:
/// spaces are shown as one, so that the end of what is looked at may be shown.
#[test]
fn of_a_long_text_the_beginning_is_looked_through_and_some_more() {
    let secrets = Secrets::new([&b"Zq7/4vK9xW2mTp8r"[..]]);
    for before in 0..20 {
        let spaces = " ".repeat(TEXT_BYTES_MAX - before - 1);
        let message = format!("x{spaces}Zq7/4vK9xW2mTp8r{}", "y".repeat(1 << 20));
        let parts = Parts { message, ..Parts::default() }.without(&secrets);
        assert_eq!(parts.message.len(), TEXT_BYTES_MAX);
        let stars = "*".repeat(before.min(16));
        let ys = "y".repeat(before.saturating_sub(16));
        assert_eq!(clean(&parts.message), format!("x {stars}{ys}").trim_end());
    }
}

/// A secret is hidden before the message is cut off, and only whole: of what stands at a message's end nobody knows
/// whether the upstream or its client put it there.
#[test]
fn an_upstreams_secret_is_hidden_and_a_guess_at_one_is_not() {
    let secrets = Secrets::new([&b"Zq7/4vK9xW2mTp8r"[..]]);
    let plan = ReplyPlan { secrets, ..fixtures::plan("openai", Endpoint::ChatCompletions) };
    let told = |status: u16, text: &str| {
        let error = serde_json::json!({"message": text, "type": text, "code": text, "param": text});
        let body = serde_json::json!({ "error": error }).to_string();
        let whole = of_answer(&plan, status, body.as_bytes());
        let body = body.replace("Zq7/", r"Zq7\/");
        assert_eq!(of_answer(&plan, status, body.as_bytes()), whole, "as others escape it");
        whole
    };
    let hidden = "****************";
    let whole = told(400, "Zq7/4vK9xW2mTp8r");
    assert_eq!((&*whole.fault.message, whole.fault.param.as_deref()), (hidden, Some(hidden)));
    for status in [400, 401, 403, 404, 413, 429, 500, 501, 503] {
        let said = told(status, "it was Zq7/4vK9xW2mTp8r").said.unwrap();
        assert_eq!(said.message().as_deref(), Some("it was ****************"), "{status}");
    }
    let long = told(400, &format!("{} Zq7/4vK9xW2mTp8r", "x ".repeat(245)));
    assert!(long.fault.message.ends_with("x **********"), "{}", long.fault.message);
    for guess in ["Zq7/4vK9xW2mTp8", "Zq7/4vK9xW2mTp8s", "q7/4vK9xW2mTp8r", "Bearer Zq7/4vK9"] {
        let fault = told(400, guess).fault;
        assert_eq!((&*fault.message, fault.param.as_deref()), (guess, Some(guess)));
    }
}
