//! Prompts as data: immutable versions with movable labels, templates that can do little, and their
//! differences.
//!
//! Pure: no I/O, no clock, no randomness. Who keeps versions and who renders them is elsewhere.
//!
//! ```text
//! file ─ Document ─▶ parts with their lines ─ Prompt ─▶ checked templates ─ render ─▶ Rendered
//! Reference (NAME@LABEL, NAME@3) ─ Book ─▶ Version
//! ```
//!
//! The rules this crate keeps:
//! - A template is text with `{{ name }}`, `if`, `for` and a few filters. It has no way to a file, to
//!   the network, to a clock, or to memory without bound: operators that join texts do not exist, every
//!   filter's result is limited, and so are steps ([`FUEL`]) and output ([`RENDERED_BYTES_MAX`]).
//! - What is not defined is an error, not an empty text.
//! - The client's own messages never pass through a template: what stands around one is rendered by
//!   itself.
//! - An error names its line, and no error and no `Debug` holds a prompt's text.

mod book;
mod compare;
mod document;
mod names;
mod scan;
mod template;

pub use book::{Book, Label, Unresolved, Version, digest};
pub use compare::compare;
pub use document::{Document, Part, Place, Section, Speaker};
pub use names::{LabelName, NameProblem, Reference, Selector};
pub use template::{Needs, Prompt, Rendered, Scope};

/// Longest text of a version, in bytes: beyond what any model reads well.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// Longest rendered prompt, all its parts together, in bytes.
pub const RENDERED_BYTES_MAX: usize = 512 << 10;

/// Steps that rendering one part may take. A page of text with a few conditions takes some hundred.
pub const FUEL: u64 = 50_000;

/// Words and signs in one tag, at most: `{{ vars.a | upper }}` has five. Each may be one deeper for the engine.
pub const TAG_SIGNS_MAX: usize = 200;

/// How deep `if`, `elif` and `for` may lie in one another.
pub const DEPTH_MAX: usize = 50;

/// Messages of examples in one prompt, at most.
pub const EXAMPLES_MAX: usize = 64;

/// Versions kept of all prompts together, at most.
pub const VERSIONS_MAX: usize = 10_000;

/// Bytes of text kept of all versions together, at most: a running gateway holds them in memory.
pub const STORED_BYTES_MAX: usize = 64 << 20;

/// What is wrong with a prompt's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}
