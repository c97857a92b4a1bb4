//! Ollama's own API on both sides: its client's bytes pass, and the upstream's lines come back as they are.
//!
//! What is the operator's is written over, as the conversion has it: how long the context is and what else of the
//! options makes Ollama load a model anew, how long the model stays, and that no prompt is cut. What the client said
//! of it is reported. A variant's settings stand where the client said nothing; nothing else is made of what it left
//! open, so that the model file's own values hold.
//!
//! Invariants: a model is never loaded anew for what a client wrote; a line that says an error or belongs to an answer
//! that is none never passes. What would be refused goes by conversion, which says so.

use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;
use cutover_json::solid::solid_json;

use super::{
    Members, Written, adds_only_defaults, defaults, elements, is_forbidden, named, pieces,
};
use crate::adapt::{Loss, Outgoing, ReplyPlan, dropped, plan};
use crate::endpoint::Endpoint;
use crate::head::Head;
use crate::json::{self, cut};
use crate::mint::Mint;
use crate::ollama::answer::spoken_call;
use crate::ollama::request::{keep_alive, think_value};
use crate::ollama::spoken;
use crate::openai::chat::CallOut;
use crate::providers::Dialect;
use crate::reply::openai::{Patches, patch};
use crate::target::Target;

/// Why a client does not choose how a model is loaded.
pub const OPERATOR: &str = "how a model is loaded is the operator's to configure";
/// Why it does not have a prompt cut.
pub const NO_CUT: &str = "a prompt that does not fit is an error, never cut in silence";
/// Why it does not choose what becomes of a full context.
pub const NO_SHIFT: &str = "what an engine does with a full context is the operator's";

/// The routes on which the client's own words pass.
pub const ROUTES: [&str; 3] = ["/api/chat", "/api/generate", EMBED];
const EMBED: &str = "/api/embed";

/// Options that decide how a model is loaded, or mean something only where a prompt may be cut.
const LOADING: [&str; 14] = [
    NUM_CTX,
    "num_keep",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "use_mmap",
    "use_mlock",
    "numa",
    "low_vram",
    "draft_num_predict",
    "f16_kv",
    "logits_all",
    "vocab_only",
];
const NUM_CTX: &str = "num_ctx";

/// A request as an Ollama is sent it, in its client's own words, and to the route that it asked. The head and body are those of the converted form. `None`: that form must be sent.
pub fn outgoing(
    (written, path): (Written<'_>, &'static str),
    (head, body): (&Head, &Bytes),
    target: &Target,
) -> Option<Outgoing> {
    if !adds_only_defaults(target) {
        return None;
    }
    let (text, members) = written.read()?;
    if members.0.iter().any(|(key, _)| !is_plain(key) || is_forbidden(key)) {
        return None;
    }
    if is_refused((head, body), &members, target) {
        return None;
    }
    let mut reply = plan(head, target);
    reply.own = true;
    let known = written.1.map(|layout| layout.solid);
    reply.prompt_bytes = known.unwrap_or_else(|| prompt_bytes(&members));
    reply.must_be_whole = !target.settings.ollama.truncate;
    reply.spoken_tools = spoken_tools(&members).into();
    let mut losses = Vec::new();
    let mut root = Object::new(text, members);
    edit(&mut root, head, target, &mut losses);
    Some(Outgoing { path: path.into(), body: pieces(written.0, root.finish()), losses, reply })
}

/// Whether a name is written as Ollama's are. It takes them in any case, so that another might say again, and
/// differently, what was read here; those that begin with an underscore are for its makers.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(plain) && !name.starts_with('_')
}

/// Whether the conversion has something to say against the request.
fn is_refused((head, body): (&Head, &Bytes), root: &Members<'_>, target: &Target) -> bool {
    let can = target.capabilities;
    let top = root.get(&["top_logprobs"]);
    head.max_tokens == Some(0)
        || can.images == Some(false) && head.has_images(body)
        || can.tools == Some(false) && !elements(root.get(&["tools"])).is_empty()
        || top.is_some_and(|raw| raw.parse::<u32>().is_err())
}

fn edit(root: &mut Object<'_>, head: &Head, target: &Target, losses: &mut Vec<Loss>) {
    let own = &target.settings.ollama;
    let model = target.model.as_deref().unwrap_or(&head.model);
    if root.said("model") != Some(&json::string(model)) {
        root.set("model", &json::string(model));
    }
    let cuts = if own.truncate { "true" } else { "false" };
    pin(root, ("truncate", cuts, NO_CUT), losses);
    if head.endpoint != Endpoint::Embeddings {
        pin(root, ("shift", "false", NO_SHIFT), losses);
    }
    match keep_alive(own) {
        Some(kept) => pin(root, ("keep_alive", &kept.to_string(), OPERATOR), losses),
        None if root.said("keep_alive").is_some() => {
            losses.push(dropped("keep_alive", OPERATOR));
            root.remove("keep_alive");
        }
        None => {}
    }
    if head.endpoint == Endpoint::ChatCompletions
        && let Some(think) = own.think
    {
        root.default("think", &think_value(think).to_string());
    }
    options(root, (head, model), target, losses);
}

