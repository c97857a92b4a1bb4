//! Weights and rollbacks, the admin API with its client, and the reload of the config file.
//!
//! - [`Controller`] owns every use case's weight and puts it into force through a [`Publisher`].
//! - [`book`] is the pure part: which weight follows from config file, database and overrides.
//! - [`rollouts`] looks at the evidence and moves the weights of use cases under a rollout.
//! - [`Admin`] is the operator-facing API, [`client`] its client, [`api`] the types both use.
//! - [`watch`] notices changed files; [`token`] keeps the admin token's file.
//!
//! Invariants:
//! - a rollback takes effect in this process before anything is written, and never waits for the
//!   database;
//! - when the state cannot be read, every candidate has weight zero;
//! - no admin route is reachable without passing the doors of its auth class.

mod admin;
pub mod api;
pub mod book;
pub mod client;
mod controller;
pub mod keys;
mod outgoing;
mod owner;
pub mod rollouts;
mod sign;
mod state;
#[cfg(test)]
mod testing;
pub mod token;
pub mod watch;

pub use admin::{
    Action, Admin, Auth, BODY_BYTES_MAX, Doors, Host, ROUTES, Refusal as DoorRefusal, Route,
    TokenHash, Tokens, TokensInForce, reference,
};
pub use book::{Refusal, Spec, Weights};
pub use controller::{Controller, Deadlines, Parts, Publisher};
pub use cutover_route::Traffic;
pub use outgoing::{Outgoing, Url};
pub use state::State;
