//! Files that a config names and that change while it stays: certificates, prices, secrets.

use std::path::{Path, PathBuf};

use cutover_config::{Checked, HeaderValue, SecretRef, UpstreamKey};

use crate::files::Source;

/// All of them. What lies in one is read anew when it changes, with the config file.
pub(crate) fn files(source: &Source, checked: &Checked) -> Vec<PathBuf> {
    let trusted = checked.upstreams.iter().filter_map(|upstream| upstream.ca_file.as_deref());
    let named = trusted.chain(checked.prices.file.as_deref()).chain(secrets(checked));
    named.map(|path| source.base.join(path)).collect()
}

/// The files of secrets. What the environment holds does not change while the process lives.
fn secrets(checked: &Checked) -> impl Iterator<Item = &Path> {
    let upstreams = checked.upstreams.iter().flat_map(|upstream| {
        let key = match &upstream.key {
            UpstreamKey::Secret(key) => Some(key),
            UpstreamKey::None | UpstreamKey::Client => None,
        };
        let headers = upstream.headers.iter().filter_map(|(_, value)| match value {
            HeaderValue::Secret(secret) => Some(secret),
            HeaderValue::Text(_) => None,
        });
        key.into_iter().chain(headers)
    });
    let hooks = checked.webhooks.iter().filter_map(|hook| hook.secret.as_ref());
    let operators = checked.admin.operators.iter().map(|operator| &operator.token);
    let all = upstreams.chain(hooks).chain(&checked.admin.token).chain(operators);
    all.filter_map(|secret| match secret {
        SecretRef::File { path, .. } => Some(path.as_path()),
        SecretRef::Env { .. } => None,
    })
}
