//! What becomes of requests that their upstream has no room for: they wait their turn, go to the baseline,
//! or are told when to come back.

use std::thread;
use std::time::{Duration, Instant};

use cutover_route::health::{Judged, State};
use cutover_route::overflow::Class;
use cutover_store::{Options, Store};
use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply};
use cutover_testkit::raw::Response;
use cutover_units::{Arm, Millis, NanoUsd, UpstreamName};

use crate::harness::{Rig, ask, ask_stream, docs, now, two_arms, until};

/// A candidate with one place, and a baseline that costs 10 dollars a million tokens.
struct Full {
    own: Fake,
    cloud: Fake,
    rig: Rig,
    gate: Gate,
}

fn config(own: &Fake, cloud: &Fake, (weight, queue, overflow): (&str, &str, &str)) -> String {
    two_arms(&cloud.base_url(), &own.base_url(), weight)
        .replace(
            "[upstreams.own]",
            &format!("[upstreams.own]\nprobes = false\nin_flight_limit = 1\n{queue}"),
        )
        .replace(
            "[variants.small]",
            "price = { input_usd_per_mtok = 10, output_usd_per_mtok = 10 }\n[variants.small]",
        )
        + overflow
}

impl Full {
    fn start(weight: &str, queue: &str, overflow: &str) -> Self {
        Self::storing(weight, (queue, overflow), None)
    }

    fn storing(weight: &str, (queue, overflow): (&str, &str), store: Option<&Store>) -> Self {
        let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
        let config = config(&own, &cloud, (weight, queue, overflow));
        let rig = Rig::start_storing(&config, None, store);
        rig.feed().watch();
        let gate = Gate::new();
        own.always(Reply::words(3).hold_headers(&gate));
        Self { own, cloud, rig, gate }
    }

    /// One request holds the place while `then` runs; its answer comes afterwards.
    fn meanwhile<T>(&self, then: impl FnOnce() -> T) -> T {
        self.meanwhile_by(&["x-unit: first"], then)
    }

    /// The same where that request has these headers.
    fn meanwhile_by<T>(&self, headers: &[&str], then: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let first = scope.spawn(|| self.rig.chat(headers, &ask("app")));
            until("the place is taken", || self.gate.arrivals() >= 1);
            let done = then();
            self.gate.open();
            assert_eq!(first.join().unwrap().header("x-cutover-upstream"), Some("own"));
            done
        })
    }

    fn ask(&self, headers: &[&str]) -> Response {
        self.rig.chat(headers, &ask("app"))
    }

    fn metric(&self, line: &str) -> u64 {
        let metrics = self.rig.metrics();
        let figure = metrics.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        figure.map_or(0, |figure| figure.parse().unwrap())
    }

    fn waits(&self, count: u64) {
        let waiting = "cutover_queue_waiting_requests{upstream=\"own\"}";
        until("so many wait", || self.metric(waiting) == count);
    }
}

const QUEUE: &str = "queue = { wait = \"30 s\" }";
const NO_WAIT: &str = "queue = { length = 0 }";
const OVERFLOW: &str = "overflow = {}\n";

/// A use case of the candidate's upstream that has no time to wait.
const HURRIED: &str = "[use_cases.hurried]
match = { model = \"hurried\" }
baseline = \"small\"
deadline = \"300 ms\"
";

#[test]
fn a_deadline_holds_in_the_line_and_nothing_is_asked_after_it() {
    let full = Full::start("100%", "queue = { wait = \"1 h\" }", HURRIED);
    full.meanwhile(|| {
        for body in [ask("hurried"), ask_stream("hurried")] {
            let began = Instant::now();
            let response = full.rig.chat(&[], &body);
            assert_eq!(response.status, 504, "{}", response.text());
            assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
            assert_eq!(response.header("x-cutover-attempts").unwrap_or("0"), "0");
            assert!(response.header("retry-after").is_some());
            full.waits(0);
        }
    });
    assert_eq!(full.own.inferences().len(), 1, "no attempt begins after it");
    assert_eq!(full.rig.chat(&[], &ask("hurried")).status, 200, "the seats are free");
}

#[test]
fn a_stream_that_waits_in_line_shows_that_it_lives_and_leaves_its_seat_with_its_client() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let line = "queue = { wait = \"1 h\" }\ncancel_on_disconnect = false";
    let config = config(&own, &cloud, ("100%", line, ""))
        .replace("[upstreams.cloud]", "[server]\nkeep_alive_interval = \"1 s\"\n[upstreams.cloud]");
    let (rig, gate) = (Rig::start(&config), Gate::new());
    own.always(Reply::words(3).hold_headers(&gate));
    let full = Full { own, cloud, rig, gate };
    full.meanwhile(|| {
        let [mut stays, mut leaves] = [(); 2].map(|()| {
            let mut raw = full.rig.raw();
            raw.request("POST /v1/chat/completions", &[], ask_stream("app")).unwrap();
            raw
        });
        for raw in [&mut stays, &mut leaves] {
            let seen = raw.read_until(": keep-alive").unwrap();
            assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
        }
        full.waits(2);
        drop(leaves);
        full.waits(1);
        assert_eq!(full.own.inferences().len(), 1, "nobody was asked");
        full.gate.open();
        let answered = stays.read_until("[DONE]").unwrap();
        assert!(answered.contains("w0") && !answered.contains("error"), "{answered}");
    });
    assert_eq!(full.own.inferences().len(), 2, "who has left is not asked for");
}

