//! The client keys' table.

use cutover_units::{Millis, UseCaseName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{SqlResult, Trouble, audit, signed, unsigned};
use crate::audit::Action;
use crate::keys::{AddKeyError, Key, KeyHash, Keys, NewKey, RevokeKey, RevokeKeyError, Salt};

const COLUMNS: &str = "id, name, prefix, use_case, created_ms, revoked_ms, local_only, batch";

pub(super) fn add(
    transaction: &Transaction<'_>,
    new: &NewKey,
) -> SqlResult<Result<Key, AddKeyError>> {
    if find(transaction, &new.name)?.is_some() {
        return Ok(Err(AddKeyError::NameTaken(new.name.clone())));
    }
    let hash = new.secret.hash(&salt(transaction)?);
    transaction.execute(
        "INSERT INTO keys (name, prefix, hash, use_case, created_ms, local_only, batch)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            new.name,
            new.secret.prefix(),
            hash,
            new.use_case.as_ref().map(UseCaseName::as_str),
            signed(new.now.0),
            new.local_only,
            new.batch,
        ],
    )?;
    // Read before the audit entry is inserted, which has a row id, too.
    let id = transaction.last_insert_rowid();
    let draft = audit::Draft {
        at: new.now,
        action: Action::KeyAdded,
        subject: &new.name,
        actor: &new.actor,
        reason: "",
        before: None,
        after: bounds(new),
        generation: None,
    };
    audit::append(transaction, draft)?;
    Ok(Ok(Key {
        id,
        name: new.name.as_str().into(),
        prefix: new.secret.prefix(),
        use_case: new.use_case.clone(),
        local_only: new.local_only,
        batch: new.batch,
        created: new.now,
        revoked: None,
    }))
}

/// What a key is bound to, for the audit log.
fn bounds(new: &NewKey) -> Option<String> {
    let use_case = new.use_case.as_ref().map(|use_case| format!("bound to {use_case}"));
    let local_only = new.local_only.then(|| "local-only".to_owned());
    let batch = new.batch.then(|| "batch".to_owned());
    let bounds: Vec<_> = [use_case, local_only, batch].into_iter().flatten().collect();
    (!bounds.is_empty()).then(|| bounds.join(", "))
}

pub(super) fn revoke(
    transaction: &Transaction<'_>,
    revoke: &RevokeKey,
) -> SqlResult<Result<Key, RevokeKeyError>> {
    let Some(key) = find(transaction, &revoke.name)? else {
        return Ok(Err(RevokeKeyError::Unknown(revoke.name.clone())));
    };
    if key.revoked.is_some() {
        return Ok(Ok(key));
    }
    transaction.execute(
        "UPDATE keys SET revoked_ms = ?1 WHERE id = ?2",
        params![signed(revoke.now.0), key.id],
    )?;
    let draft = audit::Draft {
        at: revoke.now,
        action: Action::KeyRevoked,
        subject: &revoke.name,
        actor: &revoke.actor,
        reason: &revoke.reason,
        before: None,
        after: None,
        generation: None,
    };
    audit::append(transaction, draft)?;
    Ok(Ok(Key { revoked: Some(revoke.now), ..key }))
}

pub(super) fn load(connection: &Connection) -> SqlResult<Keys> {
    let salt = salt(connection)?;
    let mut statement =
        connection.prepare(&format!("SELECT {COLUMNS}, hash FROM keys ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push((read(row)?, row.get::<_, KeyHash>(8)?));
    }
    Ok(Keys { salt, rows: keys })
}

fn find(connection: &Connection, name: &str) -> SqlResult<Option<Key>> {
    let sql = format!("SELECT {COLUMNS} FROM keys WHERE name = ?1");
    let found = connection.query_row(&sql, [name], |row| Ok(read(row))).optional()?;
    found.transpose()
}

fn read(row: &Row<'_>) -> SqlResult<Key> {
    let use_case: Option<String> = row.get(3)?;
    let use_case = use_case
        .map(|name| UseCaseName::new(&name))
        .transpose()
        .map_err(|e| Trouble::Damaged(format!("a key's use case: {e}")))?;
    Ok(Key {
        id: row.get(0)?,
        name: row.get::<_, String>(1)?.into(),
        prefix: row.get(2)?,
        use_case,
        created: Millis(unsigned(row.get(4)?)),
        revoked: row.get::<_, Option<i64>>(5)?.map(|at| Millis(unsigned(at))),
        local_only: row.get(6)?,
        batch: row.get(7)?,
    })
}

pub(super) fn salt(connection: &Connection) -> SqlResult<Salt> {
    Ok(connection
        .query_row("SELECT value FROM meta WHERE name = 'key_salt'", [], |row| row.get(0))?)
}
