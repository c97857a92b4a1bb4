//! What a request of an upstream's own dialect needs of the gateway, beside what [`cutover_relay`] makes of it.

use cutover_relay::Own;
use cutover_route::UseCase;
use cutover_wire::providers::Dialect;

use crate::exchange::Exchange;
use crate::live::Lane;

/// Whether any of these speaks the request's own dialect.
pub(crate) fn is_spoken(own: &Own, lanes: &[Lane]) -> bool {
    lanes.iter().any(|lane| own.is_for(&lane.target))
}

/// Tokens of an earlier answer mean something to the model alone that gave it. Where the arms of a use case are of
/// several, whose they are cannot be known: such a request goes by conversion, which refuses or reports them.
pub(crate) fn leave_strange_tokens(exchange: &mut Exchange) {
    let Some(foreign) = &mut exchange.foreign else { return };
    if !foreign.own.as_ref().is_some_and(Own::holds_tokens) {
        return;
    }
    let live = &exchange.live;
    let all = live.snapshot.use_cases();
    let use_case = exchange.chosen.use_case.and_then(|at| all.get(usize::from(at.0)));
    let model = |at| {
        let target = &live.lane(at)?.target;
        target.model.as_ref().filter(|_| target.provider.dialect == Dialect::Ollama)
    };
    let differ = |of: &UseCase| of.candidate.is_some_and(|at| model(at) != model(of.baseline));
    if use_case.is_some_and(differ) {
        foreign.own = None;
    }
}