/// Its answer would be thrown away: whoever stands behind it is served instead.
#[test]
fn whose_deadline_leaves_no_time_for_an_answer_passes_its_place_on() {
    const PATIENT: &str = "deadline = \"10 min\"\n[use_cases.patient]\nmatch = { model = \"patient\" }\nbaseline = \"small\"\n";
    for (overflow, status, by, outcome) in [
        ("", 504, None, "refused"),
        ("overflow = { wait = \"5 min\" }\n", 200, Some("cloud"), "overflowed"),
    ] {
        let full =
            Full::start("99.99%", "queue = { wait = \"5 min\" }", &format!("{overflow}{PATIENT}"));
        let live = full.rig.gateway.live();
        let usual = &live.use_case_by_name(&docs()).unwrap().usual;
        // An hour is what its answers take, and a moment the first words of its streams.
        usual.took(Arm::Candidate, false, 3_600_000_000);
        usual.took(Arm::Candidate, true, 1_000);
        thread::scope(|scope| {
            let (late, patient) = full.meanwhile(|| {
                let late = scope.spawn(|| full.ask(&["x-unit: late"]));
                full.waits(1);
                let patient = scope.spawn(|| full.rig.chat(&[], &ask("patient")));
                full.waits(2);
                (late, patient)
            });
            let (late, patient) = (late.join().unwrap(), patient.join().unwrap());
            assert_eq!((patient.status, patient.header("x-cutover-upstream")), (200, Some("own")));
            assert_eq!(
                (late.status, late.header("x-cutover-upstream")),
                (status, by),
                "{}",
                late.text()
            );
            let told = (late.header("retry-after").is_some(), late.header("x-cutover-overflow"));
            assert_eq!(told, if status == 504 { (true, None) } else { (false, Some("waited")) });
        });
        assert_eq!(full.own.inferences().len(), 2, "the first, and the patient one");
        full.waits(0);
        for (outcome, count) in [("admitted", 1), (outcome, 1)] {
            let of =
                format!("cutover_queue_requests_total{{upstream=\"own\",outcome=\"{outcome}\"}}");
            assert_eq!(full.metric(&of), count, "{outcome}");
        }
        // The place is not lost. Who finds it free is sent, whatever answers took before: it is how one learns.
        assert_eq!(full.rig.chat(&[], &ask("patient")).status, 200);
    }
}

/// In a line from which each is called just before its own deadline nobody would be served.
#[test]
fn whose_deadline_leaves_too_little_for_a_usual_answer_is_asked_only_where_nobody_else_waits() {
    const DEADLINE: &str = "deadline = \"10 min\"\n";
    for others_wait in [false, true] {
        let full = Full::start("99.99%", "queue = { wait = \"5 min\" }", DEADLINE);
        let live = full.rig.gateway.live();
        // Between ten and twenty minutes: when it is called, one answer of no time at all has been added.
        let usual = &live.use_case_by_name(&docs()).unwrap().usual;
        usual.took(Arm::Candidate, false, 1_080_000_000);
        thread::scope(|scope| {
            let waiting = full.meanwhile(|| {
                let ask = || full.ask(&["x-unit: waits"]);
                let mut waiting = vec![scope.spawn(ask)];
                full.waits(1);
                if others_wait {
                    waiting.push(scope.spawn(ask));
                    full.waits(2);
                }
                waiting
            });
            let statuses = waiting.into_iter().map(|one| one.join().unwrap().status);
            // Behind the second nobody waits.
            assert_eq!(
                statuses.collect::<Vec<_>>(),
                if others_wait { vec![504, 200] } else { vec![200] }
            );
        });
    }
}

/// Both arms are prompts at one engine: it has no more room for the other.
#[test]
fn nothing_overflows_to_the_upstream_that_is_full() {
    for queue in ["", NO_WAIT] {
        let full = Full::start("100%", queue, OVERFLOW);
        let one_engine = config(&full.own, &full.cloud, ("100%", queue, OVERFLOW))
            .replace("upstream = \"cloud\"", "upstream = \"own\"");
        full.rig.reload(&one_engine);
        full.meanwhile(|| {
            full.own.always(Reply::words(1));
            let answer = full.ask(&["x-unit: u1"]);
            assert_eq!(answer.header("x-cutover-overflow"), None);
            let (status, asked) = if queue.is_empty() { (200, 2) } else { (503, 1) };
            assert_eq!((answer.status, full.own.inferences().len()), (status, asked));
        });
    }
}

