//! What a client asks of the router by cutover's own headers.
//!
//! A word that means nothing is refused, not skipped: a misspelt use case would be served by the default
//! upstream, measured nowhere, and leave the house where the use case it meant is local-only. Names in
//! other places (a body's `metadata`, the model) may mean something to others, and are not judged.

use cutover_route::overflow::Class;
use cutover_route::{Priority, Snapshot, residency};
use cutover_units::{Code, UseCaseName};
use cutover_wire::Fault;
use http::{HeaderMap, HeaderName};

use crate::names::{
    X_CUTOVER_PRIORITY, X_CUTOVER_PRIORITY_CLASS, X_CUTOVER_RESIDENCY, X_CUTOVER_USE_CASE,
};

/// What the names of all of them begin with.
const PREFIX: &str = "x-cutover-";

/// The most characters of a client's word that it is shown again.
const SHOWN_CHARS_MAX: usize = 100;

/// Refuses a use case that there is none of, a priority that is none, and a residency that is none.
pub fn check_hints(
    headers: &HeaderMap,
    bound: Option<&UseCaseName>,
    snapshot: &Snapshot,
) -> Result<(), Fault> {
    let known = |name: &str| snapshot.use_cases().iter().any(|case| case.name.as_str() == name);
    // A key that belongs to a use case decides, whatever the header says.
    if let Some(bound) = bound.filter(|bound| !known(bound.as_str())) {
        let message = format!(
            "this key belongs to the use case '{bound}', which the gateway's config does not have"
        );
        return Err(Fault::new(Code::PermissionDenied, message));
    }
    if !any_hint(headers) {
        return Ok(());
    }
    if bound.is_none()
        && let Some(name) = word(headers, &X_CUTOVER_USE_CASE)?
        && !known(name)
    {
        let message = format!("there is no use case '{}'", shown(name));
        return Err(wrong(&X_CUTOVER_USE_CASE, message));
    }
    if let Some(priority) = word(headers, &X_CUTOVER_PRIORITY)?
        && Priority::parse(priority).is_none()
    {
        let message = format!("'{}' is neither 'cost' nor 'quality'", shown(priority));
        return Err(wrong(&X_CUTOVER_PRIORITY, message));
    }
    if let Some(residency) = word(headers, &X_CUTOVER_RESIDENCY)?
        && residency::parse(residency).is_none()
    {
        let message = format!(
            "'{}' is not 'local-only', the only value: a header can keep a request at local \
             upstreams, and cannot release it from them",
            shown(residency)
        );
        return Err(wrong(&X_CUTOVER_RESIDENCY, message));
    }
    if let Some(class) = word(headers, &X_CUTOVER_PRIORITY_CLASS)?
        && Class::parse(class).is_none()
    {
        let message = format!("'{}' is neither 'interactive' nor 'batch'", shown(class));
        return Err(wrong(&X_CUTOVER_PRIORITY_CLASS, message));
    }
    Ok(())
}

/// Whether a client asks anything at all. Most ask nothing, and each name would be looked for in turn.
pub fn any_hint(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

/// Whether a request stays with local upstreams, by its headers, if [`any_hint`] asks something, or by its key. A
/// word that [`check_hints`] would refuse counts as the strictest: a way that forgot to ask it leaks nothing.
pub fn local_only(headers: Option<&HeaderMap>, by_key: bool) -> bool {
    by_key || headers.is_some_and(|headers| headers.contains_key(&X_CUTOVER_RESIDENCY))
}

/// How urgent a request is, by its header and its key: whichever says less.
pub fn class(headers: &HeaderMap, by_key: Class) -> Class {
    let said = if any_hint(headers) { headers.get(&X_CUTOVER_PRIORITY_CLASS) } else { None };
    let said = said.and_then(|value| Class::parse(std::str::from_utf8(value.as_bytes()).ok()?));
    said.unwrap_or_default().max(by_key)
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
