//! Every metric there is: one row each.
//!
//! A row makes a [`Metric`], an entry of [`TABLE`] and a typed [`Family`] in [`families`]. The
//! family knows its kind and its number of labels, so a handle of the wrong kind or with a label
//! missing does not compile.
//!
//! Names follow Prometheus: base units, `_total` on counters. The label is `upstream_instance`, not
//! `instance`, because Prometheus sets `instance` itself to the address it scrapes.

mod kinds;
mod reference;

use crate::buckets::{LATENCY, OVERHEAD};
use crate::handles::{Counter, Gauge, Histogram};

pub use kinds::{Family, Kind, Row, Unit};
pub use reference::reference;

macro_rules! kind {
    (Counter) => {
        Kind::Counter
    };
    (Gauge) => {
        Kind::Gauge
    };
    (Histogram $bounds:ident) => {
        Kind::Histogram($bounds)
    };
}

macro_rules! opens {
    () => {
        None
    };
    ([$($value:literal),*]) => {
        Some(&[$($value),*])
    };
}

macro_rules! metrics {
    ($($variant:ident $family:ident = $kind:ident $($bounds:ident)?, $unit:ident, $name:literal,
       [$($label:literal),*] $(from $opens:tt)?, $help:literal;)+) => {
        /// Every metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $(#[doc = $help] $variant,)+
        }

        /// All rows, in the order they are printed.
        pub const TABLE: &[Row] = &[
            $(Row {
                metric: Metric::$variant,
                name: $name,
                kind: kind!($kind $($bounds)?),
                unit: Unit::$unit,
                labels: &[$($label),*],
                opens: opens!($($opens)?),
                help: $help,
            },)+
        ];

        /// Every metric with its kind and number of labels in the type: what the
        /// [`Registry`](crate::Registry) makes handles from.
        pub mod families {
            use super::{Counter, Family, Gauge, Histogram, Metric};

            $(#[doc = $help]
            pub const $family: Family<$kind, { const LABELS: &[&str] = &[$($label),*]; LABELS.len() }> =
                Family::new(Metric::$variant);)+
        }
    };
}

impl Metric {
    /// The metric's row.
    pub fn row(self) -> &'static Row {
        // The table is written by the same macro in the same order as the enum.
        &TABLE[self as usize]
    }
}

