//! Reading GGUF files: typed metadata, and tensors into the matrices of [`crate::kernels`].
//!
//! Weights that are held quantised here are read through f32. For the formats kept as they are
//! (Q8_0, Q4_0) that round trip is exact for files made by the reference quantiser, because the
//! largest value of a block always takes the format's largest number.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::{GgmlDType, QTensor, ggml_file};
use candle_core::{Device, Tensor};
use half::f16;

use crate::LoadError;
use crate::format::WeightFormat;
use crate::kernels::{Matrix, Precision};

/// Values turned to f32 at a time: loading never holds a second copy of a large tensor, and the piece
/// stays in the cache.
const CHUNK_VALUES: usize = 1 << 15;

/// An open model file.
pub(crate) struct Gguf {
    path: PathBuf,
    reader: BufReader<File>,
    length: u64,
    content: Content,
    weights: Option<WeightFormat>,
}

impl Gguf {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let mut reader = BufReader::new(file);
        let content = Content::read(&mut reader).map_err(|e| LoadError::Malformed {
            path: path.to_owned(),
            reason: first_line(&e.to_string()),
        })?;
        Ok(Self { path: path.to_owned(), reader, length, content, weights: None })
    }

    /// Lets all matrices that can be held quantised be so, whatever their stored form.
    pub(crate) fn hold_as(&mut self, weights: Option<WeightFormat>) {
        self.weights = weights;
    }

    /// The whole header, for conversions.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// A tensor as it is stored, for conversions.
    pub(crate) fn tensor(&mut self, name: &str) -> Result<QTensor, LoadError> {
        self.info(name)?;
        let read = self.content.tensor(&mut self.reader, name, &Device::Cpu);
        read.map_err(|e| self.malformed(first_line(&e.to_string())))
    }

    /// A tensor in another format, for conversions.
    pub(crate) fn converted(&mut self, name: &str, to: GgmlDType) -> Result<QTensor, LoadError> {
        let shape = self.info(name)?.shape.clone();
        let mut values = Vec::with_capacity(shape.elem_count());
        let cols = shape.dims().last().copied().unwrap_or(0);
        self.for_each_chunk(name, cols, |chunk| values.extend_from_slice(chunk))?;
        let quantised = Tensor::from_vec(values, shape, &Device::Cpu)
            .and_then(|values| QTensor::quantize(&values, to));
        quantised.map_err(|e| self.malformed(first_line(&e.to_string())))
    }

    /// The stored format of a tensor and the length of its rows.
    pub(crate) fn format(&self, name: &str) -> Result<(GgmlDType, &[usize]), LoadError> {
        let info = self.info(name)?;
        Ok((info.ggml_dtype, info.shape.dims()))
    }

    /// A refusal that names this file.
    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Unsupported { path: self.path.clone(), reason: reason.into() }
    }

    /// A complaint that names this file.
    pub(crate) fn malformed(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Malformed { path: self.path.clone(), reason: reason.into() }
    }

    /// A string, if there.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.content.metadata.get(key)? {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// A whole number of any width, if there.
    pub(crate) fn number(&self, key: &str) -> Option<usize> {
        integer(self.content.metadata.get(key)?)
    }

    /// A whole number that the model cannot do without.
    pub(crate) fn required(&self, key: &str) -> Result<usize, LoadError> {
        self.number(key).ok_or_else(|| self.malformed(format!("metadata {key} is missing")))
    }

    /// A real number, if there.
    pub(crate) fn real(&self, key: &str) -> Option<f32> {
        match self.content.metadata.get(key)? {
            Value::F32(x) => Some(*x),
            Value::F64(x) => Some(crate::kernels::narrow(*x)),
            _ => None,
        }
    }

    /// A truth value, if there.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match self.content.metadata.get(key)? {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// A list of strings.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, LoadError> {
        self.list(key, |v| match v {
            Value::String(s) => Some(s.clone()),
            _ => None,
        })
    }

    /// A list of whole numbers.
    pub(crate) fn numbers(&self, key: &str) -> Result<Vec<usize>, LoadError> {
        self.list(key, integer)
    }

    fn list<T>(&self, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, LoadError> {
        let Some(Value::Array(values)) = self.content.metadata.get(key) else {
            return Err(self.malformed(format!("metadata {key} is missing or not a list")));
        };
        values
            .iter()
            .map(|v| read(v).ok_or_else(|| self.malformed(format!("metadata {key} is mixed"))))
            .collect()
    }

    /// Whether the file has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// A tensor's description, once its data is known to lie inside the file: a damaged header must
    /// not make anyone reserve memory for what is not there.
    fn info(&self, name: &str) -> Result<&TensorInfo, LoadError> {
        let info = self.content.tensor_infos.get(name);
        let info = info.ok_or_else(|| self.malformed(format!("tensor {name} is missing")))?;
        let mut dims = info.shape.dims().iter();
        let values = dims.try_fold(1u64, |all, n| all.checked_mul(u64::try_from(*n).ok()?));
        let blocks = values.map(|n| n / info.ggml_dtype.block_size() as u64);
        let end = blocks
            .and_then(|n| n.checked_mul(info.ggml_dtype.type_size() as u64))
            .and_then(|n| n.checked_add(info.offset))
            .and_then(|n| n.checked_add(self.content.tensor_data_offset));
        if end.is_none_or(|end| end > self.length) {
            return Err(self.malformed(format!("tensor {name} lies outside the file")));
        }
        Ok(info)
    }

    /// Reads a vector of `len` values.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        if self.info(name)?.shape.dims() != [len] {
            return Err(self.malformed(format!("tensor {name} does not have {len} values")));
        }
        let mut out = Vec::with_capacity(len);
        self.for_each_chunk(name, 1, |chunk| out.extend_from_slice(chunk))?;
        Ok(out)
    }

    /// Reads a matrix of `rows` by `cols` in the precision that suits its stored form.
    pub(crate) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Matrix, LoadError> {
        let info = self.info(name)?;
        if info.shape.dims() != [rows, cols] {
            let found = info.shape.dims();
            return Err(
                self.malformed(format!("tensor {name} is {found:?}, expected [{rows}, {cols}]"))
            );
        }
        let precision = match self.weights {
            Some(w) if w.of_tensor(name).fits(cols) => w.of_tensor(name).precision(),
            _ => held_as(info.ggml_dtype, cols),
        };
        let mut matrix = Matrix::with_capacity(precision, rows, cols);
        self.for_each_chunk(name, cols, |chunk| matrix.push_rows(chunk))?;
        Ok(matrix)
    }

    /// Hands a tensor's values out in order, in pieces of whole rows of `cols`.
    fn for_each_chunk(
        &mut self,
        name: &str,
        cols: usize,
        mut each: impl FnMut(&[f32]),
    ) -> Result<(), LoadError> {
        let info = self.info(name)?;
        let (dtype, total) = (info.ggml_dtype, info.shape.elem_count());
        let start = self.content.tensor_data_offset.saturating_add(info.offset);
        let (block, size) = (dtype.block_size(), dtype.type_size());
        if cols == 0 || !cols.is_multiple_of(block) {
            return Err(self.malformed(format!("the rows of tensor {name} do not fill its blocks")));
        }
        let step = (CHUNK_VALUES / cols).max(1) * cols;
        let read = |source| LoadError::Read { path: self.path.clone(), source };
        self.reader.seek(SeekFrom::Start(start)).map_err(read)?;
        let (mut raw, mut values) = (Vec::new(), Vec::with_capacity(step));
        let mut done = 0;
        while done < total {
            let count = step.min(total - done);
            raw.resize(count / block * size, 0);
            self.reader.read_exact(&mut raw).map_err(read)?;
            values.clear();
            numbers(dtype, &raw, &mut values).map_err(|e| {
                self.malformed(format!("tensor {name}: {}", first_line(&e.to_string())))
            })?;
            each(&values);
            done += count;
        }
        Ok(())
    }
}

