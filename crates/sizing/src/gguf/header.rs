//! Bytes to keys and tensors.

use std::collections::BTreeMap;

use super::{HEADER_MAX, Trouble};
use crate::blocks;

/// A value that a size can depend on. Others are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    Numbers(Vec<u64>),
    /// An array that is too long or of another kind: only its length is known.
    Length(u64),
}

/// A tensor as the header lists it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) columns: u64,
    pub(super) rows: u64,
    pub(super) kind: &'static str,
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) tensors: Vec<Listed>,
}

const KEYS_MAX: u64 = 1 << 16;
const TENSORS_MAX: u64 = 1 << 18;
const NAME_MAX: u64 = 1 << 12;
const KEPT_MAX: u64 = 1 << 13;
const DEPTH_MAX: u32 = 4;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn corrupt(what: impl Into<String>) -> Trouble {
    Trouble::Corrupt(what.into())
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], Trouble> {
        let end = (self.at as u64).saturating_add(count);
        if end > HEADER_MAX {
            return Err(corrupt(format!("its header claims more than {} MiB", HEADER_MAX >> 20)));
        }
        let short = Trouble::Short(end);
        let end = usize::try_from(end).map_err(|_| short.clone())?;
        let taken = self.bytes.get(self.at..end).ok_or(short)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, width: u64) -> Result<u64, Trouble> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    fn text(&mut self, most: u64) -> Result<String, Trouble> {
        let length = self.number(8)?;
        if length > most {
            return Err(corrupt(format!("a name of {length} bytes")));
        }
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| corrupt("a name that is no text"))
    }

    /// A value of a type; those that no size depends on are skipped.
    fn value(&mut self, kind: u64, depth: u32) -> Result<Value, Trouble> {
        if let Some(width) = width(kind) {
            return Ok(Value::Number(self.number(width)?));
        }
        match kind {
            STRING => {
                let length = self.number(8)?;
                let bytes = self.take(length)?;
                let kept = bytes.get(..bytes.len().min(256)).unwrap_or_default();
                Ok(Value::Text(String::from_utf8_lossy(kept).into_owned()))
            }
            ARRAY if depth < DEPTH_MAX => self.array(depth),
            _ => Err(corrupt(format!("a value of type {kind}"))),
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, Trouble> {
        let kind = self.number(4)?;
        let length = self.number(8)?;
        match width(kind) {
            Some(width) if length <= KEPT_MAX => {
                let numbers = (0..length).map(|_| self.number(width));
                Ok(Value::Numbers(numbers.collect::<Result<_, _>>()?))
            }
            Some(width) => {
                self.take(length.saturating_mul(width))?;
                Ok(Value::Length(length))
            }
            None => {
                // Each element takes at least eight bytes: the loop ends with the bytes.
                for _ in 0..length {
                    self.value(kind, depth + 1)?;
                }
                Ok(Value::Length(length))
            }
        }
    }

    fn tensor(&mut self) -> Result<Listed, Trouble> {
        let name = self.text(NAME_MAX)?;
        let dimensions = self.number(4)?;
        if !(1..=4).contains(&dimensions) {
            return Err(corrupt(format!("tensor {name:?} has {dimensions} dimensions")));
        }
        let columns = self.number(8)?;
        let mut rows = 1_u64;
        for _ in 1..dimensions {
            rows = rows.saturating_mul(self.number(8)?);
        }
        let id = self.number(4)?;
        self.number(8)?;
        let row = u32::try_from(id).ok().and_then(blocks::by_id);
        let row =
            row.ok_or_else(|| corrupt(format!("tensor {name:?} has the unknown type {id}")))?;
        let bytes = columns.div_ceil(row.elements).saturating_mul(row.bytes).saturating_mul(rows);
        if columns.saturating_mul(rows) > SIZE_MAX {
            return Err(corrupt(format!("tensor {name:?} claims {columns} x {rows} numbers")));
        }
        Ok(Listed { name, columns, rows, kind: row.name, bytes })
    }
}

/// No tensor has more numbers: sums of all of them stay far from overflow.
const SIZE_MAX: u64 = 1 << 44;

const STRING: u64 = 8;
const ARRAY: u64 = 9;

/// Bytes of the types of fixed width.
fn width(kind: u64) -> Option<u64> {
    Some(match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Trouble> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(4)? != b"GGUF" {
            return Err(corrupt("it does not begin with GGUF"));
        }
        match reader.number(4)? {
            2 | 3 => {}
            1 => {
                return Err(Trouble::Unsized(
                    "GGUF version 1 is no longer read by any engine".into(),
                ));
            }
            other if other > 0xffff => return Err(corrupt("it is big-endian")),
            other => return Err(corrupt(format!("version {other}, known are 2 and 3"))),
        }
        let (tensors, keys) = (reader.number(8)?, reader.number(8)?);
        if tensors > TENSORS_MAX || keys > KEYS_MAX {
            return Err(corrupt(format!("it claims {tensors} tensors and {keys} keys")));
        }
        let mut header = Self::default();
        for _ in 0..keys {
            let key = reader.text(NAME_MAX)?;
            let kind = reader.number(4)?;
            let value = reader.value(kind, 0)?;
            header.values.insert(key, value);
        }
        for _ in 0..tensors {
            header.tensors.push(reader.tensor()?);
        }
        Ok(header)
    }
}
