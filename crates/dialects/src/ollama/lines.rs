//! Streams in this dialect: lines of JSON. A call comes whole, in one line.

use cutover_wire::Fault;
use cutover_wire::openai::chat::TokenLogprob;

use super::answer::{Said, Times, call_object, write_end};
use super::{Shape, error_body};
use crate::chat::{self, End};
use crate::inbound::Moment;
use crate::sequence::{Closed, Kind, Opened, Parts};
use crate::stream::Writer;
use crate::write;

/// Writes the lines.
pub(crate) struct Lines {
    shape: Shape,
    model: String,
    first: Option<Moment>,
    calls: usize,
    /// Id and name of the open call.
    call: (String, String),
}

impl Lines {
    pub(crate) fn new(shape: Shape, model: String) -> Self {
        Self { shape, model, first: None, calls: 0, call: (String::new(), String::new()) }
    }

    fn line(&mut self, said: &Said, now: Moment, out: &mut String) {
        let line = write::object(|j| {
            said.write(j, self.shape, (&self.model, now.at));
            j.put_flag("done", false);
        });
        out.push_str(&line);
        out.push('\n');
    }
}

impl Writer for Lines {
    fn begin(&mut self, model: &str, _: &mut String) {
        model.clone_into(&mut self.model);
    }

    fn parts<'s>(&'s mut self, now: Moment, out: &'s mut String) -> Box<dyn Parts + 's> {
        Box::new(Pieces { lines: self, now, out })
    }

    fn ping(&mut self, now: Moment, out: &mut String) {
        // Lines have no comments: a line that says nothing keeps the connection alive.
        self.line(&Said::default(), now, out);
    }

    fn can_be_followed(&self) -> bool {
        true
    }

    fn end(&mut self, end: &End, now: Moment, out: &mut String) {
        let times = Times { first: self.first, now };
        let line = write::object(|j| {
            Said::default().write(j, self.shape, (&self.model, now.at));
            write_end(j, end, times);
        });
        out.push_str(&line);
        out.push('\n');
    }

    fn fail(&mut self, fault: &Fault, _: Moment, out: &mut String) {
        out.push_str(&error_body(fault));
        out.push('\n');
    }
}

struct Pieces<'s> {
    lines: &'s mut Lines,
    now: Moment,
    out: &'s mut String,
}

impl Parts for Pieces<'_> {
    fn open(&mut self, part: &Opened<'_>) -> Result<(), Fault> {
        self.lines.first.get_or_insert(self.now);
        self.lines.call = (part.id.to_owned(), part.name.to_owned());
        Ok(())
    }

    fn delta(&mut self, kind: &Kind, text: &str, logprobs: &[TokenLogprob]) {
        let mut said = Said::default();
        match kind {
            Kind::Reasoning => text.clone_into(&mut said.thinking),
            Kind::Text | Kind::Refusal => text.clone_into(&mut said.text),
            Kind::Call(_) | Kind::Hidden => return,
        }
        said.logprobs = logprobs.to_vec();
        self.lines.line(&said, self.now, self.out);
    }

    fn close(&mut self, part: &Closed<'_>) -> Result<(), Fault> {
        let Kind::Call(_) = part.kind else { return Ok(()) };
        let Some(object) = chat::arguments_object(part.text) else {
            // A call that the limit cut is no call; done_reason tells of the cut.
            return if part.cut { Ok(()) } else { Err(chat::bad_arguments()) };
        };
        let (id, name) = &self.lines.call;
        let call = call_object(self.lines.calls, (id, name), object);
        self.lines.calls += 1;
        let said = Said { calls: vec![call], ..Said::default() };
        self.lines.line(&said, self.now, self.out);
        Ok(())
    }
}
