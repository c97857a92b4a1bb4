//! Rollouts from end to end: the real program, two scripted upstreams, a client that never stops.
//!
//! The steps are short and the margins wide, so that a proof needs some hundred requests; everything
//! else is as in earnest.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::process::Command;
use std::time::Duration;

use cutover_testkit::arms::two_arms;
use cutover_testkit::fake::{Fake, Fault, Persona, Reply, Setup};
use cutover_testkit::load::{Load, Running, Sample, assert_all_good};
use cutover_testkit::program::Program;
use cutover_testkit::wait;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

const WAY: &str = r#"["shadow 100% for 1 s", "canary 20% for 1 s", "ramp 40% for 1 s", "ramp 60% for 1 s", "100% for 1 s"]"#;
/// It comes to its first ramp and stays there.
const LONG_RAMP: &str =
    r#"["shadow 100% for 1 s", "canary 20% for 1 s", "ramp 40% for 1 h", "100% for 1 s"]"#;
const GATES: &str =
    r#"["quality >= 0.6 x baseline", "errors <= baseline + 20 pp", "fallback <= 30%"]"#;

struct Rig {
    cloud: Fake,
    own: Fake,
    program: Program,
}

impl Rig {
    fn start(steps: &str) -> Self {
        let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
        let own = Fake::start_with(Setup::new(Persona::Vllm).name("own"));
        for fake in [&cloud, &own] {
            // A little time each, so that the client does not take the whole processor.
            fake.always(Reply::text("the sum is 42").pace(Duration::from_millis(2)));
        }
        let program = Program::start(BINARY, &config(&cloud, &own, (GATES, steps)));
        Self { cloud, own, program }
    }

    /// Every request is another customer's.
    fn load(&self) -> Running {
        let mut load = Load::new(self.program.url(), "none", "app");
        load.units = 1_000_000;
        "x-customer-id".clone_into(&mut load.unit_header);
        load.start()
    }

    fn rollout(&self) -> Value {
        self.program.admin("GET /admin/rollouts/app", "").json()
    }

