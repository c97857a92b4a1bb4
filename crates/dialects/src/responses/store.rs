//! Answers that are kept: their stored form, what `GET`, `DELETE` and `input_items` show of it, and the
//! conversation that a later request goes on with.

use std::collections::BTreeMap;

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::Fault;

use crate::answer::Answer;
use crate::read::{At, Obj, list};
use crate::write;

/// One stored answer. No `Debug`: it holds the conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The answer's id, `resp_...`.
    pub id: String,
    /// The answer before it in the conversation.
    pub previous: Option<String>,
    /// The request's own input items, with ids: a JSON array.
    pub input: String,
    /// The Response object.
    pub response: String,
}

impl Stored {
    /// One JSON document with all of it.
    pub fn to_json(&self) -> String {
        let previous = self.previous.as_ref().map(|id| serde_json::Value::from(&**id).to_string());
        write::object(|j| {
            j.put("id", &self.id);
            j.put_raw("previous", previous.as_deref());
            j.key("input").raw(&self.input);
            j.key("response").raw(&self.response);
        })
    }

    /// Reads what [`Stored::to_json`] wrote. `None`: it is something else.
    pub fn from_json(text: &str) -> Option<Self> {
        let obj = Obj::parse(text, At::Root).ok()?;
        let word = |key| obj.text(At::Root, key).ok().flatten().map(|t| t.decode().into_owned());
        let input = obj.get("input").filter(|raw| raw.starts_with('['))?.to_owned();
        let response = obj.get("response").filter(|raw| raw.starts_with('{'))?.to_owned();
        Some(Self { id: word("id")?, previous: word("previous"), input, response })
    }

    fn outputs(&self) -> Vec<&str> {
        let obj = Obj::read(&self.response, At::Root);
        let raw = obj.ok().and_then(|obj| obj.get("output"));
        raw.and_then(|raw| list(raw, At::Root).ok()).unwrap_or_default()
    }

    /// Its conversation's part: what was asked, then what was answered.
    pub(super) fn items(&self) -> impl Iterator<Item = &str> {
        let input = list(&self.input, At::Root).unwrap_or_default();
        input.into_iter().chain(self.outputs()).filter(|raw| raw.starts_with('{'))
    }
}

/// Stored answers that a request needs, loaded.
#[derive(Clone, Copy, Default)]
pub struct Loaded<'a> {
    /// The conversation before the request, oldest first; ends with the answer it names.
    pub earlier: &'a [Stored],
    /// Answers that single items refer to.
    pub items: &'a [Stored],
}

/// Items by their ids.
pub(super) struct Shelf<'a>(BTreeMap<String, &'a str>);

impl<'a> Shelf<'a> {
    pub(super) fn of(loaded: Loaded<'a>) -> Self {
        let mut shelf = BTreeMap::new();
        for raw in loaded.items.iter().chain(loaded.earlier).flat_map(Stored::items) {
            let id = Obj::read(raw, At::Root).ok().and_then(|o| o.word(At::Root, "id").ok());
            if let Some(id) = id.filter(|id| !id.is_empty()) {
                shelf.insert(id, raw);
            }
        }
        Self(shelf)
    }

    pub(super) fn item(&self, id: &str) -> Option<&'a str> {
        self.0.get(id).copied()
    }
}

/// The answer that an item's id belongs to: items are named after it.
pub(super) fn origin_of_item(id: &str) -> Option<String> {
    let (_, rest) = id.split_once('_')?;
    let (answer, number) = rest.rsplit_once('_')?;
    let ours = !answer.is_empty() && !number.is_empty();
    ours.then(|| format!("resp_{answer}"))
}

/// An input's items as they are stored: each with an id and its full form.
pub(super) fn normalise(input: &str, id: &str, shelf: &Shelf<'_>) -> String {
    let mut json = write::Json::new();
    json.array(|j| {
        if input.starts_with('"') {
            j.raw(&message(&format!("msg_{id}_i0"), "user", &text_part("input_text", input)));
            return;
        }
        for (index, raw) in list(input, At::Root).unwrap_or_default().into_iter().enumerate() {
            j.raw(&normal_item(raw, &format!("{id}_i{index}"), shelf));
        }
    });
    json.into_string()
}

fn text_part(kind: &str, literal: &str) -> String {
    let part = write::object(|j| {
        j.put("type", kind);
        j.key("text").raw(literal);
        if kind == "output_text" {
            j.put_array("annotations", |_| {});
        }
    });
    format!("[{part}]")
}

