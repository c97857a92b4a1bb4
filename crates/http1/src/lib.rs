//! HTTP/1.1 as a client speaks it (RFC 9112), as bytes in and bytes out: who owns the socket is elsewhere.
//!
//! ```text
//! method, target, headers ─ Request::head ─▶ bytes
//! bytes ─ response::HeadReader ─▶ Head ─ Decoder ─▶ pieces of the body, its end
//! ```
//!
//! What is refused rather than guessed: lengths that are no number, codings that nobody asked for, lines that
//! are folded, chunks without their lines' ends. A body is whole only where its framing says so; what of that is an error
//! and what is the end of a connection is told apart. Everything that a server can make longer has a bound. Nothing here
//! panics, whatever the bytes, and how they were cut into reads changes nothing.

pub mod body;
pub mod request;
pub mod response;

pub use body::{Decoded, Decoder, FramingError};
pub use request::Request;
pub use response::{Head, HeadError, HeadReader};
