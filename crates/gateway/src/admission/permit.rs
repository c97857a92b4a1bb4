//! A place at an upstream: who is counted there, and from when to when.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use cutover_route::overflow::Class;
use cutover_route::queue::Place;
use cutover_upstream::Placed;
use tokio::time::Instant;

use super::call_next;
use crate::exchange::micros;
use crate::gateway::Shared;
use crate::live::{InstanceLane, UpstreamLane};

/// A place at an upstream.
pub(crate) struct Permit {
    /// Where it is, as it was when it was taken.
    pub(super) upstream: Arc<UpstreamLane>,
    shared: Arc<Shared>,
    since: Instant,
    /// Whether its end is nobody's business: the one it was for had left, or had no use for it.
    pub(super) unused: bool,
    /// Whether it is counted among those of batch requests.
    is_batch: bool,
    /// The instance that its request was sent to last.
    at: Option<Placed>,
}

impl Permit {
    /// Of a place that has been counted already.
    pub(super) fn counted(upstream: &Arc<UpstreamLane>, shared: &Arc<Shared>) -> Self {
        let (upstream, shared) = (Arc::clone(upstream), Arc::clone(shared));
        Self { upstream, shared, since: Instant::now(), unused: false, is_batch: false, at: None }
    }

    /// Held by a request of this class.
    pub(super) fn of(mut self, class: Class) -> Self {
        if let Some(door) = self.upstream.door.as_ref().filter(|_| class == Class::Batch) {
            door.held.0.batch.fetch_add(1, Relaxed);
            self.is_batch = true;
        }
        self
    }

    /// Counted there from now on. For a moment it is counted twice, and never not at all.
    pub(crate) fn moves_to(&mut self, instance: &InstanceLane) {
        let on_its_way = self.at.replace(Placed::enter(instance.instance.live())).is_none();
        if let Some(door) = self.upstream.door.as_ref().filter(|_| on_its_way) {
            door.held.0.admitted.fetch_sub(1, Release);
        }
    }

    /// The one it was for has no use for it: the next in line has.
    pub(super) fn pass_on(self, of: Place) {
        if let Some(door) = &self.upstream.door {
            door.held.0.give_back(of);
        }
        self.goes_unused();
    }

    /// Nobody is sent to it: the next in line has it, and how long it was held says nothing.
    pub(crate) fn goes_unused(mut self) {
        self.unused = true;
        let (upstream, shared) = (Arc::clone(&self.upstream), Arc::clone(&self.shared));
        drop(self);
        call_next(&upstream, &shared);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(door) = &self.upstream.door else { return };
        if self.is_batch {
            door.held.0.batch.fetch_sub(1, Relaxed);
        }
        if self.at.take().is_none() {
            door.held.0.admitted.fetch_sub(1, Relaxed);
        }
        if self.unused {
            return;
        }
        door.held.0.was_held(micros(self.since.elapsed()).0);
        call_next(&self.upstream, &self.shared);
    }
}
