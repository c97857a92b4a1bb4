//! Looks after files: takes a changed config file, changed certificates that it names, and rollbacks
//! written by others, without being told.
//!
//! It polls. Notifications of the operating system miss what happens on network mounts and behind
//! the symbolic links that container platforms swap, and a `stat` twice a second costs nothing.
//!
//! A changed file is read only when two looks in a row agree: an editor that writes in pieces would
//! otherwise be reported as a mistake of the operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::admin::Host;
use crate::controller::Controller;

/// Time between two looks. Two of them fit into the second that a weight change may take.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(400);

/// Time after which a look that has not come back is told. A reload may wait for names and models; that is less.
const LOOK_SLOW: Duration = Duration::from_secs(30);

/// Every so many looks, what failed is tried again.
const LOOKS_PER_RETRY: u32 = 10;

/// What a look at a file saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sight {
    changed: SystemTime,
    bytes: u64,
}

fn look(path: &Path) -> Option<Sight> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Sight { changed: metadata.modified().ok()?, bytes: metadata.len() })
}

/// Tells when files have changed and come to rest.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    /// What was in force, and what the last look saw.
    taken: Vec<Option<Sight>>,
    last: Vec<Option<Sight>>,
}

impl Watch {
    /// Watches these files from now on.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let seen: Vec<_> = files.iter().map(|path| look(path)).collect();
        Self { files, taken: seen.clone(), last: seen }
    }

    /// Watches these, too, from now on. What is watched already is no news.
    pub fn follow(&mut self, files: Vec<PathBuf>) {
        for file in files {
            if self.files.contains(&file) {
                continue;
            }
            let seen = look(&file);
            self.files.push(file);
            self.taken.push(seen);
            self.last.push(seen);
        }
    }

    /// Looks once. True when a file differs from what was taken and has come to rest. One that is gone
    /// counts, too, once: what is in force stays, and the reading that fails tells the operator, who would
    /// else learn of it at the next start.
    pub fn has_changed(&mut self) -> bool {
        let now: Vec<_> = self.files.iter().map(|path| look(path)).collect();
        let at_rest = now == self.last;
        let differs = now != self.taken;
        self.last.clone_from(&now);
        if at_rest && differs {
            self.taken = now;
            return true;
        }
        false
    }
}

/// Watches until `shutdown` is done. The watch began before the file was taken into force, so that what
/// changed since is seen.
///
/// The files of the config may lie where no answer comes from any more (a network's file system). So nothing stands
/// behind a look at them: neither what others wrote to the state directory, a rollback above all, nor the end.
pub async fn run(
    controller: Controller,
    host: Arc<dyn Host>,
    watch: Watch,
    shutdown: impl Future<Output = ()>,
) {
    let again = AtomicBool::new(false);
    tokio::select! {
        () = look_after_state(&controller, &host, &again, shutdown) => {}
        () = look_after_files(&host, watch, &again) => {}
    }
}

/// Takes what others wrote to the state directory, and tries again what failed there, until `shutdown` is done.
async fn look_after_state(
    controller: &Controller,
    host: &Arc<dyn Host>,
    again: &AtomicBool,
    shutdown: impl Future<Output = ()>,
) {
    let mut ticks = looks();
    let mut count = 0_u32;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            _ = ticks.tick() => {}
        }
        count = count.wrapping_add(1);
        let overrides = controller.clone();
        // Reading files may block, so it happens off the workers. A panic inside has been reported by its hook.
        let _ = tokio::task::spawn_blocking(move || overrides.read_overrides()).await;
        if count.is_multiple_of(LOOKS_PER_RETRY) {
            // Before the weights: a share is its candidate's, which its prompt makes.
            take_prompts(controller, host, again).await;
            controller.tend().await;
            // Another process may have added or revoked some.
            if let Ok(keys) = controller.keys().await {
                host.take_keys(keys);
            }
            if host.wants_drains()
                && let Ok(drains) = controller.drains().await
            {
                host.take_drains(drains);
            }
        }
    }
}

fn looks() -> Interval {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Takes the prompts that could not be read. A file that may have been refused for want of them is tried `again`.
async fn take_prompts(controller: &Controller, host: &Arc<dyn Host>, again: &AtomicBool) {
    if !host.wants_prompts() {
        return;
    }
    let Ok(prompts) = controller.prompts().await else { return };
    let taker = host.clone();
    match tokio::task::spawn_blocking(move || taker.take_prompts(prompts)).await {
        Ok(Ok(_)) => {
            tracing::info!("the prompts can be read");
            again.store(host.config().refused.is_some(), Ordering::Relaxed);
        }
        Ok(Err(why)) => tracing::error!(why, "the prompts can be read, and not be put into force"),
        Err(_) => {}
    }
}

/// Takes a config file that has changed, or whose files have. Has no end.
async fn look_after_files(host: &Arc<dyn Host>, mut watch: Watch, again: &AtomicBool) {
    let mut ticks = looks();
    loop {
        ticks.tick().await;
        let looking = look_once(host, watch, again.swap(false, Ordering::Relaxed));
        tokio::pin!(looking);
        watch = if let Ok(watch) = timeout(LOOK_SLOW, &mut looking).await {
            watch
        } else {
            let seconds = LOOK_SLOW.as_secs();
            tracing::warn!(
                seconds,
                "the files of the config are still being read: does their file system answer? No change of them is \
                 taken meanwhile, and no reload is done"
            );
            let watch = looking.await;
            tracing::info!("the files of the config have been read");
            watch
        };
    }
}

/// Reading files may block, so it happens off the workers.
async fn look_once(host: &Arc<dyn Host>, mut watch: Watch, again: bool) -> Watch {
    let host = host.clone();
    let looked = tokio::task::spawn_blocking(move || {
        watch.follow(host.watched_files());
        if watch.has_changed() || again {
            // What came of it is in the log, the status and the metrics.
            let _ = host.reload();
            watch.follow(host.watched_files());
        }
        watch
    });
    // A panic inside would lose the watch: an empty one takes what follows.
    looked.await.unwrap_or_else(|_| Watch::new(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_is_followed_later_counts_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let (config, roots) = (folder.path().join("cutover.toml"), folder.path().join("ca.pem"));
        fs::write(&config, "a").unwrap();
        fs::write(&roots, "old").unwrap();
        let mut watch = Watch::new(vec![config]);
        watch.follow(vec![roots.clone()]);
        watch.follow(vec![roots.clone()]);
        assert!(!watch.has_changed());
        fs::write(&roots, "newer").unwrap();
        assert!(!watch.has_changed(), "seen for the first time");
        assert!(watch.has_changed() && !watch.has_changed());
    }

    #[test]
    fn a_file_is_taken_once_it_has_come_to_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cutover.toml");
        fs::write(&path, "a").unwrap();
        let mut watch = Watch::new(vec![path.clone()]);
        assert!(!watch.has_changed());
        fs::write(&path, "ab").unwrap();
        assert!(!watch.has_changed(), "seen for the first time");
        fs::write(&path, "abc").unwrap();
        assert!(!watch.has_changed(), "still being written");
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "taken");
        fs::rename(&path, folder.path().join("aside")).unwrap();
        assert!(!watch.has_changed(), "an editor may be about to write it anew");
        assert!(watch.has_changed() && !watch.has_changed(), "gone, and told once");
        fs::rename(folder.path().join("aside"), &path).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed() && !watch.has_changed(), "there again");
    }
}
