//! Events of an upstream that speaks the client's dialect.
//!
//! Most events are looked at and passed on untouched: searched for the few words that matter (usage, a
//! finish reason, an error), and with a mint the id and model, learned from the first chunk, are
//! replaced where they stand. Only what matters is parsed. Each event is valid JSON, or the stream ends
//! there: one that has the shape of the event before it is, where its text is; any other is walked.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::calls::{Calls, member};
use super::shape::{Places, Shape};
use super::sink::Sink;
use super::split::{Data, Event};
use super::{Context, Seen, Step, broken_off};
use crate::adapt::ReplyPlan;
use crate::endpoint::Endpoint;
use crate::errors::Fault;
use crate::json::{self, walk::Walk};
use crate::mint::Mint;
use crate::openai::{DONE, completions::Completion};
use crate::reply::openai::{self, Answer, Choice, Patch, Patches};
use crate::reply::{UpstreamFault, of_value};
use crate::usage::{Finish, Usage};

static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"choices\""));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\""));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
static CALLS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"tool_calls\""));
static LOGPROBS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"logprobs\""));

/// A sign of life, in place of what no client shall see.
const ALIVE: &[u8] = b": ping\n\n";

/// Reads events; remembers the upstream's names.
#[derive(Debug, Default)]
pub(super) struct Events {
    // Boxed: two searchers are large, and other readers have none.
    names: Option<Box<Names>>,
    created: Option<Box<Created>>,
    shape: Shape,
    calls: Calls,
}

/// An event and where it lies in its frame.
struct Framed<'a> {
    event: Event<'a>,
    range: Range<usize>,
}

/// The upstream's id and model as they stand in each of its chunks, and what replaces them.
#[derive(Debug)]
struct Names {
    id: Name,
    model: Name,
}

/// The first chunk's time, which all chunks shall carry: llama.cpp's server gives each its own.
#[derive(Debug)]
struct Created {
    finder: Finder<'static>,
    /// The digits of the first chunk's.
    first: Vec<u8>,
}

impl Created {
    /// From the first chunk's value. One that tells none, as Azure OpenAI's 0, gets ours.
    fn learn(value: &str, mint: &Mint) -> Option<Box<Self>> {
        let first = match value {
            "0" | "null" => mint.created.to_string(),
            _ => value.parse::<u64>().ok()?.to_string(),
        };
        let finder = Finder::new("\"created\":");
        Some(Box::new(Self { finder, first: first.into_bytes() }))
    }

    /// Where digits stand that differ from the first chunk's.
    fn find(&self, data: &[u8]) -> Option<Range<usize>> {
        let start = json::skip_space(data, self.finder.find(data)? + self.finder.needle().len());
        let digits = data.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let place = start..start + digits;
        let whole = digits > 0 && !matches!(data.get(place.end), Some(b'.' | b'e' | b'E'));
        (whole && data.get(place.clone())? != self.first).then_some(place)
    }
}

#[derive(Debug)]
struct Name {
    finder: Finder<'static>,
    /// `"id":"..."` of ours, with the upstream's spacing.
    ours: Vec<u8>,
}

impl Name {
    /// From a member's value: the text from its key on. `None` if no key stands before it.
    fn learn(text: &str, key: &str, value: &str, ours: &str) -> Option<Self> {
        let range = json::range_in(text, value);
        let quoted = format!("\"{key}\"");
        let start = text.get(..range.start)?.rfind(&quoted)?;
        let between = text.get(start + quoted.len()..range.start)?;
        if !between.chars().all(|c| c == ':' || c.is_ascii_whitespace()) {
            return None;
        }
        let needle = text.get(start..range.end)?;
        let ours = format!("{quoted}{between}{}", json::string(ours)).into_bytes();
        Some(Self { finder: Finder::new(needle.as_bytes()).into_owned(), ours })
    }

    fn find(&self, data: &[u8]) -> Option<Range<usize>> {
        let start = self.finder.find(data)?;
        Some(start..start + self.finder.needle().len())
    }
}

impl Names {
    fn stand_in(&self, text: &str) -> bool {
        self.id.find(text.as_bytes()).is_some() && self.model.find(text.as_bytes()).is_some()
    }
}

