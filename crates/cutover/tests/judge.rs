//! A language model as a judge, from end to end: two scripted arms, and a real model that is asked which
//! of two answers is better. It is far too small to be a good judge, which is the point: what it is worth
//! is measured, and until it has shown that it is right it decides nothing.

use std::time::Duration;

use cutover_testkit::arms::two_arms;
use cutover_testkit::fake::{Fake, Persona, Reply, Setup};
use cutover_testkit::load::Load;
use cutover_testkit::program;
use cutover_testkit::rig::{self, LlamaOptions, LlamaServer};
use cutover_testkit::wait::until_within;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// Pairs of which each asks the judge twice.
const PAIRS: usize = 6;

/// Twelve verdicts of a small model on two busy cores.
const PATIENCE: Duration = Duration::from_mins(4);

fn judged_by(upstream: &str, model: &str) {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    let own = Fake::start_with(Setup::new(Persona::Vllm).name("own"));
    cloud.always(Reply::text("The sum of both amounts is 42 EUR."));
    own.always(Reply::text("I do not know."));
    let ground = two_arms(&cloud.base_url(), &own.base_url());
    let program = program::Setup::new(
        BINARY,
        &format!(
            r#"{ground}
[upstreams.court]
{upstream}

[variants.referee]
upstream = "court"
{model}
max_tokens = 96

[use_cases.app.rollout]
gates = ["quality >= 0.9 x baseline", "errors <= baseline + 20 pp"]
steps = ["shadow 100% for 1 s", "ramp 50% for 1 h", "100% for 1 s"]
interval = "1 s"
min_units = 2

[use_cases.app.scorer]
kind = "judge"
variant = "referee"
timeout = "2 min"

[use_cases.app.shadow]
live_limit = 16
unpriced = true
"#
        ),
    );
    let program = program.env("UPSTREAM_KEY", "sk-upstream").start();
    program.ok(&["rollout", "start", "app"]);
    let mut load = Load::new(program.url(), "none", "app");
    (load.units, load.clients) = (1_000_000, 1);
    "x-customer-id".clone_into(&mut load.unit_header);
    let running = load.start();
    let rollout = || program.admin("GET /admin/rollouts/app", "").json();
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let mut running = Some(running);
    let last = until_within(PATIENCE, "three verdicts of the judge", || {
        if own.inferences().len() >= PAIRS {
            // Enough was copied: the judge has the machine for itself.
            drop(running.take());
        }
        let now = rollout();
        let judge = &now["scoring"]["judge"];
        let verdicts = count(&judge["judged"]) + count(&judge["unreadable"]);
        (verdicts >= 3 && running.is_none()).then_some(now)
    });
    let judge = &last["scoring"]["judge"];
    // Held to the form, a model of any size gives readable verdicts; what they are worth is measured.
    assert!(count(&judge["judged"]) > 0, "{judge:#}");
    let flips = judge["flip_rate"].as_f64().unwrap_or(-1.0);
    assert!((0.0..=1.0).contains(&flips), "{judge:#}");
    assert!(judge["flip_interval"].is_array() && judge["kappa"].is_null(), "{judge:#}");
    assert_eq!(count(&judge["labels"]), 0);
    // It decides nothing: the gate has no data, the step waits, nobody has met the candidate.
    let gate = &last["report"]["gates"][0];
    assert_eq!((&gate["gate"], &gate["verdict"]), (&"quality".into(), &"no_data".into()));
    assert_eq!(count(&gate["n"]), 0, "{gate:#}");
    assert_eq!((count(&last["state"]["step"]), count(&last["state"]["weight"])), (0, 0));
    let status = program.ok(&["rollout", "status", "app"]);
    for part in ["changed with the order", "0 of 50 labels", "it may not decide yet"] {
        assert!(status.contains(part), "{part:?} is missing in {status}");
    }
    let stored = program.ok(&["rollout", "replay", "app"]);
    assert!(stored.contains("come out as they are stored"), "{stored}");
}

#[test]
fn the_embedded_engine_judges_and_is_not_believed() {
    let Some(model) = rig::require(rig::smollm2()) else { return };
    let model = model.display();
    judged_by(&format!("provider = \"embedded\"\nmodel = \"{model}\"\nslots = 2"), "");
}

#[test]
fn llama_cpps_server_judges_and_is_not_believed() {
    let alias = "smollm2-135m-instruct".to_owned();
    let options = LlamaOptions { alias, ..LlamaOptions::default() };
    let started = rig::smollm2().and_then(|model| LlamaServer::start(&model, &options));
    let Some(server) = rig::require(started) else { return };
    let base = server.base_url();
    judged_by(
        &format!("provider = \"llamacpp\"\ninstances = [\"{base}/v1\"]\nlocal = true"),
        "model = \"smollm2-135m-instruct\"",
    );
}

/// It was asked in the words of OpenAI, which Google's own API does not understand: no verdict ever came.
#[test]
fn a_judge_with_an_api_of_its_own_is_asked_in_it() {
    let court = Setup::new(Persona::Gemini).models(&["gemini-3-flash"]).key("sk-upstream");
    let court = Fake::start_with(court);
    court.always(Reply::text(r#"{"reason": "it names the sum", "winner": "A"}"#));
    let base = court.base_url();
    let upstream =
        format!("provider = \"gemini\"\nbase_url = \"{base}\"\nkey = {{ env = \"UPSTREAM_KEY\" }}");
    judged_by(&upstream, "model = \"gemini-3-flash\"");
    assert!(court.inferences().iter().all(|asked| asked.path().contains(":generateContent")));
}
