//! Downloads for the engine's model files, over the same TLS and connections as everything else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cutover_engine::models::{CONNECT_TIMEOUT_MS, Fetch, Sink};
use cutover_upstream::{
    Body, Deadlines, Instance, InstanceAddress, InstanceLive, InstanceSettings, Outbound, Tls,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;

/// Hugging Face answers with one redirect to its storage, sometimes two.
const REDIRECTS_MAX: usize = 5;

/// Time to an answer's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Time between two pieces: a download that stands still for longer has failed.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client for https downloads.
pub(crate) struct Https {
    tls: Tls,
}

impl Https {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { tls: Tls::new(&[]).context("cannot set up TLS")? })
    }

    async fn get(&self, url: &str, sink: Sink<'_>) -> anyhow::Result<()> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(&url).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return receive(response.into_body(), sink).await;
            }
            if !status.is_redirection() {
                anyhow::bail!("status {status}");
            }
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            let location = location.context("a redirect to nowhere")?;
            url = follow(&url, location)?;
        }
        anyhow::bail!("more than {REDIRECTS_MAX} redirects")
    }

    async fn ask(&self, url: &str) -> anyhow::Result<Response<Body>> {
        let uri: Uri = url.parse().context("not a URL")?;
        anyhow::ensure!(uri.scheme_str() == Some("https"), "not an https address");
        let authority = uri.authority().context("no host")?;
        let address = InstanceAddress::parse(&format!("https://{authority}"))?;
        let live = Arc::new(InstanceLive::default());
        let settings = InstanceSettings::default();
        let instance = Instance::http(address, settings, Some(self.tls.clone()), live);
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("cutover"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let request = Outbound {
            method: Method::GET,
            path_and_query: uri.path_and_query().context("no path")?.clone(),
            headers,
            body: Vec::new(),
        };
        let deadlines = Deadlines {
            connect: Duration::from_millis(CONNECT_TIMEOUT_MS),
            first_byte: HEAD_TIMEOUT,
        };
        Ok(instance.send(request, deadlines).await?)
    }
}

/// Where a redirect leads: a whole address, or a path on the same host.
fn follow(from: &str, location: &str) -> anyhow::Result<String> {
    if location.starts_with("https://") {
        return Ok(location.to_owned());
    }
    anyhow::ensure!(
        location.starts_with('/') && !location.starts_with("//"),
        "a redirect away from https"
    );
    let uri: Uri = from.parse().context("not a URL")?;
    let authority = uri.authority().context("no host")?;
    Ok(format!("https://{authority}{location}"))
}

async fn receive(mut body: Body, sink: Sink<'_>) -> anyhow::Result<()> {
    loop {
        let frame = tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await;
        let frame = frame.context("the download stood still")?;
        let Some(frame) = frame else { return Ok(()) };
        if let Ok(bytes) = frame?.into_data()
            && sink(&bytes).is_break()
        {
            return Ok(());
        }
    }
}

impl Fetch for Https {
    fn fetch(&self, url: &str, sink: Sink<'_>) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        runtime.block_on(self.get(url, sink)).map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_https() {
        let from = "https://hub.example/a/b";
        assert_eq!(follow(from, "/c").unwrap(), "https://hub.example/c");
        assert_eq!(follow(from, "https://other.example/x?y").unwrap(), "https://other.example/x?y");
        for bad in ["http://hub.example/c", "//hub.example/c", "c", "file:///etc/passwd"] {
            assert!(follow(from, bad).is_err(), "{bad}");
        }
    }
}
