//! Reading safetensors files: a JSON table of contents, then raw little-endian values.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::LoadError;

/// Largest table of contents that is read; real ones take some 10 kB per 100 tensors.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// An open file.
pub(crate) struct Safetensors {
    path: PathBuf,
    file: File,
    start: u64,
    length: u64,
    entries: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Safetensors {
    /// Opens a file and reads its table of contents.
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        let malformed = |reason: String| LoadError::Malformed { path: path.to_owned(), reason };
        let mut file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix).map_err(read)?;
        let header_length = u64::from_le_bytes(prefix);
        if header_length > HEADER_BYTES_MAX {
            return Err(malformed("its header is too large".into()));
        }
        let mut header = Vec::new();
        (&mut file).take(header_length).read_to_end(&mut header).map_err(read)?;
        let mut entries: HashMap<String, serde_json::Value> = serde_json::from_slice(&header)
            .map_err(|e| malformed(format!("its header is not JSON: {e}")))?;
        entries.remove("__metadata__");
        let entries = entries
            .into_iter()
            .map(|(name, value)| Ok((name, serde_json::from_value(value)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|e| malformed(format!("its header is incomplete: {e}")))?;
        Ok(Self { path: path.to_owned(), file, start: 8 + header_length, length, entries })
    }

    /// Reads a tensor of f32 values with this shape.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let malformed = |reason: &str| LoadError::Malformed {
            path: self.path.clone(),
            reason: format!("tensor {name} {reason}"),
        };
        let entry = self.entries.get(name).ok_or_else(|| malformed("is missing"))?;
        if entry.dtype != "F32" || entry.shape != shape {
            return Err(malformed("has another type or shape than expected"));
        }
        let (begin, end) = entry.data_offsets;
        let bytes = shape.iter().try_fold(4usize, |all, n| all.checked_mul(*n));
        let bytes = bytes.filter(|n| end.checked_sub(begin) == Some(*n as u64));
        let bytes = bytes.ok_or_else(|| malformed("has offsets that do not match its shape"))?;
        if self.start.checked_add(end).is_none_or(|end| end > self.length) {
            return Err(malformed("lies outside the file"));
        }
        let mut raw = vec![0; bytes];
        let read = |source| LoadError::Read { path: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(self.start.saturating_add(begin))).map_err(read)?;
        self.file.read_exact(&mut raw).map_err(read)?;
        let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Ok(raw.chunks_exact(4).map(value).collect())
    }
}
