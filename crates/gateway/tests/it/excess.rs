//! What the candidate's engine itself refuses as one too many is excess like any other: the day's money bounds it. And
//! whose time in line is short is judged by the answers of his own use case.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cutover_gateway::UpstreamLane;
use cutover_route::health::{Judged, State};
use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply};
use cutover_testkit::raw::Response;
use cutover_units::{Arm, Millis, NanoUsd, UpstreamName, UseCaseName};
use cutover_wire::probe::Facts;

use crate::harness::{
    self, Rig, ask, ask_stream, docs, docs_on, engines, now, service, two_arms, until,
};

/// All requests are the candidate's; the baseline costs 10 dollars a million tokens.
struct Arms {
    own: Fake,
    cloud: Fake,
    rig: Rig,
}

/// A cent and a half: one answer of a thousand tokens is set aside with one.
const MONEY: &str = "overflow = { budget_per_day = \"0.015\" }\n";
/// What stands before the small variant: what the other one costs.
const PRICED: &str =
    "price = { input_usd_per_mtok = 10, output_usd_per_mtok = 10 }\n[variants.small]";
const UNIT: [&str; 1] = ["x-unit: u1"];

impl Arms {
    fn start(of_own: &str, of_use_case: &str) -> Self {
        Self::with("", of_own, of_use_case)
    }

    fn with(of_cloud: &str, of_own: &str, of_use_case: &str) -> Self {
        let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
        let config = two_arms(&cloud.base_url(), &own.base_url(), "100%")
            .replace("[upstreams.own]", &format!("[upstreams.own]\nprobes = false\n{of_own}\n"))
            .replace("[upstreams.cloud]", &format!("[upstreams.cloud]\n{of_cloud}"))
            .replace("[variants.small]", PRICED)
            + of_use_case;
        let rig = Rig::start(&config);
        Self { own, cloud, rig }
    }

    fn ask(&self) -> Response {
        self.rig.chat(&UNIT, &ask("app"))
    }

    /// One request is served while `then` runs: the engine is well, and perhaps full.
    fn meanwhile<T>(&self, then: impl FnOnce() -> T) -> T {
        let gate = Gate::new();
        self.own.once(Reply::words(3).hold_headers(&gate));
        thread::scope(|scope| {
            let first = scope.spawn(|| self.ask());
            until("one is served", || gate.arrivals() == 1);
            let done = then();
            gate.open();
            assert_eq!(first.join().unwrap().header("x-cutover-upstream"), Some("own"));
            done
        })
    }

    /// All of the day's money is spent from now on.
    fn spends_all(&self) {
        self.rig.gateway.restore_overflow_spent(&docs(), now(), NanoUsd(15_000_000));
    }

    fn went(&self, reason: &str) -> bool {
        let told =
            format!("cutover_overflow_requests_total{{use_case=\"docs\",reason=\"{reason}\"}} 1\n");
        self.rig.metrics().contains(&told)
    }
}

fn limited(status: u16) -> Reply {
    if status == 503 {
        let body = r#"{"error":{"message":"server busy","type":"server_error"}}"#;
        return Reply::fault(Fault::answer("503 Service Unavailable", "application/json", body));
    }
    Reply::fault(Fault::Status { status, retry_after: Some("1".into()), retry_after_ms: None })
}

/// Each went to the baseline as a failover, past the day's money and unmarked.
#[test]
fn what_the_engine_refuses_as_one_too_many_costs_the_days_money() {
    for (status, code) in [(503, "server_is_overloaded"), (429, "rate_limit_exceeded")] {
        for body in [ask("app"), ask_stream("app")] {
            let arms = Arms::start("", MONEY);
            arms.meanwhile(|| {
                arms.own.always(limited(status));
                let answer = arms.rig.chat(&UNIT, &body);
                let by = answer.header("x-cutover-upstream");
                assert_eq!((answer.status, by), (200, Some("cloud")), "{}", answer.text());
                assert_eq!(answer.header("x-cutover-overflow"), Some("refused"));
                assert!(arms.went("refused"), "{}", arms.rig.metrics());
                arms.spends_all();
                let answer = arms.rig.chat(&UNIT, &body);
                assert_eq!(answer.status, status, "{}", answer.text());
                assert_eq!(answer.json()["error"]["code"], code);
                assert_eq!(answer.header("retry-after"), Some("1"));
                assert_eq!((arms.own.inferences().len(), arms.cloud.inferences().len()), (3, 1));
            });
        }
    }
}

