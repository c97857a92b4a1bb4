//! What the fuzz targets run, and the properties they check. `crates/wire` includes this file in a
//! plain test, so that the same properties hold over mutated fixtures without a fuzzing engine.

use std::collections::BTreeMap;

use bytes::Bytes;
use cutover_wire::adapt::{ReplyPlan, adapt};
use cutover_wire::reply::{Received, read_reply};
use cutover_wire::stream::{Limits, Tap};
use cutover_wire::{Endpoint, Head, Mint, PROVIDERS, Target, Unsupported, VariantSettings};
use serde_json::value::RawValue;

/// Any bytes as a request body: read or refused. An accepted one passes an untouched target unchanged.
pub fn head(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for endpoint in Endpoint::ALL {
        let Ok(head) = Head::read(endpoint, &body) else { continue };
        let _ = head.metadata(&body, "priority");
        let _ = (head.has_images(&body), head.has_audio(&body));
        for provider in PROVIDERS.iter().filter(|p| p.name.starts_with("openai")) {
            let Ok(out) = adapt(&head, &body, &Target::untouched(provider)) else { continue };
            if !head.stream {
                assert_eq!(out.body.concat(), data, "untouched is byte-identical");
            }
        }
    }
}

/// Any bytes as a request body, adapted to every provider with everything that can be rewritten: what
/// comes out is valid JSON that names the target's model once.
pub fn rewriting(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for endpoint in Endpoint::ALL {
        let Ok(head) = Head::read(endpoint, &body) else { continue };
        for provider in PROVIDERS {
            for unsupported in [Unsupported::Strict, Unsupported::Lenient] {
                let settings = VariantSettings {
                    framing: Some(std::sync::Arc::new(cutover_wire::Framing::system(
                        "be \"brief\"",
                    ))),
                    temperature: Some(0.5),
                    max_tokens: Some(5),
                    seed: Some(1),
                    ..VariantSettings::default()
                };
                let target = Target {
                    model: Some("ours".into()),
                    unsupported,
                    settings,
                    ..Target::untouched(provider)
                };
                let Ok(out) = adapt(&head, &body, &target) else { continue };
                let sent = out.body.concat();
                // Values stay raw: `1e999` is valid JSON that no number type holds.
                let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&sent)
                    .unwrap_or_else(|e| panic!("{}: {e}: {:?}", provider.name, Bytes::from(sent)));
                assert_eq!(members["model"].get(), "\"ours\"", "{}", provider.name);
                let forbidden = cutover_wire::providers::NEVER_FORWARDED;
                assert!(forbidden.iter().all(|rule| !members.contains_key(rule.key.name())));
            }
        }
    }
}

/// Any bytes as an upstream's stream, cut as the first bytes say: the client gets the same however it
/// is cut, at most one `[DONE]`, and none without success.
pub fn streams(data: &[u8]) {
    let Some((&[which, cut], stream)) = data.split_first_chunk::<2>() else { return };
    let provider = PROVIDERS[usize::from(which >> 2) % PROVIDERS.len()];
    let endpoint = if which & 1 == 0 { Endpoint::ChatCompletions } else { Endpoint::Completions };
    let Some(plan) = plan(endpoint, provider, which & 2 == 0) else { return };
    let step = usize::from(cut).max(1);
    let whole = follow(&plan, stream, stream.len().max(1));
    let parts = follow(&plan, stream, step);
    assert_eq!(whole, parts, "every chunking gives the same");
    // At a line's start only: the words may well stand in a comment or a text.
    let done = whole.0.split(|b| matches!(b, b'\n' | b'\r'));
    let done = done.filter(|line| line.starts_with(b"data: [DONE]")).count();
    assert!(done <= 1 && (done == 0 || whole.1));
}

/// Any bytes as an answer, with the status that the first bytes say.
pub fn replies(data: &[u8]) {
    let Some((&[a, b], body)) = data.split_first_chunk::<2>() else { return };
    let status = if a & 1 == 0 { 200 } else { 100 + u16::from(b) * 2 };
    for provider in PROVIDERS {
        for endpoint in Endpoint::ALL {
            let Some(plan) = plan(endpoint, provider, a & 2 == 0) else { continue };
            let received = Received::new(status, Bytes::copy_from_slice(body));
            if let Ok(reply) = read_reply(&plan, &mint(), received) {
                let text = std::str::from_utf8(&reply.body).expect("UTF-8");
                let _: &RawValue = serde_json::from_str(text).expect("valid JSON");
            }
        }
    }
}

fn follow(plan: &ReplyPlan, stream: &[u8], step: usize) -> (Vec<u8>, bool) {
    let mut tap = Tap::new(plan.clone(), mint(), Limits { event_bytes: 4_096 });
    let mut out = vec![];
    let mut ok = true;
    for part in stream.chunks(step) {
        ok = tap.push(Bytes::copy_from_slice(part), &mut out).is_ok();
        if !ok {
            break;
        }
    }
    let ok = ok && tap.finish(&mut out).is_ok();
    assert!(!ok || tap.ended_well());
    (out.concat(), ok)
}

/// None: the provider does not serve the endpoint.
fn plan(
    endpoint: Endpoint,
    provider: &'static cutover_wire::Provider,
    mint: bool,
) -> Option<ReplyPlan> {
    if !provider.endpoints.contains(&endpoint) {
        return None;
    }
    let body = match endpoint {
        Endpoint::ChatCompletions => {
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#
        }
        Endpoint::Completions => r#"{"model":"m","prompt":"hi","stream":true}"#,
        Endpoint::Embeddings => r#"{"model":"m","input":"hi"}"#,
    };
    let body = Bytes::from(body);
    let head = Head::read(endpoint, &body).expect("a good request");
    let target = Target { mint, ..Target::untouched(provider) };
    Some(adapt(&head, &body, &target).expect("each provider takes it").reply)
}

fn mint() -> Mint {
    Mint { id: "chatcmpl-ours".into(), model: "asked".into(), created: 1 }
}
