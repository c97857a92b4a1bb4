//! What tests of the other crates stand on. A dev-dependency only; nothing here ships.
//!
//! - [`tiny_gguf`]: a random-weight model file for quick tests of real engines.

pub mod tiny_gguf;
