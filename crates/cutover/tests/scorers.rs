//! What scores pairs, and what may stand in a rollout's way, through the real program: a server that
//! scores, answers that run, steps with times, units counted by their mean; and scorers that break.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cutover_testkit::arms::two_arms;
use cutover_testkit::fake::{Fake, Persona, Reply, Setup};
use cutover_testkit::load::{Load, Running, assert_all_good};
use cutover_testkit::program::Program;
use cutover_testkit::receiver::Receiver;
use cutover_testkit::wait;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// Both arms answer with a program. It is short: the client's requests ask for few tokens.
const CODE: &str = "```sh\nexit 0\n```";

struct Rig {
    cloud: Fake,
    own: Fake,
}

impl Rig {
    fn new() -> Self {
        let rig = Self {
            cloud: Fake::start_with(Setup::new(Persona::OpenAi).name("cloud")),
            own: Fake::start_with(Setup::new(Persona::Vllm).name("own")),
        };
        rig.cloud.always(Reply::text(CODE).pace(Duration::from_millis(2)));
        rig.own.always(Reply::text(CODE).pace(Duration::from_millis(2)));
        rig
    }

    fn config(&self, use_cases: &[String]) -> String {
        let ground = two_arms(&self.cloud.base_url(), &self.own.base_url());
        let ground = ground.split("[use_cases.app]").next().unwrap();
        format!("{ground}{}", use_cases.concat())
    }
}

/// A use case with this rollout and this scorer.
fn use_case(name: &str, rollout: &str, scorer: &str) -> String {
    format!(
        r#"
[use_cases.{name}]
match = {{ model = "{name}" }}
unit = {{ header = "x-customer-id" }}
baseline = "old"
candidate = "new"

[use_cases.{name}.rollout]
interval = "1 s"
min_units = 20
{rollout}

[use_cases.{name}.scorer]
{scorer}

[use_cases.{name}.shadow]
concurrency = 4
live_limit = 16
unpriced = true
"#
    )
}

const PROVED_IN_SHADOW: &str = r#"gates = ["quality >= 0.6 x baseline", "errors <= baseline + 20 pp"]
steps = ["shadow 100% for 1 s", "ramp 40% for 1 h", "100% for 1 s"]"#;

fn load(program: &Program, model: &str, units: usize) -> Running {
    let mut load = Load::new(program.url(), "none", model);
    (load.units, load.clients) = (units, 2);
    "x-customer-id".clone_into(&mut load.unit_header);
    load.start()
}

fn rollout(program: &Program, name: &str) -> Value {
    program.admin(&format!("GET /admin/rollouts/{name}"), "").json()
}

fn reaches(program: &Program, name: &str, step: u64) {
    // Evidence takes its time on a busy machine: each pair is a process of its own.
    wait::until_within(Duration::from_mins(3), &format!("step {step} of {name}"), || {
        let now = rollout(program, name);
        assert_eq!(now["state"]["phase"]["phase"], "running", "{now:#}");
        (now["state"]["step"].as_u64() >= Some(step)).then_some(())
    });
}

/// The days of the week that are not today (UTC), nor what today may become while the test runs.
#[expect(clippy::disallowed_methods, reason = "the program reads the real clock")]
fn another_day() -> &'static str {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // The epoch was a Thursday.
    DAYS[usize::try_from((days + 3 + 3) % 7).unwrap()]
}

