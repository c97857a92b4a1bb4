//! Rollouts, scorers, residency and webhooks: what is read, what is refused, what is printed.

use std::path::Path;

use cutover_rollout::{Metric, Role, Spec, StepKind};
use cutover_units::{Millis, WeightBp};

use super::{EVERYTHING, docs, good, report, snapshot};
use crate::{Checked, KeepTexts, render_rollout};

/// Two arms and a use case that a rollout can be added to.
const GROUND: &str = r#"
default_upstream = "cloud"
[upstreams.cloud]
provider = "openai"
[upstreams.gpus]
provider = "ollama"
local = true
[variants.today]
upstream = "cloud"
model = "gpt-4o"
[variants.later]
upstream = "gpus"
model = "qwen"
[use_cases.u]
match = { model = "m" }
baseline = "today"
candidate = "later"
"#;

#[test]
fn a_step_that_waits_for_more_instances_than_there_are_is_warned_of() {
    let asks = |steps: &str| {
        let part = "gates = [\"errors <= baseline + 0.5 pp\"]";
        report(&format!("{GROUND}[use_cases.u.rollout]\n{part}\nsteps = [{steps}]"))
    };
    for steps in [
        r#""ramp 50% needs 2 instances", "100%""#,
        r#"{ name = "half", kind = "ramp", weight = "50%", min_instances = 2 }, "100%""#,
    ] {
        let told = asks(steps);
        let said = "the step waits for 2 instances, and the candidate's upstream has 1";
        assert!(told.contains(said), "{told}");
    }
    let told = asks(r#""canary 5%", "ramp 50% needs 1 instance", "100%""#);
    assert!(!told.contains("waits for"), "{told}");
}

fn no_files(path: &Path) -> Result<String, String> {
    Err(format!("{} is not there", path.display()))
}

fn spec(text: &str) -> Spec {
    let checked = good(&format!("{GROUND}{text}"));
    checked.rollout_spec(0, &no_files).expect("no files").expect("a rollout")
}

/// Reports with the place inside the part, which begins on line 1.
fn table(parts: &[&str]) -> String {
    let rows: Vec<_> = parts
        .iter()
        .map(|part| {
            let report = report(&format!("{GROUND}{part}"));
            format!("{}\n    => {}\n", part.trim(), report.trim_end().replace('\n', "\n       "))
        })
        .collect();
    rows.concat()
}

#[test]
fn the_defaults_are_those_of_a_draft() {
    let read = spec("[use_cases.u.rollout]\ngates = [\"errors <= baseline + 0.5 pp\"]");
    let draft = Spec::draft(read.use_case.clone(), read.baseline.clone(), read.candidate.clone());
    let steps = read.steps.clone();
    let mut expected = Spec { gates: read.gates.clone(), steps: steps.clone(), ..draft };
    expected.resolve_requires();
    expected.sources = read.sources;
    assert_eq!(read, expected);
    // The floors of a judge are those that the judge's own record knows.
    let floor = cutover_evals::judge::JudgeFloor::default();
    let own = (read.grader.agreement_min, read.grader.flip_rate_max);
    assert_eq!(own, (floor.agreement_min, floor.flip_rate_max));
    let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["canary 5%", "ramp 25%", "ramp 75%", "100%"], "no scorer, no shadow");
    assert!(steps.iter().all(|step| step.min_units == 100));
}

#[test]
fn with_a_scorer_the_usual_way_begins_in_the_shadow() {
    let read = spec(
        "[use_cases.u.rollout]\ngates = [\"quality >= 0.95 x baseline\"]\n\
         [use_cases.u.scorer]\nkind = \"normalised-match\"",
    );
    assert_eq!(read.steps[0].kind, StepKind::Shadow);
    assert_eq!(read.steps[0].requires, ["quality"]);
    let scorer = read.scorer.expect("there is one");
    assert!(scorer.starts_with("normalised-match@") && scorer.len() > 60, "{scorer}");
}

