use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cutover_testkit::wait::until_async as until;
use cutover_units::Generation;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::suite::{record, set};

mod prompts;
mod responses;
mod rollouts;

/// Set for the children of the kill tests only; holds the data directory.
const CHILD_DIR: &str = "CUTOVER_STORE_TEST_CHILD_DIR";

type Seen = Arc<Mutex<Vec<StoreEvent>>>;

fn options(dir: &TempDir) -> (Options, Seen) {
    let seen = Seen::default();
    let teller = Arc::clone(&seen);
    let mut options = Options::new(dir.path(), || Millis(1_000_000))
        .with_observer(move |event| teller.lock().unwrap().push(event));
    options.busy_timeout = Duration::from_millis(5);
    (options, seen)
}

fn open(dir: &TempDir) -> Store {
    Store::open(options(dir).0).unwrap()
}

fn everything() -> Window {
    Window { from: Millis(0), until: Millis(u64::MAX), use_case: None }
}

async fn recorded(store: &Store) -> u64 {
    store.summarize(everything()).await.unwrap().rows.iter().map(|row| row.requests).sum()
}

/// Another process that lets nobody else write.
struct Lock(Connection);

impl Lock {
    fn take(dir: &TempDir) -> Self {
        let other = Connection::open(dir.path().join(crate::sqlite::FILE)).unwrap();
        // The store's thread may be at work for a moment.
        other.execute_batch("PRAGMA busy_timeout = 20000; BEGIN EXCLUSIVE").unwrap();
        Self(other)
    }

    fn release(self) {
        self.0.execute_batch("COMMIT").unwrap();
    }
}

/// The number that another process reads from the database.
fn read(dir: &TempDir, sql: &str) -> u32 {
    let other = Connection::open(dir.path().join(crate::sqlite::FILE)).unwrap();
    other.busy_timeout(Duration::from_secs(20)).unwrap();
    other.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn records_are_written_by_themselves_and_the_rest_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let records = store.records();
    assert!((0..1_200).all(|at| records.try_push(record(at))));
    until("all records are written", || records.stats().written == 1_200).await;
    assert!((0..700).all(|at| records.try_push(record(at))));
    let stats = store.close().await;
    assert_eq!(stats, Stats { written: 1_900, ..Stats::default() });
    assert!(!records.try_push(record(1)));
    assert_eq!(records.stats().dropped_closed, 1);
    assert_eq!(store.check().await, Err(StoreError::Closed));
    assert_eq!(recorded(&open(&dir)).await, 1_900);
}

#[tokio::test]
async fn the_last_handle_dropped_writes_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let records = store.records();
    drop(store);
    let pushed = (0..300).filter(|at| records.try_push(record(*at))).count() as u64;
    until("what waited is written", || records.stats().written == pushed).await;
    until("the thread ends", || records.queue.is_closed()).await;
    assert_eq!(records.stats().dropped_closed, 300 - pushed);
}

#[tokio::test]
async fn a_locked_database_holds_records_back_and_costs_none_while_the_queue_has_room() {
    let dir = tempfile::tempdir().unwrap();
    let (mut options, seen) = options(&dir);
    options.queue = 2_000;
    let store = Store::open(options).unwrap();
    store.set_weight(set("a", Some(0), 500)).await.unwrap();
    let lock = Lock::take(&dir);
    let records = store.records();
    assert!((0..1_000).all(|at| records.try_push(record(at))));
    let busy = store.flush().await.unwrap_err();
    assert!(matches!(busy, StoreError::Busy { .. }), "{busy:?}");
    assert_eq!(store.load_states().await.unwrap().len(), 1);
    // The thread was woken by the first batch and holds that or more; the rest is in the queue.
    let more = (0..5_000).filter(|at| records.try_push(record(*at))).count() as u64;
    assert!((1_500..=2_000).contains(&more), "{more}");
    assert_eq!(records.stats().dropped_full, 5_000 - more);
    lock.release();
    store.flush().await.unwrap();
    assert_eq!(recorded(&store).await, 1_000 + more);
    store.close().await;
    let seen = seen.lock().unwrap();
    let waits = seen.iter().filter(|e| matches!(e, StoreEvent::RecordsWait(_))).count();
    let flows = seen.iter().filter(|e| matches!(e, StoreEvent::RecordsFlow)).count();
    assert_eq!((waits, flows), (1, 1), "{seen:?}");
    // Told at once or in two parts: the thread looks each second whether the database can be written.
    let dropped = seen.iter().map(|event| match event {
        StoreEvent::RecordsDropped { count, reason: DropReason::QueueFull } => *count,
        _ => 0,
    });
    assert_eq!(dropped.sum::<u64>(), 5_000 - more, "{seen:?}");
}

