//! A request of another dialect as a chat: in how many forms, and when they are made.
//!
//! What a field of the client's may become depends on the target, which is not known when the body is
//! read. So both sides of each question are kept, and a leg takes the one that fits it:
//! - Fields that a strict variant refuses: left out, with the refusal kept for the legs whose variant is strict.
//! - Earlier reasoning that the client sends back: self-hosted engines take it, hosted services refuse
//!   it. A request that holds any has a second form without.
//! - Marks for caching and signatures of calls, how Anthropic's clients ask for thinking and mark errors: only
//!   Anthropic's and Gemini's own APIs take them, so a request has a form with them for those.
//!
//! Where some upstream speaks the client's own dialect, no form is made before a leg asks for one: most such
//! requests need none. What an outline told of them is all that is known until then.

use std::sync::OnceLock;

use bytes::Bytes;
use cutover_dialects::anthropic::ANTHROPIC;
use cutover_dialects::gemini::GEMINI;
use cutover_dialects::responses::RESPONSES;
use cutover_dialects::{
    Answer, Asked, Dialect, Inbound, Origins, Outline, Outliner, Refused, RequestFacts, StoreNeeds,
    WayBack,
};
use cutover_units::{Code, Millis};
use cutover_wire::providers::Dialect as Provided;
use cutover_wire::{Fault, Head, Loss, Target, Unsupported};
use memchr::memmem;

use crate::own::Own;
use crate::sent::takes_marks;

