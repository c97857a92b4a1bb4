//! Writing a model in another weight format.
//!
//! The engine itself needs no such file: it converts while loading. Writing one serves to give
//! another engine exactly the weights that this one computes with.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Value};

use crate::gguf::Gguf;
use crate::{LoadError, WeightFormat};

/// Writes `from` to `to` with its block matrices in another format. The file appears whole or not at
/// all.
pub fn requantise(from: &Path, to: &Path, target: WeightFormat) -> Result<(), LoadError> {
    let mut file = Gguf::open(from)?;
    let mut names: Vec<(u64, String)> =
        file.content().tensor_infos.iter().map(|(n, i)| (i.offset, n.clone())).collect();
    names.sort_unstable();
    let mut tensors = Vec::with_capacity(names.len());
    for (_, name) in names {
        let (stored, dims) = file.format(&name)?;
        let format = target.of_tensor(&name);
        let wanted = match *dims {
            [_, cols] if format.fits(cols) => format.dtype(),
            _ => stored,
        };
        let tensor =
            if wanted == stored { file.tensor(&name)? } else { file.converted(&name, wanted)? };
        tensors.push((name, tensor));
    }
    let file_type = Value::U32(target.file_type());
    let mut metadata: Vec<(&str, &Value)> = file
        .content()
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), if k == "general.file_type" { &file_type } else { v }))
        .collect();
    metadata.sort_unstable_by_key(|(k, _)| (*k != "general.architecture", *k));
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    write_whole(to, |out| {
        gguf_file::write(out, &metadata, &tensors).map_err(|e| std::io::Error::other(e.to_string()))
    })
    .map_err(|source| LoadError::Write { path: to.to_owned(), source })
}

fn write_whole(
    to: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let beside = to.with_extension(format!("part-{}", std::process::id()));
    let mut out = BufWriter::new(fs::File::create(&beside)?);
    let written = write(&mut out).and_then(|()| out.flush());
    match written.and_then(|()| fs::rename(&beside, to)) {
        Ok(()) => Ok(()),
        Err(e) => {
            drop(fs::remove_file(&beside));
            Err(e)
        }
    }
}