/// Where an event has what is to be replaced, in order; none if the names are not both there.
fn places<'a>(
    names: Option<&'a Names>,
    created: Option<&'a Created>,
    framed: &Framed<'_>,
) -> Option<Places<'a>> {
    let (Some(names), Data::Line(line, at)) = (names, &framed.event.data) else { return None };
    let moved = |place: Range<usize>| place.start + at..place.end + at;
    let created = created.and_then(|c| Some((moved(c.find(line)?), &c.first[..])));
    let mut places = [
        Some((moved(names.id.find(line)?), &names.id.ours[..])),
        Some((moved(names.model.find(line)?), &names.model.ours[..])),
        created,
    ];
    places.sort_by_key(|place| place.as_ref().map_or(usize::MAX, |(place, _)| place.start));
    Some(places)
}

impl Events {
    /// Reads one event and puts what the client shall get.
    pub(super) fn event(
        &mut self,
        context: &mut Context,
        range: Range<usize>,
        sink: &mut Sink<'_>,
    ) -> Result<Step, UpstreamFault> {
        if self.shape.pass_on(&range, sink) {
            context.seen.content_chunks += 1;
            return Ok(Step::Open);
        }
        let event = Event::read(sink.part(range.clone()));
        let data = event.data.bytes().trim_ascii();
        if data.is_empty() {
            // A comment keeps the connection alive; the client may need it as we do. Lines of a web page or a log
            // are skipped by every reader of events, and nobody's to see.
            if event.is_strange {
                sink.write(ALIVE);
            } else {
                sink.keep(range);
            }
            return Ok(Step::Open);
        }
        if data.starts_with(b"[DONE]") {
            if !context.seen.may_be_done(&context.plan) {
                return Err(broken_off(&context.seen));
            }
            if let Some(event) = context.estimate_event() {
                sink.write(&event);
            }
            if event.is_strange {
                sink.write(&DONE);
            } else {
                sink.keep(range);
            }
            return Ok(Step::Ended);
        }
        if data.first() != Some(&b'{') || data.last() != Some(&b'}') {
            return Err(UpstreamFault::unreadable("an event is not a JSON object"));
        }
        if !event.is_error && is_empty_object(data) {
            // A proxy's sign of life, in a form that clients take for a chunk without choices.
            sink.write(ALIVE);
            return Ok(Step::Open);
        }
        // What is counted to mend the engine's usage must be content for certain.
        let only_content = context.seen.first_content
            && !event.is_error
            && !event.is_strange
            && context.plan.n <= 1
            && has_value(&CHOICES, data)
            && !matters(&context.plan, data);
        if only_content && !is_json(data) {
            return Err(UpstreamFault::unreadable("an event is not valid JSON"));
        }
        let framed = Framed { event, range };
        if only_content && self.pass_on(context.plan.mint, &framed, sink) {
            context.seen.content_chunks += 1;
            return Ok(Step::Open);
        }
        self.parsed(context, &framed, sink)
    }

    /// Passes an event on unparsed, with the learned names replaced; false (and nothing put) if they
    /// are not both there.
    fn pass_on(&mut self, mint: bool, framed: &Framed<'_>, sink: &mut Sink<'_>) -> bool {
        let range = framed.range.clone();
        let event = sink.part(range.clone());
        if !mint {
            sink.keep(range);
            self.shape.learn(event, None);
            return true;
        }
        let Some(places) = places(self.names.as_deref(), self.created.as_deref(), framed) else {
            return false;
        };
        let mut from = range.start;
        for (place, ours) in places.iter().flatten() {
            sink.keep(from..range.start + place.start);
            sink.write(ours);
            from = range.start + place.end;
        }
        sink.keep(from..range.end);
        self.shape.learn(event, Some(&places));
        true
    }

