//! From the chunks of a chat stream to parts that come strictly one after another.
//!
//! ```text
//!   closed ──piece──▶ open(kind) ──piece of the same part──▶ open(kind)
//!                        │ piece of another part
//!                        ├─ the open call is not complete: the piece is held
//!                        └─ else: close, open the other
//! ```
//!
//! Engines may interleave the deltas of parallel tool calls; the dialects' clients expect one part at a
//! time. Pieces of other parts are held while a call's arguments are not a complete JSON value, merged
//! by part, and let go when they are (or at the end). Nothing is lost, and a well-behaved stream is
//! never held.

use std::collections::BTreeSet;

use cutover_units::Code;
use cutover_wire::Fault;
use cutover_wire::json::Scan;
use cutover_wire::openai::chat::TokenLogprob;

use crate::chat::{Call, Choice, End, Said, Signed, Source};
use crate::lost::{ANNOTATIONS, Lost};

/// What a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Reasoning,
    /// Reasoning that only its maker can read: whole when it opens, its text in place of a name.
    Hidden,
    Text,
    Refusal,
    /// A tool call, with its index in the chat stream.
    Call(u64),
}

/// The name of a call when it begins.
pub(crate) struct Opened<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
}

/// A part at its end.
pub(crate) struct Closed<'a> {
    pub(crate) kind: &'a Kind,
    /// Everything it got.
    pub(crate) text: &'a str,
    pub(crate) logprobs: &'a [TokenLogprob],
    /// Of reasoning: its maker's signature.
    pub(crate) signature: Option<&'a str>,
    /// Of a text: the web pages that it is from.
    pub(crate) sources: &'a [Source],
    /// Whether the answer was cut by its limit in this part.
    pub(crate) cut: bool,
}

impl<'a> Closed<'a> {
    /// A part that has only begun.
    pub(crate) fn empty(kind: &'a Kind) -> Self {
        Self { kind, text: "", logprobs: &[], signature: None, sources: &[], cut: false }
    }
}

