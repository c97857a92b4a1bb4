//! Every error of the table is one that a client can meet.

use std::path::Path;

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply};
use cutover_units::codes::TABLE;

use crate::harness::{Rig, ask, ask_stream, two_arms};

/// What no test brings about over a socket, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("internal_error", "what we know no way to bring about: it stands for our own mistakes"),
    ("feedback_queue_full", "tried beside the queue: to fill it takes a store that stands still"),
];

fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_this = path.file_name().is_some_and(|name| name == "codes.rs");
        if path.is_dir() {
            sources(&path, into);
        } else if !is_this && path.extension().is_some_and(|end| end == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// A row that nothing can bring about is a promise to clients that nobody keeps.
#[test]
fn every_code_is_brought_about_by_a_test_over_a_socket() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    sources(&here.join("tests"), &mut tests);
    sources(&here.join("../cutover/tests"), &mut tests);
    tests.push_str(UPSTREAMS_OWN);
    let untried = TABLE.iter().filter(|row| !tests.contains(row.name)).map(|row| row.name);
    let excused = |name: &&str| ELSEWHERE.iter().any(|(known, _)| known == name);
    let untried: Vec<_> = untried.filter(|name| !excused(name)).collect();
    assert!(untried.is_empty(), "no test brings about {untried:?}");
}

/// Those of the next test.
const UPSTREAMS_OWN: &str = "invalid_request insufficient_quota upstream_timeout";

#[test]
fn what_an_upstream_says_by_status_has_its_code() {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%").replace(
        "provider = \"openai-compatible\"",
        "provider = \"openai-compatible\"\nfirst_token_timeout = \"300 ms\"",
    );
    let rig = Rig::start(&config);
    for (status, expected) in [
        (400, (400, "invalid_request")),
        (402, (429, "insufficient_quota")),
        (504, (504, "upstream_timeout")),
    ] {
        own.always(Reply::fault(Fault::status(status)));
        let response = rig.chat(&[], &ask("app"));
        let error = &response.json()["error"];
        assert_eq!((response.status, error["code"].as_str().unwrap()), expected, "{error}");
    }
    own.always(Reply::words(2).hold_first_token(&Gate::new()));
    let response = rig.chat(&[], &ask_stream("app"));
    assert_eq!(response.status, 504, "{}", response.text());
    assert_eq!(response.json()["error"]["code"], "upstream_timeout");
}
