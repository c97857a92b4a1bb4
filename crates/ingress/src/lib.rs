//! A request's first phase: which route its method and path take, and what cutover's own endpoints are sent.
//!
//! ```text
//! method, path ─▶ route ─▶ Infer | Foreign | Passed | Models | Model | Feedback | Health    or why there is none
//! a verdict's body ─▶ Verdict::read ─▶ request, score, comment                              or which field is wrong
//! ```
//! Pure: no I/O, no clock.

mod escapes;
mod paths;
mod verdict;

pub use escapes::unescaped;
pub use paths::{Lost, Route, allowed, route};
pub use verdict::Verdict;
