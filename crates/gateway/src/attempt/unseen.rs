//! An answer for a client of another dialect, before any of it is sent: whether it has a form there, and whether the
//! client would see any of it by now. What has none is a failed attempt like any other, and somebody else is asked.

use bytes::Bytes;
use cutover_dialects::Trial;
use cutover_wire::{Reply, ReplyPlan};

use crate::exchange::Exchange;
use crate::foreign::{self, Turned};
use crate::rescue::Failure;

/// A whole answer in the client's dialect. None: it is in the client's own already.
pub(super) fn turned(exchange: &Exchange, reply: &Reply) -> Result<Option<Box<Turned>>, Failure> {
    let Some(foreign) = exchange.foreign.as_ref().filter(|_| reply.own.is_none()) else {
        return Ok(None);
    };
    let now = foreign::moment(exchange.started_at, exchange.elapsed());
    let turned = foreign.reply(&reply.body, (exchange.sent(), now));
    turned.map(|turned| Some(Box::new(turned))).map_err(Failure::unturned)
}

/// What a client would have seen of a stream. No `Debug`: it holds the answer.
pub(super) struct Unseen {
    /// None: it sees whatever comes.
    trial: Option<Trial>,
    looked_at: usize,
    shown: bool,
}

impl Unseen {
    /// Of a stream that goes through this plan.
    pub(super) fn of(exchange: &Exchange, plan: &ReplyPlan) -> Self {
        let shown = exchange.trail.shown.filter(|_| !plan.own);
        Self { trial: shown.map(Trial::new), looked_at: 0, shown: false }
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown || self.trial.is_none()
    }

    /// Looks at what has become ready since.
    pub(super) fn look(&mut self, ready: &[Bytes]) -> Result<(), Failure> {
        let Some(trial) = &mut self.trial else { return Ok(()) };
        for piece in ready.iter().skip(self.looked_at) {
            self.shown = trial.push(piece.clone()).map_err(Failure::unturned)?;
        }
        self.looked_at = ready.len();
        Ok(())
    }
}
