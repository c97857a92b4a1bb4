//! What goes wrong inside an operation, and what callers are told of it.

use std::io;

use rusqlite::ErrorCode;

use super::Sqlite;
use crate::error::StoreError;

/// What a failed SQLite call becomes: its operation's name is added by the caller.
pub(crate) type SqlResult<T> = Result<T, Trouble>;

/// A failure inside an operation.
#[derive(Debug)]
pub(crate) enum Trouble {
    Sql(rusqlite::Error),
    Io(io::Error),
    /// A row holds what cutover never wrote.
    Damaged(String),
    TooNew {
        found: i64,
        known: i64,
    },
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Sqlite {
    /// The failure as callers see it.
    pub(super) fn name(&self, operation: &'static str, trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Damaged(detail) => StoreError::Damaged { operation, detail },
            Trouble::TooNew { found, known } => StoreError::TooNew { found, known },
            Trouble::Io(error) => match error.kind() {
                io::ErrorKind::NotFound if self.known => {
                    StoreError::Gone { operation, path: self.path() }
                }
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    StoreError::ReadOnly { operation }
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    StoreError::Full { operation }
                }
                _ => StoreError::Failed { operation, detail: error.to_string() },
            },
            Trouble::Sql(error) => self.name_sql(operation, &error),
        }
    }

    fn name_sql(&self, operation: &'static str, error: &rusqlite::Error) -> StoreError {
        if let rusqlite::Error::SqliteFailure(failure, _) = error
            && failure.extended_code == rusqlite::ffi::SQLITE_READONLY_DBMOVED
        {
            return StoreError::Gone { operation, path: self.path() };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Busy { operation }
            }
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { operation },
            Some(ErrorCode::DiskFull) => StoreError::Full { operation },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                StoreError::Damaged { operation, detail: error.to_string() }
            }
            Some(ErrorCode::CannotOpen) if self.known && !self.path().exists() => {
                StoreError::Gone { operation, path: self.path() }
            }
            _ => StoreError::Failed { operation, detail: error.to_string() },
        }
    }
}
