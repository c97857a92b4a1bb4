//! Sending requests to upstream instances.
//!
//! Purpose: one [`Instance`] is one address of an upstream (or a service inside this process), with
//! its own pool of HTTP/1.1 connections, its own limits and its own live counters. How it fares is told
//! in its [`health::Health`] by whoever knows: requests, probes, operators.
//!
//! Contract:
//! - [`Instance::send`] sends one request and returns when the response's head is there. Waiting for
//!   the first token and for silence inside a stream is the caller's task; connecting and the first
//!   byte have their [`Deadlines`] here.
//! - **Dropping cancels.** Dropping the future of `send`, or the [`Body`] before its end, closes the
//!   connection at once, so the engine behind it stops generating. A body read to its end gives the
//!   connection back to the pool.
//! - A connection is driven by whoever uses it: there is no task per connection or request, so nothing
//!   can outlive its user. (One sweeper task per pool closes idle connections; it ends with the pool.)
//! - No redirect is followed, no proxy variable is read, no compression is asked for.
//! - Error texts name the address, never a header value, a path or a body.
//!
//! When a request is sent twice: only by the rule in [`Instance::send`].

mod address;
mod body;
pub mod clients_key;
mod conn;
mod connect;
mod connections;
mod dns;
mod error;
pub mod fetch;
mod figures;
mod gauge;
mod headers;
pub mod health;
mod instance;
pub mod jobs;
mod lacking;
pub mod listing;
mod live;
pub mod loads;
mod lookup;
pub mod models;
mod open_files;
mod outgoing;
pub mod pages;
pub mod peers;
mod pool;
mod race;
mod socket;
mod streamed;
mod timeouts;
mod tls;
mod usual;

pub use address::{AddressError, InstanceAddress};
pub use body::{Body, BodyClosed, BodyError, BodyErrorKind, BodySender};
pub use dns::{ResolveError, Resolver};
pub use error::{SendError, SendErrorKind};
pub use figures::figures;
pub use gauge::{Gauge, gauges};
pub use headers::{
    RequestHeaders, RequestRules, Vendor, is_stream, passed_headers, passed_response_headers,
};
pub use instance::{
    Answered, Deadlines, InProcess, Instance, InstanceSettings, Outbound, Sending, Turn, in_a_row,
    path_and_query,
};
pub use lacking::Lacking;
pub use live::{InstanceLive, LiveFigures, Placed};
pub use open_files::bound_open_connections;
pub use race::{Ended, first_good};
pub use streamed::{BodyAborted, StreamedBody, StreamedDeadlines};
pub use timeouts::Timeouts;
pub use tls::{Tls, TlsError};
pub use usual::Usual;
