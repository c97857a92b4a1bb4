//! Measures what the store costs a request and how much it can take:
//! `cargo run --release -p cutover-store --example store_cost`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a stopwatch for people, not product code"
)]

use std::time::{Duration, Instant};

use cutover_store::{Key, KeyRing, NewKey, Options, Record, RecordSink, Secret, Store, Window};
use cutover_units::{
    Arm, InstanceId, Micros, Millis, NanoUsd, UpstreamName, UseCaseName, VariantName,
};

const RECORDS: u64 = 1_000_000;

fn record() -> Record {
    let upstream = UpstreamName::new("gpus").unwrap();
    let (id, at) = ("01jd9x5m3q8v7w2k4r6t0y1z3b".to_owned(), Millis(1_700_000_000_000));
    Record {
        use_case: Some(UseCaseName::new("statements").unwrap()),
        arm: Arm::Candidate,
        answered_arm: Some(Arm::Candidate),
        variant: Some(VariantName::new("qwen").unwrap()),
        instance: Some(InstanceId::new(&upstream, 0)),
        upstream: Some(upstream),
        stream: true,
        assignment: "sticky",
        bucket: Some(1_234),
        unit_hash: 0x0123_4567_89ab_cdef,
        status: 200,
        first_token: Some(Micros(123_456)),
        total: Micros(2_345_678),
        overhead: Micros(45),
        prompt_tokens: Some(1_200),
        completion_tokens: Some(340),
        cached_tokens: Some(0),
        cost: Some(NanoUsd(1_234_567)),
        price_source: Some("config"),
        finish_reason: Some("stop"),
        attempts: 1,
        key_name: Some("team".into()),
        ..Record::of_no_arm(id, at, ("chat", "ok"))
    }
}

/// Time of the push alone, as a request sees it; the record is made before.
fn push(sink: &RecordSink, count: u64) -> Duration {
    let example = record();
    let batch: Vec<Record> = (0..count).map(|_| example.clone()).collect();
    let started = Instant::now();
    for record in batch {
        sink.try_push(record);
    }
    started.elapsed()
}

/// The same in bursts that the queue holds with ease, written before the next.
async fn push_in_bursts(store: &Store, count: u64) -> Duration {
    const BURST: u64 = 400;
    let mut spent = Duration::ZERO;
    for _ in 0..count / BURST {
        spent += push(&store.records(), BURST);
        store.flush().await.unwrap();
    }
    spent
}

fn per_push(name: &str, spent: Duration, count: u64) {
    println!("{name}: {:.0} ns", spent.as_secs_f64() * 1e9 / count as f64);
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path(), || Millis(1_700_000_000_000));
    options.queue = usize::try_from(RECORDS).unwrap();
    let store = Store::open(options).unwrap();
    store.check().await.unwrap();
    println!("a record: {} bytes and its texts", size_of::<Record>());
    per_push("push in bursts", push_in_bursts(&store, 200_000).await, 200_000);
    push(&store.records(), RECORDS - 200_000);
    let (at_start, started) = (store.stats().written, Instant::now());
    store.flush().await.unwrap();
    let rate = (store.stats().written - at_start) as f64 / started.elapsed().as_secs_f64();
    println!("written alone: {rate:.0} records/s");

    let started = Instant::now();
    let window = Window { from: Millis(0), until: Millis(u64::MAX), use_case: None };
    let rows = store.summarize(window).await.unwrap().rows;
    println!("summary of {} records: {:?}", rows[0].requests, started.elapsed());
    let bytes = std::fs::metadata(dir.path().join("cutover.db")).unwrap().len();
    println!("database: {} bytes a record", bytes / RECORDS);
    store.close().await;

    let small = tempfile::tempdir().unwrap();
    let mut options = Options::new(small.path(), || Millis(0));
    options.queue = 1;
    let full = Store::open(options).unwrap();
    full.close().await;
    per_push("push into a closed store", push(&full.records(), 200_000), 200_000);
    keys(&dir).await;
}

async fn keys(dir: &tempfile::TempDir) {
    let store = Store::open(Options::new(dir.path(), || Millis(0))).unwrap();
    let text = "ck-0123456789abcdef0123456789abcdef0123456789a";
    let new = NewKey {
        name: "team".to_owned(),
        secret: Secret::new(text).unwrap(),
        use_case: None,
        local_only: false,
        batch: false,
        actor: "measure".to_owned(),
        now: Millis(0),
    };
    let _: Key = store.add_key(new).await.unwrap();
    let ring = KeyRing::new(store.load_keys().await.unwrap());
    for (name, presented) in [("known", text.as_bytes()), ("unknown", &text.as_bytes()[1..])] {
        let started = Instant::now();
        let found = (0..100_000).filter(|_| ring.find(presented, Millis(0)).is_some()).count();
        let ns = started.elapsed().as_secs_f64() * 1e9 / 100_000.0;
        println!("key look-up, {name} ({found} found): {ns:.0} ns");
    }
}
