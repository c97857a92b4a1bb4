//! Asking again: within a budget and a deadline, at another instance while the first is silent, and for
//! the rest of a stream that broke off. And whatever happens, each request is booked once.

use std::thread;
use std::time::{Duration, Instant};

use cutover_store::{Options, Store};
use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::Response;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::harness::{
    Arm, BY_UNIT, PRICE, Rig, ask, ask_stream, docs_on, engines, now, service, until,
};

const UNIT: &[&str] = &["x-unit: u1"];

fn fake(name: &str) -> Fake {
    Fake::start_with(Setup::new(Persona::LlamaCpp).name(name))
}

/// A candidate with some instances and a baseline with one; what is said of each.
struct Setting<'a> {
    own: &'a [&'a Fake],
    cloud: &'a Fake,
    of_own: &'a str,
    of_cloud: &'a str,
    of_use_case: &'a str,
}

impl Setting<'_> {
    fn text(&self) -> String {
        let cloud = format!(
            "{}probes = false\n{}",
            service("llamacpp", &self.cloud.base_url()),
            self.of_cloud
        );
        let own = format!("{}\nprobes = false\n{}", engines("llamacpp", self.own), self.of_own);
        let arms = [Arm::big(cloud).with(PRICE), Arm::small(own).with(PRICE)];
        let docs = docs_on(&arms, &format!("{BY_UNIT}{}", self.of_use_case));
        format!("default_upstream = \"cloud\"\n{docs}")
    }
}