#[test]
fn excess_goes_to_the_baseline_marked_and_out_of_the_comparison() {
    let full = Full::start("99.99%", "", OVERFLOW);
    let (whole, stream) = full.meanwhile(|| {
        (full.ask(&["x-unit: u1"]), full.rig.chat(&["x-unit: u2"], &ask_stream("app")))
    });
    for answer in [&whole, &stream] {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-cutover-upstream"), Some("cloud"));
        assert_eq!(answer.header("x-cutover-overflow"), Some("full"));
        assert_eq!(answer.header("x-cutover-arm"), Some("baseline"));
        assert_eq!(answer.header("x-cutover-assigned-arm"), Some("candidate"));
    }
    assert_eq!(
        full.metric("cutover_overflow_requests_total{use_case=\"docs\",reason=\"full\"}"),
        2
    );
    let (feed, mut seen) = (full.rig.feed(), Vec::new());
    until("all are told of", || {
        feed.drain(&mut seen);
        seen.len() == 3
    });
    let excluded: Vec<_> = seen.iter().filter(|exposure| exposure.excluded).collect();
    assert_eq!(excluded.len(), 2);
    for exposure in excluded {
        assert_eq!(
            (exposure.arm, exposure.random),
            (Arm::Candidate, true),
            "assigned as chance said"
        );
        assert!(!exposure.fell_back && !exposure.served.failed && !exposure.leaked);
    }
    assert_eq!(full.own.inferences().len(), 1);
    // The place is free again: nothing overflows any more.
    assert_eq!(full.ask(&["x-unit: u1"]).header("x-cutover-overflow"), None);
}

#[test]
fn who_may_overflow_waits_first_and_others_go_at_once_afterwards() {
    let full = Full::start("99.99%", QUEUE, "overflow = { wait = \"50 ms\" }\n");
    let (first, second) = full.meanwhile(|| (full.ask(&["x-unit: u1"]), full.ask(&["x-unit: u2"])));
    assert_eq!(first.header("x-cutover-overflow"), Some("waited"));
    assert_eq!(second.header("x-cutover-overflow"), Some("full"), "the line has spilled");
    assert_eq!(full.metric("cutover_queue_wait_seconds_count{upstream=\"own\"}"), 1);
}

/// A burst of interactive requests had all that came after it go out, as long as batch work kept the engine busy.
#[test]
fn who_is_waited_for_waits_for_a_place_of_batch_though_others_have_spilled() {
    let full = Full::start("99.99%", QUEUE, "overflow = { wait = \"50 ms\" }\n");
    let batch = "x-cutover-priority-class: batch";
    let asked = full.meanwhile_by(&["x-unit: first", batch], || {
        ["u1", "u2"].map(|unit| full.ask(&[&format!("x-unit: {unit}")]))
    });
    for answer in asked {
        assert_eq!(answer.header("x-cutover-overflow"), Some("waited"), "{}", answer.text());
    }
    assert_eq!(full.metric("cutover_queue_wait_seconds_count{upstream=\"own\"}"), 2);
}

/// The wait for a place left nothing of a deadline that was no longer: 504 beside an idle baseline.
#[test]
fn a_deadline_leaves_who_overflows_the_time_for_an_answer() {
    let full = Full::start("99.99%", QUEUE, "deadline = \"4 s\"\noverflow = { wait = \"20 s\" }\n");
    let answer = full.meanwhile(|| full.ask(&["x-unit: u1"]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-cutover-overflow"), Some("waited"));
}

#[test]
fn a_place_that_comes_free_is_given_to_who_waits() {
    let full = Full::start("99.99%", QUEUE, "overflow = { wait = \"30 s\" }\n");
    thread::scope(|scope| {
        let first = scope.spawn(|| full.ask(&["x-unit: first"]));
        until("the place is taken", || full.gate.arrivals() == 1);
        let second = scope.spawn(|| full.rig.chat(&["x-unit: second"], &ask_stream("app")));
        full.waits(1);
        assert_eq!(full.own.in_flight(), 1);
        full.gate.open();
        for answer in [first, second] {
            let answer = answer.join().unwrap();
            assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("own")));
        }
    });
    full.waits(0);
    assert_eq!(full.own.in_flight_max(), 1, "never more than there are places");
    let admitted = "cutover_queue_requests_total{upstream=\"own\",outcome=\"admitted\"}";
    assert_eq!((full.metric(admitted), full.cloud.inferences().len()), (1, 0));
}

