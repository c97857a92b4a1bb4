//! Instances that an operator took out: no new request goes there, what they have begun they end.
//!
//! Which they are outlives pictures: it is told by upstream and address, so that an instance which a reload
//! makes anew, or an address that a name leads to again, is out as it was.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutover_units::UpstreamName;

use crate::gateway::Gateway;
use crate::live::{Live, UpstreamLane};

/// An instance's upstream and its address.
type Key = (UpstreamName, String);

/// The instances that are out.
#[derive(Debug, Default)]
pub struct Drained(Mutex<BTreeSet<Key>>);

impl Drained {
    fn keys(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells an upstream's instances which of them are out.
    pub(crate) fn tell(&self, upstream: &UpstreamLane) {
        let keys = self.keys();
        for lane in &upstream.instances {
            let key = (upstream.name.clone(), lane.instance.label().to_owned());
            lane.health.drain(keys.contains(&key));
        }
    }

    fn tell_all(&self, live: &Live) {
        // Those that nobody names yet, too: what is out stays out when a variant does.
        for upstream in live.all_upstreams() {
            self.tell(&upstream);
        }
    }
}

impl Gateway {
    /// Takes an instance out, or puts it back, at once and whether it is there now or not.
    pub fn drain(&self, upstream: &UpstreamName, address: &str, out: bool) {
        let drained = Arc::clone(&self.live().drained);
        let key = (upstream.clone(), address.to_owned());
        if out {
            drained.keys().insert(key);
        } else {
            drained.keys().remove(&key);
        }
        self.tell_drained();
    }

    /// These are out, and no others.
    pub fn set_drained(&self, out: impl Iterator<Item = (UpstreamName, String)>) {
        let drained = Arc::clone(&self.live().drained);
        *drained.keys() = out.collect();
        self.tell_drained();
    }

    /// Tells the instances of the picture in force which of them are out. Whoever changes the one or the
    /// other calls this *afterwards*: so the later of two that meet knows both.
    pub(crate) fn tell_drained(&self) {
        let live = self.live();
        live.drained.tell_all(&live);
    }
}
