//! References printed by crates that this tool does not link: compared here, and written where
//! `UPDATE_DOCS` is set, which `cargo xtask docs` does.

#![expect(clippy::expect_used, reason = "a reference that cannot be written fails the test")]

use std::path::Path;

#[test]
fn the_metrics_reference_is_what_the_table_says() {
    let page = format!(
        "# Metrics\n\n\
         <!-- Generated from crates/telemetry/src/table.rs by `cargo xtask docs`. Do not edit. -->\n\n\
         What `/metrics` on the admin listener shows, in Prometheus text. Durations are in seconds, \
         money in US dollars.\n\n{}",
        cutover_telemetry::reference()
    );
    compare("metrics.md", &page);
}

#[test]
fn the_gates_reference_is_what_the_table_says() {
    let page = cutover_rollout::gates::reference();
    let (title, rest) = page.split_once("\n\n").expect("a title and a text");
    let note = "<!-- Generated from the table GATES in crates/rollout by `cargo xtask docs`. Do not edit. -->";
    compare("gates.md", &format!("{title}\n\n{note}\n\n{rest}"));
}

#[test]
fn the_scorers_reference_is_what_the_table_says() {
    compare("scorers.md", &cutover_evals::reference());
}

#[test]
fn the_surface_reference_is_what_the_table_says() {
    let page = format!(
        "# The rest of the OpenAI surface\n\n\
         <!-- Generated from crates/route/src/surface.rs by `cargo xtask docs`. Do not edit. -->\n\n{}",
        cutover_route::surface::reference()
    );
    compare("surface.md", &page);
}

#[test]
fn the_failures_reference_is_what_the_table_says() {
    let mut page = cutover_testkit::fault_table::reference();
    page.push_str(
        "\n## Who goes on from the beginning of an answer\n\n\
         What `on_interrupt = \"continue\"` needs of the variant that goes on, by its provider:\n\n\
         | provider | takes the beginning of an answer |\n|---|---|\n",
    );
    for provider in cutover_wire::PROVIDERS {
        page.push_str(&["| ", provider.name, " | ", provider.prefill.as_str(), " |\n"].concat());
    }
    compare("failures.md", &page);
}

#[test]
fn the_bad_input_reference_is_what_the_table_says() {
    compare("bad-input.md", &cutover_testkit::bad_input::reference());
}

/// A heading, and what makes the table below it.
type Topic = (&'static str, fn() -> String);

/// Topics of the claims page: a heading and a table that the crate of that topic makes of its rows.
const CLAIMS: &[Topic] =
    &[("Fit and speed", cutover_sizing::claims::markdown), ("Cost", cutover_tco::claims::markdown)];

#[test]
fn the_claims_page_is_what_the_rows_say() {
    let mut page = String::from(
        "# Claims checked\n\n\
         <!-- Generated from the tables CLAIMS by `cargo xtask docs`. Do not edit. -->\n\n\
         Four articles about moving from a cloud API to one's own hardware, and what became of their claims when \
         they were computed. Tests hold every figure. \"false\" is what no engine can do on that hardware, \
         \"depends\" what is so under a condition that was not said.\n\n\
         - case study: TechDocs SaaS, Ollama and Llama 3.3 70B (2026)\n\
         - playbook: Ollama Migration Guide, a production playbook (December 2025)\n\
         - budget: Scaling AI Inference on a Budget (May 2026)\n\
         - enterprise: three case studies with vLLM, Ollama and llama.cpp (2026)\n\n\
         Ask it yourself: `cutover size llama3.3:70b --quant q8_0 --gpu 2xrtx4090`, `cutover tco`; how it is computed \
         stands in [Sizing](sizing.md) and [Total cost](tco.md).\n",
    );
    for (title, table) in CLAIMS {
        page.push_str("\n## ");
        page.push_str(title);
        page.push_str("\n\n");
        page.push_str(&table());
    }
    compare("../guides/claims-checked.md", &page);
}

/// The README's count of the claims about fit and speed: of those that were read, not computed, it says nothing.
#[test]
fn the_readme_counts_the_claims_that_the_page_has() {
    let table = (CLAIMS[0].1)();
    let computed = || table.lines().skip(2).filter(|row| !row.contains("(read, not computed)"));
    let wrong = computed().filter(|row| row.split('|').nth(3).map(str::trim) == Some("false"));
    let count = format!("{} of the {} that were computed", wrong.count(), computed().count());
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("the README can be read");
    assert!(readme.contains(&count), "README.md should say: {count}");
}

fn compare(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page).expect("the reference can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/reference/{name} differs: run `cargo xtask docs`");
}
