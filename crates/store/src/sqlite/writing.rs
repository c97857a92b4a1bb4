//! How changes are written: in one transaction each, and, where it matters, on the disk.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::kinds::Kinds;
use super::{Open, SqlResult, Sqlite};
use crate::error::StoreError;

impl Sqlite {
    /// Runs a writing operation in a transaction.
    pub(super) fn write<T>(
        &mut self,
        operation: &'static str,
        run: impl FnOnce(&Transaction<'_>) -> SqlResult<T>,
    ) -> Result<T, StoreError> {
        self.with(operation, |connection| in_transaction(connection, run))
    }

    /// The same for one that knows kinds of records: those of a transaction that failed are none.
    pub(super) fn write_with_kinds<T>(
        &mut self,
        operation: &'static str,
        run: impl FnOnce(&Transaction<'_>, &mut Kinds) -> SqlResult<T>,
    ) -> Result<T, StoreError> {
        self.with_open(operation, |Open { connection, kinds, .. }| {
            let result = in_transaction(connection, |transaction| run(transaction, kinds));
            if result.is_err() {
                kinds.forget();
            }
            result
        })
    }

    /// Runs a writing operation in a transaction that is on the disk when this returns, and in the database's
    /// own file: who copies that file alone has it.
    pub(super) fn write_durably<T>(
        &mut self,
        operation: &'static str,
        run: impl FnOnce(&Transaction<'_>) -> SqlResult<T>,
    ) -> Result<T, StoreError> {
        self.with(operation, |connection| {
            connection.pragma_update(None, "synchronous", "FULL")?;
            let result = in_transaction(connection, run);
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            if result.is_ok() {
                fold_log(connection);
            }
            result
        })
    }

    /// Deletes people's texts: they are overwritten, not only forgotten.
    pub(super) fn delete_securely(
        &mut self,
        operation: &'static str,
        run: impl FnOnce(&Transaction<'_>) -> SqlResult<u64>,
    ) -> Result<u64, StoreError> {
        self.with(operation, |connection| {
            connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
            let deleted = in_transaction(connection, run);
            connection.pragma_update_and_check(None, "secure_delete", false, |_| Ok(()))?;
            if deleted.as_ref().is_ok_and(|deleted| *deleted > 0) {
                // The log still holds them. Where someone else reads, it does until the next time.
                let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            }
            deleted
        })
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    run: impl FnOnce(&Transaction<'_>) -> SqlResult<T>,
) -> SqlResult<T> {
    // Immediate: a lock held elsewhere shows at once, not in the middle.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = run(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Writes what the log beside the database holds into the database's file. Nobody is waited for: where
/// someone else reads, the rest stays in the log, where it is as safe.
pub(super) fn fold_log(connection: &Connection) {
    let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
}
