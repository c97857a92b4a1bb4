use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cutover_store::{Options, Store, overrides};
use cutover_units::VariantName;
use tempfile::TempDir;

use super::*;

mod owners;
mod watched;

/// Keeps what was published.
#[derive(Clone, Default)]
struct Published(Arc<Mutex<Vec<Weights>>>);

impl Publisher for Published {
    fn publish(&self, weights: &Weights) {
        lock(&self.0).push(weights.clone());
    }
}

impl Published {
    fn last(&self) -> String {
        let all = lock(&self.0);
        all.last().map_or_else(String::new, |weights| weights[&name()].weight.to_string())
    }
}

struct Rig {
    controller: Controller,
    published: Published,
    store: Store,
    folder: TempDir,
}

fn name() -> UseCaseName {
    UseCaseName::new("statements").unwrap()
}

fn spec(weight: &str) -> Spec {
    Spec {
        name: name(),
        baseline: VariantName::new("cloud").unwrap(),
        candidate: Some(VariantName::new("local").unwrap()),
        candidate_digest: "digest of local".into(),
        candidate_addresses: Vec::new(),
        weight: WeightBp::parse(weight).unwrap(),
    }
}

fn open(folder: &Path) -> Store {
    Store::open(Options::new(folder, || Millis(1))).unwrap()
}

async fn start(folder: TempDir, initial: &str) -> Rig {
    start_with(folder, spec(initial)).await
}

async fn start_with(folder: TempDir, spec: Spec) -> Rig {
    let (published, store) = (Published::default(), open(folder.path()));
    let (registry, ticks) = (Registry::new(), AtomicU64::new(1_000));
    let controller = Controller::start(
        Parts {
            publisher: Box::new(published.clone()),
            state: State::new(store.clone(), folder.path(), &registry),
            clock: Arc::new(move || Millis(ticks.fetch_add(1, Ordering::Relaxed))),
            registry,
            deadlines: Deadlines::PATIENT,
        },
        vec![spec.clone()],
    )
    .await;
    adopt_spec(&controller, &published, spec).unwrap();
    Rig { controller, published, store, folder }
}

fn adopt(controller: &Controller, published: &Published, initial: &str) -> Result<(), ()> {
    adopt_spec(controller, published, spec(initial))
}

fn adopt_spec(controller: &Controller, published: &Published, spec: Spec) -> Result<(), ()> {
    controller.adopt(vec![spec], |weights| {
        published.publish(weights);
        Ok(())
    })
}

impl Rig {
    async fn set(&self, weight: &str) -> Result<UseCaseStatus, Refusal> {
        self.controller.set_weight("statements", &ask(weight)).await
    }

    async fn resume(&self, weight: &str) -> Result<UseCaseStatus, Refusal> {
        let request = SetWeight { after_rollback: true, ..ask(weight) };
        self.controller.set_weight("statements", &request).await
    }

    async fn roll_back(&self) -> RolledBack {
        let by = RollBack { actor: "bob".into(), reason: "errors".into() };
        self.controller.roll_back("statements", &by).await.unwrap()
    }

    /// What a new process finds, after this one was killed.
    async fn killed_and_restarted(self) -> Rig {
        let Self { controller, folder, .. } = self;
        drop(controller);
        start(folder, "10%").await
    }
}

fn ask(weight: &str) -> SetWeight {
    SetWeight {
        weight: WeightBp::parse(weight).unwrap(),
        actor: "ann".into(),
        reason: "looks good".into(),
        after_rollback: false,
        expected_generation: None,
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Makes the database unusable for whoever opens it next.
fn damage(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(
                path,
                "no database at all, but longer than a header of one hundred bytes \
                which is what SQLite looks at first when it opens a file",
            )
            .unwrap();
        }
    }
}

