//! Instances behind names that are resolved anew: the values, and how they are read.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::address::BaseUrl;
use crate::checked::Upstream;
use crate::reader::Table;
use crate::values;

/// How the names of an upstream's addresses are resolved: each address of an answer is an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolve {
    /// How often.
    pub every: Duration,
    /// Who is asked; None: the system's resolver.
    pub server: Option<SocketAddr>,
}

/// Some(None): names are resolved by each connection.
#[expect(
    clippy::option_option,
    reason = "the outer is whether the file is right, as everywhere here"
)]
pub(crate) fn resolve(table: &Table<'_>) -> Option<Option<Resolve>> {
    let every_given = table.given("resolve").is_some();
    let server_given = table.given("name_server").is_some();
    let every = table.read("resolve", values::duration);
    let server = table.read("name_server", values::listen);
    if server_given && !every_given {
        let hint = "say how often: resolve = \"5 s\"";
        table.conflict("name_server", "it is asked only with `resolve`", Some(hint.to_owned()));
    }
    if server.is_some_and(|server| server.port() == 0) {
        table.wrong("name_server", "nobody can be asked at port 0", None);
    }
    if !every_given {
        return Some(None);
    }
    let server = if server_given { Some(server?) } else { None };
    Some(Some(Resolve { every: every?, server }))
}

/// Notes a resolution of what is no name.
pub(crate) fn check(table: &Table<'_>, upstream: &Upstream) {
    let is_nowhere = upstream.instances.is_empty();
    if upstream.resolve.is_none() || is_nowhere || upstream.instances.iter().any(BaseUrl::is_named)
    {
        return;
    }
    let message = "there is no name to resolve: its instances are IP addresses";
    let hint = "write the name of the service, such as http://vllm.models.svc.cluster.local:8000";
    table.conflict("resolve", message, Some(hint.to_owned()));
}

impl BaseUrl {
    /// Whether its host is a name, not an address.
    pub fn is_named(&self) -> bool {
        self.host().parse::<IpAddr>().is_err()
    }
}
