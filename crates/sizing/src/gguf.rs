//! The header of a GGUF file: what the model is, and what each tensor really takes.
//!
//! Only the header is read, from as many bytes as the caller has; [`Trouble::Short`] asks for more. Every
//! length in it is a claim of whoever made the file: all are limited, and none is allocated unread.

mod header;
mod meaning;

use std::fmt;

use crate::model::Model;
use crate::quant::Weights;

/// What a header says.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// The model.
    pub model: Model,
    /// Its weights, tensor by tensor.
    pub weights: Weights,
    /// Its numbers, as the tensors' shapes sum.
    pub parameters: u64,
    /// The name of its quantisation, as the file says it.
    pub quant: String,
    /// What was assumed.
    pub notes: Vec<String>,
}

/// Why a header cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The header goes on behind these bytes: at least so many are needed.
    Short(u64),
    /// It is no GGUF file, or a broken one.
    Corrupt(String),
    /// It is one, of a kind that cannot be sized.
    Unsized(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(needed) => {
                write!(f, "the file ends inside its header ({needed} bytes needed)")
            }
            Self::Corrupt(what) => write!(f, "no valid GGUF file: {what}"),
            Self::Unsized(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Trouble {}

/// A header of more bytes than this is not read: the largest real ones are below 32 MiB.
pub const HEADER_MAX: u64 = 256 << 20;

/// Reads a header from the first bytes of a file.
pub fn read(bytes: &[u8]) -> Result<Gguf, Trouble> {
    let header = header::Header::read(bytes)?;
    meaning::model(&header)
}

#[cfg(test)]
mod tests;
