//! Reading answers to embeddings requests: the vectors stay as the upstream wrote them.

use cutover_wire::{Endpoint, Fault, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat;

#[derive(Deserialize)]
pub(crate) struct Embeddings<'a> {
    #[serde(borrow)]
    pub(crate) data: Vec<Vector<'a>>,
    #[serde(borrow, default, rename = "usage")]
    told: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) model: Option<String>,
}

impl Embeddings<'_> {
    /// What they took, if it is told.
    pub(crate) fn usage(&self) -> Option<Usage> {
        Usage::read(Endpoint::Embeddings, self.told?.get())
    }
}

#[derive(Deserialize)]
pub(crate) struct Vector<'a> {
    #[serde(borrow)]
    pub(crate) embedding: &'a RawValue,
}

/// Reads an answer whose vectors are lists of numbers.
pub(crate) fn read(body: &[u8]) -> Result<Embeddings<'_>, Fault> {
    let read: Embeddings<'_> = serde_json::from_slice(body).map_err(|_| chat::unreadable())?;
    if read.data.iter().any(|vector| !vector.embedding.get().starts_with('[')) {
        return Err(chat::unreadable());
    }
    Ok(read)
}
