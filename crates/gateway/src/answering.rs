//! The gateway as its server sees it: requests in, answers out, and the order of its end.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cutover_server::{Arrival, Handler, discard};
use cutover_telemetry::InFlight;
use cutover_units::Code;
use cutover_wire::Fault;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::body::Out;
use crate::dialects;
use crate::gateway::{Gateway, Refusal, Visit};
use crate::rescue::Failure;

/// A gateway behind a server.
#[derive(Debug, Clone)]
pub(crate) struct Answering(pub(crate) Gateway);

impl Handler for Answering {
    type Body = Out;
    type Open = InFlight;

    fn opened(&self) -> InFlight {
        self.0.shared().connections.enter()
    }

    async fn answer(&self, arrival: Arrival) -> Response<Out> {
        let gateway = &self.0;
        let Arrival { peer, mut head, body, doubt, pulse } = arrival;
        let visit = Visit { pulse: Some(pulse), ..gateway.visit(peer) };
        let mut body = Some(body);
        let answered = match doubt {
            // Pinned here, as all of a request's way is in it: it is not moved.
            None => gateway.unless_cut(pin!(gateway.phases(&visit, &mut head, &mut body))).await,
            Some(fault) => Some(Err(Refusal { endpoint: None, ..dialects::unread(&head, fault) })),
        };
        let refusal = match answered {
            Some(Ok(response)) => return response,
            Some(Err(refusal)) => refusal,
            None => dialects::unread(&head, Failure::drained().fault),
        };
        if visit.decided.load(Ordering::Relaxed) {
            // Its exchange has been dropped, and has recorded it.
            return visit.drained(&refusal);
        }
        let head_refused = matches!(refusal.fault.code, Code::HeadTooLarge | Code::MalformedHttp);
        let mut response = gateway.refuse(&visit, &head.headers, refusal);
        if response.status() == StatusCode::METHOD_NOT_ALLOWED
            && let Ok(methods) = HeaderValue::from_str(&cutover_ingress::allowed(head.uri.path()))
        {
            response.headers_mut().insert(header::ALLOW, methods);
        }
        // What was not read of a refused body would be taken for the next request's head.
        let kept = match body {
            Some(body) if !head_refused => discard(body, &head.headers).await,
            Some(_) => false,
            None => true,
        };
        if !kept {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn refuse_head(&self, peer: IpAddr, fault: Fault) -> Response<Bytes> {
        let response =
            self.0.refuse(&self.0.visit(peer), &HeaderMap::new(), Refusal::nowhere(fault));
        response.map(Out::into_whole)
    }

    fn limit_hit(&self, limit: &'static str) {
        self.0.limit_hit(limit);
    }

    fn drain(&self) {
        self.0.shared().ending.drain();
        // What operators have begun takes minutes: nobody's answer waits for it.
        self.0.shared().jobs.stop();
    }

    async fn ended(&self) {
        // Nobody waits for a copy, nor shall a restart.
        self.0.shared().ending.cut();
        self.0.shared().tasks.close();
        self.0.shared().tasks.wait().await;
    }

    fn cut(&self) {
        self.0.shared().cut.store(true, Ordering::Relaxed);
        self.0.shared().ending.cut();
    }
}
