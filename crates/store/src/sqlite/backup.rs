//! A copy of the database while it is in use, by whichever process.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{FILE, SqlResult, Sqlite, files, schema};
use crate::error::StoreError;
use crate::overrides;
use crate::store::Options;

/// Time to wait for a lock: a backup is in no hurry.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether there is a database in a data directory, or was one.
pub fn has_database(dir: &Path) -> bool {
    dir.join(FILE).exists() || files::is_marked(dir)
}

/// Copies a data directory's database into another one, which must have none, as it is at one moment: with
/// all that still lies in the log beside it.
pub fn backup(options: &Options, to: &Path) -> Result<(), StoreError> {
    const OPERATION: &str = "copy the database";
    let backend = Sqlite::new(options);
    let from = backend.path();
    if !from.exists() {
        return Err(StoreError::Gone { operation: OPERATION, path: from });
    }
    copy(&from, &to.join(FILE)).map_err(|trouble| backend.name(OPERATION, trouble))?;
    files::mark(to);
    Ok(())
}

fn copy(from: &Path, to: &Path) -> SqlResult<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    schema::check_version(&connection)?;
    // Made for its owner alone; SQLite fills an empty file.
    overrides::private().create_new(true).open(to)?;
    let path = to.to_str().ok_or_else(|| io::Error::other("its name is not UTF-8"))?;
    connection.execute("VACUUM INTO ?1", [path])?;
    Ok(())
}
