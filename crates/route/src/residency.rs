//! Who may see a request, and how what a client says of it is read.
//!
//! Three places may say that a request stays local: its use case, the client's key, and a header of the
//! request. The strictest holds: each can tighten, none can loosen what another says. So there is no word
//! for "anyone" that a client could send.
//!
//! [`Snapshot::decide`](crate::Snapshot::decide) is the one place where legs are chosen, and
//! [`overflow::spill`](crate::overflow::spill) the one where a leg is chosen afterwards. The test below
//! asks both, and everything that may follow them, over a hundred thousand random configurations.

/// The only word that a client can send.
pub const LOCAL_ONLY: &str = "local-only";

/// Whether a client's word keeps its request local. None: it is no word for that.
pub fn parse(word: &str) -> Option<bool> {
    (word == LOCAL_ONLY).then_some(true)
}

#[cfg(test)]
mod tests;
