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
