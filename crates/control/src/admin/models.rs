//! The admin API's routes for the models of an upstream's engines.
//!
//! What takes long goes on by itself: an answer tells how far it is, and the job's number asks again.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::handlers::{Input, read};
use super::routes::Action;
use super::{Parts, Rejection};
use crate::api::Failure;
use crate::api::models::{ManageModels, ModelsJob};

/// How long the first answer waits for the end: a list is mostly there within it.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn run(
    parts: &Parts,
    action: Action,
    input: Input<'_>,
) -> Result<Response, Rejection> {
    if action == Action::ModelsJob {
        let job = input.item.parse().ok().and_then(|id| parts.host.models_job(id));
        let job = job.filter(|job| job.upstream == input.name);
        let unknown = || {
            let message = format!("there is no job {:?} at upstream {:?}", input.item, input.name);
            let hint = "what a cutover has begun ends with it; 32 jobs are remembered";
            Rejection::unknown("unknown_job", message).with_hint(hint)
        };
        return Ok(Json(job.ok_or_else(unknown)?).into_response());
    }
    let order = match action {
        Action::ManageModels => read(&input.body)?,
        _ => ManageModels { action: "list".to_owned(), model: String::new() },
    };
    let begun = parts.host.manage_models(input.name, &order);
    let mut job: ModelsJob = begun.map_err(refused)?;
    let until = Instant::now() + PATIENCE;
    while !job.ended && Instant::now() < until {
        sleep(LOOK).await;
        let Some(newer) = parts.host.models_job(job.job) else { break };
        job = newer;
    }
    Ok(Json(job).into_response())
}

fn refused(failure: Failure) -> Rejection {
    let status = match failure.code.as_str() {
        "unknown_upstream" | "nothing_to_cancel" => StatusCode::NOT_FOUND,
        "too_many_jobs" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Rejection::of(status, failure)
}
