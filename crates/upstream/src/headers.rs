//! Which headers may pass, each way: allow-lists, so that a header nobody thought of stays here.
//!
//! Towards the upstream a request starts from prebuilt headers (content type, the upstream's own key)
//! and takes over from the client only what is listed. The client's `authorization`, `x-api-key`,
//! `cookie`, `forwarded`, `x-forwarded-*`, `x-cutover-*` and `x-stainless-*` never pass: they are for
//! us or speak of the client. Towards the client only what speaks of the answer passes; never a
//! cookie, nor anything about the upstream's connection, software or cache.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER, USER_AGENT,
};

mod secrets;

/// Longest value taken over in either direction: none of the listed headers needs more.
const VALUE_BYTES_MAX: usize = 1024;

/// Response headers that pass, beside those that start with [`RESPONSE_PREFIX`].
const RESPONSE: [HeaderName; 5] = [
    CONTENT_TYPE,
    RETRY_AFTER,
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("openai-processing-ms"),
    HeaderName::from_static("openai-version"),
];

const RESPONSE_PREFIX: &str = "x-ratelimit-";

/// Request headers that only their vendor may see.
const OPENAI: [HeaderName; 2] =
    [HeaderName::from_static("openai-beta"), HeaderName::from_static("x-client-request-id")];

/// Request headers that choose within an account: they pass beside the client's own key alone. Beside the operator's
/// a client would choose whose project is billed, and two clients with one idempotency key get one answer.
const OPENAI_ACCOUNT: [HeaderName; 3] = [
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("idempotency-key"),
];

/// The same of Anthropic's.
const ANTHROPIC: [HeaderName; 1] = [HeaderName::from_static("anthropic-beta")];

/// The W3C trace context.
const TRACE: [HeaderName; 2] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// The vendor whose own headers may be passed on to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vendor {
    /// OpenAI itself (not a service that speaks its dialect).
    OpenAi,
    /// Anthropic, or what speaks its API.
    Anthropic,
    /// Anyone else: no vendor header passes.
    #[default]
    Other,
}

/// What one upstream may see of a client's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestRules {
    /// Whose headers pass.
    pub vendor: Vendor,
    /// Whether the trace context passes (`traceparent`, `tracestate`).
    pub trace: bool,
}

/// The headers of requests to one upstream, prebuilt.
#[derive(Clone)]
pub struct RequestHeaders {
    base: HeaderMap,
    rules: RequestRules,
    /// Whether the upstream's own key is among them.
    has_key: bool,
}

impl RequestHeaders {
    /// Prebuilds the headers; `own` are the upstream's: its key, and what the configuration adds.
    pub fn new(
        rules: RequestRules,
        own: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        let mut base = HeaderMap::with_capacity(8);
        base.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        base.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // We read the answer: usage, finish reason, errors.
        base.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let agent = concat!("cutover/", env!("CARGO_PKG_VERSION"));
        base.insert(USER_AGENT, HeaderValue::from_static(agent));
        base.extend(own);
        let has_key = base.contains_key(AUTHORIZATION);
        Self { base, rules, has_key }
    }

    /// The headers of one request: the prebuilt ones, and from the client's what the rules allow.
    /// What is prebuilt is never replaced by the client.
    pub fn for_client(&self, client: &HeaderMap) -> HeaderMap {
        let mut headers = self.base.clone();
        match self.rules.vendor {
            Vendor::OpenAi => {
                take_over(client, &OPENAI, &mut headers);
                if !self.has_key {
                    take_over(client, &OPENAI_ACCOUNT, &mut headers);
                }
            }
            Vendor::Anthropic => take_over(client, &ANTHROPIC, &mut headers),
            Vendor::Other => {}
        }
        if self.rules.trace {
            take_over(client, &TRACE, &mut headers);
        }
        headers
    }
}

impl std::fmt::Debug for RequestHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names only: a value may be a key.
        f.debug_set().entries(self.base.keys()).finish()
    }
}

fn take_over(from: &HeaderMap, names: &[HeaderName], to: &mut HeaderMap) {
    for name in names {
        if let Some(value) = from.get(name).filter(|value| value.len() <= VALUE_BYTES_MAX)
            && !to.contains_key(name)
        {
            to.insert(name.clone(), value.clone());
        }
    }
}

