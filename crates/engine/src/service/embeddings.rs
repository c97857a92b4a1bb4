//! `/v1/embeddings`.

use bytes::Bytes;
use cutover_wire::openai::completions::Prompt;
use cutover_wire::openai::embeddings::{Request, Response, Vector};
use cutover_wire::openai::{parse, write};
use cutover_wire::{Endpoint, Fault};

use super::fault::{self, unsupported};
use super::{Answer, Service};

pub(super) async fn call(service: &Service, body: &Bytes) -> Result<Answer, Fault> {
    let request: Request = parse(body)?;
    let (model, embedder) = service.embedder(&request.model)?;
    let texts = match request.input {
        Prompt::Texts(texts) => texts,
        Prompt::Tokens(_) => {
            return Err(unsupported(
                "input",
                "tokens of another model's vocabulary mean nothing to it; send text",
            ));
        }
    };
    let own = embedder.dimensions();
    if request.dimensions.is_some_and(|wanted| usize::try_from(wanted) != Ok(own)) {
        return Err(unsupported("dimensions", &format!("its model only makes {own} dimensions")));
    }
    let embeddings = embedder.embed(texts).await.map_err(|e| fault::of(e, Endpoint::Embeddings))?;
    let encoding = request.encoding_format.unwrap_or_default();
    let vectors = embeddings.vectors.into_iter().map(|v| Vector::new(v, encoding)).collect();
    Ok(super::json(write(&Response::new(&model, vectors, embeddings.tokens as u64))))
}