#[test]
fn at_full_weight_the_excess_goes_to_the_baseline_as_well() {
    let full = Full::start("100%", NO_WAIT, OVERFLOW);
    let (whole, stream) = full.meanwhile(|| {
        (full.ask(&["x-unit: u1"]), full.rig.chat(&["x-unit: u2"], &ask_stream("app")))
    });
    for answer in [whole, stream] {
        assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("cloud")));
        assert!(answer.header("x-cutover-overflow").is_some());
    }
}

#[test]
fn without_a_way_out_the_client_is_told_when_to_come_back() {
    let full = Full::start("100%", NO_WAIT, OVERFLOW);
    let ask_twice = || {
        let whole = full.ask(&["x-unit: u1"]);
        [whole, full.rig.chat(&["x-unit: u2"], &ask_stream("app"))]
    };
    // A baseline that takes no requests is no way out.
    let cloud = UpstreamName::new("cloud").unwrap();
    full.rig.gateway.drain(&cloud, &full.cloud.address().to_string(), true);
    let answers = full.meanwhile(ask_twice);
    for answer in answers {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["error"]["code"], "server_is_overloaded");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("x-should-retry"), None, "a retry after the wait can help");
        assert_eq!(answer.header("x-cutover-attempts"), Some("0"));
    }
    assert_eq!(full.cloud.bytes(), 0);
}

#[test]
fn what_stays_local_waits_and_is_refused() {
    let full = Full::start("99.99%", NO_WAIT, OVERFLOW);
    let config = config(&full.own, &full.cloud, ("99.99%", NO_WAIT, OVERFLOW));
    full.rig.reload(&config.replace("[upstreams.own]", "[upstreams.own]\nlocal = true"));
    let local = "x-cutover-residency: local-only";
    let answer = full.meanwhile(|| full.ask(&["x-unit: u1", local]));
    assert_eq!((answer.status, full.cloud.bytes()), (503, 0));
    assert_eq!(answer.json()["error"]["code"], "server_is_overloaded");
    assert_eq!(full.ask(&["x-unit: u1", local]).header("x-cutover-upstream"), Some("own"));
}

#[test]
fn batch_waits_behind_interactive_and_costs_no_money() {
    let full = Full::start("99.99%", QUEUE, "overflow = { wait = \"30 s\" }\n");
    let say = |text: &str| ask("app").replace("hi", text);
    thread::scope(|scope| {
        let full = &full;
        let chat = |class: &'static str, text: &'static str| {
            let header = format!("x-cutover-priority-class: {class}");
            scope.spawn(move || full.rig.chat(&["x-unit: u", &header], &say(text)))
        };
        let first = chat("interactive", "first");
        until("the place is taken", || full.gate.arrivals() == 1);
        let batch = chat("batch", "batch");
        full.waits(1);
        let interactive = chat("interactive", "interactive");
        full.waits(2);
        full.gate.open();
        for answer in [first, batch, interactive] {
            assert_eq!(answer.join().unwrap().status, 200);
        }
    });
    let seen = full.own.inferences();
    let text = |at: usize| seen[at].json()["messages"][0]["content"].as_str().unwrap().to_owned();
    assert_eq!([text(0), text(1), text(2)], ["first", "interactive", "batch"]);

    let full = Full::start("99.99%", NO_WAIT, OVERFLOW);
    let batch = full.meanwhile(|| full.ask(&["x-unit: u1", "x-cutover-priority-class: batch"]));
    assert_eq!((batch.status, full.cloud.bytes()), (503, 0));
    let wrong = full.ask(&["x-cutover-priority-class: urgent"]);
    assert_eq!(
        (wrong.status, wrong.json()["error"]["param"].clone()),
        (400, "x-cutover-priority-class".into())
    );
}

#[test]
fn the_classes_of_use_case_key_and_header_meet_at_the_least_urgent() {
    let full = Full::start("99.99%", NO_WAIT, "overflow = {}\npriority_class = \"batch\"\n");
    assert_eq!(full.rig.gateway.live().use_cases[0].class, Class::Batch);
    let answer =
        full.meanwhile(|| full.ask(&["x-unit: u1", "x-cutover-priority-class: interactive"]));
    assert_eq!((answer.status, full.cloud.bytes()), (503, 0), "a header cannot raise it");
}

#[test]
fn who_leaves_the_line_frees_the_seat() {
    let full = Full::start("100%", QUEUE, "");
    full.meanwhile(|| {
        let mut raw = full.rig.raw();
        raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask("app")).unwrap();
        full.waits(1);
        drop(raw);
        full.waits(0);
    });
    let left = "cutover_queue_requests_total{upstream=\"own\",outcome=\"left\"}";
    assert_eq!((full.metric(left), full.own.inferences().len()), (1, 1));
    assert_eq!(full.ask(&["x-unit: u1"]).status, 200, "and the place is not lost");
}