metrics! {
    Requests REQUESTS = Counter, Count, "cutover_requests_total",
        ["use_case", "arm", "variant", "upstream", "outcome"],
        "Requests by their end: ok, client_error, upstream_error, internal_error, interrupted, client_gone, drained (under way still at the end of `server.drain_timeout`). Not those that were refused for their key, path, method or headers, nor lists of models: cutover_errors_total has the errors of those, too, so that the share of errors is that of outcomes here. What is passed on is in cutover_surface_requests_total.";
    Errors ERRORS = Counter, Count, "cutover_errors_total",
        ["use_case", "arm", "code"],
        "Requests answered with an error, by the error's code.";
    RequestDuration REQUEST_DURATION = Histogram LATENCY, Seconds, "cutover_request_duration_seconds",
        ["use_case", "arm", "variant", "upstream"],
        "From the request's head to the answer's last byte.";
    FirstToken FIRST_TOKEN = Histogram LATENCY, Seconds, "cutover_first_token_seconds",
        ["use_case", "arm", "variant", "upstream"],
        "From the request's head to the stream's first content.";
    GatewayOverhead GATEWAY_OVERHEAD = Histogram OVERHEAD, Seconds, "cutover_gateway_overhead_seconds",
        ["endpoint"],
        "What cutover itself added: a request's time less the time its upstreams took.";
    InFlight IN_FLIGHT = Gauge, Count, "cutover_in_flight_requests",
        ["use_case", "arm", "variant", "upstream"],
        "Requests being answered now.";
    PromptTokens PROMPT_TOKENS = Counter, Count, "cutover_prompt_tokens_total",
        ["use_case", "arm", "variant", "upstream"],
        "Prompt tokens, cached ones included, as the upstream counted them.";
    CachedTokens CACHED_TOKENS = Counter, Count, "cutover_cached_prompt_tokens_total",
        ["use_case", "arm", "variant", "upstream"],
        "Prompt tokens that the upstream read from its cache.";
    CompletionTokens COMPLETION_TOKENS = Counter, Count, "cutover_completion_tokens_total",
        ["use_case", "arm", "variant", "upstream"],
        "Completion tokens, as the upstream counted them.";
    UncountedUsage UNCOUNTED_USAGE = Counter, Count, "cutover_requests_without_usage_total",
        ["use_case", "arm", "variant", "upstream"],
        "Successful requests whose upstream told no token counts.";
    Cost COST = Counter, Usd, "cutover_cost_usd_total",
        ["use_case", "arm", "variant", "upstream"],
        "Cost of the requests that have a price. Unpriced ones are counted beside it, never as 0.";
    Unpriced UNPRICED = Counter, Count, "cutover_unpriced_requests_total",
        ["use_case", "arm", "variant", "upstream"],
        "Requests whose cost is not known: without a price, or nobody told what they took.";
    StreamChunks STREAM_CHUNKS = Counter, Count, "cutover_stream_chunks_total",
        ["use_case", "arm", "variant", "upstream"],
        "Stream events with content that were sent to clients.";
    StreamInterruptions STREAM_INTERRUPTIONS = Counter, Count, "cutover_stream_interruptions_total",
        ["upstream", "upstream_instance", "reason"],
        "Streams that broke off after content had been sent.";
    SlowRequests SLOW_REQUESTS = Counter, Count, "cutover_slow_requests_total",
        ["use_case", "arm"],
        "Requests slower than the configured limit.";
    Losses LOSSES = Counter, Count, "cutover_losses_total",
        ["use_case", "variant", "field", "action"],
        "Request fields and parts of answers (answer.*) that could not be passed on, by what was done with them.";
    Attempts ATTEMPTS = Counter, Count, "cutover_attempts_total",
        ["upstream", "upstream_instance", "result"],
        "Requests sent to an instance, by result: ok or the reason of the failure. A stream counts once it is over: as ok also if its client left in its midst, for until then it was well. What had not shown any content when its client left is client_gone, what the end of the process cut off drained.";
    Resends RESENDS = Counter, Count, "cutover_resends_total",
        ["upstream", "upstream_instance"],
        "Requests sent once more on a new connection, because the instance closed an idle one in the moment they went out on it.";
    AttemptsInFlight ATTEMPTS_IN_FLIGHT = Gauge, Count, "cutover_in_flight_attempts",
        ["upstream", "upstream_instance"],
        "Requests that an instance is answering now.";
    FirstByte FIRST_BYTE = Histogram LATENCY, Seconds, "cutover_upstream_first_byte_seconds",
        ["upstream", "upstream_instance"],
        "From sending a request to an instance to the head of its answer.";
    InstanceState INSTANCE_STATE = Gauge, Count, "cutover_upstream_instance_state",
        ["upstream", "upstream_instance", "state"],
        "1 for what the instance is fit for: healthy, cold, saturated, ejected, down or draining.";
    InstanceChanges INSTANCE_CHANGES = Counter, Count, "cutover_upstream_instance_state_changes_total",
        ["upstream_instance", "state"],
        "How often an instance came into a state.";
    Resolutions RESOLUTIONS = Counter, Count, "cutover_upstream_name_resolutions_total",
        ["upstream", "result"],
        "Look-ups of names whose addresses are instances, by result: ok or the reason of the failure, \
         after which the last known addresses stay.";
    ResolvedAddresses RESOLVED_ADDRESSES = Gauge, Count, "cutover_upstream_resolved_addresses",
        ["upstream"],
        "Addresses of an upstream's names that are asked now.";
    InstanceWaiting INSTANCE_WAITING = Gauge, Count, "cutover_upstream_engine_waiting_requests",
        ["upstream", "upstream_instance"],
        "Requests that wait inside the engine, as it tells itself.";
    InstanceRunning INSTANCE_RUNNING = Gauge, Count, "cutover_upstream_engine_running_requests",
        ["upstream", "upstream_instance"],
        "Requests the engine is generating for, as it tells itself: everyone's, not only cutover's.";
    InstanceCache INSTANCE_CACHE = Gauge, BasisPoints, "cutover_upstream_engine_cache_basis_points",
        ["upstream", "upstream_instance"],
        "The engine's key-value cache in use; 10000 is all.";
    InstanceModels INSTANCE_MODELS = Gauge, Count, "cutover_upstream_engine_loaded_models",
        ["upstream", "upstream_instance"],
        "Models in the engine's memory.";
    GpuMemory GPU_MEMORY = Gauge, Count, "cutover_gpu_memory_bytes", ["gpu", "gpu_name"],
        "Memory of an accelerator of this machine.";
    GpuMemoryUsed GPU_MEMORY_USED = Gauge, Count, "cutover_gpu_memory_used_bytes", ["gpu", "gpu_name"],
        "Memory of it that is taken, by whomever.";
    GpuBusy GPU_BUSY = Gauge, BasisPoints, "cutover_gpu_busy_basis_points", ["gpu", "gpu_name"],
        "Share of the last moments in which it did anything; 10000 is all. Not how much of it was used.";
    GpuTemperature GPU_TEMPERATURE = Gauge, Count, "cutover_gpu_temperature_celsius", ["gpu", "gpu_name"],
        "Its temperature.";
    GpuPower GPU_POWER = Gauge, Count, "cutover_gpu_power_watts", ["gpu", "gpu_name"],
        "What it takes.";
    GpuThrottled GPU_THROTTLED = Gauge, Count, "cutover_gpu_throttled", ["gpu", "gpu_name", "reason"],
        "1 while it runs slower than it could, by reason: power_cap, hardware_slowdown, software_thermal, hardware_thermal, power_brake. NVIDIA's tell it.";
    Failovers FAILOVERS = Counter, Count, "cutover_failovers_total",
        ["upstream", "upstream_instance", "reason"],
        "Attempts that failed and were taken over by another instance or arm.";
    RetriesHeldBack RETRIES_HELD_BACK = Counter, Count, "cutover_retries_held_back_total",
        ["upstream", "kind"] from ["retry", "hedge", "continuation"],
        "Attempts that were not made because the upstream's retry budget was spent: retry, hedge or \
         continuation.";
    Hedges HEDGES = Counter, Count, "cutover_hedges_total",
        ["upstream", "winner"],
        "Second attempts begun while the first was still silent, by which of them answered: first, \
         second or neither.";
    StreamsContinued STREAMS_CONTINUED = Counter, Count, "cutover_streams_continued_total",
        ["upstream", "upstream_instance"],
        "Streams that broke off after content and went on at this instance.";
    LogLinesLeftOut LOG_LINES_LEFT_OUT = Counter, Count, "cutover_log_lines_left_out_total",
        ["event"],
        "Log lines that were not written: because too many of their kind came within a second, or, with the \
         event error_stream, of any kind because nobody took them.";
    StateUsable STATE_USABLE = Gauge, Count, "cutover_state_usable",
        [],
        "1 while the state database can be read and takes records, else 0.";
    Weight WEIGHT = Gauge, BasisPoints, "cutover_weight_basis_points",
        ["use_case"],
        "Share of units that the candidate serves; 10000 is all.";
    WeightChanges WEIGHT_CHANGES = Counter, Count, "cutover_weight_changes_total",
        ["use_case", "action"] from ["set", "rolled_back"],
        "Weight changes: set or rolled_back.";
    ShadowWeight SHADOW_WEIGHT = Gauge, BasisPoints, "cutover_shadow_basis_points",
        ["use_case"],
        "Share of requests that the candidate is shown a copy of.";
    RolloutStep ROLLOUT_STEP = Gauge, Count, "cutover_rollout_step",
        ["use_case"],
        "Place of the step that the rollout is in, from 0.";
    RolloutPhase ROLLOUT_PHASE = Gauge, Count, "cutover_rollout_phase",
        ["use_case", "phase"],
        "1 for what the rollout is doing: running, holding, paused, promoted, rolled_back or abandoned.";
    GateVerdict GATE_VERDICT = Gauge, Count, "cutover_gate_verdict",
        ["use_case", "gate", "verdict"],
        "1 for what the gate says: pass, fail, hold or no_data.";
    GateEvidencePass GATE_EVIDENCE_PASS = Gauge, Nats, "cutover_gate_evidence_pass_nats",
        ["use_case", "gate"],
        "Evidence for the gate's claim as a natural logarithm; it passes at ln(1/alpha).";
    GateEvidenceFail GATE_EVIDENCE_FAIL = Gauge, Nats, "cutover_gate_evidence_fail_nats",
        ["use_case", "gate"],
        "Evidence for harm as a natural logarithm.";
    RolloutTicks ROLLOUT_TICKS = Counter, Count, "cutover_rollout_ticks_total",
        ["use_case", "result"] from ["committed", "conflict", "unsaved"],
        "Looks at a rollout's evidence, by result: committed, conflict, or unsaved when the database did not take it.";
    RolloutTickDuration ROLLOUT_TICK_DURATION = Histogram LATENCY, Seconds, "cutover_rollout_tick_duration_seconds",
        [],
        "Time of one look at one rollout, with its commit.";
    RolloutDecisions ROLLOUT_DECISIONS = Counter, Count, "cutover_rollout_decisions_total",
        ["use_case", "action"] from ["advance", "hold", "promote", "roll_back", "alarm"],
        "Decisions of rollouts, by what was done.";
    ObservationsLost OBSERVATIONS_LOST = Counter, Count, "cutover_rollout_observations_lost_total",
        ["use_case"] from [],
        "Observations that no rollout saw because a queue was full. They are missing, not good.";
    Pairs PAIRS = Counter, Count, "cutover_shadow_pairs_total",
        ["use_case", "outcome"],
        "Shadow pairs by what became of them: scored, unscored, unasked (no scorer), lost (no room), not_sampled (the scorer does not keep up), repeated (the unit had one), too_old, beyond_table (no room for the unit), or not_asked_for.";
    Unscored UNSCORED = Counter, Count, "cutover_unscored_pairs_total",
        ["use_case", "reason"],
        "Shadow pairs that got no score, by reason.";
    ScorerCost SCORER_COST = Counter, Usd, "cutover_scorer_cost_usd_total",
        ["use_case"],
        "What judges and embeddings of scorers cost, as far as it is known.";
    WebhookDeliveries WEBHOOK_DELIVERIES = Counter, Count, "cutover_webhook_deliveries_total",
        ["webhook", "result"] from ["delivered", "retried", "undelivered"],
        "Decisions told to webhooks, by result of a try: delivered, retried or undelivered (given up).";
    WebhookWaiting WEBHOOK_WAITING = Gauge, Count, "cutover_webhook_waiting",
        ["webhook"],
        "Decisions that wait to be told to a webhook.";
    ShadowRequests SHADOW_REQUESTS = Counter, Count, "cutover_shadow_requests_total",
        ["use_case", "outcome"],
        "Copies that the candidate was asked: ok or failed. In no metric of live requests.";
    ShadowDropped SHADOW_DROPPED = Counter, Count, "cutover_shadow_dropped_total",
        ["use_case", "reason"],
        "Sampled requests that became no pair, by reason.";
    ShadowCost SHADOW_COST = Counter, Usd, "cutover_shadow_cost_usd_total",
        ["use_case"],
        "What copies cost, by usage or else by estimate. Not part of any client's cost.";
    Overflow OVERFLOW = Counter, Count, "cutover_overflow_requests_total",
        ["use_case", "reason"] from ["full", "queue_full", "waited", "refused"],
        "The candidate's requests that went to the baseline because its upstream was full, by reason: full, queue_full (no place to wait), waited or refused (by its engine).";
    OverflowCost OVERFLOW_COST = Counter, Usd, "cutover_overflow_cost_usd_total",
        ["use_case"],
        "What overflow cost, by usage or else by estimate. Part of the use case's cost.";
    QueueRequests QUEUE_REQUESTS = Counter, Count, "cutover_queue_requests_total",
        ["upstream", "outcome"] from ["admitted", "overflowed", "passed_over", "refused", "left"],
        "Requests that found their upstream full, by what became of them: admitted, overflowed, passed_over (the next arm was asked, as no instance was well any more), refused or left (the client went).";
    QueueWaiting QUEUE_WAITING = Gauge, Count, "cutover_queue_waiting_requests",
        ["upstream"],
        "Requests that wait for a place at an upstream.";
    QueueWait QUEUE_WAIT = Histogram LATENCY, Seconds, "cutover_queue_wait_seconds",
        ["upstream"],
        "How long requests waited for a place at an upstream, in line or for one of its connections.";
    ExposuresLost EXPOSURES_LOST = Counter, Count, "cutover_exposures_lost_total",
        ["use_case"] from [],
        "Observations of live requests that the controller did not get: its queue was full.";
    Feedback FEEDBACK = Counter, Count, "cutover_feedback_total",
        ["result"] from ["accepted", "queue_full"],
        "Users' verdicts by what became of them: accepted or queue_full.";
    SurfaceRequests SURFACE_REQUESTS = Counter, Count, "cutover_surface_requests_total",
        ["endpoint", "upstream", "outcome"],
        "Requests of endpoints that are passed on (docs/reference/surface.md), by their end. They are in no metric of use cases.";
    SurfaceBytes SURFACE_BYTES = Counter, Count, "cutover_surface_transferred_bytes_total",
        ["endpoint", "upstream", "direction"],
        "Content of such requests, by direction: up or down.";
    SurfaceDuration SURFACE_DURATION = Histogram LATENCY, Seconds, "cutover_surface_duration_seconds",
        ["endpoint", "upstream"],
        "From such a request's head to its answer's last byte.";
    ImageFetches IMAGE_FETCHES = Counter, Count, "cutover_image_fetches_total",
        ["upstream", "result"],
        "Images of chats fetched for an upstream, by result: fetched, or why not.";
    ConfigReloads CONFIG_RELOADS = Counter, Count, "cutover_config_reloads_total",
        ["result"] from ["loaded", "refused"],
        "Reads of the config file after the first: loaded or refused.";
    ConfigLoaded CONFIG_LOADED = Gauge, Timestamp, "cutover_config_loaded_timestamp_seconds",
        [],
        "When the config in force was loaded.";
    AuthFailures AUTH_FAILURES = Counter, Count, "cutover_auth_failures_total",
        ["listener", "reason"],
        "Requests refused for their key, or because a web page may have sent them (host, origin).";
    LimitsHit LIMITS_HIT = Counter, Count, "cutover_limits_hit_total",
        ["limit"] from ["server.body_limit", "server.body_memory", "server.body_timeout", "server.header_count", "server.header_limit", "server.header_timeout", "server.max_connections", "surface.idle_timeout", "surface.upload_limit", "upstreams.max_connections", "client_stalled"],
        "Requests or connections refused or cut by a limit, by the limit's config key.";
    OpenConnections OPEN_CONNECTIONS = Gauge, Count, "cutover_open_connections",
        ["listener"],
        "Client connections open now.";
    RecordsWritten RECORDS_WRITTEN = Counter, Count, "cutover_records_written_total",
        [] from [],
        "Request records written to the store.";
    RecordsDropped RECORDS_DROPPED = Counter, Count, "cutover_records_dropped_total",
        ["reason"] from ["queue_full", "write_failed", "closed"],
        "Request records lost: queue_full, write_failed or closed.";
    RecordsQueued RECORDS_QUEUED = Gauge, Count, "cutover_records_queued",
        [],
        "Request records waiting for the store.";
    ResponsesKept RESPONSES_KEPT = Counter, Count, "cutover_responses_kept_total",
        [] from [],
        "Answers written to the store because clients of the Responses API want to go on from them.";
    ResponsesDropped RESPONSES_DROPPED = Counter, Count, "cutover_responses_dropped_total",
        [] from [],
        "Answers that were to be kept and were lost: no room, too large, or the store was closed.";
    ResponsesWaiting RESPONSES_WAITING = Gauge, Count, "cutover_responses_waiting",
        [],
        "Answers that wait for the store. They can be gone on from already.";
    ResponsesLate RESPONSES_LATE = Counter, Count, "cutover_responses_late_total",
        [] from [],
        "Answers to keep whose clients were told of their end before they were written: the database is away or slow.";
    StoreFailures STORE_FAILURES = Counter, Count, "cutover_store_failures_total",
        ["operation", "reason"],
        "Store operations that failed.";
    SeriesOverflows SERIES_OVERFLOWS = Counter, Count, "cutover_series_overflows_total",
        ["metric"],
        "Handles that went to the series _other because a metric had too many series.";
    BuildInfo BUILD_INFO = Gauge, Count, "cutover_build_info",
        ["version"],
        "Always 1; the version is in the label.";
    StartTime START_TIME = Gauge, Timestamp, "cutover_start_timestamp_seconds",
        [],
        "When the process began to serve.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_finds_its_own_row_and_keeps_the_naming_rules() {
        let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
        for row in TABLE {
            assert_eq!(row.metric.row().name, row.name);
            assert!(row.name.starts_with("cutover_"), "{}", row.name);
            assert_eq!(row.kind == Kind::Counter, row.name.ends_with("_total"), "{}", row.name);
            let base = row.name.trim_end_matches("_total");
            assert!(row.unit.name().is_none_or(|unit| base.ends_with(unit)), "{}", row.name);
            assert!(row.help.ends_with('.'), "{}", row.name);
            let reserved = ["le", "instance", "job", "quantile"];
            assert!(row.labels.iter().all(|label| !reserved.contains(label)), "{}", row.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn bounds_rise() {
        for bounds in [LATENCY, OVERHEAD] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
