//! The way back of names of functions that were sent in place of the client's, in a stream.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cutover_vendors::names;
use memchr::memrchr2;

/// The most of an unfinished line that is kept back: as long as an event may be.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Gives whole lines on, with the client's own names. No `Debug`: it holds the answer.
pub(crate) struct Lines {
    names: Arc<[(String, String)]>,
    /// The start of an unfinished line.
    carry: BytesMut,
}

impl Lines {
    /// `None`: no names were changed.
    pub(crate) fn new(names: &Arc<[(String, String)]>) -> Option<Self> {
        let names = Arc::clone(names);
        (!names.is_empty()).then(|| Self { names, carry: BytesMut::new() })
    }

    /// The lines that a piece makes whole. One that is too long passes as it is: whoever reads it knows it for that.
    pub(crate) fn take(&mut self, data: &[u8]) -> Bytes {
        self.carry.extend_from_slice(data);
        let end = memrchr2(b'\n', b'\r', &self.carry).map_or(0, |at| at + 1);
        let too_long = self.carry.len() - end > LINE_BYTES_MAX;
        let whole = self.carry.split_to(if too_long { self.carry.len() } else { end });
        self.own(&whole)
    }

    /// What is left at the stream's end.
    pub(crate) fn rest(&mut self) -> Bytes {
        let rest = self.carry.split();
        self.own(&rest)
    }

    /// Whole lines with the client's own names.
    pub(crate) fn own(&self, lines: &[u8]) -> Bytes {
        Bytes::from(names::back(&self.names, lines).into_owned())
    }
}