#[test]
fn both_forms_of_gates_and_steps_are_read() {
    let checked = good(EVERYTHING);
    let at = checked.use_cases.iter().position(|u| u.name.as_str() == "notes").expect("there");
    let read = |path: &Path| match path.to_str() {
        Some("schemas/note.json") => Ok("{\"type\":\"object\"}".to_owned()),
        other => Err(format!("{other:?}")),
    };
    let spec = checked.rollout_spec(at, &read).expect("read").expect("there");
    let gates: Vec<_> = spec.gates.iter().map(|g| (g.id.as_str(), g.claim(), g.role)).collect();
    let expected = [
        ("quality", "quality >= 0.95 x baseline", Role::Required),
        ("p5-tokens", "p5 tokens/s >= 20", Role::Signal),
        ("errors-live", "errors <= baseline + 0.5 pp", Role::Required),
        ("p90-ratio", "p90 <= 1.25 x baseline", Role::Required),
        ("fallback", "fallback <= 15%", Role::DryRun),
        ("cost", "cost <= 2.50 USD per 1000", Role::Required),
        ("privacy", "privacy", Role::Required),
    ];
    let expected: Vec<_> = expected.map(|(id, claim, role)| (id, claim.to_owned(), role)).into();
    assert_eq!(gates, expected);
    let step = &spec.steps[1];
    assert_eq!((step.name.as_str(), step.kind), ("first", StepKind::Canary));
    assert_eq!(step.weight, WeightBp::new(500).expect("a weight"));
    assert_eq!(step.max_duration, Some(Millis(3 * 86_400_000)));
    assert_eq!(step.requires, ["errors-live"]);
    let schedule = step.schedule.as_ref().expect("given");
    assert_eq!((schedule.days.len(), schedule.from_minute), (5, 540));
    let units: Vec<_> = spec.steps.iter().map(|step| step.min_units).collect();
    assert_eq!(units, [400, 200, 150, 150]);
    assert_eq!(spec.alarm_run_length, 100 * 24 * 60);
    let case = &checked.use_cases[at];
    assert_eq!(case.shadow.keep, KeepTexts::None);
    assert_eq!(case.scorer.as_ref().expect("given").budget_per_day, None);
    let scorer = checked.scorer_spec(at, &read).expect("read").expect("there");
    assert_eq!(scorer.options()["schema"], "{\"type\":\"object\"}");
    let missing = checked.rollout_spec(at, &no_files).expect_err("a file is missing");
    assert_eq!(missing.key, "use_cases.notes.scorer.schema");
}

#[test]
fn the_full_form_of_the_example() {
    let text = std::fs::read_to_string(docs("examples/rollout.toml")).expect("readable");
    let checked = good(&text);
    snapshot("rollout_full_form", &render_rollout(&checked, 0));
    assert_eq!(render_rollout(&good(GROUND), 0), "");
}

fn identity(text: &str, file: &str) -> String {
    let checked: Checked = good(text);
    let at = checked.variants.iter().position(|v| v.name.as_str() == "later").expect("there");
    checked.identity(at, &|_| Ok(file.to_owned())).expect("readable").digest
}

#[test]
fn an_identity_changes_with_all_that_makes_answers_and_with_nothing_else() {
    let plain = identity(GROUND, "");
    assert_eq!(plain.len(), 64);
    let with =
        |more: &str| GROUND.replace("model = \"qwen\"", &format!("model = \"qwen\"\n{more}"));
    for other in [
        "temperature = 0.2",
        "top_p = 0.9",
        "seed = 1",
        "max_tokens = 5",
        "tools = true",
        "unsupported = \"lenient\"",
        "system_prompt = \"x\"",
        "ollama = { num_ctx = 1000 }",
        "system_prompt = { file = \"p.txt\" }",
    ] {
        assert_ne!(identity(&with(other), "one"), plain, "{other}");
    }
    let file = with("system_prompt = { file = \"p.txt\" }");
    assert_ne!(identity(&file, "one"), identity(&file, "two"), "the text counts, not the path");
    assert_eq!(identity(&file, "x"), identity(&with("system_prompt = \"x\""), ""));
    let price = "price = { input_usd_per_mtok = 1, output_usd_per_mtok = 1 }";
    assert_eq!(identity(&with(price), ""), plain);
    let moved = GROUND.replace("local = true", "base_url = \"http://gpu-9:11434\"\nlocal = true");
    assert_eq!(identity(&moved, ""), plain, "instances come and go");
}

#[test]
fn gates_are_read_by_their_meaning() {
    let read = spec(
        "[use_cases.u.rollout]\ngates = [{ metric = \"errors\", ratio = 1 }, \
         \"p95 <= 4 s\", { metric = \"token_rate\", limit = \"20\", role = \"signal\" }]",
    );
    let metrics: Vec<_> = read.gates.iter().map(|gate| (gate.metric, gate.role)).collect();
    let expected = [
        (Metric::Errors, Role::Rollback),
        (Metric::Duration, Role::Required),
        (Metric::TokenRate, Role::Signal),
    ];
    assert_eq!(metrics, expected);
}

