//! Tools: functions are carried, custom tools become functions of one text, namespaces are flattened,
//! and calls find their way back by name.

use std::collections::{BTreeMap, HashMap, HashSet};

use cutover_wire::Fault;
use memchr::memmem;

use crate::losses::Losses;
use crate::pivot::{self, Chat, Tool};
use crate::read::{At, Obj, Text, list};
use crate::write;

/// What a function of the pivot is for the client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) custom: bool,
}

/// The functions whose name or kind differs from what the client calls them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    origins: HashMap<String, Origin>,
    /// The pivot's names for them.
    chats: BTreeMap<Origin, String>,
    /// For a name that several would have: the number that the next one may end in.
    next: HashMap<String, u32>,
}

/// The longest name of a function that OpenAI's API takes.
const NAME_CHARS_MAX: usize = 64;

impl Names {
    /// What the client calls a function.
    pub(crate) fn origin(&self, name: &str) -> Origin {
        let plain = || Origin { name: name.to_owned(), namespace: None, custom: false };
        self.origins.get(name).cloned().unwrap_or_else(plain)
    }

    /// The pivot's name for a tool.
    pub(crate) fn chat_name(&self, name: &str, namespace: Option<&str>) -> String {
        let kind = |custom| {
            let (name, namespace) = (name.to_owned(), namespace.map(str::to_owned));
            self.chats.get(&Origin { name, namespace, custom })
        };
        let known = kind(false).into_iter().chain(kind(true)).min();
        match (known, namespace) {
            (Some(chat), _) => chat.clone(),
            (None, Some(namespace)) => flat(namespace, name),
            (None, None) => name.to_owned(),
        }
    }

    fn add(&mut self, origin: Origin) -> String {
        if let Some(chat) = self.chats.get(&origin) {
            return chat.clone();
        }
        let base = match &origin.namespace {
            Some(namespace) => flat(namespace, &origin.name),
            None => origin.name.clone(),
        };
        let mut chat = base.clone();
        while self.origins.contains_key(&chat) {
            // Where the last search ended: there may be as many tools as a body has room for.
            let next = self.next.entry(base.clone()).or_insert(2);
            let tail = format!("_{next}");
            *next += 1;
            let keep = NAME_CHARS_MAX.saturating_sub(tail.len());
            chat = base.chars().take(keep).chain(tail.chars()).collect();
        }
        self.keep(chat.clone(), origin);
        chat
    }

    fn keep(&mut self, chat: String, origin: Origin) {
        self.chats.insert(origin.clone(), chat.clone());
        self.origins.insert(chat, origin);
    }
}

/// A namespaced name in the letters that functions may have.
fn flat(namespace: &str, name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let whole = format!("{namespace}__{name}");
    whole.chars().map(|c| if safe(c) { c } else { '_' }).take(NAME_CHARS_MAX).collect()
}

/// A custom tool's only parameter.
const INPUT_SCHEMA: &str = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// The items of an input that bring tools along, as today's Codex sends all of its own.
const BROUGHT: &str = "additional_tools";

