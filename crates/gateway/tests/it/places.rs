//! Who has a place at an upstream whose places are counted: each attempt that is at an instance, and nobody else.

use std::thread;

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply};
use cutover_testkit::raw::Response;

use crate::harness::{Arm, Rig, ask, docs_on, engines, one_arm, until};

/// Two instances of one place each, and a line before them.
struct Pair {
    fakes: [Fake; 2],
    rig: Rig,
    plain: String,
}

const HEDGED: &str = "hedge_after = \"200 ms\"\n";

impl Pair {
    fn start(of_own: &str, of_use_case: &str) -> Self {
        let fakes = [(); 2].map(|()| Fake::start(Persona::LlamaCpp));
        let line = "probes = false\nin_flight_limit = 1\nqueue = { wait = \"1 h\" }";
        let own = format!("{}\n{line}\n{of_own}", engines("llamacpp", &[&fakes[0], &fakes[1]]));
        let plain = docs_on(&[Arm::small(own.clone())], "");
        let rig = Rig::start(&docs_on(&[Arm::small(own)], of_use_case));
        Self { fakes, rig, plain }
    }

    /// Whatever they are asked from now on is answered when this opens.
    fn hold(&self) -> Gate {
        let gate = Gate::new();
        for fake in &self.fakes {
            fake.always(Reply::words(2).hold_headers(&gate));
        }
        gate
    }

    fn ask(&self) -> u16 {
        self.rig.chat(&[], &ask("app")).status
    }

    fn waits(&self, count: u64) {
        let waiting = "cutover_queue_waiting_requests{upstream=\"own\"}";
        until("so many wait", || self.rig.figure(waiting).unwrap_or(0) == count);
    }

    fn under_way(&self) -> usize {
        self.fakes.iter().map(Fake::in_flight).sum()
    }

    /// Both places are free: two have one at once, and a third waits.
    fn has_both_places(&self) {
        until("nobody is there", || self.under_way() == 0);
        self.rig.reload(&self.plain);
        let gate = self.hold();
        thread::scope(|scope| {
            let two = [(); 2].map(|()| scope.spawn(|| self.ask()));
            until("both are asked", || gate.arrivals() == 2);
            let third = scope.spawn(|| self.ask());
            self.waits(1);
            gate.open();
            for asked in two.into_iter().chain([third]) {
                assert_eq!(asked.join().unwrap(), 200);
            }
        });
        self.waits(0);
    }
}

/// Six requests were at four places.
#[test]
fn the_second_attempt_of_a_hedge_takes_a_place() {
    let pair = Pair::start("", HEDGED);
    let gate = pair.hold();
    thread::scope(|scope| {
        let first = scope.spawn(|| pair.ask());
        until("it is hedged", || gate.arrivals() == 2);
        let second = scope.spawn(|| pair.ask());
        pair.waits(1);
        assert_eq!((gate.arrivals(), pair.under_way()), (2, 2));
        gate.open();
        for asked in [first, second] {
            assert_eq!(asked.join().unwrap(), 200);
        }
    });
    pair.has_both_places();
}

#[test]
fn a_hedge_that_the_budget_holds_back_takes_no_place() {
    let pair = Pair::start("retry_budget = \"0%\"\nretry_budget_min = 0", HEDGED);
    let gate = pair.hold();
    let held = "cutover_retries_held_back_total{upstream=\"own\",kind=\"hedge\"}";
    thread::scope(|scope| {
        let first = scope.spawn(|| pair.ask());
        until("its hedge is held back", || pair.rig.figure(held) == Some(1));
        let second = scope.spawn(|| pair.ask());
        until("the place is the next one's", || gate.arrivals() == 2);
        gate.open();
        for asked in [first, second] {
            assert_eq!(asked.join().unwrap(), 200);
        }
    });
    pair.has_both_places();
}

#[test]
fn a_hedge_whose_client_leaves_gives_both_places_back() {
    let pair = Pair::start("", HEDGED);
    let gate = pair.hold();
    let mut raw = pair.rig.raw();
    raw.request("POST /v1/chat/completions", &[], ask("app")).unwrap();
    until("both are asked", || gate.arrivals() == 2);
    thread::scope(|scope| {
        let next = scope.spawn(|| pair.ask());
        pair.waits(1);
        let quick = Gate::new();
        quick.open();
        pair.fakes.iter().for_each(|fake| fake.always(Reply::words(2).hold_headers(&quick)));
        drop(raw);
        assert_eq!(next.join().unwrap(), 200);
    });
    pair.has_both_places();
}

/// Whichever of the two it is that was asked first.
#[test]
fn one_of_two_attempts_that_fails_leaves_its_place_while_the_other_goes_on() {
    let pair = Pair::start("", HEDGED);
    let [fails, silent] = &pair.fakes;
    let (failing, gate) = (Gate::new(), Gate::new());
    fails.always(Reply::fault(Fault::status(500)).hold_headers(&failing));
    silent.always(Reply::words(2).hold_headers(&gate));
    thread::scope(|scope| {
        let first = scope.spawn(|| pair.ask());
        until("both are asked", || failing.arrivals() + gate.arrivals() == 2);
        let second = scope.spawn(|| pair.ask());
        pair.waits(1);
        fails.always(Reply::words(2));
        failing.open();
        assert_eq!(second.join().unwrap(), 200, "while the first is under way");
        assert!(!first.is_finished());
        gate.open();
        assert_eq!(first.join().unwrap(), 200);
    });
    pair.has_both_places();
}

