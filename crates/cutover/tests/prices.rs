//! The user's own prices, from a file that `cutover prices import` wrote, in the records of a running gateway.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::process::{Command, Output};

use cutover_testkit::arms::two_arms;
use cutover_testkit::fake::{Fake, Persona, Reply};
use cutover_testkit::program::Program;
use cutover_testkit::{raw, wait};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// As LiteLLM's file has them: dollars per token. Whose model it is, is the upstream's name here.
const LITELLM: &str = r#"{
    "fake-model": {"litellm_provider": "cloud", "mode": "chat",
        "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05},
    "other-model": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}
}"#;

fn import(folder: &Path, file: &str) -> Output {
    let words = ["prices", "import", file, "--out", "own.csv"];
    Command::new(BINARY).current_dir(folder).args(words).output().unwrap()
}

type Row = (String, Option<i64>, Option<String>, i64, i64);

fn rows(program: &Program) -> Vec<Row> {
    let database = rusqlite::Connection::open(program.state().join("cutover.db")).unwrap();
    let asked = "SELECT upstream, cost_nano_usd, price_source, prompt_tokens, completion_tokens \
                 FROM records ORDER BY id";
    let mut statement = database.prepare(asked).unwrap();
    let read = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    read.unwrap().map(Result::unwrap).collect()
}

#[test]
fn imported_prices_are_in_the_records_and_what_is_not_listed_is_unpriced() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::Vllm));
    cloud.always(Reply::words(10));
    own.always(Reply::words(10));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("litellm.json"), LITELLM).unwrap();
    let said = import(folder.path(), "litellm.json");
    assert!(String::from_utf8_lossy(&said.stdout).contains("own.csv: 2 prices imported"));
    let prices = folder.path().join("own.csv").display().to_string();
    let config = two_arms(&cloud.base_url(), &own.base_url());
    let other = "[use_cases.mine]\nmatch = { model = \"mine\" }\nbaseline = \"new\"\n";
    let prices = format!("[prices]\nfile = \"{prices}\"\n");
    let program = Program::start(BINARY, &format!("{config}\n{other}{prices}"));
    // The use case, its model by its own name, and a model of this name that somebody else serves.
    for model in ["app", "fake-model", "mine"] {
        let body =
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        let headers = ["content-type: application/json"];
        raw::exchange(program.url(), "POST /v1/chat/completions", &headers, &body).unwrap();
    }
    wait::until("three records", || rows(&program).len() == 3);
    for (upstream, cost, source, input, output) in rows(&program) {
        assert!(input > 0 && output > 0);
        if upstream == "own" {
            assert_eq!((cost, source), (None, None), "another provider's price is not ours");
            continue;
        }
        // 3 and 15 dollars per million tokens.
        assert_eq!(cost, Some(input * 3_000 + output * 15_000), "{upstream}");
        assert_eq!(source.as_deref(), Some("price file"));
    }
}

#[test]
fn a_price_file_that_is_none_ends_the_start_and_check_says_why() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("litellm.json"), LITELLM).unwrap();
    let check = |file: &str| {
        let config = format!("[prices]\nfile = \"{file}\"\n");
        std::fs::write(folder.path().join("cutover.toml"), config).unwrap();
        let output = Command::new(BINARY).current_dir(folder.path()).arg("check").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check("litellm.json");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("cutover.toml:2: prices.file: litellm.json: it is JSON"), "{said}");
    assert!(said.contains("cutover prices import"), "{said}");
    assert!(check("nothing.csv").1.contains("prices.file: nothing.csv does not exist"));
    assert!(import(folder.path(), "litellm.json").status.success());
    assert_eq!(check("own.csv").0, Some(0));
}
