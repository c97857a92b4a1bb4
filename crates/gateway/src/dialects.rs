//! The routes of other dialects: which dialect's words a client is to be answered in, its bodies, and
//! the lists that are answered from what the gateway knows.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cutover_dialects::anthropic::{self, ANTHROPIC};
use cutover_dialects::gemini::{self, GEMINI};
use cutover_dialects::ollama;
use cutover_dialects::{Answer, Ask, Dialect, Found, ModelFacts, RequestFacts};
use cutover_relay::{Conversion, Own, Read, Reading, outlined, read_foreign};
use cutover_server::{Whole, read_body};
use cutover_store::{Key, RESPONSE_BYTES_MAX};
use cutover_units::{Code, Millis};
use cutover_upstream::clients_key::{
    ANTHROPIC_VERSION, X_GOOG_API_CLIENT, X_GOOG_API_KEY, presented,
};
use cutover_wire::openai::models::Model;
use cutover_wire::{Endpoint, Fault, Head};
use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, request};
use hyper::body::Incoming;

use crate::body::Out;
use crate::exchange::{Exchange, micros};
use crate::foreign::{self, Foreign};
use crate::gateway::{Asked, Gateway, Refusal, Visit};
use crate::live::{Lane, Live};
use crate::models::Look;
use crate::responses::{self, About, KeptAnswers, Looker};
use crate::{infer, models, vendor};
use cutover_ingress::{Lost, Route, metadata_of, unescaped};

/// How long a model is said to stay in memory: what Ollama says by default.
const LOADED_MS: u64 = 5 * 60 * 1_000;

/// What the owner of a use case's model is called, before its name.
pub(crate) const USE_CASE: &str = "use-case ";

/// What the embedded engine is called in the table of providers.
const EMBEDDED: &str = "embedded";

/// The dialect that headers alone tell of, for paths that two dialects share.
pub(crate) fn asked_for(headers: &HeaderMap) -> Option<&'static Dialect> {
    if headers.contains_key(&ANTHROPIC_VERSION) {
        return Some(&ANTHROPIC);
    }
    let google = [&X_GOOG_API_KEY, &X_GOOG_API_CLIENT];
    google.into_iter().any(|name| headers.contains_key(name)).then_some(&GEMINI)
}

/// What a path and method were found to be, or why they are nothing.
type Routed<'a> = Result<Route<'a>, Lost>;

/// Google's clients may show their key in the query. From here on it stands where others do. A path that is none may
/// be one of theirs.
pub(crate) fn take_key(route: &Routed<'_>, (uri, headers): (&Uri, &mut HeaderMap)) {
    let google = match route {
        Ok(Route::Foreign(found)) => found.dialect.name == GEMINI.name,
        routed => routed.is_err(),
    };
    let Some(key) = uri.query().filter(|_| google).and_then(gemini::key_in) else { return };
    if presented(headers).is_none()
        && let Ok(mut value) = HeaderValue::from_str(&unescaped(key))
    {
        value.set_sensitive(true);
        headers.insert(X_GOOG_API_KEY, value);
    }
}

/// The dialect of a route, or of what was taken for one; None: OpenAI's.
pub(crate) fn dialect_of(route: &Routed<'_>, headers: &HeaderMap) -> Option<&'static Dialect> {
    match route {
        Ok(Route::Foreign(found)) => Some(found.dialect),
        Ok(Route::Models | Route::Model(_)) => asked_for(headers),
        Ok(_) => None,
        Err(lost) => lost.dialect.or_else(|| asked_for(headers)),
    }
}

/// A request of which nothing but its head has been looked at, refused.
pub(crate) fn unread(head: &request::Parts, fault: Fault) -> Refusal {
    let route = cutover_ingress::route(head.method.as_str(), head.uri.path());
    let endpoint = match &route {
        Ok(Route::Infer(endpoint)) => Some(*endpoint),
        Ok(Route::Foreign(found)) if matches!(found.ask, Ask::Read(_)) => {
            Some(Endpoint::ChatCompletions)
        }
        _ => None,
    };
    let dialect = dialect_of(&route, &head.headers);
    Refusal { endpoint, dialect, ..Refusal::nowhere(fault) }
}

/// Who asks for what at a dialect's door.
pub(crate) struct Knock<'a> {
    pub(crate) found: Found<'a>,
    pub(crate) caller: Option<Arc<Key>>,
    /// What stands behind the path.
    pub(crate) query: String,
}

