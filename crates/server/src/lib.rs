//! Clients' connections: accepted, watched, drained, whatever is answered on them.
//!
//! ```text
//! listener > socket   limits, the pulse of a connection, half-closed clients, unread remains
//!          > heads    a head that is too large, or doubtful, or that hyper could not read
//!          > Handler  the program's own answer
//! ```
//!
//! - [`serve`] accepts connections and hands each request to a [`Handler`] as an [`Arrival`]. Whatever is
//!   wrong with a request's head is found here and said there, so that refusals look like all others.
//! - [`read_body`] and [`discard`] read what a request sends, within limits; an [`Upload`] is passed on as it
//!   comes. What the bodies that are read hold together is bounded by a [`Room`].
//! - [`stranger`] tells requests of web pages from those of programs, for listeners that ask no key.
//! - [`open_files`] tells how many clients there are open files for.
//! - [`before`] waits under a deadline for what mostly is there already.
//!
//! Invariants: one silent or slow client holds nothing that others need; a request sets no timer of the
//! connection's; nothing here is boxed for a request.

mod descriptors;
mod framing;
mod handler;
mod heads;
mod listener;
mod pages;
mod pulse;
mod request_body;
mod room;
mod socket;
mod upload;
mod wait;

pub use descriptors::{OpenFiles, open_files};
pub use handler::{Arrival, Doors, Handler};
pub use heads::limit_of;
pub use listener::serve;
pub use pages::{Named, Stranger, named_host, stranger};
pub use pulse::Pulse;
pub use request_body::{BodyLimits, Whole, discard, read_body, too_large};
pub use room::Room;
pub use upload::{Aborted, Held, Progress, Upload};
pub use wait::before;
