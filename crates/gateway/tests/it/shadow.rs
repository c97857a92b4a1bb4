//! Copies for the candidate: what becomes a pair, what is dropped, and that no client notices.

use std::sync::Arc;
use std::time::Duration;

use cutover_gateway::shadow::Settings;
use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};
use cutover_units::{NanoUsd, WeightBp};
use cutover_wire::{Endpoint, Finish};

use crate::harness::{Rig, ask, ask_stream, two_arms, until};

fn fakes() -> (Fake, Fake) {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    let own = Fake::start_with(Setup::new(Persona::LlamaCpp).name("own"));
    cloud.always(Reply::tokens(&["from ", "the ", "cloud"]));
    own.always(Reply::tokens(&["from ", "home"]));
    (cloud, own)
}

fn config(cloud: &Fake, own: &Fake) -> String {
    two_arms(&cloud.base_url(), &own.base_url(), "0%")
}

#[test]
fn every_request_becomes_a_pair_with_both_answers() {
    let (cloud, own) = fakes();
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    let headers = ["x-unit: u1", "authorization: Bearer client-secret", "traceparent: 00-1-2-3"];
    let mut ids = Vec::new();
    for body in [ask("app"), ask_stream("app"), ask("app")] {
        let response = rig.chat(&headers, &body);
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"));
        ids.push(response.header("x-request-id").unwrap().to_owned());
        until("the copy is made", || own.answered() == ids.len());
    }
    let pairs = rig.pairs(3);
    for (pair, id) in pairs.iter().zip(&ids) {
        assert_eq!(pair.request_id, *id);
        assert_eq!(
            (pair.baseline.text.as_str(), pair.candidate.text.as_str()),
            ("from the cloud", "from home")
        );
        assert_eq!(pair.endpoint, Endpoint::ChatCompletions);
        for side in [&pair.baseline, &pair.candidate] {
            assert_eq!(
                (side.finish, side.fault, side.served.failed),
                (Some(Finish::Stop), None, false)
            );
            assert!(side.served.completion_tokens.is_some());
            assert_eq!(side.served.cost, None, "nobody knows a price");
        }
        assert!(!format!("{pair:?}").contains("from"), "{pair:?}");
    }
    assert_eq!(pairs[1].prompt, ask_stream("app"));
    let seen = own.inferences();
    assert_eq!(seen[1].json()["stream"], true);
    for copy in &seen {
        assert_eq!(copy.json()["model"], "fake-model");
        for header in ["authorization", "traceparent", "x-unit", "x-cutover-shadow"] {
            assert_eq!(copy.header(header), None);
        }
    }
    let metrics = rig.metrics();
    assert!(metrics.contains("cutover_shadow_requests_total{use_case=\"docs\",outcome=\"ok\"} 3"));
    let live =
        |line: &&str| line.starts_with("cutover_requests_total") && line.contains("candidate");
    assert!(metrics.lines().filter(live).all(|line| line.ends_with(" 0")), "{metrics}");
    let attempts =
        "cutover_attempts_total{upstream=\"own\",upstream_instance=\"own/0\",result=\"ok\"} 0";
    assert!(metrics.contains(attempts), "{metrics}");
}

#[test]
fn streams_keep_their_timing() {
    let (cloud, own) = fakes();
    let gate = Gate::new();
    own.always(Reply::tokens(&["a", "b"]).hold_each_chunk(&gate));
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    assert_eq!(rig.chat(&["x-unit: u"], &ask_stream("app")).status, 200);
    until("the copy's stream begins", || own.inferences().len() == 1);
    gate.open();
    let pair = rig.pairs(1).remove(0);
    for side in [pair.baseline, pair.candidate] {
        let first = side.served.first_token_ms.expect("a stream has a first token");
        assert!(first <= side.served.total_ms);
    }
    let gate = Gate::new();
    own.always(Reply::text("whole").hold_headers(&gate));
    assert_eq!(rig.chat(&["x-unit: u"], &ask("app")).status, 200);
    gate.open();
    assert_eq!(rig.pairs(1)[0].candidate.served.first_token_ms, None);
}

