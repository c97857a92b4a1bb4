//! A rollout's step that waits until the candidate's model is loaded on enough instances, and has it loaded.

use cutover_testkit::fake::{Fake, Gate, Persona, Setup};
use cutover_testkit::program::Program;
use cutover_testkit::raw::Raw;
use cutover_testkit::wait::until;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

#[test]
fn a_step_waits_for_loaded_models_and_has_them_loaded() {
    let cloud = Fake::start(Persona::OpenAi);
    let gate = Gate::new();
    // Their memory is empty, and reading the model in takes until the gate opens.
    let own = [(); 2].map(|()| {
        Fake::start_with(Setup { load_gate: Some(gate.clone()), ..Setup::new(Persona::Ollama) })
    });
    let program = Program::start(
        BINARY,
        &format!(
            r#"
default_upstream = "cloud"
[upstreams.cloud]
provider = "openai-compatible"
base_url = "{}"
[upstreams.gpus]
provider = "ollama"
instances = ["{}", "{}"]
probe_interval = "1 s"
[variants.now]
upstream = "cloud"
model = "fake-model"
[variants.next]
upstream = "gpus"
model = "fake-model"
[use_cases.app]
match = {{ model = "app" }}
unit = "user"
baseline = "now"
candidate = "next"
[use_cases.app.rollout]
gates = ["errors <= 50%"]
interval = "1 s"
stale_after = "10 min"
steps = [
  {{ kind = "shadow", shadow = "1%", min_duration = "0 s", min_units = 0, name = "wait" }},
  {{ kind = "ramp", weight = "10%", min_instances = 2 }},
  "100%",
]
"#,
            cloud.base_url(),
            own[0].base_url(),
            own[1].base_url(),
        ),
    );
    program.ok(&["rollout", "start", "app"]);
    let ask = r#"{"messages":[{"role":"user","content":"hi"}],"model":"app","user":"ann"}"#;
    let mut reason = String::new();
    until("it waits for instances, which read the model in", || {
        let mut raw = Raw::open(program.url()).unwrap();
        raw.request("POST /v1/chat/completions", &[], ask).unwrap();
        assert_eq!(raw.response().unwrap().expect("an answer").status, 200);
        reason = program.ok(&["rollout", "status", "app"]);
        reason
            .contains("2 instances with the candidate's model loaded for \"ramp 10%\": there are 0")
            && gate.arrivals() >= 2
    });
    gate.open();
    until("it goes on", || {
        program.ok(&["status"]).lines().any(|line| line.contains("app") && line.contains("10%"))
    });
}
