//! The pause before an upstream is asked once more: no place is held meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Full, Permit, Seat, class, count, is_worth_a_place, place, place_at};
use crate::exchange::Exchange;
use crate::live::UpstreamLane;
use crate::rescue::Failure;

/// Whether who failed like this goes back into its upstream's line, for what is left of its wait: it was served nothing,
/// and whoever came later waits there for the same instances.
pub(crate) fn lines_up_again(
    exchange: &Exchange,
    upstream: &UpstreamLane,
    failure: &Failure,
) -> bool {
    let rules = upstream.door.as_ref().and_then(|door| door.rules);
    let unserved =
        failure.is_full() || failure.is_excess() || failure.status.is_none() && !failure.given_up;
    let waited = Duration::from_micros(exchange.admission.queued.map_or(0, |queued| queued.0));
    let has_place = exchange.admission.permit.is_some();
    // Nobody waits for what surely lasts longer than the wait.
    let told = failure.retry_after_ms.filter(|told| *told > 1_000);
    let told = told.filter(|_| upstream.taking().nth(1).is_none()).unwrap_or(0);
    let now = exchange.shared.now();
    let rest_ms = upstream.rests_until(now).map_or(0, |until| until.0.saturating_sub(now.0));
    let at_least = waited + Duration::from_millis(rest_ms.max(told.into()));
    has_place
        && unserved
        && rules.is_some_and(|rules| waited < rules.wait && at_least <= rules.wait)
}

/// Gives the place back, waits, and takes one again, in the line where there is none: a request that is nowhere is in
/// nobody's way. None where none comes in time: then it ends with what it had, which may be mended after so many ms.
pub(crate) async fn pause(
    exchange: &mut Exchange,
    upstream: &Arc<UpstreamLane>,
    wait: Duration,
) -> Result<(), Option<u32>> {
    // One that had none entered without asking, as one does that takes over.
    let had = exchange.admission.take_place().is_some();
    exchange.pause(wait).await;
    if had {
        exchange.admission.permit = match place_at(exchange, upstream) {
            Ok(place) => place,
            Err(Full) => Some(turn_again(exchange, upstream).await?),
        };
    }
    Ok(())
}

/// Awaits a place behind those that wait already. What it waited in line before counts: it waits no longer than others.
async fn turn_again(
    exchange: &mut Exchange,
    upstream: &Arc<UpstreamLane>,
) -> Result<Permit, Option<u32>> {
    let Some(door) = &upstream.door else { return Err(None) };
    let Some(rules) = door.rules else { return Ok(door.crowded(exchange, upstream)) };
    let before = Duration::from_micros(exchange.admission.queued.map_or(0, |queued| queued.0));
    let limit = rules.wait.saturating_sub(before);
    let limit = exchange.left().map_or(limit, |left| left.min(limit));
    let began = Instant::now();
    exchange.admission.waits = Some((began, upstream.name.clone()));
    let mut called = None;
    if let Some(mut seat) = Seat::take(exchange, upstream, rules.length) {
        seat.here_only = true;
        called = seat.called(exchange, began + limit).await.ok();
        seat.left = false;
    }
    exchange.waits_no_more();
    if !is_worth_a_place(exchange, upstream)
        && let Some(permit) = called.take()
    {
        permit.pass_on(place(exchange));
    }
    count(exchange, upstream, if called.is_some() { "admitted" } else { "refused" });
    let permit = called.ok_or_else(|| Some(door.come_back_ms(exchange, upstream)))?;
    Ok(permit.of(class(exchange)))
}
