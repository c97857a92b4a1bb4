//! Golden tests: one full request and what each provider is sent for it; captured streams and what a
//! client gets of them. A new provider is picked up by its row.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::adapt::adapt;
use crate::fixtures::{self, exchange, mint};
use crate::stream::{Limits, Tap};
use crate::target::{OllamaSettings, StreamUsage, Target, Unsupported, VariantSettings};
use crate::{Endpoint, Head, PROVIDERS, ReplyPlan};

fn full_target(provider: &'static crate::Provider) -> Target {
    let settings = VariantSettings {
        framing: Some(std::sync::Arc::new(crate::Framing::system("You are terse."))),
        top_p: Some(0.9),
        ollama: OllamaSettings {
            num_ctx: Some(8192),
            keep_alive: Some("10m".into()),
            ..OllamaSettings::default()
        },
        ..VariantSettings::default()
    };
    Target {
        model: Some("the-variants-model".into()),
        unsupported: Unsupported::Lenient,
        mint: true,
        settings,
        ..Target::untouched(provider)
    }
}

#[test]
fn one_request_for_each_provider() {
    let path = format!("{}/fixtures/chat-full.json", env!("CARGO_MANIFEST_DIR"));
    let body = Bytes::from(std::fs::read(path).unwrap());
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    for provider in PROVIDERS {
        let out = adapt(&head, &body, &full_target(provider)).unwrap();
        let sent = out.body.concat();
        let _: serde_json::Value = serde_json::from_slice(&sent).expect("valid JSON");
        let mut text =
            format!("POST {}\n{}\n", out.path, String::from_utf8(sent).unwrap().trim_end());
        for loss in &out.losses {
            let _ = write!(text, "\n{} {}: {}", loss.field, loss.action.as_str(), loss.why);
        }
        insta::assert_snapshot!(format!("request_{}", provider.name), text);
    }
}

#[test]
fn a_stream_for_a_service_that_refuses_stream_options() {
    let body = Bytes::from_static(
        br#"{"model": "m", "stream": true, "stream_options": {"include_usage": true},
 "messages": [{"role": "user", "content": "hi"}]}"#,
    );
    let mut head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    let provider = crate::Provider::by_name("openai-compatible").unwrap();
    let lenient = Target { stream_usage: StreamUsage::Never, ..full_target(provider) };
    let strict = Target { unsupported: Unsupported::Strict, ..lenient.clone() };
    let mut text = String::new();
    for ours in [false, true] {
        head.stream_options_are_ours = ours;
        for target in [&strict, &lenient] {
            let _ = write!(text, "{:?}, stream_options ", target.unsupported);
            let _ = writeln!(text, "{}", if ours { "of cutover's" } else { "of the client's" });
            match adapt(&head, &body, target) {
                Ok(out) => {
                    let _ = writeln!(text, "{}", String::from_utf8(out.body.concat()).unwrap());
                    let lines = out.losses.iter();
                    let lines =
                        lines.map(|l| format!("{} {}: {}", l.field, l.action.as_str(), l.why));
                    let _ = writeln!(text, "lost: {:?}\n", lines.collect::<Vec<_>>());
                }
                Err(fault) => {
                    let error = crate::errors::body(&fault);
                    let _ = writeln!(text, "{}\n", String::from_utf8_lossy(&error));
                }
            }
        }
    }
    insta::assert_snapshot!("request_without_stream_options", text);
}

#[test]
fn captured_streams_as_a_client_gets_them() {
    let cases = [
        ("llamacpp", "chat-stream"),
        ("llamacpp", "logprobs-stream"),
        ("llamacpp", "kill"),
        ("vllm", "stream"),
        ("vllm", "tools-stream"),
        ("vllm", "kill"),
        ("ollama", "chat-stream"),
        ("ollama", "kill-api"),
    ];
    for (provider, name) in cases {
        let plan = ReplyPlan {
            stream: true,
            mint: true,
            ..fixtures::plan(provider, Endpoint::ChatCompletions)
        };
        let mut tap = Tap::new(plan, mint(), Limits::default());
        let mut out = vec![];
        let end = tap.push(exchange(provider, name).body, &mut out);
        let end = end.and_then(|()| tap.finish(&mut out));
        let mut text = String::from_utf8(out.concat()).unwrap();
        match end {
            Ok(()) => {
                let _ = write!(text, "=> {:?} {:?}", tap.finish_reason(), tap.usage());
            }
            Err(fault) => {
                let _ = write!(text, "=> {fault}");
            }
        }
        insta::assert_snapshot!(format!("stream_{provider}_{name}"), text);
    }
}
