//! Everything of a request but the conversation. What a model takes of it is in `wire`'s table ([`claude`]).

use std::borrow::Cow;

use cutover_wire::Fault;
use cutover_wire::providers::claude::{self, Claude, Off, Thinking};

use crate::choice::{Choice, Words, choice};
use crate::losses::Losses;
use crate::read::{At, Obj, Text, list};
use crate::schema;
use crate::write::{self, Json};
use crate::{EXTRA, MARK};

/// The limit where a request has none. Long enough for nearly every answer, and below the length at
/// which Anthropic's own SDKs ask for a stream.
const MAX_TOKENS: &str = "8192";

/// The least budget of thinking that the API takes; it must be below the limit.
const BUDGET_MIN: i64 = 1_024;

const ROOT: At<'static> = At::Root;

const WORDS: Words = Words { auto: "auto", none: "none", any: "any", one: "tool" };

/// The settings, as members of the request. `lacks`: the turn of calls that goes on has no thinking.
pub(super) fn settings(root: &Obj<'_>, lacks: bool, losses: &mut Losses) -> Result<String, Fault> {
    let mut json = Json::new();
    let claude = *claude::of(&root.need_text(ROOT, "model")?.decode());
    root.whole(ROOT, "max_tokens")?;
    let old = root.get("max_tokens");
    root.whole(ROOT, "max_completion_tokens")?;
    let limit = root.get("max_completion_tokens").or(old).unwrap_or_else(|| {
        losses.note("max_tokens.default");
        MAX_TOKENS
    });
    json.put_raw("max_tokens", Some(limit));
    let mut choice = choice(root, WORDS, losses)?;
    let calls = root.get("tools").is_some_and(|raw| raw != "[]");
    let forced = |choice: &Option<Choice>| calls && matches!(choice, Some(("any" | "tool", _)));
    if !claude.forces && forced(&choice) {
        losses.refuse("tool_choice.forced", ROOT.key("tool_choice"))?;
        choice = None;
    }
    let room = (limit.parse().unwrap_or(0), forced(&choice));
    let mut thought = thought(root, (claude, room), losses)?;
    if lacks && thought.has_budget {
        losses.note("reasoning_effort.turn");
        thought = Thought { effort: thought.effort, ..Thought::default() };
    }
    sampling(root, (&mut json, claude, &thought), losses)?;
    stops(root, &mut json, losses)?;
    let user = root.text(ROOT, "user")?;
    let named = root.text(ROOT, "safety_identifier")?;
    if let (Some(named), Some(user)) = (&named, &user)
        && named.decode() != user.decode()
    {
        losses.note("user");
    }
    if let Some(user) = named.or(user) {
        json.put_object("metadata", |j| user.write(j.key("user_id")));
    }
    tools(root, (&mut json, choice), losses)?;
    json.put_some("thinking", thought.thinking.as_deref());
    format(root, (&mut json, thought.effort.as_deref()), losses)?;
    Ok(json.into_string())
}

/// Texts to stop at, but for those of white space alone.
fn stops(root: &Obj<'_>, json: &mut Json, losses: &mut Losses) -> Result<(), Fault> {
    let at = ROOT.key("stop");
    let Some(raw) = root.get("stop") else { return Ok(()) };
    let all = if raw.starts_with('"') { vec![raw] } else { list(raw, at)? };
    let mut kept = Vec::with_capacity(all.len());
    for raw in all {
        match Text::read(raw, at) {
            Ok(text) if text.is_blank() => losses.refuse("stop.blank", at)?,
            _ => kept.push(raw),
        }
    }
    if !kept.is_empty() {
        json.put_array("stop_sequences", |j| kept.iter().for_each(|raw| j.raw(raw)));
    }
    Ok(())
}

/// `temperature` and `top_p`. 1 asks for nothing: it is what both are where nothing is said.
fn sampling(
    root: &Obj<'_>,
    (json, claude, thought): (&mut Json, Claude, &Thought<'_>),
    losses: &mut Losses,
) -> Result<(), Fault> {
    let mut fields = [
        ("temperature", ["temperature.model", "temperature.thinking", "temperature.both"]),
        ("top_p", ["top_p.model", "top_p.thinking", "top_p.both"]),
    ];
    // Of two the client's is sent, not the variant's.
    fields.sort_by_key(|(field, _)| losses.is_default(field));
    let mut warm = false;
    for (field, rows) in fields {
        let Some(raw) = root.number(ROOT, field)? else { continue };
        let value: f64 = serde_json::from_str(raw).unwrap_or(1.0);
        let [model, thinking, both] = rows;
        let clash = match () {
            () if (value - 1.0).abs() < f64::EPSILON => continue,
            () if !claude.samples => Some(model),
            () if thought.is_on => Some(thinking),
            () if warm => Some(both),
            () => None,
        };
        if let Some(row) = clash {
            losses.refuse(row, ROOT.key(field))?;
            continue;
        }
        let high = field == "temperature" && value > 1.0;
        if high {
            losses.note("temperature.range");
        }
        json.put_raw(field, Some(if high { "1" } else { raw }));
        warm = true;
    }
    Ok(())
}

/// How much shall be thought, in Anthropic's words.
#[derive(Default)]
struct Thought<'a> {
    /// `thinking`, as JSON.
    thinking: Option<Cow<'a, str>>,
    /// `output_config.effort`, as JSON.
    effort: Option<Cow<'a, str>>,
    /// Whether the model is asked to think.
    is_on: bool,
    /// Whether it is so by a budget.
    has_budget: bool,
}

