//! The schema's versions. Version n is the result of the first n migrations; `user_version` holds n.

use cutover_units::Millis;
use rusqlite::{Connection, TransactionBehavior, params};

use super::writing::fold_log;
use super::{SqlResult, Trouble, signed};

/// All migrations in order: name and SQL. A released one is never changed.
const MIGRATIONS: &[(&str, &str)] = &[
    ("first", include_str!("migrations/0001_first.sql")),
    ("rollouts", include_str!("migrations/0002_rollouts.sql")),
    ("responses", include_str!("migrations/0003_responses.sql")),
    ("deliveries", include_str!("migrations/0004_deliveries.sql")),
    ("prompts", include_str!("migrations/0005_prompts.sql")),
    ("marks", include_str!("migrations/0006_marks.sql")),
    ("residency", include_str!("migrations/0007_residency.sql")),
    ("candidates", include_str!("migrations/0008_candidates.sql")),
    ("drains", include_str!("migrations/0009_drains.sql")),
    ("bytes", include_str!("migrations/0010_bytes.sql")),
    ("kinds", include_str!("migrations/0011_kinds.sql")),
    ("overflow", include_str!("migrations/0012_overflow.sql")),
    ("former_keys", include_str!("migrations/0013_former_keys.sql")),
];

pub(super) fn known() -> i64 {
    MIGRATIONS.iter().zip(1..).last().map_or(0, |(_, version)| version)
}

/// Refuses a database that a newer cutover wrote.
pub(super) fn check_version(connection: &Connection) -> SqlResult<()> {
    let (found, known) = (version(connection)?, known());
    if found > known {
        return Err(Trouble::TooNew { found, known });
    }
    Ok(())
}

fn version(connection: &Connection) -> SqlResult<i64> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Brings the schema to the newest version, all of it or nothing. An empty file that lies where a
/// database was before (`known_file`) is not filled: that would forget weights and keys.
pub(super) fn migrate(connection: &mut Connection, known_file: bool, now: Millis) -> SqlResult<()> {
    let found = version(connection)?;
    if found == known() {
        return Ok(());
    }
    if found == 0 && known_file {
        return Err(Trouble::Damaged("an empty file lies in the database's place".to_owned()));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (
             version    INTEGER PRIMARY KEY,
             name       TEXT NOT NULL,
             applied_ms INTEGER NOT NULL
         ) STRICT",
    )?;
    // Read again under the lock: another process may have done it meanwhile.
    let found = version(&transaction)?;
    for ((name, sql), version) in MIGRATIONS.iter().zip(1_i64..) {
        if version > found {
            transaction.execute_batch(sql)?;
            transaction.execute(
                "INSERT INTO migrations (version, name, applied_ms) VALUES (?1, ?2, ?3)",
                params![version, name, signed(now.0)],
            )?;
        }
    }
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(|e| Trouble::Damaged(format!("no randomness: {e}")))?;
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES ('key_salt', ?1) ON CONFLICT DO NOTHING",
        params![salt],
    )?;
    transaction.pragma_update(None, "user_version", known())?;
    transaction.commit()?;
    // Without it a first database's own file would have nothing of it, and be of no use to who copies it.
    fold_log(connection);
    Ok(())
}

/// Makes a database as an earlier version left it.
#[cfg(test)]
pub(super) fn migrate_to(connection: &mut Connection, to: i64) -> SqlResult<()> {
    connection.execute_batch(
        "CREATE TABLE migrations (
             version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_ms INTEGER NOT NULL
         ) STRICT",
    )?;
    for ((name, sql), version) in MIGRATIONS.iter().zip(1..=to) {
        connection.execute_batch(sql)?;
        connection.execute("INSERT INTO migrations VALUES (?1, ?2, 1)", params![version, name])?;
    }
    connection.pragma_update(None, "user_version", to)?;
    Ok(())
}
