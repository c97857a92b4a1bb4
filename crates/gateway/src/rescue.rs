//! The one place where an error becomes a response.
//!
//! A [`Failure`] knows what the client may see, whether another attempt may help, and how long to
//! wait. It is turned into the dialect's own error body with the headers that the official SDKs read:
//! `x-should-retry: false` where we have tried already or no retry can help, `retry-after-ms` and
//! `retry-after` where waiting helps.

use bytes::Bytes;
use cutover_dialects::Dialect;
use cutover_telemetry::Outcome;
use cutover_units::{Code, Side};
use cutover_upstream::{SendError, SendErrorKind};
use cutover_wire::Fault;
use cutover_wire::reply::{FaultClass, Said, UpstreamFault};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::time::Instant;

use crate::body::{Out, json};
use crate::foreign::Edge;
use crate::live::UpstreamLane;

/// How a request that got this error counts.
pub(crate) fn outcome(code: Code) -> Outcome {
    match code.row().side {
        // Nothing of cutover's is broken: who could serve it may not see it.
        _ if code == Code::NoLocalUpstream => Outcome::UpstreamError,
        Side::Client => Outcome::ClientError,
        Side::Upstream => Outcome::UpstreamError,
        Side::Us => Outcome::InternalError,
    }
}

/// Why an attempt or a request failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// What the client may see.
    pub(crate) fault: Fault,
    /// The reason's word in metrics and logs.
    pub(crate) reason: &'static str,
    /// Whether another instance or arm may do better.
    pub(crate) elsewhere: bool,
    /// Whether the instance is to blame, which counts towards its rest.
    pub(crate) instance_at_fault: bool,
    /// Whether it was sent and then given up, or its answer thrown away: it may be billed.
    pub(crate) given_up: bool,
    /// The status the upstream answered with, if it answered.
    pub(crate) status: Option<u16>,
    /// How long the upstream asked to wait.
    pub(crate) retry_after_ms: Option<u32>,
    /// What the upstream said of it. For the log alone.
    pub(crate) said: Option<Box<Said>>,
    /// Why no answer came, in full. For the log alone: it names the instance.
    pub(crate) why: Option<Box<str>>,
}

/// What a client is told to wait when the upstream is overloaded and does not say: one second, the
/// least that `retry-after` can say.
const RETRY_AFTER_MS: u32 = 1_000;

/// The reason where an answer has no form in its client's dialect.
pub(crate) const NO_FORM: &str = "no_form";

/// The SDKs' own header to stop or start their retries.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS_HEADER: HeaderName = HeaderName::from_static("retry-after-ms");

impl Failure {
    /// The client's own fault, found by us.
    pub(crate) fn client(fault: Fault) -> Self {
        Self {
            retry_after_ms: (fault.code == Code::BodiesFull).then_some(RETRY_AFTER_MS),
            fault,
            reason: "client",
            elsewhere: false,
            instance_at_fault: false,
            given_up: false,
            status: None,
            said: None,
            why: None,
        }
    }

    /// The target cannot do what the request asks; another arm may.
    pub(crate) fn refused(fault: Fault) -> Self {
        let reason = match fault.code {
            Code::ContextLengthExceeded => "context_length",
            Code::Overloaded => "cold",
            Code::InvalidApiKey => "clients_key",
            Code::PromptUnavailable => "prompt",
            _ => "unsupported",
        };
        Self { reason, elsewhere: true, ..Self::client(fault) }
    }

    /// Whether a leg that was not asked might be if it must: its instances rest or are full, its model is not in memory
    /// or has another context now.
    pub(crate) fn may_pass(&self) -> bool {
        let passing = [Code::UpstreamUnavailable, Code::Overloaded, Code::ContextLengthExceeded];
        passing.contains(&self.fault.code)
    }

