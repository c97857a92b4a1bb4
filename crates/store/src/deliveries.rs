//! The outbox: who is still to be told of which decision.
//!
//! A row is written in the transaction that decides, so that no decision is stored without those who
//! are to be told of it. It leaves the outbox when it was taken, or when it is given up. A message may
//! be told twice, when the process dies between the answer and the row's end; never not at all.

use cutover_units::Millis;
use serde::{Deserialize, Serialize};

use crate::rollouts::StoredDecision;

/// A decision that waits to be told to one webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its place in the outbox.
    pub seq: u64,
    /// What is told.
    pub decision: StoredDecision,
    /// When it was decided.
    pub created: Millis,
    /// Tries so far.
    pub tries: u32,
    /// Not to be tried before.
    pub next: Millis,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// It was taken.
    Delivered,
    /// It is tried again.
    Later {
        /// When, at the earliest.
        next: Millis,
        /// What went wrong.
        why: String,
    },
    /// It is given up.
    Undelivered {
        /// What went wrong.
        why: String,
    },
}

/// What has become of one webhook's messages. Those that ended long ago are forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCounts {
    /// The webhook.
    pub webhook: String,
    /// They were taken.
    pub delivered: u64,
    /// They were given up.
    pub undelivered: u64,
    /// They wait.
    pub waiting: u64,
    /// When the oldest that waits was decided.
    pub oldest: Option<Millis>,
    /// Why the newest try failed of those that wait or were given up; none where none failed.
    pub last_failure: Option<String>,
}
