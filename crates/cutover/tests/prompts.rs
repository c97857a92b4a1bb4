//! Prompts from end to end: the real program, a scripted upstream, and what that upstream was sent.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::PathBuf;
use std::time::Duration;

use cutover_testkit::arms::{one_arm, two_arms};
use cutover_testkit::fake::{Fake, Persona, Reply, Setup};
use cutover_testkit::load::{Load, assert_all_good};
use cutover_testkit::program::Program;
use cutover_testkit::{raw, wait};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// The variant without and with its prompt; everything else stays.
const PLAIN: &str = "";
const LABELLED: &str = r#"prompt = "extraction@production"
vars = { bank = "N26" }
"#;

struct Rig {
    fake: Fake,
    program: Program,
    files: tempfile::TempDir,
}

fn config(fake: &Fake, provider: &str, keys: &str) -> String {
    let base = fake.base_url();
    let base = if provider == "ollama" { base } else { format!("{base}/v1") };
    let upstream = format!("provider = \"{provider}\"\ninstances = [\"{base}\"]");
    one_arm("own", &upstream, &format!("model = \"fake-model\"\n{keys}"))
}

impl Rig {
    /// With the first version labelled, and the variant on the label.
    fn start(provider: &str, persona: Persona) -> Self {
        let fake = Fake::start_with(Setup::new(persona));
        fake.always(Reply::text("done"));
        let program = Program::start(BINARY, &config(&fake, provider, PLAIN));
        let files = tempfile::tempdir().unwrap();
        let mut rig = Self { fake, program, files };
        let one = rig.file("one.txt", "You read statements of {{ vars.bank }}.");
        let told = rig.cli(&["prompt", "add", "extraction", &one, "--label", "production"]);
        assert_eq!(told, "extraction@1: added; production is on it (generation 1)\n");
        rig.take(provider, LABELLED);
        rig
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn cli(&self, arguments: &[&str]) -> String {
        self.program.ok(arguments)
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.program.cli(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    fn admin(&self, line: &str, body: &str) -> Value {
        let token = std::fs::read_to_string(self.program.state().join("admin-token")).unwrap();
        let header = format!("authorization: Bearer {}", token.trim());
        raw::exchange(self.program.admin_url(), line, &[&header], body).unwrap().json()
    }

    fn reload(&self) -> Value {
        self.admin("POST /admin/reload", "{}")
    }

    fn take(&mut self, provider: &str, keys: &str) {
        let config = config(&self.fake, provider, keys);
        self.program.write_config(&config);
        let reloaded = self.reload();
        assert_eq!(reloaded["loaded"], true, "{reloaded}");
    }

    /// One request; the version that the answer names, and what the upstream was sent.
    fn ask(&self, line: &str, body: &Value) -> (Option<String>, Value) {
        let headers = ["anthropic-version: 2023-06-01"];
        let response = raw::exchange(self.program.url(), line, &headers, body.to_string()).unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        let prompt = response.header("x-cutover-prompt").map(str::to_owned);
        let sent = self.fake.inferences().pop().unwrap();
        (prompt, serde_json::from_slice(&sent.body).unwrap())
    }

    fn chat(&self) -> (Option<String>, Value) {
        let body = json!({"model": "app", "messages": [{"role": "user", "content": "hi"}]});
        let (prompt, sent) = self.ask("POST /v1/chat/completions", &body);
        (prompt, sent["messages"][0]["content"].clone())
    }
}

fn version(prompt: Option<String>) -> String {
    prompt.unwrap_or_else(|| "none".to_owned())
}

#[test]
fn a_moved_label_changes_what_is_sent_and_moving_it_back_does_too() {
    let mut rig = Rig::start("vllm", Persona::Vllm);
    let (prompt, system) = rig.chat();
    assert_eq!(
        (version(prompt), system),
        ("extraction@1".into(), json!("You read statements of N26."))
    );

    let two = rig
        .file("two.txt", "@@ system append\nAnswer with {{ model }}.\n@@ user before\nSTATEMENT\n");
    assert_eq!(
        rig.cli(&["prompt", "add", "extraction", &two, "--note", "shorter"]),
        "extraction@2: added\n"
    );
    assert_eq!(
        version(rig.chat().0),
        "extraction@1",
        "a version without its label changed traffic"
    );

    let output =
        rig.program.cli(&["prompt", "label", "extraction", "2", "production", "--actor", "ann"]);
    let (told, effects) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(told, "extraction@production is on version 2 (generation 2)\n");
    assert_eq!(effects, "variant own answers with extraction@2 instead of extraction@1\n");
    // In force when the command has ended, not a second later.
    let own = json!([{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]);
    let (prompt, sent) =
        rig.ask("POST /v1/chat/completions", &json!({"model": "app", "messages": own}));
    assert_eq!(version(prompt), "extraction@2");
    let expected = json!([
        {"role": "system", "content": "S\n\nAnswer with fake-model."},
        {"role": "user", "content": "STATEMENT\n\nhi"},
    ]);
    assert_eq!(sent["messages"], expected);

    // A reload keeps the version, and so does a crash.
    assert_eq!(rig.reload()["loaded"], true);
    assert_eq!(version(rig.chat().0), "extraction@2");
    rig.program.kill();
    rig.program.start_again();
    assert_eq!(version(rig.chat().0), "extraction@2");

    rig.cli(&["prompt", "label", "extraction", "1", "production", "--reason", "dates are wrong"]);
    assert_eq!(rig.chat(), (Some("extraction@1".into()), json!("You read statements of N26.")));
    let list = rig.cli(&["prompt", "list"]);
    for part in [
        "extraction@1  production",
        "extraction@2  -",
        "shorter",
        "on version 1 since",
        ": dates are wrong",
    ] {
        assert!(list.contains(part), "{part:?} is missing in {list}");
    }
    assert_eq!(
        rig.cli(&["prompt", "show", "extraction@2"]).lines().next(),
        Some("@@ system append")
    );
    let difference = rig.program.cli(&["prompt", "diff", "extraction@production", "extraction@2"]);
    assert_eq!(difference.status.code(), Some(1));
    let difference = String::from_utf8(difference.stdout).unwrap();
    assert!(difference.contains("-You read statements of {{ vars.bank }}.\n"), "{difference}");
    assert!(difference.contains("+@@ system append\n"), "{difference}");
    assert!(!rig.program.log().contains("You read statements"));
    records_name_their_version(&mut rig);
}

/// The versions of all requests, in their order, as they were written when the program ended.
fn records_name_their_version(rig: &mut Rig) {
    rig.program.terminate();
    let database = rusqlite::Connection::open(rig.program.state().join("cutover.db")).unwrap();
    let mut records = database.prepare("SELECT prompt FROM records ORDER BY id").unwrap();
    let versions: Vec<Option<String>> =
        records.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let versions: Vec<_> = versions.into_iter().map(Option::unwrap).collect();
    let (one, two) = ("extraction@1", "extraction@2");
    // The crash may have taken the records of its last moments with it.
    assert_eq!(versions.first().map(String::as_str), Some(one));
    assert_eq!(versions.last().map(String::as_str), Some(one));
    assert!(versions.iter().any(|version| version == two), "{versions:?}");
}

#[test]
fn what_would_break_traffic_is_refused_and_changes_nothing() {
    let mut rig = Rig::start("vllm", Persona::Vllm);
    let bad = rig.file("bad.txt", "Good.\n{{ vars.bank }\n");
    let told = rig.refused(&["prompt", "add", "extraction", &bad]);
    assert!(told.starts_with(&format!("error: {bad}:2: ")), "{told}");
    for (text, part) in [
        ("{% include '/etc/passwd' %}", ":1: {% include %} is not available"),
        ("a\n\n{{ secrets }}", ":3: there is no value \"secrets\""),
        ("", ":1: the prompt is empty"),
    ] {
        let bad = rig.file("bad.txt", text);
        let told = rig.refused(&["prompt", "add", "extraction", &bad]);
        assert!(told.contains(part), "{told}");
    }
    // A good template that this config does not fill in.
    let unfit = rig.file("unfit.txt", "Good.\n{{ vars.country }}");
    let told = rig.refused(&["prompt", "add", "extraction", &unfit, "--label", "production"]);
    assert!(told.contains("variants.own.vars: extraction@2, line 2, uses vars.country"), "{told}");
    assert!(!rig.cli(&["prompt", "list"]).contains("extraction@2"));
    rig.cli(&["prompt", "add", "extraction", &unfit]);
    let told = rig.refused(&["prompt", "label", "extraction", "2", "production"]);
    assert!(told.contains("line 2, uses vars.country"), "{told}");
    let told = rig.refused(&["prompt", "label", "extraction", "9", "production"]);
    assert!(told.contains("prompt extraction has no version 9; the newest is 2"), "{told}");
    let told = rig.refused(&["prompt", "label", "extraction", "1", "production", "--expect", "7"]);
    assert!(told.contains("at generation 1, not 7: another move came first"), "{told}");
    let told = rig.refused(&["prompt", "show", "extraction@live"]);
    assert!(told.contains("has no label \"live\"; it has production"), "{told}");
    assert_eq!(version(rig.chat().0), "extraction@1");

    // A label that leads nowhere: told with its line, and what serves goes on.
    let text = config(&rig.fake, "vllm", "prompt = \"extraction@live\"\n");
    rig.program.write_config(&text);
    let reloaded = rig.reload();
    let problem = reloaded["problems"][0].as_str().unwrap();
    assert_eq!(reloaded["loaded"], false);
    assert!(
        problem.contains("cutover.toml:") && problem.contains("no label \"live\""),
        "{problem}"
    );
    assert_eq!(version(rig.chat().0), "extraction@1");
    let file = rig.program.config_file().display().to_string();
    let told = rig.refused(&["check", &file]);
    assert!(told.contains("variants.own.prompt: prompt extraction has no label"), "{told}");
}

#[test]
fn every_dialect_and_streams_get_the_prompt() {
    let user = json!([{"role": "user", "content": "hi"}]);
    for (provider, persona) in [("vllm", Persona::Vllm), ("ollama", Persona::Ollama)] {
        let rig = Rig::start(provider, persona);
        for (line, body) in [
            ("POST /v1/chat/completions", json!({"model": "app", "messages": user})),
            (
                "POST /v1/chat/completions",
                json!({"model": "app", "messages": user, "stream": true}),
            ),
            ("POST /v1/responses", json!({"model": "app", "input": "hi"})),
            ("POST /v1/responses", json!({"model": "app", "input": "hi", "stream": true})),
            ("POST /v1/messages", json!({"model": "app", "messages": user, "max_tokens": 9})),
            (
                "POST /v1/messages",
                json!({"model": "app", "messages": user, "max_tokens": 9, "stream": true}),
            ),
            ("POST /api/chat", json!({"model": "app", "messages": user, "stream": false})),
            ("POST /api/chat", json!({"model": "app", "messages": user})),
        ] {
            let (prompt, sent) = rig.ask(line, &body);
            assert_eq!(version(prompt), "extraction@1", "{provider} {line} {body}");
            let first = &sent["messages"][0];
            assert_eq!(first["role"], "system", "{provider} {line}");
            assert_eq!(first["content"], "You read statements of N26.", "{provider} {line}");
        }
    }
}

#[test]
fn a_prompt_can_depend_on_the_request() {
    let mut rig = Rig::start("vllm", Persona::Vllm);
    let two =
        rig.file("two.txt", "{{ metadata.country }}, {{ metadata.tone | default('polite') }}");
    rig.cli(&["prompt", "add", "extraction", &two]);
    let keys = "prompt = \"extraction@2\"\nprompt_metadata = [\"country\", \"tone\"]\n\
                system_role = \"user\"\nformat_instruction = \"JSON only.\"\nstop = [\"END\"]\n";
    rig.take("vllm", keys);
    let user = json!([{"role": "user", "content": "hi"}]);
    let body = json!({"model": "app", "messages": user, "metadata": {"country": "{{ model }}"}});
    let (prompt, sent) = rig.ask("POST /v1/chat/completions", &body);
    assert_eq!(version(prompt), "extraction@2");
    let expected = "{{ model }}, polite\n\nJSON only.\n\nhi";
    assert_eq!(sent["messages"], json!([{"role": "user", "content": expected}]));
    assert_eq!(sent["stop"], json!(["END"]));

    // In dialects that have no metadata, or other, too.
    for (path, more) in
        [("POST /v1/messages", json!({"max_tokens": 9})), ("POST /api/chat", json!({}))]
    {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let sent = rig.ask(path, &body).1;
        let content = sent["messages"][0]["content"].to_string();
        assert!(content.contains("{{ model }}, polite"), "{path}: {content}");
    }

    let without = json!({"model": "app", "messages": user}).to_string();
    let answer =
        raw::exchange(rig.program.url(), "POST /v1/chat/completions", &[], without).unwrap();
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!(error["param"], "metadata");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("extraction@2") && message.contains("line 1: a value is not defined"),
        "{message}"
    );
}

#[test]
fn of_many_movers_who_read_the_same_one_wins() {
    let rig = Rig::start("vllm", Persona::Vllm);
    for at in 2..=4 {
        let file = rig.file("next.txt", &format!("Version {at} of {{{{ vars.bank }}}}."));
        rig.cli(&["prompt", "add", "extraction", &file]);
    }
    let results: Vec<bool> = std::thread::scope(|scope| {
        let moving = (2..=4).map(|version: u32| {
            let rig = &rig;
            scope.spawn(move || {
                let number = version.to_string();
                let move_it =
                    ["prompt", "label", "extraction", &number, "production", "--expect", "1"];
                rig.program.cli(&move_it).status.success()
            })
        });
        let moving: Vec<_> = moving.collect();
        moving.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|won| **won).count(), 1, "{results:?}");
    let winner = results.iter().position(|won| *won).unwrap() + 2;
    wait::until("the winner's version", || rig.chat().0 == Some(format!("extraction@{winner}")));
}

#[test]
fn without_a_running_cutover_the_state_directory_is_changed() {
    let mut rig = Rig::start("vllm", Persona::Vllm);
    rig.program.kill();
    let two = rig.file("two.txt", "Two.");
    let told = rig.cli(&["prompt", "add", "extraction", &two, "--label", "production"]);
    assert_eq!(told, "extraction@2: added; production is on it (generation 2)\n");
    assert_eq!(
        rig.cli(&["prompt", "add", "extraction", &two]),
        "extraction@2: there already, with this very text\n"
    );
    rig.program.start_again();
    assert_eq!(rig.chat(), (Some("extraction@2".into()), json!("Two.")));
}

/// A rollout whose candidate answers with a labelled prompt. It comes to its first ramp and stays there.
const ROLLOUT: &str = r#"
[use_cases.app.rollout]
gates = ["quality >= 0.6 x baseline", "errors <= baseline + 20 pp"]
steps = ["shadow 100% for 1 s", "canary 20% for 1 s", "ramp 40% for 1 h", "100% for 1 s"]
interval = "1 s"
min_units = 20

[use_cases.app.scorer]
kind = "exact-match"

[use_cases.app.shadow]
concurrency = 4
live_limit = 16
unpriced = true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_moves_under_a_rollout_begins_its_evidence_anew_and_says_so() {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    let own = Fake::start_with(Setup::new(Persona::Vllm).name("own"));
    for fake in [&cloud, &own] {
        fake.always(Reply::text("the sum is 42").pace(Duration::from_millis(2)));
    }
    let ground = two_arms(&cloud.base_url(), &own.base_url());
    let mut program = Program::start(BINARY, &ground);
    let files = tempfile::tempdir().unwrap();
    for (number, text) in [("1", "Be brief."), ("2", "Be long.")] {
        let path = files.path().join(number);
        std::fs::write(&path, text).unwrap();
        program.ok(&["prompt", "add", "tone", &path.display().to_string()]);
    }
    program.ok(&["prompt", "label", "tone", "1", "production"]);
    let labelled = "[variants.new]\nprompt = \"tone@production\"";
    program.write_config(&(ground.replace("[variants.new]", labelled) + ROLLOUT));
    assert_eq!(program.admin("POST /admin/reload", "{}").json()["loaded"], true);
    let mut load = Load::new(program.url(), "none", "app");
    load.units = 1_000_000;
    "x-customer-id".clone_into(&mut load.unit_header);
    let running = load.start();
    program.ok(&["rollout", "start", "app"]);
    let state = || program.admin("GET /admin/rollouts/app", "").json()["state"].clone();
    wait::until_async("the canary", || state()["step"].as_u64() >= Some(1)).await;
    let before = state();

    // Who names another label disturbs nobody.
    program.ok(&["prompt", "label", "tone", "2", "trial"]);
    let output = program.cli(&["prompt", "label", "tone", "2", "production"]);
    let effects = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && effects.contains("begins its evidence anew"), "{effects}");
    let restarted = || state()["spec_hash"] != before["spec_hash"];
    wait::until_async("the new spec", restarted).await;
    let history = program.ok(&["rollout", "history", "app", "--json"]);
    let history: Value = serde_json::from_str(&history).unwrap();
    let decisions = history["decisions"].as_array().unwrap();
    let restarts: Vec<&Value> =
        decisions.iter().filter(|one| one["decision"]["action"] == "restart").collect();
    assert_eq!((restarts.len(), &history["chain"]["intact"]), (1, &json!(true)), "{history}");
    // It goes on with the new prompt, and comes to its ramp by new evidence.
    wait::until_async("the ramp", || state()["step"].as_u64() >= Some(2)).await;
    assert_all_good(&running.stop());
    let last = own.inferences().pop().unwrap().json();
    assert_eq!(last["messages"][0]["content"], "Be long.");
    let replayed = program.ok(&["rollout", "replay", "app"]);
    assert!(replayed.contains("decisions come out as they are stored"), "{replayed}");
}

/// Such a start ended at once, and a supervisor tried again for ever; served without the prompt, each answer would have
/// been another variant's.
#[test]
fn a_start_that_cannot_read_the_prompts_answers_no_chat_that_needs_one_serves_all_others_and_heals()
{
    let mut rig = Rig::start("vllm", Persona::Vllm);
    let plain = |label: &str| {
        let keys = format!("prompt = \"extraction@{label}\"\nvars = {{ bank = \"N26\" }}\n");
        let other = "\n[variants.other]\nupstream = \"own\"\nmodel = \"fake-model\"\n\
                     [use_cases.plain]\nmatch = { model = \"plain\" }\nbaseline = \"other\"\n";
        config(&rig.fake, "vllm", &keys) + other
    };
    let (good, elsewhere) = (plain("production"), plain("live"));
    rig.program.write_config(&good);
    let chat = |rig: &Rig, model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        raw::exchange(rig.program.url(), "POST /v1/chat/completions", &[], body.to_string())
            .unwrap()
    };
    let ready = |rig: &Rig| raw::exchange(rig.program.admin_url(), "GET /ready", &[], "").unwrap();
    let (there, away) =
        (rig.program.state().join("cutover.db"), rig.program.state().join("away.db"));
    for damaged in [false, true] {
        rig.program.terminate();
        std::fs::rename(&there, &away).unwrap();
        if damaged {
            std::fs::write(&there, "no database at all, for many bytes ".repeat(200)).unwrap();
        }
        rig.program.start_again_until("GET /health");
        let served = rig.fake.inferences().len();
        let refused = chat(&rig, "app");
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.json()["error"]["code"], "prompt_unavailable");
        assert_eq!(rig.fake.inferences().len(), served, "it was sent without its prompt");
        assert_eq!(chat(&rig, "plain").status, 200);
        let said = ready(&rig);
        assert_eq!(said.status, 503);
        let part = "extraction@production, the prompt of variant own";
        assert!(said.text().contains(part), "{}", said.text());
        // A file is taken that lets none answer worse than now, and no other.
        assert_eq!(rig.reload()["loaded"], true);
        let needy = good
            .replace("[variants.other]", "[variants.other]\nprompt = \"extraction@production\"");
        rig.program.write_config(&needy);
        let problem = rig.reload()["problems"][0].as_str().unwrap().to_owned();
        assert!(problem.contains("variants.other.prompt: the prompts cannot be read"), "{problem}");
        assert_eq!(chat(&rig, "plain").status, 200);
        rig.program.write_config(&good);
        std::fs::rename(&away, &there).unwrap();
        wait::until("the prompts to be taken over", || chat(&rig, "app").status == 200);
        assert_eq!(version(rig.chat().0), "extraction@1");
        wait::until("it to be ready", || ready(&rig).status == 200);
        assert!(rig.program.log().contains("the prompts cannot be read"));
    }
    // One that leads nowhere holds up its own use case, and is mended by its label.
    rig.program.terminate();
    rig.program.write_config(&elsewhere);
    std::fs::rename(&there, &away).unwrap();
    rig.program.start_again_until("GET /health");
    assert_eq!(chat(&rig, "app").status, 503);
    std::fs::rename(&away, &there).unwrap();
    let part = "prompt extraction has no label \\\"live\\\"";
    wait::until("the reason to be told", || ready(&rig).text().contains(part));
    assert_eq!((chat(&rig, "app").status, chat(&rig, "plain").status), (503, 200));
    rig.cli(&["prompt", "label", "extraction", "1", "live"]);
    assert_eq!(chat(&rig, "app").status, 200);
    assert_eq!(ready(&rig).status, 200);
}
