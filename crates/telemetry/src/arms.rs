//! The handles a request uses, taken once per snapshot: one set per arm, one per instance.

use cutover_units::{Arm, Micros, NanoUsd};

use crate::handles::{Counter, Gauge, Histogram};
use crate::registry::Registry;
use crate::table::families;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A whole answer was sent.
    Ok,
    /// The client's fault: a 4xx of ours or the upstream's verdict on the request.
    ClientError,
    /// Every upstream tried failed.
    UpstreamError,
    /// cutover failed or protected itself.
    InternalError,
    /// The stream broke off after content was sent.
    Interrupted,
    /// The client went away before the end.
    ClientGone,
    /// It was under way still when cutover's drain timeout was over.
    Drained,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::ClientError,
        Self::UpstreamError,
        Self::InternalError,
        Self::Interrupted,
        Self::ClientGone,
        Self::Drained,
    ];

    /// The outcome's word in labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::UpstreamError => "upstream_error",
            Self::InternalError => "internal_error",
            Self::Interrupted => "interrupted",
            Self::ClientGone => "client_gone",
            Self::Drained => "drained",
        }
    }
}

/// The labels of one arm's series.
#[derive(Debug, Clone, Copy)]
pub struct ArmLabels<'a> {
    /// The use case, or [`NONE`](crate::NONE).
    pub use_case: &'a str,
    /// The arm.
    pub arm: Arm,
    /// The variant, or [`NONE`](crate::NONE).
    pub variant: &'a str,
    /// The upstream.
    pub upstream: &'a str,
}

/// What is known of a request when it has ended.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// From head to last byte.
    pub total: Micros,
    /// From head to the stream's first content.
    pub first_token: Option<Micros>,
    /// Token counts, if the upstream told them.
    pub tokens: Option<Tokens>,
    /// What it cost; `None` is unpriced.
    pub cost: Option<NanoUsd>,
    /// Content events sent to the client.
    pub stream_chunks: u64,
}

/// Token counts as the upstream told them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Prompt tokens, cached ones included.
    pub prompt: u64,
    /// Prompt tokens read from the upstream's cache.
    pub cached: u64,
    /// Completion tokens.
    pub completion: u64,
}

/// One arm's handles.
#[derive(Debug, Clone)]
pub struct ArmMetrics {
    /// Requests being answered; hold [`Gauge::enter`]'s guard while one is.
    pub in_flight: Gauge,
    requests: [Counter; Outcome::ALL.len()],
    duration: Histogram,
    first_token: Histogram,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    completion_tokens: Counter,
    without_usage: Counter,
    cost: Counter,
    unpriced: Counter,
    stream_chunks: Counter,
}

impl ArmMetrics {
    /// Takes the arm's handles.
    pub fn new(registry: &Registry, labels: &ArmLabels<'_>) -> Self {
        let ArmLabels { use_case, arm, variant, upstream } = *labels;
        let four = [use_case, arm.as_str(), variant, upstream];
        let requests = Outcome::ALL.map(|outcome| {
            let five = [use_case, arm.as_str(), variant, upstream, outcome.as_str()];
            registry.counter(families::REQUESTS, five)
        });
        Self {
            in_flight: registry.gauge(families::IN_FLIGHT, four),
            requests,
            duration: registry.histogram(families::REQUEST_DURATION, four),
            first_token: registry.histogram(families::FIRST_TOKEN, four),
            prompt_tokens: registry.counter(families::PROMPT_TOKENS, four),
            cached_tokens: registry.counter(families::CACHED_TOKENS, four),
            completion_tokens: registry.counter(families::COMPLETION_TOKENS, four),
            without_usage: registry.counter(families::UNCOUNTED_USAGE, four),
            cost: registry.counter(families::COST, four),
            unpriced: registry.counter(families::UNPRICED, four),
            stream_chunks: registry.counter(families::STREAM_CHUNKS, four),
        }
    }

