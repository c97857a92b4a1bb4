//! The operator-facing listener.
//!
//! Invariants:
//! - a request is routed by one table whose rows carry their auth class; a handler cannot be reached
//!   around it;
//! - doors before body: nothing of a body is read from a caller who may not call;
//! - bodies are bounded in size and time;
//! - answers never hold a prompt (but of a stored pair that somebody asks for to compare its answers, and
//!   the prompts that operators keep here), a
//!   key (but once, when it is made) or the token.

mod actors;
mod auth;
mod handlers;
mod instances;
mod keys;
mod listener;
mod models;
mod prompts;
mod rollouts;
mod routes;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cutover_prompts::Book;
use cutover_store::{Drain, Keys, SetDrain};
use cutover_telemetry::{Registry, events};
use cutover_units::{UpstreamName, UseCaseName};
use http::{HeaderValue, StatusCode, header};
use tokio::net::TcpListener;

pub use auth::{Auth, Doors, Refusal, TokenHash, Tokens, TokensInForce};

use auth::Who;
pub use routes::{Action, ROUTES, Route, reference};

use crate::api::instances::NameStatus;
use crate::api::models::{ManageModels, ModelsJob};
use crate::api::{
    ConfigStatus, ExplainRequest, Explanation, Failure, InstanceStatus, Ready, Reloaded,
};
use crate::controller::Controller;
use crate::rollouts::Rollouts;
use routes::Found;

/// The largest body: an explained request may be as large as a real one.
pub const BODY_BYTES_MAX: usize = 32 << 20;

/// Time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the admin API asks of the process it runs in.
pub trait Host: Send + Sync + 'static {
    /// Whether traffic is served.
    fn ready(&self) -> Ready;
    /// The config in force.
    fn config(&self) -> ConfigStatus;
    /// All instances.
    fn instances(&self) -> Vec<InstanceStatus>;
    /// The names whose addresses are instances.
    fn names(&self) -> Vec<NameStatus> {
        Vec::new()
    }
    /// The upstream and the address of an instance, by what an operator calls it.
    fn find_instance(&self, text: &str) -> Result<(UpstreamName, String), Failure> {
        let message = format!("there is no instance {text:?}");
        Err(Failure { code: "unknown_instance".to_owned(), message, hint: None })
    }
    /// The instances that operators took out.
    fn drains(&self) -> Vec<Drain> {
        Vec::new()
    }
    /// Takes an instance out or puts it back, at once.
    fn drain(&self, _: &SetDrain) {}
    /// Whether it is not known yet which instances are out.
    fn wants_drains(&self) -> bool {
        false
    }
    /// These instances are out, and those that were taken out since the start.
    fn take_drains(&self, _: Vec<Drain>) {}
    /// What each arm of each use case has served.
    fn served(&self) -> BTreeMap<UseCaseName, BTreeMap<String, u64>>;
    /// Files beside the config file whose change is a reason to read it again.
    fn watched_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    /// Lets these client keys in, and no others. Must not block.
    fn take_keys(&self, keys: Keys);
    /// Says what is wrong if the config in force could not be served with these prompts. Blocks.
    fn try_prompts(&self, prompts: &Book) -> Result<(), String>;
    /// Puts these prompts into force, unless newer ones are, and tells what that means for traffic and
    /// rollouts. Blocks.
    fn take_prompts(&self, prompts: Book) -> Result<Vec<String>, String>;
    /// Whether prompts that the config in force needs could not be read.
    fn wants_prompts(&self) -> bool {
        false
    }
    /// Reads the config file again. Blocks.
    fn reload(&self) -> Reloaded;
    /// Begins something with the models of an upstream's engines. Must not block.
    fn manage_models(&self, upstream: &str, order: &ManageModels) -> Result<ModelsJob, Failure> {
        let message = format!("nothing here can {} models of {upstream}", order.action);
        Err(Failure { code: "not_managed".to_owned(), message, hint: None })
    }
    /// How far something is that was begun; None: it is not known any more.
    fn models_job(&self, _: u64) -> Option<ModelsJob> {
        None
    }
    /// Tells what would happen to a request.
    fn explain(&self, request: &ExplainRequest) -> Result<Explanation, Failure>;
}

