//! Moving traffic while it runs: the split follows within a second, nothing fails, growing moves no
//! unit back, a rollback holds.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use cutover_testkit::arms::two_arms;
use cutover_testkit::fake::{Fake, Persona, Reply, Setup};
use cutover_testkit::load::{Load, Running, Sample, arms_by_unit, assert_all_good};
use cutover_testkit::program::Program;
use cutover_testkit::wait;
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");
/// How soon a change must hold.
const WITHIN: Duration = Duration::from_secs(1);

struct Rig {
    cloud: Fake,
    own: Fake,
    program: Program,
}

impl Rig {
    fn start() -> Self {
        let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
        let own = Fake::start_with(Setup::new(Persona::Vllm).name("own"));
        for fake in [&cloud, &own] {
            // So that requests overlap with the change.
            fake.always(Reply::words(6).pace(Duration::from_millis(1)));
        }
        let config = two_arms(&cloud.base_url(), &own.base_url());
        let program = Program::start(BINARY, &config);
        Self { cloud, own, program }
    }

    fn load(&self) -> Running {
        let mut load = Load::new(self.program.url(), "none", "app");
        load.stream = true;
        "x-customer-id".clone_into(&mut load.unit_header);
        load.start()
    }

    /// Runs a verb under load; returns the samples sent a second or more after it.
    async fn change(&self, running: &Running, arguments: &[&str]) -> Vec<Sample> {
        self.program.ok(arguments);
        Self::settled(running).await
    }

    /// The samples sent a second or more from now.
    async fn settled(running: &Running) -> Vec<Sample> {
        let done = Instant::now().into_std();
        // Twice round all units after the second in which the change may still be on its way.
        let settled = || {
            let late = running.samples().iter().filter(|one| one.sent >= done + WITHIN).count();
            late >= 400
        };
        wait::until_async("the load after a change", settled).await;
        running.samples().into_iter().filter(|one| one.sent >= done + WITHIN).collect()
    }
}

