//! Cuts a byte stream into records: server-sent events, or lines of NDJSON.
//!
//! The same records come out however the bytes are cut into frames. A frame that ends with a record is
//! not copied; only the start of an unfinished record is kept back, up to a limit.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

/// What ends a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A blank line; lines end with CR, LF or CRLF.
    Events,
    /// A line feed.
    Lines,
}

/// A record is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Cuts frames into records. Its `Debug` shows none of the bytes.
pub struct Splitter {
    framing: Framing,
    limit: usize,
    /// The start of an unfinished record.
    carry: BytesMut,
    /// Within carry: where the current line starts, and up to where it was searched.
    line: usize,
    searched: usize,
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter")
            .field("framing", &self.framing)
            .field("carry_bytes", &self.carry.len())
            .finish_non_exhaustive()
    }
}

impl Splitter {
    /// A splitter for records of at most `limit` bytes.
    pub fn new(framing: Framing, limit: usize) -> Self {
        Self { framing, limit, carry: BytesMut::new(), line: 0, searched: 0 }
    }

    /// Takes a frame. Returns the bytes that hold the records now complete, and puts where each lies
    /// into `records`, end marks included. What follows the last one is kept for the next frame. The
    /// records before one that is too long are whole and count, however the bytes were cut.
    pub fn feed(
        &mut self,
        frame: Bytes,
        records: &mut Vec<Range<usize>>,
    ) -> (Bytes, Result<(), TooLong>) {
        records.clear();
        if self.carry.is_empty() {
            let fits = self.cut(&frame, records).and_then(|rest| {
                if rest < frame.len() {
                    self.keep(frame.get(rest..).unwrap_or_default())?;
                }
                Ok(())
            });
            return (frame, fits);
        }
        self.carry.extend_from_slice(&frame);
        let carry = std::mem::take(&mut self.carry);
        let cut = self.cut(&carry, records);
        if cut == Ok(0) {
            self.carry = carry;
            let fits = if self.carry.len() > self.limit { Err(TooLong) } else { Ok(()) };
            return (Bytes::new(), fits);
        }
        let whole = carry.freeze();
        let fits = cut.and_then(|rest| self.keep(whole.get(rest..).unwrap_or_default()));
        (whole, fits)
    }

    /// What is left at the stream's end: a record without its end mark.
    pub fn rest(&mut self) -> Bytes {
        (self.line, self.searched) = (0, 0);
        self.carry.split().freeze()
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), TooLong> {
        if rest.len() > self.limit {
            return Err(TooLong);
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    /// Finds the records; returns where the unfinished one starts. `line` and `searched` then count
    /// from there.
    fn cut(&mut self, text: &[u8], records: &mut Vec<Range<usize>>) -> Result<usize, TooLong> {
        let mut start = 0;
        while let Some(end) = self.next_end(text) {
            if end - start > self.limit {
                return Err(TooLong);
            }
            records.push(start..end);
            start = end;
        }
        self.line -= start.min(self.line);
        self.searched -= start.min(self.searched);
        Ok(start)
    }

    fn next_end(&mut self, text: &[u8]) -> Option<usize> {
        if self.framing == Framing::Lines {
            let found = memchr(b'\n', text.get(self.searched..)?);
            self.searched = found.map_or(text.len(), |at| self.searched + at + 1);
            self.line = self.searched;
            return found.map(|_| self.searched);
        }
        loop {
            let Some(found) = memchr2(b'\n', b'\r', text.get(self.searched..)?) else {
                self.searched = text.len();
                return None;
            };
            let at = self.searched + found;
            let after = match (text.get(at), text.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => at + 2,
                // A CR at the end may be half a CRLF: wait for what follows.
                (Some(b'\r'), None) => {
                    self.searched = at;
                    return None;
                }
                _ => at + 1,
            };
            let blank = at == self.line;
            (self.line, self.searched) = (after, after);
            if blank {
                return Some(after);
            }
        }
    }
}

/// The payload of an event: its `data` lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// No data: a comment, a blank line, or other fields only.
    None,
    /// One line, and where it starts in the event.
    Line(&'a [u8], usize),
    /// Several lines, joined by line feeds.
    Joined(Vec<u8>),
}

/// One event's payload and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The payload.
    pub data: Data<'a>,
    /// Whether the event is named `error`.
    pub is_error: bool,
    /// Whether a line of it is no field of an event, such as one of a web page.
    pub is_strange: bool,
}

impl<'a> Event<'a> {
    /// Reads an event as [`Splitter`] cuts it.
    pub fn read(text: &'a [u8]) -> Self {
        // Nearly every event is one data line and a blank one.
        if let Some(payload) = text.strip_prefix(b"data: ")
            && let Some(end) = memchr2(b'\n', b'\r', payload)
            && matches!(payload.get(end..), Some(b"\n\n" | b"\r\n\r\n"))
        {
            let line = payload.get(..end).unwrap_or_default();
            return Self { data: Data::Line(line, 6), is_error: false, is_strange: false };
        }
        Self::read_lines(text)
    }

    fn read_lines(text: &'a [u8]) -> Self {
        let (mut data, mut is_error, mut is_strange, mut at) = (Data::None, false, false, 0);
        // A byte order mark may start the stream.
        if text.starts_with(b"\xef\xbb\xbf") {
            at = 3;
        }
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = rest.get(..end).unwrap_or_default();
            let colon = memchr(b':', line).unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            let space = usize::from(value.first() == Some(&b' '));
            let value = value.get(space..).unwrap_or_default();
            match line.get(..colon) {
                Some(b"data") => data = data.and(value, at + colon + 1 + space),
                Some(b"event") => is_error = value == b"error",
                // A comment's or a blank line's name is empty.
                Some(b"" | b"id" | b"retry") => {}
                _ => is_strange = true,
            }
            at += end + 1;
        }
        Self { data, is_error, is_strange }
    }
}