/// What an endpoint that is passed on untouched adds to the lists: type and part of the content, and
/// whether it has changed.
const PASSED_REQUEST: [HeaderName; 7] = [
    CONTENT_TYPE,
    ACCEPT,
    http::header::RANGE,
    http::header::IF_RANGE,
    http::header::IF_NONE_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_MATCH,
];

/// The same of the answer.
const PASSED_RESPONSE: [HeaderName; 8] = [
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_RANGE,
    http::header::CONTENT_DISPOSITION,
    http::header::CONTENT_LANGUAGE,
    http::header::ACCEPT_RANGES,
    http::header::ETAG,
    http::header::LAST_MODIFIED,
    http::header::CACHE_CONTROL,
];

/// Headers for endpoints that are passed on untouched, each way.
pub mod passed_headers {
    use super::{
        ACCEPT, CONTENT_TYPE, HeaderMap, PASSED_REQUEST, PASSED_RESPONSE, VALUE_BYTES_MAX,
        passed_response_headers,
    };

    /// Puts what the client says of its content in the place of what is prebuilt for JSON.
    pub fn to_upstream(client: &HeaderMap, headers: &mut HeaderMap) {
        headers.remove(CONTENT_TYPE);
        headers.remove(ACCEPT);
        for name in &PASSED_REQUEST {
            if let Some(value) = client.get(name).filter(|value| value.len() <= VALUE_BYTES_MAX) {
                headers.insert(name.clone(), value.clone());
            }
        }
    }

    /// What the client may see of an answer that is passed on.
    pub fn to_client(upstream: &HeaderMap) -> HeaderMap {
        let speaks_of_content = upstream.iter().filter(|(name, value)| {
            value.len() <= VALUE_BYTES_MAX && PASSED_RESPONSE.contains(name)
        });
        passed_response_headers(upstream)
            .chain(speaks_of_content)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// Whether a response is a 200 whose body is events or lines.
pub fn is_stream<B>(response: &http::Response<B>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], HeaderValue::as_bytes);
    let is = |kind: &[u8]| {
        content_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
    };
    response.status().is_success() && (is(b"text/event-stream") || is(b"application/x-ndjson"))
}

