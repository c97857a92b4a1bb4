//! The head of an answer: which headers tell who answered, and what is passed on from the upstream.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::exchange::Exchange;

pub(crate) use cutover_ingress::names::{
    X_CUTOVER_ARM, X_CUTOVER_ASSIGNED_ARM, X_CUTOVER_ATTEMPTS, X_CUTOVER_INSTANCE, X_CUTOVER_LOSS,
    X_CUTOVER_OVERFLOW, X_CUTOVER_PRIORITY, X_CUTOVER_PROMPT, X_CUTOVER_UPSTREAM,
    X_CUTOVER_USE_CASE, X_CUTOVER_VARIANT, X_REQUEST_ID, X_STAINLESS_RETRY_COUNT,
};

/// Adds the request's id.
pub(crate) fn sign_id(headers: &mut HeaderMap, exchange: &Exchange) {
    if let Ok(id) = HeaderValue::from_str(&exchange.id_text) {
        if let Some(foreign) = &exchange.foreign {
            let own = HeaderName::from_static(foreign.dialect.request_id_header);
            headers.insert(own, id.clone());
        }
        headers.insert(X_REQUEST_ID, id);
    }
}

/// Adds who answered.
pub(crate) fn sign(headers: &mut HeaderMap, exchange: &Exchange) {
    sign_id(headers, exchange);
    if let Some(lane) = exchange.chosen.use_case.and_then(|at| exchange.live.use_case(at)) {
        headers.insert(X_CUTOVER_USE_CASE, lane.header.clone());
    }
    if let Some((lane, instance, arm)) = exchange.lane() {
        headers.insert(X_CUTOVER_ARM, HeaderValue::from_static(arm.as_str()));
        headers.insert(X_CUTOVER_VARIANT, lane.variant.clone());
        if let Some(prompt) = lane.prompt_at(exchange.endpoint) {
            headers.insert(X_CUTOVER_PROMPT, prompt.header.clone());
        }
        headers.insert(X_CUTOVER_UPSTREAM, lane.upstream.header.clone());
        headers.insert(X_CUTOVER_INSTANCE, instance.header.clone());
    }
    if let Some(why) = exchange.admission.overflow {
        headers.insert(X_CUTOVER_OVERFLOW, HeaderValue::from_static(why.as_str()));
    }
    if exchange.another_arm_answered() {
        let assigned = HeaderValue::from_static(exchange.chosen.arm.as_str());
        headers.insert(X_CUTOVER_ASSIGNED_ARM, assigned);
    }
    headers.insert(X_CUTOVER_ATTEMPTS, HeaderValue::from(exchange.attempts()));
    if !exchange.trail.losses.is_empty()
        && let Ok(value) = HeaderValue::from_str(&losses(exchange))
    {
        headers.insert(X_CUTOVER_LOSS, value);
    }
}

/// `field=dropped, field=changed`.
fn losses(exchange: &Exchange) -> String {
    let each: Vec<_> = exchange
        .trail
        .losses
        .iter()
        .map(|loss| format!("{}={}", loss.field, loss.action.as_str()))
        .collect();
    each.join(", ")
}

/// How often the client's SDK says it has retried this request: not new demand.
pub(crate) fn sdk_retry(headers: &HeaderMap) -> u32 {
    headers
        .get(X_STAINLESS_RETRY_COUNT)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

/// The same headers in memory of their own: as they came they lie in the connection's read buffer, and
/// would keep all of it for as long as the request lasts.
pub(crate) fn apart(headers: &HeaderMap) -> HeaderMap {
    let copied = |value: &HeaderValue| {
        let mut copy = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        copy.set_sensitive(value.is_sensitive());
        Some(copy)
    };
    headers.iter().filter_map(|(name, value)| Some((name.clone(), copied(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn headers_set_apart_say_the_same_and_hold_no_buffer() {
        let buffer = Bytes::from(b"one two".to_vec());
        let part = |range| HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap();
        let mut came = HeaderMap::new();
        came.append("accept", part(0..3));
        came.append("accept", part(4..7));
        let mut key = part(0..7);
        key.set_sensitive(true);
        came.insert("authorization", key);
        let apart = apart(&came);
        assert_eq!(apart, came);
        assert!(apart["authorization"].is_sensitive());
        drop(came);
        assert!(buffer.is_unique(), "the buffer is still held");
    }
}
