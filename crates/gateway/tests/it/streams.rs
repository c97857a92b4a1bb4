//! Streams: passed on as they come, ended honestly, cancelled when the client goes.

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};

use crate::harness::{Rig, ask, ask_stream, two_arms, until};

fn pair() -> (Fake, Fake) {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    (cloud, Fake::start_with(Setup::new(Persona::LlamaCpp).name("own")))
}

#[test]
fn each_chunk_is_passed_on_when_it_comes() {
    let (cloud, own) = pair();
    let gate = Gate::new();
    own.always(Reply::tokens(&["one", "two", "three"]).hold_each_chunk(&gate));
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    let mut text = String::new();
    for word in ["one", "two", "three"] {
        assert!(!text.contains(word), "the chunk is still held back");
        gate.release(1);
        text = raw.read_until(word).unwrap();
        assert!(text.contains(word), "{text}");
    }
    gate.open();
    if !text.contains("[DONE]") {
        text = raw.read_until("[DONE]").unwrap();
    }
    assert!(text.contains("[DONE]"), "{text}");
}

#[test]
fn usage_is_known_to_us_and_shown_only_to_who_asked() {
    let (cloud, own) = pair();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let plain = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    assert!(!plain.text().contains("\"usage\":{"), "{}", plain.text());
    assert_eq!(own.inferences()[0].json()["stream_options"]["include_usage"], true);
    let asked = ask_stream("app").replace("}]", "}],\"stream_options\":{\"include_usage\":true}");
    let shown = rig.chat(&["x-unit: u1"], &asked);
    assert!(shown.text().contains("\"usage\":{"), "{}", shown.text());
    let counted = "cutover_completion_tokens_total{use_case=\"docs\",arm=\"candidate\"";
    until("both are counted", || {
        let metrics = rig.metrics();
        let line = metrics.lines().find(|line| line.starts_with(counted));
        line.is_some_and(|line| !line.ends_with(" 0"))
    });
}

#[test]
fn a_stream_that_breaks_after_content_ends_with_an_error_and_no_done() {
    let (cloud, own) = pair();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    for fault in [
        Fault::Cut,
        Fault::HalfEvent,
        Fault::Malformed,
        Fault::EarlyEnd,
        Fault::EarlyDone,
        Fault::ErrorEvent,
    ] {
        own.always(Reply::words(4).and_then(2, fault.clone()));
        let response = rig.chat(&["x-unit: u1"], &ask_stream("app"));
        assert_eq!(response.header("x-cutover-arm"), Some("candidate"));
        let events = response.events();
        let last = events.last().map(String::as_str).unwrap_or_default();
        assert!(last.contains("\"error\":{"), "{fault:?}: {events:?}");
        assert!(!response.text().contains("[DONE]"), "{fault:?}");
        assert!(response.complete, "the connection itself ends in order");
    }
    assert_eq!(cloud.bytes(), 0, "nothing is asked again once content was sent");
}

#[test]
fn a_missing_done_is_added_when_the_answer_is_whole() {
    let (cloud, own) = pair();
    own.always(Reply::words(3).and_then(3, Fault::NoDone));
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let response = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"), "{}", response.text());
}

#[test]
fn a_client_that_goes_ends_the_upstream_stream_or_not() {
    let (cloud, own) = pair();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let gate = Gate::new();
    own.always(Reply::words(5).hold_each_chunk(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    gate.release(2);
    raw.read_until("data: ").unwrap();
    drop(raw);
    until("the upstream sees the stream's client go", || own.disconnects().len() == 1);

    let gate = Gate::new();
    own.always(Reply::words(5).hold_headers(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask("app")).unwrap();
    until("the request is there", || own.inferences().len() == 2);
    drop(raw);
    until("the upstream sees the other client go", || own.disconnects().len() == 2);
    until("both are counted", || rig.metrics().contains("outcome=\"client_gone\"} 2"));
}

#[test]
fn an_upstream_that_must_not_be_cancelled_is_read_to_its_end() {
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%").replace(
        "provider = \"llamacpp\"",
        "provider = \"llamacpp\"\ncancel_on_disconnect = false",
    );
    let rig = Rig::start(&config);
    let gate = Gate::new();
    own.always(Reply::words(5).hold_each_chunk(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    gate.release(2);
    raw.read_until("data: ").unwrap();
    drop(raw);
    until("the client's going is noticed", || rig.metrics().contains("outcome=\"client_gone\"} 1"));
    gate.open();
    until("the upstream finished", || own.answered() == 1);
    assert!(own.disconnects().is_empty());
}

#[test]
fn a_silent_prefill_is_bridged_by_comments_and_can_still_move_to_the_baseline() {
    let (cloud, own) = pair();
    let config = format!(
        "[server]\nkeep_alive_interval = \"100 ms\"\n{}",
        two_arms(&cloud.base_url(), &own.base_url(), "100%")
            .replace("\ndefault_upstream = \"cloud\"\n", "")
    );
    let rig = Rig::start(&format!("default_upstream = \"cloud\"\n{config}"));
    let gate = Gate::new();
    own.always(Reply::words(3).hold_first_token(&gate).and_then(0, Fault::Cut));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    let text = raw.read_until(": keep-alive").unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    gate.open();
    let text = raw.read_until("[DONE]").unwrap();
    assert!(text.contains("cloud") && !text.contains("\"error\""), "{text}");
}

#[test]
fn a_stalled_stream_is_ended_by_the_idle_deadline() {
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%")
        .replace("provider = \"llamacpp\"", "provider = \"llamacpp\"\nidle_timeout = \"200 ms\"");
    let rig = Rig::start(&config);
    let gate = Gate::new();
    own.always(Reply::words(4).and_then(2, Fault::Stall(gate.clone())));
    let response = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    let last = response.events().last().cloned().unwrap_or_default();
    assert!(last.contains("upstream_timeout"), "{last}");
    gate.open();
}

#[test]
fn smoothing_keeps_the_contract() {
    let (cloud, own) = pair();
    own.always(Reply::words(8));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%").replace(
        "weight = \"100%\"",
        "weight = \"100%\"\nsmoothing = { interval = \"20 ms\", max_delay = \"1 s\" }",
    );
    let rig = Rig::start(&config);
    let smooth = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    let plain = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let plain = plain.chat(&["x-unit: u1"], &ask_stream("app"));
    let content = |events: Vec<String>| -> String {
        let chunk = |e: &String| serde_json::from_str::<serde_json::Value>(e).ok();
        let text = |v: serde_json::Value| {
            v["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
        };
        events.iter().filter_map(chunk).map(text).collect()
    };
    assert_eq!(smooth.events().len(), plain.events().len());
    assert_eq!(content(smooth.events()), content(plain.events()));
    assert_eq!(smooth.events().last().map(String::as_str), Some("[DONE]"));
}
