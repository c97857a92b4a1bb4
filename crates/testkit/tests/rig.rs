//! The real parts work, and the fakes fail where the real server fails.

use cutover_testkit::fake::{Fake, Persona, Setup};
use cutover_testkit::probes::{self, Options};
use cutover_testkit::rig::{self, LlamaOptions, LlamaServer, Unavailable};

/// What an engine without tools, embeddings or constrained output on this model is asked.
fn options(base_url: &str) -> Options {
    Options::new(base_url, "sk-right", "llama")
        .with("logprobs", true)
        .with("choices", true)
        .with("keys", true)
        .with("context_bytes", 80_000)
}

fn llama() -> Result<LlamaServer, Unavailable> {
    let options = LlamaOptions { key: Some("sk-right".to_owned()), ..LlamaOptions::default() };
    LlamaServer::start(&rig::tiny_model()?, &options)
}

#[test]
fn the_llama_fake_fails_the_probes_that_the_real_server_fails() {
    let Some(server) = rig::require(llama()) else { return };
    let real = probes::run_python(&options(&server.base_url())).unwrap();
    let mut setup = Setup::new(Persona::LlamaCpp).models(&["llama"]).key("sk-right");
    setup.tools = false;
    let fake = Fake::start_with(setup);
    let faked = probes::run_python(&options(&fake.base_url())).unwrap();
    assert_eq!(real.failed(), faked.failed(), "real: {real:#?}\nfake: {faked:#?}");
    assert_eq!(real.skipped(), faked.skipped());
    real.assert_only_fail(&[
        // It counts the tokens of one choice, whatever n is.
        "chat_two_choices",
        // It puts usage on the finish chunk of a completion stream, asked or not.
        "completions_stream",
        "completions_stream_usage",
    ]);
}

#[test]
fn a_dropped_server_is_gone() {
    let Some(server) = rig::require(llama()) else { return };
    let stat = format!("/proc/{}/stat", server.pid());
    assert!(std::fs::exists(&stat).unwrap());
    drop(server);
    assert!(!std::fs::exists(&stat).unwrap());
}

#[test]
fn the_real_small_model_answers() {
    let started =
        rig::smollm2().and_then(|model| LlamaServer::start(&model, &LlamaOptions::default()));
    let Some(server) = rig::require(started) else { return };
    let real = probes::run_python(
        &Options::new(&server.base_url(), "none", "llama")
            .with("only", vec!["chat", "chat_stream", "parse_schema"])
            .with("schema", true),
    );
    real.unwrap().assert_all_pass(3);
}
