//! `cutover models`, from the command line to two scripted Ollamas.

use cutover_testkit::fake::{Fake, Gate, Persona, Setup};
use cutover_testkit::program::{Program, said};
use cutover_testkit::wait;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

fn config(own: &[&Fake], vllm: &Fake, cloud: &Fake) -> String {
    let urls: Vec<_> = own.iter().map(|fake| format!("{:?}", fake.base_url())).collect();
    format!(
        r#"
default_upstream = "cloud"
[upstreams.cloud]
provider = "openai-compatible"
base_url = "{}"
[upstreams.gpus]
provider = "ollama"
instances = [{}]
[upstreams.served]
provider = "vllm"
base_url = "{}"
[variants.small]
upstream = "gpus"
model = "fake-model"
ollama = {{ num_ctx = 8192 }}
[variants.other]
upstream = "served"
model = "fake-model"
[use_cases.app]
match = {{ model = "app" }}
baseline = "small"
candidate = "other"
"#,
        cloud.base_url(),
        urls.join(", "),
        vllm.base_url(),
    )
}

#[test]
fn models_are_fetched_shown_loaded_and_removed_at_every_instance() {
    let (one, two) = (Fake::start(Persona::Ollama), Fake::start(Persona::Ollama));
    let (vllm, cloud) = (Fake::start(Persona::Vllm), Fake::start(Persona::OpenAi));
    let program = Program::start(BINARY, &config(&[&one, &two], &vllm, &cloud));
    let told = program.ok(&["models", "pull", "gpus", "new:7b"]);
    assert_eq!(told, "gpus/0: fetched\ngpus/1: fetched\n");
    let list: Value =
        serde_json::from_str(&program.ok(&["models", "list", "gpus", "--json"])).unwrap();
    for at in list["instances"].as_array().unwrap() {
        let names: Vec<_> =
            at["models"].as_array().unwrap().iter().map(|model| model["name"].clone()).collect();
        assert_eq!(names, ["fake-model", "new:7b"]);
    }
    assert!(program.ok(&["models", "show", "gpus", "new:7b"]).contains("134.52M"));
    assert_eq!(
        program.ok(&["models", "remove", "gpus", "new:7b"]),
        "gpus/0: removed\ngpus/1: removed\n"
    );
    assert!(!program.ok(&["models", "list", "gpus"]).contains("new:7b"));
    assert_eq!(
        program.ok(&["models", "warm", "gpus", "fake-model"]),
        "gpus/0: loaded\ngpus/1: loaded\n"
    );
    assert_eq!((one.loads(), two.loads()), (1, 1), "with the context length of its requests");
    let listed = program.ok(&["models", "list", "served"]);
    assert!(listed.contains("fake-model") && listed.contains("4096"), "{listed}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let own = Fake::start(Persona::Ollama);
    let (vllm, cloud) = (Fake::start(Persona::Vllm), Fake::start(Persona::OpenAi));
    let program = Program::start(BINARY, &config(&[&own], &vllm, &cloud));
    let failed = |arguments: &[&str]| {
        let output = program.cli(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = failed(&["models", "pull", "served", "x"]);
    assert!(said.contains("provider vllm does not pull models over its API"), "{code} {said}");
    // It lists them, to whoever asks it.
    let (_, said) = failed(&["models", "list", "cloud"]);
    assert!(
        said.contains("listed here, but by the service itself") && said.contains("/v1/models"),
        "{said}"
    );
    let (_, said) = failed(&["models", "list", "gpu"]);
    assert!(said.contains("did you mean \"gpus\"?"), "{said}");
    let output = program.cli(&["models", "pull", "gpus", "missing"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("gpus/0: failed: pull model manifest: file does not exist"), "{said}");
    // The last line counts without its end, too.
    let output = program.cli(&["models", "pull", "gpus", "missing-unended"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("gpus/0: failed: pull model manifest: file does not exist"), "{said}");
    assert_eq!(program.ok(&["models", "pull", "gpus", "unended:7b"]), "gpus/0: fetched\n");
}

#[test]
fn a_fetch_is_cancelled_and_whoever_looks_is_told() {
    let gate = Gate::new();
    let own =
        Fake::start_with(Setup { pull_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) });
    let (vllm, cloud) = (Fake::start(Persona::Vllm), Fake::start(Persona::OpenAi));
    let program = Program::start(BINARY, &config(&[&own], &vllm, &cloud));
    let none = program.cli(&["models", "cancel", "gpus", "new:7b"]);
    assert_eq!(none.status.code(), Some(5), "{}", said(&none));
    assert!(said(&none).contains("nothing fetches or loads"), "{}", said(&none));
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| program.cli(&["models", "pull", "gpus", "new:7b"]));
        wait::until("it has begun", || gate.arrivals() == 1);
        assert_eq!(program.ok(&["models", "cancel", "gpus", "new:7b"]), "gpus/0: cancelled\n");
        let told = looking.join().unwrap();
        assert_eq!(told.status.code(), Some(1), "{}", said(&told));
        assert!(said(&told).contains("gpus/0: cancelled"), "{}", said(&told));
    });
    wait::until("the engine is left", || own.disconnects().len() == 1);
}

/// The process stayed for its whole `drain_timeout`; who looked on was told that nothing runs, and not what that means.
#[test]
fn a_fetch_under_way_holds_no_sigterm() {
    let gate = Gate::new();
    let own =
        Fake::start_with(Setup { pull_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) });
    let (vllm, cloud) = (Fake::start(Persona::Vllm), Fake::start(Persona::OpenAi));
    let config = config(&[&own], &vllm, &cloud);
    let brief = "[server]\ndrain_timeout = \"20 s\"\n";
    let mut program = Program::start(BINARY, &format!("{config}{brief}"));
    let looking = std::process::Command::new(BINARY)
        .args(["models", "pull", "gpus", "new:7b", "--admin", program.admin_url(), "--token-file"])
        .arg(program.state().join("admin-token"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait::until("it has begun", || gate.arrivals() == 1);
    assert_eq!(program.terminate(), Some(0));
    assert!(!program.log().contains("drain timeout"), "{}", program.log());
    let told = looking.wait_with_output().unwrap();
    let told = said(&told);
    assert!(told.contains("because cutover stops") || told.contains("a moment ago"), "{told}");
}
