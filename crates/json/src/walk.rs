//! A walk over JSON text that checks every byte of it and decodes none: the fast way to find where a
//! few members lie.
//!
//! What a walk accepts, `serde_json` accepts too, with the same extents (a property test compares the
//! two). The reverse does not hold: a walk stops at what is rare (nesting beyond [`DEPTH_MAX`], an
//! escape in a member's name) as it stops at what is wrong. Callers then ask `serde_json`, which also
//! knows what to say about the mistake. So a walk decides speed, never what is let in.
//!
//! Other crates walk bodies of their own dialects, and stop at whatever they would have to look at twice.

use super::DEPTH_MAX;
use super::blocks::{self, BLOCK, Marks};
use crate::inside::IS_ESCAPED;
use crate::solid::solid_json;

/// The text is not JSON, or is too unusual for a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// What a walk makes of a value.
pub type Walked<T> = Result<T, Stop>;

/// A place in a text.
pub struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// How many containers [`Walk::object`] and [`Walk::array`] have open.
    depth: usize,
    /// The most containers that were open at once.
    deepest: usize,
    marks: Marks<'a>,
    /// Whether an escape was met that is half of a surrogate pair: such a string is JSON, and no text.
    halves: bool,
    /// Knows the strings that matter, if any do.
    words: Option<Words>,
    /// Those that were met.
    met: u32,
}

/// Tells strings that matter from others, by a bit for each kind.
pub type Words = fn(&[u8]) -> u32;

/// Bytes of the longest string that may matter.
pub const WORD_BYTES_MAX: usize = 20;

impl<'a> Walk<'a> {
    /// A walk that begins at the text's first value.
    pub fn new(text: &'a str) -> Self {
        let mut walk = Self {
            text,
            at: 0,
            depth: 0,
            deepest: 0,
            marks: Marks::of(text.as_bytes()),
            halves: false,
            words: None,
            met: 0,
        };
        walk.space();
        walk
    }

    /// [`Walk::new`] that asks `words` of each name and each value that is a string of at most [`WORD_BYTES_MAX`]
    /// bytes without escapes, wherever it stands: so what else would be searched for in the whole text is known of the
    /// one walk. See [`Walk::met`].
    pub fn noting(text: &'a str, words: Words) -> Self {
        Self { words: Some(words), ..Self::new(text) }
    }

    /// The kinds of strings met so far: all of them, if a letter is written by its number, as any word can be.
    pub fn met(&self) -> u32 {
        self.met
    }

    /// [`Walk::new`] for bytes, if they are UTF-8.
    pub fn of(bytes: &'a [u8]) -> Walked<Self> {
        super::text(bytes).map(Self::new).ok_or(Stop)
    }

    /// Whether all strings that were walked are text.
    pub fn is_text(&self) -> bool {
        !self.halves
    }

    /// The walk must have come to the text's end. Tells how deep the text nests.
    pub fn end(mut self) -> Walked<usize> {
        self.space();
        if self.at == self.text.len() { Ok(self.deepest) } else { Err(Stop) }
    }

