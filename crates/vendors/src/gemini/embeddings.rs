//! From an embeddings request to `batchEmbedContents`, and the vectors back.

use std::borrow::Cow;

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::openai::embeddings::{Encoding, Response, Vector};
use cutover_wire::{Fault, Unsupported};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::path;
use crate::Fate::{Dropped, Mapped, Ours, Refused};
use crate::Field;
use crate::Sent;
use crate::chat;
use crate::losses::Losses;
use crate::read::{self, At, Obj, Text};
use crate::write;

const ROOT: At<'static> = At::Root;

/// What becomes of each field of an embeddings request.
pub static FIELDS: &[Field] = &[
    Field::new("model", Mapped("requests[].model"), "and the path"),
    Field::new("input", Mapped("requests[].content"), "each text is one"),
    Field::new("input[].tokens", Refused, "Gemini embeds texts, not tokens"),
    Field::new(
        "dimensions",
        Mapped("requests[].outputDimensionality"),
        "shortened vectors may not have length 1",
    ),
    Field::new("encoding_format", Ours, "Gemini gives numbers; base64 is made of them here"),
    Field::new("user", Dropped, "the Gemini API has no such setting"),
];

/// Converts a request.
pub fn request(body: &[u8], unsupported: Unsupported) -> Result<(Sent, Encoding), Fault> {
    let root = Obj::of_body(body)?;
    let mut losses = Losses::new(FIELDS, unsupported).and_nothing_else();
    let model = root.need_text(ROOT, "model")?;
    let model = model.decode();
    let encoding = match &*root.word(ROOT, "encoding_format")? {
        "" | "float" => Encoding::Float,
        "base64" => Encoding::Base64,
        _ => return Err(ROOT.key("encoding_format").invalid("must be float or base64")),
    };
    root.whole(ROOT, "dimensions")?;
    let width = root.get("dimensions");
    let texts = texts(&root, &mut losses)?;
    losses.rest(&root, "", ROOT)?;
    let name = match &*model {
        full if full.starts_with("models/") || full.starts_with("tunedModels/") => Cow::from(full),
        short => Cow::from(format!("models/{short}")),
    };
    let sent = write::object(|j| {
        j.put_array("requests", |j| {
            for text in &texts {
                j.object(|j| {
                    j.put("model", &name);
                    j.put_object("content", |j| {
                        j.put_array("parts", |j| j.object(|j| text.write(j.key("text"))));
                    });
                    j.put_raw("outputDimensionality", width);
                });
            }
        });
    });
    let path = path(&model, "batchEmbedContents");
    Ok((Sent { path, body: Bytes::from(sent), losses: losses.into_list() }, encoding))
}

fn texts<'a>(root: &Obj<'a>, losses: &mut Losses) -> Result<Vec<Text<'a>>, Fault> {
    let at = ROOT.key("input");
    let raw = root.get("input").ok_or_else(|| at.missing())?;
    if raw.starts_with('"') {
        return Ok(vec![Text::read(raw, at)?]);
    }
    let mut texts = Vec::new();
    for (index, raw) in read::list(raw, at)?.into_iter().enumerate() {
        if raw.starts_with('[') || raw.starts_with(|c: char| c.is_ascii_digit()) {
            losses.refuse("input[].tokens", at)?;
        }
        texts.push(Text::read(raw, at.item(index))?);
    }
    if texts.is_empty() {
        return Err(at.invalid("must hold a text"));
    }
    Ok(texts)
}

/// An answer to either of Gemini's methods of embedding.
#[derive(Deserialize)]
struct Embedded<'a> {
    #[serde(default, borrow)]
    embeddings: Vec<Values<'a>>,
    #[serde(default, borrow)]
    embedding: Option<Values<'a>>,
}

#[derive(Deserialize)]
struct Values<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

/// Turns an answer (status 200) into one to an embeddings request. Gemini does not tell what it took: `tokens` is
/// said for it.
pub fn answer(
    body: &[u8],
    (model, encoding): (&str, Encoding),
    tokens: u64,
) -> Result<Bytes, Fault> {
    let read: Embedded<'_> = serde_json::from_slice(body).map_err(|_| chat::unreadable())?;
    let vectors: Option<Vec<Vector>> = read
        .embeddings
        .iter()
        .chain(&read.embedding)
        .map(|vector| Vector::of_list(vector.values, encoding))
        .collect();
    let vectors = vectors.filter(|vectors| !vectors.is_empty()).ok_or_else(chat::unreadable)?;
    serde_json::to_vec(&Response::new(model, vectors, tokens))
        .map(Bytes::from)
        .map_err(|_| Fault::new(Code::Internal, "the vectors could not be written"))
}