    /// No instance of an upstream is asked: all were taken out, by an operator or out of its name's
    /// addresses; or none is fit, and another arm's are; or its name server has told none yet.
    pub(crate) fn of_nobody(upstream: Option<&UpstreamLane>) -> Self {
        let message = if upstream.is_some_and(UpstreamLane::is_unfound) {
            "no address of the upstream is known yet: its name server has not told one"
        } else {
            "no instance of the upstream takes requests"
        };
        let fault = Fault::new(Code::UpstreamUnavailable, message);
        Self { reason: "no_instance", elsewhere: true, ..Self::client(fault) }
    }

    /// It waited for an instance that is well, and in time there was none.
    pub(crate) fn of_resting() -> Self {
        let message =
            "no instance of the upstream was well in time: they rest after failures, or are down";
        Self {
            reason: "no_instance",
            ..Self::client(Fault::new(Code::UpstreamUnavailable, message))
        }
    }

    /// All the connections that an upstream may have are in use, and another arm can answer at once.
    pub(crate) fn out_of_connections() -> Self {
        let kind = SendErrorKind::TooManyConnections;
        let (code, message) = kind.told();
        let retry_after_ms = Some(RETRY_AFTER_MS);
        let fault = Fault::new(code, message);
        Self { reason: kind.as_str(), elsewhere: true, retry_after_ms, ..Self::client(fault) }
    }

    /// No answer from an instance.
    pub(crate) fn send(error: &SendError) -> Self {
        let (kind, fault) = (error.kind(), error.fault());
        Self {
            reason: kind.as_str(),
            elsewhere: true,
            instance_at_fault: kind != SendErrorKind::TooManyConnections,
            given_up: error.anything_sent(),
            status: None,
            retry_after_ms: (fault.code == Code::Overloaded).then_some(RETRY_AFTER_MS),
            fault,
            said: None,
            why: Some(error.chain().into()),
        }
    }

    /// Whether our key, our account or the model is refused: by all, or by one that was set up otherwise.
    pub(crate) fn is_refusal(&self) -> bool {
        self.refuses_by_name() || self.status == Some(404)
    }

    /// The same, said in so many words.
    pub(crate) fn refuses_by_name(&self) -> bool {
        let refusals = [Code::UpstreamAuth, Code::InsufficientQuota, Code::ModelNotFound];
        refusals.contains(&self.fault.code)
    }

    /// Whether an instance that is well has refused it as one too many.
    pub(crate) fn is_full(&self) -> bool {
        self.fault.code == Code::Overloaded && self.status.is_some()
    }

    /// Whether it was refused as one too many: by an instance that is well, by its limit of rates, or as there was no
    /// connection left for it.
    pub(crate) fn is_excess(&self) -> bool {
        let is_crowded = self.reason == SendErrorKind::TooManyConnections.as_str();
        let said = self.said.as_ref().and_then(|said| said.message());
        let loads = said.is_some_and(|said| said.contains("oading model"));
        (self.is_full() && !loads) || self.is_limited() || is_crowded
    }

    /// Whether an instance has refused it by a limit of its rates.
    pub(crate) fn is_limited(&self) -> bool {
        self.fault.code == Code::RateLimitExceeded && self.status.is_some()
    }

    /// A failure once content has been sent: whatever an upstream did to the stream has one code then.
    pub(crate) fn after_content(self) -> Self {
        let code = self.fault.code;
        if code.row().side != Side::Upstream || code == Code::StreamInterrupted {
            return self;
        }
        let message = format!("the stream broke off: {}", self.fault.message);
        Self { fault: Fault::new(Code::StreamInterrupted, message), ..self }
    }

    /// The time that requests under way had to end at shutdown is over.
    pub(crate) fn drained() -> Self {
        let message = "cutover is shutting down; ask again";
        Self { reason: "drained", ..Self::client(Fault::new(Code::ShuttingDown, message)) }
    }

    /// The request's own deadline passed before anybody was asked, or could be again.
    pub(crate) fn past_deadline() -> Self {
        let message = "the request's deadline left no time for an answer";
        Self { reason: "deadline", ..Self::client(Fault::new(Code::UpstreamTimeout, message)) }
    }

