//! A request's first phase: which route its method and path take, and what cutover's own endpoints are sent.
//!
//! ```text
//! method, path ─▶ route ─▶ Infer | Foreign | Passed | Models | Model | Feedback | Health    or why there is none
//! a passed body ─▶ Kind ─▶ Told { model, metadata }                                       or nobody can say
//! a verdict's body ─▶ Verdict::read ─▶ request, score, comment                              or which field is wrong
//! ```
//! Pure: no I/O, no clock.

mod escapes;
mod headers;
mod hints;
pub mod names;
mod paths;
mod unread;
mod verdict;

pub use escapes::unescaped;
pub use headers::{Said, agree, routing};
pub use hints::{any_hint, check_hints, class, local_only};
pub use paths::{Lost, Route, allowed, route};
pub use unread::{Kind, Told, metadata_of, too_large_to_judge};
pub use verdict::Verdict;