/// Sets what is the operator's, and reports what the client said of it.
fn pin(
    root: &mut Object<'_>,
    (name, value, why): (&str, &str, &'static str),
    losses: &mut Vec<Loss>,
) {
    if root.said(name).is_some_and(|said| said != value) {
        losses.push(dropped(name, why));
    }
    root.set(name, value);
}

fn options(
    root: &mut Object<'_>,
    (head, model): (&Head, &str),
    target: &Target,
    losses: &mut Vec<Loss>,
) {
    let text = root.said("options").unwrap_or("{}");
    let Some(members) = Members::cut(text) else { return };
    let mut options = Object::new(text, members);
    let pinned = target.settings.ollama.context_of(model).map(|tokens| tokens.to_string());
    for name in LOADING {
        let ours = pinned.as_deref().filter(|_| name == NUM_CTX);
        if options.said(name).is_some_and(|said| Some(said) != ours) {
            losses.push(dropped(&format!("options.{name}"), OPERATOR));
            options.remove(name);
        }
    }
    if let Some(tokens) = &pinned {
        options.set(NUM_CTX, tokens);
    }
    if head.endpoint != Endpoint::Embeddings {
        for (name, value) in defaults(target, ["temperature", "top_p", "num_predict", "seed"]) {
            options.default(name, &value);
        }
    }
    let patches = options.finish();
    if !patches.is_empty() {
        let new = String::from_utf8(patch(text, patches)).unwrap_or_default();
        root.set("options", &new);
    }
}

/// Solid bytes of the prompt, as far as it is text of this request's.
fn prompt_bytes(root: &Members<'_>) -> u64 {
    let mut said = Vec::new();
    let mut messages = root.get(&["messages"]).and_then(cut::elements);
    let mut content = |key, raw| {
        if cut::key(key).is_some_and(|key| key == "content") {
            said.push(raw);
        }
        Ok::<(), Infallible>(())
    };
    while messages.as_mut().and_then(|all| all.object(&mut content)).is_some() {}
    let alone = ["prompt", "system", "input"].into_iter().filter_map(|name| root.get(&[name]));
    let inputs = root.get(&["input"]).filter(|raw| raw.starts_with('['));
    let texts =
        said.into_iter().chain(alone).chain(inputs.into_iter().flat_map(|raw| elements(Some(raw))));
    let inner = texts.filter_map(|raw| raw.strip_prefix('"')?.strip_suffix('"'));
    inner.map(|text| solid_json(text.as_bytes())).sum()
}

/// The tools that a model may call in its text: none where a form of answer is asked for, which such a call may be.
fn spoken_tools(root: &Members<'_>) -> Vec<String> {
    if root.get(&["format"]).is_some_and(|raw| raw != "\"\"") {
        return Vec::new();
    }
    let name = |tool: &str| {
        let function = Members::cut(Members::cut(tool)?.get(&["function"])?)?;
        serde_json::from_str(function.get(&["name"])?).ok()
    };
    elements(root.get(&["tools"])).into_iter().filter_map(name).collect()
}

/// An object under edit. What is not edited stays as it stands.
struct Object<'a> {
    text: &'a str,
    members: Members<'a>,
    removed: Vec<bool>,
    added: String,
    patches: Patches,
}

impl<'a> Object<'a> {
    fn new(text: &'a str, members: Members<'a>) -> Self {
        let removed = vec![false; members.0.len()];
        Self { text, members, removed, added: String::new(), patches: Patches::new() }
    }

    fn position(&self, name: &str) -> Option<usize> {
        let there = self.members.0.iter().zip(&self.removed);
        there.into_iter().position(|((key, _), gone)| key == name && !gone)
    }

