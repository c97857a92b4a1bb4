//! From `embedContent` and `batchEmbedContents` to an embeddings request.

use bytes::Bytes;
use cutover_wire::{Endpoint, Fault};

use super::Shape;
use super::content::text_of;
use super::fields::FIELDS;
use super::names::{many, member, object};
use super::request::{body_of, model};
use crate::inbound::{Asked, Back, Inbound, RequestFacts, StoreNeeds, WayBack};
use crate::losses::Losses;
use crate::origins::Origins;
use crate::pivot::Chat;
use crate::read::{At, Obj};
use crate::write;

const ROOT: At<'static> = At::Root;

/// What is embedded, and how wide its vectors shall be.
#[derive(Default)]
struct Wanted {
    texts: Vec<String>,
    width: Option<i64>,
}

impl Wanted {
    fn take(&mut self, request: &Obj<'_>, at: At<'_>, losses: &mut Losses) -> Result<(), Fault> {
        request.get("model");
        let here = at.key("content");
        let content = member(request, at, "content")?.ok_or_else(|| here.missing())?;
        let width = request.whole(at, "outputDimensionality")?;
        if !self.texts.is_empty() && width != self.width {
            let why = "must be the same in all requests";
            return Err(at.key("outputDimensionality").invalid(why));
        }
        self.width = width;
        self.texts.push(text_of(&content, here)?);
        losses.rest(&content, "content.", here)?;
        losses.rest(request, "", at)
    }
}

/// `:embedContent`.
pub(super) fn one(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let model = model(facts)?;
    let root = body_of(body)?;
    let mut losses = facts.losses(FIELDS);
    let mut wanted = Wanted::default();
    wanted.take(&root, ROOT, &mut losses)?;
    Ok(asked((model, facts, body), (Shape::Embedding, &wanted), losses))
}

/// `:batchEmbedContents`.
pub(super) fn many_of(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let model = model(facts)?;
    let root = body_of(body)?;
    let mut losses = facts.losses(FIELDS);
    let mut wanted = Wanted::default();
    let here = ROOT.key("requests");
    for (index, raw) in many(&root, ROOT, "requests")?.into_iter().enumerate() {
        let at = here.item(index);
        wanted.take(&object(raw, at)?, at, &mut losses)?;
    }
    if wanted.texts.is_empty() {
        return Err(here.missing());
    }
    losses.rest(&root, "", ROOT)?;
    Ok(asked((model, facts, body), (Shape::Embeddings, &wanted), losses))
}

fn asked(
    (model, facts, body): (&str, &RequestFacts<'_>, &Bytes),
    (shape, wanted): (Shape, &Wanted),
    mut losses: Losses,
) -> Asked {
    let sent = write::object(|j| {
        j.put("model", model);
        j.put_array("input", |j| wanted.texts.iter().for_each(|text| j.text(text)));
        j.put("encoding_format", "float");
        if let Some(width) = wanted.width {
            j.key("dimensions").raw(&width.to_string());
        }
    });
    Asked::Infer(Box::new(Inbound {
        endpoint: Endpoint::Embeddings,
        body: Bytes::from(sent),
        stream: false,
        refused: losses.take_refused(),
        losses: losses.into_list(),
        needs: StoreNeeds::default(),
        origins: Origins::of(&Chat::default(), body, FIELDS),
        way_back: WayBack {
            kind: Back::Gemini(shape),
            model: model.to_owned(),
            id: facts.id.to_owned(),
            created: facts.now,
        },
    }))
}