/// Nobody waits for it, and only what somebody waits for is worth money.
#[test]
fn refused_batch_stays_unless_it_may_cost_money() {
    for (may, status) in [(false, 503), (true, 200)] {
        let arms = Arms::start("", &format!("overflow = {{ batch = {may} }}\n"));
        let batch = ["x-unit: u1", "x-cutover-priority-class: batch"];
        arms.meanwhile(|| {
            arms.own.always(limited(503));
            assert_eq!(arms.rig.chat(&batch, &ask("app")).status, status);
        });
        assert_eq!(arms.cloud.inferences().len(), usize::from(may));
    }
}

#[test]
fn who_is_refused_when_the_money_is_spent_goes_back_into_the_line() {
    for status in [503, 429] {
        let arms = Arms::start("queue = { wait = \"30 s\" }", MONEY);
        arms.spends_all();
        arms.meanwhile(|| {
            arms.own.once(limited(status));
            let answer = arms.ask();
            assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("own")));
            assert_eq!(answer.header("x-cutover-attempts"), Some("2"));
        });
        assert_eq!(arms.cloud.inferences().len(), 0);
    }
}

/// They waited for all of `queue.wait`, and were told to come back in a second.
#[test]
fn nobody_waits_for_instances_that_all_say_how_long_they_take_nobody() {
    let [one, two] = [(); 2].map(|()| Fake::start(Persona::OpenAi));
    let rig = Rig::start(&format!(
        "default_upstream = \"own\"\n[upstreams.own]\n{}\nin_flight_limit = 4\n\
         queue = {{ wait = \"10 s\" }}\n",
        engines("openai-compatible", &[&one, &two])
    ));
    for engine in [&one, &two] {
        let retry_after = Some("20".into());
        engine.always(Reply::fault(Fault::Status {
            status: 429,
            retry_after,
            retry_after_ms: None,
        }));
    }
    for (attempts, status) in [("2", 429), ("0", 503), ("0", 503)] {
        let began = Instant::now();
        let answer = rig.chat(&[], &ask("fake-model"));
        assert_eq!((answer.status, answer.header("x-cutover-attempts")), (status, Some(attempts)));
        let told: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((15..=20).contains(&told), "{told} s");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[test]
fn who_finds_no_connection_is_excess_too() {
    for has_money in [true, false] {
        let arms = Arms::start("max_connections = 1", MONEY);
        let gate = Gate::new();
        arms.own.always(Reply::words(3).hold_headers(&gate));
        if !has_money {
            arms.spends_all();
        }
        thread::scope(|scope| {
            let first = scope.spawn(|| arms.ask());
            until("the connection is taken", || gate.arrivals() == 1);
            let second = scope.spawn(|| arms.ask());
            if has_money {
                until("it is the baseline's", || arms.went("full"));
            } else {
                let live = arms.rig.gateway.live();
                let mut lanes = live.lanes.iter();
                let own = lanes.find(|lane| lane.upstream.name.as_str() == "own").unwrap();
                let own = own.upstream.instances[0].instance.live();
                until("it waits", || own.figures().waiting == 1);
            }
            gate.open();
            assert_eq!(first.join().unwrap().header("x-cutover-upstream"), Some("own"));
            let second = second.join().unwrap();
            let (by, why) = if has_money { ("cloud", Some("full")) } else { ("own", None) };
            assert_eq!((second.status, second.header("x-cutover-upstream")), (200, Some(by)));
            assert_eq!(second.header("x-cutover-overflow"), why);
        });
    }
}

/// Five or six at once were sent past the line before it.
#[test]
fn who_finds_no_connection_waits_for_one_where_the_baseline_has_a_line_itself() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%")
        .replace("[upstreams.own]", "[upstreams.own]\nprobes = false\nmax_connections = 1")
        .replace("[upstreams.cloud]", "[upstreams.cloud]\nin_flight_limit = 1\nqueue = {}");
    let rig = Rig::start(&format!("{config}overflow = {{ unpriced = true }}\n"));
    let gate = Gate::new();
    own.always(Reply::words(3).hold_headers(&gate));
    cloud.always(Reply::words(3).hold_headers(&gate));
    thread::scope(|scope| {
        let first = scope.spawn(|| rig.chat(&UNIT, &ask("app")));
        until("the connection is taken", || own.in_flight() == 1);
        let second = scope.spawn(|| rig.chat(&UNIT, &ask("app")));
        until("the baseline is full", || cloud.in_flight() == 1);
        let third = scope.spawn(|| rig.chat(&UNIT, &ask("app")));
        let live = rig.gateway.live();
        let mut lanes = live.lanes.iter();
        let lane = lanes.find(|lane| lane.upstream.name.as_str() == "own").unwrap();
        let at = lane.upstream.instances[0].instance.live();
        until("it waits", || at.figures().waiting == 1 || third.is_finished());
        gate.open();
        let by = [first, second, third].map(|one| one.join().unwrap());
        let by = by.each_ref().map(|one| one.header("x-cutover-upstream"));
        assert_eq!(by, [Some("own"), Some("cloud"), Some("own")]);
    });
    assert_eq!(cloud.in_flight_max(), 1);
}

/// It was marked as overflow, though nothing went anywhere: it counted in no gate.
#[test]
fn who_finds_no_connection_and_is_not_taken_elsewhere_is_no_overflow() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let arms = [
        harness::Arm::big(format!("{}\nkey = \"none\"", service("anthropic", &cloud.base_url()))),
        harness::Arm::small(format!(
            "{}\nprobes = false\nmax_connections = 1",
            engines("llamacpp", &[&own])
        )),
    ];
    let docs = docs_on(&arms, "weight = \"100%\"\noverflow = { unpriced = true }\n");
    let rig = Rig::start(&format!("default_upstream = \"cloud\"\n{docs}"));
    let gate = Gate::new();
    own.always(Reply::words(3).hold_headers(&gate));
    let body = ask("app").replacen('{', "{\"logprobs\":true,", 1);
    thread::scope(|scope| {
        let first = scope.spawn(|| rig.chat(&[], &body));
        until("the connection is taken", || gate.arrivals() == 1);
        let second = scope.spawn(|| rig.chat(&[], &body));
        let live = rig.gateway.live();
        let mut lanes = live.lanes.iter();
        let lane = lanes.find(|lane| lane.upstream.name.as_str() == "own").unwrap();
        let at = lane.upstream.instances[0].instance.live();
        until("it waits", || at.figures().waiting == 1);
        gate.open();
        for answer in [first, second].map(|one| one.join().unwrap()) {
            assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("own")));
            assert_eq!(answer.header("x-cutover-overflow"), None);
        }
    });
    assert_eq!(cloud.inferences().len(), 0);
}

