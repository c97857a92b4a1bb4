//! The record of a request that was refused before it was decided: who asked too often, sent what
//! nobody can read, or knocked at a door that is none, is to be seen where all requests are.

use std::sync::Arc;

use cutover_store::Record;
use cutover_telemetry::Outcome;
use cutover_units::{Arm, Code, Micros, Millis, Side};

/// The word for an endpoint, and an assignment, that there was none of.
const NONE: &str = "none";

/// What is known of such a request. Nothing of what it said.
pub(crate) struct Refused {
    pub(crate) request_id: String,
    pub(crate) at: Millis,
    /// None: its path or its caller was refused first.
    pub(crate) endpoint: Option<&'static str>,
    pub(crate) code: Code,
    pub(crate) status: u16,
    pub(crate) total: Micros,
    /// The caller, if a key told.
    pub(crate) key_name: Option<Arc<str>>,
    pub(crate) sdk_retry: u32,
}

impl Refused {
    /// A list of models can fail for an upstream's sake, too.
    fn outcome(&self) -> Outcome {
        match self.code.row().side {
            Side::Upstream => Outcome::UpstreamError,
            Side::Client | Side::Us => Outcome::ClientError,
        }
    }

    pub(crate) fn record(self) -> Record {
        let outcome = self.outcome();
        Record {
            request_id: self.request_id,
            at: self.at,
            use_case: None,
            arm: Arm::Default,
            answered_arm: None,
            variant: None,
            prompt: None,
            upstream: None,
            instance: None,
            endpoint: self.endpoint.unwrap_or(NONE),
            stream: false,
            assignment: NONE,
            share: None,
            bucket: None,
            unit_hash: 0,
            outcome: outcome.as_str(),
            status: self.status,
            code: Some(self.code.name()),
            first_token: None,
            total: self.total,
            overhead: self.total,
            prompt_tokens: None,
            completion_tokens: None,
            cached_tokens: None,
            usage_estimated: false,
            cost: None,
            price_source: None,
            finish_reason: None,
            attempts: 0,
            failed_over: false,
            losses: Vec::new(),
            marks: Vec::new(),
            seen_by: Vec::new(),
            copy_for: None,
            overflow: None,
            overflow_cost: None,
            queued: None,
            passed_bytes: None,
            key_name: self.key_name,
            sdk_retry: self.sdk_retry,
        }
    }
}
