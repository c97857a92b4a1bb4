//! The admin API's rollout routes.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use cutover_units::WeightBp;
use http::StatusCode;

use super::handlers::{Input, read, refuse};
use super::routes::Action;
use super::{Parts, Rejection};
use crate::api::rating::LabelPair;
use crate::api::rollouts::{CommandRollout, ReplayRollout, StartRollout, Verb};
use crate::api::{Origin, RollBack, RolledBack, UseCaseStatus};
use crate::rollouts::RolloutRefusal;

/// Decisions of one answer. Older ones are found by their number.
const HISTORY: u32 = 500;

pub(super) async fn run(
    parts: &Parts,
    action: Action,
    input: Input<'_>,
) -> Result<Response, Rejection> {
    let (rollouts, name) = (&parts.rollouts, input.name);
    let refused = |refusal| refused(refusal, name);
    match action {
        Action::ListRollouts => Ok(Json(rollouts.statuses()).into_response()),
        Action::ShowRollout => {
            let known = rollouts.name_of(name).map_err(refuse)?;
            let missing = || refused(RolloutRefusal::NotRunning(known));
            Ok(Json(rollouts.status(name).ok_or_else(missing)?).into_response())
        }
        Action::StartRollout => {
            let mut request: StartRollout = read(&input.body)?;
            request.actor = input.caller.actor(request.actor)?;
            let status = rollouts.start(name, &request).await.map_err(refused)?;
            Ok((StatusCode::CREATED, Json(status)).into_response())
        }
        Action::CommandRollout => {
            let mut request: CommandRollout = read(&input.body)?;
            request.actor = input.caller.actor(request.actor)?;
            Ok(Json(rollouts.command(name, &request).await.map_err(refused)?).into_response())
        }
        Action::RolloutHistory => {
            Ok(Json(rollouts.history(name, HISTORY).await.map_err(refused)?).into_response())
        }
        Action::ReplayRollout => {
            let request: ReplayRollout = read(&input.body)?;
            Ok(Json(rollouts.replay(name, &request).await.map_err(refused)?).into_response())
        }
        Action::ExplainDecision => {
            let unknown = || RolloutRefusal::Unknown(format!("decision {name:?}"));
            let seq = name.parse().map_err(|_| refused(unknown()))?;
            Ok(Json(rollouts.explain(seq).await.map_err(refused)?).into_response())
        }
        Action::NextPair => {
            // A rater's name is proved as an actor's is: what people say lets a judge decide.
            let rater = parameter(input.query, "rater").unwrap_or_default();
            let rater = input.caller.actor(rater.to_owned())?;
            Ok(Json(rollouts.next_pair(name, &rater).await.map_err(refused)?).into_response())
        }
        Action::LabelPair => {
            let mut label: LabelPair = read(&input.body)?;
            label.rater = input.caller.actor(label.rater)?;
            let unknown = || RolloutRefusal::Unknown(format!("pair {:?}", input.item));
            let pair = input.item.parse().map_err(|_| refused(unknown()))?;
            let labelled = rollouts.label_pair(name, pair, &label).await.map_err(refused)?;
            Ok(Json(labelled).into_response())
        }
        _ => Ok(Json(rollouts.verify().await.map_err(refused)?).into_response()),
    }
}

/// A parameter of the query. What is asked for needs no escaping.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Rolls back a rollout whose use case the config file has no more.
pub(super) async fn roll_back_lost(
    parts: &Parts,
    name: &str,
    by: RollBack,
) -> Result<Response, Rejection> {
    let RollBack { actor, reason } = by;
    let (command, step) = (Verb::RollBack, None);
    let request = CommandRollout { command, step, actor: actor.clone(), reason: reason.clone() };
    let ended = parts.rollouts.command(name, &request).await;
    let ended = ended.map_err(|refusal| refused(refusal, name))?;
    let use_case = UseCaseStatus {
        name: ended.use_case,
        baseline: ended.baseline,
        candidate: Some(ended.candidate),
        weight: WeightBp::NONE,
        origin: Origin::Rollback,
        generation: ended.state.generation,
        updated: Some(ended.now),
        actor: Some(actor),
        reason: Some(reason),
        config_weight: WeightBp::NONE,
        served: BTreeMap::default(),
    };
    let (in_override, in_database) = (false, true);
    let warnings = vec!["the config file has no such use case any more".to_owned()];
    Ok(Json(RolledBack { use_case, in_override, in_database, warnings }).into_response())
}

/// A refusal as an answer.
fn refused(refusal: RolloutRefusal, asked: &str) -> Rejection {
    let message = refusal.to_string();
    let conflict = |code| Rejection::conflict(code, &message);
    match refusal {
        RolloutRefusal::UseCase(refusal) => refuse(refusal),
        RolloutRefusal::NoPlan(name) => {
            let hint = format!(
                "add [use_cases.{name}.rollout] to the config file, or end a rollout that it had: \
                 cutover rollout abandon {name} (the share stays), cutover rollback {name}"
            );
            conflict("no_rollout_configured").with_hint(hint)
        }
        RolloutRefusal::Spec { .. } => {
            Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec", message)
                .with_hint("cutover check shows where in the file")
        }
        RolloutRefusal::AlreadyRunning { use_case, .. } => conflict("already_running")
            .with_hint(format!(
                "end it first: cutover rollback {use_case}, or cutover rollout abandon {use_case}"
            )),
        RolloutRefusal::Promoted(name) => conflict("promoted").with_hint(format!(
            "if that is meant: cutover rollback {name}, then start it with --after-rollback"
        )),
        RolloutRefusal::NotRunning(name) => {
            Rejection::unknown("no_rollout", message)
                .with_hint(format!("begin one: cutover rollout start {name}"))
        }
        RolloutRefusal::Refused(cutover_rollout::Refusal::Over { how }) => {
            let hint = if how.starts_with("abandoned") {
                format!("cutover rollout start {asked} begins another, at its first step")
            } else if how == "promoted" {
                format!("cutover rollback {asked} takes all traffic back")
            } else {
                format!("if the cause is gone: cutover rollout start {asked} --after-rollback")
            };
            conflict("refused").with_hint(hint)
        }
        RolloutRefusal::Refused(_) => conflict("refused"),
        RolloutRefusal::Conflict(_) => {
            conflict("conflict").with_hint("look at the status and decide again")
        }
        RolloutRefusal::Database(_) => {
            let meanwhile = "the rollout stays where it is; a rollback still works";
            Rejection::unavailable(message, meanwhile)
        }
        RolloutRefusal::Unknown(_) => Rejection::unknown("not_found", message),
        RolloutRefusal::TextsNotKept(name) => conflict("texts_not_kept").with_hint(format!(
            "set keep = \"redacted\" (or \"text\") in [use_cases.{name}.shadow]: pairs that come after \
             the reload can be compared"
        )),
        RolloutRefusal::Rater(_) => {
            Rejection::new(StatusCode::BAD_REQUEST, "invalid_rater", message)
        }
        RolloutRefusal::AlreadyLabelled { .. } => {
            conflict("already_labelled").with_hint("ask for the next pair")
        }
        RolloutRefusal::Unreadable(_) => {
            Rejection::new(StatusCode::BAD_REQUEST, "invalid_config", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_has_no_holes_in_it() {
        let name = cutover_units::UseCaseName::new("docs").unwrap();
        let hint = refused(RolloutRefusal::NoPlan(name), "docs").failure.hint.unwrap();
        assert!(!hint.contains("  ") && hint.contains("cutover rollout abandon docs"), "{hint}");
    }
}
