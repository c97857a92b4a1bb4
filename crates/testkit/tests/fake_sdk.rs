//! The fake is no invention of ours: the official OpenAI SDKs accept what it says.

use cutover_testkit::fake::{Fake, Persona, Setup};
use cutover_testkit::probes::{self, Options, Outcomes};
use cutover_testkit::rig;

fn options(fake: &Fake) -> Options {
    Options::new(&fake.base_url(), "sk-right", "fake-model")
        .with("embedding_model", "fake-model")
        .with("tools", true)
        .with("tools_forced", true)
        .with("schema", true)
        .with("logprobs", true)
        .with("choices", true)
        .with("markers", true)
        .with("keys", true)
        .with("context_bytes", 40_000)
}

fn fake(persona: Persona) -> Fake {
    Fake::start_with(Setup::new(persona).key("sk-right"))
}

fn python(persona: Persona) -> Option<Outcomes> {
    rig::require(probes::run_python(&options(&fake(persona))))
}

fn node(persona: Persona) -> Option<Outcomes> {
    rig::require(probes::run_node(&options(&fake(persona))))
}

#[test]
fn python_accepts_the_openai_persona() {
    if let Some(outcomes) = python(Persona::OpenAi) {
        outcomes.assert_all_pass(30);
    }
}

#[test]
fn node_accepts_the_openai_persona() {
    if let Some(outcomes) = node(Persona::OpenAi) {
        outcomes.assert_all_pass(20);
    }
}

/// vLLM and Ollama's /v1 pass except where the real ones are known to differ.
#[test]
fn python_finds_the_known_limits_of_vllm_and_ollama() {
    if let Some(outcomes) = python(Persona::Vllm) {
        // Its 401 is `{"error": "Unauthorized"}`, a string.
        outcomes.assert_only_fail(&["error_401"]);
    }
    if let Some(outcomes) = python(Persona::Ollama) {
        outcomes.assert_only_fail(&[
            // No such fields: neither refused nor obeyed.
            "chat_max_completion_tokens",
            "chat_two_choices",
            "tools_forced",
            // A prompt that is too long is cut without a word.
            "error_context",
            "error_context_stream",
            // A dead runner leaves a clean end, no error.
            "stream_error_event",
        ]);
    }
}
