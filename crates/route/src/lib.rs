//! Which use case a request belongs to, which arm serves it, and which instances are tried, in
//! which order. [`surface`] says which of OpenAI's paths are answered here, which are passed on, and which are refused.
//!
//! Everything here is a pure function of its arguments: an immutable [`Snapshot`], what the request
//! says ([`Ask`]), and counters the caller reads beforehand. No I/O, no clock, no global chance;
//! `decide` does not allocate for up to four legs.
//!
//! Invariants:
//! - a unit's arm depends on nothing but salt, use case, unit and weight;
//! - growing a weight moves no unit from candidate to baseline (an arm owns a prefix of the buckets);
//! - weight zero sends no one to the candidate, whatever a header, a pilot list or a hint says;
//! - a leg never repeats, and the last leg of a use case is its baseline;
//! - a request that stays local (by its use case, its key or a header) has no leg and no copy at a
//!   variant that is not local, and never overflows.

pub mod balance;
mod decide;
pub mod health;
pub mod ids;
mod matching;
pub mod membership;
pub mod overflow;
pub mod queue;
pub mod residency;
pub mod retry;
mod snapshot;
pub mod sticky;
pub mod surface;

pub use decide::{Ask, Assignment, Caller, Decision, Leg, Legs, Priority};
pub use matching::Matcher;
pub use snapshot::{Draft, Snapshot, Traffic, UnitSource, UseCase, UseCaseIx, Variant, VariantIx};
