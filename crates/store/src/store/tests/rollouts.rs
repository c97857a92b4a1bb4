use std::collections::HashSet;

use super::*;
use crate::rollouts::{CommitError, CommitTick, WeightChange, Whose};
use crate::state::Cause;
use crate::suite::{new_rollout, tick, use_case};
use crate::{Feedback, FeedbackStats};

/// Lives of the child in the kill test.
const LIVES: u32 = 12;

fn ticks(generation: u64) -> CommitTick {
    // Every third moves the weight, too, from what the ones before left.
    let weight = generation.is_multiple_of(3).then(|| WeightChange {
        to: cutover_units::WeightBp::new(u16::try_from(generation % 10_000).unwrap()).unwrap(),
        expected: Some(Generation(generation / 3 - 1)),
        cause: Cause::Set,
        candidate: "digest".to_owned(),
    });
    let mut tick = tick("a-1", generation, weight);
    // Every second decides, and is waited for; the others are not.
    if !generation.is_multiple_of(3) && generation.is_multiple_of(2) {
        tick.decision = None;
    }
    tick
}

/// Not a test of its own: the program that the next test kills.
#[tokio::test]
async fn child_of_the_kill_test() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let store = Store::open(Options::new(dir, || Millis(1))).unwrap();
    // Refused from the second life on.
    let _ = store.start_rollout(new_rollout("a", "a-1")).await;
    let mut generation = store.rollouts().await.unwrap()[0].state.generation;
    println!("\nbegins {generation}");
    loop {
        store.records().try_push(record(generation.0));
        let done = store.commit_tick(ticks(generation.0)).await.unwrap();
        generation = done.state.generation;
        println!("\ncommitted {generation}");
    }
}

/// Runs the child until it has committed so often, and kills it in the midst of whatever it does.
/// The generation that it knew of last.
fn live(dir: &TempDir, commits: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::rollouts::child_of_the_kill_test", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = lines.map_while(Result::ok).filter_map(|line| {
        let number = line.strip_prefix("committed ").or(line.strip_prefix("begins "))?;
        number.parse().ok()
    });
    let enough = acknowledged.nth(commits).expect("the child commits");
    child.kill().unwrap();
    child.wait().unwrap();
    // It may have told more before it died.
    acknowledged.last().unwrap_or(enough)
}