/// Answers a request at a dialect's door.
pub(crate) async fn open(
    gateway: &Gateway,
    visit: &Visit,
    (headers, body): (&mut HeaderMap, &mut Incoming),
    knock: Knock<'_>,
) -> Result<Response<Out>, Refusal> {
    let dialect = knock.found.dialect;
    let key_name = knock.caller.as_ref().map(|key| Arc::clone(&key.name));
    let refusal = |fault| Refusal {
        key_name: key_name.clone(),
        dialect: Some(dialect),
        ..Refusal::nowhere(fault)
    };
    if let Ask::Read(read) = knock.found.ask {
        // A refusal here counts as one of an inference endpoint, as everywhere.
        let refusal =
            |fault| Refusal { endpoint: Some(Endpoint::ChatCompletions), ..refusal(fault) };
        return infer(gateway, visit, (headers, body), (knock, read)).await.map_err(refusal);
    }
    let limits = &visit.live.limits.body;
    let caller = knock.caller.as_deref();
    let answer = match knock.found.ask {
        Ask::ShowModel => {
            let read = read_body(headers, body, limits).await.map_err(refusal)?;
            let name = ollama::show_name(&read.body).map_err(refusal)?;
            let found = models::find(Look::of((gateway, visit), headers, caller), &name).await;
            found.map(|model| ollama::show(&facts(&visit.live, &model)))
        }
        Ask::GetStored => stored(gateway, visit, (About::Show, &knock)).await,
        Ask::DeleteStored => stored(gateway, visit, (About::Delete, &knock)).await,
        Ask::StoredInput => stored(gateway, visit, (About::Input, &knock)).await,
        Ask::Model(show) => {
            let name = unescaped(knock.found.id.unwrap_or_default());
            let found = models::find(Look::of((gateway, visit), headers, caller), &name).await;
            found.map(|model| show(&facts(&visit.live, &model)))
        }
        ask => list(Look::of((gateway, visit), headers, caller), ask).await,
    };
    answer.map(|answer| signed(visit, dialect, answer)).map_err(refusal)
}