    fn parsed(
        &mut self,
        context: &mut Context,
        framed: &Framed<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Step, UpstreamFault> {
        let Context { plan, mint, seen } = context;
        let malformed = || UpstreamFault::unreadable("an event is not valid JSON");
        let text = std::str::from_utf8(framed.event.data.bytes()).map_err(|_| malformed())?;
        let mut answer = Answer::read(text).map_err(|_| malformed())?;
        if let Some(fault) = answer.error(plan) {
            return Err(fault);
        }
        if framed.event.is_error {
            let value = serde_json::from_str(text).map_err(|_| malformed())?;
            return Err(of_value(plan, &value));
        }
        let has_choices = answer.has_choices();
        if !has_choices && !answer.tells_usage() {
            sink.write(ALIVE);
            return error_in(plan, text).map_or(Ok(Step::Open), Err);
        }
        let choices = answer.take_choices().map_err(|_| malformed())?;
        if let Some(failed) = choices.iter().find(|choice| choice.gave_up(plan)) {
            let fault = broken_off(seen);
            let message = failed.why();
            return Err(UpstreamFault { fault: Fault { message, ..fault.fault }, ..fault });
        }
        note(&choices, seen);
        let mut patches = Patches::new();
        let mut apart = None;
        let empty = choices.iter().filter_map(Choice::empty_reason);
        let reasons: Patches =
            empty.map(|raw| (json::range_in(text, raw), "null".to_owned())).collect();
        seen.empty_reason |= !reasons.is_empty();
        if answer.tells_usage() {
            let mut usage = answer.usage(plan.endpoint);
            if let Some(usage) = usage.as_mut().filter(|_| recounts(plan)) {
                recount(usage, seen.content_chunks);
                patches.extend(openai::chunk_usage_patches(text, &answer, usage));
            }
            seen.usage = Usage::and_then_told(seen.usage, usage);
            seen.prompt_truncated = openai::truncated(plan, seen.usage.as_ref());
            if choices.is_empty() && !plan.include_usage {
                return Ok(Step::Open);
            }
            patches.extend((!has_choices).then(|| empty_choices(text)));
            if !choices.is_empty() && (rides_along(plan) || !plan.include_usage) {
                patches = openai::no_usage_patches(text, &answer);
                let last = plan.include_usage && seen.choices.ended() >= plan.n;
                apart = usage.filter(|_| last).map(|usage| usage_event(plan, mint, text, &usage));
            }
        }
        patches.extend(reasons);
        openai::legacy_logprobs(plan, text, &choices, &mut patches);
        if plan.provider.quirks.unnumbered_calls && (tells_calls(text) || self.calls.any()) {
            let mended = self.calls.number(text);
            seen.numbered_calls = self.calls.any();
            if mended.calls && seen.finish == Some(Finish::Stop) {
                seen.finish = Some(Finish::ToolCalls);
            }
            patches.extend(mended.patches);
        }
        if plan.mint {
            patches.extend(openai::mint_patches(plan.endpoint, mint, text, &answer));
            patches.extend(self.learned(mint, text, &answer));
        }
        put(framed, patches, sink);
        if let Some(event) = apart {
            sink.write(&event);
        }
        Ok(Step::Open)
    }

    /// Learns the names that a chunk has. What its time becomes.
    fn learned(&mut self, mint: &Mint, text: &str, answer: &Answer<'_>) -> Option<Patch> {
        if self.created.is_none() {
            self.created = answer.created.and_then(|raw| Created::learn(raw, mint));
        }
        if !self.names.as_ref().is_some_and(|names| names.stand_in(text)) {
            self.names = learn(mint, text, answer).or(self.names.take());
        }
        openai::created_patch(text, answer, &self.created.as_ref()?.first)
    }
}

/// The list of choices that a chunk lacks: clients go through that of each.
fn empty_choices(text: &str) -> Patch {
    match member(text, "choices") {
        Some(null) => (json::range_in(text, null), "[]".to_owned()),
        None => openai::first_members(text, "\"choices\":[]"),
    }
}

/// The error that an engine's framework or a proxy tells in a form of its own: FastAPI's `detail`, vLLM's older
/// `"object":"error"`. Whatever else is no chunk says nothing to anybody.
fn error_in(plan: &ReplyPlan, text: &str) -> Option<UpstreamFault> {
    let value: Value = serde_json::from_str(text).ok()?;
    let has = |key: &str| value.get(key).is_some_and(|told| !told.is_null());
    let named = ["object", "type"].iter().any(|key| value.get(key).is_some_and(|v| v == "error"));
    let told = has("error") || has("detail") || (has("message") && has("code"));
    (named || told).then(|| of_value(plan, &value))
}

/// Whether an event that needs no parsing would parse: a client must not be the first to find out.
fn is_json(data: &[u8]) -> bool {
    let Some(text) = json::text(data) else { return false };
    let mut walk = Walk::new(text);
    let walked = walk.value().is_ok() && walk.end().is_ok();
    walked || serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The engine's usage counts one choice of several.
fn recounts(plan: &ReplyPlan) -> bool {
    plan.provider.quirks.usage_of_one_choice && plan.n > 1
}

/// llama.cpp's server puts usage on the finish chunk of a `/v1/completions` stream, asked or not, and
/// sends no chunk of its own for it.
fn rides_along(plan: &ReplyPlan) -> bool {
    plan.provider.quirks.completions_like_chat && plan.endpoint == Endpoint::Completions
}

/// The usage as the event of its own that clients expect, under the names of the other chunks.
fn usage_event(plan: &ReplyPlan, mint: &Mint, text: &str, usage: &Usage) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Theirs {
        id: Option<String>,
        model: Option<String>,
        created: Option<u64>,
    }
    let mut chunk = Completion::new(mint, Vec::new(), Some(*usage));
    let theirs = serde_json::from_str::<Theirs>(text).ok();
    if let Some(theirs) = &theirs {
        chunk.created = theirs.created.unwrap_or(chunk.created);
        if !plan.mint {
            chunk.id = theirs.id.as_deref().unwrap_or(chunk.id);
            chunk.model = theirs.model.as_deref().unwrap_or(chunk.model);
        }
    }
    [b"data: ", json::to_vec(&chunk).as_slice(), b"\n\n"].concat()
}

fn learn(mint: &Mint, text: &str, answer: &Answer<'_>) -> Option<Box<Names>> {
    // What a chunk's empty id or null looks like, a call's within it does, too.
    let named = |raw: &&str| raw.len() > 2 && raw.starts_with('"');
    let id = Name::learn(text, "id", answer.id.filter(named)?, &mint.id)?;
    let model = Name::learn(text, "model", answer.model.filter(named)?, &mint.model)?;
    Some(Box::new(Names { id, model }))
}

/// Whether an event holds more than content: then it is parsed.
fn matters(plan: &ReplyPlan, data: &[u8]) -> bool {
    ERROR.find(data).is_some()
        || has_value(&FINISH, data)
        || has_value(&USAGE, data)
        || (plan.provider.quirks.unnumbered_calls && has_value(&CALLS, data))
        || (plan.provider.quirks.completions_like_chat
            && plan.endpoint == Endpoint::Completions
            && has_value(&LOGPROBS, data))
}

fn tells_calls(text: &str) -> bool {
    has_value(&CALLS, text.as_bytes())
}

/// Whether a member stands there with a value other than null. The word cannot be part of a text:
/// there, its quotes would be escaped.
fn has_value(finder: &Finder<'_>, data: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = data.get(at..).and_then(|rest| finder.find(rest)) {
        at += found + finder.needle().len();
        let colon = json::skip_space(data, at);
        if data.get(colon) != Some(&b':') {
            continue;
        }
        let value = json::skip_space(data, colon + 1);
        if !data.get(value..).is_some_and(|rest| rest.starts_with(b"null")) {
            return true;
        }
    }
    false
}

