//! OpenAI's Agents SDK, unmodified: conversations of two turns with a tool, handed over, structured, left early, over Responses and
//! over chat, in front of a scripted upstream of each kind; and with conversations that move between two kinds at each request.

use cutover_testkit::arms::arm_of_fake;
use cutover_testkit::fake::{Fake, Persona, Setup};
use cutover_testkit::probes::{self, Options};
use cutover_testkit::program::Program;
use cutover_testkit::rig;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// Two ways of speaking: talks, handings over and structured answers, whole and streamed, and a stream that is left.
const PROBES: usize = 2 * (2 * 3 + 1);

fn fake(persona: Persona) -> Fake {
    Fake::start_with(Setup::new(persona).key("sk-upstream"))
}

fn agents(config: &str) {
    let (program, key) =
        Program::start_with_key(BINARY, &format!("{config}\n[server]\nkeys = \"required\"\n"));
    let options = Options::new(program.url(), &key, "app");
    let Some(outcomes) = rig::require(probes::run_python_agents(&options)) else { return };
    outcomes.assert_all_pass(PROBES);
}

#[test]
fn in_front_of_services_that_speak_chat() {
    for (provider, persona) in
        [("vllm", Persona::Vllm), ("llamacpp", Persona::LlamaCpp), ("ollama", Persona::Ollama)]
    {
        agents(&arm_of_fake(provider, &fake(persona), ""));
    }
}

#[test]
fn in_front_of_a_service_that_speaks_responses() {
    agents(&arm_of_fake("openai", &fake(Persona::OpenAi), ""));
}

/// Each request is assigned anew, so that a turn's calls and its results reach different kinds of upstreams.
#[test]
fn conversations_that_move_between_kinds_of_upstreams() {
    let kinds = [
        ("vllm", Persona::Vllm, "/v1"),
        ("gemini", Persona::Gemini, ""),
        ("openai", Persona::OpenAi, "/v1"),
    ];
    for (old, new) in [(0, 1), (1, 2), (2, 0)] {
        let fakes = [fake(kinds[old].1), fake(kinds[new].1)];
        let arms = [(kinds[old], &fakes[0], "old"), (kinds[new], &fakes[1], "new")];
        let tables = arms.map(|((provider, _, path), fake, name)| {
            let base = fake.base_url();
            format!(
                r#"
[upstreams.{name}]
provider = "{provider}"
instances = ["{base}{path}"]
key = {{ env = "UPSTREAM_KEY" }}

[variants.{name}]
upstream = "{name}"
model = "fake-model"
unsupported = "lenient"
"#
            )
        });
        agents(&format!(
            r#"
default_upstream = "old"
{}
[use_cases.app]
match = {{ model = "app" }}
baseline = "old"
candidate = "new"
weight = "50%"
unit = "request"
"#,
            tables.concat()
        ));
        for fake in &fakes {
            assert!(!fake.inferences().is_empty(), "{old} > {new}: one of them was never asked");
        }
    }
}
