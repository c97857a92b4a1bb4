//! Whose share it is from the moment at which it comes into force.

use rusqlite::Connection;

use super::*;

/// What another process does that writes: nobody else does until this is dropped.
fn locked(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("cutover.db")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// Another candidate of a name, with the share that the file had for the first.
fn other(weight: &str) -> Spec {
    Spec { candidate_digest: "digest of another".into(), ..spec(weight) }
}

fn at(addresses: &[&str], weight: &str) -> Spec {
    let candidate_addresses = addresses.iter().map(ToString::to_string).collect();
    Spec { candidate_addresses, ..spec(weight) }
}

/// Whose share it was used to be known only once it was stored: who was named before got all of it, and while
/// the database took nothing there was no end to that.
#[tokio::test]
async fn another_candidate_inherits_nothing_while_the_share_is_not_stored() {
    let rig = start(folder(), "0%").await;
    let lock = locked(rig.folder.path());
    adopt(&rig.controller, &rig.published, "100%").unwrap();
    assert_eq!(rig.published.last(), "100%");
    for _ in 0..2 {
        adopt_spec(&rig.controller, &rig.published, other("100%")).unwrap();
        assert_eq!(rig.published.last(), "0%");
        assert_eq!(rig.controller.statuses()[0].origin, Origin::Replaced);
        rig.controller.tend().await;
        assert_eq!(rig.published.last(), "0%");
    }
    let told =
        rig.controller.0.parts.registry.counter(families::WEIGHT_CHANGES, ["statements", "set"]);
    assert_eq!(told.get(), 1, "a share that stays behind is told of, once");
    // The one before has its share still, and what is stored in the end is that.
    adopt(&rig.controller, &rig.published, "100%").unwrap();
    assert_eq!(rig.published.last(), "100%");
    adopt_spec(&rig.controller, &rig.published, other("100%")).unwrap();
    drop(lock);
    rig.controller.tend().await;
    assert_eq!(rig.published.last(), "0%");
    let stored = rig.store.load_states().await.unwrap().remove(0);
    assert_eq!((stored.weight, stored.candidate.as_str()), (WeightBp::ALL, "digest of local"));
    adopt_spec(&rig.controller, &rig.published, other("100%")).unwrap();
    assert_eq!(told.get(), 2, "what was told of is not told again for being stored");
    let Rig { controller, folder, .. } = rig;
    drop(controller);
    assert_eq!(start_with(folder, other("100%")).await.published.last(), "0%");
}

/// At the start, too.
#[tokio::test]
async fn a_share_that_the_start_could_not_store_is_its_candidate_s() {
    let folder = folder();
    open(folder.path()).check().await.unwrap();
    let lock = locked(folder.path());
    let rig = start(folder, "100%").await;
    assert_eq!(rig.published.last(), "100%");
    adopt_spec(&rig.controller, &rig.published, other("100%")).unwrap();
    assert_eq!(rig.published.last(), "0%");
    drop(lock);
    rig.controller.tend().await;
    let stored = rig.store.load_states().await.unwrap().remove(0);
    assert_eq!((stored.weight, stored.candidate.as_str()), (WeightBp::ALL, "digest of local"));
}

/// What is rolled back while the share could not be stored is not stored as the share that it was.
#[tokio::test]
async fn a_rollback_of_a_share_that_was_not_stored_stays_one() {
    let rig = start(folder(), "0%").await;
    let lock = locked(rig.folder.path());
    adopt(&rig.controller, &rig.published, "100%").unwrap();
    let rolled = rig.roll_back().await;
    assert!(rolled.in_override && !rolled.in_database, "{rolled:?}");
    drop(lock);
    rig.controller.tend().await;
    let stored = rig.store.load_states().await.unwrap().remove(0);
    assert!(stored.rolled_back && stored.generation == Generation(1), "{stored:?}");
    adopt_spec(&rig.controller, &rig.published, other("100%")).unwrap();
    assert_eq!(rig.published.last(), "0%");
}

/// A kill between two looks at what is to be tried again took the owner with it.
#[tokio::test]
async fn a_share_is_stored_as_its_candidate_s_as_soon_as_a_reload_brings_it() {
    let rig = start(folder(), "0%").await;
    adopt(&rig.controller, &rig.published, "100%").unwrap();
    rig.controller.close().await;
    let stored = rig.store.load_states().await.unwrap().remove(0);
    assert_eq!((stored.weight, stored.candidate.as_str()), (WeightBp::ALL, "digest of local"));
    let Rig { controller, folder, .. } = rig;
    drop(controller);
    let rig = start_with(folder, other("100%")).await;
    assert_eq!(rig.published.last(), "0%");
}

/// Of two reloads within seconds the second found the addresses of before the first.
#[tokio::test]
async fn a_fleet_is_replaced_as_fast_as_one_reloads() {
    for (by_hand, writable) in [(true, true), (true, false), (false, true), (false, false)] {
        let file = if by_hand { "0%" } else { "40%" };
        let rig = start_with(folder(), at(&["gpu-1:8000"], file)).await;
        if by_hand {
            rig.set("40%").await.unwrap();
        }
        let lock = (!writable).then(|| locked(rig.folder.path()));
        for addresses in
            [&["gpu-1:8000", "gpu-2:8000"][..], &["gpu-2:8000"], &["gpu-2:8000", "gpu-3:1"]]
        {
            adopt_spec(&rig.controller, &rig.published, at(addresses, file)).unwrap();
            assert_eq!(rig.published.last(), "40%", "{addresses:?} {by_hand} {writable}");
        }
        rig.controller.tend().await;
        drop(lock);
        rig.controller.tend().await;
        rig.controller.close().await;
        let stored = rig.store.load_states().await.unwrap().remove(0);
        assert_eq!(stored.candidate, "digest of local\ngpu-2:8000\ngpu-3:1");
        adopt_spec(&rig.controller, &rig.published, at(&["gpu-1:8000"], file)).unwrap();
        assert_eq!(rig.published.last(), "0%", "it left long ago");
    }
}