/// Reads `tools`, the tools that items bring along and `tool_choice` into the request. `earlier` are items of stored
/// answers.
pub(super) fn read<'a>(
    root: &Obj<'a>,
    earlier: impl Iterator<Item = &'a str>,
    chat: &mut Chat<'a>,
    losses: &mut Losses,
) -> Result<Names, Fault> {
    let (at, here) = (At::Root, At::Root.key("tools"));
    let mut names = Names::default();
    let tools = root.list(at, "tools")?.unwrap_or_default();
    let (stored, input) = (at.key("previous_response_id"), at.key("input"));
    let mut brought = Vec::new();
    for raw in earlier {
        brought.extend(brings(raw, stored)?.map(|tools| (None, tools)));
    }
    let items = root.get("input").filter(|raw| raw.starts_with('[') && may_bring(raw));
    for (index, raw) in
        items.map(|raw| list(raw, input)).transpose()?.into_iter().flatten().enumerate()
    {
        brought.extend(brings(raw, input.item(index))?.map(|tools| (Some(index), tools)));
    }
    // Plain functions keep their names; flattened ones give way to them.
    for raw in tools.iter().chain(brought.iter().flat_map(|(_, tools)| tools)) {
        let Ok(tool) = Obj::read(raw, here) else { continue };
        if tool.word(here, "type").is_ok_and(|kind| kind == "function") {
            let name = tool.word(here, "name").unwrap_or_default();
            names.keep(name.clone(), Origin { name, namespace: None, custom: false });
        }
    }
    for (index, raw) in tools.into_iter().enumerate() {
        one(raw, (here.item(index), None), (chat, &mut names), losses)?;
    }
    let known = |tool: &Tool<'_>| tool.name.decode().into_owned();
    let mut places: HashMap<String, usize> = HashMap::new();
    if !brought.is_empty() {
        // Of several of one name the first is meant.
        places.extend(chat.tools.iter().enumerate().rev().map(|(at, tool)| (known(tool), at)));
    }
    for (item, tools) in brought {
        let mut more = Chat::default();
        for (index, raw) in tools.into_iter().enumerate() {
            match item {
                Some(item) => {
                    let (item, names) = (input.item(item), &mut names);
                    one(raw, (item.key("tools").item(index), None), (&mut more, names), losses)?;
                }
                None => one(raw, (stored, None), (&mut more, &mut names), losses)?,
            }
        }
        // One that is brought again is what it is now.
        for tool in more.tools {
            let place = *places.entry(known(&tool)).or_insert(chat.tools.len());
            match chat.tools.get_mut(place) {
                Some(known) => *known = tool,
                None => chat.tools.push(tool),
            }
        }
    }
    choice(root, chat, &names, losses)?;
    Ok(names)
}

/// Whether there may be tools in it: a search for those who send none, whose whole conversation it is.
fn may_bring(raw: &str) -> bool {
    memmem::find(raw.as_bytes(), BROUGHT.as_bytes()).is_some()
}

/// The tools that an item brings along, if it is there for that.
fn brings<'a>(raw: &'a str, at: At<'_>) -> Result<Option<Vec<&'a str>>, Fault> {
    if !may_bring(raw) {
        return Ok(None);
    }
    let item = Obj::read(raw, at)?;
    if item.word(at, "type")? != BROUGHT {
        return Ok(None);
    }
    item.list(at, "tools")?.ok_or_else(|| at.key("tools").missing()).map(Some)
}

fn one<'a>(
    raw: &'a str,
    (at, namespace): (At<'_>, Option<&str>),
    (chat, names): (&mut Chat<'a>, &mut Names),
    losses: &mut Losses,
) -> Result<(), Fault> {
    let tool = Obj::read(raw, at)?;
    let kind = tool.word(at, "type")?;
    match &*kind {
        "function" | "custom" => {
            let name = tool.need_text(at, "name")?;
            let custom = kind == "custom";
            let origin = Origin {
                name: name.decode().into_owned(),
                namespace: namespace.map(str::to_owned),
                custom,
            };
            let name = if custom || namespace.is_some() { names.add(origin).into() } else { name };
            let description = tool.text(at, "description")?;
            let made = if custom {
                let description = with_grammar(&tool, at, description, losses)?;
                Tool {
                    name,
                    description,
                    parameters: Some(INPUT_SCHEMA.into()),
                    strict: None,
                    mark: None,
                }
            } else {
                let parameters = tool.raw_object(at, "parameters")?.map(Into::into);
                Tool { name, description, parameters, strict: tool.flag(at, "strict")?, mark: None }
            };
            chat.tools.push(made);
            losses.rest(&tool, "tools[].", at)
        }
        "namespace" if namespace.is_none() => {
            let space = tool.need_text(at, "name")?.decode().into_owned();
            if tool.get("description").is_some() {
                losses.note("tools[].namespace.description");
            }
            let inner = tool.list(at, "tools")?.unwrap_or_default();
            let here = at.key("tools");
            for (index, raw) in inner.into_iter().enumerate() {
                one(raw, (here.item(index), Some(&space)), (&mut *chat, &mut *names), losses)?;
            }
            losses.rest(&tool, "tools[].", at)
        }
        "" => Err(at.key("type").missing()),
        "apply_patch" | "computer" | "computer_use_preview" | "local_shell" | "tool_search" => {
            losses.refuse("tools[].clients", at.key("type"))
        }
        _ => losses.refuse("tools[].type", at.key("type")),
    }
}

/// A custom tool's description, with its grammar for the model to read.
fn with_grammar<'a>(
    tool: &Obj<'a>,
    at: At<'_>,
    description: Option<Text<'a>>,
    losses: &mut Losses,
) -> Result<Option<Text<'a>>, Fault> {
    let Some(format) = tool.object(at, "format")? else { return Ok(description) };
    let here = at.key("format");
    if format.word(here, "type")? != "grammar" {
        return Ok(description);
    }
    losses.note("tools[].format");
    let (syntax, definition) =
        (format.word(here, "syntax")?, format.need_text(here, "definition")?);
    let before = description.map(|text| text.decode().into_owned()).unwrap_or_default();
    let text = format!(
        "{before}\n\nThe input must follow this {syntax} grammar:\n{}",
        definition.decode()
    );
    Ok(Some(Text::from(text.trim_start().to_owned())))
}