#[test]
fn rollouts() {
    let rollout = |rest: &str| format!("[use_cases.u.rollout]\n{rest}");
    let gates = |gates: &str| rollout(&format!("gates = [{gates}]"));
    let steps = |steps: &str| {
        rollout(&format!("gates = [\"errors <= baseline + 0.5 pp\"]\nsteps = [{steps}]"))
    };
    let more = |rest: &str| rollout(&format!("gates = [\"errors <= baseline + 0.5 pp\"]\n{rest}"));
    let parts = [
        rollout(""),
        rollout("gate = []\nstages = []"),
        gates(""),
        gates("5"),
        gates("\"quallity >= 0.95 x baseline\""),
        gates("\"errors < 2%\""),
        gates("\"p95 <= 4\""),
        gates("\"p95 <= 4 s (sgnal)\""),
        gates("\"quality >= 0.95 x baseline\""),
        gates("\n  \"errors <= baseline + 0.5 pp\",\n  \"errors <= baseline + 0 pp\""),
        gates("{ metric = \"errors\", margin_pp = 0 }"),
        gates("{ metric = \"erors\", margin_pp = 1 }"),
        gates("{ metric = \"errors\" }"),
        gates("{ metric = \"errors\", ratio = 1, limit = \"2%\" }"),
        gates("{ metric = \"quality\", limit = \"2%\" }"),
        gates("{ metric = \"errors\", threshold = \"2%\" }"),
        gates("{ metric = \"privacy\", limit = \"0\" }"),
        gates("\"errors <= 2%\", \"errors <= 3%\""),
        steps("\"cannary 5%\", \"100%\""),
        steps("\"canary 5% fro 1 h\", \"100%\""),
        steps("\"ramp 50%\",\n  \"ramp 25%\",\n  \"100%\""),
        steps("\"ramp 50%\", { kind = \"ramp\",\n weight = \"25%\" }, \"100%\""),
        steps("\"ramp 50%\""),
        steps("\"100%\", \"100% for 2 d\""),
        steps("{ kind = \"canary\" }, \"100%\""),
        steps("{ kind = \"shadow\", weight = \"5%\" }, \"100%\""),
        steps("{ kind = \"canary\", weight = \"5%\", requires = [\"erors\"] }, \"100%\""),
        steps("{ kind = \"canary\", weight = \"5%\", schedule = \"weekdays\" }, \"100%\""),
        steps("\"canary 5% for 2 d until 1 d\", \"100%\""),
        steps(""),
        more("levels = { promote = 0.5 }"),
        more("levels = { promote = 1.5 }"),
        more("levels = { alpha = 0.05 }"),
        more("alarm_every = \"1 min\""),
        more("stale_after = \"30 s\""),
        more("on_inconclusive = \"advance\""),
        more("interval = \"10 ms\""),
        more("interval = 30"),
    ];
    snapshot("rollouts", &table(&parts.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn rollouts_that_do_not_fit_their_use_case() {
    let no_candidate = GROUND.replace("candidate = \"later\"\n", "");
    let request =
        GROUND.replace("[use_cases.u]\n", "[use_cases.u]\nunit = \"request\"\nweight = \"5%\"\n");
    let rollout = "[use_cases.u.rollout]\ngates = [\"errors <= baseline + 0.5 pp\"]";
    let local = |ground: &str| {
        ground.replace("[use_cases.u]\n", "[use_cases.u]\nresidency = \"local-only\"\n")
    };
    let both_local = GROUND.replace("[upstreams.cloud]", "[upstreams.cloud]\nlocal = true");
    let judge = "[use_cases.u.scorer]\nkind = \"judge\"\nvariant = \"today\"";
    let family = "[use_cases.u.scorer]\nkind = \"judge\"\nvariant = \"later\"\n";
    let quality = "[use_cases.u.rollout]\ngates = [\"quality >= 0.9 x baseline\"]\n";
    let http = "[use_cases.u.scorer]\nkind = \"http\"\nurl = \"https://example.com/score?x=1\"";
    let texts = [
        format!("{no_candidate}{rollout}"),
        format!("{request}{rollout}"),
        local(GROUND),
        local(GROUND)
            .replace("baseline = \"today\"", "baseline = \"later\"")
            .replace("candidate = \"later\"\n", ""),
        local(&both_local),
        format!(
            "{}{judge}",
            local(
                &GROUND
                    .replace("baseline = \"today\"", "baseline = \"later\"")
                    .replace("candidate = \"later\"\n", "")
            )
        ),
        format!("{GROUND}{family}"),
        format!("{GROUND}{family}{quality}"),
        format!("{}{http}", local(&both_local)),
        local(GROUND).replace("local-only", "local"),
    ];
    let reports: Vec<_> =
        texts.iter().map(|text| format!("=> {}\n", report(text).trim_end())).collect();
    snapshot("rollouts_that_do_not_fit", &reports.concat());
}

#[test]
fn scorers_shadows_and_webhooks() {
    let scorer = |rest: &str| format!("[use_cases.u.scorer]\n{rest}");
    let quality = "[use_cases.u.rollout]\ngates = [\"quality >= 0.95 x baseline\"]\n";
    let parts = [
        scorer(""),
        scorer("kind = \"json-field\""),
        scorer("kind = \"telepathy\""),
        scorer("kind = \"json-fields\"\nmetrik = \"f1\""),
        scorer("kind = \"json-fields\"\nmetric = \"f2\""),
        scorer("kind = \"json-fields\"\nfields = \"a\""),
        scorer("kind = \"json-schema\""),
        scorer("kind = \"json-schema\"\nschema = { type = \"object\" }"),
        scorer("kind = \"numeric\"\nrelative = 2"),
        scorer("kind = \"numeric\"\nabsolute = nan"),
        scorer("kind = \"regex\"\nmust_match = [\"(\"]"),
        scorer("kind = \"judge\"\nvariant = \"latr\""),
        scorer("kind = \"judge\""),
        scorer("kind = \"exact-match\"\nconcurrency = 0\nbudget_per_day = \"lots\""),
        format!("{quality}{}", scorer("kind = \"embedding-similarity\"\nvariant = \"later\"")),
        "[use_cases.u.shadow]\nkeep = \"redact\"\nretention = \"30 min\"\nbudget = 5".to_owned(),
        "[webhooks.x]".to_owned(),
        "[webhooks.x]\nurl = \"hooks.example.com\"".to_owned(),
        "[webhooks.x]\nurl = \"https://user:pw@example.com/\"".to_owned(),
        "[webhooks.x]\nurl = \"https://example.com/\"\nsecret = \"s3cret\"".to_owned(),
        "[webhooks.x]\nurl = \"https://example.com/\"\nevents = [\"promoted\"]".to_owned(),
        "[webhooks.x]\nurl = \"https://example.com/\"\nevents = []".to_owned(),
    ];
    snapshot(
        "scorers_shadows_webhooks",
        &table(&parts.iter().map(String::as_str).collect::<Vec<_>>()),
    );
}

#[test]
fn a_webhooks_url_is_its_secret() {
    let text =
        "[webhooks.x]\nurl = \"https://example.com/T0K3N\"\n[upstreams.e]\nprovider = \"embedded\"";
    assert!(!format!("{:?}", good(text)).contains("T0K3N"));
}

#[test]
fn an_approval_is_worth_what_its_names_are_worth() {
    let rollout = "[use_cases.u.rollout]\ngates = [\"errors <= 2%\"]\n\
        steps = [\"canary 5%\", \"ramp 50% after approval by ann, bob\", \"100%\"]\n";
    let own = "[admin.operators.ann]\ntoken = { env = \"ANN\" }\n";
    let warned = |text: &str| -> Vec<_> {
        let checked = good(&format!("{GROUND}{text}"));
        let said = checked.warnings.iter().filter(|problem| problem.message.contains("approve"));
        said.map(|problem| format!("{problem}")).collect()
    };
    let both = warned(rollout);
    assert!(both[0].contains("approve as ann or bob") && both[0].contains("[admin.operators.ann]"));
    let one = warned(&format!("{rollout}{own}"));
    assert!(one[0].contains("approve as bob, who"), "{one:?}");
    let wrong =
        report(&format!("{GROUND}{rollout}[admin.operators.controller]\ntoken = \"s3cret\"\n"));
    for part in ["controller's own name", "a secret never stands in the file itself"] {
        assert!(wrong.contains(part), "{wrong}");
    }
    assert!(!wrong.contains("s3cret"));
}

#[test]
fn gates_without_a_source_are_refused_where_the_file_says_so() {
    let refused = |gate: &str, more: &str| {
        let rollout = format!("[use_cases.u.rollout]\ngates = [\"errors <= 2%\", \"{gate}\"]\n");
        report(&format!("{GROUND}{rollout}{more}"))
    };
    let said = refused("invalid <= baseline + 1 pp", "");
    assert!(said.contains("`invalid` without a scorer"), "{said}");
    let exact = "[use_cases.u.scorer]\nkind = \"exact-match\"\n";
    let said = refused("invalid <= baseline + 1 pp", exact);
    assert!(said.contains("does not look at the form"), "{said}");
    let said = refused("cost <= 2.50 USD per 1000", "");
    assert!(said.contains("nobody knows the price of the candidate, later"), "{said}");
}