impl<'a> Data<'a> {
    fn and(self, line: &'a [u8], at: usize) -> Self {
        match self {
            Self::None => Self::Line(line, at),
            Self::Line(first, _) => Self::Joined([first, b"\n", line].concat()),
            Self::Joined(mut lines) => {
                lines.push(b'\n');
                lines.extend_from_slice(line);
                Self::Joined(lines)
            }
        }
    }

    /// The payload's bytes; empty if there is none.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Line(line, _) => line,
            Self::Joined(lines) => lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The payloads of a stream that arrives in these frames.
    fn payloads(frames: &[&[u8]], framing: Framing) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::new(framing, 1 << 20);
        let (mut all, mut records) = (vec![], vec![]);
        let mut take = |text: &[u8]| {
            let payload = match framing {
                Framing::Events => Event::read(text).data.bytes().to_vec(),
                Framing::Lines => text.trim_ascii().to_vec(),
            };
            if !payload.is_empty() {
                all.push(payload);
            }
        };
        for frame in frames {
            let (whole, fits) = splitter.feed(Bytes::copy_from_slice(frame), &mut records);
            assert_eq!(fits, Ok(()));
            for range in &records {
                take(&whole[range.clone()]);
            }
        }
        take(&splitter.rest());
        all
    }

    #[test]
    fn all_line_ends_comments_and_many_lines_are_understood() {
        let text = b": hi\n\ndata: a\n\ndata:b\r\n\r\ndata: c\r\rdata: d\ndata: e\nid: 1\n\nevent: x\n\ndata: f";
        let expected: Vec<&[u8]> = vec![b"a", b"b", b"c", b"d\ne", b"f"];
        assert_eq!(payloads(&[text], Framing::Events), expected);
    }

    #[test]
    fn a_frame_that_ends_with_an_event_is_not_copied() {
        let frame = Bytes::from_static(b"data: {}\n\ndata: {}\n\n");
        let mut splitter = Splitter::new(Framing::Events, 100);
        let mut records = vec![];
        let (whole, fits) = splitter.feed(frame.clone(), &mut records);
        assert_eq!(fits, Ok(()));
        assert_eq!(whole.as_ptr(), frame.as_ptr());
        assert_eq!(records, [0..10, 10..20]);
        assert!(splitter.rest().is_empty());
    }

    #[test]
    fn a_record_over_the_limit_is_refused_whole_or_in_parts() {
        let mut records = vec![];
        for framing in [Framing::Events, Framing::Lines] {
            let mut splitter = Splitter::new(framing, 10);
            let long = Bytes::from_static(b"data: 0123456789\n\n");
            assert_eq!(splitter.feed(long, &mut records).1, Err(TooLong));
            let mut splitter = Splitter::new(framing, 10);
            let endless = || Bytes::from_static(b"xxxxxx");
            assert_eq!(splitter.feed(endless(), &mut records).1, Ok(()));
            assert_eq!(splitter.feed(endless(), &mut records).1, Err(TooLong));
        }
    }

    #[test]
    fn records_before_one_over_the_limit_count_in_one_frame_as_in_many() {
        let text = b"data: a\n\ndata: 0123456789\n\ndata: b\n\n";
        for step in [1, 5, 12, text.len()] {
            let mut splitter = Splitter::new(Framing::Events, 12);
            let (mut records, mut got) = (vec![], vec![]);
            for frame in text.chunks(step) {
                let (whole, fits) = splitter.feed(Bytes::copy_from_slice(frame), &mut records);
                got.extend(records.iter().map(|range| whole[range.clone()].to_vec()));
                if fits.is_err() {
                    break;
                }
            }
            assert_eq!(got, [b"data: a\n\n"], "{step}");
        }
    }

    #[test]
    fn an_error_event_is_known_by_its_name() {
        assert!(Event::read(b"event: error\ndata: {}\n\n").is_error);
        assert!(!Event::read(b"event: message\ndata: {}\n\n").is_error);
    }

    proptest! {
        #[test]
        fn the_same_records_come_out_of_every_chunking(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("\n".to_owned()), Just("\r".to_owned()), Just("\r\n".to_owned()),
                    Just("data: ".to_owned()), Just(":".to_owned()), Just("event: error".to_owned()),
                    "[a-z\u{e9}\u{1f600}:\" ]{0,6}",
                ],
                0..40,
            ),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text = parts.concat().into_bytes();
            for framing in [Framing::Events, Framing::Lines] {
                let whole = payloads(&[&text], framing);
                let mut at: Vec<usize> = cuts.iter().map(|c| c.index(text.len() + 1)).collect();
                at.extend([0, text.len()]);
                at.sort_unstable();
                let frames: Vec<&[u8]> = at.windows(2).map(|w| &text[w[0]..w[1]]).collect();
                prop_assert_eq!(&payloads(&frames, framing), &whole);
                let bytes: Vec<&[u8]> = text.chunks(1).collect();
                prop_assert_eq!(&payloads(&bytes, framing), &whole);
            }
        }

        #[test]
        fn no_bytes_make_the_splitter_panic(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
        ) {
            for framing in [Framing::Events, Framing::Lines] {
                let mut splitter = Splitter::new(framing, 64);
                let mut records = vec![];
                for frame in &frames {
                    let (whole, fits) =
                        splitter.feed(Bytes::copy_from_slice(frame), &mut records);
                    for range in &records {
                        let _ = Event::read(&whole[range.clone()]);
                    }
                    if fits.is_err() {
                        break;
                    }
                }
            }
        }
    }
}
