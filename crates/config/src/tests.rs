//! Features of the whole crate: a file in, its problems or its full form out.

mod bad_files;
mod generated;
mod no_drift;
mod rollouts;
mod schema;

use std::path::PathBuf;

use crate::checked::Checked;
use crate::{KeepAlive, Problem, SecretRef, UpstreamKey, check};

/// All environment variables are set.
fn set(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| "a value".to_owned())
}

fn read(text: &str) -> Result<Checked, Vec<Problem>> {
    check(text, "cutover.toml", &set)
}

fn good(text: &str) -> Checked {
    read(text).unwrap_or_else(|problems| panic!("{}\n{text}", lines(&problems)))
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Compares with `tests/snapshots/NAME.snap`; the expression that made the text is not kept there.
pub(crate) fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"));
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The problems of a bad file; the warnings of a good one.
fn report(text: &str) -> String {
    match read(text) {
        Ok(checked) => format!("accepted\n{}", lines(&checked.warnings)),
        Err(problems) => lines(&problems),
    }
}

fn without_warnings(checked: Checked) -> Checked {
    Checked { warnings: Vec::new(), ..checked }
}

fn docs(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(path)
}

fn examples() -> Vec<(PathBuf, String)> {
    let mut examples: Vec<_> = std::fs::read_dir(docs("examples"))
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| (path.clone(), std::fs::read_to_string(&path).expect("readable")))
        .collect();
    examples.sort();
    examples
}

/// A file that gives every key there is, except those that exclude each other.
const EVERYTHING: &str = include_str!("../tests/everything.toml");

#[test]
fn an_empty_file_serves_from_the_embedded_engine() {
    let checked = good("");
    assert_eq!(checked.default_upstream().name.as_str(), "embedded");
    assert!(checked.default_upstream().local);
    snapshot("empty_file", &checked.to_toml());
}

#[test]
fn the_full_form_of_a_file_that_gives_every_key() {
    let checked = good(EVERYTHING);
    assert_eq!(lines(&checked.warnings), "");
    snapshot("every_key", &checked.to_toml());
}

#[test]
fn each_example_in_the_docs_loads_without_a_warning() {
    let examples = examples();
    assert!(examples.len() >= 4);
    for (path, text) in examples {
        let checked = check(&text, &path.display().to_string(), &set)
            .unwrap_or_else(|problems| panic!("{}", lines(&problems)));
        assert_eq!(lines(&checked.warnings), "");
    }
}

#[test]
fn the_full_form_means_the_same_as_the_file() {
    let texts = examples().into_iter().map(|(_, text)| text);
    for text in texts.chain([String::new(), EVERYTHING.to_owned()]) {
        let checked = good(&text);
        let again = good(&checked.to_toml());
        assert_eq!(without_warnings(again.clone()), without_warnings(checked.clone()));
        assert_eq!(again.to_toml(), checked.to_toml());
        assert_eq!(again.digest(), checked.digest());
    }
}

#[test]
fn the_digest_ignores_spelling_and_sees_meaning() {
    let digest = |text: &str| good(text).digest();
    assert_eq!(digest(""), digest("[server]\nbody_timeout = \"1 min\" # the default\n"));
    assert_ne!(digest(""), digest("[server]\nbody_timeout = \"61 s\"\n"));
}

#[test]
fn a_variable_that_is_not_set_is_a_warning_unless_it_is_optional() {
    let text = "[admin]\ntoken = { env = \"TOKEN\" }\n\
                [upstreams.o]\nprovider = \"openai\"\n";
    let checked = check(text, "cutover.toml", &|_| None).expect("valid without the variable");
    insta::assert_snapshot!(lines(&checked.warnings), @"cutover.toml:2:17: admin.token.env: this environment variable is not set here");
}

#[test]
fn nothing_that_could_be_a_secret_shows_in_debug_output() {
    let text = r#"
[admin]
token = { file = "/secrets/sk-path" }
[upstreams.o]
provider = "openai"
key = { env = "sk_pasted_where_its_name_belongs" }
headers = { "x-team" = "sk-in-plain-text" }
[variants.v]
upstream = "o"
model = "m"
system_prompt = "sk-prompt text"
"#;
    let debug = format!("{:?}", good(text));
    assert!(!debug.contains("sk-") && !debug.contains("sk_"), "{debug}");
}

#[test]
fn no_message_repeats_what_stands_where_a_secret_may_have_been_pasted() {
    const SECRET: &str = "gsk_0123456789";
    let upstream = "[upstreams.o]\nprovider = \"vllm\"\n";
    for text in [
        format!("[admin]\ntoken = \"{SECRET}\""),
        format!("[admin]\ntoken = {{ env = \"{SECRET}\" }}"),
        format!("[admin]\ntoken = {{ env = \"{SECRET}\", file = \"{SECRET}\" }}"),
        format!("[admin]\ntoken = [\"{SECRET}\"]"),
        format!("{upstream}key = \"{SECRET}\""),
        format!("{upstream}key = {{ env = \"{SECRET}-\" }}"),
        format!("{upstream}key = {SECRET}"),
        format!("{upstream}headers = {{ authorization = \"Bearer {SECRET}\" }}"),
        format!("{upstream}headers = {{ x-key = \"{SECRET}é\" }}"),
        format!("{upstream}headers = \"{SECRET}\""),
        format!("{upstream}base_url = \"https://user:{SECRET}@host/v1\""),
        format!("{upstream}base_url = \"https://host/v1?key={SECRET}\""),
        format!("{upstream}instances = [\"{SECRET}\"]"),
    ] {
        let said = match check(&text, "cutover.toml", &|_| None) {
            Ok(checked) => lines(&checked.warnings),
            Err(problems) => lines(&problems),
        };
        assert!(!said.is_empty() && !said.contains(SECRET), "{text}\n{said}");
    }
}