impl Thought<'_> {
    fn of(kind: &str, effort: Option<&str>) -> Self {
        let thinking = write::object(|j| j.put("type", kind));
        let effort = effort.map(|effort| Cow::from(format!("\"{effort}\"")));
        let is_on = kind != "disabled";
        Self { thinking: Some(thinking.into()), effort, is_on, has_budget: false }
    }

    /// With so many tokens, of which the answer's limit leaves half.
    fn budgeted(tokens: i64, limit: i64) -> Self {
        let thinking = write::object(|j| {
            j.put("type", "enabled");
            j.put_number("budget_tokens", tokens.min(limit / 2).max(BUDGET_MIN).unsigned_abs());
        });
        Self { thinking: Some(thinking.into()), effort: None, is_on: true, has_budget: true }
    }
}

/// An effort's word at Anthropic, and the tokens that stand for it.
fn measure(wish: &str, at: At<'_>) -> Result<(&'static str, i64), Fault> {
    Ok(match wish {
        "minimal" | "low" => ("low", 4_096),
        "medium" => ("medium", 16_384),
        "high" => ("high", 32_768),
        "xhigh" => ("xhigh", 32_768),
        "max" => ("max", 32_768),
        _ => return Err(at.invalid("names no effort")),
    })
}

/// From the client's effort, unless it has said it in Anthropic's own words. `limit` is of the answer with its
/// thoughts; a forced call and a budget exclude each other.
fn thought<'a>(
    root: &Obj<'a>,
    (claude, (limit, forced)): (Claude, (i64, bool)),
    losses: &mut Losses,
) -> Result<Thought<'a>, Fault> {
    let wish = root.word(ROOT, "reasoning_effort")?;
    if let Some(own) = own_thought(root, (claude, (limit, forced)), losses)? {
        return Ok(own);
    }
    let (effort, budget) = match &*wish {
        "" => return Ok(Thought::default()),
        "none" => return Ok(no_thought(claude, losses)),
        wish => measure(wish, ROOT.key("reasoning_effort"))?,
    };
    let row = match claude.thinking {
        Thinking::Adaptive => {
            losses.note("reasoning_effort");
            return Ok(Thought::of("adaptive", claude.effort(effort)));
        }
        Thinking::Budget if forced => "reasoning_effort.forced",
        Thinking::Budget if limit > BUDGET_MIN => {
            losses.note("reasoning_effort");
            return Ok(Thought::budgeted(budget, limit));
        }
        Thinking::Budget | Thinking::None => "reasoning_effort.room",
    };
    losses.refuse(row, ROOT.key("reasoning_effort"))?;
    Ok(Thought::default())
}

fn no_thought<'a>(claude: Claude, losses: &mut Losses) -> Thought<'a> {
    if matches!(claude.off, Off::BetweenTools | Off::Never) {
        losses.note("reasoning_effort.always");
    }
    match claude.off {
        Off::Unasked => Thought::default(),
        Off::Disabled => Thought::of("disabled", None),
        Off::BetweenTools => Thought::of("between_tools", None),
        Off::Never => Thought { effort: Some("\"low\"".into()), ..Thought::default() },
    }
}

