//! Second phase: who asks. Before the body is read and before anything is looked up.

use std::sync::Arc;

use cutover_server::{Stranger, stranger};
use cutover_store::{Key, KeyRing};
use cutover_units::{Code, Millis};
use cutover_upstream::clients_key::presented;
use cutover_wire::Fault;
use http::HeaderMap;

/// Why a caller was refused, for the metric.
pub(crate) struct Refused {
    pub(crate) reason: &'static str,
    pub(crate) fault: Fault,
}

/// Finds the caller. None: no key is asked for.
pub(crate) fn authenticate(
    headers: &HeaderMap,
    (keys, now): (Option<&KeyRing>, Millis),
) -> Result<Option<Arc<Key>>, Refused> {
    let Some(keys) = keys else {
        return stranger(headers).map_or(Ok(None), |strange| Err(refused_page(strange)));
    };
    let Some(key) = presented(headers) else {
        let message = "no API key was sent; put it into the Authorization header as a Bearer token";
        return Err(refused("missing", message));
    };
    if keys.is_unread() {
        // Nobody knows whether this key is one: a 401 would tell a client to throw a good one away.
        let message = "the client keys cannot be read now; an operator sees why in the log";
        let fault = Fault::new(Code::ClientKeysUnavailable, message);
        return Err(Refused { reason: "unread", fault });
    }
    match keys.find(key, now) {
        Some(entry) => Ok(Some(Arc::clone(entry))),
        None => Err(refused("unknown", "the API key is not known or was revoked")),
    }
}

fn refused(reason: &'static str, message: &str) -> Refused {
    Refused { reason, fault: Fault::new(Code::InvalidApiKey, message) }
}

/// Where no key is asked for, any page in a browser on this machine could spend the operator's.
fn refused_page(strange: Stranger) -> Refused {
    let fault = Fault::new(Code::PermissionDenied, strange.message());
    Refused { reason: strange.as_str(), fault }
}
