//! What is kept of one request.

use std::sync::Arc;

use cutover_units::{
    Arm, InstanceId, Micros, Millis, NanoUsd, UpstreamName, UseCaseName, VariantName, WeightBp,
};

/// One request as it ended. It holds no text of prompt or answer.
///
/// Words of a fixed set (`endpoint`, `assignment`, `outcome`, `code`, `finish_reason`) are static
/// strings: a client's bytes cannot get into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The id the client saw.
    pub request_id: String,
    /// When its head was read.
    pub at: Millis,
    /// Its use case; none for the default upstream.
    pub use_case: Option<UseCaseName>,
    /// The arm it was assigned to. Comparisons count it there, whoever answered.
    pub arm: Arm,
    /// The arm that answered, or was tried last.
    pub answered_arm: Option<Arm>,
    /// The variant that answered, or was tried last.
    pub variant: Option<VariantName>,
    /// The version of the prompt that the variant answered with, such as `extraction@3`.
    pub prompt: Option<Arc<str>>,
    /// Its upstream.
    pub upstream: Option<UpstreamName>,
    /// Its instance.
    pub instance: Option<InstanceId>,
    /// What was asked for, such as `chat`.
    pub endpoint: &'static str,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// How the arm was found, such as `sticky`.
    pub assignment: &'static str,
    /// The candidate's share in force when the arm was assigned, for a use case under rollout.
    pub share: Option<WeightBp>,
    /// The unit's bucket, where one was computed.
    pub bucket: Option<u16>,
    /// The unit's keyed hash.
    pub unit_hash: u64,
    /// How it ended, such as `ok`.
    pub outcome: &'static str,
    /// The HTTP status the client saw.
    pub status: u16,
    /// The error the client saw.
    pub code: Option<&'static str>,
    /// To the first content of a stream.
    pub first_token: Option<Micros>,
    /// To the last byte.
    pub total: Micros,
    /// What of `total` cutover itself took.
    pub overhead: Micros,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: Option<u64>,
    /// Completion tokens.
    pub completion_tokens: Option<u64>,
    /// Prompt tokens read from the upstream's cache.
    pub cached_tokens: Option<u64>,
    /// Whether the counts are our estimate.
    pub usage_estimated: bool,
    /// What it cost; none is unpriced, never 0.
    pub cost: Option<NanoUsd>,
    /// Where the price is from.
    pub price_source: Option<&'static str>,
    /// Why the model stopped.
    pub finish_reason: Option<&'static str>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Whether another arm than the assigned one answered.
    pub failed_over: bool,
    /// Names of the fields that were not passed on.
    pub losses: Vec<String>,
    /// What was out of the ordinary about it, in words of a fixed set, such as `hedged`.
    pub marks: Vec<&'static str>,
    /// The upstreams that were sent its body, or may have been.
    pub seen_by: Vec<UpstreamName>,
    /// The upstream that was to be sent a copy of it afterwards, for comparison.
    pub copy_for: Option<UpstreamName>,
    /// Why it went to the baseline instead of the candidate it was assigned to: a word of a fixed set.
    pub overflow: Option<&'static str>,
    /// What that counts as against its use case's money for the day: its cost, or an estimate where nobody told.
    pub overflow_cost: Option<NanoUsd>,
    /// How long it waited for a place at its upstream.
    pub queued: Option<Micros>,
    /// Bytes of the bodies that went up and came down, of a request that was passed on unread.
    pub passed_bytes: Option<(u64, u64)>,
    /// The name of the client's key.
    pub key_name: Option<Arc<str>>,
    /// Which retry of the client's SDK this was.
    pub sdk_retry: u32,
}

impl Record {
    /// Of a request that no arm was chosen for: of nothing else is anything known.
    pub fn of_no_arm(
        request_id: String,
        at: Millis,
        (endpoint, outcome): (&'static str, &'static str),
    ) -> Self {
        Self {
            request_id,
            at,
            use_case: None,
            arm: Arm::Default,
            answered_arm: None,
            variant: None,
            prompt: None,
            upstream: None,
            instance: None,
            endpoint,
            stream: false,
            assignment: "none",
            share: None,
            bucket: None,
            unit_hash: 0,
            outcome,
            status: 0,
            code: None,
            first_token: None,
            total: Micros(0),
            overhead: Micros(0),
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
            key_name: None,
            sdk_retry: 0,
        }
    }
}
