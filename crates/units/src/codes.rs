//! Every error an API client can see from us: one row each, read by `gateway::rescue`, the generated
//! reference and the tests.
//!
//! The `code` strings are those the official SDKs and frameworks branch on where such a string exists
//! (`context_length_exceeded`, `model_not_found`, `invalid_api_key`, `rate_limit_exceeded`).

/// Who caused an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The request was wrong: sending it again unchanged cannot help.
    Client,
    /// An upstream failed.
    Upstream,
    /// cutover itself failed or protects itself.
    Us,
}

impl Side {
    /// The side's word in labels and docs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Us => "us",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The code itself.
    pub code: Code,
    /// The string in the error body's `code`.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The string in the error body's `type` (OpenAI dialect).
    pub kind: &'static str,
    /// Who caused it.
    pub side: Side,
    /// Whether an SDK's own retry can help: becomes `x-should-retry`.
    pub retry: bool,
    /// What it means and how to mend it, for the reference.
    pub doc: &'static str,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal, $kind:literal, $side:ident, $retry:literal;)+) => {
        /// An error a client can see.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        /// All codes.
        pub const TABLE: &[Row] = &[
            $(Row {
                code: Code::$variant,
                name: $name,
                status: $status,
                kind: $kind,
                side: Side::$side,
                retry: $retry,
                doc: concat!($($doc, "\n"),+),
            },)+
        ];
    };
}

