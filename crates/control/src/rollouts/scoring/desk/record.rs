//! What is known of a scorer: whether its scores count, and why not.

use cutover_evals::judge::{JUDGED_MIN, JudgeHealth, LABELS_MIN, Outcome};
use cutover_evals::pairing::Pairing;
use cutover_evals::sampling::Sampling;
use cutover_evals::{ArmScore, PairScore, ScoreError};
use cutover_stats::{Alpha, Interval};
use cutover_store::RatingRow;
use cutover_units::Millis;
use serde::{Deserialize, Serialize};

use super::super::{JudgeStatus, Scoring, Spent};
use super::{Desk, Grader, Room};

/// What must outlive the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What was spent in the UTC day.
    pub(crate) spent: Spent,
    /// Of which scorer the rest is.
    pub(crate) scorer: Option<String>,
    /// The judge's record.
    pub(crate) judge: JudgeHealth,
    /// The scorer's own record.
    pub(crate) grader: Grader,
    /// Whose pair of the window was taken, and the window's length. At most
    /// [`UNITS_MAX`](cutover_evals::pairing::UNITS_MAX) units.
    pub(crate) pairing: Option<(Millis, Pairing)>,
    /// The share of units that is scored.
    #[serde(default)]
    pub(crate) sampling: Sampling,
}

/// Why scores do not count.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// A sentence.
    pub(super) why: String,
    /// The word in the count of pairs without a score.
    pub(super) word: &'static str,
    /// Whether the scorer's record is bad; otherwise there is too little of it.
    pub(super) bad_record: bool,
    /// Whether the scores are missing. Those of a judge who may not decide yet are not: that is
    /// settled by earlier pairs, so what comes later is no selection.
    pub(super) missing: bool,
}

/// What a person or a judge has said, from points.
pub(crate) fn outcome((baseline, candidate): (u8, u8)) -> Outcome {
    let arm = |points: u8| ArmScore::passed(points == 100);
    Outcome::of_scores(&PairScore::new(arm(baseline), arm(candidate)))
}

/// The first label of each pair beside the judge's verdict, and how often people agree with
/// themselves.
fn count(rows: &[RatingRow]) -> (JudgeHealth, (u64, u64)) {
    let (mut health, mut repeats) = (JudgeHealth::default(), (0, 0));
    for row in rows {
        if let Some((judge, first)) = row.scored.zip(row.labels.first()) {
            health.labelled(outcome((first.baseline, first.candidate)), outcome(judge));
        }
        for label in &row.labels {
            let again = format!("{}{AGAIN}", label.rater);
            let again = row.labels.iter().find(|other| other.rater == again);
            if let Some(again) = again {
                let agree = (again.baseline, again.candidate) == (label.baseline, label.candidate);
                repeats = (repeats.0 + 1, repeats.1 + u64::from(agree));
            }
        }
    }
    (health, repeats)
}

/// Behind the name of a rater who has labelled a pair a second time.
pub(crate) const AGAIN: &str = "#2";

impl Desk {
    /// What was known before a restart.
    pub(crate) fn restore(&self, record: Record) {
        let mut room = self.room();
        if room.run.is_none() {
            // A rollout that the config file has lost: its scorer may come back with it.
            room.spent = record.spent;
            room.unopened = Some(record);
            return;
        }
        room.take_record(record);
        room.look_at_record();
    }

    /// What must outlive the process.
    pub(crate) fn record(&self) -> Record {
        let room = self.room();
        if let Some(unopened) = &room.unopened {
            return unopened.clone();
        }
        Record {
            spent: room.spent,
            scorer: room.version.clone(),
            judge: room.health.clone(),
            grader: room.grader.clone(),
            pairing: Some((room.pair_window, room.pairing.clone())),
            sampling: room.sampling,
        }
    }

    /// What the planner is told of the scorer: why its scores do not count, if they do not.
    pub(crate) fn verdict(&self) -> Option<cutover_rollout::Grader> {
        let room = self.room();
        let refused = room.refused.as_ref()?;
        Some(cutover_rollout::Grader { distrusted: refused.bad_record, why: refused.why.clone() })
    }

    /// The scorer's version, whether it is a judge, and how pairs are kept.
    pub(crate) fn basis(&self) -> (Option<String>, bool, std::sync::Arc<Scoring>) {
        let room = self.room();
        (room.version.clone(), room.judges(), room.scoring.clone())
    }

    /// Takes what the database knows of people's labels, where it is more than is known here. (Old
    /// pairs are deleted with their labels, and what was counted stays counted.)
    pub(crate) fn recount(&self, scorer: &str, rows: &[RatingRow]) {
        let (labels, repeats) = count(rows);
        let mut room = self.room();
        if room.version.as_deref() != Some(scorer) {
            return;
        }
        if labels.labels() > room.health.labels() {
            room.health.take_labels(&labels);
        }
        if repeats.0 > room.repeats.0 {
            room.repeats = repeats;
        }
        room.look_at_record();
    }

    /// Counts a person's first label of a pair beside what the judge of this version has said.
    pub(crate) fn labelled(&self, scorer: &str, person: Outcome, judge: Outcome) {
        let mut room = self.room();
        if room.version.as_deref() == Some(scorer) {
            room.health.labelled(person, judge);
            room.look_at_record();
        }
    }

