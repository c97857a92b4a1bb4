//! Requests as a target's upstream is sent them.

use bytes::{Bytes, BytesMut};
use cutover_evals::Schema;
use cutover_units::Code;
use cutover_vendors::names::{self, Rule};
use cutover_vendors::{self as vendors, Defaults, anthropic, gemini};
use cutover_wire::adapt::adapt;
use cutover_wire::providers::Dialect;
use cutover_wire::{Endpoint, Fault, Head, Outgoing, Target};

/// The request as a target's upstream is sent it.
pub fn adapted(head: &Head, body: &Bytes, target: &Target) -> Result<Outgoing, Fault> {
    let mut outgoing = adapt(head, body, target)?;
    check_schema(&outgoing)?;
    let named = Rule::of(head, target).and_then(|rule| names::taken(&outgoing.body, rule));
    let chat = || named.as_ref().map_or_else(|| whole(&outgoing.body), |(chat, _)| chat.clone());
    let sent = match outgoing.reply.provider.dialect {
        Dialect::OpenAi => {
            return Ok(vendors::without_others(renamed(outgoing, named), head, target));
        }
        Dialect::Ollama => return Ok(outgoing),
        Dialect::Anthropic => {
            let defaults = Defaults::of(body, &target.settings);
            anthropic::request(&chat(), target.unsupported, &defaults)
        }
        Dialect::Gemini if head.endpoint == Endpoint::Embeddings => {
            note_estimate(head, &mut outgoing);
            let sent = gemini::embeddings::request(&whole(&outgoing.body), target.unsupported);
            sent.map(|(sent, encoding)| {
                outgoing.reply.encoding = encoding;
                sent
            })
        }
        Dialect::Gemini => gemini::request(&chat(), target.unsupported),
    };
    let sent = sent.map_err(|fault| in_senders_places(fault, body, &outgoing))?;
    let mut outgoing = renamed(outgoing, named);
    outgoing.path = sent.path;
    outgoing.body = vec![sent.body];
    outgoing.losses.extend(sent.losses);
    Ok(outgoing)
}

/// An answer that is checked here against the client's schema: one that nothing can be checked against is the
/// client's to mend, and no model need be asked.
fn check_schema(outgoing: &Outgoing) -> Result<(), Fault> {
    let wanted = outgoing.reply.repair.as_ref().and_then(|repair| repair.schema.as_deref());
    wanted.map_or(Ok(()), |schema| Schema::of(schema).map(drop)).map_err(|problem| {
        const FIELD: &str = "response_format.json_schema.schema";
        Fault::of(Code::InvalidValue, FIELD, format!("the JSON schema {}", problem.why))
    })
}

/// A request with other names of functions, if it has any.
fn renamed(mut outgoing: Outgoing, named: Option<(Bytes, names::Pairs)>) -> Outgoing {
    if let Some((body, pairs)) = named {
        outgoing.body = vec![body];
        outgoing.reply.names = pairs.into();
    }
    outgoing
}

/// Gemini does not tell what embeddings took.
pub(crate) fn note_estimate(head: &Head, outgoing: &mut Outgoing) {
    if head.endpoint == Endpoint::Embeddings {
        outgoing.reply.unasked_prompt_tokens = Some(head.est_prompt_tokens);
    }
}

/// An error about a request as it is sent, with the messages' places in the one that it was made of.
pub fn in_senders_places(fault: Fault, sent: &Bytes, outgoing: &Outgoing) -> Fault {
    vendors::in_senders_places(fault, sent, &whole(&outgoing.body))
}

/// Whether a target takes marks for caching and signatures of calls.
pub fn takes_marks(target: &Target) -> bool {
    matches!(target.provider.dialect, Dialect::Anthropic | Dialect::Gemini)
}

fn whole(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [one] => one.clone(),
        many => {
            let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
            for piece in many {
                all.extend_from_slice(piece);
            }
            all.freeze()
        }
    }
}
