//! Any ingress dialect to any upstream: through `wire`, as the gateway does it.

use bytes::Bytes;
use cutover_vendors::anthropic;
use cutover_wire::stream::Limits;
use cutover_wire::{Endpoint, Head, Mint, PROVIDERS, Provider, Tap, Target, Unsupported, adapt};

use super::support::{fixture, inbound, lenient, now, path_of, payloads};
use crate::Inbound;

fn target(provider: &'static Provider, unsupported: Unsupported) -> Target {
    Target {
        model: Some("the-variants-model".into()),
        unsupported,
        mint: true,
        ..Target::untouched(provider)
    }
}

fn adapted(
    inbound: &Inbound,
    provider: &'static Provider,
    unsupported: Unsupported,
) -> Result<adapt::Outgoing, cutover_wire::Fault> {
    let head = Head::read(inbound.endpoint, &inbound.body).unwrap();
    adapt::adapt(&head, &inbound.body, &target(provider, unsupported))
}

/// What a plain conversation with tools of each dialect is.
const PLAIN: [&str; 6] = [
    "anthropic/agent.json",
    "anthropic/tool-turn.json",
    "responses/agent.json",
    "responses/tool-kinds.json",
    "ollama/generate-raw.json",
    "ollama/embeddings.json",
];

#[test]
fn agents_reach_every_strict_provider() {
    let mut refused = Vec::new();
    for provider in PROVIDERS {
        for name in PLAIN {
            let inbound = inbound(path_of(name), &fixture(name), &lenient());
            if let Err(fault) = adapted(&inbound, provider, Unsupported::Strict) {
                refused.push(format!("{} {name}: {:?}", provider.name, fault.param));
            }
        }
    }
    insta::assert_snapshot!("strict_refusals", refused.join("\n"));
}

#[test]
fn every_dialects_stream_comes_back_from_every_kind_of_upstream() {
    let upstreams = [
        ("llamacpp", fixture("chat/llamacpp-chat-stream.sse")),
        ("vllm", fixture("chat/tools.sse")),
        ("ollama", fixture("chat/ollama-chat-stream.ndjson")),
        ("openai", from_anthropic()),
    ];
    let requests = [
        "anthropic/tool-turn.json",
        "responses/tool-kinds.json",
        "ollama/chat-plain.json",
        "ollama/generate-plain.json",
    ];
    for (provider, text) in upstreams {
        for request in requests {
            let inbound = inbound(path_of(request), &fixture(request), &lenient());
            let provider = Provider::by_name(provider).unwrap();
            let plan = adapted(&inbound, provider, Unsupported::Lenient).unwrap().reply;
            let plan = cutover_wire::ReplyPlan { stream: true, include_usage: true, ..plan };
            let mint = Mint { id: "chatcmpl-1".into(), model: "asked".into(), created: 1 };
            let mut tap = Tap::new(plan, mint, Limits::default());
            let mut stream = inbound.way_back.stream();
            let (mut between, mut out) = (Vec::new(), Vec::new());
            for frame in text.chunks(100) {
                tap.push(Bytes::copy_from_slice(frame), &mut between).unwrap();
                for piece in between.drain(..) {
                    stream.push(piece, now(), &mut out);
                }
            }
            tap.finish(&mut between).unwrap();
            for piece in between {
                stream.push(piece, now(), &mut out);
            }
            stream.finish(now(), &mut out);
            let out = String::from_utf8(out.concat()).unwrap();
            let ended = [
                "message_stop",
                "\"response.completed\"",
                "\"response.incomplete\"",
                "\"done\":true",
            ];
            assert!(
                ended.iter().any(|end| out.contains(end)),
                "{} {request}\n{out}",
                provider.name
            );
            assert!(payloads(&out).len() > 2);
        }
    }
}

/// A stream of Anthropic's own, as it enters the relay path.
fn from_anthropic() -> Bytes {
    let (mut events, mut out) = (anthropic::EventsIn::new(cutover_units::Millis(0)), Vec::new());
    events.push(fixture("messages/stream.sse"), &mut out);
    events.finish(&mut out);
    Bytes::from(out.concat())
}

#[test]
fn the_pivot_is_a_request_that_every_part_of_cutover_reads() {
    for name in ["anthropic/agent.json", "responses/agent.json"] {
        let body = fixture(name);
        assert!((36_000..44_000).contains(&body.len()), "{name}");
        let inbound = inbound(path_of(name), &body, &lenient());
        let head = Head::read(Endpoint::ChatCompletions, &inbound.body).unwrap();
        assert!(head.has_tools && head.stream && head.include_usage);
        assert!(head.est_prompt_tokens > 500);
    }
}
