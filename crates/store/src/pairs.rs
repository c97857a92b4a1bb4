//! Shadow pairs: both arms' answers to one request, and what scorers say of them.
//!
//! Texts of people are kept as their use case's settings say ([`Keep`]): the setting is applied
//! before anything reaches the disk, and nothing here prints a text in `Debug`.

use std::fmt;

use cutover_rollout::Served;
use cutover_units::{Millis, NanoUsd, UseCaseName};

/// Longest text of a prompt or an answer that is kept, in bytes. The rest is cut off; length and
/// digest are those of the whole text.
pub const PAIR_TEXT_BYTES_MAX: usize = 256 * 1024;

/// Pairs that one query gives at most, because they hold whole texts.
pub const PAIRS_MAX: u32 = 1_000;

/// What is kept of texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// The text as it is.
    Text,
    /// The text without what looks like an e-mail address, a phone number, a card or account
    /// number, or a secret. A heuristic: it finds what has the form, not what a reader would know.
    #[default]
    Redacted,
    /// Length and digest only.
    None,
}

impl Keep {
    /// All settings.
    pub const ALL: [Self; 3] = [Self::Text, Self::Redacted, Self::None];

    /// The word in the config file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Redacted => "redacted",
            Self::None => "none",
        }
    }

    /// The setting of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keep| keep.as_str() == word)
    }

    /// What is kept of a text.
    pub(crate) fn apply(self, text: &str) -> Option<String> {
        match self {
            Self::Text => Some(cut(text, PAIR_TEXT_BYTES_MAX).to_owned()),
            Self::Redacted => Some(crate::redact::redact(cut(text, PAIR_TEXT_BYTES_MAX))),
            Self::None => None,
        }
    }
}

/// The text, cut at a character's boundary.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// A pair to be kept.
#[derive(Debug, Clone)]
pub struct NewPair {
    /// The id the client saw. A second pair of the same request is not kept.
    pub request_id: String,
    /// The use case.
    pub use_case: UseCaseName,
    /// The run whose evidence it is.
    pub run: Option<String>,
    /// When the request's head was read.
    pub at: Millis,
    /// Keyed hash of its unit.
    pub unit: u64,
    /// What was asked for, such as `chat`.
    pub endpoint: &'static str,
    /// What is kept of its texts.
    pub keep: Keep,
    /// The request's body as the client sent it.
    pub prompt: PairText,
    /// What the client saw.
    pub baseline: PairAnswer,
    /// What the copy brought.
    pub candidate: PairAnswer,
}

/// A text that `Debug` does not show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PairText(pub String);

impl fmt::Debug for PairText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// One arm's answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PairAnswer {
    /// Its text.
    pub text: PairText,
    /// Its tool calls as JSON, if it made any.
    pub tool_calls: Option<PairText>,
    /// Why the model stopped.
    pub finish: Option<String>,
    /// What happened.
    pub served: Served,
}

/// A text as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptText {
    /// The text, redacted or not; none: not kept.
    pub text: Option<PairText>,
    /// How long the whole text was.
    pub bytes: u64,
    /// SHA-256 of the whole text with the database's own salt, in hex: two texts of one database can
    /// be compared, and a guess cannot be tested without the database.
    pub digest: String,
}

/// One arm's answer as it was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAnswer {
    /// Its text.
    pub text: KeptText,
    /// Its tool calls as JSON, if it made any and they are kept.
    pub tool_calls: Option<PairText>,
    /// Why the model stopped.
    pub finish: Option<String>,
    /// What happened.
    pub served: Served,
}

/// A pair as it was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPair {
    /// Its place: pairs written later have larger ones.
    pub id: u64,
    /// The id the client saw.
    pub request_id: String,
    /// The use case.
    pub use_case: UseCaseName,
    /// The run whose evidence it was.
    pub run: Option<String>,
    /// When the request's head was read.
    pub at: Millis,
    /// Keyed hash of its unit.
    pub unit: u64,
    /// What was asked for, such as `chat`.
    pub endpoint: String,
    /// What was kept of its texts.
    pub keep: Keep,
    /// The request's body.
    pub prompt: KeptText,
    /// What the client saw.
    pub baseline: KeptAnswer,
    /// What the copy brought.
    pub candidate: KeptAnswer,
    /// What scorers say of it, by scorer.
    pub scores: Vec<StoredScore>,
}

/// What a scorer says of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewScore {
    /// The pair's request.
    pub request_id: String,
    /// What is said.
    pub score: StoredScore,
}

/// What a scorer says of a pair. Of the same scorer the latest is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredScore {
    /// `kind@digest`.
    pub scorer: String,
    /// When.
    pub at: Millis,
    /// The baseline's score in percent; none: it has none.
    pub baseline: Option<u8>,
    /// The candidate's score in percent; none: it has none.
    pub candidate: Option<u8>,
    /// Why there is no score.
    pub why: Option<String>,
    /// What else the scorer noted, such as a judge's words. Kept as the pair's texts are.
    pub detail: Option<PairText>,
    /// What the scoring cost; none: unpriced.
    pub cost: Option<NanoUsd>,
}

/// Pairs that [`rating_rows`](crate::Store::rating_rows) looks at: the newest.
pub const RATING_ROWS_MAX: u32 = 5_000;

/// The beginning of a person's name as a scorer, before the `@`.
pub const HUMAN: &str = "human";

/// A pair as somebody needs it who looks for pairs that people can rate: without its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatingRow {
    /// Its place, see [`StoredPair::id`].
    pub pair: u64,
    /// The id the client saw.
    pub request_id: String,
    /// Whether its texts are kept.
    pub kept: bool,
    /// Whether both arms answered.
    pub answered: bool,
    /// What the scorer that was asked for says, baseline and candidate in percent; none: nothing.
    pub scored: Option<(u8, u8)>,
    /// What people say, the earliest first.
    pub labels: Vec<RatingLabel>,
}

/// What a person says of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatingLabel {
    /// Who, as a scorer: `human@name`.
    pub rater: String,
    /// The baseline's points in percent.
    pub baseline: u8,
    /// The candidate's.
    pub candidate: u8,
}

/// Which pairs are asked for, oldest first.
#[derive(Debug, Clone)]
pub struct PairQuery {
    /// The use case.
    pub use_case: UseCaseName,
    /// Only this run's.
    pub run: Option<String>,
    /// From here on, inclusive.
    pub from: Millis,
    /// Up to here, exclusive.
    pub until: Millis,
    /// Only pairs behind this place.
    pub after: u64,
    /// So many at most, and [`PAIRS_MAX`] at most.
    pub limit: u32,
}