/// The answer is whole before the candidate has said anything, whatever the candidate does.
#[test]
fn the_client_never_waits_for_a_copy() {
    let (cloud, own) = fakes();
    let gate = Gate::new();
    own.always(Reply::text("at last").hold_headers(&gate));
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    for body in [ask("app"), ask_stream("app")] {
        let response = rig.chat(&["x-unit: u1"], &body);
        assert!(response.complete && response.text().contains("cloud"));
    }
    until("copies hang", || own.in_flight() == 2);
    gate.open();
    assert_eq!(rig.pairs(2)[0].candidate.text, "at last");
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (cloud, own) = fakes();
    let gate = Gate::new();
    own.always(Reply::words(1).hold_headers(&gate));
    let rig = Rig::shadowing(&config(&cloud, &own), |limits| {
        (limits.concurrency, limits.queue) = (1, 1);
    });
    rig.chat(&["x-unit: u1"], &ask("app"));
    until("the first copy is under way", || own.inferences().len() == 1);
    for _ in 0..3 {
        rig.chat(&["x-unit: u1"], &ask("app"));
    }
    until("two are dropped", || rig.dropped("queue_full") == 2);
    assert_eq!(rig.copies().waiting(), (1, 1));
    gate.open();
    rig.pairs(2);
    until("no worker is left", || rig.copies().waiting() == (0, 0));
    assert_eq!(own.inferences().len(), 2);
}

#[test]
fn a_spent_budget_stops_copies() {
    let (cloud, own) = fakes();
    let price = "price = { input_usd_per_mtok = 1.0, output_usd_per_mtok = 10.0 }";
    let config =
        config(&cloud, &own).replace("upstream = \"own\"", &format!("upstream = \"own\"\n{price}"));
    let rig = Rig::shadowing(&config, |limits| limits.budget_per_day = Some(NanoUsd(1)));
    rig.chat(&["x-unit: u1"], &ask("app"));
    until("the copy is dropped", || rig.dropped("budget") == 1);
    assert_eq!(own.bytes(), 0);
    drop(rig);

    let rig =
        Rig::shadowing(&config, |limits| limits.budget_per_day = Some(NanoUsd(1_000_000_000)));
    rig.chat(&["x-unit: u1"], &ask("app"));
    let pair = rig.pairs(1).remove(0);
    let cost = pair.candidate.served.cost.expect("it has a price");
    assert!(cost > NanoUsd(0));
    let copies = rig.copies();
    assert_eq!(copies.purse().spent_today(crate::harness::now()), cost);
    assert_eq!((copies.take_cost(), copies.take_cost()), (cost, NanoUsd(0)));
    assert!(!rig.metrics().contains("cutover_shadow_cost_usd_total{use_case=\"docs\"} 0\n"));
    let client = "cutover_cost_usd_total{use_case=\"docs\",arm=\"candidate\",variant=\"small\",upstream=\"own\"} 0";
    assert!(rig.metrics().contains(client), "{}", rig.metrics());
}

/// What tools take was not counted: copies went on beyond the day's money.
#[test]
fn what_a_copy_may_cost_counts_all_that_is_sent() {
    let (cloud, own) = fakes();
    let price = "price = { input_usd_per_mtok = 10.0, output_usd_per_mtok = 10.0 }";
    let config =
        config(&cloud, &own).replace("upstream = \"own\"", &format!("upstream = \"own\"\n{price}"));
    // A tenth of what 40 kB cost.
    let rig = Rig::shadowing(&config, |limits| limits.budget_per_day = Some(NanoUsd(10_000_000)));
    let tool = serde_json::json!({"type": "function", "function":
        {"name": "f", "description": "x".repeat(40_000), "parameters": {}}});
    let body = ask("app").replacen('{', &format!("{{\"tools\":[{tool}],"), 1);
    assert_eq!(rig.chat(&["x-unit: u1"], &body).status, 200);
    until("the copy is dropped", || rig.dropped("budget") == 1);
    rig.chat(&["x-unit: u1"], &ask("app"));
    rig.pairs(1);
}