/// A weight that was set by hand, without any rollout, used to be inherited by whatever the config file
/// named as candidate.
#[tokio::test]
async fn a_weight_set_by_hand_is_the_candidate_s_it_was_set_for() {
    let rig = start(folder(), "10%").await;
    rig.set("25%").await.unwrap();
    let other = || Spec { candidate_digest: "digest of another".into(), ..spec("10%") };
    adopt_spec(&rig.controller, &rig.published, other()).unwrap();
    assert_eq!(rig.published.last(), "0%", "in the same publication as the new candidate");
    let status = &rig.controller.statuses()[0];
    assert_eq!((status.weight, status.origin), (WeightBp::NONE, Origin::Replaced));
    // The one it was set for has it still, also after a restart.
    let rig = rig.killed_and_restarted().await;
    assert_eq!(rig.published.last(), "25%");
    adopt_spec(&rig.controller, &rig.published, other()).unwrap();
    assert_eq!(rig.published.last(), "0%");
    let status = rig.set("5%").await.unwrap();
    assert_eq!((status.origin, status.generation), (Origin::Operator, Generation(3)));
    assert_eq!(rig.published.last(), "5%");
    adopt(&rig.controller, &rig.published, "10%").unwrap();
    assert_eq!(rig.published.last(), "0%", "what the other one was given is not the first one's");
}

/// While nobody had set a weight, the file's share was in force and stored nowhere: whatever candidate the
/// file named next met it.
#[tokio::test]
async fn the_file_s_share_is_its_candidate_s_too() {
    let rig = start(folder(), "10%").await;
    let stored = rig.store.load_states().await.unwrap().remove(0);
    assert_eq!(
        (stored.weight.to_string().as_str(), stored.candidate.as_str()),
        ("10%", "digest of local")
    );
    let status = &rig.controller.statuses()[0];
    assert_eq!((status.origin, status.generation), (Origin::Config, Generation(1)));
    let other = || Spec { candidate_digest: "digest of another".into(), ..spec("10%") };
    adopt_spec(&rig.controller, &rig.published, other()).unwrap();
    assert_eq!(rig.published.last(), "0%");
    rig.controller.settle_owners().await;
    assert_eq!(rig.store.load_states().await.unwrap(), [stored], "what was the other's stays it");
    // Also where it is replaced while nothing runs.
    let Rig { controller, folder, .. } = rig;
    drop(controller);
    let rig = start_with(folder, other()).await;
    assert_eq!(rig.published.last(), "0%");
    assert_eq!(rig.set("3%").await.unwrap().origin, Origin::Operator);
    adopt_spec(&rig.controller, &rig.published, Spec { weight: WeightBp::ALL, ..other() }).unwrap();
    assert_eq!(rig.published.last(), "3%", "the file says no more than an operator");
}

/// The file goes on to say its share while nobody else has said one, and each is stored.
#[tokio::test]
async fn the_file_s_share_may_change_while_nobody_has_set_one() {
    let rig = start(folder(), "0%").await;
    assert!(rig.store.load_states().await.unwrap().is_empty(), "0% hands nothing on");
    for weight in ["10%", "20%", "0%"] {
        adopt(&rig.controller, &rig.published, weight).unwrap();
        rig.controller.tend().await;
        assert_eq!(rig.published.last(), weight);
        let stored = rig.store.load_states().await.unwrap().remove(0);
        assert_eq!(stored.weight.to_string(), weight);
        assert_eq!(rig.controller.statuses()[0].origin, Origin::Config);
    }
}

/// The same name could be pointed to another server, which then had the share of the one before.
#[tokio::test]
async fn instances_come_and_go_and_another_server_begins_at_nothing() {
    let at = |addresses: &[&str]| Spec {
        candidate_addresses: addresses.iter().map(ToString::to_string).collect(),
        ..spec("0%")
    };
    let rig = start_with(folder(), at(&["gpu-1:8000"])).await;
    rig.set("25%").await.unwrap();
    // One by one the whole fleet is replaced.
    for addresses in
        [&["gpu-1:8000", "gpu-2:8000"][..], &["gpu-2:8000"], &["gpu-3:8000", "gpu-2:8000"]]
    {
        adopt_spec(&rig.controller, &rig.published, at(addresses)).unwrap();
        rig.controller.tend().await;
        assert_eq!(rig.published.last(), "25%", "{addresses:?}");
    }
    let status = &rig.controller.statuses()[0];
    assert_eq!((status.generation, status.actor.as_deref()), (Generation(1), Some("ann")));
    let Rig { controller, folder, .. } = rig;
    drop(controller);
    let rig = start_with(folder, at(&["gpu-3:8000"])).await;
    assert_eq!(rig.published.last(), "25%");
    adopt_spec(&rig.controller, &rig.published, at(&["gpu-9:8000"])).unwrap();
    assert_eq!(rig.published.last(), "0%");
    assert_eq!(rig.controller.statuses()[0].origin, Origin::Replaced);
    rig.controller.tend().await;
    assert_eq!(rig.published.last(), "0%", "it is not its own for having been seen");
    assert_eq!(rig.set("5%").await.unwrap().origin, Origin::Operator);
}