fn candidates(samples: &[Sample]) -> BTreeSet<String> {
    arms_by_unit(samples)
        .into_iter()
        .filter(|(_, arm)| arm == "candidate")
        .map(|(unit, _)| unit)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_takes_effect_under_load_without_a_failed_request_and_moves_no_unit_back() {
    let rig = Rig::start();
    let running = rig.load();
    running.more(200).await;
    assert!(rig.own.inferences().is_empty(), "the candidate was asked at weight 0");
    let mut before = BTreeSet::new();
    for (weight, least, most) in
        [("5%", 1, 30), ("25%", 25, 80), ("75%", 120, 180), ("100%", 200, 200)]
    {
        let samples = rig.change(&running, &["weight", "app", weight]).await;
        let now = candidates(&samples);
        assert!((least..=most).contains(&now.len()), "{} of 200 units at {weight}", now.len());
        assert!(before.is_subset(&now), "growing to {weight} moved units back");
        before = now;
    }
    let samples = rig.change(&running, &["weight", "app", "25%"]).await;
    let fewer = candidates(&samples);
    assert!(fewer.is_subset(&before) && fewer.len() < 100, "{}", fewer.len());
    let samples = running.stop();
    assert_all_good(&samples);
    let made = samples.len() as u64;
    wait::until("every request in the metrics", || counted(&rig.program, "") == made);
    let candidates = samples.iter().filter(|one| one.arm.as_deref() == Some("candidate")).count();
    assert_eq!(counted(&rig.program, "arm=\"candidate\""), candidates as u64);
    assert_eq!(rig.cloud.inferences().len() + rig.own.inferences().len(), samples.len());
}

/// Requests with this label, as the metrics have them.
fn counted(program: &Program, label: &str) -> u64 {
    let metrics = program.metrics();
    let lines = metrics.lines().filter(|line| line.starts_with("cutover_requests_total{"));
    lines
        .filter(|line| line.contains(label))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_takes_effect_under_load_and_holds_after_kill_9() {
    let mut rig = Rig::start();
    let running = rig.load();
    rig.change(&running, &["weight", "app", "100%"]).await;
    let output = rig.program.cli(&["rollback", "app", "--reason", "dates are wrong"]);
    assert!(matches!(output.status.code(), Some(0 | 6)), "{output:?}");
    let samples = Rig::settled(&running).await;
    assert!(candidates(&samples).is_empty(), "the candidate still serves after a rollback");
    assert_all_good(&running.stop());
    is_on_disk(&rig);
    rig.program.kill();
    rig.program.start_again();
    let asked = rig.own.inferences().len();
    let running = rig.load();
    running.more(300).await;
    let samples = running.stop();
    assert_all_good(&samples);
    assert!(candidates(&samples).is_empty());
    assert_eq!(rig.own.inferences().len(), asked, "the candidate was asked after the restart");
    // Traffic returns only by a deliberate word.
    assert!(!rig.program.cli(&["weight", "app", "50%"]).status.success());
    rig.program.ok(&["weight", "app", "100%", "--after-rollback"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_holds_after_kill_9() {
    let mut rig = Rig::start();
    rig.program.ok(&["weight", "app", "100%"]);
    rig.program.kill();
    rig.program.start_again();
    let running = rig.load();
    running.more(200).await;
    let samples = running.stop();
    assert_all_good(&samples);
    assert_eq!(candidates(&samples).len(), arms_by_unit(&samples).len());
    assert!(rig.cloud.inferences().is_empty());
}

/// One client's requests, all of which must be answered well by the baseline.
/// Another candidate used to be given the share of the one before, for good where there is no rollout.
#[tokio::test(flavor = "multi_thread")]
async fn another_candidate_in_the_file_meets_not_one_request_at_the_old_share() {
    let mut rig = Rig::start();
    let other = Fake::start_with(Setup::new(Persona::Vllm).name("other"));
    other.always(Reply::words(6).pace(Duration::from_millis(1)));
    rig.program.ok(&["weight", "app", "60%"]);
    let running = rig.load();
    wait::until_async("the candidate serves", || !rig.own.inferences().is_empty()).await;
    let before = two_arms(&rig.cloud.base_url(), &rig.own.base_url());
    let swapped = before.replace("candidate = \"new\"", "candidate = \"newer\"")
        + &format!(
            "[upstreams.other]\nprovider = \"vllm\"\ninstances = [\"{}/v1\"]\n\
             [variants.newer]\nupstream = \"other\"\nmodel = \"fake-model\"\n",
            other.base_url()
        );
    rig.program.write_config(&swapped);
    let use_case = |rig: &Rig| rig.program.status()["use_cases"][0].clone();
    wait::until_async("the new file", || use_case(&rig)["candidate"] == "newer").await;
    let seen = running.samples().len();
    wait::until_async("requests after it", || running.samples().len() >= seen + 400).await;
    assert!(other.inferences().is_empty(), "it was given a share that it has not earned");
    let now = use_case(&rig);
    assert_eq!((&now["weight"], &now["origin"]), (&"0%".into(), &"replaced".into()), "{now:#}");
    let status = rig.program.ok(&["status"]);
    assert!(status.contains("another candidate than the one whose share it was"), "{status}");
    assert!(rig.program.log().contains("the config file has another candidate"));
    // It gets one of its own, which other settings of the same variant do not inherit either.
    rig.program.ok(&["weight", "app", "40%"]);
    wait::until_async("the other one serves", || !other.inferences().is_empty()).await;
    rig.program.write_config(&format!("{swapped}temperature = 0.1\n"));
    wait::until_async("its own share is gone", || use_case(&rig)["origin"] == "replaced").await;
    // Who comes back finds the share that it had, unless another was given meanwhile.
    rig.program.write_config(&before);
    wait::until_async("the first one is back", || use_case(&rig)["candidate"] == "new").await;
    assert_eq!(use_case(&rig)["weight"], "0%");
    assert_all_good(&running.stop());
}

async fn only_the_baseline_answers(rig: &Rig) {
    let mut load = Load::new(rig.program.url(), "none", "app");
    load.clients = 1;
    let running = load.start();
    running.more(10).await;
    let samples = running.stop();
    assert_all_good(&samples);
    assert!(samples.iter().all(|one| one.arm.as_deref() == Some("baseline")));
}

/// Rolls back and returns when it is in force, which must be quick.
fn roll_back(rig: &Rig) {
    let begun = Instant::now();
    let output = rig.program.cli(&["rollback", "app"]);
    let took = begun.elapsed();
    assert!(matches!(output.status.code(), Some(0 | 6)), "{output:?}");
    assert!(took < WITHIN, "the rollback took {took:?}");
}

/// Waits until a rollback is where a kill leaves it. It is in force before, and its answer waits for a busy disk for less
/// than a second: then it says so, and exits with 6.
fn is_on_disk(rig: &Rig) {
    let held = rig.program.state().join("overrides/app.json");
    wait::until("the override is on disk", || held.exists());
}

fn database_files(rig: &Rig) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(rig.program.state()).unwrap();
    let files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".db"))
        .collect();
    assert!(!files.is_empty(), "no database file was found");
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_quick_and_holds_without_a_usable_database() {
    let mut rig = Rig::start();
    rig.program.ok(&["weight", "app", "100%"]);
    // Every database file is replaced by something that is none, while the program runs.
    for path in database_files(&rig) {
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
    }
    roll_back(&rig);
    only_the_baseline_answers(&rig).await;
    is_on_disk(&rig);
    rig.program.kill();
    rig.program.start_again();
    only_the_baseline_answers(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_quick_and_holds_while_another_process_locks_the_database() {
    let mut rig = Rig::start();
    rig.program.ok(&["weight", "app", "100%"]);
    let files = database_files(&rig);
    let file = files.iter().find(|path| path.extension().is_some_and(|end| end == "db"));
    let lock = rusqlite::Connection::open(file.unwrap()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    roll_back(&rig);
    only_the_baseline_answers(&rig).await;
    is_on_disk(&rig);
    rig.program.kill();
    drop(lock);
    rig.program.start_again();
    only_the_baseline_answers(&rig).await;
}
