//! People compare answers through the command line: the real program, three scripted upstreams.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Write;
use std::process::{Command, Stdio};

use cutover_testkit::fake::{Fake, Persona, Reply, Setup};
use cutover_testkit::load::Load;
use cutover_testkit::program::Program;
use cutover_testkit::wait;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

fn upstream(model: &str, says: &str) -> Fake {
    let fake = Fake::start_with(Setup::new(Persona::OpenAi).name(model).models(&[model]));
    fake.always(Reply::text(says));
    fake
}

fn config(old: &Fake, new: &Fake, judge: &Fake, keep: &str) -> String {
    let upstream = |name: &str, fake: &Fake| {
        let url = fake.base_url();
        format!(
            "[upstreams.{name}]\nprovider = \"openai-compatible\"\ninstances = [\"{url}/v1\"]\n\n"
        )
    };
    let variant = |name: &str, upstream: &str, model: &str| {
        format!("[variants.{name}]\nupstream = \"{upstream}\"\nmodel = \"{model}\"\n\n")
    };
    let mut text = "default_upstream = \"cloud\"\n\n".to_owned();
    for (name, fake) in [("cloud", old), ("own", new), ("court", judge)] {
        text += &upstream(name, fake);
    }
    for (name, at, model) in [
        ("old", "cloud", "gpt-4o"),
        ("new", "own", "qwen2.5-7b"),
        ("referee", "court", "mistral-small"),
    ] {
        text += &variant(name, at, model);
    }
    text + &format!(
        r#"
[use_cases.app]
match = {{ model = "app" }}
unit = {{ header = "x-customer-id" }}
baseline = "old"
candidate = "new"

[use_cases.app.rollout]
gates = ["quality >= 0.6 x baseline"]
steps = ["shadow 100% for 1 s", "ramp 50% for 1 h", "100% for 1 s"]
interval = "1 s"
min_units = 20

[use_cases.app.scorer]
kind = "judge"
variant = "referee"

[use_cases.app.shadow]
concurrency = 4
live_limit = 16
unpriced = true
keep = "{keep}"
"#
    )
}

/// What `cutover rollout rate` says to these keys.
fn rate(program: &Program, keys: &str) -> (String, String) {
    let state = program.state();
    let mut child = Command::new(BINARY)
        .args(["rollout", "rate", "app", "--rater", "ann", "--count", "3", "--admin"])
        .arg(program.admin_url())
        .arg("--token-file")
        .arg(state.join("admin-token"))
        .arg("--state-dir")
        .arg(&state)
        .current_dir(&state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who stops early reads no more; that is no mistake.
    let _ = child.stdin.take().unwrap().write_all(keys.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn judged(program: &Program) -> u64 {
    let status = program.admin("GET /admin/rollouts/app", "").json();
    status["scoring"]["judge"]["judged"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_compares_answers_blind_through_a_pipe() {
    let old = upstream("gpt-4o", "I am GPT-4o and the sum is 42");
    let new = upstream("qwen2.5-7b", "42, says Qwen2.5");
    let judge = upstream("mistral-small", r#"{"reason": "same", "winner": "tie"}"#);
    for keep in ["text", "none"] {
        let program = Program::start(BINARY, &config(&old, &new, &judge, keep));
        program.ok(&["rollout", "start", "app"]);
        let mut load = Load::new(program.url(), "none", "app");
        load.units = 1_000_000;
        "x-customer-id".clone_into(&mut load.unit_header);
        let running = load.start();
        wait::until_async("judged pairs", || judged(&program) >= 10).await;
        drop(running.stop());
        let (out, err) = rate(&program, "t\nwhat?\ns\nl\nb\n");
        if keep == "none" {
            assert!(
                err.contains("are not kept") && err.contains("[use_cases.app.shadow]"),
                "{err}"
            );
            continue;
        }
        assert!(out.contains("I am [model] and the sum is 42"), "{out}{err}");
        assert!(out.contains("42, says [model]") && !out.contains("gpt"), "{out}");
        assert!(out.contains("3 labels of ann stored"), "{out}{err}");
        assert!(out.contains("judge: 3 of 50 labels"), "{out}");
        let status = program.ok(&["rollout", "status", "app"]);
        assert!(
            status.contains("people labelled 3") || status.contains("50 are needed"),
            "{status}"
        );
        let (out, _) = rate(&program, "");
        assert!(out.contains("0 labels of ann stored"), "{out}");
    }
}