fn message(id: &str, role: &str, content: &str) -> String {
    write::object(|j| {
        j.put("id", id);
        j.put("type", "message");
        j.put("status", "completed");
        j.put("role", role);
        j.key("content").raw(content);
    })
}

fn normal_item(raw: &str, id: &str, shelf: &Shelf<'_>) -> String {
    let Ok(item) = Obj::read(raw, At::Root) else { return "null".to_owned() };
    let word = |key| item.word(At::Root, key).unwrap_or_default();
    let kind = word("type");
    let bare = kind.is_empty() && item.get("role").is_none();
    if kind == "item_reference" || bare {
        return shelf.item(&word("id")).unwrap_or("null").to_owned();
    }
    let own = Some(word("id")).filter(|id| !id.is_empty());
    if kind.is_empty() || kind == "message" {
        let role = word("role");
        let content = item.get("content").unwrap_or("[]");
        let kind = if role == "assistant" { "output_text" } else { "input_text" };
        let listed =
            if content.starts_with('"') { text_part(kind, content) } else { content.to_owned() };
        return message(&own.unwrap_or_else(|| format!("msg_{id}")), &role, &listed);
    }
    if own.is_some() {
        return raw.to_owned();
    }
    let prefix = match &*kind {
        "function_call" => "fc",
        "function_call_output" => "fco",
        "custom_tool_call" => "ctc",
        "custom_tool_call_output" => "ctco",
        "reasoning" => "rs",
        _ => "item",
    };
    write::object(|j| {
        j.put("id", &format!("{prefix}_{id}"));
        let status = item.get("status");
        for (key, raw) in item.each().filter(|(key, _)| *key != "id") {
            j.key(key).raw(raw);
        }
        if status.is_none() && kind.ends_with("_output") {
            j.put("status", "completed");
        }
    })
}

/// `GET /v1/responses/{id}`.
pub fn get(stored: &Stored) -> Answer {
    Answer::json(stored.response.clone())
}

/// `DELETE /v1/responses/{id}`, after it was deleted.
pub fn deleted(id: &str) -> Answer {
    Answer::json(write::object(|j| {
        j.put("id", id);
        j.put("object", "response");
        j.put_flag("deleted", true);
    }))
}

/// An id that is not stored: 404 for a path, 400 for a request that goes on with it.
pub fn not_stored(id: &str, param: Option<&str>) -> Fault {
    let shown: String = id.chars().filter(char::is_ascii_graphic).take(80).collect();
    let message = format!("no stored response has the id '{shown}'");
    let code = if param.is_some() { Code::PreviousResponseNotFound } else { Code::NotFound };
    Fault { param: param.map(str::to_owned), ..Fault::new(code, message) }
}

/// Most items on a page.
const PAGE_MAX: usize = 100;

/// `GET /v1/responses/{id}/input_items`, with its query (`limit`, `order`, `after`).
pub fn input_items(stored: &Stored, query: &str) -> Result<Answer, Fault> {
    let (mut limit, mut ascending, mut after) = (20, false, None);
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let at = At::Root;
        match key {
            "limit" => {
                let number = value.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n));
                limit = number.ok_or_else(|| at.key("limit").invalid("must be 1 to 100"))?;
            }
            "order" => {
                ascending = match value {
                    "asc" => true,
                    "desc" => false,
                    _ => return Err(at.key("order").invalid("must be asc or desc")),
                }
            }
            "after" => after = Some(value),
            _ => {}
        }
    }
    let mut items = list(&stored.input, At::Root).unwrap_or_default();
    if !ascending {
        items.reverse();
    }
    let id = |raw: &&str| {
        Obj::read(raw, At::Root).ok().and_then(|o| o.word(At::Root, "id").ok()).unwrap_or_default()
    };
    if let Some(after) = after {
        let found = items.iter().position(|raw| id(raw) == after);
        let found =
            found.ok_or_else(|| At::Root.key("after").invalid("names no item of the list"))?;
        items.drain(..=found);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let text = write::object(|j| {
        j.put("object", "list");
        j.put_array("data", |j| items.iter().for_each(|raw| j.raw(raw)));
        for (key, item) in [("first_id", items.first()), ("last_id", items.last())] {
            match item {
                Some(raw) => j.put(key, &id(raw)),
                None => j.key(key).null(),
            }
        }
        j.put_flag("has_more", more);
    });
    Ok(Answer { body: Bytes::from(text), ..Answer::json(String::new()) })
}