fn figure(rig: &Rig, name: &str) -> u64 {
    let metrics = rig.metrics();
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn attempts(response: &Response) -> &str {
    response.header("x-cutover-attempts").unwrap_or("none")
}

const NO_RETRIES: &str = "retry_budget = \"0%\"\nretry_budget_min = 0\n";

#[test]
fn a_spent_budget_ends_retries_and_never_the_baselines_answer() {
    let (a, b, cloud) = (fake("a"), fake("b"), fake("cloud"));
    for own in [&a, &b] {
        own.always(Reply::fault(Fault::status(500)));
    }
    let config = |weight: &str| {
        let of_use_case = format!("weight = \"{weight}\"\nfailover = {}", weight == "100%");
        let own: &[&Fake] = &[&a, &b];
        let (of_own, of_cloud) = (NO_RETRIES, NO_RETRIES);
        Setting { own, cloud: &cloud, of_own, of_cloud, of_use_case: &of_use_case }.text()
    };
    let rig = Rig::start(&config("100%"));
    for asked in 1..=5 {
        let response = rig.chat(UNIT, &ask("app"));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"));
        assert_eq!(attempts(&response), "2", "one of the two instances, and the baseline");
        let held = "cutover_retries_held_back_total{upstream=\"own\",kind=\"retry\"}";
        assert_eq!(figure(&rig, held), asked);
    }
    let without_failover = config("100%").replace("failover = true", "failover = false");
    rig.reload(&without_failover);
    let response = rig.chat(UNIT, &ask("app"));
    assert_eq!((response.status, attempts(&response)), (502, "1"), "the first attempt's error");
    assert_eq!(response.header("x-should-retry"), None, "the client has not been retried for");
}

#[test]
fn a_reload_keeps_what_a_budget_has_seen() {
    let (a, b, cloud) = (fake("a"), fake("b"), fake("cloud"));
    for own in [&a, &b] {
        own.always(Reply::fault(Fault::status(500)));
    }
    let of_own = "retry_budget = \"0%\"\nretry_budget_min = 1\n";
    let of_use_case = "weight = \"100%\"\nfailover = false";
    let own: &[&Fake] = &[&a, &b];
    let config = Setting { own, cloud: &cloud, of_own, of_cloud: "", of_use_case }.text();
    let rig = Rig::start(&config);
    let tried = |rig: &Rig| attempts(&rig.chat(UNIT, &ask("app"))).to_owned();
    // Ten seconds' worth of one a second; the clock may pass into another second meanwhile.
    let granted = (0..14).filter(|_| tried(&rig) == "2").count();
    assert!((10..=11).contains(&granted), "{granted}");
    rig.reload(&config.replace("failover = false", "failover = false\nsalt = \"new\""));
    assert_eq!(tried(&rig), "1");
}

#[test]
fn the_last_arm_is_asked_again_after_the_wait_it_names() {
    let (own, cloud) = (fake("own"), fake("cloud"));
    let of_use_case = "weight = \"0%\"\ndeadline = \"5 s\"";
    let of_cloud = "retries = 2\n";
    let config = Setting { own: &[&own], cloud: &cloud, of_own: "", of_cloud, of_use_case }.text();
    let rig = Rig::start(&config);
    let refuse = |ms: u64| {
        Reply::fault(Fault::Status { status: 503, retry_after: None, retry_after_ms: Some(ms) })
    };
    cloud.once(refuse(300));
    cloud.once(Reply::fault(Fault::status(500)));
    let began = Instant::now();
    let response = rig.chat(UNIT, &ask("app"));
    assert_eq!((response.status, attempts(&response)), (200, "3"), "{}", response.text());
    assert!(began.elapsed() >= Duration::from_millis(300 + 50), "{:?}", began.elapsed());
    // The same instance again takes nothing over.
    assert!(!rig.metrics().contains("cutover_failovers_total{"), "{}", rig.metrics());
    // What it names does not fit: the client is told, and told when to come back.
    cloud.once(refuse(6_000));
    let began = Instant::now();
    let response = rig.chat(UNIT, &ask("app"));
    assert_eq!((response.status, attempts(&response)), (503, "1"), "{}", response.text());
    assert_eq!(response.header("retry-after"), Some("6"));
    assert!(began.elapsed() < Duration::from_secs(4));
    // What no retry can mend is not retried.
    cloud.once(Reply::fault(Fault::status(401)));
    let response = rig.chat(UNIT, &ask("app"));
    assert_eq!((response.status, attempts(&response)), (502, "1"), "{}", response.text());
}

#[test]
fn a_deadline_holds_over_all_attempts() {
    let (own, cloud) = (fake("own"), fake("cloud"));
    for silent in [&own, &cloud] {
        silent.always(Reply::words(2).hold_headers(&Gate::new()));
    }
    let of_use_case = "weight = \"100%\"\ndeadline = \"600 ms\"";
    let config = Setting { own: &[&own], cloud: &cloud, of_own: "", of_cloud: "", of_use_case };
    let rig = Rig::start(&config.text());
    for body in [ask("app"), ask_stream("app")] {
        let began = Instant::now();
        let response = rig.chat(UNIT, &body);
        assert_eq!((response.status, attempts(&response)), (504, "1"), "{}", response.text());
        assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    }
    assert_eq!(cloud.inferences().len(), 0, "no attempt begins after it");
    until("the silent one is let go", || own.in_flight() == 0);
}

#[test]
fn a_silent_instance_is_hedged_and_both_are_counted_once() {
    let (a, b, cloud) = (fake("a"), fake("b"), fake("cloud"));
    a.always(Reply::words(2).hold_headers(&Gate::new()));
    let of_use_case = "weight = \"100%\"\nhedge_after = \"200 ms\"";
    let own: &[&Fake] = &[&a, &b];
    let of_own = "balance = \"round-robin\"\n";
    let config = Setting { own, cloud: &cloud, of_own, of_cloud: "", of_use_case }.text();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let rig = Rig::start_storing(&config, None, Some(&store));
    let all: Vec<Response> = (0..4).map(|_| rig.chat(UNIT, &ask("app"))).collect();
    let hedged = all.iter().filter(|response| attempts(response) == "2").count() as u64;
    assert!(hedged > 0 && all.iter().all(|response| response.status == 200));
    assert!(all.iter().all(|r| r.header("x-cutover-instance") == Some("own/1")));
    until("those that lost are cancelled", || a.in_flight() == 0);
    assert_eq!(a.inferences().len() as u64, hedged);
    assert_eq!(figure(&rig, "cutover_hedges_total{upstream=\"own\",winner=\"second\"}"), hedged);
    assert_eq!(figure(&rig, "cutover_attempts_total{"), 4 + hedged);
    // Its effect at the upstream would be had twice.
    let stored = ask("app").replacen('{', "{\"web_search_options\":{},", 1);
    let before = figure(&rig, "cutover_hedges_total{");
    rig.chat(UNIT, &stored);
    assert_eq!(figure(&rig, "cutover_hedges_total{"), before);
    until("the records are written", || store.stats().written >= 5);
    let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    let marked = "SELECT count(*) FROM records WHERE marks = '[\"hedged\",\"cost_partial\"]'
                  AND attempts = 2 AND cost_nano_usd > 0";
    let marked: i64 = connection.query_row(marked, [], |row| row.get(0)).unwrap();
    assert_eq!(marked.cast_unsigned(), hedged, "the cost is the answer's, and marked as a part");
}

/// Else each request would wait for it first. One that always takes so long is well.
#[test]
fn an_instance_that_hangs_fails_although_a_hedge_answers_in_its_place() {
    for (usual_us, wanted) in [(None, 2), (Some(3_600_000_000), 0)] {
        let (a, b, cloud) = (fake("a"), fake("b"), fake("cloud"));
        a.always(Reply::words(2).hold_headers(&Gate::new()));
        let setting = Setting {
            own: &[&a, &b],
            cloud: &cloud,
            of_own: "balance = \"round-robin\"\n",
            of_cloud: "",
            of_use_case: "weight = \"100%\"\nhedge_after = \"1 s\"",
        };
        let rig = Rig::start(&setting.text());
        let live = rig.gateway.live();
        let lane = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
        let [first, second] = &lane.upstream.instances[..] else { panic!("two instances") };
        if let Some(usual_us) = usual_us {
            first.instance.live().took(false, usual_us, cutover_units::Millis(0));
        }
        for _ in 0..2 {
            let response = rig.chat(UNIT, &ask("app"));
            assert_eq!((response.status, attempts(&response)), (200, "2"), "{}", response.text());
        }
        assert_eq!((first.health.failures(), second.health.failures()), (wanted, 0));
    }
}

#[test]
fn a_hedge_whose_client_leaves_is_marked_and_counted() {
    let (a, b, cloud) = (fake("a"), fake("b"), fake("cloud"));
    let gate = Gate::new();
    for own in [&a, &b] {
        own.always(Reply::words(2).hold_headers(&gate));
    }
    let of_use_case = "weight = \"100%\"\nhedge_after = \"100 ms\"";
    let own: &[&Fake] = &[&a, &b];
    let config = Setting { own, cloud: &cloud, of_own: "", of_cloud: "", of_use_case };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let rig = Rig::start_storing(&config.text(), None, Some(&store));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", UNIT, ask("app")).unwrap();
    until("both are asked", || gate.arrivals() == 2);
    drop(raw);
    until("the record is written", || store.stats().written >= 1);
    assert_eq!(figure(&rig, "cutover_hedges_total{upstream=\"own\",winner=\"neither\"}"), 1);
    let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    let marked = "SELECT count(*) FROM records WHERE marks LIKE '%hedged%' AND attempts = 2";
    let marked: i64 = connection.query_row(marked, [], |row| row.get(0)).unwrap();
    assert_eq!(marked, 1);
}

#[test]
fn a_hedge_is_taken_out_of_the_budget() {
    let (a, b, cloud) = (fake("a"), fake("b"), fake("cloud"));
    for own in [&a, &b] {
        own.always(Reply::words(2).hold_headers(&Gate::new()));
    }
    let of_own = format!("{NO_RETRIES}first_byte_timeout = \"500 ms\"\n");
    let of_use_case = "weight = \"100%\"\nhedge_after = \"100 ms\"";
    let own: &[&Fake] = &[&a, &b];
    let config = Setting { own, cloud: &cloud, of_own: &of_own, of_cloud: "", of_use_case };
    let rig = Rig::start(&config.text());
    let response = rig.chat(UNIT, &ask("app"));
    assert_eq!((response.status, attempts(&response)), (200, "2"), "{}", response.text());
    assert_eq!(a.inferences().len() + b.inferences().len(), 1);
    let held = |kind: &str| {
        figure(
            &rig,
            &format!("cutover_retries_held_back_total{{upstream=\"own\",kind=\"{kind}\"}}"),
        )
    };
    assert_eq!((held("hedge"), held("retry")), (1, 1));
}

const CONTINUE: &str = "weight = \"100%\"\non_interrupt = \"continue\"";

/// The chunks of a stream, and what they say together.
fn chunks(response: &Response) -> (Vec<Value>, String) {
    let events = response.events();
    let chunks: Vec<Value> =
        events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    let said = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str());
    let said = said.collect();
    (chunks, said)
}