/// An inference request.
async fn infer(
    gateway: &Gateway,
    visit: &Visit,
    (headers, body): (&mut HeaderMap, &mut Incoming),
    (knock, read): (Knock<'_>, Read),
) -> Result<Response<Out>, Fault> {
    let whole = read_body(headers, body, &visit.live.limits.body).await?;
    let exchange = match exchange(gateway, visit, (headers, whole), (knock, read)).await? {
        Met::Answered(response) => return Ok(response),
        Met::Decided(exchange) => exchange,
    };
    Ok(match responses::strays(&exchange) {
        Some(fault) => infer::refuse(exchange, fault),
        None => infer::infer(exchange).await,
    })
}

/// What becomes of an inference request that has been read.
pub(crate) enum Met {
    /// It is answered already.
    Answered(Response<Out>),
    /// It has been decided.
    Decided(Box<Exchange>),
}

/// Reads an inference request, and decides.
pub(crate) async fn exchange(
    gateway: &Gateway,
    visit: &Visit,
    (headers, Whole { body, waited }): (&mut HeaderMap, Whole),
    (knock, read): (Knock<'_>, Read),
) -> Result<Met, Fault> {
    let dialect = knock.found.dialect;
    let read_us = micros(waited).0;
    let id = visit.id.with_prefix("");
    let kept = gateway.answers();
    let named = knock.found.id.map(unescaped);
    let facts = RequestFacts {
        storage: kept.is_some(),
        keep_marks: visit.live.lanes.iter().any(|lane| cutover_relay::takes_marks(&lane.target)),
        own: visit.live.lanes.iter().any(|lane| lane.target.responses),
        room: kept.is_some_and(KeptAnswers::has_room) && body.len() <= RESPONSE_BYTES_MAX / 2,
        named: named.as_deref(),
        events: gemini::wants_events(&knock.query),
        ..RequestFacts::new(&id, visit.started_at)
    };
    let owner = responses::owner(knock.caller.as_ref());
    let reads_metadata =
        visit.live.snapshot.reads_metadata() || visit.live.lanes.iter().any(Lane::fills_prompts_in);
    let metadata = if reads_metadata { metadata_of(&body) } else { HashMap::new() };
    let own = Own::of(dialect, (knock.found.method, &knock.query), &body)
        .filter(|own| vendor::is_spoken(own, &visit.live.lanes));
    let both = own.as_ref().zip(knock.found.outline);
    if let Some((form, own, way_back)) = both.and_then(|both| outlined(both, &facts)) {
        let chat = Conversion::later(dialect, (read, &body), &facts, form.losses);
        let (own, way_back) = (Some(own), Some(way_back));
        let foreign = Foreign { dialect, chat, own, owner, metadata, local_only: false, way_back };
        let read = (form.head, form.body, foreign);
        return Ok(decided(gateway, visit, headers, (read, knock, read_us)));
    }
    let (mut reading, mut local_only) = (read_foreign(dialect, &read, &body, facts)?, false);
    if let (Reading::Load(needs), Some(kept)) = (&reading, kept) {
        let looker = Looker { kept, owner, bytes_max: visit.live.limits.body.bytes_max };
        let before = looker.load(needs).await?;
        local_only = before.local_only;
        let read = |body: &Bytes, facts: &RequestFacts<'_>| {
            cutover_dialects::responses::read_after(body, facts, before.loaded())
        };
        reading = read_foreign(dialect, &read, &body, facts)?;
    }
    match reading {
        Reading::Now(answer) => Ok(Met::Answered(signed(visit, dialect, answer))),
        // What was loaded is in it by now; without a store nothing asks to be loaded.
        Reading::Load(_) => Err(Fault::new(Code::Internal, "stored responses were not loaded")),
        Reading::Infer(read) => {
            let (form, forms, way_back) = *read;
            let (chat, way_back) = (Conversion::made(dialect, forms), Some(way_back));
            let foreign = Foreign { dialect, chat, own, owner, metadata, local_only, way_back };
            let read = (form.head, form.body, foreign);
            Ok(decided(gateway, visit, headers, (read, knock, read_us)))
        }
    }
}

fn decided(
    gateway: &Gateway,
    visit: &Visit,
    headers: &mut HeaderMap,
    ((head, body, foreign), knock, read_us): ((Head, Bytes, Foreign), Knock<'_>, u64),
) -> Met {
    let (headers, foreign) = (std::mem::take(headers), Some(Box::new(foreign)));
    let asked = Asked { headers, head, body, foreign, read_us, caller: knock.caller };
    let mut exchange = gateway.exchange(visit, asked);
    vendor::leave_strange_tokens(&mut exchange);
    Met::Decided(exchange)
}

/// A kept answer.
async fn stored(
    gateway: &Gateway,
    visit: &Visit,
    (about, knock): (About, &Knock<'_>),
) -> Result<Answer, Fault> {
    let id = knock.found.id.unwrap_or_default();
    let kept = gateway.answers();
    let kept = kept.ok_or_else(|| cutover_dialects::responses::not_stored(id, None))?;
    let bytes_max = visit.live.limits.body.bytes_max;
    let looker = Looker { kept, owner: responses::owner(knock.caller.as_ref()), bytes_max };
    responses::about(looker, (about, id), &knock.query).await
}

/// What is answered from what the gateway knows.
async fn list(look: Look<'_>, ask: Ask) -> Result<Answer, Fault> {
    let (live, now) = (look.live, look.now);
    match ask {
        Ask::Models(show) => {
            let models = models::gather(look).await?;
            let known: Vec<_> = models.iter().map(|model| facts(live, model)).collect();
            Ok(show(&known))
        }
        Ask::RunningModels => {
            let loaded: Vec<_> = live
                .models
                .iter()
                .filter(|entry| {
                    let lane = lane_of(live, (&entry.id, &entry.owned_by));
                    lane.is_some_and(|lane| lane.target.provider.name == EMBEDDED)
                })
                .map(|entry| ModelFacts { name: entry.id.clone(), ..ModelFacts::default() })
                .collect();
            Ok(ollama::running(&loaded, Millis(now.0.saturating_add(LOADED_MS))))
        }
        Ask::Version => Ok(ollama::version()),
        Ask::Refused(why) => Err(Fault::new(Code::PermissionDenied, why)),
        // Answered before.
        Ask::Read(_)
        | Ask::Model(_)
        | Ask::ShowModel
        | Ask::GetStored
        | Ask::DeleteStored
        | Ask::StoredInput => Err(Fault::new(Code::Internal, "no such list")),
    }
}

/// `GET /v1/models` and one of them: the path is OpenAI's and shared by two others.
pub(crate) async fn known_models(
    gateway: &Gateway,
    visit: &Visit,
    (route, headers): (Route<'_>, &HeaderMap),
    caller: Option<&Key>,
) -> Result<Response<Out>, Refusal> {
    let look = Look::of((gateway, visit), headers, caller);
    if let Some(dialect) = asked_for(headers) {
        return shared_models(visit, (route, dialect), look).await;
    }
    let answer = match route {
        Route::Model(id) => models::one(look, id).await,
        _ => models::list(look).await,
    };
    answer.map(|answer| visit.sign(answer)).map_err(Refusal::nowhere)
}

/// The same in a dialect's shape.
async fn shared_models(
    visit: &Visit,
    (route, dialect): (Route<'_>, &'static Dialect),
    look: Look<'_>,
) -> Result<Response<Out>, Refusal> {
    let live = look.live;
    let google = dialect.name == GEMINI.name;
    let answer = match route {
        Route::Model(id) => {
            let found = models::find(look, &unescaped(id)).await;
            found.map(|model| {
                if google { gemini::model(&facts(live, &model)) } else { anthropic::model(&model) }
            })
        }
        _ => models::gather(look).await.map(|known| {
            if !google {
                return anthropic::models(&known);
            }
            let known: Vec<_> = known.iter().map(|model| facts(live, model)).collect();
            gemini::models(&known)
        }),
    };
    answer
        .map(|answer| signed(visit, dialect, answer))
        .map_err(|fault| Refusal::nowhere(fault).in_words(Some(dialect)))
}

/// An answer with the request's id under the names that the dialect's clients look for.
fn signed(visit: &Visit, dialect: &'static Dialect, answer: Answer) -> Response<Out> {
    let mut response = visit.sign(foreign::response(answer));
    if let Ok(id) = HeaderValue::from_str(&visit.id.with_prefix("req_")) {
        response.headers_mut().insert(HeaderName::from_static(dialect.request_id_header), id);
    }
    response
}

/// What is known of a model, for Ollama's clients.
fn facts(live: &Live, model: &Model) -> ModelFacts {
    let can = lane_of(live, (&model.id, &model.owned_by)).map(|lane| lane.target.capabilities);
    ModelFacts {
        name: model.id.clone(),
        modified: Millis(model.created.saturating_mul(1_000)),
        tools: can.and_then(|can| can.tools),
        images: can.and_then(|can| can.images),
        ..ModelFacts::default()
    }
}

/// The lane that serves a model as long as nothing else was decided: its use case's baseline, or one of
/// the upstream that owns it.
fn lane_of<'a>(live: &'a Live, (model, owner): (&str, &str)) -> Option<&'a Lane> {
    match owner.strip_prefix(USE_CASE) {
        Some(name) => {
            let mut use_cases = live.snapshot.use_cases().iter();
            live.lane(use_cases.find(|use_case| use_case.name.as_str() == name)?.baseline)
        }
        None => live.lanes.iter().find(|lane| {
            let name = lane.target.model.as_deref();
            lane.upstream.name.as_str() == owner && name.is_none_or(|name| name == model)
        }),
    }
}
