//! Streams in this dialect. Every event is numbered as it is written, so that the numbers have no gaps
//! whatever cutover did before.

use bytes::Bytes;
use cutover_units::Millis;
use cutover_wire::Fault;
use cutover_wire::openai::chat::TokenLogprob;
use cutover_wire::stream::split::Event;

use super::object::{
    self, CallItem, Echo, Object, Standing, annotation, incomplete, message_item, reasoning_item,
    reasoning_part, refusal_part, text_part, write_logprobs,
};
use super::store::Stored;
use super::tools::custom_input;
use crate::chat::{End, Source};
use crate::inbound::Moment;
use crate::sampled::Sent;
use crate::sequence::{Closed, Kind, Opened, Parts};
use crate::split;
use crate::stream::{Writer, event};
use crate::write::{self, Json};

/// Writes the events.
pub(crate) struct Events {
    echo: Echo,
    answer_id: String,
    id: String,
    created: Millis,
    model: String,
    number: u64,
    output: Vec<String>,
    /// The open item.
    item: Item,
    stored: Option<Stored>,
    /// The Response of an upstream that speaks this dialect itself, as its first event told it.
    theirs: Option<String>,
}

#[derive(Default)]
struct Item {
    id: String,
    call_id: String,
    chat_name: String,
    custom: bool,
}

impl Events {
    pub(crate) fn new(echo: Echo, answer_id: String, (id, created): (String, Millis)) -> Self {
        Self {
            echo,
            answer_id,
            id,
            created,
            model: String::new(),
            number: 0,
            output: Vec::new(),
            item: Item::default(),
            stored: None,
            theirs: None,
        }
    }

    fn put(&mut self, out: &mut String, name: &str, fill: impl FnOnce(&mut Json)) {
        let data = write::object(|j| {
            j.put("type", name);
            j.put_number("sequence_number", self.number);
            fill(j);
        });
        self.number += 1;
        event(out, name, &data);
    }

    fn object(&self, standing: &Standing<'_>) -> String {
        let object = Object {
            id: &self.answer_id,
            model: &self.model,
            created: self.created,
            output: &self.output,
            sampled: &self.echo.sampled,
        };
        object.write(&self.echo, standing)
    }

    fn whole(&mut self, out: &mut String, name: &str, object: &str) {
        self.put(out, name, |j| j.key("response").raw(object));
    }
}

impl Writer for Events {
    fn was_sent(&mut self, sent: Sent<'_>) {
        self.echo.sampled.was_sent(sent);
    }

    fn begin(&mut self, model: &str, out: &mut String) {
        model.clone_into(&mut self.model);
        let object = self.object(&Standing::InProgress);
        self.whole(out, "response.created", &object);
        self.whole(out, "response.in_progress", &object);
    }

    fn parts<'s>(&'s mut self, _: Moment, out: &'s mut String) -> Box<dyn Parts + 's> {
        Box::new(Items { events: self, out })
    }

    fn ping(&mut self, _: Moment, out: &mut String) {
        // A comment has no number, and every parser skips it.
        out.push_str(": keep-alive\n\n");
    }

    /// A comment contradicts nothing that an upstream says later.
    fn begins_to_ping(&self) -> bool {
        false
    }

    /// What is seen of it goes on where it breaks off.
    fn pass(&mut self, event: Bytes, out: &mut Vec<Bytes>) {
        let read = Event::read(&event);
        let data = read.data.bytes();
        let members = std::str::from_utf8(data).ok().and_then(|text| split::members(text.trim()));
        for (key, raw) in members.into_iter().flatten() {
            match key {
                "\"sequence_number\"" => {
                    self.number = raw.parse().map_or(self.number, |n: u64| n + 1);
                }
                "\"response\"" if self.theirs.is_none() => self.theirs = Some(raw.to_owned()),
                _ => {}
            }
        }
        out.push(event);
    }

    fn end(&mut self, end: &End, now: Moment, out: &mut String) {
        let object = self.object(&Standing::Ended(end, now.at));
        let name = match incomplete(end) {
            Some(_) => "response.incomplete",
            None => "response.completed",
        };
        self.whole(out, name, &object);
        self.stored = object::stored(&self.echo, &self.answer_id, &object);
    }

    fn fail(&mut self, fault: &Fault, _: Moment, out: &mut String) {
        // Some clients look for one of these, some for the other.
        self.put(out, "error", |j| {
            j.put("code", fault.code.name());
            j.put("message", &fault.message);
            match &fault.param {
                Some(param) => j.put("param", param),
                None => j.key("param").null(),
            }
        });
        let theirs = self.theirs.as_deref().and_then(|raw| object::failed(raw, fault));
        let object = theirs.unwrap_or_else(|| self.object(&Standing::Failed(fault)));
        self.whole(out, "response.failed", &object);
    }

    fn stored(&mut self) -> Option<Stored> {
        self.stored.take()
    }
}

struct Items<'s> {
    events: &'s mut Events,
    out: &'s mut String,
}

