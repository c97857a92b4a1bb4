//! What an answer is worth, and whether whoever says so may be trusted.
//!
//! Purpose: turn a shadow pair into two scores that the paired gates count, and keep graders honest.
//!
//! | module | question |
//! |---|---|
//! | [`SCORERS`], [`ScorerSpec`] | what is each answer worth? |
//! | [`judge`] | may a language model's verdict decide? |
//! | [`correction`] | what is the true rate behind a judge's rate? |
//! | [`agreement`] | do raters agree; which variant do they prefer? |
//! | [`sanity`] | is the grader itself broken? |
//! | [`pairing`] | which pairs count? |
//! | [`sampling`] | which pairs are scored when there are too many? |
//!
//! Contract: pure functions of texts and counts. A scorer that needs a model, a program or a server
//! returns [`Step::Ask`]; the caller does the work under the limits that the ask names, and
//! [`ScorerSpec::resume`] reads what came. Chance comes from a seed.
//!
//! Invariants: no input panics. A score is from 0 to 100. A failed answer scores 0 and is not valid. An
//! error is never a score. What a candidate can cause by its answer alone is a bad score, not an error,
//! so that it cannot take its worst answers out of the evidence. `Debug` of anything here that holds a
//! prompt or an answer prints sizes.

pub mod agreement;
mod assignment;
pub mod correction;
mod draws;
pub mod external;
mod json;
pub mod judge;
mod normal;
mod options;
pub mod pairing;
#[cfg(test)]
mod real_pairs;
mod reference;
mod refusal;
pub mod sampling;
pub mod sanity;
mod schema;
mod scorers;
mod spec;
mod step;
mod subject;
mod text;

pub use options::{OptionProblem, OptionRow, OptionType};
pub use reference::reference;
pub use refusal::Refusal;
pub use schema::{Allowance, Schema};
pub use scorers::SCORERS;
pub use spec::{Row, ScorerSpec, Standing};
pub use step::{Ask, AskAnswer, ChatMessage, Failure, Limits, Role, ScoreError, Step};
pub use subject::{Answer, ArmScore, PairScore, Subject, ToolCall};