    fn phase(&self) -> String {
        let rollout = self.rollout();
        rollout["state"]["phase"]["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the step at this place, from 0, is reached or passed.
    async fn reaches(&self, step: u64) {
        let reached = || {
            let rollout = self.rollout();
            let (at, phase) = (&rollout["state"]["step"], &rollout["state"]["phase"]["phase"]);
            let ended = phase == "rolled_back" || phase == "holding";
            assert!(!ended || at.as_u64() >= Some(step), "{}", self.status());
            at.as_u64() >= Some(step)
        };
        wait::until_async(&format!("step {step}"), reached).await;
    }

    async fn ends(&self, phase: &str) {
        wait::until_async(&format!("the phase {phase}"), || {
            let now = self.phase();
            let over = now == "promoted" || now == "rolled_back";
            assert!(!over || now == phase, "{}", self.status());
            now == phase
        })
        .await;
    }

    fn status(&self) -> String {
        self.program.ok(&["rollout", "status", "app"])
    }

    /// The history's actions, oldest first; the chain must be whole.
    fn actions(&self) -> Vec<String> {
        let text = self.program.ok(&["rollout", "history", "app", "--json"]);
        let history: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(history["chain"]["intact"], true, "{text}");
        let decisions = history["decisions"].as_array().unwrap();
        let action = |one: &Value| one["decision"]["action"].as_str().unwrap().to_owned();
        decisions.iter().map(action).collect()
    }

    /// Every stored decision comes out again.
    fn assert_replays(&self) {
        let text = self.program.ok(&["rollout", "replay", "app"]);
        assert!(text.contains("decisions come out as they are stored"), "{text}");
        assert!(!text.contains("DO NOT"), "{text}");
    }
}

fn config(cloud: &Fake, own: &Fake, rollout: (&str, &str)) -> String {
    config_at((&cloud.base_url(), &own.base_url()), rollout)
}

fn config_at((cloud, own): (&str, &str), (gates, steps): (&str, &str)) -> String {
    let ground = two_arms(cloud, own);
    format!(
        r#"{ground}
[use_cases.app.rollout]
gates = {gates}
steps = {steps}
interval = "1 s"
min_units = 20

[use_cases.app.scorer]
kind = "exact-match"

[use_cases.app.shadow]
concurrency = 4
live_limit = 16
unpriced = true
"#
    )
}

fn by_candidate(samples: &[Sample]) -> usize {
    samples.iter().filter(|sample| sample.arm.as_deref() == Some("candidate")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_candidate_is_promoted_step_by_step_on_its_evidence() {
    let rig = Rig::start(WAY);
    let running = rig.load();
    let told = rig.program.ok(&["rollout", "start", "app", "--reason", "first try"]);
    assert!(told.contains("[shadow 100%] > canary 20% > ramp 40% > ramp 60% > 100%"), "{told}");
    for step in 1..=4 {
        rig.reaches(step).await;
    }
    rig.ends("promoted").await;
    running.more(100).await;
    let samples = running.stop();
    assert_all_good(&samples);
    let last = &samples[samples.len() - 50..];
    assert_eq!(by_candidate(last), 50, "the candidate has everything");
    let actions = rig.actions();
    let expected = ["start", "advance", "advance", "advance", "advance", "promote"];
    assert_eq!(actions, expected);
    let status = rig.status();
    assert!(status.starts_with("app: from old to new, promoted"), "{status}");
    let explained = rig.program.ok(&["rollout", "explain", "app"]);
    for part in ["promote by the controller", "`quality >= 0.6 x baseline` passes", "formula: "] {
        assert!(explained.contains(part), "{part:?} is missing in {explained}");
    }
    let overview = rig.program.ok(&["status"]);
    assert!(overview.contains("promoted"), "{overview}");
    rig.assert_replays();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worse_candidate_is_refused_in_the_shadow_and_no_client_ever_meets_it() {
    let rig = Rig::start(WAY);
    rig.own.always(Reply::text("the sum is 41"));
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    rig.ends("rolled_back").await;
    let samples = running.stop();
    assert_all_good(&samples);
    assert_eq!(by_candidate(&samples), 0);
    assert!(!rig.own.inferences().is_empty(), "it was shown copies");
    assert_eq!(rig.actions(), ["start", "roll_back"]);
    let explained = rig.program.ok(&["rollout", "explain"]);
    assert!(explained.contains("`quality >= 0.6 x baseline` fails"), "{explained}");
    rig.assert_replays();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_breaks_in_mid_ramp_is_taken_back_and_no_client_notices() {
    let rig = Rig::start(LONG_RAMP);
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    rig.reaches(2).await;
    running.more(200).await;
    rig.own.always(Reply::fault(Fault::status(500)));
    rig.ends("rolled_back").await;
    let from = running.ended();
    running.more(100).await;
    let samples = running.stop();
    assert_all_good(&samples);
    assert!(by_candidate(&samples[..from]) > 0, "it had served in the ramp");
    // Requests that were under way in that moment apart.
    assert_eq!(by_candidate(&samples[from + 20..]), 0);
    assert_eq!(rig.actions(), ["start", "advance", "advance", "roll_back"]);
    let status = rig.status();
    assert!(status.contains("ROLLED BACK"), "{status}");
    rig.assert_replays();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_on_after_kill_9_and_keeps_its_evidence() {
    let mut rig = Rig::start(WAY);
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    rig.reaches(2).await;
    let before = rig.rollout();
    rig.program.kill();
    drop(running);
    // Without a running cutover the database tells.
    let offline = rig.program.ok(&["rollout", "replay", "app"]);
    assert!(offline.contains("decisions come out as they are stored"), "{offline}");
    rig.program.start_again();
    let after = rig.rollout();
    assert_eq!(after["run"], before["run"]);
    assert!(after["state"]["step"].as_u64() >= Some(2), "{after:#}");
    let running = rig.load();
    rig.ends("promoted").await;
    assert_all_good(&running.stop());
    let expected = ["start", "advance", "advance", "advance", "advance", "promote"];
    assert_eq!(rig.actions(), expected);
    let quality = |rollout: &Value| rollout["report"]["gates"][0]["n"].as_u64();
    assert!(quality(&before) > Some(0));
    assert!(quality(&rig.rollout()) >= quality(&before), "evidence was kept");
    rig.assert_replays();
}

/// What a scorer had been asked and had not said yet was forgotten with the process, as if nobody had asked.
#[tokio::test(flavor = "multi_thread")]
async fn scores_that_a_killed_process_awaited_are_missing() {
    let mut rig = Rig::start(LONG_RAMP);
    // It takes connections, and never says anything.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let scorer = format!("kind = \"http\"\nurl = \"http://{}/\"", silent.local_addr().unwrap());
    let text = config(&rig.cloud, &rig.own, (GATES, LONG_RAMP));
    rig.program = Program::start(BINARY, &text.replace("kind = \"exact-match\"", &scorer));
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    let waits = |rollout: &Value| rollout["report"]["waits_for"].to_string();
    wait::until_async("a look at pairs whose scores are to come", || {
        waits(&rig.rollout()).contains("are missing")
    })
    .await;
    rig.program.kill();
    drop(running);
    rig.program.start_again();
    wait::until_async("a look of the new process", || !rig.rollout()["report"].is_null()).await;
    let after = rig.rollout();
    assert_eq!(after["scoring"]["pending"], 0, "{after:#}");
    assert!(waits(&after).contains("are missing"), "{after:#}");
    rig.assert_replays();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_abandoned_at_its_share_and_the_share_is_a_person_s_from_then_on() {
    let rig = Rig::start(LONG_RAMP);
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    rig.reaches(1).await;
    let refused = rig.program.cli(&["rollout", "abandon", "app"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("not proved"), "{told}");
    let told = rig.program.ok(&["rollout", "abandon", "app", "--yes", "--reason", "by hand"]);
    assert!(told.contains("ABANDONED by"), "{told}");
    let share = rig.rollout()["state"]["weight"].clone();
    assert_ne!(share, 0);
    assert_eq!(rig.phase(), "abandoned");
    rig.program.ok(&["weight", "app", "7%"]);
    let overview = rig.program.ok(&["status"]);
    assert!(overview.contains("7%") && overview.contains("abandoned"), "{overview}");
    let refused = rig.program.cli(&["rollout", "resume", "app"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("cutover rollout start"), "{told}");
    assert_all_good(&running.stop());
    assert_eq!(rig.actions().last().map(String::as_str), Some("abandon"));
    rig.assert_replays();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_by_hand_ends_it_and_a_weight_by_hand_is_refused_while_it_runs() {
    let rig = Rig::start(LONG_RAMP);
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    rig.reaches(1).await;
    let refused = rig.program.cli(&["weight", "app", "50%"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(5), "{told}");
    for part in ["moved by its rollout", "hint:", "cutover rollback app"] {
        assert!(told.contains(part), "{part:?} is missing in {told}");
    }
    let second = rig.program.cli(&["rollout", "start", "app"]);
    assert_eq!(second.status.code(), Some(5));
    // Without proof nobody is moved by mistake.
    let asked = rig.program.cli(&["rollout", "promote", "app"]);
    let told = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(1), "{told}");
    assert!(told.contains("not proved:") && told.contains("it leaves out ramp 40%"), "{told}");
    rig.program.ok(&["rollout", "pause", "app", "--reason", "lunch", "--actor", "ann"]);
    assert!(rig.status().contains("PAUSED by ann"), "{}", rig.status());
    rig.program.ok(&["rollout", "resume", "app", "--actor", "ann"]);
    let back = ["rollout", "rollback", "app", "--reason", "dates", "--actor", "bob"];
    // 6: it is in force, and a busy disk is not waited for.
    let told = rig.program.cli(&back);
    assert!(matches!(told.status.code(), Some(0 | 6)), "{told:?}");
    rig.ends("rolled_back").await;
    let from = running.ended();
    running.more(100).await;
    let samples = running.stop();
    assert_all_good(&samples);
    assert_eq!(by_candidate(&samples[from + 20..]), 0);
    let actions = rig.actions();
    assert_eq!(actions.last().map(String::as_str), Some("roll_back"), "{actions:?}");
    let history = rig.program.ok(&["rollout", "history", "app"]);
    assert!(history.contains("bob") && history.contains("dates"), "{history}");
    let again = rig.program.cli(&["rollout", "start", "app"]);
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(told.contains("--after-rollback"), "{told}");
    rig.program.ok(&["rollout", "start", "app", "--after-rollback"]);
    assert_eq!(rig.phase(), "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_is_edited_while_it_runs_begins_the_evidence_anew_and_says_so() {
    let mut rig = Rig::start(LONG_RAMP);
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    rig.reaches(1).await;
    let before = rig.rollout();
    let gates = r#"["quality >= 0.7 x baseline", "errors <= baseline + 20 pp"]"#;
    rig.program.write_config(&config(&rig.cloud, &rig.own, (gates, LONG_RAMP)));
    let restarted = || rig.rollout()["state"]["spec_hash"] != before["state"]["spec_hash"];
    wait::until_async("the new spec", restarted).await;
    assert!(rig.actions().iter().any(|action| action == "restart"), "{:?}", rig.actions());
    let history = rig.program.ok(&["rollout", "history", "app"]);
    assert!(history.contains("restart") && history.contains("spec"), "{history}");
    rig.reaches(2).await;
    assert_all_good(&running.stop());
    rig.assert_replays();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_tampered_with_is_told_as_such() {
    let rig = Rig::start(LONG_RAMP);
    rig.program.ok(&["rollout", "start", "app"]);
    rig.program.ok(&["rollout", "pause", "app", "--actor", "ann"]);
    let database = rusqlite::Connection::open(rig.program.state().join("cutover.db")).unwrap();
    let change = "DROP TRIGGER decisions_are_not_altered;
        UPDATE decisions SET entry = replace(entry, 'ann', 'bob');";
    database.execute_batch(change).unwrap();
    let output = rig.program.cli(&["rollout", "history", "app"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (told, warned) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("BROKEN") && warned.contains("decision 2"), "{told}{warned}");
}

/// What another spec would have done, told by the running program.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_with_another_spec_tells_what_would_have_happened() {
    let rig = Rig::start(LONG_RAMP);
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    rig.reaches(2).await;
    drop(running);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stricter.toml");
    let steps = r#"["shadow 100% for 1 h", "ramp 40% for 1 h", "100% for 1 s"]"#;
    std::fs::write(&file, config(&rig.cloud, &rig.own, (GATES, steps))).unwrap();
    let spec = file.to_str().unwrap();
    let told = rig.program.ok(&["rollout", "replay", "app", "--spec", spec]);
    assert!(told.contains("\n- 20") && told.contains("as it would be:"), "{told}");
    let advances = told.lines().filter(|line| line.starts_with("- ")).count();
    assert!(advances >= 2, "an hour was not over: {told}");
    rig.program.ok(&["rollout", "simulate", "app", "--spec", spec, "--runs", "5", "--only-asked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_for_a_person_and_one_that_is_left_without_proof_is_marked() {
    let steps = r#"["shadow 100% for 1 h", "canary 20% for 1 s", "ramp 40% for 1 h after approval", "100%"]"#;
    let rig = Rig::start(steps);
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    let looked = || rig.rollout()["report"]["at"].is_u64();
    wait::until_async("a first look", looked).await;
    // The shadow lasts an hour; who does not want to wait says so.
    let why = ["--yes", "--reason", "seen enough", "--actor", "ann"];
    rig.program.ok(&[&["rollout", "advance", "app"], &why[..]].concat());
    // What was open when a person went on all the same is kept with the decision.
    let explained = rig.program.ok(&["rollout", "explain", "app"]);
    for part in ["NOT PROVED", "` is open", "formula: "] {
        assert!(explained.contains(part), "{part:?} is missing in {explained}");
    }
    assert!(rig.rollout()["state"]["step"] == 1, "{}", rig.status());
    let waits = || rig.rollout()["report"]["waits_for"].to_string().contains("approv");
    wait::until_async("the approval to be asked for", waits).await;
    assert!(rig.status().contains("begins when somebody agrees"), "{}", rig.status());
    rig.program.ok(&["rollout", "approve", "app", "--actor", "bob"]);
    rig.reaches(2).await;
    assert_all_good(&running.stop());
    assert_eq!(rig.actions(), ["start", "advance", "approve", "advance"]);
    let history = rig.program.ok(&["rollout", "history", "app"]);
    assert!(history.contains("seen enough") && history.contains("bob"), "{history}");
    rig.assert_replays();
}

/// No program runs: the file is all that is needed.
#[test]
fn a_spec_is_checked_and_simulated_without_a_running_program() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cutover.toml");
    let text = |gate: &str| {
        let fake = "http://127.0.0.1:1";
        let gates = format!("[{gate:?}, \"errors <= baseline + 2 pp\"]");
        config_at((fake, fake), (&gates, r#"["shadow 50%", "ramp 50%", "100%"]"#))
    };
    std::fs::write(&file, text("quality >= 0.9 x baseline")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command.env_clear().env("HOME", folder.path()).env("CUTOVER_CONFIG", &file);
        let output = command.args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, full, _) = run(&["check"]);
    assert_eq!(code, Some(0));
    let gate = r#"{ id = "quality", metric = "quality", ratio = 0.9, role = "required" }"#;
    assert!(full.contains(gate) && full.contains(r#"on_inconclusive = "hold""#), "{full}");
    let simulate = ["rollout", "simulate", "--runs", "3", "--only-asked", "--horizon", "3 d"];
    let json = [&simulate[..], &["--json", "--seed", "7"]].concat();
    let (first, again) = (run(&json), run(&json));
    assert_eq!(first, again, "chance is the seed's alone");
    assert_eq!(first.0, Some(0), "{first:?}");
    let found: Value = serde_json::from_str(&first.1).unwrap();
    assert_eq!(found["cases"][0]["outcome"]["promoted"], 3, "{found:#}");
    let worse = [&simulate[..], &["--truth", "quality=0.85x"]].concat();
    let (code, _, warned) = run(&worse);
    assert_eq!(code, Some(1), "{warned}");
    assert!(warned.contains("cannot pass: the candidate truly keeps 85.0 %"), "{warned}");
    std::fs::write(&file, text("quality >= 1.0 x baseline")).unwrap();
    let (code, _, told) = run(&["check"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("cannot pass") && told.contains("cutover.toml:"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_while_no_cutover_runs_ends_the_rollout_at_the_next_start() {
    let mut rig = Rig::start(LONG_RAMP);
    let running = rig.load();
    rig.program.ok(&["rollout", "start", "app"]);
    rig.reaches(1).await;
    rig.program.kill();
    drop(running);
    // Written, and not in force: nobody serves.
    let told = rig.program.cli(&["rollout", "rollback", "app", "--actor", "bob"]);
    assert_eq!(told.status.code(), Some(6), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stdout).contains("an override is written"), "{told:?}");
    rig.program.start_again();
    rig.ends("rolled_back").await;
    let asked = rig.own.inferences().len();
    let running = rig.load();
    running.more(100).await;
    let samples = running.stop();
    assert_all_good(&samples);
    assert_eq!((by_candidate(&samples), rig.own.inferences().len()), (0, asked));
    assert_eq!(rig.actions(), ["start", "advance", "roll_back"]);
    let history = rig.program.ok(&["rollout", "history", "app"]);
    assert!(history.contains("bob"), "{history}");
    rig.assert_replays();
}

/// What a start takes away was told in the history alone, an empty table of pairs ended with 0, and who
/// asked without `$USER` was nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_that_the_share_falls_and_who_has_no_name_has_a_number() {
    let rig = Rig::start(LONG_RAMP);
    rig.program.ok(&["weight", "app", "60%"]);
    let begun = rig.program.cli(&["rollout", "start", "app"]);
    let told = String::from_utf8_lossy(&begun.stderr).into_owned();
    assert!(begun.status.success() && told.contains("the share falls from 60% to 0%"), "{told}");
    let history = rig.program.ok(&["rollout", "history", "app"]);
    assert!(history.contains("uid-") && !history.contains("unknown"), "{history}");
    let rated = rig.program.cli(&["rollout", "rate", "app"]);
    let told = String::from_utf8_lossy(&rated.stderr).into_owned();
    assert_eq!(rated.status.code(), Some(1), "{told}");
    for part in ["no pair of app can be compared", "no pair has come yet", "rollout status app"] {
        assert!(told.contains(part), "{part:?} is missing in {told}");
    }
}

/// Programs of scorers run in an empty folder: a file beside the config file is never found there.
#[test]
fn a_scorers_file_beside_the_config_file_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("score.sh"), "").unwrap();
    let nobody = "http://127.0.0.1:9";
    let scorer = r#"kind = "command"
command = ["/bin/sh", "score.sh"]"#;
    let config = config_at((nobody, nobody), (GATES, WAY));
    let config = config.replace(r#"kind = "exact-match""#, scorer);
    let file = folder.path().join("cutover.toml");
    std::fs::write(&file, config).unwrap();
    let checked = Command::new(BINARY).arg("check").arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{told}");
    let part = "use_cases.app.scorer.command: \"score.sh\" lies beside the config file";
    assert!(told.contains(part), "{told}");
}
