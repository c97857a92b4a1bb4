//! What a database must do for the store. One implementation per database; all pass `suite`.
//!
//! Methods block and run on the store's own thread, one at a time. An implementation connects when
//! it is first asked and again after it lost its database; no method panics.

use cutover_units::Millis;

use crate::audit::{AuditVerdict, Change};
use crate::error::StoreError;
use crate::keys::{AddKeyError, Key, Keys, NewKey, RevokeKey, RevokeKeyError};
use crate::record::Record;
use crate::state::{SetWeight, SetWeightError, UseCaseState, WeightSet};
use crate::summary::{Summary, Window};

pub(crate) trait Backend: Send {
    /// Connects if need be, and reads something.
    fn check(&mut self) -> Result<(), StoreError>;

    /// All use cases that ever had a weight set, by name.
    fn load_states(&mut self) -> Result<Vec<UseCaseState>, StoreError>;

    /// Sets a weight if the generation is the expected one, with its audit entry, durably.
    fn set_weight(&mut self, change: &SetWeight) -> Result<WeightSet, SetWeightError>;

    /// The newest entries of the audit log, newest first.
    fn changes(&mut self, limit: u32) -> Result<Vec<Change>, StoreError>;

    /// Follows the audit log from its beginning.
    fn verify_changes(&mut self) -> Result<AuditVerdict, StoreError>;

    /// Adds a key with its audit entry, durably.
    fn add_key(&mut self, key: &NewKey) -> Result<Key, AddKeyError>;

    /// Revokes a key with its audit entry, durably. Revoking it again changes nothing.
    fn revoke_key(&mut self, revoke: &RevokeKey) -> Result<Key, RevokeKeyError>;

    /// All keys.
    fn load_keys(&mut self) -> Result<Keys, StoreError>;

    /// Writes all of the records, or none.
    fn write_records(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Deletes at most `limit` records older than `before`, and tells how many.
    fn delete_records(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError>;

    /// Sums a window's records up.
    fn summarize(&mut self, window: &Window) -> Result<Summary, StoreError>;
}
