//! The table of instances that operators took out.

use cutover_units::{Millis, UpstreamName};
use rusqlite::{Connection, Transaction, params};

use super::{SqlResult, Trouble, audit, signed, unsigned};
use crate::audit::Action;
use crate::drains::{Drain, SetDrain};
use crate::state::clip;

/// Takes an instance out or puts it back, and tells which are out then. What it is already changes
/// nothing: who was first and why stays.
pub(super) fn set(transaction: &Transaction<'_>, set: &SetDrain) -> SqlResult<Vec<Drain>> {
    let Drain { upstream, address, actor, reason, at } = &set.drain;
    let changed = if set.out {
        transaction.execute(
            "INSERT OR IGNORE INTO drains (upstream, address, actor, reason, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![upstream.as_str(), address, clip(actor), clip(reason), signed(at.0)],
        )?
    } else {
        transaction.execute(
            "DELETE FROM drains WHERE upstream = ?1 AND address = ?2",
            params![upstream.as_str(), address],
        )?
    };
    if changed > 0 {
        let draft = audit::Draft {
            at: *at,
            action: if set.out { Action::InstanceDrained } else { Action::InstanceResumed },
            subject: &format!("{upstream}/{address}"),
            actor,
            reason,
            before: None,
            after: None,
            generation: None,
        };
        audit::append(transaction, draft)?;
    }
    load(transaction)
}

pub(super) fn load(connection: &Connection) -> SqlResult<Vec<Drain>> {
    let mut statement = connection.prepare(
        "SELECT upstream, address, actor, reason, at_ms FROM drains ORDER BY upstream, address",
    )?;
    let mut rows = statement.query([])?;
    let mut drains = Vec::new();
    while let Some(row) = rows.next()? {
        let upstream = UpstreamName::new(&row.get::<_, String>(0)?)
            .map_err(|e| Trouble::Damaged(format!("a drained instance's upstream: {e}")))?;
        drains.push(Drain {
            upstream,
            address: row.get(1)?,
            actor: row.get(2)?,
            reason: row.get(3)?,
            at: Millis(unsigned(row.get(4)?)),
        });
    }
    Ok(drains)
}
