//! Who is asked: an address, its headers, and the dialect it speaks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cutover_config::{Checked, HeaderValue as Configured, SecretRef, UpstreamKey};
use cutover_console::env;
use cutover_console::exit::{Exit, Failed};
use cutover_console::files::Source;
use cutover_console::surroundings::{EngineChoice, Outside};
use cutover_console::term::Term;
use cutover_gateway::build::Surroundings;
use cutover_upstream::{
    Deadlines, Instance, InstanceAddress, InstanceLive, InstanceSettings, RequestHeaders,
    RequestRules, Tls,
};
use cutover_wire::Provider;
use cutover_wire::providers::Dialect;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Args;

/// Who is asked.
pub(super) struct Target {
    /// What it is called.
    pub(super) name: String,
    pub(super) instance: Instance,
    pub(super) headers: HeaderMap,
    pub(super) provider: &'static Provider,
}

/// Deadlines of the connection; the whole request has one of its own.
pub(super) fn deadlines(whole: Duration) -> Deadlines {
    Deadlines { connect: Duration::from_secs(10).min(whole), first_byte: whole }
}

pub(super) fn target(
    args: &Args,
    config: Option<&Path>,
    term: &mut Term,
) -> Result<Target, Failed> {
    if let Some(url) = &args.url {
        let provider = Provider::by_name("openai-compatible").ok_or_else(|| {
            Failed::new(Exit::Failed, "the provider table has no openai-compatible")
        })?;
        let key = args.key_env.as_deref().map(|name| {
            env::any(name)
                .ok_or_else(|| Failed::usage(format!("environment variable {name} is not set")))
        });
        let own = key.transpose()?.map(|key| bearer(&key)).transpose()?;
        let instance = instance(url, None)?;
        return Ok(Target { name: url.clone(), instance, headers: headers(own), provider });
    }
    let name = args.upstream.as_deref().unwrap_or_default();
    let source = Source::find(config);
    let checked = source.load(term)?;
    upstream(name, &checked, &source)
}

fn upstream(name: &str, checked: &Checked, source: &Source) -> Result<Target, Failed> {
    let found = checked.upstreams.iter().find(|upstream| upstream.name.as_str() == name);
    let upstream = found.ok_or_else(|| {
        let known = checked.upstreams.iter().map(|upstream| upstream.name.as_str());
        let hint = cutover_units::did_you_mean(name, known.clone());
        let failed = Failed::usage(format!("there is no upstream {name:?} in {}", source.name()));
        failed.hint(
            hint.unwrap_or_else(|| format!("known: {}", known.collect::<Vec<_>>().join(", "))),
        )
    })?;
    let through = "measure it through a running gateway: --url http://127.0.0.1:4000/v1";
    let provider = Provider::by_name(upstream.provider.name)
        .filter(|row| matches!(row.dialect, Dialect::OpenAi | Dialect::Ollama))
        .ok_or_else(|| {
            Failed::usage(format!("{name} does not speak OpenAI's or Ollama's API")).hint(through)
        })?;
    let first = upstream.instances.first();
    let url = first
        .ok_or_else(|| Failed::usage(format!("{name} runs inside the gateway")).hint(through))?;
    let outside = Outside::new(&source.base, EngineChoice::Name);
    let secret = |reference: &SecretRef| {
        outside.secret(reference).map_err(|why| Failed::new(Exit::Config, why))
    };
    let mut own = Vec::new();
    if let UpstreamKey::Secret(reference) = &upstream.key
        && let Some(key) = secret(reference)?
    {
        own.push(bearer(&key)?);
    }
    for (header, value) in &upstream.headers {
        let value = match value {
            Configured::Text(text) => Some(text.clone()),
            Configured::Secret(reference) => secret(reference)?,
        };
        let header = HeaderName::try_from(header.as_str()).context("not a header name")?;
        if let Some(value) = value {
            own.push((header, hidden(&value)?));
        }
    }
    let ca = upstream.ca_file.as_ref().map(|path| std::fs::read(source.base.join(path)));
    let ca = ca.transpose().context("cannot read the upstream's ca_file")?;
    let instance = instance(&url.to_string(), ca.as_deref())?;
    Ok(Target { name: format!("{name} ({url})"), instance, headers: headers(own), provider })
}

fn headers(own: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> HeaderMap {
    RequestHeaders::new(RequestRules::default(), own).for_client(&HeaderMap::new())
}

fn bearer(key: &str) -> Result<(HeaderName, HeaderValue), Failed> {
    Ok((header::AUTHORIZATION, hidden(&format!("Bearer {key}"))?))
}

fn hidden(text: &str) -> Result<HeaderValue, Failed> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Failed::usage("a secret holds a character that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn instance(url: &str, ca: Option<&[u8]>) -> Result<Instance, Failed> {
    let address =
        InstanceAddress::parse(url).map_err(|why| Failed::usage(format!("{url}: {why}")))?;
    let roots: Vec<&[u8]> = ca.into_iter().collect();
    let tls = if address.is_https() {
        Some(Tls::new(&roots).context("cannot set up TLS")?)
    } else {
        None
    };
    let live = Arc::new(InstanceLive::default());
    Ok(Instance::http(address, InstanceSettings::default(), tls, live))
}
