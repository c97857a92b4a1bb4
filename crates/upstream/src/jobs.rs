//! What is done at an upstream's instances: how far it is, how much of it at a time, and how it ends.
//!
//! ```text
//! working > done | failed | cancelled (by an operator, or because the process ends)
//! ```
//!
//! No job outlives the process, nor does the process wait for one: whoever listens is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutover_vendors::manage::{Deed, Line, Stage};
use tokio_util::sync::CancellationToken;

/// So many jobs are remembered of those that last, and of the others; the oldest that has ended makes room.
const JOBS_MAX: usize = 32;

/// Something done at all instances of an upstream.
#[derive(Debug)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// The upstream's name.
    pub upstream: String,
    /// What is done.
    pub deed: Deed,
    /// With which model; empty for a list.
    pub model: String,
    /// Whether nobody asked for it: a model is to be kept in memory, or a request needed it.
    is_own: bool,
    /// Ends it.
    pub ending: CancellationToken,
    /// The process's end, which ends it, too.
    stopped: CancellationToken,
    lines: Mutex<Vec<Line>>,
}

impl Job {
    /// How far it is, one line per instance.
    pub fn lines(&self) -> Vec<Line> {
        self.locked().clone()
    }

    /// Whether nothing goes on any more.
    pub fn has_ended(&self) -> bool {
        self.locked().iter().all(|line| line.stage != Stage::Working)
    }

    /// Changes an instance's line.
    pub fn at(&self, instance: usize, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.locked().get_mut(instance) {
            change(line);
        }
    }

    /// In words, once its end has been asked for.
    pub fn why_cancelled(&self) -> &'static str {
        if self.stopped.is_cancelled() { "ended, because cutover stops" } else { "cancelled" }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Jobs under way, and the last that ended.
#[derive(Debug, Default)]
pub struct Jobs {
    /// The process's end.
    pub stopped: CancellationToken,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    count: u64,
    jobs: VecDeque<Arc<Job>>,
}

impl Jobs {
    /// Ends all, and whatever is begun from now on.
    pub fn stop(&self) {
        self.stopped.cancel();
    }

    /// Begins one.
    ///
    /// # Errors
    ///
    /// [`NotBegun::TooMany`].
    pub fn begin(
        &self,
        (upstream, instances): (&str, Vec<String>),
        deed: Deed,
        model: &str,
    ) -> Result<Arc<Job>, NotBegun> {
        self.add((upstream, instances), (deed, false), model)
    }

    /// Begins to read a model in that no operator asked for. None: too many are under way; it goes on unseen.
    pub fn begin_own(&self, upstream: &str, instance: &str, model: &str) -> Option<Arc<Job>> {
        self.add((upstream, vec![instance.to_owned()]), (Deed::Warm, true), model).ok()
    }

    fn add(
        &self,
        (upstream, instances): (&str, Vec<String>),
        (deed, is_own): (Deed, bool),
        model: &str,
    ) -> Result<Arc<Job>, NotBegun> {
        let mut known = self.known();
        // Apart, so that fetches that hang keep nobody from looking, nor loads of our own anybody from fetching.
        let alike = |job: &Arc<Job>| job.deed.lasts() == deed.lasts() && job.is_own == is_own;
        if known.jobs.iter().filter(|job| alike(job)).count() >= JOBS_MAX {
            let ended = known.jobs.iter().position(|job| alike(job) && job.has_ended());
            let Some(ended) = ended else {
                let oldest = known.jobs.iter().find(|job| alike(job)).cloned();
                return Err(NotBegun::TooMany { oldest: oldest.filter(|_| deed.lasts()) });
            };
            known.jobs.remove(ended);
        }
        known.count += 1;
        let job = Arc::new(Job {
            id: known.count,
            upstream: upstream.to_owned(),
            deed,
            model: model.to_owned(),
            is_own,
            ending: self.stopped.child_token(),
            stopped: self.stopped.clone(),
            lines: Mutex::new(instances.into_iter().map(Line::new).collect()),
        });
        known.jobs.push_back(Arc::clone(&job));
        Ok(job)
    }

    /// Ends those that last and are meant; the last of them.
    pub fn cancel(&self, is_meant: impl Fn(&Job) -> bool) -> Option<Arc<Job>> {
        let known = self.known();
        let under_way = |job: &&Arc<Job>| job.deed.lasts() && is_meant(job) && !job.has_ended();
        let meant = known.jobs.iter().filter(under_way);
        meant.inspect(|job| job.ending.cancel()).last().cloned()
    }

    /// The oldest that is meant.
    pub fn find(&self, is_meant: impl Fn(&Job) -> bool) -> Option<Arc<Job>> {
        self.known().jobs.iter().find(|job| is_meant(job)).cloned()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing was begun.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotBegun {
    /// No upstream has this name.
    #[error("there is no upstream {name:?}; there are: {}", known.join(", "))]
    UnknownUpstream {
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Its engines do no such thing over their API.
    #[error("provider {provider} does not {} models over its API", deed.as_str())]
    NotManaged {
        /// The provider's name.
        provider: &'static str,
        /// What was wanted.
        deed: Deed,
    },
    /// Its name server has told no address yet.
    #[error("no instance of upstream {upstream} is known yet")]
    NoInstance {
        /// The upstream.
        upstream: String,
    },
    /// Too many jobs are under way.
    #[error("{JOBS_MAX} such jobs are under way already")]
    TooMany {
        /// The first of those that could be cancelled.
        oldest: Option<Arc<Job>>,
    },
}