/// Its wait was booked as cutover's own overhead, and nowhere as a wait.
#[test]
fn the_wait_of_who_leaves_the_line_is_a_wait_and_no_overhead() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let full = Full::storing("100%", (QUEUE, ""), Some(&store));
    full.meanwhile(|| {
        let mut raw = full.rig.raw();
        raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask("app")).unwrap();
        full.waits(1);
        // Long beside anything that cutover itself does.
        let began = Instant::now();
        until("it has waited", || began.elapsed() >= Duration::from_millis(300));
        drop(raw);
        until("it is recorded", || store.stats().written >= 1);
    });
    let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    let row = "SELECT outcome, queued_us, overhead_us, total_us FROM records WHERE outcome <> 'ok'";
    let row = connection
        .query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    let (outcome, queued, overhead, total): (String, Option<i64>, i64, i64) = row.unwrap();
    assert_eq!(outcome, "client_gone");
    assert!(queued.is_some_and(|queued| queued >= 300_000), "{queued:?} of {total}");
    assert!(overhead + queued.unwrap() <= total + 1_000, "{overhead}, {queued:?} of {total}");
    assert_eq!(full.metric("cutover_queue_wait_seconds_count{upstream=\"own\"}"), 1);
}

#[test]
fn the_days_money_ends_overflow_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async { Store::open(Options::new(dir.path(), now)).unwrap() });
    // The estimate of one answer is a thousand tokens: one cent.
    let rules = (NO_WAIT, "overflow = { budget_per_day = \"0.015\" }\n");
    let full = Full::storing("99.99%", rules, Some(&store));
    let answer = full.meanwhile(|| {
        let answer = full.ask(&["x-unit: u1"]);
        full.rig.gateway.restore_overflow_spent(&docs(), now(), NanoUsd(10_000_000));
        assert_eq!(full.ask(&["x-unit: u2"]).status, 503, "no cent is left");
        answer
    });
    assert_eq!(answer.header("x-cutover-overflow"), Some("queue_full"));
    let costs = runtime.block_on(store.overflow_costs(Millis(0))).unwrap();
    let [(use_case, spent)] = costs.as_slice() else { panic!("{costs:?}") };
    assert_eq!(*use_case, docs());
    assert!(spent.0 > 0 && spent.0 < 10_000_000, "by usage, not by estimate: {spent:?}");
    let told =
        full.metric("cutover_overflow_requests_total{use_case=\"docs\",reason=\"queue_full\"}");
    assert_eq!(told, 1);
    let later = runtime.block_on(store.overflow_costs(Millis(u64::MAX >> 1))).unwrap();
    assert!(later.is_empty(), "another day");
    runtime.block_on(store.close());
}

