//! Request records as an audit reads them: page by page, oldest first.

use cutover_units::{Micros, Millis, NanoUsd};

/// Most rows of one page.
pub const USAGE_ROWS_MAX: u32 = 10_000;

/// What an audit reads of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Its place in the table: the next page begins after it.
    pub seq: i64,
    /// The id the client saw.
    pub request_id: String,
    /// When its head was read.
    pub at: Millis,
    /// Its use case.
    pub use_case: Option<String>,
    /// The variant that answered.
    pub variant: Option<String>,
    /// Its upstream.
    pub upstream: Option<String>,
    /// How it ended, such as `ok`.
    pub outcome: String,
    /// To the first content of a stream.
    pub first_token: Option<Micros>,
    /// To the last byte.
    pub total: Micros,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: Option<u64>,
    /// Completion tokens.
    pub completion_tokens: Option<u64>,
    /// Prompt tokens read from the upstream's cache.
    pub cached_tokens: Option<u64>,
    /// Whether the counts are our estimate.
    pub usage_estimated: bool,
    /// What it cost; none is unpriced.
    pub cost: Option<NanoUsd>,
    /// The name of the client's key.
    pub key_name: Option<String>,
}