#[test]
fn tool_calls_are_recorded_and_never_executed() {
    let (cloud, own) = fakes();
    let calls = |city: &str| Reply::default().call("weather", &format!("{{\"city\":\"{city}\"}}"));
    cloud.always(calls("Bonn").finish("tool_calls"));
    own.always(calls("Rome").finish("tool_calls"));
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    let tools = r#"}],"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}],"#;
    for body in [ask("app"), ask_stream("app")] {
        let response = rig.chat(&["x-unit: u1"], &body.replacen("}],", tools, 1));
        assert_eq!(response.status, 200, "{}", response.text());
    }
    for pair in rig.pairs(2) {
        for (side, city) in [(&pair.baseline, "Bonn"), (&pair.candidate, "Rome")] {
            let [call] = side.tool_calls.as_slice() else { panic!("one call: {side:?}") };
            assert_eq!((call.name.as_str(), call.arguments.contains(city)), ("weather", true));
            assert_eq!(side.finish, Some(Finish::ToolCalls));
        }
    }
    assert_eq!((cloud.inferences().len(), own.inferences().len()), (2, 2));
}

#[test]
fn a_client_that_leaves_leaves_no_copy() {
    let (cloud, own) = fakes();
    let gate = Gate::new();
    cloud.always(Reply::tokens(&["one", "two"]).hold_each_chunk(&gate));
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    gate.release(1);
    assert!(raw.read_until("one").unwrap().contains("one"));
    drop(raw);
    until("the drop is counted", || rig.dropped("client_gone") == 1);
    gate.open();
    assert_eq!(own.bytes(), 0);
}

#[test]
fn a_request_that_is_at_fault_leaves_no_copy() {
    let (cloud, own) = fakes();
    cloud.always(Reply::fault(Fault::status(400)));
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 400);
    until("the drop is counted", || rig.dropped("client_error") == 1);
    assert_eq!(own.bytes(), 0);
}

#[test]
fn whatever_a_candidate_answers_its_failure_is_evidence() {
    let (cloud, own) = fakes();
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    for reply in [
        // First, on a new connection: on a used one the pool sends again what was reset unanswered.
        Reply::fault(Fault::Reset),
        Reply::fault(Fault::status(500)),
        Reply::fault(Fault::status(400)),
        Reply::fault(Fault::status(429)),
        Reply::fault(Fault::NotJson),
        Reply::fault(Fault::Html(200)),
        Reply::fault(Fault::Half),
        Reply::fault(Fault::HugeHeaders(1 << 20)),
    ] {
        own.always(reply);
        assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 200);
        let pair = rig.pairs(1).remove(0);
        assert!(pair.candidate.served.failed && pair.candidate.fault.is_some(), "{pair:?}");
        assert!(pair.candidate.text.is_empty() && !pair.baseline.served.failed);
    }
    for fault in [Fault::Cut, Fault::Malformed, Fault::EarlyEnd, Fault::ErrorEvent] {
        own.always(Reply::words(4).and_then(2, fault.clone()));
        assert_eq!(rig.chat(&["x-unit: u1"], &ask_stream("app")).status, 200);
        assert!(rig.pairs(1)[0].candidate.served.failed, "{fault:?}");
    }
    // None of it counts against the instance, nor is any of it asked again.
    assert_eq!(own.inferences().len(), 12);
    let health = &rig.gateway.live().lanes[1].upstream.instances[0].health;
    assert_eq!(health.failures(), 0);
    assert!(
        rig.metrics()
            .contains("cutover_shadow_requests_total{use_case=\"docs\",outcome=\"failed\"} 12")
    );
}

#[test]
fn a_baseline_that_fails_is_evidence_too() {
    let (cloud, own) = fakes();
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    cloud.always(Reply::fault(Fault::status(500)));
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 502);
    cloud.always(Reply::words(4).and_then(2, Fault::Cut));
    rig.chat(&["x-unit: u1"], &ask_stream("app"));
    let pairs = rig.pairs(2);
    for pair in &pairs {
        assert!(pair.baseline.served.failed && !pair.candidate.served.failed, "{pair:?}");
        assert!(pair.baseline.fault.is_some());
        assert_eq!(pair.candidate.text, "from home");
    }
}