/// A burst of them spent twenty days' money before the first answer told what it cost.
#[test]
fn what_is_set_aside_counts_all_that_is_sent_and_may_be_answered() {
    let full = Full::start("99.99%", NO_WAIT, "overflow = { budget_per_day = \"0.015\" }\n");
    let tool = format!(
        r#"{{"type":"function","function":{{"name":"f","description":"{}","parameters":{{}}}}}}"#,
        "x".repeat(40_000)
    );
    let tools = format!("{{\"tools\":[{tool}],");
    let with = |more: &str| ask("app").replacen('{', more, 1);
    full.meanwhile(|| {
        let of = |body: String| full.rig.chat(&["x-unit: u1"], &body).status;
        let both = "{\"max_tokens\":2000,\"max_completion_tokens\":5,";
        for dear in ["{\"n\":2,", "{\"max_tokens\":2000,", both, &tools] {
            assert_eq!(of(with(dear)), 503, "{}", &dear[..12]);
        }
        let in_messages =
            with(&tools.replace("{\"type\":\"function\",\"function\":", "").replace("}}}]", "}}]"));
        let in_messages = in_messages.replace("\"parameters\"", "\"input_schema\"");
        let in_messages = in_messages.replacen('{', "{\"max_tokens\":9,", 1);
        let answer = full.rig.post("/v1/messages", &["x-unit: u1"], &in_messages);
        assert_eq!(answer.status, 529, "{}", answer.text());
        assert_eq!(of(with("{\"n\":2,\"max_tokens\":500,")), 200);
        let completion = |more: &str| {
            let body = format!(r#"{{"model":"app","max_tokens":500,{more}}}"#);
            full.rig.post("/v1/completions", &["x-unit: u1"], &body).status
        };
        for dear in [r#""prompt":["a","b","c","d"]"#, r#""prompt":"a","best_of":4"#] {
            assert_eq!(completion(dear), 503, "{dear}");
        }
        assert_eq!(completion(r#""prompt":["a","b"]"#), 200);
    });
}

/// Each return of the table to the file gave the whole day's budget once more.
#[test]
fn a_use_case_that_comes_back_has_spent_what_it_had() {
    let rules = "overflow = { budget_per_day = \"0.015\" }\n";
    let full = Full::start("99.99%", NO_WAIT, rules);
    let with = |more: &str| config(&full.own, &full.cloud, ("99.99%", NO_WAIT, more));
    full.meanwhile(|| {
        assert_eq!(full.ask(&["x-unit: u1"]).status, 200);
        full.rig.gateway.restore_overflow_spent(&docs(), now(), NanoUsd(15_000_000));
        assert_eq!(full.ask(&["x-unit: u2"]).status, 503, "no cent is left");
        for away in [with(""), with(rules).replace("use_cases.docs", "use_cases.others")] {
            full.rig.reload(&away);
            full.rig.reload(&with(rules));
            assert_eq!(full.ask(&["x-unit: u3"]).status, 503, "nor now");
        }
    });
}

/// Both may go when they begin to wait; the money is enough for one.
#[test]
fn what_would_exceed_the_days_money_waits_on() {
    let rules = "overflow = { wait = \"1 s\", budget_per_day = \"0.015\" }\n";
    let full = Full::start("99.99%", QUEUE, rules);
    let cloud = Gate::new();
    full.cloud.always(Reply::words(3).hold_headers(&cloud));
    let mut answers = thread::scope(|scope| {
        let waiting = full.meanwhile(|| {
            let ask = |unit: &'static str| scope.spawn(|| full.ask(&[unit]));
            let waiting = [ask("x-unit: u1"), ask("x-unit: u2")];
            let told = "cutover_overflow_requests_total{use_case=\"docs\",reason=\"waited\"}";
            until("one of them went", || full.metric(told) == 1);
            // Answered already, or still in the line at the end of its second and beyond it.
            let began = Instant::now();
            until("its second is over", || began.elapsed() > Duration::from_millis(1_500));
            cloud.open();
            waiting
        });
        waiting.map(|answer| answer.join().unwrap())
    });
    answers.sort_by_key(|answer| answer.header("x-cutover-overflow").is_some());
    let by = |at: usize| (answers[at].status, answers[at].header("x-cutover-upstream"));
    assert_eq!([by(0), by(1)], [(200, Some("own")), (200, Some("cloud"))]);
}

/// Its estimate was booked all the same: a minute's outage of the cloud ended overflow for the day.
#[test]
fn a_failed_attempt_costs_what_it_may_have_cost_and_the_candidates_answer_nothing() {
    for (fault, billed) in
        [(Fault::status(500), false), (Fault::status(429), false), (Fault::Half, true)]
    {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = runtime.block_on(async { Store::open(Options::new(dir.path(), now)).unwrap() });
        let full = Full::storing("99.99%", ("", OVERFLOW), Some(&store));
        full.cloud.always(Reply::fault(fault));
        thread::scope(|scope| {
            let first = scope.spawn(|| full.ask(&["x-unit: first"]));
            until("the place is taken", || full.gate.arrivals() == 1);
            let second = scope.spawn(|| full.ask(&["x-unit: u1"]));
            until("it is back at the engine", || full.gate.arrivals() == 2);
            full.gate.open();
            assert_eq!(first.join().unwrap().header("x-cutover-overflow"), None);
            let second = second.join().unwrap();
            assert_eq!(second.header("x-cutover-overflow"), Some("full"));
            assert_eq!(second.header("x-cutover-upstream"), Some("own"), "{}", second.text());
        });
        let live = full.rig.gateway.live();
        let spent = live.use_cases[0].overflow.as_ref().unwrap().purse.spent_today(now());
        // A thousand tokens, and the prompt's.
        assert_eq!(spent > NanoUsd(10_000_000), billed, "{spent:?}");
        assert!(billed || spent == NanoUsd(0), "{spent:?}");
        until("all are recorded", || store.stats().written == 2);
        let costs = runtime.block_on(store.overflow_costs(Millis(0))).unwrap();
        assert_eq!(costs, [(docs(), spent)]);
        runtime.block_on(store.close());
    }
}

/// A restart forgot it: the day's sum was read from what had a cost.
#[test]
fn what_may_have_been_billed_counts_as_estimated_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async { Store::open(Options::new(dir.path(), now)).unwrap() });
    let full = Full::storing("99.99%", ("", OVERFLOW), Some(&store));
    let cloud = Gate::new();
    full.cloud.always(Reply::words(3).hold_headers(&cloud));
    full.meanwhile(|| {
        // One leaves, and one breaks off after content.
        let mut raw = full.rig.raw();
        raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
        until("it is asked", || cloud.arrivals() == 1);
        drop(raw);
        until("it is recorded", || store.stats().written == 1);
        full.cloud.always(Reply::words(3).and_then(1, Fault::Cut));
        let broken = full.rig.chat(&["x-unit: u2"], &ask_stream("app"));
        assert!(broken.text().contains("stream_interrupted"), "{}", broken.text());
        until("it is recorded", || store.stats().written == 2);
    });
    let live = full.rig.gateway.live();
    let spent = live.use_cases[0].overflow.as_ref().unwrap().purse.spent_today(now());
    // A thousand tokens each, and the prompt's.
    assert!(spent.0 > 20_000_000, "{spent:?}");
    let costs = runtime.block_on(store.overflow_costs(Millis(0))).unwrap();
    assert_eq!(costs, [(docs(), spent)]);
    runtime.block_on(store.close());
}

/// The engine would have served it, if later.
#[test]
fn a_baseline_that_fails_is_no_answer_to_what_overflowed() {
    let full = Full::start("99.99%", "", OVERFLOW);
    full.cloud.always(Reply::fault(Fault::status(500)));
    thread::scope(|scope| {
        let full = &full;
        let first = scope.spawn(|| full.ask(&["x-unit: first"]));
        until("the place is taken", || full.gate.arrivals() == 1);
        let whole = scope.spawn(|| full.ask(&["x-unit: u1"]));
        let stream = scope.spawn(|| full.rig.chat(&["x-unit: u2"], &ask_stream("app")));
        until("both were sent away, or are back", || {
            full.gate.arrivals() == 3 || (whole.is_finished() && stream.is_finished())
        });
        full.gate.open();
        for answer in [first, whole, stream] {
            let answer = answer.join().unwrap();
            assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("own")));
        }
    });
    assert_eq!(full.cloud.inferences().len(), 2);
}