    /// The same, if the request's own deadline made it late: no fault of an instance that has as long as
    /// its upstream's deadlines say, unless it has `stalled` all the same.
    pub(crate) fn unless_cut(self, deadline: Option<Instant>, stalled: bool) -> Self {
        let was_late = self.fault.code == Code::UpstreamTimeout && self.reason != "idle_timeout";
        if !was_late || deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return self;
        }
        Self { reason: "deadline", instance_at_fault: stalled, ..self }
    }

    /// A deadline of ours ran out.
    pub(crate) fn late(reason: &'static str, message: &str) -> Self {
        Self {
            fault: Fault::new(Code::UpstreamTimeout, message),
            reason,
            elsewhere: true,
            instance_at_fault: true,
            given_up: true,
            status: None,
            retry_after_ms: None,
            said: None,
            why: None,
        }
    }

    /// The answer broke off or was no answer.
    pub(crate) fn broken(reason: &'static str, message: &str) -> Self {
        Self { fault: Fault::new(Code::BadGateway, message), ..Self::late(reason, "") }
    }

    /// An answer that has no form in its client's dialect. Its instance is well: so does the model answer.
    pub(crate) fn unturned(fault: Fault) -> Self {
        if fault.code.row().side != Side::Upstream {
            return Self::client(fault);
        }
        let broken = Self::broken(NO_FORM, "");
        Self { fault, instance_at_fault: false, status: Some(200), ..broken }
    }

    /// What an upstream said in a stream in place of any content: where that is a refusal, as outside a stream.
    pub(crate) fn in_stream(fault: UpstreamFault) -> Self {
        let status = match fault.class {
            FaultClass::Overloaded => Some(503),
            FaultClass::RateLimited => Some(429),
            _ => None,
        };
        Self { status, ..Self::upstream(fault) }
    }

    /// What an upstream said of itself.
    pub(crate) fn upstream(fault: UpstreamFault) -> Self {
        let instance_at_fault = match fault.class {
            FaultClass::ClientFault
            | FaultClass::RateLimited
            | FaultClass::Conflict
            | FaultClass::Account
            | FaultClass::Auth
            | FaultClass::Unfit => false,
            FaultClass::Overloaded | FaultClass::Failed | FaultClass::Unreadable => true,
        };
        let waits = fault.fault.code == Code::Overloaded;
        Self {
            reason: fault.class.as_str(),
            elsewhere: fault.failover_ok,
            instance_at_fault,
            given_up: fault.class == FaultClass::Unreadable,
            status: None,
            retry_after_ms: fault.retry_after_ms.map(ms).or(waits.then_some(RETRY_AFTER_MS)),
            fault: fault.fault,
            said: fault.said,
            why: None,
        }
    }
}

/// As many milliseconds, 49 days at most.
pub(crate) fn ms(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}

/// Whose words an error is said in: another dialect than OpenAI's, with the request's id.
pub(crate) type Words<'a> = Option<(&'static Dialect, &'a str)>;