#[tokio::test]
async fn kill_9_in_the_midst_of_a_commit_loses_nothing_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut chance = 7_u32;
    for _ in 0..LIVES {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let acknowledged = live(&dir, (chance >> 27) as usize);
        let store = open(&dir);
        let rollout = store.rollouts().await.unwrap().remove(0);
        let generation = rollout.state.generation.0;
        assert!(generation >= acknowledged, "{generation} {acknowledged}");
        assert!(generation <= acknowledged + 1, "at most the one commit that was under way");
        let last = generation - 1;
        if last > 0 {
            assert_eq!(
                rollout.evidence,
                last.to_le_bytes(),
                "state and evidence are of one commit"
            );
        }
        let windows = store.windows_after("a-1", 0, 10_000).await.unwrap();
        let made: Vec<u64> = windows.iter().map(|window| window.generation.0).collect();
        assert_eq!(made, (2..=generation).collect::<Vec<_>>(), "each window once");
        let decisions = store.decisions(Whose::All, 10_000).await.unwrap();
        let verdict = store.verify_decisions().await.unwrap();
        assert!(matches!(verdict, AuditVerdict::Whole { entries, .. }
            if entries == decisions.len() as u64));
        let reasons: HashSet<_> = decisions.iter().map(|d| d.decision.reason.clone()).collect();
        assert_eq!(reasons.len(), decisions.len(), "each decision once");
        let decided = (1..=last).filter(|at| ticks(*at).decision.is_some()).count();
        assert_eq!(decisions.len(), decided + 1, "and the start");
        let weights = store.load_states().await.unwrap();
        let changes = store.changes(10_000).await.unwrap().len() as u64;
        let moved = weights.first().map_or(0, |state| state.generation.0);
        assert_eq!((moved, changes), (last / 3, last / 3), "weight and audit log go along");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_plan_on_the_same_generation_one_commits() {
    let dir = tempfile::tempdir().unwrap();
    // Two stores stand for two processes.
    let stores = [open(&dir), open(&dir)];
    stores[0].start_rollout(new_rollout("a", "a-1")).await.unwrap();
    for generation in 1..6 {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..8 {
            let store = stores[n % 2].clone();
            tasks.spawn(async move {
                loop {
                    let result = store.commit_tick(tick("a-1", generation, None)).await;
                    if !matches!(&result, Err(CommitError::Store(StoreError::Busy { .. }))) {
                        return result;
                    }
                }
            });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for lost in results.into_iter().filter_map(Result::err) {
            let CommitError::Conflict { rollout, .. } = lost else { panic!("{lost:?}") };
            assert!(rollout.unwrap().state.generation > Generation(generation));
        }
    }
    assert_eq!(stores[1].windows("a-1").await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_rollout_goes_on_when_the_lock_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.start_rollout(new_rollout("a", "a-1")).await.unwrap();
    let lock = Lock::take(&dir);
    let busy = store.commit_tick(tick("a-1", 1, None)).await.unwrap_err();
    assert!(matches!(busy, CommitError::Store(StoreError::Busy { .. })), "{busy:?}");
    assert_eq!(store.rollouts().await.unwrap().len(), 1, "readers are not held up");
    lock.release();
    store.commit_tick(tick("a-1", 1, None)).await.unwrap();
}

fn feedback(request: u64) -> Feedback {
    Feedback {
        request_id: format!("req-{request}"),
        at: Millis(1_000_000),
        key_name: None,
        score: 255,
        comment: Some("é".repeat(3_000)),
    }
}

#[tokio::test]
async fn feedback_finds_its_request_or_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = Arc::clone(&now);
    let (mut options, _) = options(&dir);
    options.clock = Arc::new(move || Millis(clock.load(Ordering::Relaxed)));
    let store = Store::open(options).unwrap();
    let sink = store.feedback();
    assert!([1, 1, 2].into_iter().all(|request| sink.try_push(feedback(request))));
    store.records().try_push(record(1));
    store.flush().await.unwrap();
    let taken = store.take_votes(use_case("statements"), 0, 10).await.unwrap();
    assert_eq!((taken.votes.len(), taken.votes[0].1.score, taken.waiting), (1, 100, 1));
    let stats = FeedbackStats { written: 2, repeated: 1, ..FeedbackStats::default() };
    assert_eq!(sink.stats(), stats);
    now.fetch_add(2 * 60 * 60 * 1_000, Ordering::Relaxed);
    let taken = store.take_votes(use_case("statements"), taken.votes[0].0, 10).await.unwrap();
    assert_eq!((taken.votes.len(), taken.waiting), (0, 0));
    assert_eq!(sink.stats(), FeedbackStats { unmatched: 1, ..stats });
    let comment: String = Connection::open(dir.path().join(crate::sqlite::FILE))
        .unwrap()
        .query_row("SELECT comment FROM feedback LIMIT 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(comment.len(), crate::COMMENT_BYTES_MAX);
}

#[tokio::test]
async fn feedback_that_finds_no_room_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.check().await.unwrap();
    let _lock = Lock::take(&dir);
    let sink = store.feedback();
    let pushed = (0..3_000).filter(|request| sink.try_push(feedback(*request))).count() as u64;
    assert!(pushed < 3_000);
    assert_eq!(sink.stats().dropped_full, 3_000 - pushed);
    store.close().await;
    assert_eq!(sink.stats().dropped_closed, pushed);
    assert!(!sink.try_push(feedback(1)));
    assert_eq!(sink.stats().dropped_closed, pushed + 1);
}