/// The admin API of one process.
#[derive(Clone)]
pub struct Admin(Arc<Parts>);

struct Parts {
    doors: Doors,
    controller: Controller,
    host: Arc<dyn Host>,
    rollouts: Rollouts,
    registry: Registry,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("doors", &self.0.doors).finish_non_exhaustive()
    }
}

impl Admin {
    /// Puts the API together.
    pub fn new(doors: Doors, host: Arc<dyn Host>, rollouts: Rollouts) -> Self {
        let (controller, registry) = (rollouts.controller().clone(), rollouts.registry().clone());
        Self(Arc::new(Parts { doors, controller, host, rollouts, registry }))
    }

    /// Serves until `shutdown` is done and open exchanges have ended.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        listener::serve(self, listener, shutdown).await;
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request, peer: Option<IpAddr>) -> Response {
        let result = match routes::find(request.method(), request.uri().path()) {
            Found::Route(route, name) => {
                let names = (name.0.to_owned(), name.1.to_owned());
                match self.guard(route.auth, &request, peer) {
                    Ok(who) => self.call(route.action, (&names.0, &names.1), (who, request)).await,
                    Err(rejection) => Err(rejection),
                }
            }
            // What exists is nobody's business who may not ask.
            Found::WrongMethod => self.guard(Auth::Token, &request, peer).and_then(|_| {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Err(Rejection::new(status, "method_not_allowed", "this path has other methods"))
            }),
            Found::Nothing => self
                .guard(Auth::Token, &request, peer)
                .and_then(|_| Err(Rejection::unknown("not_found", "there is no such path"))),
        };
        let mut response = result.unwrap_or_else(IntoResponse::into_response);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn call(
        &self,
        action: Action,
        (name, item): (&str, &str),
        (who, request): (Who, Request),
    ) -> Result<Response, Rejection> {
        let query = request.uri().query().map(str::to_owned);
        let accept = request.headers().get(header::ACCEPT).cloned();
        let body = read_body(request.into_body()).await?;
        let tokens = self.0.doors.tokens.now();
        let caller = actors::Caller { who, operators: &tokens.operators };
        let accept = accept.as_ref().and_then(|value| value.to_str().ok());
        handlers::run(
            &self.0,
            action,
            handlers::Input { name, item, query: query.as_deref(), body, accept, caller },
        )
        .await
    }

    fn guard(
        &self,
        class: Auth,
        request: &Request,
        peer: Option<IpAddr>,
    ) -> Result<Who, Rejection> {
        let parts = &self.0;
        parts.doors.admit(class, request.headers()).map_err(|refusal| {
            let peer = peer.unwrap_or_else(|| parts.doors.listen.ip());
            let (reason, at) = (refusal.as_str(), parts.controller.now());
            events::AuthFailed { listener: "admin", reason, peer, at }.emit(&parts.registry);
            Rejection::new(refusal.status(), refusal.as_str(), refusal.message())
        })
    }
}

async fn read_body(body: Body) -> Result<Bytes, Rejection> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Rejection::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            "the body is too large, or it broke off",
        )),
        Err(_) => Err(Rejection::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the body did not arrive in time",
        )),
    }
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Rejection {
    status: StatusCode,
    failure: Failure,
}

impl Rejection {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let failure = Failure { code: code.to_owned(), message: message.into(), hint: None };
        Self { status, failure }
    }

    /// There is no such thing.
    pub(crate) fn unknown(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// What there is does not allow it.
    pub(crate) fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// The state database cannot be used; what holds meanwhile is the hint.
    pub(crate) fn unavailable(why: impl Into<String>, meanwhile: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "state_unavailable", why).with_hint(meanwhile)
    }

    /// Something broke on this side that is nobody's request's fault.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }

    pub(crate) fn of(status: StatusCode, failure: Failure) -> Self {
        Self { status, failure }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        (self.status, axum::Json(self.failure)).into_response()
    }
}

#[cfg(test)]
mod tests;
