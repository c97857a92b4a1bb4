//! Instances that operators took out of service: they get no new request until they are put back, also
//! after a reload and after a restart.
//!
//! An instance is named by its upstream and its address, not by its place in the config file: the file may
//! change, and the machine that is being mended stays the same.

use cutover_units::{Millis, UpstreamName};

/// An instance that is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Its upstream.
    pub upstream: UpstreamName,
    /// Its address: `gpu-1:8000`.
    pub address: String,
    /// Who took it out.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Millis,
}

/// Takes an instance out, or puts it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetDrain {
    /// Which, by whom, why and when.
    pub drain: Drain,
    /// Whether it is out from now on.
    pub out: bool,
}
