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

fn compare(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page).expect("the reference can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/reference/{name} differs: run `cargo xtask docs`");
}
