//! One function per action of the admin API.

use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use cutover_telemetry::Format;

use http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::actors::Caller;
use super::routes::Action;
use super::{Parts, Rejection, instances, keys, models, prompts, rollouts};
use crate::api::{ExplainRequest, RollBack, SetWeight, Status};
use crate::book::Refusal;

/// What a handler gets.
pub(super) struct Input<'r> {
    /// The path's `{name}`; empty if it has none.
    pub name: &'r str,
    /// The path's second name; empty if it has none.
    pub item: &'r str,
    /// What stands behind the `?`.
    pub query: Option<&'r str>,
    /// The body.
    pub body: Bytes,
    /// The `Accept` header.
    pub accept: Option<&'r str>,
    /// Who asks.
    pub caller: Caller<'r>,
}

pub(super) async fn run(
    parts: &Parts,
    action: Action,
    input: Input<'_>,
) -> Result<Response, Rejection> {
    let name = input.name;
    match action {
        Action::Health => Ok("ok\n".into_response()),
        Action::Ready => Ok(ready(parts)),
        Action::Metrics => Ok(metrics(parts, input.accept)),
        Action::Status => Ok(Json(status(parts)).into_response()),
        Action::SetWeight => set_weight(parts, name, &input).await,
        Action::RollBack => roll_back(parts, name, &input).await,
        Action::Reload => reload(parts).await,
        Action::Explain => explain(parts, &input.body).await,
        Action::ListKeys | Action::AddKey | Action::RotateKey | Action::RevokeKey => {
            keys::run(parts, action, input).await
        }
        Action::ListPrompts | Action::AddPrompt | Action::ShowPrompt | Action::MoveLabel => {
            prompts::run(parts, action, input).await
        }
        Action::ListModels | Action::ManageModels | Action::ModelsJob => {
            models::run(parts, action, input).await
        }
        Action::ListInstances | Action::DrainInstance | Action::ResumeInstance => {
            instances::run(parts, action, input).await
        }
        Action::ListRollouts
        | Action::ShowRollout
        | Action::StartRollout
        | Action::CommandRollout
        | Action::RolloutHistory
        | Action::ReplayRollout
        | Action::NextPair
        | Action::LabelPair
        | Action::ExplainDecision
        | Action::VerifyDecisions => rollouts::run(parts, action, input).await,
    }
}

fn ready(parts: &Parts) -> Response {
    let ready = parts.host.ready();
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready)).into_response()
}

fn metrics(parts: &Parts, accept: Option<&str>) -> Response {
    let format = Format::from_accept(accept);
    let text = parts.registry.render(format);
    ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
}

fn status(parts: &Parts) -> Status {
    let mut served = parts.host.served();
    let mut use_cases = parts.controller.statuses();
    for use_case in &mut use_cases {
        use_case.served = served.remove(&use_case.name).unwrap_or_default();
    }
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: parts.controller.started(),
        now: parts.controller.now(),
        config: parts.host.config(),
        state_problem: parts.controller.state_problem(),
        ready: parts.host.ready(),
        use_cases,
        instances: parts.host.instances(),
        names: parts.host.names(),
        webhooks: parts.rollouts.webhooks().statuses(),
    }
}

async fn set_weight(parts: &Parts, name: &str, input: &Input<'_>) -> Result<Response, Rejection> {
    let mut request: SetWeight = read(&input.body)?;
    request.actor = input.caller.actor(request.actor)?;
    let status = parts.controller.set_weight(name, &request).await.map_err(refuse)?;
    Ok(Json(status).into_response())
}

async fn roll_back(parts: &Parts, name: &str, input: &Input<'_>) -> Result<Response, Rejection> {
    let mut request: RollBack = read(&input.body)?;
    request.actor = input.caller.actor(request.actor)?;
    match parts.controller.roll_back(name, &request).await {
        Ok(report) => Ok(Json(report).into_response()),
        // The config file has lost the use case; what is stored of its rollout says that it is one.
        Err(Refusal::UnknownUseCase { .. }) if parts.rollouts.status(name).is_some() => {
            rollouts::roll_back_lost(parts, name, request).await
        }
        Err(refusal) => Err(refuse(refusal)),
    }
}

async fn reload(parts: &Parts) -> Result<Response, Rejection> {
    let host = parts.host.clone();
    let report = tokio::task::spawn_blocking(move || host.reload()).await.map_err(died)?;
    let status = if report.loaded { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((status, Json(report)).into_response())
}

/// Reading a prompt of 32 MiB takes longer than a worker may be held.
async fn explain(parts: &Parts, body: &Bytes) -> Result<Response, Rejection> {
    let request: ExplainRequest = read(body)?;
    let host = parts.host.clone();
    let explained = tokio::task::spawn_blocking(move || host.explain(&request)).await;
    let explanation = explained
        .map_err(died)?
        .map_err(|failure| Rejection::of(StatusCode::BAD_REQUEST, failure))?;
    Ok(Json(explanation).into_response())
}

pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Rejection> {
    serde_json::from_slice(body).map_err(|e| {
        let message = format!("the body is not what this route takes: {e}");
        Rejection::new(StatusCode::BAD_REQUEST, "invalid_body", message)
    })
}

pub(super) fn died(_: tokio::task::JoinError) -> Rejection {
    Rejection::internal("the handler died")
}

/// A refused change as an answer.
pub(super) fn refuse(refusal: Refusal) -> Rejection {
    let message = refusal.to_string();
    match refusal {
        Refusal::UnknownUseCase { known, .. } => {
            let hint = match known.as_slice() {
                [] => "the config file has no use cases".to_owned(),
                known => format!("there are: {}", known.join(", ")),
            };
            Rejection::unknown("unknown_use_case", message).with_hint(hint)
        }
        Refusal::NoCandidate(_) => Rejection::conflict("no_candidate", message)
            .with_hint("give it a candidate in the config file"),
        Refusal::RolledBack { name, .. } => {
            let hint =
                format!("if the cause is gone: cutover weight {name} WEIGHT --after-rollback");
            Rejection::conflict("rolled_back", message).with_hint(hint)
        }
        Refusal::UnderRollout { name, .. } => {
            let hint = format!(
                "a rollout sets the weight: to set it by hand, end the rollout (cutover rollout abandon \
                 {name}: the share stays), or take all traffic back (cutover rollback {name})"
            );
            Rejection::conflict("under_rollout", message).with_hint(hint)
        }
        Refusal::Conflict { .. } => Rejection::conflict("conflict", message)
            .with_hint("look at the status and decide again"),
        Refusal::Database(_) => {
            Rejection::unavailable(message, "weights stay as they are; a rollback still works")
        }
        Refusal::Overrides(_) => {
            Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "overrides_unavailable", message)
                .with_hint("the use case stays rolled back until the file can be written")
        }
    }
}
