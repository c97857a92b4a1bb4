//! Events of one request.

use cutover_units::{Arm, Code, Micros, Millis, Side};
use tracing::{debug, error, info, warn};

use super::limits::{AUTH_BURST, AUTH_WINDOW, BURST, WINDOW};
use crate::registry::Registry;
use crate::table::families;

/// Who answered which request.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// The request's id.
    pub request_id: &'a str,
    /// The use case, or [`NONE`](crate::NONE).
    pub use_case: &'a str,
    /// The arm.
    pub arm: Arm,
    /// The variant, or [`NONE`](crate::NONE).
    pub variant: &'a str,
    /// The upstream, or [`NONE`](crate::NONE) if none was reached.
    pub upstream: &'a str,
    /// The instance, or [`NONE`](crate::NONE) if none was reached.
    pub instance: &'a str,
}

/// Writes one line about a request at a level, with the fields all such lines share.
macro_rules! line {
    ($level:ident, $served:expr, $left_out:expr, $message:literal $(, $field:ident = $value:expr)* $(,)?) => {
        $level!(
            request_id = $served.request_id,
            use_case = $served.use_case,
            arm = $served.arm.as_str(),
            variant = $served.variant,
            upstream = $served.upstream,
            instance = $served.instance,
            $($field = $value,)*
            lines_left_out = $left_out,
            $message
        )
    };
}

/// A client was answered with an error.
#[derive(Debug, Clone, Copy)]
pub struct RequestFailed<'a> {
    /// Which request.
    pub served: Served<'a>,
    /// The error the client saw.
    pub code: Code,
    /// The status it saw, where that is not the code's: a stream's head had been sent before.
    pub status: Option<u16>,
    /// How many attempts were made.
    pub attempts: u32,
    /// How long the client waited.
    pub total: Micros,
    /// Now.
    pub at: Millis,
}

impl RequestFailed<'_> {
    /// No line: another event tells of it.
    pub fn count(&self, registry: &Registry) {
        let labels = [self.served.use_case, self.served.arm.as_str(), self.code.name()];
        registry.counter(families::ERRORS, labels).inc();
    }

    /// A client's own fault is INFO, an upstream's WARN, what an operator must mend ERROR.
    pub fn emit(&self, registry: &Registry) {
        self.count(registry);
        if let Some(left_out) = registry.limits().request_failed.admit(self.at, BURST, WINDOW) {
            self.tell(left_out);
        }
    }

    /// The same of who was not let in: a line now and then, of refused keys and this together.
    pub fn emit_of_stranger(&self, registry: &Registry) {
        self.count(registry);
        let limit = &registry.limits().auth_failed;
        if let Some(left_out) = limit.admit(self.at, AUTH_BURST, AUTH_WINDOW) {
            self.tell(left_out);
        }
    }

    fn tell(&self, left_out: u64) {
        let (code, status) = (self.code.name(), self.status.unwrap_or(self.code.status()));
        let (attempts, total_us) = (self.attempts, self.total.0);
        macro_rules! at {
            ($level:ident) => {
                line!(
                    $level,
                    self.served,
                    left_out,
                    "request failed",
                    code = code,
                    status = status,
                    attempts = attempts,
                    total_us = total_us,
                )
            };
        }
        match (self.code, self.code.row().side) {
            (Code::Internal | Code::UpstreamAuth | Code::InsufficientQuota, _) => at!(error),
            (_, Side::Client) => at!(info),
            (_, Side::Upstream | Side::Us) => at!(warn),
        }
    }
}

/// An attempt at one instance failed; whether another followed is told by [`FailedOver`].
#[derive(Debug, Clone, Copy)]
pub struct AttemptFailed<'a> {
    /// Which request, and the instance that failed.
    pub served: Served<'a>,
    /// Why, in one word of a fixed set.
    pub reason: &'static str,
    /// Whether the request was at fault, not the instance.
    pub by_client: bool,
    /// The upstream's status, if it answered.
    pub status: Option<u16>,
    /// Why there was no answer, with its causes.
    pub why: Option<&'a str>,
    /// What it said, if anything.
    pub said: Option<UpstreamSaid<'a>>,
    /// Now.
    pub at: Millis,
}

/// What an upstream said of its failure, as far as a log may hold it.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpstreamSaid<'a> {
    /// The error's type.
    pub kind: Option<&'a str>,
    /// Its code.
    pub code: Option<&'a str>,
    /// Of its message what may be shown.
    pub message: Option<&'a str>,
}

impl AttemptFailed<'_> {
    /// WARN, and INFO where the request was at fault: no other line tells why an upstream failed.
    pub fn emit(&self, registry: &Registry) {
        let labels = [self.served.upstream, self.served.instance, self.reason];
        registry.counter(families::ATTEMPTS, labels).inc();
        let limit = &registry.limits().attempt_failed;
        let Some(left_out) = limit.admit(self.at, BURST, WINDOW) else { return };
        let said = self.said.unwrap_or_default();
        macro_rules! at {
            ($level:ident) => {
                line!(
                    $level,
                    self.served,
                    left_out,
                    "attempt failed",
                    reason = self.reason,
                    status = self.status,
                    why = self.why,
                    upstream_type = said.kind,
                    upstream_code = said.code,
                    upstream_message = said.message,
                )
            };
        }
        if self.by_client { at!(info) } else { at!(warn) }
    }
}

