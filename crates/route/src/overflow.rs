//! When an upstream is full, and where its excess may go.
//!
//! ```text
//!            full                    a wait ran out, or nobody may wait
//!  Room ────────────▶ Queueing ─────────────────────────────────────────▶ Spilling
//!   ▲   not full, nobody waits │                                              │
//!   └──────────────────────────┴──── down to `resume`, and nobody waits ──────┘
//! ```
//!
//! [`fullness`] is measured against several limits at once, because no engine tells everything: requests
//! admitted against the places there are (those at an instance that can serve, or on their way), requests waiting inside the engine, its key-value cache, and the
//! predicted time to the first token. An upstream is as full as the least full of its instances that can
//! serve; one of which none can serve is not full but broken, which is for failover to deal with.
//!
//! The three stages are the hysteresis: once requests spill, those that may go on spilling at once, without
//! waiting first, until the upstream has clearly recovered. Otherwise every user would wait just to be sent
//! elsewhere, and arms would alternate with each answer that ends.

mod held;
mod purse;

use cutover_units::Arm;

pub use held::Held;
pub use purse::{Bill, Purse};

use crate::decide::Leg;
use crate::health::{Limits, Load, State};
use crate::snapshot::{Snapshot, UseCaseIx};

/// In thousandths: no room is left.
pub const FULL: u32 = 1_000;

/// In thousandths: an upstream that was so full that requests spilled has recovered. Three quarters, so
/// that of four places one more than the last is free.
pub const RESUME: u32 = 750;

/// How urgent a request is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Nobody does.
    Batch,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Batch];

    /// Reads the word in headers and the config file.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// The word in headers, metrics and the config file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}

/// What is known of one instance at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// What it is fit for.
    pub state: State,
    /// Requests sent to it and not finished.
    pub in_flight: u32,
    /// Those of them that hold one of the upstream's places.
    pub placed: u32,
    /// Moving average of the time to the first content of its streams; 0: nothing measured.
    pub latency_us: u64,
    /// What it tells of itself.
    pub load: Load,
}

/// From where on an upstream's instances are full.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Requests in flight at one instance; None: the slots that its engine tells, else no limit.
    pub in_flight: Option<u32>,
    /// Requests waiting inside an engine, and its cache.
    pub engine: Limits,
    /// Predicted time to the first token, in microseconds.
    pub first_token_us: Option<u64>,
}

/// An upstream's instances together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fill {
    /// How full the least full instance is by what is told and predicted, in thousandths. None: none can
    /// serve.
    pub least: Option<u32>,
    /// Places of all instances that can serve; None: without limit.
    pub places: Option<u32>,
    /// How many of them are taken. What is still under way elsewhere, at an instance that is drained, down or gone, takes
    /// none of these.
    pub taken: u32,
}

/// Requests that one instance may have in flight; None: any number.
pub fn places_of(figures: &Figures, bounds: &Bounds) -> Option<u32> {
    bounds.in_flight.or(figures.load.slots)
}

/// How long a request sent now would wait for its first token, as far as can be told: the average so far,
/// once more for each row of requests that waits before it. An idle engine makes nobody wait, whatever
/// its last, perhaps overloaded, answers took.
pub fn predicted_us(figures: &Figures, bounds: &Bounds) -> u64 {
    if figures.in_flight == 0 {
        return 0;
    }
    let places = places_of(figures, bounds).or(figures.load.running).unwrap_or(0);
    let waiting = match figures.load.waiting {
        Some(told) => told,
        None if places > 0 => figures.in_flight.saturating_sub(places),
        None => 0,
    };
    let rows = u64::from(waiting.div_ceil(places.max(1)));
    figures.latency_us.saturating_mul(rows.saturating_add(1))
}

/// How full one instance is, in thousandths, by what it tells and what is predicted. None: it cannot serve.
pub fn told_of(figures: &Figures, bounds: &Bounds) -> Option<u32> {
    if !figures.state.can_serve() {
        return None;
    }
    let of = |part: u64, whole: u64| {
        u32::try_from(part.saturating_mul(u64::from(FULL)) / whole.max(1)).unwrap_or(u32::MAX)
    };
    let saturated = if figures.state == State::Saturated { FULL } else { 0 };
    let waiting =
        of(u64::from(figures.load.waiting.unwrap_or(0)), u64::from(bounds.engine.waiting.max(1)));
    let late = bounds.first_token_us.map_or(0, |limit| of(predicted_us(figures, bounds), limit));
    Some(saturated.max(waiting).max(late))
}

