//! Looks after files: takes a changed config file, changed certificates that it names, and rollbacks
//! written by others, without being told.
//!
//! It polls. Notifications of the operating system miss what happens on network mounts and behind
//! the symbolic links that container platforms swap, and a `stat` twice a second costs nothing.
//!
//! A changed file is read only when two looks in a row agree: an editor that writes in pieces would
//! otherwise be reported as a mistake of the operator. All files are read together, so that one which is still being
//! written holds the others up for a moment, and no longer: one that is always being written would do so for ever.

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

/// So many looks a file that is being written holds up those that have changed and rest.
const HOLDS_UP_LOOKS: u32 = 5;

/// After so many looks that each saw it changed, a file is told to be never at rest.
const RESTLESS_LOOKS: u32 = 25;

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

/// A file, and what was seen of it.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// What was in force, and what the last look saw.
    taken: Option<Sight>,
    last: Option<Sight>,
    /// So many looks in a row each saw something else.
    unrest: u32,
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        let seen = look(&path);
        Self { path, taken: seen, last: seen, unrest: 0 }
    }

    fn look(&mut self) {
        let now = look(&self.path);
        self.unrest = if now == self.last { 0 } else { self.unrest.saturating_add(1) };
        self.last = now;
    }

    fn holds_up(&self) -> bool {
        (1..=HOLDS_UP_LOOKS).contains(&self.unrest)
    }

    /// Whether it has come to rest as something else; it then counts as taken.
    fn take(&mut self) -> bool {
        let differs = self.unrest == 0 && self.last != self.taken;
        if differs {
            self.taken = self.last;
        }
        differs
    }
}

/// Tells when files have changed and come to rest.
#[derive(Debug)]
pub struct Watch {
    /// The first `always` are never let go.
    files: Vec<Watched>,
    always: usize,
}

impl Watch {
    /// Watches these files from now on, always.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { always: files.len(), files: files.into_iter().map(Watched::new).collect() }
    }

    /// Besides, watches these from now on, and no others any more. What is watched already is no news.
    pub fn follow(&mut self, files: Vec<PathBuf>) {
        let mut place = 0..self.files.len();
        let always = self.always;
        self.files.retain(|known| {
            place.next().is_some_and(|place| place < always) || files.contains(&known.path)
        });
        for file in files {
            if self.files.iter().all(|known| known.path != file) {
                self.files.push(Watched::new(file));
            }
        }
    }

    /// Looks once. True when a file differs from what was taken and has come to rest. One that is gone
    /// counts, too, once: what is in force stays, and the reading that fails tells the operator, who would
    /// else learn of it at the next start.
    pub fn has_changed(&mut self) -> bool {
        self.files.iter_mut().for_each(Watched::look);
        if self.files.iter().any(Watched::holds_up) {
            return false;
        }
        let mut has_changed = false;
        for file in &mut self.files {
            has_changed |= file.take();
        }
        has_changed
    }

    /// Those that the last look found to be never at rest; each once until it rests.
    fn restless(&self) -> impl Iterator<Item = &Path> {
        let told = self.files.iter().filter(|file| file.unrest == RESTLESS_LOOKS);
        told.map(|file| &*file.path)
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
        let has_changed = watch.has_changed();
        for file in watch.restless() {
            let seconds = (LOOK_INTERVAL * RESTLESS_LOOKS).as_secs();
            tracing::warn!(
                file = %file.display(),
                seconds,
                "a file that the config names is being written without a pause: what it holds is read when another one \
                 changes, or when it has come to rest"
            );
        }
        if has_changed || again {
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

    /// A file that was written every 0.2 s held up each change of the config, without a word.
    #[test]
    fn a_file_that_never_rests_holds_the_others_up_for_a_moment_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let (config, log) = (folder.path().join("cutover.toml"), folder.path().join("p.txt"));
        fs::write(&config, "a").unwrap();
        let mut watch = Watch::new(vec![config.clone()]);
        watch.follow(vec![log.clone()]);
        let (mut taken, mut told) = (Vec::new(), Vec::new());
        for at in 1..3 * RESTLESS_LOOKS {
            if at == 1 || at == 2 * RESTLESS_LOOKS {
                fs::write(&config, "b".repeat(at as usize + 1)).unwrap();
            }
            fs::write(&log, "l".repeat(at as usize)).unwrap();
            taken.extend(watch.has_changed().then_some(at));
            told.extend(watch.restless().map(|file| (at, file.to_owned())));
        }
        assert_eq!(taken, [HOLDS_UP_LOOKS + 1, 2 * RESTLESS_LOOKS + 1]);
        assert_eq!(told, [(RESTLESS_LOOKS, log)]);
        assert!(watch.has_changed() && !watch.has_changed(), "at rest at last");
    }

    /// A prompt's file that the config named no more was a reason to read the config as long as the process lived.
    #[test]
    fn a_file_that_nothing_names_any_more_is_let_go_and_the_config_never() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let mut watch = Watch::new(vec![file("cutover.toml")]);
        watch.follow(vec![file("cutover.toml"), file("p.txt")]);
        watch.follow(vec![file("q.txt")]);
        fs::write(file("p.txt"), "not named").unwrap();
        assert!(!watch.has_changed() && !watch.has_changed());
        watch.follow(vec![file("p.txt")]);
        assert!(!watch.has_changed() && !watch.has_changed(), "counts from then on");
        for name in ["p.txt", "cutover.toml"] {
            fs::write(file(name), "another one").unwrap();
            assert!(!watch.has_changed() && watch.has_changed(), "{name}");
        }
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
