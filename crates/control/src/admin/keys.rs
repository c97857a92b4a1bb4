//! The admin API's routes for client keys. What is stored is put into force at once.

use axum::Json;
use axum::response::{IntoResponse, Response};
use cutover_store::{
    AddKeyError, Key, NewKey as Addition, RevokeKey as Revocation, RevokeKeyError,
    RotateKey as Rotation, RotateKeyError, Secret, StoreError,
};
use http::StatusCode;

use super::handlers::{Input, read};
use super::routes::Action;
use super::{Parts, Rejection};
use crate::api::keys::{AddKey, KeyStatus, NewKey, RevokeKey, RotateKey};
use crate::keys;

pub(super) async fn run(
    parts: &Parts,
    action: Action,
    input: Input<'_>,
) -> Result<Response, Rejection> {
    match action {
        Action::AddKey => add(parts, &input).await,
        Action::RotateKey => rotate(parts, &input).await,
        Action::RevokeKey => revoke(parts, &input).await,
        _ => list(parts).await,
    }
}

async fn list(parts: &Parts) -> Result<Response, Rejection> {
    let keys = parts.controller.keys().await.map_err(|e| unavailable(&e))?;
    let list: Vec<KeyStatus> = keys.list().map(KeyStatus::of).collect();
    Ok(Json(list).into_response())
}

async fn add(parts: &Parts, input: &Input<'_>) -> Result<Response, Rejection> {
    let AddKey { name, use_case, local_only, batch, actor } = read(&input.body)?;
    let actor = input.caller.actor(actor)?;
    let (key, secret) = generate()?;
    let now = parts.controller.now();
    let addition = Addition { name: name.clone(), secret, use_case, local_only, batch, actor, now };
    let store = parts.controller.state().store();
    let made = store.add_key(addition).await.map_err(|error| {
        let message = error.to_string();
        match error {
            AddKeyError::NameTaken(_) => {
                Rejection::conflict("name_taken", message).with_hint(keys::NAME_TAKEN_HINT)
            }
            AddKeyError::Name(_) => {
                Rejection::new(StatusCode::BAD_REQUEST, "invalid_name", message)
            }
            AddKeyError::Store(error) => unavailable(&error),
        }
    })?;
    take(parts).await?;
    Ok(shown(&made, key))
}

async fn rotate(parts: &Parts, input: &Input<'_>) -> Result<Response, Rejection> {
    let RotateKey { overlap_ms: overlap, actor, reason } = read(&input.body)?;
    let actor = input.caller.actor(actor)?;
    let (key, secret) = generate()?;
    let (name, now) = (input.name.to_owned(), parts.controller.now());
    let rotation = Rotation { name, secret, overlap, actor, reason, now };
    let store = parts.controller.state().store();
    let rotated = store.rotate_key(rotation).await.map_err(|error| {
        let message = error.to_string();
        match error {
            RotateKeyError::Unknown(_) => unknown(message),
            RotateKeyError::Revoked(_) => Rejection::conflict("revoked", message),
            RotateKeyError::TooMany(name) => Rejection::conflict("too_many", message)
                .with_hint(format!("cutover key revoke {name} --former")),
            RotateKeyError::Store(error) => unavailable(&error),
        }
    })?;
    take(parts).await?;
    Ok(shown(&rotated, key))
}

fn shown(of: &Key, key: String) -> Response {
    let shown = NewKey { name: of.name.to_string(), key, former_until: of.former_until };
    (StatusCode::CREATED, Json(shown)).into_response()
}

async fn revoke(parts: &Parts, input: &Input<'_>) -> Result<Response, Rejection> {
    let RevokeKey { former, actor, reason } = read(&input.body)?;
    let actor = input.caller.actor(actor)?;
    let (name, now) = (input.name.to_owned(), parts.controller.now());
    let revocation = Revocation { name, former, actor, reason, now };
    let store = parts.controller.state().store();
    let revoked = store.revoke_key(revocation).await.map_err(|error| match error {
        RevokeKeyError::Unknown(_) => unknown(error.to_string()),
        RevokeKeyError::Store(error) => unavailable(&error),
    })?;
    take(parts).await?;
    Ok(Json(KeyStatus::of(&revoked)).into_response())
}

/// Puts the stored keys into force.
async fn take(parts: &Parts) -> Result<(), Rejection> {
    let keys = parts.controller.keys().await.map_err(|e| unavailable(&e))?;
    parts.host.take_keys(keys);
    Ok(())
}

fn generate() -> Result<(String, Secret), Rejection> {
    keys::generate().map_err(|error| Rejection::internal(error.to_string()))
}

fn unknown(message: String) -> Rejection {
    Rejection::unknown("unknown_key", message)
}

fn unavailable(error: &StoreError) -> Rejection {
    Rejection::unavailable(error.to_string(), "keys stay as they are")
}
