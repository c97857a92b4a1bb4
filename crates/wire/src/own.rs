//! A vendor's own API on both sides: a client of Anthropic's or of Google's in front of an upstream that speaks
//! the same. The client's bytes pass; what the variant sets is edited by range, and so are the answer's names.
//!
//! What decides about a request (model, stream, limits) is read from its converted form as always. What is
//! sent is the body that the client wrote, unless something of the variant's or in the body needs the
//! conversion: then [`request`] says nothing, and the converted form is sent.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use crate::adapt::{Loss, dropped};
use crate::head::Key;
use crate::json::{self, cut};
use crate::mint::Mint;
use crate::providers::{Dialect, NEVER_FORWARDED, claude};
use crate::reply::openai::{Patches, patch};
use crate::stream::split::{Data, Event, Framing, Splitter};
use crate::structured::StructuredOutput;
use crate::target::Target;

pub mod ollama;
pub mod responses;

/// The signature of thinking that a chat engine made. Clients send it back as they got it, and no vendor would
/// take it.
pub const SIGNATURE: &str = "cutover";

/// What stands between a call's id and a signature that had no other room. No vendor sees it.
pub const SEPARATOR: &str = "_gts_";

/// The longest event taken from an upstream.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is known of a body in which nothing was met that another upstream or cutover wrote: no signature of thinking
/// that is not a vendor's, no id with a [`SEPARATOR`]. So it need not be searched.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Where its members' names, without their quotes, and values lie.
    pub members: Vec<(Range<usize>, Range<usize>)>,
    /// Whether its conversation has calls of tools.
    pub calls: bool,
    /// Whether its conversation has earlier reasoning.
    pub reasoning: bool,
    /// Solid bytes of its prompt ([`crate::context`]), of Ollama's alone.
    pub solid: u64,
}

/// A body that was read before, so that it is JSON, and what is known of it.
#[derive(Clone, Copy)]
pub struct Written<'b>(pub &'b Bytes, pub Option<&'b Layout>);

impl<'b> Written<'b> {
    /// Its text and members. `None`: it holds what a vendor must not see.
    fn read(self) -> Option<(&'b str, Members<'b>)> {
        let Self(body, layout) = self;
        let text = json::text(body)?;
        let Some(layout) = layout else {
            let foreign = memmem::find(body, SEPARATOR.as_bytes()).is_some();
            return if foreign { None } else { Some((text, Members::cut(text)?)) };
        };
        let part = |range: &Range<usize>| text.get(range.clone());
        let all = layout.members.iter();
        let all = all.map(|(name, raw)| Some((Cow::Borrowed(part(name)?), part(raw)?)));
        Some((text, Members(all.collect::<Option<_>>()?)))
    }
}

/// The body for a target that speaks the client's own dialect, but for Ollama's ([`ollama::outgoing`]) and Responses
/// ([`responses::request`]). `None`: the converted form must be sent.
pub fn request(written: Written<'_>, asked: &str, target: &Target) -> Option<Vec<Bytes>> {
    if !adds_only_defaults(target) {
        return None;
    }
    let Written(body, layout) = written;
    let quoted = json::string(SIGNATURE);
    let signed = || memmem::find(body, quoted.as_bytes()).is_some() || is_unsigned(body);
    if layout.is_none() && signed() {
        return None;
    }
    let (text, root) = written.read()?;
    let forbids = root.0.iter().any(|(key, _)| is_forbidden(key));
    if forbids || !root.leaves_ours(target.provider.dialect) {
        return None;
    }
    let model = target.model.as_deref().unwrap_or(asked);
    let mut patches = Patches::new();
    match target.provider.dialect {
        Dialect::Anthropic => {
            rename(text, &root, (model, ""), &mut patches);
            let mut own = defaults(target, ["temperature", "top_p", "max_tokens", ""]);
            own.retain(|(name, _)| !clashes(&root, target, name));
            root.complete((text, text), &own, &mut patches);
        }
        Dialect::Gemini => {
            let calls = layout.map_or_else(|| may_call(body), |known| known.calls);
            if calls && !is_signed(&root, model) {
                return None;
            }
            gemini(text, &root, (model, target), &mut patches);
        }
        Dialect::OpenAi | Dialect::Ollama => return None,
    }
    Some(pieces(body, patches))
}

/// Whether no client may set a field.
fn is_forbidden(name: &str) -> bool {
    let key = Key::from_name(name);
    key != Key::Other && NEVER_FORWARDED.iter().any(|rule| rule.key == key)
}