#[test]
fn live_requests_have_the_candidate_to_themselves() {
    let (cloud, own) = fakes();
    let gate = Gate::new();
    own.once(Reply::words(1).hold_headers(&gate));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0.01%")
        .replace("unit = {", "pilot = [\"vip\"]\nunit = {");
    let rig = Rig::shadowing(&config, |_| {});
    let mut live = rig.raw();
    live.request("POST /v1/chat/completions", &["x-unit: vip"], ask("app")).unwrap();
    until("a live request is there", || own.in_flight() == 1);
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).header("x-cutover-arm"), Some("baseline"));
    until("the copy waits", || rig.copies().waiting() == (0, 1));
    assert_eq!(own.inferences().len(), 1, "not while the live request is there");
    gate.open();
    assert_eq!(live.response().unwrap().unwrap().status, 200);
    assert_eq!(rig.pairs(1)[0].candidate.text, "from home");
}

/// It was no copy's turn but the first instance's.
#[test]
fn copies_take_turns_among_the_candidates_instances() {
    let (cloud, own) = fakes();
    let other = Fake::start_with(Setup::new(Persona::LlamaCpp).name("other"));
    other.always(Reply::tokens(&["from ", "home"]));
    let one = format!("base_url = \"{}\"", own.base_url());
    let two =
        format!("instances = {:?}\nbalance = \"round-robin\"", [own.base_url(), other.base_url()]);
    let rig = Rig::shadowing(&config(&cloud, &own).replace(&one, &two), |_| {});
    for sent in 1..=4 {
        rig.chat(&["x-unit: u1"], &ask("app"));
        until("the copy is made", || own.answered() + other.answered() == sent);
    }
    assert_eq!((own.answered(), other.answered()), (2, 2));
}

#[test]
fn a_copy_that_finds_no_room_in_time_is_dropped() {
    let (cloud, own) = fakes();
    let gate = Gate::new();
    own.always(Reply::words(1).hold_headers(&gate));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0.01%")
        .replace("unit = {", "pilot = [\"vip\"]\nunit = {");
    let rig = Rig::shadowing(&config, |limits| limits.timeout = Duration::from_millis(1));
    let mut live = rig.raw();
    live.request("POST /v1/chat/completions", &["x-unit: vip"], ask("app")).unwrap();
    until("a live request is there", || own.in_flight() == 1);
    rig.chat(&["x-unit: u1"], &ask("app"));
    until("the copy is dropped", || rig.dropped("busy") == 1);
    gate.open();
}

#[test]
fn what_is_too_large_is_not_kept() {
    let (cloud, own) = fakes();
    let rig = Rig::shadowing(&config(&cloud, &own), |limits| limits.capture_bytes_max = 4_000);
    rig.chat(&["x-unit: u1"], &ask("app").replace("hi", &"hi ".repeat(2_000)));
    until("the prompt", || rig.dropped("too_large") == 1);
    cloud.always(Reply::words(2_000));
    for (count, body) in [ask("app"), ask_stream("app")].iter().enumerate() {
        assert!(rig.chat(&["x-unit: u1"], body).complete);
        until("the baseline's answer", || rig.dropped("too_large") == 2 + count as u64);
    }
    assert_eq!(own.bytes(), 0);
}

/// A candidate that rambles must not lose its worst answers from the evidence.
#[test]
fn an_answer_of_the_candidate_that_is_too_large_counts_as_failed() {
    let (cloud, own) = fakes();
    let rig = Rig::shadowing(&config(&cloud, &own), |limits| limits.capture_bytes_max = 4_000);
    cloud.always(Reply::words(1));
    own.always(Reply::words(2_000));
    for body in [ask("app"), ask_stream("app")] {
        rig.chat(&["x-unit: u1"], &body);
    }
    for pair in rig.pairs(2) {
        assert_eq!(pair.candidate.fault, Some("answer_too_large"));
        assert!(pair.candidate.served.failed && pair.candidate.text.is_empty());
    }
    assert_eq!(rig.dropped("too_large"), 0);
}

