//! The client keys' table.

use cutover_units::{Millis, UseCaseName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{SqlResult, Trouble, audit, signed, unsigned};
use crate::audit::Action;
use crate::keys::{
    AddKeyError, FORMER_MAX, Key, KeyHash, Keys, NewKey, RevokeKey, RevokeKeyError, RotateKey,
    RotateKeyError, Salt,
};

const COLUMNS: &str = "id, name, prefix, use_case, created_ms, revoked_ms, local_only, batch,
    (SELECT max(until_ms) FROM former_keys WHERE key_id = keys.id)";

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
        former_until: None,
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
    let ended = transaction.execute("DELETE FROM former_keys WHERE key_id = ?1", [key.id])?;
    if revoke.former {
        if ended > 0 {
            note(transaction, Action::FormerKeysRevoked, revoke)?;
        }
        return Ok(Ok(Key { former_until: None, ..key }));
    }
    transaction.execute(
        "UPDATE keys SET revoked_ms = ?1 WHERE id = ?2",
        params![signed(revoke.now.0), key.id],
    )?;
    note(transaction, Action::KeyRevoked, revoke)?;
    Ok(Ok(Key { revoked: Some(revoke.now), former_until: None, ..key }))
}

fn note(transaction: &Transaction<'_>, action: Action, revoke: &RevokeKey) -> SqlResult<()> {
    let draft = audit::Draft {
        at: revoke.now,
        action,
        subject: &revoke.name,
        actor: &revoke.actor,
        reason: &revoke.reason,
        before: None,
        after: None,
        generation: None,
    };
    audit::append(transaction, draft)?;
    Ok(())
}

pub(super) fn rotate(
    transaction: &Transaction<'_>,
    rotate: &RotateKey,
) -> SqlResult<Result<Key, RotateKeyError>> {
    let Some(key) = find(transaction, &rotate.name)? else {
        return Ok(Err(RotateKeyError::Unknown(rotate.name.clone())));
    };
    if key.revoked.is_some() {
        return Ok(Err(RotateKeyError::Revoked(rotate.name.clone())));
    }
    let (now, until) = (rotate.now, Millis(rotate.now.0.saturating_add(rotate.overlap.0)));
    // Without an overlap nothing that came before opens the door any more.
    let over = if rotate.overlap.0 == 0 { i64::MAX } else { signed(now.0) };
    let ended = "DELETE FROM former_keys WHERE key_id = ?1 AND until_ms <= ?2";
    transaction.execute(ended, params![key.id, over])?;
    if rotate.overlap.0 > 0 {
        let count = "SELECT count(*) FROM former_keys WHERE key_id = ?1";
        let valid: i64 = transaction.query_row(count, [key.id], |row| row.get(0))?;
        if usize::try_from(valid).unwrap_or(usize::MAX) >= FORMER_MAX {
            return Ok(Err(RotateKeyError::TooMany(rotate.name.clone())));
        }
        transaction.execute(
            "INSERT INTO former_keys (key_id, hash, until_ms)
             SELECT id, hash, ?2 FROM keys WHERE id = ?1",
            params![key.id, signed(until.0)],
        )?;
    }
    let hash = rotate.secret.hash(&salt(transaction)?);
    transaction.execute(
        "UPDATE keys SET hash = ?1, prefix = ?2 WHERE id = ?3",
        params![hash, rotate.secret.prefix(), key.id],
    )?;
    let draft = audit::Draft {
        at: now,
        action: Action::KeyRotated,
        subject: &rotate.name,
        actor: &rotate.actor,
        reason: &rotate.reason,
        before: Some(key.prefix),
        after: Some(rotate.secret.prefix()),
        generation: None,
    };
    audit::append(transaction, draft)?;
    let found = find(transaction, &rotate.name)?;
    Ok(found.ok_or_else(|| RotateKeyError::Unknown(rotate.name.clone())))
}

pub(super) fn load(connection: &Connection) -> SqlResult<Keys> {
    let salt = salt(connection)?;
    let mut statement =
        connection.prepare(&format!("SELECT {COLUMNS}, hash FROM keys ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push((read(row)?, row.get::<_, KeyHash>(9)?));
    }
    let mut statement = connection.prepare("SELECT key_id, hash, until_ms FROM former_keys")?;
    let former = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, Millis(unsigned(row.get(2)?)))))?;
    let former = former.collect::<Result<_, _>>()?;
    Ok(Keys { salt, rows: keys, former })
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
        former_until: row.get::<_, Option<i64>>(8)?.map(|at| Millis(unsigned(at))),
    })
}

pub(super) fn salt(connection: &Connection) -> SqlResult<Salt> {
    Ok(connection
        .query_row("SELECT value FROM meta WHERE name = 'key_salt'", [], |row| row.get(0))?)
}