/// Whether a signature of thinking is empty, as of thinking that another upstream made: no vendor takes it.
fn is_unsigned(body: &[u8]) -> bool {
    const NAME: &[u8] = b"\"signature\"";
    memmem::find_iter(body, NAME).any(|at| {
        let after = body.get(at + NAME.len()..).unwrap_or_default().trim_ascii_start();
        let value = after.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
        value.starts_with(b"\"\"")
    })
}

/// Whether Anthropic would refuse a variant's own sampling beside what the client wrote: with thinking it takes none,
/// nor from some models on, and of `temperature` and `top_p` one.
fn clashes(root: &Members<'_>, target: &Target, name: &str) -> bool {
    let thinks = || {
        let thinking = root.get(&["thinking"]).and_then(Members::cut);
        let kind = thinking.as_ref().and_then(|thinking| thinking.get(&["type"]));
        kind.is_some_and(|kind| kind != "\"disabled\"")
    };
    let never = || target.model.as_deref().is_some_and(|model| !claude::of(model).samples);
    match name {
        "temperature" => root.get(&["top_p"]).is_some() || thinks() || never(),
        "top_p" => {
            let warm =
                target.settings.temperature.is_some() || root.get(&["temperature"]).is_some();
            warm || thinks() || never()
        }
        _ => false,
    }
}

/// What of a variant's sampling [`request`] left out, since Anthropic would refuse it beside the client's own words.
pub fn left_out(body: &Bytes, target: &Target) -> Vec<Loss> {
    const CLASH: &str = "Anthropic takes none with thinking or from some models on, else one of temperature and top_p";
    let settings = &target.settings;
    let sets = settings.temperature.is_some() || settings.top_p.is_some();
    if target.provider.dialect != Dialect::Anthropic || !sets {
        return Vec::new();
    }
    let Some(root) = json::text(body).and_then(Members::cut) else { return Vec::new() };
    let own = defaults(target, ["temperature", "top_p", "", ""]);
    let lost = own.iter().filter(|(name, _)| root.get(&[name]).is_none());
    let lost = lost.filter(|(name, _)| clashes(&root, target, name));
    lost.map(|(name, _)| dropped(&format!("variant.{name}"), CLASH)).collect()
}

/// Whether all that a variant sets can be put beside the client's own words.
fn adds_only_defaults(target: &Target) -> bool {
    let settings = &target.settings;
    settings.framing.is_none()
        && settings.stop.is_empty()
        && settings.structured.is_none_or(|form| form == StructuredOutput::Native)
}

/// An object's members, keys decoded, values as they stand.
struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    /// Of an answer, which may be no JSON.
    fn of(text: &'a str) -> Option<Self> {
        if let Some(members) = json::sound_members(text.as_bytes()) {
            let borrowed = |(key, raw)| (Cow::Borrowed(key), raw);
            return Some(Self(members.into_iter().map(borrowed).collect()));
        }
        serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
        Self::cut(text)
    }

    /// Of a request that was read before, and of what stands in what was.
    fn cut(text: &'a str) -> Option<Self> {
        let members = cut::members(text.trim_ascii())?;
        let list = members.map(|(key, raw)| Some((cut::key(key)?, raw)));
        list.collect::<Option<_>>().map(Self)
    }

    fn get(&self, names: &[&str]) -> Option<&'a str> {
        let found = self.0.iter().find(|(key, _)| names.contains(&&**key));
        found.map(|(_, raw)| *raw).filter(|raw| *raw != "null")
    }

    /// Whether nothing is said that is the operator's to say: what its key has at the vendor's, and where answers
    /// are made. The conversion refuses it or leaves it out.
    fn leaves_ours(&self, dialect: Dialect) -> bool {
        const OURS: [&str; 4] = ["inference_geo", "thread", "user_profile_id", "workspace_id"];
        if dialect == Dialect::Gemini {
            let searches = |tool: &str| {
                Members::cut(tool).is_some_and(|t| t.get(&["fileSearch", "file_search"]).is_some())
            };
            return !elements(self.get(&["tools"])).into_iter().any(searches);
        }
        OURS.iter().all(|name| self.get(&[name]).is_none())
            && self.get(&["container"]).is_none_or(is_new_container)
    }

    /// Puts the members that are not there at the object's beginning.
    fn complete(
        &self,
        (whole, object): (&str, &str),
        wanted: &[(&str, String)],
        patches: &mut Patches,
    ) {
        let mut text = String::new();
        for (name, new) in wanted {
            // Google takes its names in both cases.
            let snake = snake(name);
            match self.0.iter().find(|(key, _)| key == name || *key == snake) {
                None => text.extend(["\"", name, "\":", new, ","]),
                // Null is nothing said.
                Some((_, raw)) if *raw == "null" => {
                    patches.push((json::range_in(whole, raw), new.clone()));
                }
                Some(_) => {}
            }
        }
        if self.0.is_empty() {
            text.pop();
        }
        if !text.is_empty() {
            let start = json::range_in(whole, object).start;
            let start = start + object.find('{').map_or(0, |at| at + 1);
            patches.push((start..start, text));
        }
    }
}

