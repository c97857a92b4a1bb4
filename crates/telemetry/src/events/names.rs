//! Events of names whose addresses are instances.

use tracing::{info, warn};

/// A name leads to other addresses than before.
#[derive(Debug, Clone, Copy)]
pub struct AddressesChanged<'a> {
    /// The upstream.
    pub upstream: &'a str,
    /// The name.
    pub host: &'a str,
    /// Those that are asked from now on.
    pub joined: &'a str,
    /// Those that are asked no more.
    pub left: &'a str,
    /// So many there was no room for.
    pub beyond: usize,
}

impl AddressesChanged<'_> {
    /// INFO; WARN where an answer holds more than there is room for.
    pub fn emit(&self) {
        let Self { upstream, host, joined, left, beyond } = *self;
        if beyond > 0 {
            warn!(upstream, host, joined, left, beyond, "more addresses than an upstream may have");
        } else {
            info!(upstream, host, joined, left, "addresses changed");
        }
    }
}

/// A name could not be resolved, or can be again.
#[derive(Debug, Clone, Copy)]
pub struct NameUnresolved<'a> {
    /// The upstream.
    pub upstream: &'a str,
    /// The name.
    pub host: &'a str,
    /// Why; None: it can be again.
    pub why: Option<&'a str>,
}

impl NameUnresolved<'_> {
    /// WARN: the last known addresses stay. Emitted once until it works again.
    pub fn emit(&self) {
        let Self { upstream, host, why } = *self;
        match why {
            Some(why) => warn!(upstream, host, why, "name not resolved: its addresses stay"),
            None => info!(upstream, host, "name resolved again"),
        }
    }
}
