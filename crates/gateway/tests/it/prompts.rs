//! Prompts out of the store, while they are not known.

use cutover_testkit::fake::{Fake, Persona};

use crate::harness::{Rig, ask, ask_stream};

/// Two use cases, one of which awaits the prompt of its baseline, and one that of its candidate.
fn config(upstream: &str) -> String {
    format!(
        r#"
default_upstream = "own"
[upstreams.own]
provider = "vllm"
base_url = "{upstream}/v1"
[variants.plain]
upstream = "own"
model = "fake-model"
[variants.prompted]
upstream = "own"
model = "fake-model"
prompt = "extraction@production"
[use_cases.awaits]
match = {{ model = "awaits" }}
baseline = "prompted"
[use_cases.moves]
match = {{ model = "moves" }}
baseline = "plain"
candidate = "prompted"
weight = "100%"
"#
    )
}

/// Served without it, each answer would have been another variant's.
#[test]
fn a_chat_is_not_answered_without_the_prompt_of_its_variant() {
    let own = Fake::start(Persona::Vllm);
    let rig = Rig::start(&config(&own.base_url()));
    for body in [ask("awaits"), ask_stream("awaits")] {
        let answer = rig.chat(&[], &body);
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "prompt_unavailable");
        assert_eq!(answer.header("x-should-retry"), None, "SDKs ask again after a 503");
        assert_eq!(answer.header("x-cutover-prompt"), None);
    }
    assert!(own.inferences().is_empty(), "nothing was sent on");
    // The baseline has none, and answers for the candidate.
    let answer = rig.chat(&[], &ask("moves"));
    assert_eq!((answer.status, answer.header("x-cutover-variant")), (200, Some("plain")));
    // Nor is it the business of what takes no prompt.
    let input = r#"{"model":"awaits","input":"x"}"#;
    assert_eq!(rig.post("/v1/embeddings", &[], input).status, 200);
    let awaited = rig.gateway.live().awaited_prompts();
    let text = "extraction@production, the prompt of variant prompted".to_owned();
    assert_eq!(awaited, [(text, true)]);
}