/// Of an upstream's response headers, those that the client may see.
pub fn passed_response_headers(
    upstream: &HeaderMap,
) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    upstream.iter().filter(|(name, value)| {
        value.len() <= VALUE_BYTES_MAX
            && (name.as_str().starts_with(RESPONSE_PREFIX) || RESPONSE.contains(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::AUTHORIZATION;

    fn map(text: &str) -> HeaderMap {
        text.lines()
            .filter_map(|line| line.trim().split_once(": "))
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
            })
            .collect()
    }

    fn text<'a>(
        headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    ) -> Vec<String> {
        let mut lines: Vec<_> = headers
            .into_iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    const CLIENT: &str = "host: gateway.example
        authorization: Bearer client-secret
        x-api-key: client-secret
        x-goog-api-key: client-secret
        api-key: client-secret
        cookie: a=b
        content-type: text/html
        content-length: 3
        transfer-encoding: chunked
        connection: close, x-extra
        te: trailers
        x-extra: 1
        forwarded: for=1.2.3.4
        x-forwarded-for: 1.2.3.4
        x-real-ip: 1.2.3.4
        x-cutover-arm: candidate
        x-stainless-retry-count: 1
        user-agent: OpenAI/Python 3.52.0
        accept-encoding: gzip
        openai-beta: assistants=v2
        openai-organization: org-1
        openai-project: proj_1
        anthropic-beta: tools
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        tracestate: a=b
        idempotency-key: k1
        x-client-request-id: r1";

    fn own() -> [(HeaderName, HeaderValue); 1] {
        [(AUTHORIZATION, HeaderValue::from_static("Bearer upstream-secret"))]
    }

    const ALWAYS: [&str; 5] = [
        "accept-encoding: identity",
        "accept: application/json",
        "authorization: Bearer upstream-secret",
        "content-type: application/json",
        concat!("user-agent: cutover/", env!("CARGO_PKG_VERSION")),
    ];

    #[test]
    fn another_provider_sees_nothing_of_the_client() {
        let headers = RequestHeaders::new(RequestRules::default(), own()).for_client(&map(CLIENT));
        assert_eq!(text(&headers), ALWAYS);
    }

    #[test]
    fn vendor_headers_go_to_their_vendor_only() {
        let rules = RequestRules { vendor: Vendor::OpenAi, trace: false };
        let headers = RequestHeaders::new(rules, own()).for_client(&map(CLIENT));
        let mut expect: Vec<&str> = ALWAYS.to_vec();
        expect.extend(["openai-beta: assistants=v2", "x-client-request-id: r1"]);
        expect.sort_unstable();
        assert_eq!(text(&headers), expect);
        // Beside the client's own key it also chooses within its account.
        let headers = RequestHeaders::new(rules, []).for_client(&map(CLIENT));
        expect.retain(|line| !line.starts_with("authorization"));
        expect.extend([
            "idempotency-key: k1",
            "openai-organization: org-1",
            "openai-project: proj_1",
        ]);
        expect.sort_unstable();
        assert_eq!(text(&headers), expect);
        let rules = RequestRules { vendor: Vendor::Anthropic, trace: false };
        let headers = RequestHeaders::new(rules, own()).for_client(&map(CLIENT));
        let mut expected = vec!["anthropic-beta: tools"];
        expected.extend(ALWAYS);
        expected.sort_unstable();
        assert_eq!(text(&headers), expected);
    }

    #[test]
    fn the_trace_context_passes_where_it_is_allowed() {
        let rules = RequestRules { vendor: Vendor::Other, trace: true };
        let headers = RequestHeaders::new(rules, []).for_client(&map(CLIENT));
        assert_eq!(headers.get("tracestate").unwrap(), "a=b");
        assert!(headers.contains_key("traceparent"));
        assert_eq!(headers.len(), 6);
    }

    #[test]
    fn what_the_configuration_sets_wins_over_the_client() {
        let rules = RequestRules { vendor: Vendor::OpenAi, trace: false };
        let organization = HeaderName::from_static("openai-organization");
        let own = [(organization.clone(), HeaderValue::from_static("ours"))];
        let headers = RequestHeaders::new(rules, own).for_client(&map(CLIENT));
        assert_eq!(text(&headers).iter().filter(|l| l.starts_with("openai-org")).count(), 1);
        assert_eq!(headers.get(organization).unwrap(), "ours");
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let shown = format!("{:?}", RequestHeaders::new(RequestRules::default(), own()));
        assert!(shown.contains("authorization") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn only_what_speaks_of_the_answer_reaches_the_client() {
        let upstream = map("content-type: application/json
            retry-after: 3
            retry-after-ms: 2500
            x-ratelimit-remaining-tokens: 17
            openai-processing-ms: 12
            openai-version: 2020-10-01
            openai-organization: ours
            set-cookie: __cf_bm=secret
            server: uvicorn
            date: Sat, 21 Nov 2026 10:00:00 GMT
            alt-svc: h3
            cf-ray: 1
            connection: keep-alive
            keep-alive: timeout=5
            transfer-encoding: chunked
            content-length: 7
            content-encoding: identity
            location: http://169.254.169.254/
            www-authenticate: Bearer
            access-control-allow-origin: *
            strict-transport-security: max-age=1
            x-request-id: theirs
            x-cutover-arm: candidate
            x-should-retry: true");
        assert_eq!(
            text(passed_response_headers(&upstream)),
            [
                "content-type: application/json",
                "openai-processing-ms: 12",
                "openai-version: 2020-10-01",
                "retry-after-ms: 2500",
                "retry-after: 3",
                "x-ratelimit-remaining-tokens: 17",
            ]
        );
    }

    #[test]
    fn a_value_of_absurd_length_does_not_pass() {
        let mut upstream = HeaderMap::new();
        upstream.insert(CONTENT_TYPE, HeaderValue::from_str(&"a".repeat(1025)).unwrap());
        assert_eq!(passed_response_headers(&upstream).count(), 0);
    }
}