#[tokio::test]
async fn refused_requests_fill_half_of_the_queue_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let (mut options, _) = options(&dir);
    options.queue = 100;
    let store = Store::open(options).unwrap();
    store.check().await.unwrap();
    let _lock = Lock::take(&dir);
    let records = store.records();
    assert!(records.try_push(record(0)));
    // From here on the thread holds a batch that cannot be written, and takes nothing more.
    assert!(store.flush().await.is_err());
    let spare = (0..100).filter(|at| records.try_push_spare(record(*at))).count();
    let others = (0..100).filter(|at| records.try_push(record(*at))).count();
    assert_eq!((spare, others), (50, 50));
    assert_eq!(records.stats().dropped_full, 100);
}

#[tokio::test]
async fn records_that_cannot_be_written_before_the_end_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.check().await.unwrap();
    let _lock = Lock::take(&dir);
    assert!((0..900).all(|at| store.records().try_push(record(at))));
    let stats = store.close().await;
    assert_eq!((stats.written, stats.dropped_failed, stats.queued), (0, 900, 0));
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_answers_every_call_and_works_once_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(crate::sqlite::FILE);
    // A database of ours that someone else holds from before we started.
    open(&dir).close().await;
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "journal_mode", "DELETE").unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let store = open(&dir);
    let busy = store.check().await.unwrap_err();
    assert!(matches!(busy, StoreError::Busy { .. }), "{busy:?}");
    assert!(store.records().try_push(record(1)));
    assert!(store.load_keys().await.is_err());
    other.execute_batch("COMMIT").unwrap();
    drop(other);
    store.check().await.unwrap();
    assert_eq!(recorded(&store).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_read_the_same_generation_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    // Two stores stand for two processes.
    let stores = [open(&dir), open(&dir)];
    for store in &stores {
        store.check().await.unwrap();
    }
    for generation in 0..5 {
        let tries: Vec<_> = (0..16_u16)
            .map(|n| {
                let store = stores[usize::from(n % 2)].clone();
                async move {
                    loop {
                        let result = store.set_weight(set("a", Some(generation), n)).await;
                        if !matches!(&result, Err(SetWeightError::Store(StoreError::Busy { .. }))) {
                            return result;
                        }
                    }
                }
            })
            .collect();
        let mut tasks = tokio::task::JoinSet::new();
        for attempt in tries {
            tasks.spawn(attempt);
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    }
    let states = stores[0].load_states().await.unwrap();
    assert_eq!(states[0].generation, Generation(5));
}

#[tokio::test]
async fn records_past_their_time_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut options, _) = options(&dir);
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = Arc::clone(&now);
    options.clock = Arc::new(move || Millis(clock.load(Ordering::Relaxed)));
    options.retain = Some(Millis(1_000_000));
    let store = Store::open(options).unwrap();
    let records = store.records();
    assert!((0..1_700).all(|at| records.try_push(record(at))));
    assert!((0..10).all(|at| records.try_push(record(8_000_000 + at))));
    assert_eq!(recorded(&store).await, 1_710);
    now.store(8_500_000, Ordering::Relaxed);
    until("old records go", || read(&dir, "SELECT count(*) FROM records") == 10).await;
}

/// Not a test of its own: the program that the next test kills.
#[tokio::test]
async fn child_of_the_kill_test() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let store = Store::open(Options::new(dir, || Millis(1))).unwrap();
    let records = store.records();
    for generation in 0.. {
        records.try_push(record(generation));
        let set = store.set_weight(set("a", Some(generation), 500)).await.unwrap();
        println!("\ncommitted {}", set.generation);
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::child_of_the_kill_test", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledged: u64 = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("committed ")?.parse().ok())
        .nth(40)
        .expect("the child commits");
    // SIGKILL, in the midst of whatever it does.
    child.kill().unwrap();
    child.wait().unwrap();
    let store = open(&dir);
    let states = store.load_states().await.unwrap();
    assert!(states[0].generation.0 >= acknowledged, "{states:?} {acknowledged}");
    let verdict = store.verify_changes().await.unwrap();
    let AuditVerdict::Whole { entries, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(entries, states[0].generation.0, "state and audit log agree");
}