#[test]
fn other_use_cases_of_a_full_upstream_go_in_as_before() {
    let full = Full::start("0%", "", OVERFLOW);
    let own = "[use_cases.own]\nmatch = { model = \"own\" }\nbaseline = \"small\"\n";
    let config = config(&full.own, &full.cloud, ("0%", "", OVERFLOW));
    let config = config + own;
    full.rig.reload(&config);
    thread::scope(|scope| {
        let asked: Vec<_> =
            (0..3).map(|_| scope.spawn(|| full.rig.chat(&[], &ask("own")))).collect();
        until("all are inside", || full.gate.arrivals() == 3);
        full.gate.open();
        assert!(asked.into_iter().all(|answer| answer.join().unwrap().status == 200));
    });
    assert_eq!(full.cloud.bytes(), 0);
}

/// An engine that takes its time between `[DONE]` and the end of the body.
fn slow_to_end(ended: &std::sync::mpsc::Sender<std::net::TcpStream>) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ended = ended.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut vec![0; 65_536]);
            let choice = r#"{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}"#;
            let event = format!("data: {{\"choices\":[{choice}]}}\n\ndata: [DONE]\n\n");
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
            let _ = write!(stream, "{head}\r\n\r\n{:x}\r\n{event}\r\n", event.len());
            let _ = ended.send(stream);
        }
    });
    address
}

/// They waited to the end of their time and were refused, with places free: each looked at the upstream that
/// it had begun to wait for.
#[test]
fn who_waits_in_line_is_served_once_a_reload_makes_room() {
    let line = "queue = { wait = \"1 h\" }";
    for change in ["a higher limit", "neither limit nor queue", "a second instance"] {
        let full = Full::start("100%", line, "");
        let second = Fake::start(Persona::LlamaCpp);
        let before = config(&full.own, &full.cloud, ("100%", line, ""));
        let (limit, own) = ("in_flight_limit = 1", full.own.base_url());
        let after = match change {
            "a higher limit" => before.replace(limit, "in_flight_limit = 4"),
            "neither limit nor queue" => before.replace(line, "").replace(limit, ""),
            _ => before.replace(
                &format!("base_url = \"{own}\""),
                &format!("instances = [\"{own}\", \"{}\"]", second.base_url()),
            ),
        };
        assert_ne!(before, after, "{change}");
        thread::scope(|scope| {
            let first = scope.spawn(|| full.ask(&[]));
            until("the place is taken", || full.gate.arrivals() == 1);
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| full.ask(&[]))).collect();
            full.waits(3);
            full.rig.reload(&after);
            let asked = || full.own.inferences().len() + second.inferences().len();
            until(change, || asked() == 4);
            full.gate.open();
            for answer in waiting.into_iter().chain([first]) {
                assert_eq!(answer.join().unwrap().status, 200, "{change}");
            }
        });
        assert_eq!(second.inferences().is_empty(), change != "a second instance", "{change}");
    }
}