    /// Walks an object: `each` gets every member's name, which has no escapes, and must walk its value.
    pub fn object(&mut self, mut each: impl FnMut(&mut Self, &'a str) -> Walked<()>) -> Walked<()> {
        self.enter(b'{')?;
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            each(self, key)?;
            self.space();
            match self.next()? {
                b',' => self.space(),
                b'}' => break,
                _ => return Err(Stop),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Walks an array: `each` must walk one element.
    pub fn array(&mut self, mut each: impl FnMut(&mut Self) -> Walked<()>) -> Walked<()> {
        self.enter(b'[')?;
        if self.closes(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            self.space();
            match self.next()? {
                b',' => self.space(),
                b']' => break,
                _ => return Err(Stop),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Walks any value and gives its text.
    pub fn value(&mut self) -> Walked<&'a str> {
        let start = self.at;
        match self.peek()? {
            b'{' | b'[' => self.nested()?,
            _ => self.scalar()?,
        }
        self.text.get(start..self.at).ok_or(Stop)
    }

    /// Walks any value, and counts the solid bytes of one that is a text ([`crate::solid`]).
    pub fn solid(&mut self) -> Walked<(&'a str, u64)> {
        if self.peek()? != b'"' {
            return Ok((self.value()?, 0));
        }
        let raw = self.value()?;
        // Nothing within a text is like the quotes around it, so that both of them are counted.
        Ok((raw, solid_json(raw.as_bytes()).saturating_sub(2)))
    }

    /// What `walked` makes of a value, and the value's text.
    pub fn with_text<T>(
        &mut self,
        walked: impl FnOnce(&mut Self) -> Walked<T>,
    ) -> Walked<(&'a str, T)> {
        let start = self.at;
        let made = walked(self)?;
        Ok((self.text.get(start..self.at).ok_or(Stop)?, made))
    }

    /// Walks a value into its slot. A member that comes twice is for the parser to refuse.
    pub fn once(&mut self, slot: &mut Option<&'a str>) -> Walked<()> {
        let value = self.value()?;
        if slot.replace(value).is_some() { Err(Stop) } else { Ok(()) }
    }

    /// The first byte of what comes next.
    pub fn peek(&self) -> Walked<u8> {
        self.text.as_bytes().get(self.at).copied().ok_or(Stop)
    }

    fn next(&mut self) -> Walked<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn enter(&mut self, open: u8) -> Walked<()> {
        if self.depth >= DEPTH_MAX || self.next()? != open {
            return Err(Stop);
        }
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.space();
        Ok(())
    }

    /// Whether the container that was just entered ends here.
    fn closes(&mut self, close: u8) -> bool {
        let empty = self.peek() == Ok(close);
        if empty {
            self.at += 1;
            self.depth -= 1;
        }
        empty
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// A member's name, and all up to its value.
    fn key(&mut self) -> Walked<&'a str> {
        let start = self.at + 1;
        if self.next()? != b'"' {
            return Err(Stop);
        }
        self.string()?;
        let key = self.text.get(start..self.at - 1).ok_or(Stop)?;
        if blocks::has_backslash(self.text.as_bytes(), start..self.at - 1) {
            return Err(Stop);
        }
        self.colon()?;
        Ok(key)
    }

    fn colon(&mut self) -> Walked<()> {
        self.space();
        if self.next()? != b':' {
            return Err(Stop);
        }
        self.space();
        Ok(())
    }

    /// Walks containers of any depth without recursion: a bit of `kinds` for each, 1 = object.
    fn nested(&mut self) -> Walked<()> {
        let (mut kinds, mut open) = (0_u128, 0);
        loop {
            match self.peek()? {
                bracket @ (b'{' | b'[') => {
                    if self.depth + open >= DEPTH_MAX {
                        return Err(Stop);
                    }
                    let object = bracket == b'{';
                    self.at += 1;
                    self.space();
                    kinds = kinds << 1 | u128::from(object);
                    open += 1;
                    self.deepest = self.deepest.max(self.depth + open);
                    if self.peek()? != if object { b'}' } else { b']' } {
                        if object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            loop {
                self.space();
                let object = kinds & 1 == 1;
                match (self.next()?, object) {
                    (b',', true) => {
                        self.space();
                        self.name()?;
                        break;
                    }
                    (b',', false) => {
                        self.space();
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        kinds >>= 1;
                        open -= 1;
                        if open == 0 {
                            return Ok(());
                        }
                    }
                    _ => return Err(Stop),
                }
            }
        }
    }

    /// A member's name of which nothing is wanted.
    fn name(&mut self) -> Walked<()> {
        if self.next()? != b'"' {
            return Err(Stop);
        }
        self.string()?;
        self.colon()
    }

    fn scalar(&mut self) -> Walked<()> {
        match self.next()? {
            b'"' => self.string(),
            b't' => self.rest(b"rue"),
            b'f' => self.rest(b"alse"),
            b'n' => self.rest(b"ull"),
            b'-' => {
                let digit = self.next()?;
                self.number(digit)
            }
            digit => self.number(digit),
        }
    }

    fn rest(&mut self, word: &[u8]) -> Walked<()> {
        let end = self.at + word.len();
        if self.text.as_bytes().get(self.at..end) != Some(word) {
            return Err(Stop);
        }
        self.at = end;
        Ok(())
    }

    /// A number from behind its first digit.
    fn number(&mut self, first: u8) -> Walked<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return Err(Stop),
        }
        if self.peek() == Ok(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Ok(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Ok(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while let Ok(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Walked<()> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(Stop) } else { Ok(()) }
    }

    /// A string from behind its opening quote.
    fn string(&mut self) -> Walked<()> {
        let begin = self.at;
        let text = self.text.as_bytes();
        let is_backslash = |at: usize| text.get(at) == Some(&b'\\');
        // What lies before it is read; a mark is what may not be passed by unread.
        let mut from = begin;
        let mut start = begin - begin % BLOCK;
        let mut ahead = self.marks.at(start) & u64::MAX << (begin - start);
        let end = loop {
            if ahead == 0 {
                (start, ahead) = self.marks.behind(start);
            }
            let at = start + ahead.trailing_zeros() as usize;
            // Before it two backslashes are unread at most, as the third is a mark.
            let escaped =
                at > from && is_backslash(at - 1) && !(at > from + 1 && is_backslash(at - 2));
            from = match text.get(at) {
                Some(b'"') if !escaped => break at + 1,
                Some(b'\\') if !escaped => self.escape(at + 1)?,
                Some(_) if escaped => self.escape(at)?,
                Some(b' '..) => at + 1,
                _ => return Err(Stop),
            };
            if from - start >= BLOCK {
                start = from - from % BLOCK;
                ahead = self.marks.at(start);
            }
            ahead &= u64::MAX << (from - start);
        };
        self.at = end;
        if let Some(words) = self.words
            && end - begin <= WORD_BYTES_MAX + 1
            && let Some(string) = text.get(begin..end - 1)
            && !blocks::has_backslash(text, begin..end - 1)
        {
            self.met |= words(string);
        }
        Ok(())
    }

    /// A byte that is escaped, if it may be. Tells where the escape ends.
    #[inline(never)]
    fn escape(&mut self, at: usize) -> Walked<usize> {
        match self.text.as_bytes().get(at) {
            Some(b'u') => self.code_unit(at),
            Some(&byte) if IS_ESCAPED[usize::from(byte)] => Ok(at + 1),
            _ => Err(Stop),
        }
    }

    /// An escape by its number, whose letter stands here. Passes the second half of a pair with the first, and notes a
    /// half that stands alone. Tells where it ends.
    fn code_unit(&mut self, at: usize) -> Walked<usize> {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        let unit = code_unit(rest).ok_or(Stop)?;
        match unit {
            0xD800..=0xDBFF if is_low(rest.get(5..).unwrap_or_default()) => return Ok(at + 11),
            0xD800..=0xDFFF => self.halves = true,
            0x20..0x7F if self.words.is_some() => self.met = u32::MAX,
            _ => {}
        }
        Ok(at + 5)
    }
}

/// The code unit of an escape that is one, from behind its backslash.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"u")?.first_chunk::<4>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let unit = digits.iter().try_fold(0, |unit, &byte| Some(unit << 4 | digit(byte)?));
    unit.and_then(|unit| u16::try_from(unit).ok())
}

/// Whether this begins with the escape of a pair's second half.
fn is_low(text: &[u8]) -> bool {
    text.strip_prefix(b"\\")
        .and_then(code_unit)
        .is_some_and(|unit| (0xDC00..0xE000).contains(&unit))
}

#[cfg(test)]
mod tests;
