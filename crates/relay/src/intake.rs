//! Streams.

use bytes::Bytes;
use cutover_vendors::anthropic::EventsIn;
use cutover_vendors::{gemini, responses};
use cutover_wire::own::Events as OwnEvents;
use cutover_wire::providers::Dialect;
use cutover_wire::stream::{Limits, Tap};
use cutover_wire::{Loss, Mint, ReplyPlan, UpstreamFault, Usage};

use crate::names::Lines;
use crate::received::{created, dialects_mint};

/// Where a stream comes in. No `Debug`: it holds the answer.
pub struct Intake {
    /// What is seen of the stream as one of the OpenAI dialect.
    pub tap: Tap,
    foreign: Option<Box<Foreign>>,
    /// Where names of functions were changed on the way out.
    names: Option<Lines>,
}

struct Foreign {
    events: Events,
    turned: Vec<Bytes>,
    /// Where the client speaks the upstream's dialect: its own events, and those ready for the client.
    own: Option<(OwnEvents, Vec<Bytes>)>,
}

enum Events {
    Anthropic(EventsIn),
    Gemini(gemini::EventsIn),
    Responses(responses::EventsIn),
}

impl Foreign {
    fn push(&mut self, data: Bytes) {
        match &mut self.events {
            Events::Anthropic(events) => events.push(data, &mut self.turned),
            Events::Gemini(events) => events.push(data, &mut self.turned),
            Events::Responses(events) => events.push(data, &mut self.turned),
        }
    }

    fn finish(&mut self) {
        match &mut self.events {
            Events::Anthropic(events) => events.finish(&mut self.turned),
            Events::Gemini(events) => events.finish(&mut self.turned),
            Events::Responses(events) => events.finish(&mut self.turned),
        }
    }

    /// Gives the tap what was turned, with the client's own names of functions.
    fn tell(
        &mut self,
        names: Option<&Lines>,
        (tap, out): (&mut Tap, &mut Vec<Bytes>),
    ) -> Result<(), UpstreamFault> {
        self.turned.drain(..).try_for_each(|piece| match names {
            Some(names) => tap.push(names.own(&piece), out),
            None => tap.push(piece, out),
        })
    }

    /// Takes a piece, or what is left at the end, and gives the tap what it knows.
    fn take(
        &mut self,
        data: Option<Bytes>,
        names: Option<&Lines>,
        (tap, out): (&mut Tap, &mut Vec<Bytes>),
    ) -> Result<(), UpstreamFault> {
        let Some((own, _)) = &mut self.own else {
            if let Some(data) = data {
                self.push(data);
            }
            return self.tell(names, (tap, out));
        };
        let events = match data {
            Some(data) => own.cut(data),
            None => own.rest().into_iter().collect(),
        };
        // One by one: of a broken stream the client gets what came before it broke.
        for event in events {
            // What follows an answer's end is none of it.
            if tap.ended_well() {
                break;
            }
            self.push(event.clone());
            self.turned.drain(..).try_for_each(|piece| tap.push(piece, out))?;
            if tap.was_cut() {
                break;
            }
            if let Some((own, ready)) = &mut self.own {
                ready.extend(own.for_client(event));
            }
        }
        Ok(())
    }
}

impl Intake {
    /// For one answer.
    pub fn new(plan: ReplyPlan, mint: Mint, limits: Limits) -> Self {
        let dialect = plan.provider.dialect;
        let events = match dialect {
            Dialect::OpenAi if plan.responses => {
                Some(Events::Responses(responses::EventsIn::new(created(&mint))))
            }
            Dialect::OpenAi | Dialect::Ollama => None,
            Dialect::Anthropic => Some(Events::Anthropic(EventsIn::new(created(&mint)))),
            Dialect::Gemini => Some(Events::Gemini(gemini::EventsIn::new(created(&mint)))),
        };
        let own = plan.own.then(|| {
            let names = plan.mint.then(|| dialects_mint(dialect, &mint));
            (OwnEvents::new(dialect, names), Vec::new())
        });
        let foreign = events.map(|events| Box::new(Foreign { events, turned: Vec::new(), own }));
        let names = Lines::new(&plan.names);
        Self { tap: Tap::new(plan, mint, limits), foreign, names }
    }

    /// Takes a piece and appends what the client shall get.
    pub fn push(&mut self, data: Bytes, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        match (&mut self.foreign, &mut self.names) {
            (None, None) => self.tap.push(data, out),
            (None, Some(names)) => self.tap.push(names.take(&data), out),
            (Some(foreign), names) => {
                foreign.take(Some(data), names.as_ref(), (&mut self.tap, out))
            }
        }
    }

    /// The upstream's body has ended.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        if let Some(foreign) = &mut self.foreign {
            foreign.take(None, self.names.as_ref(), (&mut self.tap, out))?;
            foreign.finish();
            foreign.tell(self.names.as_ref(), (&mut self.tap, out))?;
        } else if let Some(names) = &mut self.names {
            self.tap.push(names.rest(), out)?;
        }
        self.tap.finish(out)
    }

    /// What the upstream has told of the usage before its stream ended.
    pub fn usage_so_far(&self) -> Option<Usage> {
        match &self.foreign.as_ref()?.events {
            Events::Anthropic(events) => events.usage_so_far(),
            Events::Gemini(events) => events.usage_so_far(),
            // It is told at the end alone.
            Events::Responses(_) => None,
        }
    }

    /// What of the vendor's answer has no place in the OpenAI dialect, if the client gets it in that.
    pub fn losses(&self) -> &[Loss] {
        let foreign = self.foreign.as_deref().filter(|foreign| foreign.own.is_none());
        match foreign.map(|foreign| &foreign.events) {
            Some(Events::Anthropic(events)) => events.losses(),
            Some(Events::Gemini(events)) => events.losses(),
            Some(Events::Responses(_)) | None => &[],
        }
    }

    /// Whether any of the answer has come: words, calls, or signs of a tool at work at the vendor's. Until then another
    /// upstream may be asked.
    pub fn first_content_seen(&self) -> bool {
        self.tap.first_content_seen() || self.works()
    }

    /// Grows with each piece of the answer: a chunk of choices, or an event in a vendor's own dialect, which is
    /// the vendor's word that it is at work. Comments, objects without choices and lines that do not end are none.
    pub fn progress(&self) -> u64 {
        let events = self.foreign.as_deref().map_or(0, |foreign| match &foreign.events {
            Events::Anthropic(events) => events.told(),
            Events::Gemini(events) => events.told(),
            Events::Responses(events) => events.told(),
        });
        self.tap.content_chunks() + events
    }

    /// Whether a tool is at work at the vendor's.
    pub fn works(&self) -> bool {
        let works = |foreign: &Foreign| match &foreign.events {
            Events::Responses(events) => events.works(),
            Events::Anthropic(_) | Events::Gemini(_) => false,
        };
        self.foreign.as_deref().is_some_and(works)
    }

    /// What has come in the client's own dialect, as the upstream wrote it. `None`: it speaks another.
    pub fn take_own(&mut self) -> Option<Vec<Bytes>> {
        let Some(foreign) = &mut self.foreign else { return self.tap.take_own() };
        let (_, ready) = foreign.own.as_mut()?;
        Some(std::mem::take(ready))
    }
}