#[test]
fn a_stopped_rollout_stops_what_waits() {
    let (cloud, own) = fakes();
    let gate = Gate::new();
    own.always(Reply::words(1).hold_headers(&gate));
    let rig = Rig::shadowing(&config(&cloud, &own), |limits| limits.concurrency = 1);
    rig.chat(&["x-unit: u1"], &ask("app"));
    until("one is under way", || own.inferences().len() == 1);
    rig.chat(&["x-unit: u1"], &ask("app"));
    until("one waits", || rig.copies().waiting() == (1, 1));
    rig.copy(WeightBp::NONE);
    gate.open();
    until("it is dropped", || rig.dropped("stopped") == 1);
    rig.pairs(1);
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 200);
    assert_eq!(own.inferences().len(), 1);
}

#[test]
fn a_reload_keeps_pairs_money_and_feed() {
    let (cloud, own) = fakes();
    let config = config(&cloud, &own);
    let rig = Rig::shadowing(&config, |_| {});
    let (copies, feed) = (rig.copies(), rig.feed());
    rig.chat(&["x-unit: u1"], &ask("app"));
    until("the copy is made", || own.answered() == 1 && copies.waiting() == (0, 0));
    rig.reload(&config.replace(
        "[use_cases.docs]",
        "[use_cases.other]\nmatch = { model = \"o\" }\nbaseline = \"big\"\n[use_cases.docs]",
    ));
    assert!(Arc::ptr_eq(&copies, &rig.copies()) && Arc::ptr_eq(&feed, &rig.feed()));
    rig.pairs(1);
}

#[test]
fn a_shutdown_leaves_nothing_running_and_counts_what_it_drops() {
    let (cloud, own) = fakes();
    let gate = Gate::new();
    own.always(Reply::words(1).hold_headers(&gate));
    let mut rig = Rig::shadowing(&config(&cloud, &own), |limits| limits.concurrency = 1);
    for _ in 0..3 {
        rig.chat(&["x-unit: u1"], &ask("app"));
    }
    until("one is under way, two wait", || {
        own.in_flight() == 1 && rig.copies().waiting() == (2, 1)
    });
    rig.stop();
    until("all are counted", || rig.dropped("shutdown") == 3);
    until("the upstream is let go", || own.in_flight() == 0 || !own.disconnects().is_empty());
    assert_eq!(rig.copies().waiting(), (0, 0));
    gate.open();
}