/// Only a reload used to be told.
#[tokio::test]
async fn a_file_that_changed_while_nothing_ran_is_told_of_at_the_start() {
    for (digest, told) in [("digest of another", 1), ("digest of local", 0)] {
        let rig = start(folder(), "0%").await;
        rig.set("25%").await.unwrap();
        let Rig { controller, folder, .. } = rig;
        drop(controller);
        let rig = start_with(folder, Spec { candidate_digest: digest.into(), ..spec("0%") }).await;
        let changes = rig
            .controller
            .0
            .parts
            .registry
            .counter(families::WEIGHT_CHANGES, ["statements", "set"]);
        assert_eq!(changes.get(), told, "{digest}");
    }
}

#[tokio::test]
async fn a_weight_is_in_force_once_it_is_stored_and_survives_a_restart() {
    let rig = start(folder(), "10%").await;
    assert_eq!(rig.published.last(), "10%");
    let status = rig.set("25%").await.unwrap();
    assert_eq!((status.origin, status.generation), (Origin::Operator, Generation(2)));
    assert_eq!(rig.published.last(), "25%");
    let rig = rig.killed_and_restarted().await;
    assert_eq!(rig.published.last(), "25%");
    assert_eq!(rig.controller.statuses()[0].actor.as_deref(), Some("ann"));
}

#[tokio::test]
async fn a_rollback_is_published_and_kept_twice() {
    let rig = start(folder(), "10%").await;
    rig.set("25%").await.unwrap();
    let report = rig.roll_back().await;
    assert!(report.in_override && report.in_database && report.warnings.is_empty(), "{report:?}");
    assert_eq!((rig.published.last(), report.use_case.origin), ("0%".into(), Origin::Rollback));
    let rig = rig.killed_and_restarted().await;
    assert_eq!(rig.published.last(), "0%");
    // Each of the two would have been enough.
    overrides::clear(rig.folder.path(), &name()).unwrap();
    let rig = rig.killed_and_restarted().await;
    assert_eq!(rig.published.last(), "0%");
}

#[tokio::test]
async fn a_rollback_works_with_the_database_closed_and_holds_with_it_damaged() {
    let rig = start(folder(), "10%").await;
    rig.set("25%").await.unwrap();
    rig.store.close().await;
    let report = rig.roll_back().await;
    assert!(report.in_override && !report.in_database, "{report:?}");
    assert_eq!(report.warnings, [format!("{NOT_IN_DATABASE}: the store is closed")]);
    assert_eq!(rig.published.last(), "0%");
    assert!(matches!(rig.set("30%").await, Err(Refusal::RolledBack { .. })));
    damage(rig.folder.path());
    let rig = rig.killed_and_restarted().await;
    assert_eq!(rig.published.last(), "0%");
    assert_eq!(rig.controller.statuses()[0].origin, Origin::Rollback);
}

#[tokio::test]
async fn a_rollback_that_could_not_be_stored_is_stored_later() {
    let rig = start(folder(), "10%").await;
    let (database, away) = (rig.folder.path().join("cutover.db"), rig.folder.path().join("away"));
    std::fs::rename(&database, &away).unwrap();
    let report = rig.roll_back().await;
    assert!(report.in_override && !report.in_database, "{report:?}");
    std::fs::rename(&away, &database).unwrap();
    rig.controller.tend().await;
    let states = rig.store.load_states().await.unwrap();
    assert!(states[0].rolled_back && states[0].reason == "errors", "{states:?}");
}

/// Neither was there when it took effect, and the database still is not: a restart would have undone it.
#[tokio::test]
async fn an_override_that_could_not_be_written_is_written_later() {
    let rig = start(folder(), "10%").await;
    rig.set("25%").await.unwrap();
    let (database, away) = (rig.folder.path().join("cutover.db"), rig.folder.path().join("away"));
    std::fs::rename(&database, &away).unwrap();
    let in_the_way = rig.folder.path().join(overrides::DIR);
    std::fs::write(&in_the_way, "").unwrap();
    let report = rig.roll_back().await;
    assert!(!report.in_override && !report.in_database, "{report:?}");
    rig.controller.tend().await;
    std::fs::remove_file(&in_the_way).unwrap();
    rig.controller.tend().await;
    std::fs::rename(&away, &database).unwrap();
    let rig = rig.killed_and_restarted().await;
    assert_eq!(rig.published.last(), "0%");
    assert_eq!(rig.controller.statuses()[0].actor.as_deref(), Some("bob"));
}