#[test]
fn a_stream_that_broke_off_goes_on_elsewhere_as_one() {
    let (own, cloud) = (fake("own"), fake("cloud"));
    let config =
        Setting { own: &[&own], cloud: &cloud, of_own: "", of_cloud: "", of_use_case: CONTINUE };
    let rig = Rig::start(&config.text());
    rig.feed().watch();
    cloud.always(Reply::text(" and this is the rest"));
    for fault in [Fault::Cut, Fault::HalfEvent, Fault::Malformed, Fault::EarlyEnd] {
        own.always(Reply::words(4).and_then(2, fault.clone()));
        let response = rig.chat(UNIT, &ask_stream("app"));
        let (chunks, said) = chunks(&response);
        assert_eq!(said, "w0 w1  and this is the rest", "{fault:?}: {}", response.text());
        assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"), "{fault:?}");
        assert!(!response.text().contains("\"error\""), "{fault:?}");
        let roles = chunks.iter().filter(|c| c["choices"][0]["delta"].get("role").is_some());
        assert_eq!(roles.count(), 1, "{fault:?}: it says once whose it is");
        assert!(chunks.iter().all(|c| c["id"] == chunks[0]["id"]), "{fault:?}: one id");
        let asked = cloud.inferences().last().unwrap().json();
        let messages = asked["messages"].as_array().unwrap();
        assert_eq!(messages.last().unwrap()["content"], "w0 w1 ", "{fault:?}");
        assert_eq!(messages.last().unwrap()["role"], "assistant");
        let mut seen = Vec::new();
        until("it is told of", || {
            rig.feed().drain(&mut seen);
            !seen.is_empty()
        });
        assert!(seen[0].served.failed && seen[0].fell_back, "no good answer of the candidate's");
        assert_eq!(seen[0].served.cost, None, "two models' tokens are no evidence of a price");
    }
    assert_eq!(figure(&rig, "cutover_streams_continued_total{"), 4);
}

