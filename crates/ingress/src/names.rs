//! The headers that cutover reads and writes itself.

use http::HeaderName;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        $($(#[$doc])* pub const $name: HeaderName = HeaderName::from_static($text);)+
    };
}

names! {
    /// The request's id; SDKs show it on errors.
    X_REQUEST_ID = "x-request-id";
    /// The use case, if one matched.
    X_CUTOVER_USE_CASE = "x-cutover-use-case";
    /// The arm that answered.
    X_CUTOVER_ARM = "x-cutover-arm";
    /// The arm the request was assigned to, where another answered.
    X_CUTOVER_ASSIGNED_ARM = "x-cutover-assigned-arm";
    /// The variant that answered.
    X_CUTOVER_VARIANT = "x-cutover-variant";
    /// The version of the prompt that it answered with.
    X_CUTOVER_PROMPT = "x-cutover-prompt";
    /// The upstream that answered.
    X_CUTOVER_UPSTREAM = "x-cutover-upstream";
    /// The instance that answered.
    X_CUTOVER_INSTANCE = "x-cutover-instance";
    /// How many attempts were made.
    X_CUTOVER_ATTEMPTS = "x-cutover-attempts";
    /// Fields that could not be passed on.
    X_CUTOVER_LOSS = "x-cutover-loss";
    /// The client's hint: `cost` or `quality`.
    X_CUTOVER_PRIORITY = "x-cutover-priority";
    /// The client's word that nobody waits for the answer.
    X_CUTOVER_PRIORITY_CLASS = "x-cutover-priority-class";
    /// Why the baseline answered, where the candidate's upstream was full.
    X_CUTOVER_OVERFLOW = "x-cutover-overflow";
    /// The client's word that the request stays with local upstreams.
    X_CUTOVER_RESIDENCY = "x-cutover-residency";
    /// How often the client's SDK has retried.
    X_STAINLESS_RETRY_COUNT = "x-stainless-retry-count";
}
