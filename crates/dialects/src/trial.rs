//! Streams before any of them is sent: whether they can be turned at all, and whether a client would have seen some of
//! the answer by now. Until then another upstream may answer in place of the one that was asked.
//!
//! What is read and put in sequence is what a [`StreamOut`] reads; written is a mark for what a client would be shown.

use bytes::Bytes;
use cutover_wire::Fault;
use cutover_wire::openai::chat::TokenLogprob;

use crate::chat::{self, End};
use crate::gemini;
use crate::inbound::{Back, Moment, WayBack};
use crate::sequence::{Closed, Kind, Opened, Parts};
use crate::stream::{StreamOut, Writer};

/// What a client's dialect shows of an answer's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Each part from its beginning; else what is in it, and calls whole.
    beginnings: bool,
    reasoning: bool,
    /// Reasoning that only its maker can read.
    hidden: bool,
    /// Arguments of calls as objects: what is none has no form.
    objects: bool,
}

impl WayBack {
    /// What the client is shown of a stream.
    pub fn shown(&self) -> Shown {
        let whole = Shown { beginnings: false, reasoning: true, hidden: false, objects: true };
        match &self.kind {
            Back::Anthropic => Shown { beginnings: true, hidden: true, ..whole },
            Back::Responses(_) => Shown { beginnings: true, objects: false, ..whole },
            Back::Ollama(_) => whole,
            Back::Gemini(shape) => {
                let reasoning = matches!(shape, gemini::Shape::Content { thoughts: true, .. });
                Shown { reasoning, ..whole }
            }
        }
    }
}

/// One stream on trial. No `Debug`: it holds the answer.
pub struct Trial {
    out: StreamOut,
    marks: Vec<Bytes>,
}

impl Trial {
    /// Of a stream for a client that is shown this.
    pub fn new(shown: Shown) -> Self {
        let out = StreamOut::with(Box::new(Marks(shown)), (String::new(), String::new()));
        Self { out, marks: Vec::new() }
    }

    /// Takes bytes of the OpenAI dialect. True: the client would have seen some of the answer by now.
    pub fn push(&mut self, frame: Bytes) -> Result<bool, Fault> {
        self.out.push(frame, Moment::default(), &mut self.marks);
        self.out.fault().map_or(Ok(!self.marks.is_empty()), |fault| Err(fault.clone()))
    }
}

struct Marks(Shown);

impl Writer for Marks {
    fn begin(&mut self, _: &str, _: &mut String) {}

    fn parts<'s>(&'s mut self, _: Moment, out: &'s mut String) -> Box<dyn Parts + 's> {
        Box::new(Marked { shown: self.0, out })
    }

    fn ping(&mut self, _: Moment, _: &mut String) {}

    fn end(&mut self, _: &End, _: Moment, _: &mut String) {}

    fn fail(&mut self, _: &Fault, _: Moment, _: &mut String) {}
}

struct Marked<'s> {
    shown: Shown,
    out: &'s mut String,
}

impl Marked<'_> {
    fn mark(&mut self, is_shown: bool) {
        if is_shown {
            self.out.push('.');
        }
    }
}

impl Parts for Marked<'_> {
    fn open(&mut self, part: &Opened<'_>) -> Result<(), Fault> {
        self.mark(self.shown.beginnings && (*part.kind != Kind::Hidden || self.shown.hidden));
        Ok(())
    }

    fn delta(&mut self, kind: &Kind, _: &str, _: &[TokenLogprob]) {
        self.mark(match kind {
            Kind::Reasoning => self.shown.reasoning,
            Kind::Text | Kind::Refusal => true,
            Kind::Call(_) | Kind::Hidden => false,
        });
    }

    fn close(&mut self, part: &Closed<'_>) -> Result<(), Fault> {
        let Kind::Call(_) = part.kind else { return Ok(()) };
        if !self.shown.objects {
            return Ok(());
        }
        let is_object = chat::arguments_object(part.text).is_some();
        self.mark(is_object);
        if is_object || part.cut { Ok(()) } else { Err(chat::bad_arguments()) }
    }
}
