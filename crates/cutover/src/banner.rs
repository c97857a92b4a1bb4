//! What `serve` says once it serves.

use std::fmt::Write as _;
use std::net::SocketAddr;

use cutover_config::{ClientKeys, Upstream};

use crate::server::Server;

/// Addresses, upstreams, use cases, and how to try it.
pub(crate) fn text(server: &Server) -> String {
    let checked = &server.checked;
    let keys = match checked.server.keys {
        ClientKeys::Off => "no keys asked for",
        ClientKeys::Required => "keys required: cutover key add NAME",
    };
    let mut out = format!("cutover {} serves\n", env!("CARGO_PKG_VERSION"));
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "  clients    http://{}/v1   ({keys})", server.address);
    let _ = writeln!(out, "  operators  http://{}      (cutover status)", server.admin_address);
    let _ = writeln!(out, "  config     {}", server.source.name());
    let _ = writeln!(out, "  state      {}", server.directory.display());
    for (at, upstream) in checked.upstreams.iter().enumerate() {
        let role = if at == checked.default_upstream { "   (default)" } else { "" };
        let _ = writeln!(out, "  upstream   {}{role}", describe(upstream));
    }
    for use_case in server.controller.statuses() {
        let candidate = use_case.candidate.as_ref().map_or("no candidate", |name| name.as_str());
        let (name, baseline, weight) = (&use_case.name, &use_case.baseline, use_case.weight);
        let _ = writeln!(out, "  use case   {name}: {baseline} > {candidate} at {weight}");
    }
    let default = checked.default_upstream();
    let model = match &default.embedded {
        Some(embedded) => Some(embedded.model.as_str()),
        None => default.models.first().map(String::as_str),
    };
    out.push_str(&try_it(server.address, checked.server.keys, model.unwrap_or("MODEL")));
    out
}

fn describe(upstream: &Upstream) -> String {
    let name = &upstream.name;
    if let Some(embedded) = &upstream.embedded {
        return format!("{name}: {} in this process", embedded.model);
    }
    let addresses: Vec<_> = upstream.instances.iter().map(ToString::to_string).collect();
    format!("{name}: {} at {}", upstream.provider.name, addresses.join(", "))
}

/// A command to paste.
pub(crate) fn try_it(address: SocketAddr, keys: ClientKeys, model: &str) -> String {
    let key = match keys {
        ClientKeys::Off => "",
        ClientKeys::Required => " -H 'authorization: Bearer KEY'",
    };
    format!(
        "try it\n  curl http://{address}/v1/chat/completions -H 'content-type: application/json'{key} \\\n    \
         -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Say hello.\"}}]}}'\n"
    )
}