/// Engines that say 200 before they know (SGLang, TGI) refuse inside the stream. Each was a failure: the engine rested,
/// and all went to the cloud.
#[test]
fn a_refusal_inside_a_stream_is_excess_like_any_other() {
    for (event, status) in [
        (r#"{"error":{"message":"The request queue is full.","code":503}}"#, 503),
        (r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, 503),
        (r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#, 429),
    ] {
        let arms = Arms::start("", MONEY);
        arms.spends_all();
        let stream = format!("data: {event}\n\ndata: [DONE]\n\n");
        arms.meanwhile(|| {
            arms.own.always(Reply::fault(Fault::answer("200 OK", "text/event-stream", &stream)));
            for _ in 0..6 {
                let answer = arms.rig.chat(&UNIT, &ask_stream("app"));
                assert_eq!(answer.status, status, "{}", answer.text());
            }
        });
        assert_eq!(arms.cloud.inferences().len(), 0);
    }
}

/// A candidate of two instances, and no money to spend.
struct Pair {
    cloud: Fake,
    own: [Fake; 2],
    rig: Rig,
}

impl Pair {
    fn start() -> Self {
        let (cloud, own) =
            (Fake::start(Persona::OpenAi), [(); 2].map(|()| Fake::start(Persona::LlamaCpp)));
        let engines = format!("{}\nprobes = false", engines("llamacpp", &[&own[0], &own[1]]));
        let arms = [
            harness::Arm::big(service("openai-compatible", &cloud.base_url())),
            harness::Arm::small(engines),
        ];
        let docs = docs_on(&arms, "weight = \"100%\"\noverflow = { budget_per_day = \"0.00\" }\n");
        let docs = docs.replace("[variants.small]", PRICED);
        let rig = Rig::start(&format!("default_upstream = \"cloud\"\n{docs}"));
        Self { cloud, own, rig }
    }

    fn upstream(&self) -> Arc<UpstreamLane> {
        let live = self.rig.gateway.live();
        let own = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
        Arc::clone(&own.upstream)
    }
}

/// The full one's excess was sent to the one that is out, whose failure was nobody's excess: all of it went to the cloud.
#[test]
fn what_a_full_instance_refuses_is_excess_though_another_is_out() {
    let pair = Pair::start();
    let own = pair.upstream();
    let _seat = own.instances[0].instance.live().post().sit();
    (0..5).for_each(|_| own.instances[1].health.failed(now(), now()));
    pair.own[0].always(limited(503));
    pair.own[1].always(limited(500));
    for _ in 0..3 {
        let answer = pair.rig.chat(&[], &ask("app"));
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    assert_eq!((pair.own[1].inferences().len(), pair.cloud.inferences().len()), (0, 0));
}

/// Another model's engine at the same upstream is well: what it serves says nothing of this one's.
#[test]
fn who_lacks_the_model_serves_nobody_of_those_who_want_it() {
    let pair = Pair::start();
    let _seat = pair.upstream().instances[1].instance.live().post().sit();
    pair.own[0].always(limited(503));
    pair.own[1].always(limited(404));
    for _ in 0..3 {
        let answer = pair.rig.chat(&[], &ask("app"));
        let by = answer.header("x-cutover-upstream");
        assert_eq!((answer.status, by), (200, Some("cloud")), "{}", answer.text());
    }
}

/// A load balancer whose targets are gone refuses everybody: that is an outage, which nobody may see whatever it costs.
#[test]
fn who_refuses_everybody_is_no_full_engine() {
    let arms = Arms::start("", MONEY);
    arms.spends_all();
    let goes_on = || {
        let answer = arms.ask();
        assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("cloud")));
        assert_eq!(answer.header("x-cutover-overflow"), None, "a failover, as ever");
    };
    arms.own.always(limited(503));
    // Nobody is served there.
    goes_on();
    arms.meanwhile(|| {
        assert_eq!(arms.ask().status, 503, "it may be full");
        let live = arms.rig.gateway.live();
        let own = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
        let health = &own.upstream.instances[0].health;
        health.succeeded();
        // It has said nothing but no for half a minute, whoever is there.
        for ago in (1..=31).rev() {
            health.was_full((Millis(now().0 - ago * 1_000), 0), None);
        }
        goes_on();
    });
    // The engine reads its model in, and says so.
    arms.own.always(Reply::words(1));
    arms.meanwhile(|| {
        let body = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
        let loading = Fault::answer("503 Service Unavailable", "application/json", body);
        arms.own.always(Reply::fault(loading));
        goes_on();
    });
}

/// All others waited in its line, where one a second was let in and refused, for as long as the outage lasted.
#[test]
fn who_has_long_said_nothing_but_no_is_out_of_order_and_nobody_waits_for_it() {
    let arms = Arms::start("queue = { wait = \"1 h\" }", "");
    let live = arms.rig.gateway.live();
    let own = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
    let instance = &own.upstream.instances[0];
    for ago in [6_000, 3_000] {
        instance.health.was_full((Millis(now().0 - ago), 0), None);
    }
    arms.own.always(limited(503));
    for _ in 0..12 {
        let answer = arms.ask();
        assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("cloud")));
    }
    assert_eq!(instance.state(now()), State::Ejected);
    assert!(arms.own.inferences().len() < 12);
}