/// A stream that broke off later than its deadline ended there: the long ones, which `continue` is for.
#[test]
fn a_deadline_is_kept_once_a_stream_has_begun_and_its_rest_has_none() {
    let (own, cloud, gate) = (fake("own"), fake("cloud"), Gate::new());
    own.always(Reply::words(4).hold_each_chunk(&gate).and_then(2, Fault::Cut));
    cloud.always(Reply::text(" and this is the rest"));
    let of_use_case = format!("{CONTINUE}\ndeadline = \"1 s\"");
    let own: &[&Fake] = &[&own];
    let setting =
        Setting { own, cloud: &cloud, of_own: "", of_cloud: "", of_use_case: &of_use_case };
    let rig = Rig::start(&setting.text());
    let began = Instant::now();
    let response = thread::scope(|scope| {
        let stream = scope.spawn(|| rig.chat(UNIT, &ask_stream("app")));
        gate.release(1);
        until("it has begun", || gate.arrivals() == 2);
        until("its deadline has passed", || began.elapsed() > Duration::from_millis(1_100));
        gate.open();
        stream.join().unwrap()
    });
    assert_eq!(chunks(&response).1, "w0 w1  and this is the rest", "{}", response.text());
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"));
}

/// Two models' tokens have two prices, and each arm's figures are its own.
#[test]
fn each_part_of_a_continued_stream_is_priced_at_its_own_lanes_price() {
    for (of_small, of_big) in [("0", "1000"), ("1000", "0")] {
        let (own, cloud) = (fake("own"), fake("cloud"));
        own.always(Reply::words(4).and_then(2, Fault::Cut));
        cloud.always(Reply::text(" and this is the rest"));
        let (of_own, of_cloud) = ("", "");
        let own: &[&Fake] = &[&own];
        let setting = Setting { own, cloud: &cloud, of_own, of_cloud, of_use_case: CONTINUE };
        let price = |usd: &str| {
            format!("price = {{ input_usd_per_mtok = \"{usd}\", output_usd_per_mtok = \"{usd}\" }}")
        };
        let written = "price = { input_usd_per_mtok = \"1\", output_usd_per_mtok = \"2\" }";
        let config = setting.text().replacen(written, &price(of_big), 1);
        let config = config.replacen(written, &price(of_small), 1);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path(), now)).unwrap();
        let rig = Rig::start_storing(&config, None, Some(&store));
        assert_eq!(chunks(&rig.chat(UNIT, &ask_stream("app"))).1, "w0 w1  and this is the rest");
        until("the record is written", || store.stats().written >= 1);
        let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
        let row = "SELECT cost_nano_usd, prompt_tokens + completion_tokens FROM records";
        let row = connection.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let (cost, all): (i64, i64) = row.unwrap();
        let tokens = |arm: &str| {
            let of = |kind| format!("cutover_{kind}_tokens_total{{use_case=\"docs\",arm=\"{arm}\"");
            figure(&rig, &of("prompt")) + figure(&rig, &of("completion"))
        };
        let (first, rest) = (tokens("candidate"), tokens("baseline"));
        assert!(first > 0 && rest > 0, "{first} {rest}");
        assert_eq!(first + rest, all.cast_unsigned());
        let billed = if of_small == "0" { rest } else { first };
        assert_eq!(cost.cast_unsigned(), billed * 1_000_000, "{first} {rest}");
    }
}