/// The disk was so slow that the rollback was lifted before its override was written: nobody would have lifted it again.
#[tokio::test]
async fn an_override_that_comes_to_the_disk_after_it_was_lifted_is_not_written() {
    let rig = start(folder(), "10%").await;
    let _ = rig.roll_back().await;
    let held = overrides::Overrides::load(rig.folder.path()).get(&name()).cloned().unwrap();
    rig.resume("5%").await.unwrap();
    rig.controller.write_override(&name(), &held).unwrap();
    rig.controller.read_overrides();
    assert_eq!(rig.published.last(), "5%");
    let rig = rig.killed_and_restarted().await;
    assert_eq!(rig.published.last(), "5%");
}

#[tokio::test]
async fn a_state_that_cannot_be_read_means_baseline_only_until_it_can() {
    let folder = folder();
    open(folder.path()).check().await.unwrap();
    damage(folder.path());
    let rig = start(folder, "10%").await;
    assert_eq!(rig.published.last(), "0%");
    assert_eq!(rig.controller.statuses()[0].origin, Origin::Unknown);
    assert!(rig.controller.state_problem().is_some());
    assert!(matches!(rig.set("25%").await, Err(Refusal::Database(_))));
    let report = rig.roll_back().await;
    assert!(report.in_override && !report.in_database);
}

#[tokio::test]
async fn traffic_comes_back_only_when_asked_for_by_name() {
    let rig = start(folder(), "10%").await;
    let _ = rig.roll_back().await;
    assert!(
        matches!(rig.set("25%").await, Err(Refusal::RolledBack { actor, .. }) if actor == "bob")
    );
    rig.set("0%").await.unwrap();
    assert!(matches!(rig.set("25%").await, Err(Refusal::RolledBack { .. })));
    rig.resume("5%").await.unwrap();
    assert_eq!(rig.published.last(), "5%");
    rig.controller.read_overrides();
    rig.controller.tend().await;
    assert_eq!(rig.published.last(), "5%");
    let rig = rig.killed_and_restarted().await;
    assert_eq!(rig.published.last(), "5%");
    rig.set("6%").await.unwrap();
}

#[tokio::test]
async fn an_override_written_by_others_takes_effect_and_is_stored() {
    let rig = start(folder(), "10%").await;
    let (actor, reason) = ("cli".to_owned(), "no server".to_owned());
    let held = Override { weight: WeightBp::NONE, actor, reason, at: Millis(7) };
    overrides::put(rig.folder.path(), &name(), &held).unwrap();
    rig.controller.read_overrides();
    assert_eq!(rig.published.last(), "0%");
    rig.controller.tend().await;
    assert!(rig.store.load_states().await.unwrap()[0].rolled_back);
    // Removing the file by hand resumes nothing.
    overrides::clear(rig.folder.path(), &name()).unwrap();
    rig.controller.read_overrides();
    assert!(matches!(rig.set("25%").await, Err(Refusal::RolledBack { .. })));
}

#[tokio::test]
async fn a_rollback_newer_than_the_one_the_caller_saw_is_not_lifted() {
    let rig = start(folder(), "10%").await;
    let _ = rig.roll_back().await;
    let held = Override {
        weight: WeightBp::NONE,
        actor: "eve".into(),
        reason: "again".into(),
        at: Millis(9_999),
    };
    overrides::put(rig.folder.path(), &name(), &held).unwrap();
    let refused = rig.resume("5%").await.unwrap_err();
    assert!(matches!(refused, Refusal::RolledBack { actor, .. } if actor == "eve"));
    assert_eq!(rig.published.last(), "0%");
}

