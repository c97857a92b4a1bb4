//! The words every other crate uses: names, quantities, error codes, questions that are wrong.
//!
//! Nothing here does I/O, reads a clock or draws a random number. A quantity is an integer with its
//! unit in its type, so that basis points are never added to milliseconds.

pub mod claims;
pub mod codes;
mod names;
mod quantities;
mod text;
mod wrong;

pub use codes::{Code, Side};
pub use names::{
    Arm, InstanceId, NAME_BYTES_MAX, NameError, PromptName, UpstreamName, UseCaseName, VariantName,
};
pub use quantities::{Generation, Micros, Millis, NanoUsd, WeightBp, WeightError};
pub use text::{Utc, did_you_mean, grouped, hex, nearest};
pub use wrong::Wrong;
