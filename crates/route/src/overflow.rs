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
//! Unless requests wait in line before it ([`Bounds::line`]): those are not let go all at once into an engine that has just
//! stumbled. They wait while all of its instances rest; one that has rested is tried with one request, and has its places
//! again when that was answered. Where none rests but all are down they are tried as many at a time as there are
//! places: a probe may be wrong, and who is not there refuses at once. Only where none is left is nobody waited for.
//!
//! The three stages are the hysteresis: once requests spill, those that may go on spilling at once, without
//! waiting first, until the upstream has clearly recovered. Otherwise every user would wait just to be sent
//! elsewhere, and arms would alternate with each answer that ends.

mod held;
mod purse;

use std::time::Duration;

use cutover_units::Arm;

pub use held::Held;
pub use purse::{Bill, Purse, Purses};

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
    /// Whether it has failed so often that it rests, or has rested: nobody knows yet whether it is well again.
    pub on_trial: bool,
    /// Whether it rests now, or has just refused a request as one too many, whatever its probes find.
    pub rests: bool,
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
    /// Whether requests wait in line: then those that rest are waited for.
    pub line: bool,
}

/// An upstream's instances together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fill {
    /// How full the least full instance is by what is told and predicted, in thousandths. None: none is waited for.
    pub least: Option<u32>,
    /// Places of all instances that may be asked; None: without limit.
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

/// How full one instance is, in thousandths, by what it tells and what is predicted.
pub fn told_of(figures: &Figures, bounds: &Bounds) -> u32 {
    let of = |part: u64, whole: u64| {
        u32::try_from(part.saturating_mul(u64::from(FULL)) / whole.max(1)).unwrap_or(u32::MAX)
    };
    let saturated = if figures.state == State::Saturated { FULL } else { 0 };
    let waiting =
        of(u64::from(figures.load.waiting.unwrap_or(0)), u64::from(bounds.engine.waiting.max(1)));
    let late = bounds.first_token_us.map_or(0, |limit| of(predicted_us(figures, bounds), limit));
    saturated.max(waiting).max(late)
}

/// Instances of one kind of fitness, added up.
#[derive(Default)]
struct Sum {
    least: Option<u32>,
    places: u32,
    taken: u32,
    /// Of how many the places are not known.
    untold: u32,
}

impl Sum {
    fn add(&mut self, figures: &Figures, bounds: &Bounds) {
        let told = told_of(figures, bounds);
        self.least = Some(self.least.map_or(told, |least| least.min(told)));
        self.taken = self.taken.saturating_add(figures.placed);
        let places = places_of(figures, bounds);
        let places = if figures.on_trial && bounds.line {
            // One more than those that are there still, from before its rest or from a trial that goes on.
            Some(figures.placed.saturating_add(1).min(places.unwrap_or(u32::MAX)))
        } else {
            places
        };
        match places {
            Some(places) => self.places = self.places.saturating_add(places),
            None => self.untold += 1,
        }
    }

    /// One that has not told its places is taken to have as few as any of the others. Where nobody tells there is no limit.
    fn fill(self, fewest: Option<u32>) -> Fill {
        let untold = if self.untold == 0 { Some(0) } else { fewest };
        let untold = untold.map(|places| places.saturating_mul(self.untold));
        let places = untold.map(|untold| untold.saturating_add(self.places));
        Fill { least: self.least, places, taken: self.taken }
    }
}

/// All instances together: those that can serve. Where none can, and requests wait in line, those that rest, which are
/// full as long as they do, whatever their probes find, and else those that are down.
pub fn fill(instances: impl Iterator<Item = Figures>, bounds: &Bounds) -> Fill {
    let (mut fit, mut resting, mut down) = (Sum::default(), Sum::default(), Sum::default());
    let mut fewest = None::<u32>;
    for figures in instances {
        let places = places_of(&figures, bounds);
        fewest = [fewest, places].into_iter().flatten().min();
        match figures.state {
            State::Healthy | State::Cold | State::Saturated => fit.add(&figures, bounds),
            State::Ejected => resting.add(&figures, bounds),
            State::Down if figures.rests => resting.add(&figures, bounds),
            State::Down => down.add(&figures, bounds),
            // What it has begun it ends. What it told of its places may hold for who is in its place.
            State::Draining => {}
        }
    }
    if fit.least.is_some() || !bounds.line {
        fit.fill(fewest)
    } else if resting.least.is_some() {
        Fill { least: Some(FULL), ..resting.fill(fewest) }
    } else {
        down.fill(fewest)
    }
}

/// How full an upstream is, in thousandths, with so many requests admitted and not yet sent. None: none of its
/// instances is waited for.
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

/// How requests wait.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// So many, at most.
    pub length: usize,
    /// So long, at most.
    pub wait: Duration,
}

/// Why a request went to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The upstream was full, and requests go elsewhere at once.
    Full,
    /// So many waited already that it could not.
    QueueFull,
    /// It waited, and no place came.
    Waited,
    /// The upstream's engine said so itself: it had one too many.
    Refused,
    /// It waited, and another arm is asked: no instance of its upstream is well any more. That is no overflow.
    PassedOver,
}

impl Why {
    /// The word in records, headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::QueueFull => "queue_full",
            Self::Waited => "waited",
            Self::Refused => "refused",
            Self::PassedOver => "passed_over",
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
