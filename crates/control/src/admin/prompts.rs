//! The admin API's routes for prompts.
//!
//! What would break traffic is refused before anything is stored: each change is first tried on the
//! config in force. Two changes at once are each tried on what they read; the store decides which
//! comes first, and the later picture, of the greater revision, is the one that stays.

use axum::Json;
use axum::response::{IntoResponse, Response};
use cutover_prompts::{Book, Label, LabelName, Prompt, Reference, Selector, Version, digest};
use cutover_store::{MoveLabel as Move, NewPrompt, PromptError, StoreError};
use cutover_units::{Generation, PromptName};
use http::StatusCode;

use super::handlers::{Input, died, read};
use super::routes::Action;
use super::{Parts, Rejection};
use crate::api::prompts::{
    AddPrompt, AddedPrompt, MoveLabel, MovedLabel, PromptList, PromptStatus, PromptText,
};

pub(super) async fn run(
    parts: &Parts,
    action: Action,
    input: Input<'_>,
) -> Result<Response, Rejection> {
    match action {
        Action::AddPrompt => add(parts, &input).await,
        Action::ShowPrompt => show(parts, input.name).await,
        Action::MoveLabel => move_label(parts, &input).await,
        _ => Ok(Json(PromptList::of(&load(parts).await?)).into_response()),
    }
}

async fn load(parts: &Parts) -> Result<Book, Rejection> {
    parts.controller.state().store().prompts().await.map_err(|error| unavailable(&error))
}

async fn show(parts: &Parts, text: &str) -> Result<Response, Rejection> {
    let book = load(parts).await?;
    let reference = Reference::parse(text).map_err(|why| invalid(why.to_string()))?;
    let version = book.resolve(&reference).map_err(|why| unknown(why.to_string()))?;
    Ok(Json(PromptText::of(version, &book)).into_response())
}

async fn add(parts: &Parts, input: &Input<'_>) -> Result<Response, Rejection> {
    let request: AddPrompt = read(&input.body)?;
    let actor = input.caller.actor(request.actor)?;
    Prompt::compile(&request.text).map_err(|problem| invalid(problem.to_string()))?;
    let now = parts.controller.now();
    if let Some(label) = &request.label {
        let book = load(parts).await?;
        let newest = book.newest(&request.name);
        let again = newest.filter(|newest| *newest.text == *request.text).cloned();
        let fresh = || Version {
            name: request.name.clone(),
            version: newest.map_or(0, |newest| newest.version) + 1,
            text: request.text.as_str().into(),
            digest: digest(&request.text),
            actor: actor.clone(),
            note: request.note.clone(),
            created: now,
        };
        let (version, is_new) = again.map_or_else(|| (fresh(), true), |version| (version, false));
        let to = tried((&request.name, label), version.version);
        let book = if is_new { book.with_version(version) } else { book };
        try_on(parts, book.with_label(to)).await?;
    }
    let new = NewPrompt {
        name: request.name,
        text: request.text,
        note: request.note,
        label: request.label.map(|label| (label, request.expected_generation)),
        actor,
        now,
    };
    let store = parts.controller.state().store();
    let added = store.add_prompt(new).await.map_err(refused)?;
    let book = load(parts).await?;
    let answer = AddedPrompt {
        version: PromptStatus::of(&added.version, &book),
        new: added.new,
        label: added.label,
        effects: take(parts, book).await?,
    };
    let status = if answer.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(answer)).into_response())
}

async fn move_label(parts: &Parts, input: &Input<'_>) -> Result<Response, Rejection> {
    let request: MoveLabel = read(&input.body)?;
    let actor = input.caller.actor(request.actor)?;
    let name = PromptName::new(input.name).map_err(|why| invalid(why.to_string()))?;
    let label = LabelName::new(input.item).map_err(|why| invalid(why.to_string()))?;
    let book = load(parts).await?;
    let wanted = Reference { name: name.clone(), selector: Selector::Number(request.version) };
    book.resolve(&wanted).map_err(|why| unknown(why.to_string()))?;
    let to = tried((&name, &label), request.version);
    try_on(parts, book.with_label(to)).await?;
    let to = Move {
        name,
        label,
        version: request.version,
        expected: request.expected_generation,
        actor,
        reason: request.reason,
        now: parts.controller.now(),
    };
    let store = parts.controller.state().store();
    let label = store.move_label(to).await.map_err(refused)?;
    let effects = take(parts, load(parts).await?).await?;
    Ok(Json(MovedLabel { label, effects }).into_response())
}

/// A label where it is not yet.
fn tried((name, label): (&PromptName, &LabelName), version: u32) -> Label {
    Label {
        name: name.clone(),
        label: label.clone(),
        version,
        generation: Generation(0),
        actor: String::new(),
        reason: String::new(),
        moved: cutover_units::Millis(0),
    }
}

/// Says no if the config in force could not be served with these prompts.
async fn try_on(parts: &Parts, book: Book) -> Result<(), Rejection> {
    let host = parts.host.clone();
    let fits = tokio::task::spawn_blocking(move || host.try_prompts(&book)).await;
    fits.map_err(died)?.map_err(|why| {
        Rejection::conflict("unfit_prompt", why)
            .with_hint("nothing was changed: mend the prompt, or the variant that uses it")
    })
}

/// Puts what is stored into force.
async fn take(parts: &Parts, book: Book) -> Result<Vec<String>, Rejection> {
    let host = parts.host.clone();
    let taken = tokio::task::spawn_blocking(move || host.take_prompts(book)).await;
    taken.map_err(died)?.map_err(|why| {
        Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, "not_in_force", why)
            .with_hint("it is stored, and the versions before serve on: cutover prompt list")
    })
}

fn invalid(message: String) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "invalid_prompt", message)
}

fn unknown(message: String) -> Rejection {
    Rejection::unknown("unknown_prompt", message)
}

fn unavailable(error: &StoreError) -> Rejection {
    Rejection::unavailable(error.to_string(), "prompts stay as they are")
}

fn refused(error: PromptError) -> Rejection {
    let message = error.to_string();
    match error {
        PromptError::Conflict { .. } => Rejection::conflict("conflict", message)
            .with_hint("look at the labels and decide again: cutover prompt list"),
        PromptError::Unknown { .. } => unknown(message),
        PromptError::TooMany(_) => Rejection::conflict("too_many", message),
        PromptError::Store(error) => unavailable(&error),
    }
}
