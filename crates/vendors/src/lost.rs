//! What an answer holds that the dialect which it is turned into has no room for: reported like what is lost of a
//! request, by names that begin with `answer.`.

use cutover_units::Code;
use cutover_wire::{Fault, Loss, LossAction};

/// The parts of answers that some dialect has no room for, and why they are left out.
pub const ROWS: &[(&str, &str)] = &[
    (IMAGES, "clients of chat completions alone get images that a model made, as `message.images`"),
    (AUDIO, "audio that the model said, which only chat completions has"),
    (
        ANNOTATIONS,
        "where a text is from: web pages alone are carried, to chat completions and Responses",
    ),
    (CITATIONS, "Anthropic's places in documents and files: web pages become annotations"),
    (TOOLS, "a step of a tool that ran at the vendor's: what the model says of it is text"),
    (CODE, "code that ran at Google, and what it printed: what the model says of it is text"),
    (GROUNDING, "the web pages of Google's search, whose places are counted in bytes of parts"),
    (PART, "a kind of part that cutover does not know"),
    (
        STOP,
        "no other dialect has a word for it (Anthropic's `pause_turn`): the answer is told to have stopped",
    ),
];

/// Images that were made.
pub const IMAGES: &str = "answer.images";
/// Audio that was said.
pub const AUDIO: &str = "answer.audio";
/// Where a text is from.
pub const ANNOTATIONS: &str = "answer.annotations";
/// Anthropic's places in documents.
pub const CITATIONS: &str = "answer.citations";
/// Tools that ran at the vendor's.
pub const TOOLS: &str = "answer.server_tools";
/// Gemini's code execution.
pub const CODE: &str = "answer.code_execution";
/// Gemini's searches.
pub const GROUNDING: &str = "answer.grounding";
/// What nobody knows.
pub const PART: &str = "answer.part";
/// Why it ended.
pub const STOP: &str = "answer.stop_reason";

/// Adds to a report what else was lost, each part once.
pub fn add(report: &mut Vec<Loss>, more: &[Loss]) {
    for loss in more {
        if !report.contains(loss) {
            report.push(loss.clone());
        }
    }
}

/// Collects what an answer loses, each part once.
#[derive(Debug, Clone, Default)]
pub struct Lost(Vec<Loss>);

impl Lost {
    /// A part was left out.
    pub fn note(&mut self, part: &'static str) {
        self.add(part, LossAction::Dropped);
    }

    /// A part was told by something near it.
    pub fn near(&mut self, part: &'static str) {
        self.add(part, LossAction::Approximated);
    }

    /// What a piece of the answer lost, too.
    pub fn and(&mut self, piece: &Self) {
        add(&mut self.0, &piece.0);
    }

    fn add(&mut self, part: &'static str, action: LossAction) {
        let why = ROWS.iter().find(|(name, _)| *name == part).map_or("", |(_, why)| why);
        if !self.0.iter().any(|loss| loss.field == part) {
            self.0.push(Loss { field: part.to_owned(), action, why });
        }
    }

    /// What was lost so far.
    pub fn list(&self) -> &[Loss] {
        &self.0
    }

    /// The report.
    pub fn into_list(self) -> Vec<Loss> {
        self.0
    }

    /// Nothing else was said: what is left would be an answer that is empty.
    pub fn or_nothing_left(&self, said: bool) -> Result<(), Fault> {
        match self.0.first().filter(|_| !said) {
            None => Ok(()),
            Some(loss) => {
                let message = format!(
                    "the upstream's answer has no form in the client's dialect: there is nothing in it but {}",
                    loss.field
                );
                Err(Fault::new(Code::BadGateway, message))
            }
        }
    }
}
