//! Pairs and scores on their way into the database, as the use case's settings let them be kept.

use cutover_evals::{PairScore, ScoreError, ScorerSpec};
use cutover_store::{NewPair, NewScore, PairAnswer, PairText, StoredScore};
use cutover_telemetry::events;
use cutover_units::{Millis, UseCaseName};

use super::super::{Bill, Scoring};
use super::{Desk, UNWRITTEN_MAX};
use crate::rollouts::edges::{Pair, Side};

impl Desk {
    /// Lets a pair wait for the next [`Desk::flush`].
    pub(super) fn keep(&self, pair: &Pair, scoring: &Scoring, filed: &Filed<'_>) {
        let stored = stored(pair, scoring, &self.0.parts.use_case, filed.run.clone());
        let score = score_row(pair, scoring, filed);
        let mut room = self.room();
        if room.unwritten.len() >= UNWRITTEN_MAX {
            room.status.unkept += 1;
            return;
        }
        room.unwritten.push((stored, score));
    }

    /// Writes the pairs that wait, in one go: a transaction of its own for each would keep the disk
    /// busy. What cannot be written is tried once more with the next ones.
    pub(crate) async fn flush(&self) {
        let Ok(_alone) = self.0.writing.try_lock() else { return };
        self.write_out().await;
    }

    /// The same after what is being written, and for the last time.
    pub(crate) async fn flush_last(&self) {
        let _alone = self.0.writing.lock().await;
        self.write_out().await;
    }

    async fn write_out(&self) {
        let waiting = std::mem::take(&mut self.room().unwritten);
        if waiting.is_empty() {
            return;
        }
        let (pairs, scores): (Vec<_>, Vec<_>) = waiting.iter().cloned().unzip();
        let scores: Vec<_> = scores.into_iter().flatten().collect();
        let store = &self.0.parts.store;
        let mut written = store.write_pairs(pairs).await.map(|_| ());
        if written.is_ok() && !scores.is_empty() {
            written = store.write_scores(scores).await.map(|_| ());
        }
        let Err(error) = written else { return };
        let (reason, at) = (error.word(), (self.0.parts.clock)());
        events::StoreFailed { operation: "write_pairs", reason, at }.emit(&self.0.parts.registry);
        let mut room = self.room();
        let free = UNWRITTEN_MAX.saturating_sub(room.unwritten.len());
        room.status.unkept += waiting.len().saturating_sub(free) as u64;
        room.unwritten.extend(waiting.into_iter().take(free));
    }

    /// Deletes pairs that are older than they may get.
    pub(crate) async fn sweep(&self) {
        let Some(retention) = self.room().scoring.retention else { return };
        let _alone = self.0.writing.lock().await;
        let parts = &self.0.parts;
        let at = (parts.clock)();
        let before = Millis(at.0.saturating_sub(retention.0));
        let swept = parts.store.delete_pairs(Some(parts.use_case.clone()), before).await;
        if let Err(error) = swept {
            events::StoreFailed { operation: "delete_pairs", reason: error.word(), at }
                .emit(&parts.registry);
        }
    }
}

/// What is kept beside a pair.
pub(super) struct Filed<'a> {
    pub(super) score: &'a Result<Option<PairScore>, ScoreError>,
    pub(super) refused: Option<String>,
    pub(super) bill: &'a Bill,
    pub(super) run: Option<String>,
    pub(super) now: Millis,
}

/// `kind@digest`.
pub(crate) fn version(scorer: &ScorerSpec) -> String {
    format!("{}@{}", scorer.kind(), scorer.version_digest())
}

fn stored(pair: &Pair, scoring: &Scoring, use_case: &UseCaseName, run: Option<String>) -> NewPair {
    let answer = |side: &Side| PairAnswer {
        text: PairText(side.answer.text.clone()),
        tool_calls: (!side.answer.tool_calls.is_empty())
            .then(|| serde_json::to_string(&side.answer.tool_calls).ok().map(PairText))
            .flatten(),
        finish: side.answer.finish_reason.clone(),
        served: side.served,
    };
    NewPair {
        request_id: pair.request_id.clone(),
        use_case: use_case.clone(),
        run,
        at: pair.at,
        unit: pair.unit,
        endpoint: pair.endpoint,
        keep: scoring.keep,
        prompt: PairText(pair.body.clone()),
        baseline: answer(&pair.baseline),
        candidate: answer(&pair.candidate),
    }
}

fn score_row(pair: &Pair, scoring: &Scoring, filed: &Filed<'_>) -> Option<NewScore> {
    let scorer = version(scoring.scorer.as_ref()?);
    let score = filed.score.as_ref().ok().and_then(Option::as_ref);
    let why = match filed.score {
        Err(error) => Some(error.name().to_owned()),
        Ok(_) => filed.refused.clone(),
    };
    Some(NewScore {
        request_id: pair.request_id.clone(),
        score: StoredScore {
            scorer,
            at: filed.now,
            baseline: score.map(|score| score.baseline.score.into()),
            candidate: score.map(|score| score.candidate.score.into()),
            why,
            detail: score.and_then(|score| score.note.clone()).map(PairText),
            cost: (filed.bill.unpriced == 0).then_some(filed.bill.cost),
        },
    })
}