fn choice<'a>(
    root: &Obj<'a>,
    chat: &mut Chat<'a>,
    names: &Names,
    losses: &mut Losses,
) -> Result<(), Fault> {
    let at = At::Root.key("tool_choice");
    let Some(raw) = root.get("tool_choice") else { return Ok(()) };
    if raw.starts_with('"') {
        if !matches!(raw, "\"auto\"" | "\"none\"" | "\"required\"") {
            return Err(at.invalid("must be auto, none, required or an object"));
        }
        if !chat.tools.is_empty() {
            chat.set("tool_choice", raw);
        }
        return Ok(());
    }
    let choice = Obj::read(raw, at)?;
    let kind = choice.word(at, "type")?;
    match &*kind {
        "function" | "custom" => {
            let name = chosen(&choice, at, names)?;
            chat.set("tool_choice", pivot::choose_function(&name.into()));
        }
        "allowed_tools" => allowed(&choice, at, chat, names)?,
        "" => return Err(at.key("type").missing()),
        _ => losses.refuse("tool_choice.type", at.key("type"))?,
    }
    Ok(())
}

fn chosen(choice: &Obj<'_>, at: At<'_>, names: &Names) -> Result<String, Fault> {
    let name = choice.need_text(at, "name")?;
    let namespace = choice.text(at, "namespace")?;
    let namespace = namespace.as_ref().map(Text::decode);
    Ok(names.chat_name(&name.decode(), namespace.as_deref()))
}

/// The tools that are not allowed are not sent, which is the same to the model.
fn allowed(choice: &Obj<'_>, at: At<'_>, chat: &mut Chat<'_>, names: &Names) -> Result<(), Fault> {
    let here = at.key("tools");
    let raw = choice.get("tools").ok_or_else(|| here.missing())?;
    let mut keep = HashSet::new();
    for (index, raw) in list(raw, here)?.into_iter().enumerate() {
        let at = here.item(index);
        let entry = Obj::read(raw, at)?;
        if matches!(&*entry.word(at, "type")?, "function" | "custom") {
            keep.insert(chosen(&entry, at, names)?);
        }
    }
    chat.tools.retain(|tool| keep.contains(&*tool.name.decode()));
    let mode = choice.word(at, "mode")?;
    if !matches!(&*mode, "auto" | "required") {
        return Err(at.key("mode").invalid("must be auto or required"));
    }
    if !chat.tools.is_empty() {
        chat.set("tool_choice", format!("\"{mode}\""));
    }
    Ok(())
}

/// The arguments of a custom tool's call.
pub(super) fn custom_arguments(input: &Text<'_>) -> String {
    write::object(|j| input.write(j.key("input")))
}

/// A custom tool's input from its call's arguments: the text, or what the model wrote in its place.
pub(super) fn custom_input(arguments: &str) -> String {
    let Ok(obj) = Obj::parse(arguments, At::Root) else { return arguments.to_owned() };
    match obj.text(At::Root, "input") {
        Ok(Some(text)) => text.decode().into_owned(),
        _ => arguments.to_owned(),
    }
}
