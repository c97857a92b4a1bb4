//! What a database must do for the store. One implementation per database; all pass `suite`.
//!
//! Methods block and run on the store's own thread, one at a time. An implementation connects when
//! it is first asked and again after it lost its database; no method panics.

use std::sync::Arc;

use cutover_prompts::{Book, Label};
use cutover_rollout::Spec;
use cutover_units::{Generation, Millis, NanoUsd, UseCaseName};

use crate::audit::Change;
use crate::chain::AuditVerdict;
use crate::deliveries::{Delivery, DeliveryCounts, Tried};
use crate::drains::{Drain, SetDrain};
use crate::error::StoreError;
use crate::feedback::{Feedback, TakenVotes};
use crate::keys::{
    AddKeyError, Key, Keys, NewKey, RevokeKey, RevokeKeyError, RotateKey, RotateKeyError,
};
use crate::observed::Observations;
use crate::pairs::{NewPair, NewScore, PairQuery, RatingRow, StoredPair};
use crate::prompts::{MoveLabel, NewPrompt, PromptAdded, PromptError};
use crate::record::Record;
use crate::responses::KeptResponse;
use crate::rollouts::{
    CommitError, CommitTick, NewRollout, RolloutStarted, StartError, StoredDecision, StoredRollout,
    StoredWindow, TickCommitted, Whose,
};
use crate::state::{SetWeight, SetWeightError, UseCaseState, WeightSet};
use crate::summary::{Summary, Window};
use crate::usage::UsageRow;

pub(crate) trait Backend: Send {
    /// Connects if need be, and reads something.
    fn check(&mut self) -> Result<(), StoreError>;

    /// All use cases that ever had a weight set, by name.
    fn load_states(&mut self) -> Result<Vec<UseCaseState>, StoreError>;

    /// Sets a weight if the generation is the expected one, with its audit entry, durably.
    fn set_weight(&mut self, change: &SetWeight) -> Result<WeightSet, SetWeightError>;

    /// Notes whose share is stored, if the generation is the expected one; whether it was.
    fn note_candidate(
        &mut self,
        of: (&UseCaseName, Generation),
        candidate: &str,
    ) -> Result<bool, StoreError>;

    /// The newest entries of the audit log, newest first.
    fn changes(&mut self, limit: u32) -> Result<Vec<Change>, StoreError>;

    /// Follows the audit log from its beginning.
    fn verify_changes(&mut self) -> Result<AuditVerdict, StoreError>;

    /// Adds a key with its audit entry, durably.
    fn add_key(&mut self, key: &NewKey) -> Result<Key, AddKeyError>;

    /// Revokes a key with its audit entry, durably. Revoking it again changes nothing.
    fn revoke_key(&mut self, revoke: &RevokeKey) -> Result<Key, RevokeKeyError>;

    /// Gives a key another secret; the one before opens the door for a while.
    fn rotate_key(&mut self, rotate: &RotateKey) -> Result<Key, RotateKeyError>;

    /// All keys.
    fn load_keys(&mut self) -> Result<Keys, StoreError>;

    /// Takes an instance out or puts it back, with its audit entry, durably; which are out then.
    fn set_drain(&mut self, set: &SetDrain) -> Result<Vec<Drain>, StoreError>;

    /// The instances that are out.
    fn drains(&mut self) -> Result<Vec<Drain>, StoreError>;

    /// Adds a version of a prompt with its audit entry, durably, unless the newest has its text.
    fn add_prompt(&mut self, new: &NewPrompt) -> Result<PromptAdded, PromptError>;

    /// Puts a label on a version with its audit entry, durably, if the generation is the expected one.
    fn move_label(&mut self, to: &MoveLabel) -> Result<Label, PromptError>;

    /// All prompts.
    fn prompts(&mut self) -> Result<Book, StoreError>;

