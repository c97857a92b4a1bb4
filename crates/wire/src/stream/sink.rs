//! Collects what goes to the client: slices of the frame where it is passed on whole, a copy where it
//! was changed.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// One frame's output. Runs of kept bytes stay slices until something is written between them.
pub(crate) struct Sink<'a> {
    frame: &'a Bytes,
    /// Kept bytes not yet put out.
    run: Range<usize>,
    written: BytesMut,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(frame: &'a Bytes) -> Self {
        Self { frame, run: 0..0, written: BytesMut::new() }
    }

    /// The bytes of a range of the frame.
    pub(crate) fn part(&self, range: Range<usize>) -> &'a [u8] {
        self.frame.get(range).unwrap_or_default()
    }

    /// A range of the frame, to be kept.
    pub(crate) fn slice(&self, range: Range<usize>) -> Bytes {
        self.frame.slice(range)
    }

    /// Passes a range of the frame on.
    pub(crate) fn keep(&mut self, range: Range<usize>) {
        if self.run.end != range.start || self.run.is_empty() {
            self.copy_run();
            self.run = range;
        } else {
            self.run.end = range.end;
        }
    }

    /// Puts other bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.copy_run();
        self.grow(bytes.len());
        self.written.extend_from_slice(bytes);
    }

    fn copy_run(&mut self) {
        let run = std::mem::replace(&mut self.run, 0..0);
        let bytes = self.part(run);
        if !bytes.is_empty() {
            self.grow(bytes.len());
            self.written.extend_from_slice(bytes);
        }
    }

    /// The first copy reserves what the whole frame will need, so that there is one allocation.
    fn grow(&mut self, more: usize) {
        if self.written.capacity() == 0 {
            self.written.reserve(self.frame.len() + 64 + more);
        }
    }

    /// Puts the output: at most one piece per frame, so that a frame stays one HTTP chunk.
    pub(crate) fn finish(mut self, out: &mut Vec<Bytes>) {
        if self.written.is_empty() {
            if !self.run.is_empty() {
                out.push(self.frame.slice(self.run));
            }
            return;
        }
        self.copy_run();
        out.push(self.written.freeze());
    }
}
