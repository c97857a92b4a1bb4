//! The pages on which an engine tells how it is: asked one after the other, over a connection of their own.

use std::time::Duration;

use bytes::Bytes;
use cutover_route::health::{Load, Probed};
use cutover_wire::probe::{Facts, Fitness, Page};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;

use crate::{Deadlines, Instance, Outbound, SendErrorKind};

/// How long a page may take: an engine that answers later is busy at best.
const PAGE_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest page. vLLM's metrics take some 100 kB.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Reads the pages. The first decides whether anyone is there.
pub async fn ask(
    (prober, headers): (&Instance, HeaderMap),
    pages: &[Page],
    facts: &mut Facts,
) -> Probed {
    for (nth, page) in pages.iter().enumerate() {
        match timeout(PAGE_TIMEOUT, read(prober, headers.clone(), *page)).await {
            Ok(Ok((status, body))) => page.read(status, &body, facts),
            Ok(Err(kind)) if nth == 0 && is_nobody(kind) => return Probed::Refused,
            Ok(Err(_)) | Err(_) if nth == 0 => return Probed::Missed,
            // A page of figures that does not come leaves figures unknown.
            Ok(Err(_)) | Err(_) => {}
        }
        if matches!(facts.fitness, Fitness::Loading | Fitness::Unfit) {
            return Probed::Unfit;
        }
    }
    Probed::Fit(Load::default())
}

/// Whether nobody is there, for certain: two such probes tell it, of silent ones it takes three.
fn is_nobody(kind: SendErrorKind) -> bool {
    matches!(kind, SendErrorKind::Refused | SendErrorKind::Connect | SendErrorKind::Dns)
}

async fn read(
    prober: &Instance,
    mut headers: HeaderMap,
    page: Page,
) -> Result<(u16, Bytes), SendErrorKind> {
    headers.remove(http::header::CONTENT_TYPE);
    let outbound = Outbound {
        method: Method::GET,
        path_and_query: PathAndQuery::from_static(page.path()),
        headers,
        body: Vec::new(),
    };
    let deadlines = Deadlines { connect: PAGE_TIMEOUT, first_byte: PAGE_TIMEOUT };
    let response = prober.send(outbound, deadlines).await.map_err(|error| error.kind())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await;
    Ok((status, body.map_err(|_| SendErrorKind::Protocol)?.to_bytes()))
}

/// What the balancer's judgement needs of the facts.
pub fn load(facts: &Facts, asked: &[String]) -> Load {
    let warm = facts
        .loaded
        .as_ref()
        .filter(|_| !asked.iter().all(String::is_empty))
        .map(|loaded| asked.iter().any(|model| loaded.iter().any(|known| known.serves(model))));
    Load {
        waiting: facts.waiting,
        running: facts.running,
        slots: facts.slots,
        cache_permille: facts.cache_permille,
        warm,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{InstanceAddress, InstanceLive, InstanceSettings};

    use super::*;

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_told_from_silence() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let address = InstanceAddress::parse(&address).unwrap();
        let (settings, live) = (InstanceSettings::default(), Arc::<InstanceLive>::default());
        let instance = Instance::http(address, settings, None, live);
        let outbound = Outbound {
            method: Method::GET,
            path_and_query: PathAndQuery::from_static("/health"),
            headers: HeaderMap::new(),
            body: Vec::new(),
        };
        let sent = instance.send(outbound, Deadlines::default()).await;
        assert!(is_nobody(sent.err().unwrap().kind()));
        assert!(!is_nobody(SendErrorKind::FirstByteTimeout) && !is_nobody(SendErrorKind::Closed));
    }
}
