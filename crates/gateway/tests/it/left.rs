//! Requests that their client left: what they took nobody told, and their records say so.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpListener;

use cutover_store::{Options, Store};
use cutover_testkit::fake::{Fake, Gate, Persona, Reply};

use crate::harness::{Arm, Rig, ask, ask_stream, docs_on, engines, now, two_arms, until};

#[test]
fn a_request_that_was_left_may_be_billed_and_its_record_says_so() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let priced = "price = { input_usd_per_mtok = 10, output_usd_per_mtok = 10 }\n";
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let gate = Gate::new();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0%");
    let config = config.replace("[variants.small]", &format!("{priced}[variants.small]"));
    let rig = Rig::start_storing(&config, None, Some(&store));
    let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    // After the first content, before it, and waiting for a whole answer.
    for (nth, (body, reply, seen)) in [
        (ask_stream("app"), Reply::words(2_000).pace(std::time::Duration::from_millis(50)), "w0"),
        (ask_stream("app"), Reply::words(3).hold_first_token(&gate), ""),
        (ask("app"), Reply::words(3).hold_headers(&gate), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let count = nth as u64 + 1;
        cloud.always(reply);
        let mut raw = rig.raw();
        raw.request("POST /v1/chat/completions", &[], body).unwrap();
        if seen.is_empty() {
            until("it is asked", || cloud.inferences().len() as u64 == count);
        } else {
            raw.read_until(seen).unwrap();
        }
        drop(raw);
        until("it is recorded", || store.stats().written == count);
        let row =
            "SELECT outcome, cost_nano_usd, coalesce(marks, '') FROM records ORDER BY id DESC";
        let row = connection.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let (outcome, cost, marks): (String, Option<i64>, String) = row.unwrap();
        assert_eq!((outcome.as_str(), cost), ("client_gone", None), "{nth}");
        assert_eq!(marks, "[\"cost_partial\"]", "{nth}");
    }
    // All that was sent is counted: the stream had begun, the others had not.
    assert_eq!(attempts(&rig), [("client_gone".to_owned(), 2), ("ok".to_owned(), 1)]);
}

/// How often attempts came to what, at all instances.
fn attempts(rig: &Rig) -> Vec<(String, u64)> {
    let mut results = BTreeMap::new();
    for line in rig.metrics().lines().filter(|line| line.starts_with("cutover_attempts_total{")) {
        let (labels, count) = line.rsplit_once(' ').unwrap();
        let result = labels.split("result=\"").nth(1).unwrap().trim_end_matches("\"}");
        *results.entry(result.to_owned()).or_default() += count.parse::<u64>().unwrap();
    }
    results.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn two_that_were_asked_at_once_are_two_that_were_left() {
    let (first, second) = (Fake::start(Persona::Vllm), Fake::start(Persona::Vllm));
    let gate = Gate::new();
    for fake in [&first, &second] {
        fake.always(Reply::words(3).hold_headers(&gate));
    }
    let config =
        docs_on(&[Arm::small(engines("vllm", &[&first, &second]))], "hedge_after = \"100 ms\"");
    let rig = Rig::start(&config);
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &[], ask("app")).unwrap();
    until("both are asked", || first.inferences().len() + second.inferences().len() == 2);
    drop(raw);
    until("both are counted", || attempts(&rig) == [("client_gone".to_owned(), 2)]);
    until("it has ended", || rig.counts("cutover_requests_total{", 1));
    assert_eq!(attempts(&rig), [("client_gone".to_owned(), 2)]);
}

#[test]
fn what_is_passed_on_and_left_is_counted_too() {
    let cloud = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", cloud.local_addr().unwrap());
    let rig = Rig::start(&two_arms(&base_url, &base_url, "0%"));
    let mut raw = rig.raw();
    raw.request("POST /v1/moderations", &[], r#"{"input":"hi"}"#).unwrap();
    let (mut asked, _) = cloud.accept().unwrap();
    assert!(asked.read(&mut [0; 16]).unwrap() > 0, "it is asked, and says nothing");
    drop(raw);
    until("it is counted", || attempts(&rig) == [("client_gone".to_owned(), 1)]);
}