/// Others than ours fill it, or ours take their time: its excess went to the cloud past the day's money.
#[test]
fn an_engine_that_probes_find_at_work_is_full_whoever_it_works_for() {
    let arms = Arms::start("", MONEY);
    arms.spends_all();
    arms.own.always(limited(503));
    let live = arms.rig.gateway.live();
    let own = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
    for (running, seen) in [(4, (503, None)), (0, (200, Some("cloud")))] {
        let facts = Facts { running: Some(running), ..Facts::default() };
        let fit = Judged { state: State::Healthy, misses: 0 };
        own.upstream.instances[0].health.probed((fit, now()), Some(facts), &[]);
        let answer = arms.ask();
        let by = answer.header("x-cutover-upstream").filter(|_| answer.status == 200);
        assert_eq!((answer.status, by), seen, "{running} run: {}", answer.text());
    }
}

/// It passed those who wait there, and the limit.
#[test]
fn excess_does_not_pass_the_baselines_own_line() {
    let arms = Arms::with("in_flight_limit = 1\nqueue = {}", "", "overflow = {}\n");
    let gate = Gate::new();
    arms.cloud.once(Reply::words(3).hold_headers(&gate));
    arms.meanwhile(|| {
        arms.own.always(limited(503));
        thread::scope(|scope| {
            let first = scope.spawn(|| arms.ask());
            until("the baseline is full", || gate.arrivals() == 1);
            let told = arms.ask();
            gate.open();
            assert_eq!((told.status, told.header("x-cutover-overflow")), (503, None));
            assert_eq!(first.join().unwrap().header("x-cutover-overflow"), Some("refused"));
            assert!(arms.ask().header("x-cutover-overflow").is_some());
        });
    });
}

