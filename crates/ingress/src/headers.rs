//! What a request's headers say of where it goes: those that use cases and units are known by.

use std::collections::BTreeSet;
use std::sync::Arc;

use cutover_route::{Snapshot, UnitSource, UseCase};
use cutover_units::Code;
use cutover_wire::Fault;
use http::{HeaderMap, HeaderName};

/// The headers by which use cases know their requests and units.
pub fn routing(snapshot: &Snapshot) -> Arc<[HeaderName]> {
    let of = |case: &UseCase| {
        let unit = match &case.unit {
            UnitSource::Header(name) => Some(name.clone()),
            _ => None,
        };
        case.matcher.headers.iter().map(|(name, _)| name.clone()).chain(unit).collect::<Vec<_>>()
    };
    let names: BTreeSet<String> = snapshot.use_cases().iter().flat_map(of).collect();
    names.iter().filter_map(|name| HeaderName::try_from(name).ok()).collect()
}

/// Refuses a request in which one of them stands twice with different values: whichever was meant, taking
/// the other would count in another use case, or give the unit another arm.
pub fn agree(headers: &HeaderMap, routing: &[HeaderName]) -> Result<(), Fault> {
    for name in routing {
        let mut values = headers.get_all(name).iter();
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            let message = "this header stands twice, with different values, and decides where the \
                           request goes";
            return Err(Fault::of(Code::InvalidValue, name.as_str(), message));
        }
    }
    Ok(())
}

/// What the headers of a request say of where it goes. Not `to_str`, which takes ASCII only: a unit's name
/// may be anybody's. What is no UTF-8 is Latin-1, in which Python's and Java's own clients send a text; to
/// take it for nothing would part the unit from its arm.
pub struct Said<'a> {
    headers: &'a HeaderMap,
    latin: Vec<(&'a HeaderName, String)>,
}

impl<'a> Said<'a> {
    /// Of a request's headers; `routing` are those of which more than UTF-8 is read.
    pub fn of(headers: &'a HeaderMap, routing: &'a [HeaderName]) -> Self {
        let decoded = |name: &'a HeaderName| {
            let bytes = headers.get(name)?.as_bytes();
            let text = || bytes.iter().map(|byte| char::from(*byte)).collect();
            std::str::from_utf8(bytes).is_err().then(|| (name, text()))
        };
        Self { headers, latin: routing.iter().filter_map(decoded).collect() }
    }

    /// A header's text.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        std::str::from_utf8(value.as_bytes()).ok().or_else(|| {
            self.latin.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
        })
    }
}
