//! Cutting valid JSON into members and elements: what all that is read here is cut with.

pub use cutover_wire::json::cut::{Elements, Members, elements, has_escape, members};