#[test]
fn a_model_that_is_said_to_go_on_is_asked_whatever_its_provider() {
    let own = fake("own");
    for (persona, provider) in [(Persona::Ollama, "ollama"), (Persona::OpenAi, "openai-compatible")]
    {
        let cloud = Fake::start_with(Setup::new(persona).name("cloud"));
        cloud.always(Reply::text("and this is the rest"));
        own.always(Reply::tokens(&["Once", " upon", " a"]).and_then(2, Fault::Cut));
        let other = Arm::big(service(provider, &cloud.base_url())).with("prefill = true");
        let arms = [other, Arm::small(service("llamacpp", &own.base_url()))];
        let text = docs_on(&arms, &format!("{BY_UNIT}{CONTINUE}"));
        let text = format!("default_upstream = \"own\"\n{text}");
        let rig = Rig::start(&text);
        let response = rig.chat(UNIT, &ask_stream("app"));
        assert_eq!(chunks(&response).1, "Once uponand this is the rest", "{}", response.text());
        assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"), "{provider}");
        let asked = cloud.inferences().last().unwrap().json();
        let last = asked["messages"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["role"], &last["content"]), (&"assistant".into(), &"Once upon".into()));
        // Nobody says so.
        let before = cloud.inferences().len();
        rig.reload(&text.replace("prefill = true", ""));
        let response = rig.chat(UNIT, &ask_stream("app"));
        assert!(response.text().contains("stream_interrupted"), "{}", response.text());
        assert_eq!(cloud.inferences().len(), before, "{provider}");
    }
}

