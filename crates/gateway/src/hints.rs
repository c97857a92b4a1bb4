//! What a client's own headers, its metadata and its key ask of the way of a request: where it stays, and how urgent it is.

use std::collections::HashMap;

use bytes::Bytes;
use cutover_ingress::any_hint;
use cutover_ingress::names::{X_CUTOVER_PRIORITY_CLASS, X_CUTOVER_RESIDENCY};
use cutover_route::overflow::Class;
use cutover_store::Key;
use cutover_wire::Head;
use http::HeaderMap;

/// Whether a request stays with local upstreams, by its headers, if [`any_hint`] asks something, or its key. A
/// word that [`cutover_ingress::check_hints`] would refuse counts as the strictest: a way that forgot to ask it leaks nothing.
pub(crate) fn local_only(headers: Option<&HeaderMap>, caller: Option<&Key>) -> bool {
    caller.is_some_and(|key| key.local_only)
        || headers.is_some_and(|headers| headers.contains_key(&X_CUTOVER_RESIDENCY))
}

/// An entry of a request's metadata: as its client wrote it, where that was in another dialect, else as the chat has it.
pub(crate) fn metadata(
    own: Option<&HashMap<String, String>>,
    (head, body): (&Head, &Bytes),
    name: &str,
) -> Option<String> {
    let own = own.and_then(|own| own.get(name).cloned());
    own.or_else(|| head.metadata(body, name))
}

/// How urgent a request is, by its header and its key: whichever says less.
pub(crate) fn class(headers: &HeaderMap, caller: Option<&Key>) -> Class {
    let said = if any_hint(headers) { headers.get(&X_CUTOVER_PRIORITY_CLASS) } else { None };
    let said = said.and_then(|value| Class::parse(std::str::from_utf8(value.as_bytes()).ok()?));
    let by_key =
        if caller.is_some_and(|key| key.batch) { Class::Batch } else { Class::Interactive };
    said.unwrap_or_default().max(by_key)
}