/// Whether a container is one that is yet to be made, of skills that everybody has.
fn is_new_container(raw: &str) -> bool {
    let Some(container) = Members::cut(raw) else { return false };
    let known = |skill: &str| {
        Members::cut(skill).is_some_and(|skill| skill.get(&["type"]) == Some("\"anthropic\""))
    };
    container.0.iter().all(|(key, raw)| key == "skills" || *raw == "null")
        && elements(container.get(&["skills"])).into_iter().all(known)
}

fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// What a variant sets where the request does not, by the names of `temperature`, `top_p`, the limit and the seed.
fn defaults(target: &Target, names: [&'static str; 4]) -> Vec<(&'static str, String)> {
    let settings = &target.settings;
    let values = [
        settings.temperature.map(|value| value.to_string()),
        settings.top_p.map(|value| value.to_string()),
        settings.max_tokens.map(|value| value.to_string()),
        settings.seed.map(|value| value.to_string()),
    ];
    let named = names.into_iter().zip(values).filter(|(name, _)| !name.is_empty());
    named.filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Gives the body's `model` the name that the upstream knows, where the body has one.
fn rename(whole: &str, object: &Members<'_>, (model, prefix): (&str, &str), patches: &mut Patches) {
    let Some(raw) = object.get(&["model"]) else { return };
    let new = json::string(&format!("{prefix}{}", model.strip_prefix(prefix).unwrap_or(model)));
    if raw != new {
        patches.push((json::range_in(whole, raw), new));
    }
}

fn gemini(text: &str, root: &Members<'_>, (model, target): (&str, &Target), patches: &mut Patches) {
    const MODELS: &str = "models/";
    let name = (model, if model.starts_with("tunedModels/") { "" } else { MODELS });
    rename(text, root, name, patches);
    for raw in elements(root.get(&["requests"])) {
        if let Some(request) = Members::cut(raw) {
            rename(text, &request, name, patches);
        }
    }
    if root.get(&["contents"]).is_none() {
        return;
    }
    let wanted = defaults(target, ["temperature", "topP", "maxOutputTokens", "seed"]);
    let config = root.get(&["generationConfig", "generation_config"]);
    match config.and_then(|raw| Some((raw, Members::cut(raw)?))) {
        Some((raw, config)) => config.complete((text, raw), &wanted, patches),
        None if !wanted.is_empty() => {
            let inner: Vec<_> =
                wanted.iter().map(|(name, raw)| format!("\"{name}\":{raw}")).collect();
            let config = [("generationConfig", format!("{{{}}}", inner.join(",")))];
            root.complete((text, text), &config, patches);
        }
        None => {}
    }
}

fn elements(raw: Option<&str>) -> Vec<&str> {
    raw.and_then(cut::elements).into_iter().flatten().collect()
}

/// Whether a body may hold calls of functions, as far as a look at it tells: by their name, or by letters written by number.
fn may_call(body: &[u8]) -> bool {
    [&b"functionCall"[..], b"function_call", b"\\u00"]
        .iter()
        .any(|mark| memmem::find(body, mark).is_some())
}

/// Whether the calls of earlier turns have the signatures that Gemini wants back, as far as it does: from its third
/// generation on, of the first call of each turn. Those of another upstream's have none.
fn is_signed(root: &Members<'_>, model: &str) -> bool {
    if gemini_generation(model) < 3 {
        return true;
    }
    elements(root.get(&["contents"])).into_iter().all(|content| {
        let parts = Members::cut(content).map(|content| elements(content.get(&["parts"])));
        let first = parts.unwrap_or_default().into_iter().find_map(|part| {
            let part = Members::cut(part)?;
            part.get(&["functionCall", "function_call"])?;
            Some(part)
        });
        first.is_none_or(|call| call.get(&["thoughtSignature", "thought_signature"]).is_some())
    })
}

/// The generation of a model of Google's: 3 of `gemini-3.1-pro`. One that does not say is a new one.
pub fn gemini_generation(model: &str) -> u32 {
    let name = model.rsplit('/').next().unwrap_or(model);
    let number = name.strip_prefix("gemini-").and_then(|rest| rest.split(['.', '-']).next());
    number.and_then(|number| number.parse().ok()).unwrap_or(3)
}

/// A body with its edits, in slices of the body. Without edits it is the body itself.
fn pieces(body: &Bytes, mut patches: Patches) -> Vec<Bytes> {
    if patches.is_empty() {
        return vec![body.clone()];
    }
    patches.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = Vec::with_capacity(2 * patches.len() + 1);
    let mut at = 0;
    for (range, new) in patches {
        out.push(body.slice(at..range.start));
        out.push(Bytes::from(new));
        at = range.end;
    }
    out.push(body.slice(at..));
    out.retain(|piece| !piece.is_empty());
    out
}

/// An answer, or an event's data, with our id and the client's name of the model in place of the upstream's.
/// `None`: it holds neither.
pub fn named(dialect: Dialect, text: &str, mint: &Mint) -> Option<Vec<u8>> {
    // Most events of Responses are pieces, which name nobody.
    if dialect == Dialect::OpenAi && memmem::find(text.as_bytes(), b"\"object\"").is_none() {
        return None;
    }
    let mut patches = Patches::new();
    let root = Members::of(text)?;
    let mut set = |object: &Members<'_>, name: &str, value: &str| {
        if let Some(raw) = object.get(&[name]).filter(|raw| raw.starts_with('"')) {
            patches.push((json::range_in(text, raw), json::string(value)));
        }
    };
    match dialect {
        Dialect::Gemini => {
            set(&root, "responseId", &mint.id);
            set(&root, "modelVersion", &mint.model);
        }
        // The first event of a stream holds the message; a whole answer is one.
        Dialect::Anthropic => {
            let inner = root.get(&["message"]).and_then(Members::cut);
            let message = inner.as_ref().unwrap_or(&root);
            set(message, "id", &mint.id);
            set(message, "model", &mint.model);
        }
        Dialect::Ollama => set(&root, "model", &mint.model),
        Dialect::OpenAi => patches = responses::names(text, &root, mint),
    }
    (!patches.is_empty()).then(|| patch(text, patches))
}

/// Cuts an upstream's stream into its events, each of which the client may get as it came. No `Debug`: it holds the
/// answer.
pub struct Events {
    dialect: Dialect,
    names: Option<Mint>,
    splitter: Splitter,
    records: Vec<Range<usize>>,
}

impl Events {
    /// Of a stream in this dialect; with names that replace the upstream's in [`Events::for_client`].
    pub fn new(dialect: Dialect, names: Option<Mint>) -> Self {
        let splitter = Splitter::new(Framing::Events, EVENT_BYTES_MAX);
        Self { dialect, names, splitter, records: Vec::new() }
    }

    /// The events that a frame makes whole. What is longer than an event may be is not among them: whoever reads
    /// the stream besides knows it for broken.
    pub fn cut(&mut self, frame: Bytes) -> Vec<Bytes> {
        let (whole, _) = self.splitter.feed(frame, &mut self.records);
        self.records.iter().map(|range| whole.slice(range.clone())).collect()
    }

    /// What is left at the stream's end: an event whose end mark is missing, with one.
    pub fn rest(&mut self) -> Option<Bytes> {
        let rest = self.splitter.rest();
        let said = !rest.trim_ascii().is_empty();
        said.then(|| Bytes::from([&rest[..], b"\n\n"].concat()))
    }

    /// An event as the client gets it; none for one without data where clients know no such.
    pub fn for_client(&self, event: Bytes) -> Option<Bytes> {
        let read = Event::read(&event);
        let (line, at) = match &read.data {
            // Google's own SDK takes a comment for an answer that cannot be read.
            Data::None if self.dialect == Dialect::Gemini => return None,
            Data::Line(line, at) => (*line, *at),
            Data::None | Data::Joined(_) => return Some(event),
        };
        let new = self.names.as_ref().and_then(|mint| named(self.dialect, json::text(line)?, mint));
        let (before, after) = (event.get(..at), event.get(at + line.len()..));
        let new = match (new, before, after) {
            (Some(new), Some(before), Some(after)) => Some([before, &new, after].concat()),
            _ => None,
        };
        Some(new.map_or_else(|| event.clone(), Bytes::from))
    }
}

#[cfg(test)]
mod tests;