/// All instances together.
pub fn fill(instances: impl Iterator<Item = Figures>, bounds: &Bounds) -> Fill {
    let mut all = Fill { least: None, places: Some(0), taken: 0 };
    for figures in instances {
        let Some(told) = told_of(&figures, bounds) else { continue };
        all.least = Some(all.least.map_or(told, |least| least.min(told)));
        let places = places_of(&figures, bounds);
        all.taken = all.taken.saturating_add(figures.placed);
        all.places = all.places.zip(places).map(|(sum, more)| sum.saturating_add(more));
    }
    all
}

/// How full an upstream is, in thousandths, with so many requests admitted and not yet sent. None: none of its
/// instances can serve.
pub fn fullness(fill: &Fill, admitted: u32) -> Option<u32> {
    let told = fill.least?;
    let taken = fill.places.map_or(0, |places| {
        let taken = u64::from(admitted) + u64::from(fill.taken);
        let permille = taken * u64::from(FULL) / u64::from(places.max(1));
        u32::try_from(permille).unwrap_or(u32::MAX)
    });
    Some(told.max(taken))
}

/// What becomes of new requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// They are sent.
    #[default]
    Room,
    /// They wait.
    Queueing,
    /// Those that may go elsewhere do, at once; the others wait.
    Spilling,
}

impl Stage {
    /// The stage that was stored as a number; what no stage has is `Room`.
    pub fn from_u8(stored: u8) -> Self {
        match stored {
            1 => Self::Queueing,
            2 => Self::Spilling,
            _ => Self::Room,
        }
    }

    /// Goes on with what is seen now. `fullness`: see [`fullness`]; `waiting`: requests that wait here.
    #[must_use]
    pub fn step(self, fullness: Option<u32>, waiting: u32) -> Self {
        // A broken upstream is not a full one: what fails there goes on by failover.
        let Some(fullness) = fullness else { return Self::Room };
        match self {
            Self::Room | Self::Queueing if fullness >= FULL || waiting > 0 => Self::Queueing,
            Self::Room | Self::Queueing => Self::Room,
            Self::Spilling if fullness <= RESUME && waiting == 0 => Self::Room,
            Self::Spilling => Self::Spilling,
        }
    }
}

/// A request that finds its upstream full.
#[derive(Debug, Clone, Copy)]
pub struct Excess {
    /// Its use case; None: the default upstream takes it.
    pub use_case: Option<UseCaseIx>,
    /// The arm it was assigned to.
    pub arm: Arm,
    /// Whether local upstreams alone may see it.
    pub local_only: bool,
    /// How urgent it is.
    pub class: Class,
}

/// Why a request does not overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// Nobody said that this use case's requests may.
    Off,
    /// It is not the candidate's.
    NotCandidate,
    /// Local upstreams alone may see it. Not even a local baseline takes it: who keeps requests at home
    /// has sized the home for them.
    LocalOnly,
    /// Nobody waits for it, and only what somebody waits for is worth money.
    Batch,
}

/// Where a request that finds the candidate's upstream full may go instead: to the baseline, or nowhere.
/// `batch`: whether requests that nobody waits for may, too.
pub fn spill(snapshot: &Snapshot, excess: Excess, batch: bool) -> Result<Leg, Stays> {
    let use_case = excess.use_case.and_then(|at| snapshot.use_case(at)).ok_or(Stays::Off)?;
    if excess.arm != Arm::Candidate {
        return Err(Stays::NotCandidate);
    }
    if excess.local_only || use_case.local_only {
        return Err(Stays::LocalOnly);
    }
    if excess.class == Class::Batch && !batch {
        return Err(Stays::Batch);
    }
    Ok(Leg { variant: use_case.baseline, arm: Arm::Baseline })
}

#[cfg(test)]
mod tests;
