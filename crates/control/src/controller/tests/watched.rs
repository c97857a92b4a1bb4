//! What stands behind the reading of the config's files: nothing.

use std::sync::mpsc;

use cutover_store::Override;
use tokio::sync::oneshot;

use super::*;
use crate::testing::Process;
use crate::watch::{self, Watch};

/// A rollback by hand was never noticed, and the process had to be killed: its watch stood in the opening of a pipe that
/// had been put where the config file was.
#[tokio::test]
async fn a_file_that_cannot_be_read_holds_up_neither_a_rollback_nor_the_end() {
    let rig = start(TempDir::new().unwrap(), "10%").await;
    let file = rig.folder.path().join("cutover.toml");
    std::fs::write(&file, "a").unwrap();
    let (entered_to, entered) = oneshot::channel();
    let (release, answer) = mpsc::channel::<()>();
    let (entered_to, answer) = (Mutex::new(Some(entered_to)), Mutex::new(answer));
    // Its config file is on a file system that does not answer.
    let host = Arc::new(Process::reloading(move || {
        if let Some(entered) = lock(&entered_to).take() {
            entered.send(()).unwrap();
        }
        // Until the test drops the other end, after all it has to say.
        let _ = lock(&answer).recv();
    }));
    let (stop, stopped) = oneshot::channel::<()>();
    let watch = Watch::new(vec![file.clone()]);
    let ended = async {
        let _ = stopped.await;
    };
    let watching = watch::run(rig.controller.clone(), host, watch, ended);
    let acting = async {
        std::fs::write(&file, "another").unwrap();
        entered.await.unwrap();
        assert_eq!(rig.published.last(), "10%");
        let held = Override {
            weight: WeightBp::NONE,
            actor: "bob".to_owned(),
            reason: String::new(),
            at: Millis(1),
        };
        overrides::put(rig.folder.path(), &name(), &held).unwrap();
        while rig.published.last() != "0%" {
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
    };
    let both = async { tokio::join!(watching, acting) };
    tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
    drop(release);
}
