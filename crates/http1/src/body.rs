//! A response's body, taken out of its framing.

use bytes::{Buf, Bytes, BytesMut};

/// Most bytes of extensions before a chunk, and of trailers behind the last: nobody reads them.
const IGNORED_BYTES_MAX: usize = 16 * 1024;

/// Most digits of a chunk's length, leading zeros among them: as many as the largest length has.
const SIZE_DIGITS_MAX: u32 = 16;

/// What a look at the buffer brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Bytes of the body, at least one.
    Piece(Bytes),
    /// What there was is used up.
    More,
    /// The body has ended; what is left in the buffer is not its own.
    End,
}

/// Why a body's framing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A chunk's length is no hexadecimal number, or a larger one than there are.
    #[error("a chunk's length is not one")]
    Size,
    /// A line does not end as lines do.
    #[error("a chunk's line does not end as it should")]
    Line,
    /// Extensions or trailers without end.
    #[error("a chunked body with too much beside its chunks")]
    TooMuch,
}

/// Where in its framing a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    Chunked(Place),
    Ended,
    Broken(FramingError),
}

/// Where in a body of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a chunk's length, with so many digits of it read.
    Size {
        value: u64,
        digits: u32,
    },
    /// Behind the length's digits: blanks, an extension.
    Extension {
        value: u64,
    },
    /// Before the line feed of a length's line.
    SizeEnd {
        value: u64,
    },
    Data(u64),
    /// Behind a chunk's data.
    DataEnd,
    DataEndFeed,
    /// In a line behind the last chunk; whether it has begun.
    Trailer {
        begun: bool,
    },
    TrailerEnd {
        begun: bool,
    },
}

const NEXT_CHUNK: Place = Place::Size { value: 0, digits: 0 };

/// Takes a body out of its framing.
///
/// ```
/// use cutover_http1::{Decoded, Decoder};
/// let mut buffer = bytes::BytesMut::from("2\r\nok\r\n0\r\n\r\n");
/// let mut decoder = Decoder::chunked();
/// assert_eq!(decoder.decode(&mut buffer).unwrap(), Decoded::Piece("ok".into()));
/// assert!(decoder.has_ended());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder {
    state: State,
    /// Bytes of extensions and trailers since the last data.
    ignored: usize,
}

impl Decoder {
    /// A body of so many bytes.
    pub fn length(bytes: u64) -> Self {
        Self::at(if bytes == 0 { State::Ended } else { State::Length(bytes) })
    }

    /// A body in chunks.
    pub fn chunked() -> Self {
        Self::at(State::Chunked(NEXT_CHUNK))
    }

    /// A body that ends when the server closes the connection.
    pub fn until_close() -> Self {
        Self::at(State::UntilClose)
    }

    fn at(state: State) -> Self {
        Self { state, ignored: 0 }
    }

    /// Whether the body has ended.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether the end of the connection is the body's.
    pub fn ends_with_the_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// How many bytes are to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Ended => Some(0),
            State::UntilClose | State::Chunked(_) | State::Broken(_) => None,
        }
    }

    /// Takes the next piece out of the buffer, and the framing behind it as far as it is there: so the end of a body is
    /// known with its last piece, if it came with it.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, FramingError> {
        if let State::Chunked(place) = self.state {
            self.skip(place, buffer);
        }
        let here = match self.state {
            State::Ended => return Ok(Decoded::End),
            State::Broken(error) => return Err(error),
            State::UntilClose => buffer.len(),
            State::Length(left) | State::Chunked(Place::Data(left)) => {
                usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len())
            }
            State::Chunked(_) => 0,
        };
        if here == 0 {
            return Ok(Decoded::More);
        }
        let piece = buffer.split_to(here).freeze();
        let taken = here as u64;
        match self.state {
            State::Length(left) if left == taken => self.state = State::Ended,
            State::Length(left) => self.state = State::Length(left - taken),
            State::Chunked(Place::Data(left)) if left == taken => self.skip(Place::DataEnd, buffer),
            State::Chunked(Place::Data(left)) => {
                self.state = State::Chunked(Place::Data(left - taken));
            }
            State::UntilClose | State::Chunked(_) | State::Ended | State::Broken(_) => {}
        }
        Ok(Decoded::Piece(piece))
    }

    /// Goes on from this place to the next data, the end, or where the buffer ends.
    fn skip(&mut self, mut place: Place, buffer: &mut BytesMut) {
        let mut used = 0;
        self.state = loop {
            if let Place::Data(_) = place {
                break State::Chunked(place);
            }
            let Some(&byte) = buffer.get(used) else { break State::Chunked(place) };
            used += 1;
            match self.step(place, byte) {
                Ok(Some(next)) => place = next,
                Ok(None) => break State::Ended,
                Err(error) => break State::Broken(error),
            }
        };
        buffer.advance(used);
    }

    /// One byte of the framing; `None` is the end.
    fn step(&mut self, place: Place, byte: u8) -> Result<Option<Place>, FramingError> {
        Ok(Some(match (place, byte) {
            (Place::Size { digits: SIZE_DIGITS_MAX, .. }, _) if byte.is_ascii_hexdigit() => {
                return Err(FramingError::Size);
            }
            (Place::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Place::Size { value: value << 4 | digit, digits: digits + 1 }
            }
            (Place::Size { digits: 0, .. }, _) => return Err(FramingError::Size),
            (Place::Size { value, .. } | Place::Extension { value }, b'\r') => {
                Place::SizeEnd { value }
            }
            (Place::Size { value, .. }, b' ' | b'\t' | b';') => Place::Extension { value },
            (Place::Size { .. }, _) => return Err(FramingError::Size),
            // A bare line feed is read by some as the line's end, by others not.
            (Place::Extension { .. } | Place::Trailer { .. }, b'\n') => {
                return Err(FramingError::Line);
            }
            (Place::Extension { .. }, _) => {
                self.ignore()?;
                place
            }
            (Place::SizeEnd { value: 0 } | Place::TrailerEnd { begun: true }, b'\n') => {
                Place::Trailer { begun: false }
            }
            (Place::SizeEnd { value }, b'\n') => {
                self.ignored = 0;
                Place::Data(value)
            }
            (Place::DataEnd, b'\r') => Place::DataEndFeed,
            (Place::DataEndFeed, b'\n') => NEXT_CHUNK,
            (Place::Trailer { begun }, b'\r') => Place::TrailerEnd { begun },
            (Place::Trailer { .. }, _) => {
                self.ignore()?;
                Place::Trailer { begun: true }
            }
            (Place::TrailerEnd { begun: false }, b'\n') => return Ok(None),
            (
                Place::SizeEnd { .. }
                | Place::DataEnd
                | Place::DataEndFeed
                | Place::TrailerEnd { .. },
                _,
            ) => return Err(FramingError::Line),
            // Not of the framing: whoever skips stops there.
            (Place::Data(_), _) => place,
        }))
    }

    fn ignore(&mut self) -> Result<(), FramingError> {
        self.ignored += 1;
        if self.ignored > IGNORED_BYTES_MAX { Err(FramingError::TooMuch) } else { Ok(()) }
    }
}