/// `extra_body.anthropic`: what a client of Anthropic's has said, as it came. It beats an effort.
///
/// But for `adaptive`, which newer clients say whatever the model is, and which a model that thinks with a budget does not
/// know. It leaves the measure to the model, so that none is within it where no budget can be given: nothing to refuse.
fn own_thought<'a>(
    root: &Obj<'a>,
    (claude, (limit, forced)): (Claude, (i64, bool)),
    losses: &mut Losses,
) -> Result<Option<Thought<'a>>, Fault> {
    let at = ROOT.key(EXTRA);
    let Some(extra) = root.object(ROOT, EXTRA)? else { return Ok(None) };
    let here = at.key("anthropic");
    let own = extra.object(at, "anthropic")?;
    losses.rest(&extra, "extra_body.", at)?;
    let Some(own) = own else { return Ok(None) };
    let kind = own.object(here, "thinking")?.map(|thinking| thinking.word(here, "type"));
    let kind = kind.transpose()?;
    let is_on = kind.as_deref().is_some_and(|kind| kind != "disabled");
    let has_budget = kind.as_deref() == Some("enabled");
    let (thinking, effort) = (own.get("thinking"), own.get("effort"));
    losses.rest(&own, "extra_body.anthropic.", here)?;
    if kind.as_deref() == Some("adaptive") && claude.thinking != Thinking::Adaptive {
        let wish = own.word(here, "effort")?;
        // What the vendor takes where nothing is said.
        let wish = if wish.is_empty() { "high" } else { &*wish };
        let (_, budget) = measure(wish, here.key("effort"))?;
        if claude.thinking == Thinking::Budget && limit > BUDGET_MIN && !forced {
            losses.note("extra_body.anthropic.thinking.adaptive");
            return Ok(Some(Thought::budgeted(budget, limit)));
        }
        losses.note("extra_body.anthropic.thinking.none");
        return Ok(Some(Thought::default()));
    }
    let (thinking, effort) = (thinking.map(Cow::from), effort.map(Cow::from));
    Ok(Some(Thought { thinking, effort, is_on, has_budget }))
}

fn tools(
    root: &Obj<'_>,
    (json, choice): (&mut Json, Option<Choice>),
    losses: &mut Losses,
) -> Result<(), Fault> {
    let here = ROOT.key("tools");
    let mut tools = Vec::new();
    for (index, raw) in root.list(ROOT, "tools")?.unwrap_or_default().into_iter().enumerate() {
        let at = here.item(index);
        let tool = Obj::read(raw, at)?;
        if tool.word(at, "type")? != "function" {
            losses.refuse("tools[].type", at.key("type"))?;
            continue;
        }
        let inner = at.key("function");
        let function = tool.object(at, "function")?.ok_or_else(|| inner.missing())?;
        let name = function.need_text(inner, "name")?;
        let description = function.text(inner, "description")?;
        let schema = function.raw_object(inner, "parameters")?;
        let schema = input_schema(schema, inner.key("parameters"))?;
        let strict = function.flag(inner, "strict")?;
        let mark = tool.raw_object(at, MARK)?;
        tools.push(write::object(|j| {
            name.write(j.key("name"));
            if let Some(text) = &description {
                text.write(j.key("description"));
            }
            j.key("input_schema").raw(&schema);
            if strict == Some(true) {
                j.put_flag("strict", true);
            }
            j.put_some(MARK, mark);
        }));
    }
    let one = root.flag(ROOT, "parallel_tool_calls")? == Some(false);
    if tools.is_empty() {
        return Ok(());
    }
    json.put_array("tools", |j| tools.iter().for_each(|tool| j.raw(tool)));
    if choice.is_none() && !one {
        return Ok(());
    }
    let (kind, name) = choice.unwrap_or(("auto", None));
    json.put_object("tool_choice", |j| {
        j.put("type", kind);
        if let Some(name) = &name {
            j.put("name", name);
        }
        if one && kind != "none" {
            j.put_flag("disable_parallel_tool_use", true);
        }
    });
    Ok(())
}

/// The Messages API wants each schema of a tool to say that it is an object's.
fn input_schema<'a>(schema: Option<&'a str>, at: At<'_>) -> Result<Cow<'a, str>, Fault> {
    let raw = schema.unwrap_or("{}");
    if Obj::read(raw, at)?.get("type").is_some() {
        return Ok(raw.into());
    }
    let members =
        raw.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or("").trim();
    let comma = if members.is_empty() { "" } else { "," };
    Ok(format!(r#"{{"type":"object"{comma}{members}}}"#).into())
}

/// `output_config`: the effort, and the form of the answer.
fn format(
    root: &Obj<'_>,
    (json, effort): (&mut Json, Option<&str>),
    losses: &mut Losses,
) -> Result<(), Fault> {
    let mut schema = None;
    let at = ROOT.key("response_format");
    if let Some(format) = root.object(ROOT, "response_format")? {
        match &*format.word(at, "type")? {
            "text" => {}
            "json_schema" => schema = Some(schema::of_format(&format, at, losses)?),
            _ => losses.refuse("response_format.type", at.key("type"))?,
        }
    }
    if effort.is_none() && schema.is_none() {
        return Ok(());
    }
    json.put_object("output_config", |j| {
        j.put_some("effort", effort);
        if let Some(schema) = schema {
            j.put_object("format", |j| {
                j.put("type", "json_schema");
                j.key("schema").raw(&schema);
            });
        }
    });
    Ok(())
}