    /// Writes all of the records, or none.
    fn write_records(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Deletes at most `limit` records older than `before`, and tells how many.
    fn delete_records(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError>;

    /// At most `limit` records after a place in the table, oldest first.
    fn usage(&mut self, after: i64, limit: u32) -> Result<Vec<UsageRow>, StoreError>;

    /// What a report reads of a window.
    fn observed(&mut self, window: &Window) -> Result<Observations, StoreError>;

    /// Sums a window's records up.
    fn summarize(&mut self, window: &Window) -> Result<Summary, StoreError>;
    /// What overflowed requests have cost since a time.
    fn overflow_costs(&mut self, since: Millis) -> Result<Vec<(UseCaseName, NanoUsd)>, StoreError>;

    /// Begins a run unless its use case has one, durably.
    fn start_rollout(&mut self, new: &NewRollout) -> Result<RolloutStarted, StartError>;

    /// Commits all of a tick if it builds on the newest commit, or nothing. Durable if it holds a
    /// decision or a weight.
    fn commit_tick(&mut self, tick: &CommitTick) -> Result<TickCommitted, CommitError>;

    /// The newest run of each use case.
    fn rollouts(&mut self) -> Result<Vec<StoredRollout>, StoreError>;

    /// One run.
    fn rollout(&mut self, run: &str) -> Result<Option<StoredRollout>, StoreError>;

    /// The specs of a run, oldest first.
    fn specs(&mut self, run: &str) -> Result<Vec<(Generation, Spec)>, StoreError>;

    /// At most `limit` windows of a run behind a place, oldest first.
    fn windows(&mut self, run: &str, page: (u64, u32)) -> Result<Vec<StoredWindow>, StoreError>;

    /// Deletes at most `limit` old windows of runs that have ended.
    fn delete_windows(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError>;

    /// The newest decisions, newest first.
    fn decisions(&mut self, whose: &Whose, limit: u32) -> Result<Vec<StoredDecision>, StoreError>;

    /// Follows the decisions from their beginning.
    fn verify_decisions(&mut self) -> Result<AuditVerdict, StoreError>;

    /// At most `limit` decisions that wait for a webhook, what is due first first.
    fn deliveries(&mut self, webhook: &str, limit: u32) -> Result<Vec<Delivery>, StoreError>;

    /// Notes what came of a try.
    fn note_delivery(&mut self, at: (u64, Millis), tried: &Tried) -> Result<(), StoreError>;

    /// What has become of each webhook's messages.
    fn delivery_counts(&mut self) -> Result<Vec<DeliveryCounts>, StoreError>;

    /// Forgets what ended before the first moment; gives up what was decided before the second one and
    /// waits for a webhook that is not known.
    fn sweep_deliveries(
        &mut self,
        before: (Millis, Millis),
        known: (&[String], Millis),
    ) -> Result<u64, StoreError>;

    /// Writes all pairs whose request has none yet, or none at all on failure.
    fn write_pairs(&mut self, pairs: &[NewPair]) -> Result<u64, StoreError>;

    /// Writes the scores of pairs that are there.
    fn write_scores(&mut self, scores: &[NewScore]) -> Result<u64, StoreError>;

    /// Pairs with their scores, oldest first.
    fn pairs(&mut self, query: &PairQuery) -> Result<Vec<StoredPair>, StoreError>;

    /// The newest pairs of a use case without their texts, with the scores of one scorer and people's.
    fn rating_rows(&mut self, of: &UseCaseName, scorer: &str)
    -> Result<Vec<RatingRow>, StoreError>;

    /// Deletes at most `limit` old pairs, of one use case or all, and overwrites them in the file.
    fn delete_pairs(
        &mut self,
        use_case: Option<&UseCaseName>,
        old: (Millis, u32),
    ) -> Result<u64, StoreError>;

    /// Writes feedback that is new, and tells how much that was.
    fn write_feedback(&mut self, batch: &[Feedback]) -> Result<u64, StoreError>;

    /// Makes votes of feedback whose record is there. Tells how much was given up.
    fn join_feedback(&mut self) -> Result<u64, StoreError>;

    /// At most `limit` votes for a use case behind a place, oldest first.
    fn votes(&mut self, of: &UseCaseName, page: (u64, u32)) -> Result<TakenVotes, StoreError>;

    /// Writes all of the answers, or none.
    fn write_responses(&mut self, responses: &[Arc<KeptResponse>]) -> Result<(), StoreError>;

    /// One answer, if it is this key's.
    fn response(
        &mut self,
        id: &str,
        owner: Option<i64>,
    ) -> Result<Option<KeptResponse>, StoreError>;

    /// Deletes an answer, if it is this key's, and overwrites it in the file. Tells whether it was there.
    fn delete_response(&mut self, id: &str, owner: Option<i64>) -> Result<bool, StoreError>;

    /// Deletes at most `limit` answers older than `before`, overwrites them, and tells how many.
    fn expire_responses(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError>;

    /// Deletes at most `limit` old pieces of feedback with their votes.
    fn delete_feedback(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError>;
}