#[test]
fn completions_and_embeddings_are_copied_too() {
    let cloud = Fake::start(Persona::OpenAi);
    let own = Fake::start(Persona::LlamaCpp);
    let rig = Rig::shadowing(&config(&cloud, &own), |_| {});
    let completion = rig.post("/v1/completions", &["x-unit: u"], r#"{"model":"app","prompt":"a"}"#);
    assert_eq!(completion.status, 200, "{}", completion.text());
    let pair = rig.pairs(1).remove(0);
    assert!(!pair.baseline.text.is_empty() && !pair.candidate.text.is_empty());
    let vectors = rig.post("/v1/embeddings", &["x-unit: u"], r#"{"model":"app","input":"a"}"#);
    assert_eq!(vectors.status, 200, "{}", vectors.text());
    let pair = rig.pairs(1).remove(0);
    assert_eq!(pair.endpoint, Endpoint::Embeddings);
    assert!(pair.baseline.text.starts_with("[[") && pair.candidate.text.starts_with("[["));
}

#[test]
fn limits_are_the_configurations() {
    let (cloud, own) = fakes();
    let text = config(&cloud, &own);
    let limits = |text: &str| Rig::start(text).gateway.live().use_cases[0].shadow;
    assert_eq!(limits(&text), Settings::default());
    let own = "[use_cases.docs.shadow]\nconcurrency = 7\nqueue = 9\ncapture_limit = \"1 MiB\"\n\
               timeout = \"5 s\"\nbudget_per_day = \"0.25\"\nunpriced = true\nlive_limit = 3\n";
    assert_eq!(
        limits(&format!("{text}{own}")),
        Settings {
            concurrency: 7,
            queue: 9,
            capture_bytes_max: 1024 * 1024,
            timeout: Duration::from_secs(5),
            budget_per_day: Some(NanoUsd(250_000_000)),
            unpriced: true,
            live_max: 3,
        }
    );
}

#[test]
fn what_was_refused_costs_nothing_and_what_broke_off_may_be_on_the_bill() {
    let (cloud, own) = fakes();
    let price = "price = { input_usd_per_mtok = 1.0, output_usd_per_mtok = 10.0 }";
    let config =
        config(&cloud, &own).replace("upstream = \"own\"", &format!("upstream = \"own\"\n{price}"));
    let rig = Rig::shadowing(&config, |_| {});
    let spent_after = |reply: Reply| {
        own.always(reply);
        rig.chat(&["x-unit: u1"], &ask("app"));
        assert!(rig.pairs(1)[0].candidate.served.failed);
        rig.copies().purse().spent_today(crate::harness::now())
    };
    assert_eq!(spent_after(Reply::fault(Fault::status(500))), NanoUsd(0));
    assert!(spent_after(Reply::fault(Fault::Half)) > NanoUsd(0));
}

/// The candidate is asked in its own dialect, and its answer is read out of it.
#[test]
fn a_candidate_of_another_dialect_is_copied_to_in_its_own() {
    let (cloud, _) = fakes();
    let own = Fake::start(Persona::Ollama);
    own.always(Reply::tokens(&["from ", "home"]));
    let rig = Rig::shadowing(&config(&cloud, &own).replace("llamacpp", "ollama"), |_| {});
    for body in [ask("app"), ask_stream("app")] {
        rig.chat(&["x-unit: u1"], &body);
        let pair = rig.pairs(1).remove(0);
        assert_eq!((pair.candidate.text.as_str(), pair.candidate.fault), ("from home", None));
        assert_eq!(pair.candidate.finish, Some(Finish::Stop));
    }
    assert_eq!(own.inferences()[1].path(), "/api/chat");
}

#[test]
fn a_candidate_that_is_asked_with_the_clients_key_gets_no_copy() {
    let (cloud, own) = fakes();
    let config = config(&cloud, &own)
        .replace("provider = \"llamacpp\"", "provider = \"llamacpp\"\nkey = \"client\"");
    let rig = Rig::shadowing(&format!("{config}[server]\nkeys = \"off\"\n"), |_| {});
    rig.chat(&["x-unit: u1"], &ask("app"));
    until("the drop is counted", || rig.dropped("client_key") == 1);
    assert_eq!(own.bytes(), 0);
}

/// Nothing is sent to the address: the copy ends before.
#[test]
fn a_service_of_others_without_a_price_is_asked_only_if_that_is_allowed() {
    let (cloud, _) = fakes();
    let config = two_arms(&cloud.base_url(), "http://192.88.99.1:9", "0%");
    let rig = Rig::shadowing(&config, |_| {});
    rig.chat(&["x-unit: u1"], &ask("app"));
    until("the drop is counted", || rig.dropped("unpriced") == 1);
    assert_eq!(rig.copies().waiting(), (0, 0));
}

#[test]
fn an_answer_without_usage_is_booked_by_estimate_and_has_no_cost_of_its_own() {
    let (cloud, own) = fakes();
    own.always(Reply::words(5).without_usage());
    let price = "price = { input_usd_per_mtok = 1.0, output_usd_per_mtok = 10.0 }";
    let config =
        config(&cloud, &own).replace("upstream = \"own\"", &format!("upstream = \"own\"\n{price}"));
    let rig = Rig::shadowing(&config, |_| {});
    rig.chat(&["x-unit: u1"], &ask("app"));
    let pair = rig.pairs(1).remove(0);
    assert_eq!((pair.candidate.served.failed, pair.candidate.served.cost), (false, None));
    assert!(rig.copies().purse().spent_today(crate::harness::now()) > NanoUsd(0));
}
