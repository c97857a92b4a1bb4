//! What a scorer outside of this program is told, and what it must answer.
//!
//! One JSON object on standard input, or as the body of a POST:
//!
//! ```text
//! {"version": 1, "prompt": "...", "baseline": ANSWER, "candidate": ANSWER, "expected": ANSWER or null}
//! ANSWER = {"text": "...", "tool_calls": [{"name": "...", "arguments": "..."}],
//!           "finish_reason": "..." or null, "failed": false}
//! ```
//!
//! One JSON object back, and nothing else:
//!
//! ```text
//! {"baseline": 0.8, "candidate": 1.0, "valid": {"baseline": true, "candidate": true}, "note": "..."}
//! ```
//!
//! Scores are shares from 0 to 1; a scorer that thinks in percent is found out by its first reply.
//! `valid` and `note` may be absent. Everything else is an error with a name, never a score: an error
//! holds a rollout, a made-up number would move it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::step::ScoreError;
use crate::subject::{Answer, ArmScore, PairScore, Subject};

/// The form of request and reply. A scorer may refuse one it does not know.
const VERSION: u32 = 1;

/// A note longer than this is cut.
const NOTE_BYTES_MAX: usize = 2_000;

#[derive(Serialize)]
struct Request<'a> {
    version: u32,
    prompt: &'a str,
    baseline: &'a Answer,
    candidate: &'a Answer,
    expected: Option<&'a Answer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    baseline: Value,
    candidate: Value,
    #[serde(default)]
    valid: Option<Valid>,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Valid {
    baseline: bool,
    candidate: bool,
}

/// The request for a pair.
pub(crate) fn request(subject: &Subject<'_>) -> Result<String, ScoreError> {
    let Subject { prompt, baseline, candidate, expected } = *subject;
    let request = Request { version: VERSION, prompt, baseline, candidate, expected };
    serde_json::to_string(&request).map_err(|_| ScoreError::UnreadableReply)
}

/// Reads a reply.
pub fn read_reply(text: &str) -> Result<PairScore, ScoreError> {
    let reply: Reply = serde_json::from_str(text).map_err(|_| unreadable(text))?;
    let mut score = PairScore::new(arm(&reply.baseline)?, arm(&reply.candidate)?);
    if let Some(valid) = reply.valid {
        score.baseline.valid = Some(valid.baseline);
        score.candidate.valid = Some(valid.candidate);
    }
    score.note = reply.note.map(|note| crate::text::cut(&note, NOTE_BYTES_MAX).0.to_owned());
    Ok(score)
}

fn arm(value: &Value) -> Result<ArmScore, ScoreError> {
    let share = value.as_f64().filter(|share| share.is_finite()).ok_or(ScoreError::NotANumber)?;
    if (0.0..=1.0).contains(&share) {
        Ok(ArmScore::from_share(share))
    } else {
        Err(ScoreError::OutOfRange)
    }
}

/// Names what is wrong with text that is no reply. JSON has no NaN and no infinities, but many writers
/// write them; naming them saves the author of a scorer a search.
fn unreadable(text: &str) -> ScoreError {
    let mut in_string = false;
    let mut escaped = false;
    let plain: String = text
        .chars()
        .filter(|c| {
            let quote = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            in_string ^= quote;
            !in_string && !quote
        })
        .collect();
    let object = text.trim_start().starts_with('{');
    let lower = plain.to_lowercase();
    let huge = serde_json::from_str::<Value>(text)
        .is_err_and(|e| e.to_string().contains("number out of range"));
    if object && (huge || lower.split(|c: char| !c.is_alphanumeric()).any(is_no_number)) {
        ScoreError::NotANumber
    } else {
        ScoreError::UnreadableReply
    }
}

fn is_no_number(word: &str) -> bool {
    matches!(word, "nan" | "inf" | "infinity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_good_reply_is_read() {
        let score = read_reply(r#"{"baseline": 0.8, "candidate": 1, "note": "fine"}"#).unwrap();
        assert_eq!((u8::from(score.baseline.score), u8::from(score.candidate.score)), (80, 100));
        assert_eq!(score.note.as_deref(), Some("fine"));
        let valid =
            r#"{"baseline": 0, "candidate": 0, "valid": {"baseline": true, "candidate": false}}"#;
        let score = read_reply(valid).unwrap();
        assert_eq!((score.baseline.valid, score.candidate.valid), (Some(true), Some(false)));
    }

    #[test]
    fn a_bad_reply_is_named() {
        use ScoreError::{NotANumber, OutOfRange, UnreadableReply};
        for (text, error) in [
            (r#"{"baseline": NaN, "candidate": 1}"#, NotANumber),
            (r#"{"baseline": 1, "candidate": -Infinity}"#, NotANumber),
            (r#"{"baseline": 1, "candidate": 1e999}"#, NotANumber),
            (r#"{"baseline": "0.5", "candidate": 1}"#, NotANumber),
            (r#"{"baseline": null, "candidate": 1}"#, NotANumber),
            (r#"{"baseline": 85, "candidate": 90}"#, OutOfRange),
            (r#"{"baseline": -0.1, "candidate": 1}"#, OutOfRange),
            (r#"{"candidate": 1}"#, UnreadableReply),
            (r#"{"baseline": 1, "candidate": 1, "score": 1}"#, UnreadableReply),
            (r#"{"baseline": 1, "candidate": 1} thanks"#, UnreadableReply),
            (r#"{"baseline": 1, "note": "NaN"}"#, UnreadableReply),
            ("The candidate is better.", UnreadableReply),
            ("NaN", UnreadableReply),
            ("", UnreadableReply),
        ] {
            assert_eq!(read_reply(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_gives_a_score_out_of_range(text in ".{0,60}") {
            let _ = read_reply(&text);
        }

        #[test]
        fn only_numbers_between_0_and_1_are_scores(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            let reply = read_reply(&format!(r#"{{"baseline": {number:?}, "candidate": 1}}"#));
            prop_assert_eq!(reply.is_ok(), (0.0..=1.0).contains(&number));
        }
    }
}
