//! The data path against scripted upstreams: what the client sees, what the upstream saw, what was
//! recorded.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what cannot go on fails the test, and the gateway runs in real time"
)]

mod after_the_end;
mod bodies;
mod codes;
mod continuing;
mod departing;
mod dialects;
mod doors;
mod ending;
mod excess;
mod failover;
mod fault_table;
mod faults;
mod feedback;
mod feeds;
mod fleet;
mod harness;
mod health;
mod http;
mod judged;
mod keys;
mod left;
mod names;
mod ollama_truth;
mod overflow;
mod own;
mod own_costs;
mod own_ends;
mod own_ollama;
mod own_responses;
mod passed;
mod paths;
mod places;
mod prompts;
mod refused_forms;
mod reloads;
mod residency;
mod responses;
mod resting;
mod shadow;
mod slots;
mod streams;
mod trust;
mod unspoken;
mod unturned;
mod vendors;
mod words;
