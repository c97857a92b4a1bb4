//! What a request to a vendor's own API is made of, whoever the vendor is: turns that alternate, calls with arguments
//! that are an object, parts that are more than text.

use cutover_wire::Fault;
use cutover_wire::openai::arguments;

use crate::losses::Losses;
use crate::read::{At, Obj, Text};
use crate::write::Json;

/// One turn, of blocks or parts as JSON.
struct Turn {
    role: &'static str,
    /// Those that stand before all others, whenever they come.
    first: Vec<String>,
    items: Vec<String>,
}

/// A conversation, with what stands before it.
#[derive(Default)]
pub(crate) struct Turns {
    pub(crate) system: Vec<String>,
    list: Vec<Turn>,
}

impl Turns {
    /// Instructions: there is one place for them, before the turns.
    pub(crate) fn instruct(&mut self, items: Vec<String>, losses: &mut Losses) {
        if !self.list.is_empty() {
            losses.note("messages[].system.later");
        }
        self.system.extend(items);
    }

    /// Turns of one role in a row are one turn: results of parallel calls must be.
    pub(crate) fn put(&mut self, role: &'static str, items: Vec<String>) {
        if items.is_empty() {
            return;
        }
        match self.list.last_mut().filter(|turn| turn.role == role) {
            Some(turn) => turn.items.extend(items),
            None => self.list.push(Turn { role, first: Vec::new(), items }),
        }
    }

    /// Puts an item into the turn of a role, behind those that were so put and before all others: tells whether there
    /// are others.
    pub(crate) fn put_before(&mut self, role: &'static str, item: String) -> bool {
        if let Some(turn) = self.list.last_mut().filter(|turn| turn.role == role) {
            turn.first.push(item);
            return !turn.items.is_empty();
        }
        self.list.push(Turn { role, first: vec![item], items: Vec::new() });
        false
    }

    /// Each turn's role, the items that were put before the others, and those.
    pub(crate) fn each(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&'static str, &[String], &[String])> {
        self.list.iter().map(|turn| (turn.role, &*turn.first, &*turn.items))
    }

    /// A conversation must have a turn: instructions alone become the user's.
    /// `any`: whether there are messages at all.
    pub(crate) fn someone_speaks(&mut self, any: bool, losses: &mut Losses) -> Result<(), Fault> {
        if self.list.is_empty() && !self.system.is_empty() {
            losses.note("messages[].system.alone");
            let items = std::mem::take(&mut self.system);
            self.put("user", items);
        }
        if self.list.is_empty() && any {
            return Err(At::Root.key("messages").invalid("holds no message that says anything"));
        }
        Ok(())
    }

    /// The turns as elements of an array, their items under this name.
    pub(crate) fn write(&self, json: &mut Json, name: &str) {
        for turn in &self.list {
            json.object(|j| {
                j.put("role", turn.role);
                let items = turn.first.iter().chain(&turn.items);
                j.put_array(name, |j| items.for_each(|item| j.raw(item)));
            });
        }
    }
}

/// A call of the history.
pub(crate) struct Called<'a> {
    /// The call's own members.
    pub(crate) call: Obj<'a>,
    pub(crate) id: Text<'a>,
    pub(crate) name: Text<'a>,
    /// A JSON object.
    pub(crate) arguments: String,
}

/// Reads a call. Arguments that are no object are what a model wrote, which its client cannot mend: they are sent as a
/// text in one.
pub(crate) fn called<'a>(
    raw: &'a str,
    at: At<'_>,
    losses: &mut Losses,
) -> Result<Called<'a>, Fault> {
    let call = Obj::read(raw, at)?;
    let here = at.key("function");
    let function = call.object(at, "function")?.ok_or_else(|| here.missing())?;
    let (id, name) = (call.need_text(at, "id")?, function.need_text(here, "name")?);
    let arguments = function.text(here, "arguments")?.unwrap_or_else(|| Text::from(""));
    let text = arguments.decode();
    let arguments = arguments::object(&text).map_or_else(
        || {
            losses.note("messages[].tool_calls[].function.arguments");
            arguments::wrapped(&text)
        },
        str::to_owned,
    );
    Ok(Called { call, id, name, arguments })
}

/// An image's address, or its data as one.
pub(crate) fn image_url<'a>(
    part: &Obj<'a>,
    at: At<'_>,
    losses: &mut Losses,
) -> Result<Text<'a>, Fault> {
    let here = at.key("image_url");
    let image = part.object(at, "image_url")?.ok_or_else(|| here.missing())?;
    if image.get("detail").is_some_and(|raw| raw != "\"auto\"") {
        losses.refuse("messages[].content[].image_url.detail", here.key("detail"))?;
    }
    image.need_text(here, "url")
}

/// A file's data and its name. `None`: it is kept elsewhere, and left out.
pub(crate) fn file<'a>(
    part: &Obj<'a>,
    at: At<'_>,
    losses: &mut Losses,
) -> Result<Option<(Text<'a>, Option<Text<'a>>)>, Fault> {
    let here = at.key("file");
    let file = part.object(at, "file")?.ok_or_else(|| here.missing())?;
    if file.get("file_id").is_some() {
        losses.refuse("messages[].content[].file_id", here.key("file_id"))?;
        return Ok(None);
    }
    let data = file.need_text(here, "file_data")?;
    if !data.decode().starts_with("data:") {
        return Err(here.key("file_data").invalid("must be a data URL"));
    }
    Ok(Some((data, file.text(here, "filename")?)))
}

/// The type of a data URL, as the vendors name it: other clients write `image/jpg`, or something behind it.
pub(crate) fn media_type(named: &str) -> String {
    let kind = named.split(';').next().unwrap_or(named).trim().to_ascii_lowercase();
    if kind == "image/jpg" { "image/jpeg".to_owned() } else { kind }
}

/// Takes members whose values ask for nothing.
pub(crate) fn neutral(root: &Obj<'_>, table: &[(&str, &[&str])]) {
    for (key, values) in table {
        if root.each().any(|(name, raw)| name == *key && values.contains(&raw)) {
            root.get(key);
        }
    }
}
