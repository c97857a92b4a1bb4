//! Every sequential test at its exact boundary, at its advertised speed, and four tests that must fail
//! the same harness.
//!
//! `boundary`: the null holds with equality, the process is looked at again and again, for ten times as
//! long as a decision usually takes; false proofs stay below alpha plus three standard errors.
//! `power`: the median number of observations to a true proof stays below 1.3 times the design's table.
//! `controls`: what is known to be wrong is found wrong, so the harness has teeth.
//!
//! `cargo test -p cutover-stats --test validity -- --nocapture` prints the rates and medians.

#[cfg(test)]
mod boundary;
#[cfg(test)]
mod cascade;
#[cfg(test)]
mod controls;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod power;