/// Writes parts in a client's dialect.
pub(crate) trait Parts {
    fn open(&mut self, part: &Opened<'_>) -> Result<(), Fault>;
    fn delta(&mut self, kind: &Kind, text: &str, logprobs: &[TokenLogprob]);
    /// A web page that the open text is from, and its number. False: there is no room for it.
    fn cite(&mut self, _: &Source, _: usize) -> bool {
        false
    }
    fn close(&mut self, part: &Closed<'_>) -> Result<(), Fault>;
}

/// A piece of a part, as the chat stream brings it.
struct Piece {
    kind: Kind,
    id: Option<String>,
    name: Option<String>,
    text: String,
    logprobs: Vec<TokenLogprob>,
}

struct Open {
    kind: Kind,
    text: String,
    logprobs: Vec<TokenLogprob>,
    sources: Vec<Source>,
    scan: Scan,
}

/// Most that one answer may say; beyond it, memory would be the upstream's to take.
const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most calls of one answer.
const CALLS_MAX: usize = 1_024;

/// Puts pieces in sequence.
#[derive(Default)]
pub(crate) struct Sequence {
    open: Option<Open>,
    held: Vec<Piece>,
    closed: BTreeSet<u64>,
    last_call: Option<u64>,
    signature: Option<String>,
    bytes: usize,
    lost: Lost,
    /// For ids of calls that come without one.
    id: String,
}

impl Sequence {
    pub(crate) fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    /// Whether a tool was called.
    pub(crate) fn has_calls(&self) -> bool {
        self.last_call.is_some()
    }

    /// Takes what a chunk's choice brings.
    pub(crate) fn take(&mut self, choice: &mut Choice, to: &mut dyn Parts) -> Result<(), Fault> {
        let logprobs = choice.logprobs();
        let mut said = choice.said(self.bytes == 0 && self.last_call.is_none());
        let reasoning = said.reasoning().map(str::to_owned);
        let text = said.content.text.take().or(choice.text.take());
        self.text(Kind::Reasoning, (reasoning, Vec::new()), to)?;
        self.hidden(&said, to)?;
        if let Some(signature) = said.signature() {
            // A signature ends its part of the reasoning, which may have no text that we can see.
            if !self.is_busy() {
                let (kind, text, logprobs) = (Kind::Reasoning, String::new(), Vec::new());
                self.place(Piece { kind, id: None, name: None, text, logprobs }, to)?;
                self.signature = Some(signature);
                self.close(false, to)?;
            }
        }
        self.text(Kind::Text, (text, logprobs), to)?;
        self.cite(said.sources(), to);
        self.lost.and(&said.lost());
        self.text(Kind::Refusal, (said.refusal.take(), Vec::new()), to)?;
        self.calls(said.take_calls(), to)
    }

    /// What the client's dialect has no room for.
    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    fn cite(&mut self, (sources, others): (Vec<Source>, bool), to: &mut dyn Parts) {
        let mut lost = others;
        for source in sources {
            match self.open.as_mut().filter(|open| open.kind == Kind::Text) {
                Some(open) if to.cite(&source, open.sources.len()) => open.sources.push(source),
                _ => lost = true,
            }
        }
        if lost {
            self.lost.note(ANNOTATIONS);
        }
    }

    fn hidden(&mut self, said: &Said, to: &mut dyn Parts) -> Result<(), Fault> {
        for signed in said.signed() {
            let Signed::Hidden(data) = signed else { continue };
            if !self.is_busy() {
                self.close(false, to)?;
                let (kind, text, logprobs) = (Kind::Hidden, String::new(), Vec::new());
                self.place(Piece { kind, id: None, name: Some(data), text, logprobs }, to)?;
                self.close(false, to)?;
            }
        }
        Ok(())
    }

    fn text(
        &mut self,
        kind: Kind,
        (text, logprobs): (Option<String>, Vec<TokenLogprob>),
        to: &mut dyn Parts,
    ) -> Result<(), Fault> {
        let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(()) };
        self.piece(Piece { kind, id: None, name: None, text, logprobs }, to)
    }

    fn calls(&mut self, calls: Vec<Call>, to: &mut dyn Parts) -> Result<(), Fault> {
        for call in calls {
            let id = call.id.filter(|id| !id.is_empty());
            let last = self.last_call;
            // Some servers leave the index out: a new id is then a new call.
            let index = call.index.unwrap_or(match (last, &id) {
                (None, _) => 0,
                (Some(last), Some(_)) => last + 1,
                (Some(last), None) => last,
            });
            self.last_call = Some(last.map_or(index, |l| l.max(index)));
            if self.closed.len() + self.held.len() > CALLS_MAX {
                return Err(Fault::new(Code::BadGateway, "the model called too many tools"));
            }
            let name = call.function.name.filter(|name| !name.is_empty());
            let text = call.function.arguments.unwrap_or_default();
            let kind = Kind::Call(index);
            self.piece(Piece { kind, id, name, text, logprobs: Vec::new() }, to)?;
        }
        Ok(())
    }

    fn piece(&mut self, piece: Piece, to: &mut dyn Parts) -> Result<(), Fault> {
        self.bytes += piece.text.len();
        if self.bytes > TEXT_BYTES_MAX {
            return Err(Fault::new(Code::BadGateway, "the upstream's answer is too long"));
        }
        self.place(piece, to)?;
        if self.held.is_empty() || self.is_busy() {
            return Ok(());
        }
        for held in std::mem::take(&mut self.held) {
            self.place(held, to)?;
        }
        Ok(())
    }

    /// Whether a call is open whose arguments are not complete.
    fn is_busy(&self) -> bool {
        self.open.as_ref().is_some_and(|o| matches!(o.kind, Kind::Call(_)) && !o.scan.is_complete())
    }

    fn place(&mut self, piece: Piece, to: &mut dyn Parts) -> Result<(), Fault> {
        let same = self.open.as_ref().is_some_and(|open| open.kind == piece.kind);
        if !same && self.is_busy() {
            self.hold(piece);
            return Ok(());
        }
        if !same {
            if let Kind::Call(index) = piece.kind
                && self.closed.contains(&index)
            {
                // Its arguments were complete: only space may follow.
                let empty = piece.text.trim().is_empty();
                let went_on = "the upstream went on with a tool call that had ended";
                return if empty { Ok(()) } else { Err(Fault::new(Code::BadGateway, went_on)) };
            }
            self.close(false, to)?;
            self.open(&piece, to)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.scan.read(&piece.text);
        open.text.push_str(&piece.text);
        if !piece.text.is_empty() {
            to.delta(&open.kind, &piece.text, &piece.logprobs);
        }
        open.logprobs.extend(piece.logprobs);
        Ok(())
    }

    fn hold(&mut self, piece: Piece) {
        match self.held.iter_mut().find(|held| held.kind == piece.kind) {
            Some(held) => {
                held.text.push_str(&piece.text);
                held.logprobs.extend(piece.logprobs);
                held.id = held.id.take().or(piece.id);
                held.name = held.name.take().or(piece.name);
            }
            None => self.held.push(piece),
        }
    }

    fn open(&mut self, piece: &Piece, to: &mut dyn Parts) -> Result<(), Fault> {
        let mut id = piece.id.clone().unwrap_or_default();
        if let Kind::Call(index) = piece.kind {
            if piece.name.is_none() {
                return Err(Fault::new(
                    Code::BadGateway,
                    "the upstream sent a call without a name",
                ));
            }
            if id.is_empty() {
                id = format!("call_{}_{index}", self.id);
            }
        }
        let name = piece.name.as_deref().unwrap_or_default();
        to.open(&Opened { kind: &piece.kind, id: &id, name })?;
        let (kind, text, logprobs) = (piece.kind.clone(), String::new(), Vec::new());
        let (sources, scan) = (Vec::new(), Scan::default());
        self.open = Some(Open { kind, text, logprobs, sources, scan });
        Ok(())
    }

    fn close(&mut self, cut: bool, to: &mut dyn Parts) -> Result<(), Fault> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if let Kind::Call(index) = open.kind {
            self.closed.insert(index);
        }
        let Open { kind, text, logprobs, sources, .. } = open;
        let signature = match kind {
            Kind::Reasoning => self.signature.take(),
            _ => None,
        };
        let signature = signature.as_deref();
        let (text, logprobs, sources) = (&text, &logprobs, &sources);
        to.close(&Closed { kind: &kind, text, logprobs, signature, sources, cut })
    }

    /// The stream ended well: closes what is open and lets go what is held.
    pub(crate) fn end(&mut self, end: &End, to: &mut dyn Parts) -> Result<(), Fault> {
        let held = std::mem::take(&mut self.held);
        self.close(end.is_cut(), to)?;
        for piece in held {
            self.place(piece, to)?;
            self.close(end.is_cut(), to)?;
        }
        self.lost.or_nothing_left(self.bytes > 0 || self.has_calls())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[derive(Default)]
    struct Log(String);

    impl Parts for Log {
        fn open(&mut self, part: &Opened<'_>) -> Result<(), Fault> {
            let _ = write!(self.0, "<{:?} {}", part.kind, part.name);
            Ok(())
        }
        fn delta(&mut self, _: &Kind, text: &str, _: &[TokenLogprob]) {
            let _ = write!(self.0, "|{text}");
        }
        fn close(&mut self, part: &Closed<'_>) -> Result<(), Fault> {
            let _ = write!(self.0, "={}>", part.text.len());
            Ok(())
        }
    }

    fn run(deltas: &[&str]) -> Result<String, Fault> {
        let (mut sequence, mut log) = (Sequence::default(), Log::default());
        for delta in deltas {
            let mut choice: Choice =
                serde_json::from_str(&format!(r#"{{"delta":{delta}}}"#)).unwrap();
            sequence.take(&mut choice, &mut log)?;
        }
        sequence.end(&End::default(), &mut log)?;
        Ok(log.0)
    }

    #[test]
    fn interleaved_calls_come_out_one_after_another_and_whole() {
        let log = run(&[
            r#"{"content":"a"}"#,
            r#"{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"y","function":{"name":"g","arguments":"{\"b"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":\"}\""}}]}"#,
            r#"{"tool_calls":[{"index":1,"function":{"arguments":"\":"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}"#,
            r#"{"tool_calls":[{"index":1,"function":{"arguments":"2}"}}]}"#,
        ]);
        assert_eq!(log.unwrap(), "<Text |a=1><Call(0) f|{\"a\":\"}\"|}=9><Call(1) g|{\"b\":|2}=7>");
    }

    #[test]
    fn a_call_without_arguments_does_not_hold_the_end_back() {
        let log = run(&[
            r#"{"tool_calls":[{"index":0,"id":"x","function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"y","function":{"name":"g","arguments":"{}"}}]}"#,
            r#"{"content":"z"}"#,
        ]);
        assert_eq!(log.unwrap(), "<Call(0) f=0><Call(1) g|{}=2><Text |z=1>");
    }

    #[test]
    fn a_missing_index_is_told_from_the_id() {
        let log = run(&[
            r#"{"tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"id":"y","function":{"name":"g","arguments":"{"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"}"}}]}"#,
        ]);
        assert_eq!(log.unwrap(), "<Call(0) f|{}=2><Call(1) g|{|}=2>");
    }

    #[test]
    fn a_call_that_goes_on_after_its_end_or_has_no_name_is_the_upstreams_fault() {
        let on = run(&[
            r#"{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"content":"a"}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#,
        ]);
        assert_eq!(on.unwrap_err().code, Code::BadGateway);
        let nameless = run(&[r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#]);
        assert_eq!(nameless.unwrap_err().code, Code::BadGateway);
    }
}