/// Appends the numbers that stored blocks stand for. The usual formats are read here, the others by
/// candle.
fn numbers(dtype: GgmlDType, raw: &[u8], out: &mut Vec<f32>) -> candle_core::Result<()> {
    let half = |at: &[u8]| f16::from_le_bytes([at[0], at[1]]).to_f32();
    let nibbles = |packed: &[u8], out: &mut Vec<f32>, number: &dyn Fn(u8) -> f32| {
        out.extend(packed.iter().map(|byte| number(byte & 0xf)));
        out.extend(packed.iter().map(|byte| number(byte >> 4)));
    };
    match dtype {
        GgmlDType::F32 => {
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            out.extend(raw.chunks_exact(4).map(number));
        }
        GgmlDType::F16 => out.extend(raw.chunks_exact(2).map(half)),
        GgmlDType::Q8_0 => {
            for block in raw.chunks_exact(2 + 32) {
                let scale = half(block);
                out.extend(block[2..].iter().map(|n| f32::from(n.cast_signed()) * scale));
            }
        }
        GgmlDType::Q4_0 => {
            for block in raw.chunks_exact(2 + 16) {
                let scale = half(block);
                nibbles(&block[2..], out, &|n| (f32::from(n) - 8.0) * scale);
            }
        }
        GgmlDType::Q4_1 => {
            for block in raw.chunks_exact(4 + 16) {
                let (scale, least) = (half(block), half(&block[2..]));
                nibbles(&block[4..], out, &|n| f32::from(n) * scale + least);
            }
        }
        other => {
            let count = raw.len() / other.type_size() * other.block_size();
            let tensor = ggml_file::qtensor_from_ggml(other, raw, vec![count], &Device::Cpu)?;
            out.extend(tensor.dequantize(&Device::Cpu)?.to_vec1::<f32>()?);
        }
    }
    Ok(())
}

