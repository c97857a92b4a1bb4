//! The admin API's routes for instances: which there are, and taking one out of service and back.
//!
//! What an operator wants is in force first and stored afterwards: an instance that is about to be switched
//! off must get no new request, whatever the database does. The answer says whether it outlives a restart.

use axum::Json;
use axum::response::{IntoResponse, Response};
use cutover_store::{Drain, SetDrain};
use http::StatusCode;

use super::handlers::{Input, read};
use super::routes::Action;
use super::{Parts, Rejection};
use crate::api::instances::{DrainInstance, DrainStatus, Drained, Instances};

pub(super) async fn run(
    parts: &Parts,
    action: Action,
    input: Input<'_>,
) -> Result<Response, Rejection> {
    if action == Action::ListInstances {
        let drained = parts.host.drains().into_iter().map(status).collect();
        let (instances, names) = (parts.host.instances(), parts.host.names());
        return Ok(Json(Instances { instances, drained, names }).into_response());
    }
    let request: DrainInstance = read(&input.body)?;
    let actor = input.caller.actor(request.actor)?;
    let found = parts.host.find_instance(&request.instance);
    let (upstream, address) =
        found.map_err(|failure| Rejection::of(StatusCode::NOT_FOUND, failure))?;
    let at = parts.controller.now();
    let drain = Drain { upstream, address, actor, reason: request.reason, at };
    let set = SetDrain { drain, out: action == Action::DrainInstance };
    Ok(Json(put(parts, set).await).into_response())
}

async fn put(parts: &Parts, set: SetDrain) -> Drained {
    let (upstream, address) = (set.drain.upstream.clone(), set.drain.address.clone());
    let out = set.out;
    parts.host.drain(&set);
    let Drain { actor, reason, .. } = &set.drain;
    let (name, to) = (upstream.as_str(), address.as_str());
    tracing::info!(upstream = name, address = to, out, actor, reason, "instance taken out or back");
    let mut warnings = Vec::new();
    let stored = parts.controller.state().store().set_drain(set).await;
    if let Err(error) = &stored {
        warnings.push(format!("it holds until a restart only: {error}"));
    }
    let prefix = format!("{upstream}/");
    let instances = parts.host.instances();
    let of_it = || instances.iter().filter(|instance| instance.id.starts_with(&prefix));
    if out && of_it().all(|instance| instance.state == "draining") {
        let message = format!("no instance of {upstream} takes requests any more");
        warnings.push(message);
    }
    let in_flight = of_it().filter(|instance| instance.address == address);
    Drained {
        upstream: upstream.to_string(),
        in_flight: in_flight.map(|instance| instance.in_flight).sum(),
        address,
        out,
        stored: stored.is_ok(),
        warnings,
    }
}

fn status(drain: Drain) -> DrainStatus {
    let Drain { upstream, address, actor, reason, at } = drain;
    DrainStatus { upstream: upstream.to_string(), address, actor, reason, at }
}