#[tokio::test]
async fn rolling_back_twice_leaves_nothing_that_cannot_be_lifted() {
    let rig = start(folder(), "10%").await;
    let _ = rig.roll_back().await;
    let _ = rig.roll_back().await;
    rig.resume("5%").await.unwrap();
    assert_eq!(rig.published.last(), "5%");
    // Whoever is told of a newer one may lift it the next time.
    let _ = rig.roll_back().await;
    let (actor, reason) = ("eve".to_owned(), "again".to_owned());
    let held = Override { weight: WeightBp::NONE, actor, reason, at: Millis(9_999) };
    overrides::put(rig.folder.path(), &name(), &held).unwrap();
    assert!(rig.resume("5%").await.is_err());
    rig.resume("5%").await.unwrap();
    assert_eq!(rig.published.last(), "5%");
}

#[tokio::test]
async fn of_two_changes_from_the_same_generation_one_wins() {
    let rig = start(folder(), "10%").await;
    let from_the_file = SetWeight { expected_generation: Some(Generation(1)), ..ask("20%") };
    rig.controller.set_weight("statements", &from_the_file).await.unwrap();
    let late = rig.controller.set_weight("statements", &from_the_file).await.unwrap_err();
    assert!(matches!(late, Refusal::Conflict { found: Generation(2), .. }), "{late:?}");
}

#[tokio::test]
async fn the_weight_another_process_stored_is_taken_by_the_loser() {
    let rig = start(folder(), "10%").await;
    rig.store
        .set_weight(Commit {
            use_case: name(),
            expected: Some(Generation(1)),
            weight: WeightBp::parse("40%").unwrap(),
            cause: Cause::Set,
            actor: "other".into(),
            reason: String::new(),
            now: Millis(3),
            candidate: "digest of local".into(),
        })
        .await
        .unwrap();
    assert!(matches!(rig.set("25%").await, Err(Refusal::Conflict { .. })));
    assert_eq!(rig.published.last(), "40%");
    rig.set("25%").await.unwrap();
}

/// Somebody else holds the disk, and another commit is under way.
#[tokio::test]
async fn a_rollback_is_answered_when_its_deadlines_pass_and_is_written_all_the_same() {
    let mut rig = start(folder(), "10%").await;
    let shared = Arc::get_mut(&mut rig.controller.0).unwrap();
    shared.parts.deadlines = Deadlines { overrides: Duration::ZERO, commit: Duration::ZERO };
    let (free, until_free) = std::sync::mpsc::channel::<()>();
    let (held, until_held) = tokio::sync::oneshot::channel();
    let holder = rig.controller.clone();
    let disk = tokio::task::spawn_blocking(move || {
        let _disk = lock(&holder.0.disk);
        held.send(()).unwrap();
        until_free.recv().unwrap_err();
    });
    until_held.await.unwrap();
    let committing = rig.controller.0.committing.lock().await;
    let rolled = rig.roll_back().await;
    assert_eq!(rig.published.last(), "0%");
    assert!(!rolled.in_override && !rolled.in_database, "{rolled:?}");
    assert_eq!(
        rolled.warnings,
        [
            "the override is still being written",
            "the rollback is not in the database yet, which is tried again: it is still being written"
        ]
    );
    drop(committing);
    drop(free);
    disk.await.unwrap();
    rig.controller.close().await;
    let restarted = rig.killed_and_restarted().await;
    assert_eq!(restarted.published.last(), "0%");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rollback_among_changes_wins() {
    let rig = Arc::new(start(folder(), "10%").await);
    let changes: Vec<_> = (1..20)
        .map(|n| {
            let rig = rig.clone();
            TaskTracker::new().spawn(async move { rig.set(&format!("{n}%")).await.is_ok() })
        })
        .collect();
    let report = rig.roll_back().await;
    assert!(report.in_override);
    for change in changes {
        let _ = change.await.unwrap();
    }
    rig.controller.close().await;
    assert_eq!(rig.published.last(), "0%");
    assert!(rig.store.load_states().await.unwrap()[0].rolled_back);
}

#[tokio::test]
async fn a_config_that_cannot_be_installed_leaves_the_old_use_cases() {
    let rig = start(folder(), "10%").await;
    assert_eq!(rig.controller.adopt(vec![spec("20%")], |_| Err::<(), _>("no")), Err("no"));
    assert_eq!(rig.controller.statuses()[0].config_weight.to_string(), "10%");
    adopt(&rig.controller, &rig.published, "20%").unwrap();
    assert_eq!(rig.published.last(), "20%");
}
