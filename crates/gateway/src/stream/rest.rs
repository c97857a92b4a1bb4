//! The rest of a stream that broke off, where somebody goes on with it.

use cutover_units::Side;

use super::{Phase, Relay};
use crate::attempt::Opened;
use crate::continuation;
use crate::exchange::Exchange;
use crate::flow::Flow;
use crate::rescue::Failure;

impl Relay {
    /// Goes on with the rest of an answer that broke off.
    pub(super) fn resume(&mut self, exchange: Box<Exchange>, opened: Opened) {
        if let Some((lane, _, _)) = exchange.lane() {
            let (flow, ready) = Flow::new(opened, &lane.upstream.timeouts);
            self.phase = Phase::Flowing(flow);
            self.scratch = continuation::joined(ready);
        }
        self.exchange = Some(exchange);
        self.take_scratch();
    }

    /// Asks somebody for the rest of an answer that broke off. False: nobody may be asked.
    pub(super) fn goes_on(&mut self, failure: &Failure) -> bool {
        let Some(story) = self.story.take() else { return false };
        if failure.fault.code.row().side != Side::Upstream {
            return false;
        }
        let Some(mut exchange) = self.exchange.take() else { return false };
        if failure.instance_at_fault {
            exchange.blame_instance();
        }
        exchange.count_last(Some(failure.reason));
        // It was blamed here already.
        self.broke = Some(Failure { instance_at_fault: false, ..failure.clone() });
        self.phase = Phase::Waiting(Box::pin(continuation::ask(exchange, story, failure.reason)));
        true
    }
}
