//! Client keys of a process: read at the start, and again until they can be.
//!
//! A database that cannot be read must not keep the process from starting: nobody would see a health check
//! or a reason, and a supervisor would start it again and again. But nobody is let in either: until the keys
//! can be read, a request with a key gets a 503 that is worth a retry, whatever its key. The watch over
//! files reads them again every few seconds.

use std::time::Duration;

use cutover_config::{Checked, ClientKeys};
use cutover_gateway::build::BuildError;
use cutover_store::{KeyRing, Keys, Store};
use cutover_units::UseCaseName;

use crate::term::Term;

/// So often, and with such pauses, a locked database is asked again before anybody is served: who waits in
/// line for some seconds sees no error at all.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// Why nobody is let in while there are no keys.
const KEYLESS: &str =
    "no client key exists, so every request is refused. Make one: cutover key add NAME";

/// The stored keys; none if they cannot be read.
pub(crate) async fn read(store: &Store, checked: &Checked, term: &mut Term) -> Option<Keys> {
    let required = checked.server.keys == ClientKeys::Required;
    let mut tries = 1;
    let read = loop {
        match store.load_keys().await {
            Err(error) if required && error.may_pass() && tries < TRIES => {
                tracing::warn!(%error, "client keys cannot be read yet");
            }
            read => break read,
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    };
    match read {
        Ok(keys) => {
            if required && keys.list().all(|key| key.revoked.is_some()) {
                term.warn(KEYLESS);
            }
            for warning in unmatched(checked, &keys) {
                term.warn(warning);
            }
            Some(keys)
        }
        Err(error) => {
            if required {
                tracing::error!(
                    %error,
                    "the client keys cannot be read: each request with a key gets a 503 until they can"
                );
            }
            None
        }
    }
}

/// A line for each use case that matches by a key which opens no door: nothing reaches it, and who was to be
/// served by it is served by the default upstream, whatever it says of arms and residency.
pub(crate) fn unmatched(checked: &Checked, keys: &Keys) -> Vec<BuildError> {
    let by_key = checked.use_cases.iter().filter_map(|use_case| {
        let name = use_case.matches.key.as_ref()?;
        let key = keys.list().find(|key| *key.name == **name);
        let why = match key {
            None => "which does not exist",
            Some(key) if key.revoked.is_some() => "which is revoked",
            Some(_) => return None,
        };
        let key = format!("use_cases.{}.match.key", use_case.name);
        Some(BuildError { key, why: format!("by key {name}, {why}") })
    });
    by_key.collect()
}

/// What a look at the stored keys shows before a start: [`unmatched`], keys of use cases that the file does not have,
/// and that nobody would be let in.
pub(crate) fn problems(checked: &Checked, keys: &Keys) -> Vec<BuildError> {
    let mut found = unmatched(checked, keys);
    if checked.server.keys == ClientKeys::Off {
        return found;
    }
    let known = |name: &UseCaseName| checked.use_cases.iter().any(|one| one.name == *name);
    let mut open = keys.list().filter(|key| key.revoked.is_none()).peekable();
    if open.peek().is_none() {
        found.push(BuildError { key: "server.keys".to_owned(), why: KEYLESS.to_owned() });
    }
    for key in open {
        let Some(name) = key.use_case.as_ref().filter(|name| !known(name)) else { continue };
        let why = format!(
            "client key {} belongs to the use case {name}, which is not here: its requests are refused",
            key.name
        );
        found.push(BuildError { key: format!("use_cases.{name}"), why });
    }
    found
}

/// What `/ready` says of the keys in force: why nobody can be let in, and what else is wrong.
pub(crate) fn state(keys: Option<&KeyRing>) -> (Option<String>, Option<String>) {
    match keys {
        Some(keys) if keys.is_unread() => (
            Some("the client keys, which cannot be read from the state directory".to_owned()),
            None,
        ),
        Some(keys) if keys.is_empty() => (None, Some(format!("keys: {KEYLESS}"))),
        _ => (None, None),
    }
}
