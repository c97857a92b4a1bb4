//! From a request that has been read to one that has been decided: the snapshot is asked, once, and what
//! the rest of the way needs is gathered in an [`Exchange`].

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cutover_ingress::{Said, local_only};
use cutover_route::{Ask, Caller, Decision, Legs, Priority, UseCaseIx, VariantIx};
use cutover_store::Key;
use cutover_units::UseCaseName;
use cutover_wire::Head;
use http::{HeaderMap, HeaderName};

use crate::admission::Admission;
use crate::answer::{X_CUTOVER_PRIORITY, X_CUTOVER_USE_CASE};
use crate::exchange::{Chosen, Exchange, Trail};
use crate::foreign::Foreign;
use crate::gateway::{Asked, Gateway, Visit};
use crate::live::Live;
use crate::shadow;

impl Gateway {
    /// Decides, and gathers what the rest of the way needs.
    pub(crate) fn exchange(&self, visit: &Visit, asked: Asked) -> Box<Exchange> {
        let Asked { headers, head, body, foreign, read_us, caller } = asked;
        let id_text = visit.id.with_prefix("req_");
        let live = Arc::clone(&visit.live);
        visit.decided.store(true, Ordering::Relaxed);
        if let Some(pulse) = &visit.pulse {
            pulse.received();
        }
        let known = Known {
            headers: &headers,
            head: &head,
            body: &body,
            foreign: foreign.as_deref(),
            caller: caller.as_deref(),
        };
        let (chosen, shadow) = decided(&live, &self.shared().unit_key, &known, &id_text);
        let sample = shadow.and_then(|(at, candidate)| {
            let target = &live.lane(candidate)?.target;
            let other = foreign.as_ref().map(|foreign| foreign.chat.form_for(target));
            let prompt = other.transpose().ok()?.flatten().map_or(&body, |form| &form.body);
            shadow::sample(&live, live.use_case(at)?, candidate, prompt).map(Box::new)
        });
        let in_flight = live.metrics(chosen.use_case, chosen.arm).in_flight.enter();
        Box::new(Exchange {
            shared: Arc::clone(self.shared()),
            live,
            id: visit.id,
            id_text,
            admission: Admission::of(&headers, caller.as_deref()),
            endpoint: head.endpoint,
            head,
            body,
            headers,
            foreign,
            chosen,
            sample,
            key_name: caller.map(|c| Arc::clone(&c.name)),
            started: visit.started,
            started_at: visit.started_at,
            trail: Trail { waited_us: read_us, ..Trail::default() },
            _in_flight: in_flight,
        })
    }
}

/// What a request tells of itself.
struct Known<'a> {
    headers: &'a HeaderMap,
    head: &'a Head,
    body: &'a Bytes,
    foreign: Option<&'a Foreign>,
    caller: Option<&'a Key>,
}

/// What is hashed or listed of a request that has been decided.
pub(crate) fn unit(exchange: &Exchange, caller: Option<&Key>) -> String {
    let Exchange { headers, head, body, .. } = exchange;
    let known = Known { headers, head, body, foreign: exchange.foreign.as_deref(), caller };
    asked(&exchange.live, &known, &exchange.id_text, |decision| decision.unit.to_string())
}

/// Asks the snapshot.
fn asked<T>(
    live: &Live,
    known: &Known<'_>,
    id_text: &str,
    take: impl FnOnce(Decision<'_>) -> T,
) -> T {
    let &Known { headers, head, body, foreign, caller } = known;
    let said = Said::of(headers, &live.routing_headers);
    let header = |name: &str| said.get(name);
    // A name that is known needs no reading, and where none of cutover's is, none is looked for.
    let hinted = cutover_ingress::any_hint(headers);
    let text = |name: HeaderName| {
        let value = hinted.then(|| headers.get(name)).flatten()?;
        std::str::from_utf8(value.as_bytes()).ok()
    };
    let own = foreign.map(|foreign| &foreign.metadata);
    let metadata = |name: &str| head.metadata_said(body, own, name).map(Cow::Owned);
    let ask = Ask {
        model: &head.model,
        user: head.safety_identifier.as_deref().or(head.user.as_deref()),
        header: &header,
        metadata: &metadata,
        caller: Caller {
            key_name: caller.as_ref().map(|c| &*c.name),
            use_case: caller.as_ref().and_then(|c| c.use_case.as_ref()).map(UseCaseName::as_str),
        },
        use_case: text(X_CUTOVER_USE_CASE),
        priority: text(X_CUTOVER_PRIORITY)
            .map(Cow::Borrowed)
            .or_else(|| metadata("priority"))
            .and_then(|word| Priority::parse(&word)),
        local_only: local_only(hinted.then_some(headers), caller.is_some_and(|key| key.local_only)),
        request_id: id_text,
    };
    take(live.snapshot.decide(&ask))
}

/// The decision, and the use case and candidate of a copy, if there shall be one.
fn decided(
    live: &Live,
    unit_key: &[u8; 16],
    known: &Known<'_>,
    id_text: &str,
) -> (Chosen, Option<(UseCaseIx, VariantIx)>) {
    asked(live, known, id_text, |decision| chosen(live, (unit_key, &*known.head.model), decision))
}

fn chosen(
    live: &Live,
    (unit_key, model): (&[u8; 16], &str),
    decision: Decision<'_>,
) -> (Chosen, Option<(UseCaseIx, VariantIx)>) {
    let shadow = decision.use_case.zip(decision.shadow);
    let chosen = Chosen {
        use_case: decision.use_case,
        arm: decision.arm,
        assignment: decision.assignment,
        bucket: decision.bucket,
        unit_hash: cutover_route::sticky::unit_hash(unit_key, &decision.unit),
        unit_is_known: decision.unit_is_known,
        local_only: decision.local_only,
        legs: match decision.use_case {
            None if !live.default_takes(model) => Legs::new(),
            _ => decision.legs,
        },
    };
    (chosen, shadow)
}