#[test]
fn a_large_broken_file_is_reported_in_reasonable_time_and_length() {
    let mut text = String::from("[upstreams.e]\nprovider = \"embedded\"\n");
    for at in 0..9_000 {
        let use_case =
            format!("[use_cases.u{at}]\nmatch.model = \"m\"\nbaseline = \"b{at}\"\nx = 1\n");
        text.push_str(&use_case);
    }
    let problems = read(&text).expect_err("nothing in it is right");
    assert!((100..=1_000).contains(&problems.len()));
}

#[test]
fn many_warnings_do_not_hide_a_mistake() {
    let mut text =
        String::from("[server]\nkeys = \"off\"\n[upstreams.e]\nprovider = \"embedded\"\n");
    for at in 0..1_500 {
        text += &["[variants.unused-", &at.to_string(), "]\nupstream = \"e\"\n"].concat();
    }
    assert!(read(&text).is_ok());
    text.push_str("[use_cases.u]\nmatch.key = \"k\"\nbaseline = \"unused-1\"\n");
    assert_eq!(read(&text).expect_err("no key can match").len(), 1);
}

#[test]
fn use_cases_come_in_order_of_precedence() {
    let text = r#"
[server]
keys = "required"
[upstreams.o]
provider = "openai"
[variants.v]
upstream = "o"
model = "m"
[use_cases.by-model]
match = { model = "gpt-4o" }
baseline = "v"
[use_cases.by-metadata]
match = { metadata = { kind = "x" }, model = "gpt-4o" }
baseline = "v"
[use_cases.by-key]
match = { key = "team-a" }
baseline = "v"
[use_cases.by-header]
match = { header = { X-Use-Case = "b" } }
baseline = "v"
[use_cases.also-by-header]
match = { header = { x-use-case = "a" } }
baseline = "v"
[use_cases.by-two-headers]
match = { header = { x-use-case = "a", x-team = "t" } }
baseline = "v"
"#;
    let checked = good(text);
    let names: Vec<_> = checked.use_cases.iter().map(|u| u.name.as_str()).collect();
    let expected =
        ["by-two-headers", "also-by-header", "by-header", "by-key", "by-metadata", "by-model"];
    assert_eq!(names, expected);
    assert_eq!(checked.use_cases[2].matches.headers, [("x-use-case".into(), "b".into())]);
}

#[test]
fn providers_bring_their_addresses_and_keys() {
    let checked = good(
        "default_upstream = \"a\"\n\
         [upstreams.a]\nprovider = \"openai\"\n[upstreams.b]\nprovider = \"ollama\"\n\
         [upstreams.c]\nprovider = \"vllm\"\n[upstreams.d]\nprovider = \"llamacpp\"\n",
    );
    let key = UpstreamKey::Secret(SecretRef::Env { name: "OPENAI_API_KEY".into(), optional: true });
    assert_eq!(checked.upstreams[0].key, key);
    assert_eq!(checked.upstreams[1].key, UpstreamKey::None);
    let urls: Vec<_> = checked.upstreams.iter().map(|u| u.instances[0].to_string()).collect();
    let expected = [
        "https://api.openai.com/v1",
        "http://127.0.0.1:11434",
        "http://127.0.0.1:8000/v1",
        "http://127.0.0.1:8080/v1",
    ];
    assert_eq!(urls, expected);
}

#[test]
fn prices_are_read_from_numbers_and_texts_alike() {
    let price = |value: &str| {
        let text = format!(
            "[upstreams.e]\nprovider = \"embedded\"\n[variants.v]\nupstream = \"e\"\n\
             price = {{ input_usd_per_mtok = {value}, output_usd_per_mtok = 1 }}\n"
        );
        let price = good(&text).variants[0].price.expect("given");
        assert_eq!(price.cached_input_nano_usd_per_mtok, price.input_nano_usd_per_mtok);
        price.input_nano_usd_per_mtok
    };
    assert_eq!(price("0.1"), 100_000_000);
    assert_eq!(price("\"0.1\""), 100_000_000);
    assert_eq!(price("3"), 3_000_000_000);
}

#[test]
fn ollama_settings_are_typed() {
    let checked = good(EVERYTHING);
    let ollama =
        &checked.variants.iter().find(|v| v.name.as_str() == "qwen").expect("there").ollama;
    assert_eq!(ollama.keep_alive, Some(KeepAlive::Forever));
    assert_eq!(ollama.num_ctx, Some(8_192));
}