/// Its client was told of the baseline's failure, though its own engine had a place again.
#[test]
fn excess_that_the_baseline_fails_is_its_own_engines_again() {
    for line in ["", "queue = { wait = \"30 s\" }"] {
        for (again, status, by) in [(None, 200, Some("own")), (Some(429), 429, Some("own"))] {
            let arms = Arms::start(line, MONEY);
            arms.cloud.always(Reply::fault(Fault::status(500)));
            arms.meanwhile(|| {
                arms.own.once(limited(503));
                if let Some(again) = again {
                    arms.own.once(limited(again));
                }
                let answer = arms.ask();
                let seen = (answer.status, answer.header("x-cutover-upstream"));
                assert_eq!(seen, (status, by), "{line} {}", answer.text());
                assert_eq!(answer.header("x-cutover-overflow"), Some("refused"));
            });
            assert_eq!((arms.own.inferences().len(), arms.cloud.inferences().len()), (3, 1));
        }
    }
}

/// It was sent to where nobody answers, though its line had time.
#[test]
fn while_the_baseline_is_down_the_refused_wait_in_line() {
    let arms = Arms::start("queue = { wait = \"30 s\" }", "overflow = {}\n");
    let cloud = UpstreamName::new("cloud").unwrap();
    arms.rig.gateway.drain(&cloud, &arms.cloud.address().to_string(), true);
    arms.meanwhile(|| {
        arms.own.once(limited(429));
        let answer = arms.ask();
        assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("own")));
        assert_eq!((answer.header("x-cutover-overflow"), arms.cloud.bytes()), (None, 0));
    });
}

/// Two instances were asked at most, and its client told of the second's refusal.
#[test]
fn an_instance_that_has_room_is_asked_before_anybody_is_told() {
    let (cloud, idle) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let full = [(); 2].map(|()| Fake::start(Persona::LlamaCpp));
    let all = [&full[0], &full[1], &idle];
    let own = format!("{}\nprobes = false\nbalance = \"round-robin\"", engines("llamacpp", &all));
    let arms = [
        harness::Arm::big(service("openai-compatible", &cloud.base_url())),
        harness::Arm::small(own),
    ];
    let docs = docs_on(&arms, &format!("weight = \"100%\"\n{MONEY}"));
    let rig = Rig::start(&format!("default_upstream = \"cloud\"\n{docs}"));
    for fake in &full {
        fake.always(limited(429));
    }
    for _ in 0..3 {
        let answer = rig.chat(&[], &ask("app"));
        assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("own")));
    }
    assert_eq!((idle.inferences().len(), cloud.inferences().len()), (3, 0));
}

