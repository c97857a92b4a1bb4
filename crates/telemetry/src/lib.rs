//! What operators see: metrics, events and the log.
//!
//! # Contract
//! - Every metric is a row of [`TABLE`]: name, kind, unit, labels and help stand in one place, and
//!   the reference for users ([`reference()`]) is written from it.
//! - A handle ([`Counter`], [`Gauge`], [`Histogram`]) is taken from the [`Registry`] when a snapshot
//!   is built. Taking one locks for a map look-up; using one is an atomic add.
//! - An event ([`events`]) is a struct; its `emit` writes the log line and counts the metric, so the
//!   two cannot disagree. WARN means handled, ERROR means someone must act.
//!
//! # Invariants
//! - No event has a field for prompt text, completion text, a key or an upstream's own words.
//! - Each metric has at most [`SERIES_MAX`] series; more are counted under [`OTHER`].
//! - Nothing here reads a clock: durations and points in time are arguments.
//! - Who writes a log line never waits for its reader ([`ErrorStream`]).

mod arms;
mod buckets;
mod dropped;
pub mod events;
mod feed;
mod handles;
mod log;
pub mod marks;
mod registry;
mod stderr;
mod table;
mod text;

pub use arms::{ArmLabels, ArmMetrics, Finished, InstanceMetrics, Outcome, Tokens};
pub use dropped::Dropped;
pub use feed::{FEED_FIRST, FEED_MAX, Feed};
pub use handles::{Counter, Gauge, Histogram, InFlight};
pub use log::{Format as LogFormat, LogError, init as init_log};
pub use registry::{LINGER, NONE, OTHER, Registry, SERIES_MAX};
pub use stderr::{ErrorStream, FLUSH_MAX, error_stream, flush_error_stream};
pub use table::{Family, Kind, Metric, Row, TABLE, Unit, families, reference};
pub use text::Format;
