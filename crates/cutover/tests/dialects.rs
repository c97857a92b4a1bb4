//! The official SDKs of Anthropic, OpenAI (Responses) and Ollama, unmodified and strict, against the real
//! program: a plain conversation with the embedded engine, and two turns with a tool, errors and broken
//! streams with a scripted upstream of each kind.

use cutover_testkit::arms::{arm_of_engine, arm_of_fake};
use cutover_testkit::fake::{Fake, Persona, Setup};
use cutover_testkit::probes::{self, Options};
use cutover_testkit::program::{self, Program};
use cutover_testkit::rig::{self, LlamaPair};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// A program with client keys, and the key.
fn start(config: &str) -> (Program, String) {
    Program::start_with_key(BINARY, &format!("{config}\n[server]\nkeys = \"required\"\n"))
}

fn options(program: &Program, key: &str) -> Options {
    Options::new(program.url(), key, "app").with("keys", true)
}

/// One upstream of this provider behind a use case.
fn in_front_of_a_fake(provider: &str, persona: Persona) {
    let fake = Fake::start_with(Setup::new(persona).key("sk-upstream"));
    // One of them keeps answers, the others say that they do not.
    let keeps = persona == Persona::Vllm;
    let arm = arm_of_fake(provider, &fake, "");
    let (program, key) = start(&format!("[state]\nresponses = {keeps}\n{arm}"));
    let options = options(&program, &key)
        .with("tools", true)
        .with("markers", true)
        .with("storage", keeps)
        .with("own", provider == "openai")
        .with("unknown", provider != "llamacpp")
        .with("embeddings", true);
    let Some(outcomes) = rig::require(probes::run_python_dialects(&options)) else { return };
    let own = usize::from(provider == "openai");
    outcomes.assert_all_pass(32 + own);
    let Some(outcomes) = rig::require(probes::run_node_dialects(&options)) else { return };
    outcomes.assert_all_pass(26 + usize::from(keeps) + own);
    // The client's key stops here, under whatever header it came; the upstream sees its own.
    for seen in fake.inferences() {
        assert_eq!(seen.header("authorization"), Some("Bearer sk-upstream"));
        assert_eq!(seen.header("x-api-key"), None);
    }
}

#[test]
fn openai() {
    in_front_of_a_fake("openai", Persona::OpenAi);
}

#[test]
fn vllm() {
    in_front_of_a_fake("vllm", Persona::Vllm);
}

#[test]
fn llamacpp() {
    in_front_of_a_fake("llamacpp", Persona::LlamaCpp);
}

#[test]
fn ollama() {
    in_front_of_a_fake("ollama", Persona::Ollama);
}

/// llama.cpp's server by itself fails 7 of 23 such probes with the vendors' strict SDKs.
#[test]
fn llamacpp_real() {
    // What this model says has no end, and is asked about again: it needs room.
    let Some(pair) = rig::require(LlamaPair::start(16_384)) else { return };
    let (program, key) = start(&format!("{}[state]\nresponses = true\n", pair.config()));
    let options = options(&program, &key).with("storage", true);
    let Some(outcomes) = rig::require(probes::run_python_dialects(&options)) else { return };
    outcomes.assert_all_pass(20);
    let Some(outcomes) = rig::require(probes::run_node_dialects(&options)) else { return };
    outcomes.assert_all_pass(14);
}

/// A second program speaks Messages, as Anthropic's own service does, in front of a scripted upstream.
#[test]
fn anthropic() {
    let fake = Fake::start_with(Setup::new(Persona::OpenAi).key("sk-upstream"));
    let upstream = |provider: &str, base: &str, model: &str, name: &str| {
        format!(
            r#"
[upstreams.there]
provider = "{provider}"
instances = ["{base}"]
key = {{ env = "UPSTREAM_KEY" }}

[variants.there]
upstream = "there"
model = "{model}"
unsupported = "lenient"

[use_cases.{name}]
match = {{ model = "{name}" }}
baseline = "there"
"#
        )
    };
    let base = format!("{}/v1", fake.base_url());
    let (far, far_key) = start(&upstream("openai", &base, "fake-model", "claude"));
    let near = upstream("anthropic", far.url(), "claude", "app");
    let setup = program::Setup::new(BINARY, &near).env("UPSTREAM_KEY", &far_key);
    let near = setup.start();
    let options = Options::new(near.url(), "none", "app").with("tools", true).with("markers", true);
    let Some(outcomes) = rig::require(probes::run_python_dialects(&options)) else { return };
    outcomes.assert_all_pass(25);
    let Some(outcomes) = rig::require(probes::run_node_dialects(&options)) else { return };
    outcomes.assert_all_pass(25);
}

fn in_front_of_the_engine(model: &str) -> (Program, String) {
    start(&arm_of_engine(model))
}

#[test]
fn embedded_on_a_tiny_model() {
    let Some(tiny) = rig::require(rig::tiny_model()) else { return };
    let (program, key) = in_front_of_the_engine(&tiny.display().to_string());
    let options = options(&program, &key).with("unknown", true);
    let Some(outcomes) = rig::require(probes::run_python_dialects(&options)) else { return };
    outcomes.assert_all_pass(23);
}

#[test]
fn embedded_on_the_real_small_model() {
    let Some(model) = rig::require(rig::smollm2()) else { return };
    let (program, key) = in_front_of_the_engine(&model.display().to_string());
    let only = [
        "anthropic_message",
        "anthropic_stream_helper",
        "responses_plain",
        "responses_stream",
        "ollama_chat",
        "ollama_chat_stream",
    ];
    let options = options(&program, &key).with("only", only.to_vec());
    let Some(outcomes) = rig::require(probes::run_python_dialects(&options)) else { return };
    outcomes.assert_all_pass(only.len());
    let only = [
        "anthropic_message",
        "anthropic_stream",
        "responses_plain",
        "responses_stream",
        "responses_stream_helper",
        "vercel_plain",
        "vercel_stream",
    ];
    let options = options.with("only", only.to_vec());
    let Some(outcomes) = rig::require(probes::run_node_dialects(&options)) else { return };
    outcomes.assert_all_pass(only.len());
}