/// The precision a stored matrix is computed in. Formats without a fast kernel here become Q8_0,
/// which loses next to nothing against any of them.
fn held_as(dtype: GgmlDType, cols: usize) -> Precision {
    match dtype {
        GgmlDType::F32 => Precision::F32,
        GgmlDType::F16 => Precision::F16,
        GgmlDType::Q4_0 => Precision::Q4,
        _ if cols.is_multiple_of(32) => Precision::Q8,
        _ => Precision::F32,
    }
}

fn integer(value: &Value) -> Option<usize> {
    match *value {
        Value::U8(n) => Some(n.into()),
        Value::U16(n) => Some(n.into()),
        Value::U32(n) => usize::try_from(n).ok(),
        Value::U64(n) => usize::try_from(n).ok(),
        Value::I8(n) => usize::try_from(n).ok(),
        Value::I16(n) => usize::try_from(n).ok(),
        Value::I32(n) => usize::try_from(n).ok(),
        Value::I64(n) => usize::try_from(n).ok(),
        _ => None,
    }
}

/// candle appends a backtrace to some errors.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_blocks_mean_what_candle_reads_in_them() {
        // Values of both signs and sizes, in whole blocks.
        let values: Vec<f32> = (0..256u16).map(|i| (f32::from(i) - 100.0) * 0.37).collect();
        let all =
            [GgmlDType::F32, GgmlDType::F16, GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::Q4_1];
        for dtype in all {
            let tensor = Tensor::from_vec(values.clone(), 256, &Device::Cpu).expect("a tensor");
            let stored = QTensor::quantize(&tensor, dtype).expect("quantised");
            let expected = stored.dequantize(&Device::Cpu).expect("read").to_vec1::<f32>();
            let mut got = Vec::new();
            numbers(dtype, &stored.data().expect("bytes"), &mut got).expect("read");
            assert_eq!(got, expected.expect("numbers"), "{dtype:?}");
        }
    }
}