#[test]
fn a_server_scores_code_runs_times_are_waited_for_and_means_are_counted() {
    let rig = Rig::new();
    let scores = Receiver::start(|_| (200, r#"{"baseline": 0.9, "candidate": 1.0}"#.to_owned()));
    let url = scores.base_url();
    let live = |steps: &str| {
        format!(
            "gates = [\"errors <= baseline + 20 pp\"]\nunit_rule = \"mean\"\nunit_window = \"1 s\"\n\
             steps = [{steps}]"
        )
    };
    let day = another_day();
    let program = Program::start(
        BINARY,
        &rig.config(&[
            use_case("served", PROVED_IN_SHADOW, &format!("kind = \"http\"\nurl = \"{url}/score\"")),
            use_case(
                "runs",
                // No more than two programs at a time can run: what comes in vain is missing evidence.
                &PROVED_IN_SHADOW.replace("shadow 100%", "shadow 5%"),
                "kind = \"code-runs\"\nallow = true\ncommand = [\"/bin/sh\"]\nlanguage = \"sh\"",
            ),
            use_case(
                "means",
                &live("\"canary 50% for 1 s\", \"ramp 60% for 1 s on mon-sun 00:00-24:00\", \"100% for 1 h\""),
                "kind = \"exact-match\"",
            ),
            use_case(
                "later",
                &live(&format!("\"canary 50% for 1 s\", \"ramp 60% for 1 s on {day}\", \"100% for 1 s\"")),
                "kind = \"exact-match\"",
            ),
        ]),
    );
    let names = ["served", "runs", "means", "later"];
    for name in names {
        program.ok(&["rollout", "start", name]);
    }
    // A unit of the live ones comes again within its second: its requests are one observation.
    let running =
        names.map(|name| load(&program, name, if name == "means" { 20 } else { 100_000 }));
    reaches(&program, "served", 1);
    reaches(&program, "runs", 1);
    reaches(&program, "means", 2);
    let waits =
        || rollout(&program, "later")["report"]["waits_for"].to_string().contains("the times of");
    wait::until("the day to be waited for", waits);
    let samples = running.map(Running::stop);
    for samples in &samples {
        assert_all_good(samples);
    }
    assert_eq!(rollout(&program, "later")["state"]["step"], 0, "not on this day");
    // The server was told both answers, and what it said was counted.
    let posted: Value = serde_json::from_str(&scores.posted()[0].body).unwrap();
    assert_eq!(
        (&posted["baseline"]["text"], &posted["candidate"]["failed"]),
        (&CODE.into(), &false.into())
    );
    let quality = |name: &str| rollout(&program, name)["report"]["gates"][0].clone();
    assert!(quality("served")["estimate"].as_f64() > Some(1.05), "{:#}", quality("served"));
    assert!(quality("runs")["n"].as_u64() >= Some(20), "{:#}", quality("runs"));
    // By the mean rule far fewer observations than requests.
    let counted = &rollout(&program, "means")["report"]["gates"][0];
    let counted = counted["n"].as_u64().unwrap() + counted["n_baseline"].as_u64().unwrap();
    assert!(counted < samples[2].len() as u64 / 2, "{counted} of {}", samples[2].len());
    for name in names {
        let replayed = program.ok(&["rollout", "replay", name]);
        assert!(replayed.contains("come out as they are stored"), "{replayed}");
    }
}

/// Nobody's code runs because a line was forgotten.
#[test]
fn code_does_not_run_unless_it_is_allowed_and_bad_code_is_a_bad_answer() {
    let rig = Rig::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cutover.toml");
    let scorer = "kind = \"code-runs\"\ncommand = [\"/bin/sh\"]";
    std::fs::write(&file, rig.config(&[use_case("runs", PROVED_IN_SHADOW, scorer)])).unwrap();
    let mut check = std::process::Command::new(BINARY);
    check.env_clear().env("HOME", folder.path()).env("CUTOVER_CONFIG", &file).arg("check");
    let output = check.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("runs code that a model wrote") && said.contains("allow = true"),
        "{said}"
    );
    rig.own.always(Reply::text("```sh\nexit 1\n```").pace(Duration::from_millis(2)));
    let allowed = format!("{scorer}\nallow = true");
    let program =
        Program::start(BINARY, &rig.config(&[use_case("runs", PROVED_IN_SHADOW, &allowed)]));
    program.ok(&["rollout", "start", "runs"]);
    let running = load(&program, "runs", 100_000);
    wait::until("the rollback", || {
        rollout(&program, "runs")["state"]["phase"]["phase"] == "rolled_back"
    });
    assert_all_good(&running.stop());
    let explained = program.ok(&["rollout", "explain"]);
    assert!(explained.contains("`quality >= 0.6 x baseline` fails"), "{explained}");
}

/// What has no number is missing, with its reason; and what is missing never moves anybody.
#[test]
fn a_scorer_that_crashes_hangs_or_has_no_number_never_advances() {
    let rig = Rig::new();
    let asked = AtomicUsize::new(0);
    let scores = Receiver::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) % 3 {
        0 => (500, String::new()),
        1 => (200, r#"{"baseline": NaN, "candidate": 1.0}"#.to_owned()),
        _ => {
            // Longer than the scorer's time; the thread ends with the test's process.
            std::thread::park_timeout(Duration::from_secs(20));
            (200, r#"{"baseline": 1.0, "candidate": 1.0}"#.to_owned())
        }
    });
    let url = scores.base_url();
    let judge =
        Fake::start_with(Setup::new(Persona::OpenAi).name("judge").models(&["mistral-small"]));
    judge.always(Reply::text("Both answers have their merits, I would say."));
    let court = format!(
        "\n[upstreams.court]\nprovider = \"openai-compatible\"\ninstances = [\"{}/v1\"]\n\
         [variants.referee]\nupstream = \"court\"\nmodel = \"mistral-small\"\n",
        judge.base_url()
    );
    let program = Program::start(
        BINARY,
        &(rig.config(&[
            use_case(
                "broken",
                PROVED_IN_SHADOW,
                &format!("kind = \"http\"\nurl = \"{url}/score\"\ntimeout_ms = 300"),
            ),
            use_case("prose", PROVED_IN_SHADOW, "kind = \"judge\"\nvariant = \"referee\""),
        ]) + &court),
    );
    for name in ["broken", "prose"] {
        program.ok(&["rollout", "start", name]);
    }
    let running = ["broken", "prose"].map(|name| load(&program, name, 100_000));
    let count = |name: &str, reason: &str| {
        rollout(&program, name)["scoring"]["unscored"][reason].as_u64().unwrap_or(0)
    };
    for reason in ["crashed", "not_a_number", "timed_out"] {
        wait::until(reason, || count("broken", reason) >= 3);
    }
    wait::until("prose", || count("prose", "unreadable_reply") >= 10);
    // What both arms returned is known without any score.
    for name in ["broken", "prose"] {
        let gate = || rollout(&program, name)["report"]["gates"][1].clone();
        wait::until("errors, judged", || gate()["verdict"] == "pass");
        assert_eq!(gate()["gate"], "errors");
    }
    for samples in running.map(Running::stop) {
        assert_all_good(&samples);
    }
    let looked = |name: &str| rollout(&program, name)["report"]["gates"][0]["verdict"] == "no_data";
    for name in ["broken", "prose"] {
        wait::until("a look", || looked(name));
        let now = rollout(&program, name);
        assert_eq!(
            (&now["state"]["step"], &now["state"]["weight"]),
            (&0.into(), &0.into()),
            "{now:#}"
        );
        let status = program.ok(&["rollout", "status", name]);
        assert!(status.contains("pairs without a score"), "{status}");
    }
    let status = program.ok(&["rollout", "status", "broken"]);
    for part in ["crashed", "not_a_number", "timed_out"] {
        assert!(status.contains(part), "{part} is missing in {status}");
    }
}
