//! Whole answers.

use std::cell::OnceCell;

use bytes::Bytes;
use cutover_evals::{Allowance, Schema};
use cutover_units::Millis;
use cutover_vendors::{Turned, anthropic, gemini, names, responses};
use cutover_wire::own;
use cutover_wire::providers::Dialect;
use cutover_wire::structured::repair;
use cutover_wire::{
    Endpoint, Fault, Loss, Mint, Received, Reply, ReplyPlan, UpstreamFault, Usage, read_reply,
};

/// The longest error that is read. One that quotes the request that it refuses is as long as a client wants, and takes many
/// times that while it is read.
const ERROR_BYTES_MAX: usize = 1 << 20;

/// What an error is read as that is longer: what it is, its status says.
pub const TOO_LONG: &[u8] =
    br#"{"error":{"message":"the upstream's error is too long to be read"}}"#;

/// Reads a whole answer; tells its status, too, as it would be in the OpenAI dialect.
pub fn read(
    plan: &ReplyPlan,
    mint: &Mint,
    answer: Received<'_>,
) -> (u16, Result<Reply, UpstreamFault>) {
    let good = (200..300).contains(&answer.status);
    let own = (good && plan.own).then(|| answer.body.clone());
    let (mut received, mut wait, mut losses) = (answer, None::<String>, Vec::new());
    // A proxy's web page says nothing in the vendor's words: `wire` knows it for what it is.
    let page = !good && received.body.trim_ascii_start().starts_with(b"<");
    // An answer that is none becomes one that `wire` cannot read.
    match plan.provider.dialect {
        _ if page => {}
        _ if !good && received.body.len() > ERROR_BYTES_MAX => {
            received.body = Bytes::from_static(TOO_LONG);
        }
        Dialect::OpenAi if good && plan.responses => {
            received.body = responses::answer(&received.body, created(mint)).unwrap_or_default();
        }
        Dialect::OpenAi | Dialect::Ollama => {}
        Dialect::Anthropic if good => {
            (received.body, losses) = turned(anthropic::answer(&received.body, created(mint)));
        }
        Dialect::Anthropic => {
            (received.status, received.body) = anthropic::error(received.status, &received.body);
        }
        Dialect::Gemini if good && plan.endpoint == Endpoint::Embeddings => {
            let tokens = plan.unasked_prompt_tokens.unwrap_or(0);
            let shown = (&*mint.model, plan.encoding);
            let read = gemini::embeddings::answer(&received.body, shown, tokens);
            received.body = read.unwrap_or_default();
        }
        Dialect::Gemini if good => {
            (received.body, losses) = turned(gemini::answer(&received.body, created(mint)));
        }
        Dialect::Gemini => {
            let told = gemini::error(received.status, &received.body);
            (received.status, received.body) = (told.status, told.body);
            wait = told.retry_after_ms.map(|wait| wait.to_string());
        }
    }
    if good && !plan.names.is_empty() {
        received.body = names::back(&plan.names, &received.body).into_owned().into();
    }
    let Received { status, content_type, retry_after, retry_after_ms, date, body } = received;
    let retry_after_ms = wait.as_deref().or(retry_after_ms);
    let received = Received { status, content_type, retry_after, retry_after_ms, date, body };
    let reply = read_reply(plan, mint, received).map(|reply| {
        let untold =
            plan.provider.dialect == Dialect::Gemini && plan.endpoint == Endpoint::Embeddings;
        let usage =
            reply.usage.map(|usage| Usage { estimated: usage.estimated || untold, ..usage });
        // What the client gets as the vendor wrote it has lost nothing.
        losses.retain(|_| own.is_none());
        Reply { own: own.map(|own| own_names(plan, mint, own)), usage, losses, ..reply }
    });
    (status, reply.and_then(|reply| repaired(plan, reply)))
}

/// What a vendor's answer was turned into; nothing that can be read, where it was none.
fn turned(answer: Result<Turned, Fault>) -> (Bytes, Vec<Loss>) {
    answer.map_or_else(|_| Default::default(), |turned| (turned.body, turned.losses))
}

/// An answer in the upstream's own words, with the names that the client shall see.
fn own_names(plan: &ReplyPlan, mint: &Mint, body: Bytes) -> Bytes {
    let dialect = plan.provider.dialect;
    if dialect == Dialect::Ollama {
        return own::ollama::answer(plan, mint, &body);
    }
    let named = plan.mint.then(|| {
        own::named(dialect, std::str::from_utf8(&body).ok()?, &dialects_mint(dialect, mint))
    });
    named.flatten().map_or(body, Bytes::from)
}

/// A good answer in the form that was asked for: the one JSON object, taken out of the text and checked against the
/// client's schema. As it came where the engine holds the form.
fn repaired(plan: &ReplyPlan, reply: Reply) -> Result<Reply, UpstreamFault> {
    match &plan.repair {
        None => Ok(reply),
        Some(wanted) => {
            // Compiled when the first object is found, for all of them; and they share what may be done for them.
            let (schema, allowance) = (OnceCell::new(), Allowance::default());
            repair(wanted, reply, &|text, value| {
                let schema = schema.get_or_init(|| Schema::of(text).ok()).as_ref();
                schema.is_some_and(|schema| schema.accepts(value, &allowance))
            })
        }
    }
}

/// Our names as a dialect's clients know them: Anthropic's ids say what they are of.
pub(crate) fn dialects_mint(dialect: Dialect, mint: &Mint) -> Mint {
    let bare = mint.id.split_once('-').map_or(&*mint.id, |(_, bare)| bare);
    let prefix = match dialect {
        Dialect::Anthropic => "msg_",
        Dialect::OpenAi => "resp_",
        Dialect::Gemini | Dialect::Ollama => "",
    };
    Mint { id: format!("{prefix}{bare}"), ..mint.clone() }
}

pub(crate) fn created(mint: &Mint) -> Millis {
    Millis(mint.created.saturating_mul(1_000))
}