/// Another instance or arm took over after a failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct FailedOver<'a> {
    /// Which request, and the instance that failed.
    pub served: Served<'a>,
    /// The instance that is tried next.
    pub to_instance: &'a str,
    /// Why the attempt failed, in one word of a fixed set.
    pub reason: &'static str,
    /// Now.
    pub at: Millis,
}

impl FailedOver<'_> {
    /// WARN: handled. The same instance again takes nothing over.
    pub fn emit(&self, registry: &Registry) {
        if self.served.instance == self.to_instance {
            return;
        }
        let labels = [self.served.upstream, self.served.instance, self.reason];
        registry.counter(families::FAILOVERS, labels).inc();
        let limit = &registry.limits().failed_over;
        let Some(left_out) = limit.admit(self.at, BURST, WINDOW) else { return };
        line!(
            warn,
            self.served,
            left_out,
            "failed over",
            to_instance = self.to_instance,
            reason = self.reason,
        );
    }
}

/// The default upstream gave no list of its models.
#[derive(Debug, Clone, Copy)]
pub struct ModelsUnlisted<'a> {
    /// The upstream.
    pub upstream: &'a str,
    /// Why, with the causes.
    pub why: &'a str,
    /// Now.
    pub at: Millis,
}

impl ModelsUnlisted<'_> {
    /// WARN: clients are told the models that configuration names.
    pub fn emit(&self, registry: &Registry) {
        let limit = &registry.limits().models_unlisted;
        let Some(lines_left_out) = limit.admit(self.at, BURST, WINDOW) else { return };
        warn!(
            upstream = self.upstream,
            why = self.why,
            lines_left_out,
            "models of the default upstream not listed"
        );
    }
}

/// A request took longer than the configured limit.
#[derive(Debug, Clone, Copy)]
pub struct SlowRequest<'a> {
    /// Which request.
    pub served: Served<'a>,
    /// How long it took.
    pub total: Micros,
    /// When the first content came.
    pub first_token: Option<Micros>,
    /// The limit.
    pub limit: Micros,
    /// Now.
    pub at: Millis,
}

impl SlowRequest<'_> {
    /// WARN: handled.
    pub fn emit(&self, registry: &Registry) {
        let labels = [self.served.use_case, self.served.arm.as_str()];
        registry.counter(families::SLOW_REQUESTS, labels).inc();
        let limit = &registry.limits().slow_request;
        let Some(left_out) = limit.admit(self.at, BURST, WINDOW) else { return };
        line!(
            warn,
            self.served,
            left_out,
            "slow request",
            total_us = self.total.0,
            first_token_us = self.first_token.map(|us| us.0),
            limit_us = self.limit.0,
        );
    }
}

/// A lenient variant could not pass a field on.
#[derive(Debug, Clone, Copy)]
pub struct LossReported<'a> {
    /// Which request.
    pub served: Served<'a>,
    /// The field, by its name alone.
    pub field: &'a str,
    /// What was done with it, such as `dropped`.
    pub action: &'a str,
    /// Now.
    pub at: Millis,
}

impl LossReported<'_> {
    /// INFO: the operator chose `lenient`.
    pub fn emit(&self, registry: &Registry) {
        let labels = [self.served.use_case, self.served.variant, self.field, self.action];
        registry.counter(families::LOSSES, labels).inc();
        let limit = &registry.limits().loss_reported;
        let Some(left_out) = limit.admit(self.at, BURST, WINDOW) else { return };
        line!(
            info,
            self.served,
            left_out,
            "field not passed on",
            field = self.field,
            action = self.action,
        );
    }
}

/// A stream broke off after content had been sent.
#[derive(Debug, Clone, Copy)]
pub struct StreamInterrupted<'a> {
    /// Which request.
    pub served: Served<'a>,
    /// Why, in one word of a fixed set.
    pub reason: &'static str,
    /// Content events the client had got.
    pub chunks_sent: u64,
    /// How long the stream had run.
    pub total: Micros,
    /// Now.
    pub at: Millis,
}

impl StreamInterrupted<'_> {
    /// WARN: the client was told by an error in the stream.
    pub fn emit(&self, registry: &Registry) {
        let labels = [self.served.upstream, self.served.instance, self.reason];
        registry.counter(families::STREAM_INTERRUPTIONS, labels).inc();
        let limit = &registry.limits().stream_interrupted;
        let Some(left_out) = limit.admit(self.at, BURST, WINDOW) else { return };
        line!(
            warn,
            self.served,
            left_out,
            "stream interrupted",
            reason = self.reason,
            chunks_sent = self.chunks_sent,
            total_us = self.total.0,
        );
    }
}

/// A client went away before its answer's end. Counted as the request's outcome.
#[derive(Debug, Clone, Copy)]
pub struct ClientGone<'a> {
    /// Which request.
    pub served: Served<'a>,
    /// How long it had run.
    pub total: Micros,
}

impl ClientGone<'_> {
    /// DEBUG: clients may do that.
    pub fn emit(&self) {
        line!(debug, self.served, 0_u64, "client gone", total_us = self.total.0);
    }
}