    /// A member's value, unless it is null, which is nothing said.
    fn said(&self, name: &str) -> Option<&'a str> {
        let (_, raw) = self.members.0.get(self.position(name)?)?;
        Some(*raw).filter(|raw| *raw != "null")
    }

    fn set(&mut self, name: &str, value: &str) {
        let at = self.position(name).and_then(|at| self.members.0.get(at));
        match at {
            Some((_, raw)) if *raw == value => {}
            Some((_, raw)) => {
                self.patches.push((json::range_in(self.text, raw), value.to_owned()));
            }
            None => self.added.extend(["\"", name, "\":", value, ","]),
        }
    }

    fn default(&mut self, name: &str, value: &str) {
        if self.said(name).is_none() {
            self.set(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        let at = self.position(name).and_then(|at| self.removed.get_mut(at));
        if let Some(gone) = at {
            *gone = true;
        }
    }

    /// All edits. New members stand at the beginning; a removed one goes with the comma before it or, as long as none
    /// is kept before it, with the one behind it.
    fn finish(mut self) -> Patches {
        let start = self.text.find('{').map_or(0, |at| at + 1);
        if self.removed.iter().all(|gone| *gone) {
            self.added.pop();
        }
        let ends: Vec<usize> =
            self.members.0.iter().map(|(_, raw)| json::range_in(self.text, raw).end).collect();
        let key_of = |at: usize| {
            let from =
                at.checked_sub(1).and_then(|before| ends.get(before)).map_or(start, |end| *end);
            from + self.text.get(from..).and_then(|rest| rest.find('"')).unwrap_or(0)
        };
        let mut kept = false;
        for (at, gone) in self.removed.iter().enumerate() {
            let Some(end) = ends.get(at).copied().filter(|_| *gone) else {
                kept = true;
                continue;
            };
            let range = if kept {
                ends.get(at - 1).map_or(end, |end| *end)..end
            } else if at + 1 < ends.len() {
                key_of(at)..key_of(at + 1)
            } else {
                key_of(at)..end
            };
            self.patches.push((range, String::new()));
        }
        if !self.added.is_empty() {
            self.patches.push((start..start, self.added));
        }
        self.patches
    }
}

/// A whole answer as a client of Ollama's API gets it: with its own name of the model, and with a call that the model
/// wrote into its text as a call.
pub fn answer(plan: &ReplyPlan, mint: &Mint, body: &Bytes) -> Bytes {
    let named = |body: &Bytes| {
        let mint = plan.mint.then_some(mint)?;
        named(Dialect::Ollama, json::text(body)?, mint).map(Bytes::from)
    };
    let body = named(body).unwrap_or_else(|| body.clone());
    if plan.spoken_tools.is_empty() {
        return body;
    }
    let repaired = || {
        let text = json::text(&body)?;
        let content: String = serde_json::from_str(content_of(text)?).ok()?;
        let call = spoken::call(&content, &plan.spoken_tools)?;
        without_text(text, Some(&call_object(&spoken_call(call, mint))))
    };
    repaired().unwrap_or(body)
}

/// A call as Ollama has it.
pub(crate) fn call_object(call: &CallOut) -> String {
    let (id, name) = (json::string(&call.id), json::string(&call.function.name));
    let arguments = &call.function.arguments;
    format!(
        "{{\"id\":{id},\"function\":{{\"index\":0,\"name\":{name},\"arguments\":{arguments}}}}}"
    )
}

/// The text of an answer's message, as it stands; none where calls stand beside it.
fn content_of(text: &str) -> Option<&str> {
    let message = Members::cut(Members::of(text)?.get(&["message"])?)?;
    let calls = elements(message.get(&["tool_calls"]));
    message.get(&["content"]).filter(|_| calls.is_empty())
}

/// An answer or line without its text, perhaps with a call.
fn without_text(text: &str, call: Option<&str>) -> Option<Bytes> {
    let content = content_of(text)?;
    let call = call.map(|call| format!(",\"tool_calls\":[{call}]")).unwrap_or_default();
    let patches = vec![(json::range_in(text, content), format!("\"\"{call}"))];
    Some(Bytes::from(patch(text, patches)))
}

/// Lines on their way to a client of Ollama's API. Its `Debug` shows none of them.
pub(crate) struct Passing {
    names: Option<Mint>,
    /// Lines whose text may yet become a call.
    held: Vec<Bytes>,
    ready: Vec<Bytes>,
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Passing {
    /// For an answer whose client speaks Ollama's API, if it does.
    pub(crate) fn of(plan: &ReplyPlan, mint: &Mint) -> Option<Self> {
        let names = plan.mint.then(|| mint.clone());
        plan.own.then(|| Self { names, held: Vec::new(), ready: Vec::new() })
    }

    /// Keeps a line back.
    pub(crate) fn hold(&mut self, line: Bytes) {
        self.held.push(line);
    }

    /// Passes a line, and those that were kept back before it.
    pub(crate) fn pass(&mut self, line: Bytes) {
        let held = std::mem::take(&mut self.held);
        for line in held.into_iter().chain([line]) {
            self.put(line);
        }
    }

    /// Passes the last line where the text, kept back, was a call: it stands where the text began.
    pub(crate) fn pass_call(&mut self, last: Bytes, call: &CallOut) {
        let mut call = Some(call_object(call));
        let held = std::mem::take(&mut self.held);
        for line in held.into_iter().chain([last]) {
            let content = json::text(&line).and_then(content_of);
            if content.is_none_or(|content| content == "\"\"") {
                self.put(line);
                continue;
            }
            let new = json::text(&line).and_then(|text| without_text(text, call.as_deref()));
            call = None;
            self.put(new.unwrap_or(line));
        }
    }

    fn put(&mut self, line: Bytes) {
        // What the stream's end left without an end mark has one more than a line has.
        let text = line.trim_ascii_end();
        let line = match line.get(text.len()..) {
            Some(b"\n") => line,
            _ => Bytes::from([text, b"\n"].concat()),
        };
        let named = |mint| named(Dialect::Ollama, json::text(&line)?, mint);
        let new = self.names.as_ref().and_then(named);
        self.ready.push(new.map_or(line, Bytes::from));
    }

    /// The lines that are ready.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
mod tests;