    /// Counts one request that has ended.
    pub fn finish(&self, finished: &Finished) {
        self.requests[finished.outcome as usize].inc();
        self.duration.observe(finished.total);
        if let Some(first_token) = finished.first_token {
            self.first_token.observe(first_token);
        }
        if finished.stream_chunks > 0 {
            self.stream_chunks.add(finished.stream_chunks);
        }
        let ok = finished.outcome == Outcome::Ok;
        match finished.tokens {
            Some(tokens) => self.took(tokens, finished.cost),
            None if ok => self.without_usage.inc(),
            None => {}
        }
        // A refused request costs nothing and has no price to miss; one that was cut off may cost.
        let may_cost =
            matches!(finished.outcome, Outcome::Ok | Outcome::Interrupted | Outcome::ClientGone);
        if finished.cost.is_none() && may_cost {
            self.unpriced.inc();
        }
    }

    /// Counts what a request took: for itself where another arm's answer is the one that ended.
    pub fn took(&self, tokens: Tokens, cost: Option<NanoUsd>) {
        self.prompt_tokens.add(tokens.prompt);
        self.cached_tokens.add(tokens.cached);
        self.completion_tokens.add(tokens.completion);
        if let Some(cost) = cost {
            self.cost.add(cost.0);
        }
    }
}

/// One instance's handles.
#[derive(Debug, Clone)]
pub struct InstanceMetrics {
    /// Requests the instance is answering; hold [`Gauge::enter`]'s guard while one is.
    pub in_flight: Gauge,
    /// Attempts that succeeded, streams once they are over. Failed ones are counted by
    /// [`AttemptFailed`](crate::events::AttemptFailed).
    pub succeeded: Counter,
    /// From sending a request to the head of the answer.
    pub first_byte: Histogram,
}

impl InstanceMetrics {
    /// Takes the instance's handles.
    pub fn new(registry: &Registry, upstream: &str, instance: &str) -> Self {
        Self {
            in_flight: registry.gauge(families::ATTEMPTS_IN_FLIGHT, [upstream, instance]),
            succeeded: registry.counter(families::ATTEMPTS, [upstream, instance, "ok"]),
            first_byte: registry.histogram(families::FIRST_BYTE, [upstream, instance]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    #[test]
    fn an_unpriced_request_adds_no_cost_and_is_counted_as_unpriced() {
        let registry = Registry::new();
        let labels = ArmLabels { use_case: "a", arm: Arm::Candidate, variant: "v", upstream: "u" };
        let arm = ArmMetrics::new(&registry, &labels);
        let mut finished = Finished {
            outcome: Outcome::Ok,
            total: Micros(1_500_000),
            first_token: Some(Micros(80_000)),
            tokens: Some(Tokens { prompt: 10, cached: 4, completion: 3 }),
            cost: None,
            stream_chunks: 3,
        };
        arm.finish(&finished);
        finished.cost = Some(NanoUsd(2_500));
        arm.finish(&finished);
        finished = Finished { outcome: Outcome::ClientError, cost: None, tokens: None, ..finished };
        arm.finish(&finished);
        let text = registry.render(Format::Text);
        let with = "{use_case=\"a\",arm=\"candidate\",variant=\"v\",upstream=\"u\"";
        for line in [
            format!("cutover_requests_total{with},outcome=\"ok\"}} 2\n"),
            format!("cutover_requests_total{with},outcome=\"client_error\"}} 1\n"),
            format!("cutover_cost_usd_total{with}}} 0.0000025\n"),
            format!("cutover_unpriced_requests_total{with}}} 1\n"),
            format!("cutover_prompt_tokens_total{with}}} 20\n"),
            format!("cutover_first_token_seconds_bucket{with},le=\"0.1\"}} 3\n"),
            format!("cutover_requests_without_usage_total{with}}} 0\n"),
        ] {
            assert!(text.contains(&line), "{line}{text}");
        }
    }

    #[test]
    fn outcomes_index_their_own_counter() {
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