/// How a dialect's routes read a body.
pub type ReadBody<'a> = &'a (dyn Fn(&Bytes, &RequestFacts<'_>) -> Result<Asked, Fault> + Sync);

/// What ids of signed calls hold.
const SIGNED: &[u8] = cutover_dialects::SIGNED_ID.as_bytes();

/// The members in which Gemini's clients send what only Gemini takes.
const GOOGLES: [&[u8]; 4] = [
    b"\"thoughtSignature\"",
    b"\"thought_signature\"",
    b"\"thinkingConfig\"",
    b"\"thinking_config\"",
];

/// The members in which Anthropic's clients send what chat completions cannot say so, marks for caching among them.
const ANTHROPICS: [&[u8]; 4] =
    [b"\"cache_control\"", b"\"thinking\"", b"\"effort\"", b"\"is_error\""];

/// The member that earlier reasoning becomes.
const REASONING: &[u8] = b"\"reasoning_";

/// A request in the OpenAI dialect.
pub struct Form {
    /// Its head.
    pub head: Head,
    /// The request.
    pub body: Bytes,
    /// What of the client's request is not in it.
    pub losses: Vec<Loss>,
}

/// What a body turned out to be.
pub enum Reading {
    /// An inference request: its main form, the others, and the way back.
    Infer(Box<(Form, Forms, WayBack)>),
    /// Stored answers must be loaded first, and the body read again with them.
    Load(StoreNeeds),
    /// Answered already.
    Now(Answer),
}

/// The forms of a request besides its main one, and what is said against it. No `Debug`: it holds the prompt.
#[derive(Default)]
pub struct Forms {
    /// The main form, where it was made after the request was decided.
    late: Option<Form>,
    /// What is not in the main form.
    losses: Vec<Loss>,
    /// The form for targets that take no earlier reasoning, if there is any.
    plain: Option<Box<Form>>,
    /// The form for targets that take marks for caching, if there are any.
    marked: Option<Box<Form>>,
    /// What the client calls the fields of the request as it is sent on.
    origins: Origins,
    /// What a strict variant says to the request.
    refusal: Option<Fault>,
    /// What every variant says to it, but for one whose upstream speaks the client's dialect.
    never: Option<Fault>,
    /// Whether its answer shall be kept, which is made of converted ones.
    keeps: bool,
}

/// Reads a body of another dialect.
pub fn read_foreign(
    dialect: &'static Dialect,
    read: ReadBody<'_>,
    body: &Bytes,
    facts: RequestFacts<'_>,
) -> Result<Reading, Fault> {
    let holds = |mark: &[u8]| memmem::find(body, mark).is_some();
    let anthropics = ANTHROPICS.into_iter().filter(|_| dialect.name == ANTHROPIC.name);
    let googles = GOOGLES.into_iter().filter(|_| dialect.name == GEMINI.name);
    let marks = googles.chain([SIGNED]).chain(anthropics);
    let marked = facts.keep_marks && marks.into_iter().any(holds);
    let noting = RequestFacts {
        unsupported: Unsupported::Strict,
        keep_reasoning: true,
        keep_marks: false,
        notes: true,
        ..facts
    };
    let mut inbound = match read(body, &noting)? {
        Asked::Now(answer) => return Ok(Reading::Now(answer)),
        Asked::Infer(inbound) => *inbound,
    };
    let Refused { by_strict: refusal, by_all: never } = std::mem::take(&mut inbound.refused);
    // The other forms are read by what is known of it now.
    let unsupported = if refusal.is_some() { Unsupported::Lenient } else { Unsupported::Strict };
    let facts = RequestFacts { unsupported, own: never.is_some(), notes: false, ..noting };
    if inbound.needs.must_load() {
        // What goes on from a stored answer goes by conversion.
        return never.map_or(Ok(Reading::Load(inbound.needs)), Err);
    }
    let keeps = inbound.needs.keep;
    let plain = match memmem::find(&inbound.body, REASONING) {
        None => None,
        Some(_) => match read(body, &RequestFacts { keep_reasoning: false, ..facts })? {
            Asked::Infer(plain) if plain.body != inbound.body => Some(Box::new(form(*plain)?.0)),
            _ => None,
        },
    };
    let all = RequestFacts { keep_marks: true, ..facts };
    let marked = match marked.then(|| read(body, &all)).transpose()? {
        Some(Asked::Infer(marked)) if marked.body != inbound.body => {
            Some(Box::new(form(*marked)?.0))
        }
        _ => None,
    };
    let origins = std::mem::take(&mut inbound.origins);
    let read = form(inbound).map_err(|fault| origins.in_clients_words(fault));
    let (mut form, way_back) = read?;
    let losses = std::mem::take(&mut form.losses);
    let forms = Forms { late: None, losses, plain, marked, origins, refusal, never, keeps };
    Ok(Reading::Infer(Box::new((form, forms, way_back))))
}

fn form(inbound: Inbound) -> Result<(Form, WayBack), Fault> {
    let Inbound { endpoint, body, losses, way_back, .. } = inbound;
    let mut head = Head::of_made(endpoint, &body)?;
    head.stream_options_are_ours = true;
    Ok((Form { head, body, losses }, way_back))
}

/// Whether a target takes the reasoning of earlier answers back. Anthropic's is signed and wanted.
fn takes_reasoning(target: &Target) -> bool {
    target.provider.self_hosted || target.provider.dialect == Provided::Anthropic
}

impl Forms {
    /// The form for a target, if it is not the main one.
    fn form_for(&self, dialect: &Dialect, target: &Target) -> Option<&Form> {
        // What only Gemini takes is reported as lost to everyone else by the main form.
        let fits = dialect.name != GEMINI.name || target.provider.dialect == Provided::Gemini;
        if let Some(marked) = self.marked.as_deref().filter(|_| fits && takes_marks(target)) {
            return Some(marked);
        }
        let plain = self.plain.as_deref().filter(|_| !takes_reasoning(target));
        plain.or(self.late.as_ref())
    }
}

/// A request of which its settings alone were read: the head and the chat without words that it is decided by, its
/// client's own words, and the way back. `None`: it must be converted first.
pub fn outlined(
    (own, outline): (&Own, Outliner),
    facts: &RequestFacts<'_>,
) -> Option<(Form, Own, WayBack)> {
    let facts = RequestFacts { unsupported: Unsupported::Strict, own: false, ..*facts };
    let Outline { sketch, head, losses, layout, way_back } = outline(&own.body, &facts)?;
    Some((Form { head, body: sketch, losses }, own.clone().known(layout), way_back))
}

/// As a route of a dialect reads a body.
pub type Read = fn(&Bytes, &RequestFacts<'_>) -> Result<Asked, Fault>;

/// How a body is read once a form of it is asked for: as it came, with what stands beside it.
struct Later {
    read: Read,
    body: Bytes,
    id: String,
    now: Millis,
    named: Option<String>,
    events: bool,
    keep_marks: bool,
}

impl Later {
    fn read(&self, dialect: &'static Dialect) -> Result<Forms, Fault> {
        let facts = RequestFacts {
            named: self.named.as_deref(),
            events: self.events,
            keep_marks: self.keep_marks,
            ..RequestFacts::new(&self.id, self.now)
        };
        match read_foreign(dialect, &self.read, &self.body, facts)? {
            Reading::Infer(read) => {
                let (form, forms, _) = *read;
                let late = Form { losses: forms.losses.clone(), ..form };
                Ok(Forms { late: Some(late), ..forms })
            }
            // What has an outline is run and needs nothing that is stored.
            Reading::Load(_) | Reading::Now(_) => {
                Err(Fault::new(Code::Internal, "a request was read in two ways"))
            }
        }
    }
}

/// A request's forms, or how they are made. No `Debug`: it holds the prompt.
pub struct Conversion {
    dialect: &'static Dialect,
    forms: OnceLock<Result<Box<Forms>, Fault>>,
    later: Option<Box<Later>>,
    /// What an outline told of losses.
    outlined: Vec<Loss>,
}

impl Conversion {
    /// Of a request whose forms are there.
    pub fn made(dialect: &'static Dialect, forms: Forms) -> Self {
        Self {
            dialect,
            forms: OnceLock::from(Ok(Box::new(forms))),
            later: None,
            outlined: Vec::new(),
        }
    }

    /// Of a request that was outlined.
    pub fn later(
        dialect: &'static Dialect,
        (read, body): (Read, &Bytes),
        facts: &RequestFacts<'_>,
        outlined: Vec<Loss>,
    ) -> Self {
        let later = Later {
            read,
            body: body.clone(),
            id: facts.id.to_owned(),
            now: facts.now,
            named: facts.named.map(str::to_owned),
            events: facts.events,
            keep_marks: facts.keep_marks,
        };
        Self { dialect, forms: OnceLock::new(), later: Some(Box::new(later)), outlined }
    }

    /// The forms, made by now.
    fn forms(&self) -> Result<&Forms, Fault> {
        let make = || self.later.as_ref().map_or_else(gone, |later| later.read(self.dialect));
        let made = self.forms.get_or_init(|| make().map(Box::new));
        made.as_deref().map_err(Clone::clone)
    }

    /// The forms, if they are there.
    fn there(&self) -> Option<&Forms> {
        self.forms.get()?.as_deref().ok()
    }

    /// The main form, if the request was only outlined when it was decided.
    pub fn main(&self) -> Result<Option<&Form>, Fault> {
        self.forms().map(|forms| forms.late.as_ref())
    }

    /// The form for a target, if it is not the one that the request was decided by.
    pub fn form_for(&self, target: &Target) -> Result<Option<&Form>, Fault> {
        self.forms().map(|forms| forms.form_for(self.dialect, target))
    }

    /// What of the request a target that is sent a form of it does not get, before it is adapted to it.
    pub fn lost_for(&self, target: &Target) -> &[Loss] {
        let Some(forms) = self.there() else { return &self.outlined };
        forms.form_for(self.dialect, target).map_or(&forms.losses, |form| &form.losses)
    }

    fn losses(&self) -> &[Loss] {
        self.there().map_or(&self.outlined, |forms| &forms.losses)
    }

    /// Whether the request asks for tools that run at its vendor, which are billed apart from tokens.
    pub fn wants_vendors_tools(&self) -> bool {
        if self.dialect.name == ANTHROPIC.name || self.dialect.name == RESPONSES.name {
            // Those that the client runs itself stand under another name.
            return self.losses().iter().any(|loss| loss.field == "tools[].type");
        }
        let param = self.refusal().and_then(|fault| fault.param.as_deref());
        param.is_some_and(|param| param.starts_with("tools"))
    }

    /// Whether the request asks for Anthropic's faster mode, which has a price of its own.
    pub fn wants_speed(&self) -> bool {
        self.losses().iter().any(|loss| loss.field == "speed")
    }

    /// What a strict variant says to the request. Nothing, where it has an outline.
    pub fn refusal(&self) -> Option<&Fault> {
        self.there()?.refusal.as_ref()
    }

    /// What every variant says to it whose upstream speaks another dialect.
    pub fn never(&self) -> Option<&Fault> {
        self.there()?.never.as_ref()
    }

    /// Why a target refuses the request as it is converted, if it does.
    pub fn refused_by(&self, target: &Target) -> Option<&Fault> {
        let strict = self.refusal().filter(|_| target.unsupported == Unsupported::Strict);
        strict.or(self.never())
    }

    /// Whether its answer shall be kept.
    pub fn keeps(&self) -> bool {
        self.there().is_some_and(|forms| forms.keeps)
    }

    /// An error about the request as it is sent on, in the words of the client that wrote it otherwise.
    pub fn in_clients_words(&self, fault: Fault) -> Fault {
        match self.forms() {
            Ok(forms) => forms.origins.in_clients_words(fault),
            Err(_) => fault,
        }
    }

    /// A line of the loss report, in the client's words if it has one for the field.
    pub fn loss_in_clients_words(&self, loss: Loss) -> Loss {
        match self.there() {
            Some(forms) => forms.origins.loss_in_clients_words(loss),
            None => loss,
        }
    }

    /// Nothing is sent any more: the prompt need not be kept. Names are told by the dialect's table from here on.
    pub fn let_go(&mut self) {
        self.later = None;
        match self.forms.get_mut() {
            Some(Ok(forms)) => {
                (forms.late, forms.plain, forms.marked) = (None, None, None);
                forms.origins.forget_body();
            }
            Some(Err(_)) => {}
            None => {
                let origins = Origins::of_table(self.dialect.fields);
                let losses = std::mem::take(&mut self.outlined);
                self.forms =
                    OnceLock::from(Ok(Box::new(Forms { losses, origins, ..Forms::default() })));
            }
        }
    }
}

fn gone() -> Result<Forms, Fault> {
    Err(Fault::new(Code::Internal, "the request was let go"))
}