#[test]
fn what_is_not_known_to_be_safe_ends_instead() {
    let (own, cloud) = (fake("own"), fake("cloud"));
    own.always(Reply::words(4).and_then(2, Fault::Cut));
    let config =
        Setting { own: &[&own], cloud: &cloud, of_own: "", of_cloud: "", of_use_case: CONTINUE };
    let rig = Rig::start(&config.text());
    let ends = |rig: &Rig, body: &str| {
        let response = rig.chat(UNIT, body);
        assert!(response.text().contains("stream_interrupted"), "{body}: {}", response.text());
        assert!(!response.text().contains("[DONE]"));
        assert_eq!(cloud.inferences().len(), 0, "{body}");
    };
    let plain = ask_stream("app");
    let with = |field: &str| plain.replacen('{', &format!("{{{field},"), 1);
    ends(&rig, &with(r#""tools":[{"type":"function","function":{"name":"f","parameters":{}}}]"#));
    ends(&rig, &with(r#""response_format":{"type":"json_object"}"#));
    ends(&rig, &with(r#""logprobs":true"#));
    ends(&rig, &with(r#""stream_options":{"include_usage":true}"#));
    // A target that is not known to take the beginning of an answer.
    rig.reload(&config.text().replacen("\"llamacpp\"", "\"openai-compatible\"", 1).replacen(
        "probes = false\n",
        "",
        1,
    ));
    ends(&rig, &plain);
    // And the default.
    rig.forgive(&config.text().replace("continue", "terminate"));
    ends(&rig, &plain);
}

#[test]
fn who_can_not_be_continued_ends_as_it_would_have() {
    let (own, cloud) = (fake("own"), fake("cloud"));
    own.always(Reply::words(4).and_then(2, Fault::Cut));
    cloud.always(Reply::fault(Fault::status(500)));
    let config =
        Setting { own: &[&own], cloud: &cloud, of_own: "", of_cloud: "", of_use_case: CONTINUE };
    let rig = Rig::start(&config.text());
    let response = rig.chat(UNIT, &ask_stream("app"));
    assert!(response.text().contains("stream_interrupted"), "{}", response.text());
    assert_eq!(response.events().iter().filter(|e| e.contains("\"error\"")).count(), 1);
    assert!(!response.text().contains("[DONE]"));
    // One continuation, no more.
    cloud.always(Reply::words(4).and_then(1, Fault::Cut));
    let before = cloud.inferences().len();
    let response = rig.chat(UNIT, &ask_stream("app"));
    assert!(response.text().contains("stream_interrupted"), "{}", response.text());
    assert_eq!(cloud.inferences().len(), before + 1);
    assert_eq!(chunks(&response).1, "w0 w1 w0 ");
}

/// It was booked as a broken stream of the one that had been asked for the rest, and had sent nothing.
#[test]
fn a_stream_that_nobody_goes_on_with_is_the_one_whose_it_was() {
    for refusal in [Reply::fault(Fault::status(500)), Reply::fault(Fault::Reset)] {
        let (own, cloud) = (fake("own"), fake("cloud"));
        own.always(Reply::words(4).and_then(2, Fault::Cut));
        cloud.always(refusal);
        let (of_own, of_cloud) = ("", "");
        let own: &[&Fake] = &[&own];
        let setting = Setting { own, cloud: &cloud, of_own, of_cloud, of_use_case: CONTINUE };
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path(), now)).unwrap();
        let rig = Rig::start_storing(&setting.text(), None, Some(&store));
        let response = rig.chat(UNIT, &ask_stream("app"));
        assert!(response.text().contains("stream_interrupted"), "{}", response.text());
        until("the record is written", || store.stats().written >= 1);
        let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
        let row = "SELECT answered_arm, upstream, instance, failed_over, attempts FROM records";
        let row: (String, String, String, bool, i64) = connection
            .query_row(row, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })
            .unwrap();
        let whose = |text: &str| text.to_owned();
        assert_eq!(row, (whose("candidate"), whose("own"), whose("own/0"), false, 2));
        let metrics = rig.metrics();
        let told = |name: &str, label: &str| {
            let of = |line: &&str| line.starts_with(name) && line.contains(label);
            metrics.lines().filter(of).any(|line| !line.ends_with(" 0"))
        };
        for (name, whose, others) in [
            ("cutover_stream_interruptions_total{", "upstream=\"own\"", "upstream=\"cloud\""),
            ("cutover_errors_total{", "arm=\"candidate\"", "arm=\"baseline\""),
            ("cutover_requests_total{", "arm=\"candidate\"", "arm=\"baseline\""),
        ] {
            assert!(told(name, whose) && !told(name, others), "{name}: {metrics}");
        }
        assert!(!told("cutover_failovers_total{", ""), "nobody took over: {metrics}");
        assert!(told("cutover_attempts_total{", "upstream=\"cloud\""), "{metrics}");
    }
}

/// One thing that an upstream does next.
fn anything() -> impl Strategy<Value = usize> {
    0..13usize
}

fn deed(number: usize) -> Reply {
    let within = |fault| Reply::words(4).and_then(2, fault);
    match number {
        0 => Reply::fault(Fault::Reset),
        1 => Reply::fault(Fault::Close),
        2 => Reply::fault(Fault::status(500)),
        3 => Reply::fault(Fault::status(503)),
        4 => {
            Reply::fault(Fault::Status { status: 429, retry_after: None, retry_after_ms: Some(20) })
        }
        5 => Reply::fault(Fault::status(400)),
        6 => within(Fault::Cut),
        7 => within(Fault::EarlyEnd),
        8 => within(Fault::ErrorEvent),
        9 => Reply::words(2).hold_headers(&Gate::new()),
        10 => Reply::fault(Fault::NotJson),
        _ => Reply::words(3),
    }
}

/// Any sequence of faults: one record for each request, with as many attempts as upstreams saw, and all
/// that was used booked once.
#[test]
fn each_request_is_booked_once_whatever_happens() {
    let (a, b, cloud) = (fake("a"), fake("b"), fake("cloud"));
    let fakes = [&a, &b, &cloud];
    let common = "first_byte_timeout = \"900 ms\"\nfirst_token_timeout = \"900 ms\"\nretries = 1\n";
    let of_use_case = "weight = \"50%\"\nhedge_after = \"300 ms\"\non_interrupt = \"continue\"";
    let own: &[&Fake] = &[&a, &b];
    let config = Setting { own, cloud: &cloud, of_own: common, of_cloud: common, of_use_case };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let rig = Rig::start_storing(&config.text(), None, Some(&store));
    let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    let number =
        |sql: &str, id: &str| -> i64 { connection.query_row(sql, [id], |row| row.get(0)).unwrap() };
    let live = rig.gateway.live();
    let instances = || live.lanes.iter().take(2).flat_map(|lane| &lane.upstream.instances);
    // A kept connection that is dead is found out by sending: the same attempt is sent again on a new one.
    let resends = || instances().map(|lane| lane.instance.live().figures().resends).sum::<u64>();
    let seen = || {
        let arrived = fakes.iter().map(|fake| fake.inferences().len() as u64).sum::<u64>();
        arrived - resends()
    };
    let asked = std::cell::Cell::new(0u64);
    let cases = (prop::collection::vec(anything(), 6), any::<bool>(), 0..40u32);
    let mut runner =
        TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    runner
        .run(&cases, |(deeds, stream, unit)| {
            for (fake, deeds) in fakes.iter().zip(deeds.chunks(2)) {
                // Whoever has nothing more to do wrong does well.
                for number in deeds {
                    fake.once(deed(*number));
                }
            }
            let before = seen();
            let body = if stream { ask_stream("app") } else { ask("app") };
            let response = rig.chat(&[&format!("x-unit: u{unit}")], &body);
            asked.set(asked.get() + 1);
            until("it is written", || store.stats().written >= asked.get());
            let id = response.header("x-request-id").unwrap();
            prop_assert_eq!(number("SELECT count(*) FROM records WHERE request_id = ?1", id), 1);
            let attempts = number("SELECT attempts FROM records WHERE request_id = ?1", id);
            let hedged = number(
                "SELECT coalesce(marks, '') LIKE '%hedged%' FROM records WHERE request_id = ?1",
                id,
            );
            until("nobody is asked any more", || fakes.iter().all(|fake| fake.in_flight() == 0));
            let arrived = i64::try_from(seen() - before).unwrap();
            // A hedge may be cancelled before it arrives.
            prop_assert!(
                arrived == attempts || (hedged == 1 && arrived == attempts - 1),
                "{} attempts, {} arrived: {}",
                attempts,
                arrived,
                response.text()
            );
            prop_assert!((1..=4).contains(&attempts));
            Ok(())
        })
        .unwrap();
    let total = |column: &str| number(&format!("SELECT sum({column}) + ?1 FROM records"), "0");
    let booked = |column: &str, metric: &str| {
        assert_eq!(total(column).cast_unsigned(), figure(&rig, metric), "{metric}");
    };
    booked("1", "cutover_requests_total{");
    booked("attempts", "cutover_attempts_total{");
    booked("coalesce(prompt_tokens, 0)", "cutover_prompt_tokens_total{");
    booked("coalesce(completion_tokens, 0)", "cutover_completion_tokens_total{");
}
