//! What becomes of a field: the row of a table that conversions look their rules up in, and references are
//! printed from.

/// What becomes of a field on its way to chat completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The field means the same there, and may have another name.
    Carried(&'static str),
    /// It is converted without loss.
    Mapped(&'static str),
    /// Something near it is sent, and the loss report says so.
    Approximated(&'static str),
    /// It is left out, and the loss report says so.
    Dropped,
    /// Refused with a 400 that names it; left out and reported where the caller is lenient.
    Unsupported,
    /// Refused always: an answer without it would deceive.
    Refused,
    /// cutover acts on it itself.
    Ours,
}

impl Fate {
    /// The fate's word in the reference.
    pub fn word(self) -> &'static str {
        match self {
            Self::Carried(_) => "carried",
            Self::Mapped(_) => "mapped",
            Self::Approximated(_) => "approximated, reported",
            Self::Dropped => "dropped, reported",
            Self::Unsupported => "refused (lenient: dropped, reported)",
            Self::Refused => "refused",
            Self::Ours => "by cutover",
        }
    }

    /// The field of a chat completions request that it becomes.
    pub fn becomes(self) -> Option<&'static str> {
        match self {
            Self::Carried(name) | Self::Mapped(name) | Self::Approximated(name) => Some(name),
            _ => None,
        }
    }
}

/// One field of a dialect's requests.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its path, such as `messages[].content[].cache_control`; `/api/x: ` before it where it belongs to
    /// one route only.
    pub path: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// Why, or how.
    pub why: &'static str,
}

impl Field {
    /// A row.
    pub const fn new(path: &'static str, fate: Fate, why: &'static str) -> Self {
        Self { path, fate, why }
    }
}
