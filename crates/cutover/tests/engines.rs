//! Real engines that are killed, frozen and started again under 200 streams: nobody sees it before the
//! first content, and what broke off later is told as broken off. Some requests wait for their first content at the very
//! engines that go: the records tell that the other arm has rescued each of them.
//!
//! `CUTOVER_STORM_ROUNDS=20 cargo test -p cutover --test engines -- --nocapture` makes it as long as one
//! likes; the usual length is one round.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use cutover_testkit::crowd::{Asking, Crowd, End, Ended, PATIENCE, storm_rounds};
use cutover_testkit::program::Program;
use cutover_testkit::rig::{LlamaOptions, LlamaServer, Unavailable, require, tiny_model};
use cutover_testkit::wait;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");
const STREAMS: usize = 200;
/// Requests that engines hold which then never answer.
const HELD: usize = 20;

/// Two instances of the candidate, the baseline, which stays, and two that nobody is asked at but those who are held.
struct Engines {
    own: [LlamaServer; 2],
    cloud: LlamaServer,
    doomed: [LlamaServer; 2],
}

impl Engines {
    fn start() -> Result<Self, Unavailable> {
        let model = tiny_model()?;
        // A slot for each stream, also when all of them go to one server. How slow the baseline may be is not the
        // question here: on a busy machine it is the one that has all of them.
        let options = LlamaOptions { context: 220 * 512, parallel: 220, ..LlamaOptions::default() };
        let start = || LlamaServer::start(&model, &options);
        let small = LlamaOptions { context: 4 * 512, parallel: 4, ..options.clone() };
        let doomed = || LlamaServer::start(&model, &small);
        Ok(Self { own: [start()?, start()?], cloud: start()?, doomed: [doomed()?, doomed()?] })
    }

    fn config(&self) -> String {
        let ([first, second], [third, fourth]) = (&self.own, &self.doomed);
        format!(
            r#"
default_upstream = "cloud"

[upstreams.cloud]
provider = "openai-compatible"
base_url = "{}"
first_token_timeout = "10 min"
idle_timeout = "10 min"

[upstreams.own]
provider = "llamacpp"
instances = ["{}", "{}"]
first_token_timeout = "5 s"
idle_timeout = "5 s"

[upstreams.doomed]
provider = "llamacpp"
instances = ["{}", "{}"]
first_token_timeout = "5 s"

[variants.old]
upstream = "cloud"
model = "llama"

[variants.new]
upstream = "own"
model = "llama"

[use_cases.app]
match = {{ model = "app" }}
unit = {{ header = "x-unit" }}
baseline = "old"
candidate = "new"
weight = "100%"

[variants.lost]
upstream = "doomed"
model = "llama"

[use_cases.held]
match = {{ model = "held" }}
unit = {{ header = "x-unit" }}
baseline = "old"
candidate = "lost"
weight = "100%"
"#,
            self.cloud.base_url(),
            first.base_url(),
            second.base_url(),
            third.base_url(),
            fourth.base_url()
        )
    }
}

/// The two instances, as answers name them.
const ONE: &str = "own/0";
const TWO: &str = "own/1";

/// One of everything that happens to engines, each while streams flow from the one it happens to.
fn storm(asking: &Asking, own: &mut [LlamaServer; 2]) {
    let [first, second] = own;
    // A crash, noticed by what is sent to it, and a new start.
    asking.flow_from(ONE, 5);
    first.kill();
    asking.none_from(ONE);
    asking.more(STREAMS / 4);
    first.start_again().unwrap();
    // A freeze: connections stay, nothing moves. Only time can tell.
    asking.flow_from(TWO, 5);
    second.freeze();
    asking.none_from(TWO);
    second.thaw();
    // A hiccup that is over before any deadline, then both away at once: only the baseline is left.
    asking.flow_from(ONE, 5);
    first.freeze();
    first.thaw();
    second.kill();
    first.freeze();
    asking.none_from(ONE);
    asking.more(STREAMS / 4);
    first.thaw();
    second.start_again().unwrap();
    // They are taken back by themselves, one before the other: the next round waits for the first.
    asking.flow_from("own/", 5);
}