impl Items<'_> {
    fn put(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.events.put(self.out, name, fill);
    }

    fn index(&self) -> u64 {
        self.events.output.len() as u64
    }

    fn item_event(&mut self, name: &str, item: &str) {
        let index = self.index();
        self.put(name, |j| {
            j.put_number("output_index", index);
            j.key("item").raw(item);
        });
    }

    /// An event about the open item; `part`: about its only content part.
    fn about(&mut self, name: &str, part: bool, fill: impl FnOnce(&mut Json)) {
        let (index, id) = (self.index(), self.events.item.id.clone());
        self.put(name, |j| {
            j.put("item_id", &id);
            j.put_number("output_index", index);
            if part {
                j.put_number("content_index", 0);
            }
            fill(j);
        });
    }

    fn call_item(&self, arguments: &str, status: &str) -> String {
        let item = &self.events.item;
        let call = CallItem {
            id: &item.id,
            call_id: &item.call_id,
            chat_name: &item.chat_name,
            arguments,
            status,
        };
        call.write(&self.events.echo.names)
    }

    /// An item of this kind with one part, or none yet.
    fn part_item(&self, kind: &Kind, part: Option<&str>, status: &str) -> String {
        let id = &self.events.item.id;
        if *kind == Kind::Reasoning {
            return reasoning_item(id, part, status);
        }
        message_item(id, part, status)
    }

    fn done_text(&mut self, part: &Closed<'_>) {
        match part.kind {
            Kind::Reasoning => {
                self.about("response.reasoning_text.done", true, |j| j.put("text", part.text));
            }
            Kind::Refusal => {
                self.about("response.refusal.done", true, |j| j.put("refusal", part.text));
            }
            _ => self.about("response.output_text.done", true, |j| {
                j.put("text", part.text);
                write_logprobs(j.key("logprobs"), part.logprobs);
            }),
        }
    }

    fn close_call(&mut self, part: &Closed<'_>) {
        let arguments = object::call_arguments(part.text);
        if self.events.item.custom {
            // The text is known when the arguments are whole: one delta with all of it.
            let input = custom_input(part.text);
            self.about("response.custom_tool_call_input.delta", false, |j| j.put("delta", &input));
            self.about("response.custom_tool_call_input.done", false, |j| j.put("input", &input));
        } else {
            if arguments != part.text {
                let name = "response.function_call_arguments.delta";
                self.about(name, false, |j| j.put("delta", arguments));
            }
            let name = self.events.echo.names.origin(&self.events.item.chat_name).name;
            self.about("response.function_call_arguments.done", false, |j| {
                j.put("name", &name);
                j.put("arguments", arguments);
            });
        }
        let status = if part.cut { "incomplete" } else { "completed" };
        let item = self.call_item(arguments, status);
        self.item_event("response.output_item.done", &item);
        self.events.output.push(item);
    }
}

/// An item's content part at its end, or at its beginning.
fn part_of(part: &Closed<'_>) -> String {
    match part.kind {
        Kind::Reasoning => reasoning_part(part.text),
        Kind::Refusal => refusal_part(part.text),
        _ => text_part(part.text, part.logprobs, part.sources),
    }
}

impl Parts for Items<'_> {
    fn open(&mut self, part: &Opened<'_>) -> Result<(), Fault> {
        let index = self.index();
        let custom = self.events.echo.names.origin(part.name).custom;
        let prefix = match part.kind {
            // Nobody who speaks this dialect could send it back to its maker.
            Kind::Hidden => return Ok(()),
            Kind::Reasoning => "rs",
            Kind::Call(_) if custom => "ctc",
            Kind::Call(_) => "fc",
            Kind::Text | Kind::Refusal => "msg",
        };
        self.events.item = Item {
            id: format!("{prefix}_{}_{index}", self.events.id),
            call_id: part.id.to_owned(),
            chat_name: part.name.to_owned(),
            custom,
        };
        if let Kind::Call(_) = part.kind {
            let item = self.call_item("", "in_progress");
            self.item_event("response.output_item.added", &item);
            return Ok(());
        }
        let item = self.part_item(part.kind, None, "in_progress");
        self.item_event("response.output_item.added", &item);
        let empty = part_of(&Closed::empty(part.kind));
        self.about("response.content_part.added", true, |j| j.key("part").raw(&empty));
        Ok(())
    }

    fn delta(&mut self, kind: &Kind, text: &str, logprobs: &[TokenLogprob]) {
        match kind {
            Kind::Reasoning => {
                self.about("response.reasoning_text.delta", true, |j| j.put("delta", text));
            }
            Kind::Refusal => self.about("response.refusal.delta", true, |j| j.put("delta", text)),
            Kind::Text => self.about("response.output_text.delta", true, |j| {
                j.put("delta", text);
                write_logprobs(j.key("logprobs"), logprobs);
            }),
            Kind::Call(_) if self.events.item.custom => {}
            Kind::Hidden => {}
            Kind::Call(_) => {
                self.about("response.function_call_arguments.delta", false, |j| {
                    j.put("delta", text);
                });
            }
        }
    }

    fn cite(&mut self, source: &Source, number: usize) -> bool {
        self.about("response.output_text.annotation.added", true, |j| {
            j.put_number("annotation_index", number as u64);
            j.key("annotation").raw(&annotation(source));
        });
        true
    }

    fn close(&mut self, part: &Closed<'_>) -> Result<(), Fault> {
        match part.kind {
            Kind::Hidden => return Ok(()),
            Kind::Call(_) => {
                self.close_call(part);
                return Ok(());
            }
            _ => self.done_text(part),
        }
        let whole = part_of(part);
        self.about("response.content_part.done", true, |j| j.key("part").raw(&whole));
        let status = if part.cut && *part.kind == Kind::Text { "incomplete" } else { "completed" };
        let item = self.part_item(part.kind, Some(&whole), status);
        self.item_event("response.output_item.done", &item);
        self.events.output.push(item);
        Ok(())
    }
}