/// An engine that fails and says when to come back.
fn ailing(of_own: &str) -> (Fake, Rig) {
    let own = Fake::start(Persona::LlamaCpp);
    let more = format!("probes = false\nretries = 1\n{of_own}");
    let rig = Rig::start(&one_arm(&format!("{}\n{more}", engines("llamacpp", &[&own]))));
    (own, rig)
}

fn fails(retry_after_ms: u64) -> Reply {
    let retry_after_ms = Some(retry_after_ms);
    Reply::fault(Fault::Status { status: 500, retry_after: None, retry_after_ms })
}

fn say(rig: &Rig, text: &str) -> Response {
    rig.chat(&[], &ask("app").replace("hi", text))
}

fn said(own: &Fake) -> Vec<String> {
    let text = |json: serde_json::Value| json["messages"][0]["content"].as_str().map(str::to_owned);
    own.inferences().iter().filter_map(|seen| text(seen.json())).collect()
}

fn waits(rig: &Rig, count: u64) {
    let waiting = "cutover_queue_waiting_requests{upstream=\"own\"}";
    until("so many wait", || rig.figure(waiting).unwrap_or(0) == count);
}

/// They waited for the pauses of others, before an engine that had nothing to do.
#[test]
fn who_pauses_before_it_is_sent_again_takes_nobodys_place() {
    let (own, rig) = ailing("in_flight_limit = 2\nqueue = { wait = \"1 h\" }");
    let failing = Gate::new();
    (0..2).for_each(|_| own.once(fails(1_000).hold_headers(&failing)));
    thread::scope(|scope| {
        let paused = [(); 2].map(|()| scope.spawn(|| say(&rig, "paused")));
        until("both are asked", || failing.arrivals() == 2);
        let good = [(); 6].map(|()| scope.spawn(|| say(&rig, "good").status));
        waits(&rig, 6);
        failing.open();
        assert_eq!(good.map(|good| good.join().unwrap()), [200; 6]);
        for paused in paused {
            let paused = paused.join().unwrap();
            assert_eq!((paused.status, paused.header("x-cutover-attempts")), (200, Some("2")));
        }
    });
    // Had they come back sooner they would have waited behind the others.
    let wanted = [&["paused"; 2][..], &["good"; 6], &["paused"; 2]].concat();
    assert_eq!(said(&own), wanted);
    assert!(own.in_flight_max() <= 2);
}

#[test]
fn who_has_paused_waits_in_line_where_its_place_is_anothers() {
    let (own, rig) = ailing("in_flight_limit = 1\nqueue = { wait = \"1 h\" }");
    let (failing, gate) = (Gate::new(), Gate::new());
    own.once(fails(50).hold_headers(&failing));
    own.always(Reply::words(2).hold_headers(&gate));
    thread::scope(|scope| {
        let paused = scope.spawn(|| say(&rig, "paused"));
        until("it is asked", || failing.arrivals() == 1);
        let good = scope.spawn(|| say(&rig, "good"));
        waits(&rig, 1);
        failing.open();
        until("the other is asked", || gate.arrivals() == 1);
        waits(&rig, 1);
        assert_eq!(said(&own), ["paused", "good"]);
        gate.open();
        for asked in [paused, good] {
            assert_eq!(asked.join().unwrap().status, 200);
        }
    });
    assert_eq!((said(&own).len(), own.in_flight_max()), (3, 1));
    let admitted = "cutover_queue_requests_total{upstream=\"own\",outcome=\"admitted\"}";
    assert_eq!(rig.figure(admitted), Some(2));
    assert_eq!(say(&rig, "later").status, 200, "the place is free");
}

#[test]
fn who_gets_no_place_after_its_pause_ends_with_the_failure_that_it_had() {
    let (own, rig) = ailing("in_flight_limit = 1\nqueue = { wait = \"3 s\" }");
    let (failing, gate) = (Gate::new(), Gate::new());
    own.once(fails(50).hold_headers(&failing));
    own.always(Reply::words(2).hold_headers(&gate));
    thread::scope(|scope| {
        let paused = scope.spawn(|| say(&rig, "paused"));
        until("it is asked", || failing.arrivals() == 1);
        let good = scope.spawn(|| say(&rig, "good"));
        waits(&rig, 1);
        failing.open();
        let paused = paused.join().unwrap();
        assert_eq!(paused.status, 502, "{}", paused.text());
        assert_eq!(paused.header("x-cutover-attempts"), Some("1"));
        assert_eq!(paused.header("retry-after"), Some("1"), "the line's");
        gate.open();
        assert_eq!(good.join().unwrap().status, 200);
    });
    assert_eq!(said(&own), ["paused", "good"]);
    let refused = "cutover_queue_requests_total{upstream=\"own\",outcome=\"refused\"}";
    assert_eq!(rig.figure(refused), Some(1));
    assert_eq!(say(&rig, "later").status, 200, "the place is free");
}