/// Requests that two engines hold which stand still, before their first content: then one is killed, and the other never
/// goes on. Whoever is answered all the same was rescued by the other arm.
fn hold(program: &Program, doomed: &mut [LlamaServer; 2]) -> Asking {
    doomed.iter().for_each(LlamaServer::freeze);
    let held = crowd(program, "held", HELD).once();
    let at_doomed = "cutover_in_flight_attempts{upstream=\"doomed\"";
    wait::until_within(PATIENCE, "requests at engines that stand still", || {
        let metrics = program.metrics();
        let counts =
            metrics.lines().filter_map(|line| line.strip_prefix(at_doomed)?.split(' ').nth(1));
        let there: usize = counts.map(|count| count.parse::<usize>().unwrap()).sum();
        (there == HELD).then_some(())
    });
    doomed[0].kill();
    held
}

fn crowd(program: &Program, model: &str, clients: usize) -> Crowd {
    Crowd { base_url: program.url().to_owned(), model: model.to_owned(), clients, words: 8 }
}

#[test]
fn engines_that_crash_and_freeze_under_200_streams_are_seen_by_nobody() {
    let Some(mut engines) = require(Engines::start()) else { return };
    let program = Program::start(BINARY, &engines.config());
    let held = hold(&program, &mut engines.doomed);
    let asking = crowd(&program, "app", STREAMS).start();
    for _ in 0..storm_rounds() {
        storm(&asking, &mut engines.own);
    }
    let mut ended = asking.stop();
    ended.extend(held.stop());
    let count = |end: &End| ended.iter().filter(|one| one.end == *end).count();
    println!(
        "{} streams: {} whole, {} broken off and told so",
        ended.len(),
        count(&End::Whole),
        count(&End::Interrupted)
    );
    let bad: Vec<&Ended> =
        ended.iter().filter(|one| !matches!(one.end, End::Whole | End::Interrupted)).collect();
    assert!(bad.is_empty(), "{} of {}: {}", bad.len(), ended.len(), told(&bad, &program.log()));
    assert!(count(&End::Interrupted) > 0, "nothing was broken off: the storm was none");
    each_is_recorded_once(&program, &ended);
    assert_eq!(rescued(&program), HELD, "each that was held has been rescued by the baseline");
    // Nothing is worked on for clients that are gone.
    for server in engines.own.iter().chain([&engines.cloud]) {
        wait::until_within(PATIENCE, "an engine at rest", || at_rest(server).then_some(()));
    }
}

/// The first of those that ended badly, and what was logged of them.
fn told(bad: &[&Ended], log: &str) -> String {
    let of = |one: &Ended| {
        let lines = log.lines().filter(|line| line.contains(&one.request_id));
        format!("{one:#?}\n{}", lines.collect::<Vec<_>>().join("\n"))
    };
    bad.iter().take(3).map(|one| of(one)).collect::<Vec<_>>().join("\n")
}

/// The records name each request once, with the end that its client saw.
fn each_is_recorded_once(program: &Program, ended: &[Ended]) {
    let database = rusqlite::Connection::open(program.state().join("cutover.db")).unwrap();
    let rows = || -> Vec<(String, String)> {
        let mut statement = database.prepare("SELECT request_id, outcome FROM records").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    wait::until_within(PATIENCE, "all records", || (rows().len() >= ended.len()).then_some(()));
    let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, outcome) in rows() {
        recorded.entry(id).or_default().push(outcome);
    }
    for one in ended {
        let wanted = if one.end == End::Whole { "ok" } else { "interrupted" };
        let found = recorded.remove(&one.request_id);
        assert_eq!(found, Some(vec![wanted.to_owned()]), "{one:?}");
    }
    assert!(recorded.is_empty(), "recorded, and never asked: {recorded:?}");
}

/// Those that the baseline answered after the candidate had been asked in vain: not those that were sent there at once
/// because nobody else was left.
fn rescued(program: &Program) -> usize {
    let database = rusqlite::Connection::open(program.state().join("cutover.db")).unwrap();
    let rescued = "SELECT count(*) FROM records WHERE use_case = 'held' AND outcome = 'ok' \
                   AND arm = 'candidate' AND answered_arm = 'baseline' AND failed_over \
                   AND attempts > 1";
    let count: i64 = database.query_row(rescued, [], |row| row.get(0)).unwrap();
    usize::try_from(count).unwrap()
}

fn at_rest(server: &LlamaServer) -> bool {
    let page = cutover_testkit::raw::exchange(&server.base_url(), "GET /metrics", &[], "");
    page.is_ok_and(|page| page.text().contains("llamacpp:requests_processing 0\n"))
}