/// Whether an object has no members.
fn is_empty_object(data: &[u8]) -> bool {
    data.get(1..data.len().saturating_sub(1)).is_some_and(|inside| inside.trim_ascii().is_empty())
}

fn note(choices: &[Choice<'_>], seen: &mut Seen) {
    let text = |c: &Choice<'_>| c.text.is_some_and(|raw| !matches!(raw, "\"\"" | "null"));
    let said = |c: &Choice<'_>| c.delta.as_ref().is_some_and(openai::Said::anything);
    if choices.iter().any(|c| text(c) || said(c)) {
        seen.first_content = true;
        seen.content_chunks += 1;
    }
    for choice in choices {
        seen.choices.note(choice.index(), choice.ended().is_some());
    }
    seen.finish = choices.iter().find_map(Choice::ended).or(seen.finish);
}

/// Engines send a chunk per token: with several choices the chunks count what the engine's usage,
/// which is of one choice, leaves out.
fn recount(usage: &mut Usage, chunks: u64) {
    usage.completion_tokens = usage.completion_tokens.max(chunks);
    usage.total_tokens = usage.prompt_tokens.saturating_add(usage.completion_tokens);
    usage.estimated = true;
}

/// Puts an event with its patches: in place if its data is one line, else written anew as one line.
fn put(framed: &Framed<'_>, mut patches: Patches, sink: &mut Sink<'_>) {
    let range = framed.range.clone();
    match &framed.event.data {
        _ if patches.is_empty() && !framed.event.is_strange => sink.keep(range),
        Data::None => sink.keep(range),
        Data::Line(_, at) if !framed.event.is_strange => {
            patches.sort_by_key(|(place, _)| (place.start, place.end));
            let base = range.start + at;
            let mut from = range.start;
            for (place, new) in patches {
                sink.keep(from..base + place.start);
                sink.write(new.as_bytes());
                from = base + place.end;
            }
            sink.keep(from..range.end);
        }
        data => {
            let text = std::str::from_utf8(data.bytes()).unwrap_or_default();
            // A line feed between two data lines is whitespace in JSON.
            let line: Vec<u8> = openai::patch(text, patches)
                .into_iter()
                .map(|b| if b == b'\n' { b' ' } else { b })
                .collect();
            sink.write(b"data: ");
            sink.write(&line);
            sink.write(b"\n\n");
        }
    }
}
