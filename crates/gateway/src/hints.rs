//! What a client asks of the router by cutover's own headers.
//!
//! A word that means nothing is refused, not skipped: a misspelt use case would be served by the default
//! upstream, measured nowhere, and leave the house where the use case it meant is local-only. Names in
//! other places (a body's `metadata`, the model) may mean something to others, and are not judged.

use cutover_route::{Priority, Snapshot};
use cutover_store::Key;
use cutover_units::Code;
use cutover_wire::Fault;
use http::{HeaderMap, HeaderName};

use crate::answer::{X_CUTOVER_PRIORITY, X_CUTOVER_USE_CASE};

/// The most characters of a client's word that it is shown again.
const SHOWN_CHARS_MAX: usize = 100;

/// Refuses a use case that there is none of, and a priority that is none.
pub(crate) fn check(
    headers: &HeaderMap,
    caller: Option<&Key>,
    snapshot: &Snapshot,
) -> Result<(), Fault> {
    // A key that belongs to a use case decides, whatever the header says.
    let bound = caller.is_some_and(|key| key.use_case.is_some());
    if !bound && let Some(name) = word(headers, &X_CUTOVER_USE_CASE)? {
        let known = snapshot.use_cases().iter().any(|use_case| use_case.name.as_str() == name);
        if !known {
            let message = format!("there is no use case '{}'", shown(name));
            return Err(wrong(&X_CUTOVER_USE_CASE, message));
        }
    }
    if let Some(priority) = word(headers, &X_CUTOVER_PRIORITY)?
        && Priority::parse(priority).is_none()
    {
        let message = format!("'{}' is neither 'cost' nor 'quality'", shown(priority));
        return Err(wrong(&X_CUTOVER_PRIORITY, message));
    }
    Ok(())
}

fn word<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong(name, "this header stands twice".to_owned()));
    }
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some).map_err(|_| wrong(name, "this header is not UTF-8".to_owned()))
}

fn shown(word: &str) -> String {
    word.chars().take(SHOWN_CHARS_MAX).collect()
}

fn wrong(name: &HeaderName, message: String) -> Fault {
    Fault::of(Code::InvalidValue, name.as_str(), message)
}