/// The response for a failure. `attempts` is how often we asked an upstream.
pub(crate) fn response(failure: &Failure, attempts: u32, words: Words<'_>) -> Response<Out> {
    let (status, own_headers, body) = match words {
        None => {
            let fault = &failure.fault;
            (fault.status(), Vec::new(), cutover_wire::errors::body(fault))
        }
        Some((dialect, request_id)) => {
            let said = (dialect.error)(&failure.fault, request_id);
            (said.status, said.headers, said.body)
        }
    };
    let mut response = json(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in own_headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(ms) = failure.retry_after_ms {
        headers.insert(RETRY_AFTER_MS_HEADER, HeaderValue::from(ms));
        headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
    }
    if stops_retries(failure, attempts) {
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// Whether the SDK's own retries must be stopped: where they cannot help, and where we have retried
/// already. Not where the upstream asked to wait: that retry, after the wait, is the one that was not
/// made here, and without us the client would make it.
fn stops_retries(failure: &Failure, attempts: u32) -> bool {
    let row = failure.fault.code.row();
    if row.retry {
        return attempts > 1 && failure.retry_after_ms.is_none();
    }
    // SDKs retry 408, 409, 429 and 5xx by themselves. A body that came too slowly may come in time.
    row.status >= 429
}

/// The event for a failure in a stream whose head has been sent. None: the stream has ended already.
pub(crate) fn event(failure: &Failure, edge: Option<&mut Edge>) -> Option<Bytes> {
    match edge {
        None => Some(cutover_wire::stream::error_event(&failure.fault)),
        Some(edge) => edge.error(&failure.fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(response: &'a Response<Out>, name: &str) -> Option<&'a str> {
        response.headers().get(name).and_then(|v| v.to_str().ok())
    }

    #[test]
    fn what_was_already_retried_is_not_to_be_retried() {
        let failure = Failure::late("first_token", "the upstream did not answer in time");
        assert_eq!(header(&response(&failure, 1, None), "x-should-retry"), None);
        assert_eq!(header(&response(&failure, 2, None), "x-should-retry"), Some("false"));
    }

    #[test]
    fn who_is_asked_to_wait_may_come_back() {
        let fault = Fault::new(Code::RateLimitExceeded, "slow down");
        let failure = Failure { fault, retry_after_ms: Some(500), ..Failure::late("x", "y") };
        assert_eq!(header(&response(&failure, 2, None), "x-should-retry"), None);
    }

    #[test]
    fn after_content_all_that_upstreams_do_has_one_code_and_each_its_message() {
        let all = [Code::BadGateway, Code::UpstreamTimeout, Code::Overloaded, Code::UpstreamAuth];
        for code in all.into_iter().chain([Code::RateLimitExceeded, Code::UpstreamUnavailable]) {
            let failure = Failure { fault: Fault::new(code, "why"), ..Failure::late("x", "y") };
            let after = failure.after_content();
            assert_eq!(after.fault.code, Code::StreamInterrupted, "{code:?}");
            assert_eq!((&*after.fault.message, after.reason), ("the stream broke off: why", "x"));
            assert_eq!(after.clone().after_content().fault, after.fault, "said once");
        }
        for code in [Code::ContextLengthExceeded, Code::ShuttingDown, Code::Internal] {
            let failure = Failure::client(Fault::new(code, "why"));
            assert_eq!(failure.clone().after_content().fault, failure.fault);
        }
    }

    #[test]
    fn what_no_retry_can_mend_is_not_to_be_retried_whoever_is_to_blame() {
        for code in [Code::NotSupported, Code::InsufficientQuota, Code::UpstreamAuth] {
            let failure = Failure::client(Fault::new(code, ""));
            assert_eq!(
                header(&response(&failure, 1, None), "x-should-retry"),
                Some("false"),
                "{code:?}"
            );
        }
        let slow = Failure::client(Fault::new(Code::RequestTimeout, ""));
        assert_eq!(header(&response(&slow, 0, None), "x-should-retry"), None);
    }

    #[test]
    fn a_wait_is_given_in_both_units() {
        let failure = Failure { retry_after_ms: Some(1_250), ..Failure::late("x", "y") };
        let response = response(&failure, 1, None);
        assert_eq!(header(&response, "retry-after-ms"), Some("1250"));
        assert_eq!(header(&response, "retry-after"), Some("2"));
    }

    #[test]
    fn our_key_being_refused_is_never_shown_as_the_clients() {
        let failure = Failure {
            fault: Fault::new(Code::UpstreamAuth, "the upstream refused our key"),
            ..Failure::late("auth", "")
        };
        let response = response(&failure, 1, None);
        assert_eq!(response.status(), 502);
        assert_eq!(header(&response, "x-should-retry"), Some("false"));
    }
}