/// Its place was another's while its instance still counted as taken: that one was sent where somebody was.
#[test]
fn a_place_is_free_when_its_instance_is() {
    let (ended, answers) = std::sync::mpsc::channel();
    let address = slow_to_end(&ended);
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let config = config(&own, &cloud, ("100%", QUEUE, ""))
        .replace(&own.base_url(), &format!("http://{address}"));
    let rig = Rig::start(&config);
    thread::scope(|scope| {
        let ask = || scope.spawn(|| rig.chat(&[], &ask_stream("app")));
        let first = ask();
        // Held open, to its end or until it is let go.
        let _first = answers.recv().unwrap();
        let second = ask();
        let _second = answers.recv().unwrap();
        let live = rig.gateway.live();
        let lanes = live.lanes.iter().flat_map(|lane| &lane.upstream.instances);
        let taken = lanes.map(|lane| lane.instance.live().in_flight()).max();
        assert_eq!(taken, Some(1), "the second came when the first was gone");
        for asked in [first, second] {
            assert!(asked.join().unwrap().text().contains("[DONE]"));
        }
    });
}

/// A drained, failed or replaced instance's requests took the places of the other, which got nothing for as long as they
/// were under way: clients waited in vain beside an idle engine.
#[test]
fn what_is_under_way_at_an_instance_that_takes_no_more_takes_no_place_elsewhere() {
    for way in ["drained", "down", "replaced"] {
        let line = "queue = { wait = \"1 h\" }";
        let down = Judged { state: State::Down, misses: 2 };
        let full = Full::start("100%", line, "");
        let other = Fake::start(Persona::LlamaCpp);
        let config = config(&full.own, &full.cloud, ("100%", line, ""));
        let base = |fake: &Fake| format!("base_url = \"{}\"", fake.base_url());
        let both = format!("instances = [\"{}\", \"{}\"]", full.own.base_url(), other.base_url());
        let with_both = config.replace(&base(&full.own), &both);
        if way != "replaced" {
            full.rig.reload(&with_both);
            full.rig.gateway.drain(
                &UpstreamName::new("own").unwrap(),
                &other.address().to_string(),
                true,
            );
        }
        full.meanwhile(|| {
            let waits = thread::scope(|scope| {
                let second = scope.spawn(|| full.ask(&[]));
                full.waits(1);
                let name = UpstreamName::new("own").unwrap();
                match way {
                    "replaced" => full.rig.reload(&config.replace(&base(&full.own), &base(&other))),
                    _ => {
                        full.rig.gateway.drain(&name, &other.address().to_string(), false);
                        let at = full.own.address().to_string();
                        if way == "drained" {
                            full.rig.gateway.drain(&name, &at, true);
                        } else {
                            let live = full.rig.gateway.live();
                            let lanes = live.lanes.iter().flat_map(|lane| &lane.upstream.instances);
                            let mut lanes = lanes.filter(|lane| lane.instance.label() == at);
                            lanes.next().unwrap().health.probed((down, Millis(0)), None, &[]);
                        }
                    }
                }
                second.join().unwrap()
            });
            assert_eq!(
                (waits.status, waits.header("x-cutover-upstream")),
                (200, Some("own")),
                "{way}"
            );
            // One more, and what it leaves is left again: the place is there for the next.
            assert_eq!(full.ask(&[]).header("x-cutover-upstream"), Some("own"), "{way}");
        });
        assert_eq!(other.inferences().len(), 2, "{way}");
        assert_eq!(full.own.inferences().len(), 1, "{way}");
        // What was under way has ended: nothing is held any more.
        assert_eq!(full.ask(&[]).status, 200, "{way}");
    }
}

/// With answers of some seconds an idle fleet counted as full.
#[test]
fn the_time_of_whole_answers_is_no_time_to_a_first_token() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let line = "queue = { wait = \"1 h\", first_token = \"1 ms\" }";
    let config = config(&own, &cloud, ("100%", line, ""));
    let rig = Rig::start(&config.replace("in_flight_limit = 1\n", "in_flight_limit = 16\n"));
    let mut full = Full { own, cloud, rig, gate: Gate::new() };
    for (body, waits) in [(ask("app"), 0), (ask_stream("app"), 1)] {
        // It takes more than a millisecond.
        let slow = Gate::new();
        full.own.always(Reply::words(3).hold_headers(&slow));
        thread::scope(|scope| {
            let asked = scope.spawn(|| full.rig.chat(&[], &body));
            until("it is asked", || slow.arrivals() == 1);
            let since = Instant::now();
            until("it was slow", || since.elapsed() > Duration::from_millis(3));
            slow.open();
            assert_eq!(asked.join().unwrap().status, 200);
        });
        full.gate = Gate::new();
        full.own.always(Reply::words(3).hold_headers(&full.gate));
        full.meanwhile(|| {
            thread::scope(|scope| {
                scope.spawn(|| assert_eq!(full.ask(&[]).status, 200));
                full.waits(waits);
                until("the others are asked", || full.gate.arrivals() == 2 - waits);
                full.gate.open();
            });
        });
    }
}
