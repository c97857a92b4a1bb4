//! Copies of live requests for the candidate, so that both arms' answers to one prompt can be compared
//! before the candidate answers anybody.
//!
//! ```text
//! live request ─▶ baseline answers the client (its pieces are kept as they pass)
//!                        │ the answer has ended
//!                        ▼
//!      bounded queue ─▶ room? money? ─▶ the candidate is asked once ─▶ bounded queue of pairs ─▶ control
//! ```
//!
//! - What is copied: requests that were assigned to the baseline, sampled by a hash of their own
//!   (`Decision::shadow`), whose body and answer are within [`Settings::capture_bytes_max`].
//! - When: after the live answer has ended. A client that left, or was at fault, leaves no copy. A live
//!   answer that failed does: that the baseline fails is evidence, too.
//! - Live traffic first: a copy is sent to an instance only while at most [`Settings::live_max`] live
//!   requests (of any use case) are in flight there, and fewer copies than [`Settings::concurrency`].
//!   Otherwise it waits, and after [`Settings::timeout`] it is dropped. A copy under way is not cut
//!   when live traffic arrives: that would keep short answers only, and the comparison would lie.
//! - Money: each copy's price is estimated before and corrected after. With a budget, a copy that would
//!   exceed the UTC day's is dropped. A candidate without a price is asked only if it is local, at a
//!   private address, or [`Settings::unpriced`] allows it.
//! - The candidate gets what it would get live (its own prompt, settings and dialect, streamed if the
//!   live request was), but no header of the client's, and no sign that it is a copy: what knows that
//!   it is watched may behave otherwise. It is asked once: no other instance, no other arm.
//! - Tool calls are recorded. Nothing here executes one.
//! - Copies appear in no live metric and no feed, cost no client anything, and do not count for or
//!   against an instance's health. Balancing does see them as load.
//!
//! Every drop is counted by its reason. `Debug` and the log show no text.

mod copies;
mod run;
mod sample;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cutover_rollout::Served;
use cutover_route::VariantIx;
use cutover_units::{Millis, NanoUsd, UseCaseName};
use cutover_wire::extract::ToolCall;
use cutover_wire::{Endpoint, Finish};

use crate::live::{Live, UseCaseLane};

pub use copies::Copies;
pub(crate) use copies::Ending;
pub use cutover_telemetry::Dropped;
pub(crate) use sample::{Sample, Seen};

/// Limits of a use case's copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Copies under way at once, for this use case and at any instance it uses.
    pub concurrency: usize,
    /// Copies that wait, at most.
    pub queue: usize,
    /// Largest request body, and largest answer of either arm, in bytes.
    pub capture_bytes_max: usize,
    /// Time for a copy to find room, and again to be answered. An upstream's own deadlines hold, too.
    pub timeout: Duration,
    /// What copies may cost in a UTC day; none: no limit.
    pub budget_per_day: Option<NanoUsd>,
    /// Whether a candidate at a service of others is asked although nobody knows its price.
    pub unpriced: bool,
    /// Live requests in flight on an instance, at most, for a copy to be sent there.
    pub live_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // One more than the least: a slow answer does not hold up all others.
            concurrency: 2,
            queue: 64,
            capture_bytes_max: 256 * 1024,
            timeout: Duration::from_mins(2),
            // Enough for hundreds of copies of any model sold today, and no surprise on a bill.
            budget_per_day: Some(NanoUsd(5_000_000_000)),
            unpriced: false,
            // An engine with one slot makes a live request wait behind a copy.
            live_max: 0,
        }
    }
}

/// One arm's answer.
#[derive(Clone)]
pub struct Captured {
    /// What it said.
    pub text: String,
    /// The tools it wants called.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: Option<Finish>,
    /// The reason's word if it failed.
    pub fault: Option<&'static str>,
    /// How it went.
    pub served: Served,
}

/// One request with both arms' answers.
#[derive(Clone)]
pub struct ShadowPair {
    /// The live request's id.
    pub request_id: String,
    /// Its use case.
    pub use_case: UseCaseName,
    /// Keyed hash of its unit.
    pub unit: u64,
    /// When the live request's head was read.
    pub at: Millis,
    /// What was asked for.
    pub endpoint: Endpoint,
    /// The request's body as the client sent it.
    pub prompt: Bytes,
    /// What the client got.
    pub baseline: Captured,
    /// What the copy brought.
    pub candidate: Captured,
}

/// Begins to keep a request that was sampled, unless it cannot be copied.
pub(crate) fn sample(
    live: &Live,
    lane: &UseCaseLane,
    candidate: VariantIx,
    prompt: &Bytes,
) -> Option<Sample> {
    let target = live.lane(candidate)?;
    let (copies, settings) = (&lane.copies, lane.shadow);
    if target.upstream.pass_bearer {
        copies.dropped(Dropped::ClientKey);
        return None;
    }
    if prompt.len() > settings.capture_bytes_max {
        copies.dropped(Dropped::TooLarge);
        return None;
    }
    Some(Sample::new(Arc::clone(copies), candidate, settings, prompt.clone()))
}

impl Captured {
    fn bytes(&self) -> usize {
        let calls = self.tool_calls.iter().map(|call| call.name.len() + call.arguments.len());
        self.text.len() + calls.sum::<usize>()
    }
}

impl ShadowPair {
    /// The texts' size.
    pub fn bytes(&self) -> usize {
        self.prompt.len() + self.baseline.bytes() + self.candidate.bytes()
    }
}

impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Captured")
            .field("text_bytes", &self.text.len())
            .field("calls", &self.tool_calls.len())
            .field("finish", &self.finish)
            .field("fault", &self.fault)
            .field("served", &self.served)
            .finish()
    }
}

impl std::fmt::Debug for ShadowPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShadowPair")
            .field("request_id", &self.request_id)
            .field("use_case", &self.use_case)
            .field("endpoint", &self.endpoint)
            .field("prompt_bytes", &self.prompt.len())
            .field("baseline", &self.baseline)
            .field("candidate", &self.candidate)
            .finish_non_exhaustive()
    }
}