codes! {
    /// The body is not valid JSON. The message gives line and column.
    InvalidJson = "invalid_json", 400, "invalid_request_error", Client, false;
    /// A required field is missing. `param` names it.
    MissingField = "missing_required_parameter", 400, "invalid_request_error", Client, false;
    /// A field has the wrong type. `param` names it.
    InvalidType = "invalid_type", 400, "invalid_request_error", Client, false;
    /// A field has a value that is not allowed. `param` names it.
    InvalidValue = "invalid_value", 400, "invalid_request_error", Client, false;
    /// The target cannot do what a field asks, and its variant is `strict`. `param` names the field;
    /// remove it, or set `unsupported = "lenient"` on the variant.
    UnsupportedParameter = "unsupported_parameter", 400, "invalid_request_error", Client, false;
    /// Prompt and answer do not fit the model's context window.
    ContextLengthExceeded = "context_length_exceeded", 400, "invalid_request_error", Client, false;
    /// An image's address may not be fetched from here, or it is no PNG, JPEG, GIF or WebP within the
    /// limits of `[images]`. `param` names it. Send the image as a `data:` URL.
    InvalidImageUrl = "invalid_image_url", 400, "invalid_request_error", Client, false;
    /// An image could not be fetched from its address. `param` names it. Send it as a `data:` URL.
    ImageFetchFailed = "image_fetch_failed", 400, "invalid_request_error", Client, false;
    /// The upstream refused the request as wrong for another reason; its message is passed on. Clients of the
    /// OpenAI dialect see the status, `type` and `code` of a hosted service that speaks it, too.
    InvalidRequest = "invalid_request", 400, "invalid_request_error", Client, false;
    /// The request is not HTTP/1.1 that can be read in one way only: a broken request line or header, no
    /// host or two, two lengths, a length beside a transfer coding, a coding other than `chunked`, a body
    /// that ends early or is not in chunks. The connection is closed.
    MalformedHttp = "malformed_http", 400, "invalid_request_error", Client, false;
    /// What `previous_response_id` or an item names is not stored: it never was, was deleted, has expired,
    /// or was another key's. Send the whole conversation as `input`.
    PreviousResponseNotFound = "previous_response_not_found", 400, "invalid_request_error", Client, false;
    /// No API key, or one that is not known. Keys are made with `cutover key add`.
    InvalidApiKey = "invalid_api_key", 401, "authentication_error", Client, false;
    /// The key may not do this. Or no key is asked for, and a web page may have sent it: its `Origin` is not this
    /// machine, or its `Host` no name of it.
    PermissionDenied = "permission_denied", 403, "permission_error", Client, false;
    /// No such path.
    NotFound = "not_found", 404, "invalid_request_error", Client, false;
    /// No such model.
    ModelNotFound = "model_not_found", 404, "invalid_request_error", Client, false;
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "invalid_request_error", Client, false;
    /// The body did not arrive in time (`server.body_timeout`); of an endpoint that is passed on, nothing
    /// of it arrived for `surface.idle_timeout`.
    RequestTimeout = "request_timeout", 408, "invalid_request_error", Client, false;
    /// The body is larger than `server.body_limit`; of an endpoint that is passed on, than
    /// `surface.upload_limit`.
    RequestTooLarge = "request_too_large", 413, "invalid_request_error", Client, false;
    /// The upstream says that the request met another one, and may be sent again. SDKs do so by themselves.
    UpstreamConflict = "upstream_conflict", 409, "conflict_error", Upstream, true;
    /// Request line and headers are larger than `server.header_limit`, or the headers more than
    /// `server.header_count`. The connection is closed.
    HeadTooLarge = "request_headers_too_large", 431, "invalid_request_error", Client, false;
    /// The upstream limits the rate; `retry-after` is passed on.
    RateLimitExceeded = "rate_limit_exceeded", 429, "rate_limit_error", Upstream, true;
    /// The upstream's account has no money left.
    InsufficientQuota = "insufficient_quota", 429, "insufficient_quota", Upstream, false;
    /// cutover failed. The request id finds it in the log.
    Internal = "internal_error", 500, "server_error", Us, true;
    /// The upstream cannot do this at all (an embedding asked of a chat model).
    NotSupported = "not_supported", 501, "invalid_request_error", Client, false;
    /// The upstream's answer could not be read, or it failed with a status that says nothing more.
    BadGateway = "bad_gateway", 502, "server_error", Upstream, true;
    /// The upstream refused our key: an operator must act. Never shown as 401, which would blame the
    /// client's key.
    UpstreamAuth = "upstream_authentication", 502, "server_error", Upstream, false;
    /// No instance could be reached.
    UpstreamUnavailable = "upstream_unavailable", 503, "server_error", Upstream, true;
    /// The upstream is busy or still loading its model.
    Overloaded = "server_is_overloaded", 503, "server_error", Upstream, true;
    /// Stored responses cannot be read: the database is locked or away.
    StoredResponsesUnavailable = "stored_responses_unavailable", 503, "server_error", Us, true;
    /// The client keys cannot be read: the database is locked, damaged or away. Nobody is let in or turned
    /// away for a key until they can; cutover tries again every few seconds.
    ClientKeysUnavailable = "client_keys_unavailable", 503, "server_error", Us, true;
    /// The prompt of the variant that would answer (`prompt = "NAME@LABEL"`) is not known: the database
    /// could not be read since the start, or what the variant names is not in it. No answer is given with
    /// another prompt, or without one. cutover tries again every few seconds; `/ready` says what is missing.
    PromptUnavailable = "prompt_unavailable", 503, "server_error", Us, true;
    /// Too much feedback waits to be written.
    FeedbackBusy = "feedback_queue_full", 503, "server_error", Us, true;
    /// The request bodies under way hold all the memory that they may together (`server.body_memory`). Nothing
    /// was asked; it may be sent again as soon as others are answered.
    BodiesFull = "request_bodies_full", 503, "server_error", Us, true;
    /// cutover is shutting down and `server.drain_timeout` is over; another replica, or this one after
    /// its restart, will answer. A stream under way ends with it as its last event.
    ShuttingDown = "shutting_down", 503, "server_error", Us, true;
    /// The request stays with local upstreams (its use case or its key is `local-only`, or it says so
    /// itself with `x-cutover-residency`), and no local upstream can serve it: none of the variants that
    /// may is at one, or no instance could be reached. Or its body is passed on, a local-only use case knows its requests
    /// by what stands in bodies, and nobody can tell by this one. It goes nowhere rather than elsewhere.
    NoLocalUpstream = "residency_no_local_upstream", 503, "server_error", Us, false;
    /// The upstream did not answer within its deadline.
    UpstreamTimeout = "upstream_timeout", 504, "server_error", Upstream, true;
    /// The stream broke off after content had been sent: it cannot be retried invisibly. Whatever an
    /// upstream did then (closed the connection, stalled, ran out of its time, sent what cannot be read,
    /// failed), this is its code; the message says which, and the metric
    /// `cutover_stream_interruptions_total` counts them by reason. It is seen in streams alone.
    StreamInterrupted = "stream_interrupted", 502, "server_error", Upstream, true;
}

impl Code {
    /// The code's row.
    pub fn row(self) -> &'static Row {
        // The table is written by the same macro in the same order as the enum.
        &TABLE[self as usize]
    }

    /// The string in the error body.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_finds_its_own_row_and_names_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|r| r.name).collect();
        for row in TABLE {
            assert_eq!(row.code.row().name, row.name);
            assert!(!row.doc.trim().is_empty());
            assert!((400..600).contains(&row.status));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn a_client_fault_is_never_worth_a_retry() {
        assert!(TABLE.iter().all(|r| r.side != Side::Client || !r.retry));
    }
}
