//! What would become of a request: the phases that serve it, up to what each leg would be sent. Nothing is sent.
//!
//! For gateways that serve nobody: an `Exchange` counts and records itself, as every one does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cutover_dialects::Ask;
pub use cutover_dialects::path_of;
use cutover_route::{Leg, UseCaseIx};
use cutover_server::Whole;
use cutover_store::Key;
use cutover_units::Arm;
use cutover_wire::{Fault, Head, Outgoing};
use http::request;

use crate::dialects::{self, Knock, Met};
use crate::exchange::Exchange;
use crate::gateway::{Asked, Gateway};
use crate::live::{Live, UpstreamLane};
use crate::{attempt, decide, passthrough};
use cutover_ingress::Route;

/// A request to look at.
pub struct Question {
    /// Its head.
    pub head: request::Parts,
    /// Its body.
    pub body: Bytes,
    /// The key that it comes with, if keys are known.
    pub caller: Option<Arc<Key>>,
}

/// What would become of it.
pub enum Told {
    /// cutover answers it itself.
    Here,
    /// It is passed on untouched: to which upstream, as one of which use case, and with which path.
    Passed {
        /// The family of endpoints that it is of.
        family: &'static str,
        /// Whose upstream that is, if a use case's.
        use_case: Option<UseCaseIx>,
        /// Who is asked.
        upstream: Arc<UpstreamLane>,
        /// For what.
        path: String,
    },
    /// Legs are tried in turn.
    Asked(Box<Plan>),
}

/// How an inference request is answered.
pub struct Plan {
    /// The dialect of its client; None: OpenAI's.
    pub dialect: Option<&'static str>,
    /// The use case, if one matches.
    pub use_case: Option<UseCaseIx>,
    /// The arm it is assigned to.
    pub arm: Arm,
    /// How the arm was found.
    pub assignment: &'static str,
    /// What was hashed or listed.
    pub unit: String,
    /// The unit's bucket.
    pub bucket: Option<u16>,
    /// Whether local upstreams alone may see it.
    pub local_only: bool,
    /// The model it asks for.
    pub model: Arc<str>,
    /// What each leg's upstream would be sent, with all that is lost of the request by its client's names; or why none is.
    pub legs: Vec<(Leg, Result<Outgoing, Fault>)>,
}

/// What stands for an image that would be fetched: the beginning of a picture.
const PICTURE: Bytes = Bytes::from_static(b"\x89PNG\r\n\x1a\n");

/// The picture that an explaining gateway reads: nothing is fetched for it. Of one that nobody else holds.
pub fn fetching_nothing(mut live: Live) -> Live {
    if let Some(images) = Arc::get_mut(&mut live.images) {
        images.stand_in = Some(PICTURE);
    }
    live
}

impl Gateway {
    /// Tells what would become of a request.
    pub async fn explain(&self, question: Question) -> Result<Told, Fault> {
        let Question { mut head, body, caller } = question;
        let visit = self.visit(IpAddr::from([127, 0, 0, 1]));
        let path = head.uri.path().to_owned();
        let route =
            cutover_ingress::route(head.method.as_str(), &path).map_err(|lost| lost.fault)?;
        let told_caller = caller.clone();
        let met = match route {
            Route::Passed(family) => {
                let said = (&head.headers, &body);
                let (use_case, upstream) = passthrough::chosen(&visit, said, (family, caller))?;
                let path = passthrough::path_and_query(&head.uri).to_string();
                return Ok(Told::Passed { family: family.name, use_case, upstream, path });
            }
            Route::Infer(endpoint) => {
                visit.live.check_hints(&head.headers, caller.as_deref())?;
                let (headers, head) = (head.headers, Head::read(endpoint, &body)?);
                let asked = Asked { headers, head, body, foreign: None, read_us: 0, caller };
                Met::Decided(self.exchange(&visit, asked))
            }
            Route::Foreign(found) => {
                visit.live.check_hints(&head.headers, caller.as_deref())?;
                let Ask::Read(read) = found.ask else { return Ok(Told::Here) };
                let query = head.uri.query().unwrap_or_default().to_owned();
                let whole = Whole { body, waited: Duration::ZERO };
                let knock = (Knock { found, caller, query }, read);
                dialects::exchange(self, &visit, (&mut head.headers, whole), knock).await?
            }
            Route::Models | Route::Model(_) | Route::Feedback | Route::Health => {
                return Ok(Told::Here);
            }
        };
        let Met::Decided(mut exchange) = met else { return Ok(Told::Here) };
        // It is nobody's answer: no copy is made of it, and it failed at nothing.
        exchange.sample = None;
        (exchange.trail.answered, exchange.trail.status) = (true, 200);
        let unit = decide::unit(&exchange, told_caller.as_deref());
        Ok(Told::Asked(Box::new(plan(&exchange, unit).await)))
    }
}

async fn plan(exchange: &Exchange, unit: String) -> Plan {
    let live = &exchange.live;
    let mut legs = Vec::new();
    for leg in exchange.chosen.legs.clone() {
        let Some(lane) = live.lane(leg.variant) else { continue };
        let adapted = attempt::adapted(exchange, lane).await.map(|outgoing| {
            let losses = attempt::lost(exchange, lane, &outgoing);
            Outgoing { losses, ..outgoing }
        });
        legs.push((leg, adapted));
    }
    Plan {
        dialect: exchange.foreign.as_ref().map(|foreign| foreign.dialect.name),
        use_case: exchange.chosen.use_case,
        arm: exchange.chosen.arm,
        assignment: exchange.chosen.assignment.as_str(),
        unit,
        bucket: exchange.chosen.bucket,
        local_only: exchange.chosen.local_only,
        model: Arc::clone(&exchange.head.model),
        legs,
    }
}