    /// Counts a second label of the same person for the same pair.
    pub(crate) fn repeated(&self, agree: bool) {
        let mut room = self.room();
        room.repeats = (room.repeats.0 + 1, room.repeats.1 + u64::from(agree));
    }
}

impl Room {
    fn judges(&self) -> bool {
        self.scoring.scorer.as_ref().is_some_and(|scorer| scorer.kind() == "judge")
    }

    /// Goes on with what was known before, as far as it is of the same scorer.
    pub(super) fn take_record(&mut self, record: Record) {
        let Record { spent, scorer, judge, grader, pairing, sampling } = record;
        if spent.day > self.spent.day {
            self.spent = spent;
        } else if spent.day == self.spent.day {
            self.spent.money = self.spent.money.max(spent.money);
        }
        if scorer.is_some() && scorer == self.version {
            self.health = judge;
            self.trusted = grader.is_known();
            self.grader = grader;
            self.sampling = sampling;
            if let Some((_, pairing)) = pairing.filter(|(window, _)| *window == self.pair_window) {
                self.pairing = pairing;
            }
        }
    }

    /// Adds to the scorer's record.
    pub(super) fn learn(&mut self, score: &Result<Option<PairScore>, ScoreError>) {
        match score {
            Ok(Some(score)) => {
                if let Some(flipped) = score.order_flipped {
                    self.health.judged(flipped);
                }
                let distrusted = self.refused.as_ref().is_some_and(|refused| refused.missing);
                self.grader.add(score, !distrusted);
                self.grader.note(None);
            }
            // Nobody asked it, or nobody could have said.
            Err(ScoreError::Refused | ScoreError::NoReference) | Ok(None) => {}
            Err(error) => {
                if *error == ScoreError::UnreadableReply {
                    self.health.erred();
                }
                self.grader.note(Some(error.name()));
            }
        }
        self.look_at_record();
    }

    pub(super) fn look_at_record(&mut self) {
        let scorer = self.scoring.scorer.as_ref().filter(|_| self.gating);
        let judge = self.judges().then_some(&self.health);
        self.refused = scorer.and_then(|scorer| {
            if let Some(why) = self.grader.silence() {
                return Some(Refused { why, word: "distrusted", bad_record: true, missing: true });
            }
            if let Err(refusal) = scorer.may_gate(Some((&self.health, self.floor))) {
                let (why, bad_record) = (refusal.to_string(), refusal.is_bad_record());
                return Some(Refused { why, word: "refused_judge", bad_record, missing: false });
            }
            let why = self.grader.alarm(judge)?;
            Some(Refused { why, word: "distrusted", bad_record: true, missing: true })
        });
        let why = self.refused.as_ref().map(|refused| refused.why.clone());
        if why.is_some() && self.status.refused.is_none() {
            tracing::info!(scorer = self.version, why, "scores do not count");
        }
        self.status.refused = why;
    }

    /// Counts a score that does not count.
    pub(super) fn refuse(&mut self, refused: &Refused) {
        self.taken.unscored += u64::from(refused.missing);
        *self.status.unscored.entry(refused.word.to_owned()).or_default() += 1;
    }

    /// Lets the scores that wait count, or not, once enough are there to look at the scorer.
    pub(super) fn release(&mut self) {
        if self.trusted || !self.grader.is_known() {
            return;
        }
        self.trusted = true;
        if self.refused.as_ref().is_some_and(|refused| refused.missing) {
            return self.let_go("distrusted");
        }
        self.taken.pairs.append(&mut self.held);
    }

    /// Gives up the scores that wait.
    pub(super) fn let_go(&mut self, reason: &str) {
        for mut pair in std::mem::take(&mut self.held) {
            (pair.baseline.score, pair.candidate.score) = (None, None);
            self.push_if_told(pair);
            self.status.scored = self.status.scored.saturating_sub(1);
            self.fail(reason);
        }
    }

    pub(super) fn judge_status(&self) -> Option<JudgeStatus> {
        if !self.judges() {
            return None;
        }
        let ends = |interval: Interval| (interval.low, interval.high);
        let health = &self.health;
        let flips = health.flip_rate(Alpha::FIVE_PERCENT);
        let kappa = health.kappa();
        let longer = health.longer_won();
        Some(JudgeStatus {
            judged: health.flips().trials,
            judged_needed: JUDGED_MIN,
            flip_rate: flips.map(|(rate, _)| rate),
            flip_interval: flips.map(|(_, interval)| ends(interval)),
            flip_rate_max: self.floor.flip_rate_max,
            labels: health.labels(),
            labels_needed: LABELS_MIN,
            kappa: kappa.map(|kappa| kappa.value),
            kappa_interval: kappa.and_then(|kappa| kappa.interval(Alpha::FIVE_PERCENT)).map(ends),
            kappa_min: self.floor.agreement_min,
            unreadable: health.errors(),
            longer_won: longer.share(),
            repeats: self.repeats.0,
            repeats_agree: self.repeats.1,
            refused: health.may_gate(self.floor).err().map(|refusal| refusal.to_string()),
        })
    }
}
