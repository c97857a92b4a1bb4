//! Tests over whole dialects: through the public functions, from fixtures.

mod agents;
mod bad_input;
mod claude;
mod egress;
mod gemini;
mod golden;
mod lost;
mod moved;
mod outlines;
mod own;
mod properties;
mod round_trip;
mod routes;
mod services;
mod store;
pub(crate) mod support;
mod tables;
mod through;
mod trials;
