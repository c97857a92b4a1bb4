//! The instance against real servers on loopback: raw sockets, so that they can misbehave.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

mod bodies;
mod bounds;
mod cancel;
mod fetch;
mod hostile;
mod in_process;
mod pooling;
mod server;
mod streamed;
mod tls;