/// They used up all the attempts that there are, and whoever stands behind them was never asked.
#[test]
fn however_many_instances_refuse_the_baseline_is_asked() {
    for (of_use_case, overflow) in [("", None), ("overflow = {}\n", Some("refused"))] {
        let cloud = Fake::start(Persona::OpenAi);
        let full = [(); 5].map(|()| Fake::start(Persona::LlamaCpp));
        let all: Vec<_> = full.iter().collect();
        let own =
            format!("{}\nprobes = false\nbalance = \"round-robin\"", engines("llamacpp", &all));
        let arms = [
            harness::Arm::big(service("openai-compatible", &cloud.base_url())),
            harness::Arm::small(own),
        ];
        let docs = docs_on(&arms, &format!("weight = \"100%\"\n{of_use_case}"));
        let rig = Rig::start(&format!("default_upstream = \"cloud\"\n{docs}"));
        // Each serves somebody, and is full.
        let live = rig.gateway.live();
        let own = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
        let posts = own.upstream.instances.iter().map(|one| one.instance.live().post().sit());
        let _seats: Vec<_> = posts.collect();
        for fake in &full {
            fake.always(limited(429));
        }
        let answer = rig.chat(&[], &ask("app"));
        assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("cloud")));
        assert_eq!(answer.header("x-cutover-overflow"), overflow);
        assert_eq!(answer.header("x-cutover-attempts"), Some("4"));
    }
}

/// It was told of the failure, as if nobody stood behind the engine.
#[test]
fn who_waited_for_a_connection_and_fails_then_is_the_baselines_as_ever() {
    let arms = Arms::start("max_connections = 1", MONEY);
    let gate = Gate::new();
    arms.own.always(Reply::words(3).hold_headers(&gate));
    arms.spends_all();
    thread::scope(|scope| {
        let first = scope.spawn(|| arms.ask());
        until("the connection is taken", || gate.arrivals() == 1);
        arms.own.once(limited(500));
        let second = scope.spawn(|| arms.ask());
        let live = arms.rig.gateway.live();
        let mut lanes = live.lanes.iter();
        let own = lanes.find(|lane| lane.upstream.name.as_str() == "own").unwrap();
        let own = own.upstream.instances[0].instance.live();
        until("it waits", || own.figures().waiting == 1);
        gate.open();
        assert_eq!(first.join().unwrap().header("x-cutover-upstream"), Some("own"));
        let second = second.join().unwrap();
        let by = second.header("x-cutover-upstream");
        assert_eq!((second.status, by), (200, Some("cloud")), "{}", second.text());
    });
}

fn has_one(metrics: &str, family: &str) -> bool {
    metrics.lines().any(|line| line.starts_with(family) && line.ends_with(" 1"))
}

/// An engine that fails is no full one: who is asked in its place is asked whatever it costs.
#[test]
fn what_fails_otherwise_goes_on_as_ever() {
    for (fault, of_use_case) in [(500, MONEY), (503, ""), (429, "")] {
        let arms = Arms::start("", of_use_case);
        arms.spends_all();
        arms.meanwhile(|| {
            arms.own.always(limited(fault));
            let answer = arms.ask();
            assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("cloud")));
            assert_eq!(answer.header("x-cutover-overflow"), None);
        });
    }
}

/// A use case with long answers had others' requests turned away in the line.
#[test]
fn how_long_answers_take_is_known_by_use_case() {
    const OTHER: &str = "deadline = \"10 min\"\n[use_cases.long]\nmatch = { model = \"long\" }\nbaseline = \"small\"\n";
    let arms = Arms::start("in_flight_limit = 1\nqueue = { wait = \"5 min\" }", OTHER);
    let (live, gate) = (arms.rig.gateway.live(), Gate::new());
    arms.own.always(Reply::words(3).hold_headers(&gate));
    let usual = |name: &str| {
        let lane = live.use_case_by_name(&UseCaseName::new(name).unwrap()).unwrap();
        Arc::clone(&lane.usual)
    };
    for arm in [Arm::Baseline, Arm::Candidate] {
        usual("long").took(arm, false, 3_600_000_000);
    }
    thread::scope(|scope| {
        let first = scope.spawn(|| arms.rig.chat(&[], &ask("long")));
        until("the place is taken", || gate.arrivals() == 1);
        let waits = scope.spawn(|| arms.ask());
        let waiting = "cutover_queue_waiting_requests{upstream=\"own\"}";
        until("it waits", || has_one(&arms.rig.metrics(), waiting));
        gate.open();
        for answer in [first, waits] {
            assert_eq!(answer.join().unwrap().status, 200);
        }
    });
    let took = Duration::from_micros(usual("docs").us(Arm::Candidate, false));
    assert!(!took.is_zero() && took < Duration::from_mins(5), "{took:?}");
    assert_eq!(usual("docs").us(Arm::Baseline, false), 0);
}
