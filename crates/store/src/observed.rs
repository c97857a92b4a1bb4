//! What a report reads of the records: one row per request, without names or texts.

use cutover_units::{Millis, NanoUsd};

/// Most rows that one report reads; the newest of a larger window count, and the answer says so.
pub const OBSERVED_MAX: usize = 1_000_000;

/// How a request ended, as a report counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Answered.
    Good,
    /// An error of the client's own making, or it left: neither good nor bad.
    Aside,
    /// An error of the upstream's or cutover's making, broken streams included.
    Bad,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// When its head was read.
    pub at: Millis,
    /// Whether the candidate was assigned; whoever answered.
    pub candidate: bool,
    /// Keyed hash of its unit.
    pub unit: u64,
    /// How it ended.
    pub ending: Ending,
    /// Whether an upstream's rate limit ended it.
    pub rate_limited: bool,
    /// Whether another arm than the assigned one answered.
    pub failed_over: bool,
    /// Microseconds to the first content of a stream.
    pub first_token_us: Option<u64>,
    /// Microseconds to the last byte.
    pub total_us: u64,
    /// What it cost; none is unpriced.
    pub cost: Option<NanoUsd>,
    /// Prompt and answer tokens together.
    pub tokens: u64,
}

/// One judgement of an answer, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// When the request's head was read.
    pub at: Millis,
    /// Keyed hash of its unit.
    pub unit: u64,
    /// Whether it is about the candidate's answer.
    pub candidate: bool,
    /// Whether a user said it; else a scorer did, of a pair.
    pub by_user: bool,
    /// The score.
    pub percent: u8,
}

/// What is known of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observations {
    /// Requests, newest first.
    pub requests: Vec<Observed>,
    /// Judgements of answers.
    pub judged: Vec<Judged>,
    /// Whether there is more than [`OBSERVED_MAX`] of one of them.
    pub truncated: bool,
}
