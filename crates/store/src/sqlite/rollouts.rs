//! The tables of runs, their specs and their windows.

use cutover_rollout::{Spec, State, Window};
use cutover_units::{Generation, Millis, UseCaseName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{SqlResult, Trouble, decisions, deliveries, signed, states, unsigned};
use crate::codec;
use crate::rollouts::{
    CommitError, CommitTick, NewRollout, RolloutStarted, StartError, StoredRollout, StoredWindow,
    TickCommitted,
};
use crate::state::{SetWeight, SetWeightError, WeightSet};

/// A run with the spec it follows now.
const SELECT: &str = "SELECT run, use_case, state, evidence, started_ms, ended_ms, generation,
    (SELECT spec FROM rollout_specs WHERE rollout_specs.run = rollouts.run
     ORDER BY rollout_specs.generation DESC LIMIT 1), evidence_generation
    FROM rollouts";

/// The outer result is the database's, the inner one the comparison's. All comparisons are made
/// before the first write, so that a loser's transaction is empty.
pub(super) fn start(
    transaction: &Transaction<'_>,
    new: &NewRollout,
) -> SqlResult<Result<RolloutStarted, StartError>> {
    let use_case = &new.spec.use_case;
    let sql = format!("{SELECT} WHERE run = ?1 OR (use_case = ?2 AND ended_ms IS NULL)");
    if let Some(current) = one(transaction, &sql, params![new.state.run, use_case.as_str()])? {
        return Ok(Err(StartError::AlreadyRunning { current: Box::new(current) }));
    }
    let weight =
        new.weight.as_ref().map(|weight| weight.of(&new.state, (use_case, Some(&new.decision))));
    let weight = match set_weight(transaction, weight.as_ref())? {
        Ok(weight) => weight,
        Err(SetWeightError::Conflict { current, .. }) => {
            return Ok(Err(StartError::Conflict { current }));
        }
        Err(SetWeightError::Store(error)) => return Ok(Err(error.into())),
    };
    let mut state = new.state.clone();
    state.generation = Generation(state.generation.0.max(1));
    let ended = state.is_over().then_some(state.seen);
    transaction.execute(
        "INSERT INTO rollouts
             (run, use_case, state, generation, evidence, started_ms, ended_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            state.run,
            use_case.as_str(),
            json(&state)?,
            signed(state.generation.0),
            new.evidence,
            signed(state.started.0),
            ended.map(|at| signed(at.0)),
        ],
    )?;
    add_spec(transaction, &state, &new.spec)?;
    let seq = decisions::append(transaction, (use_case, state.generation), &new.decision)?;
    deliveries::add(transaction, &new.tell, (seq, new.decision.at))?;
    let rollout = StoredRollout {
        since: Vec::new(),
        run: state.run.clone(),
        use_case: use_case.clone(),
        spec: new.spec.clone(),
        started: state.started,
        ended,
        state,
        evidence: new.evidence.clone(),
    };
    Ok(Ok(RolloutStarted { rollout, weight }))
}

/// As in [`start`], all comparisons come first.
pub(super) fn commit(
    transaction: &Transaction<'_>,
    tick: &CommitTick,
) -> SqlResult<Result<TickCommitted, CommitError>> {
    let newest = transaction
        .query_row(
            "SELECT run, generation FROM rollouts WHERE use_case = ?1 ORDER BY seq DESC LIMIT 1",
            [tick.use_case.as_str()],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
        )
        .optional()?;
    let read = (tick.run.clone(), signed(tick.expected.0));
    if newest != Some(read) || tick.next.run != tick.run {
        return Ok(Err(conflict(transaction, &tick.use_case)?));
    }
    let decision = tick.decision.as_ref();
    let weight =
        tick.weight.as_ref().map(|weight| weight.of(&tick.next, (&tick.use_case, decision)));
    let Ok(weight) = set_weight(transaction, weight.as_ref())? else {
        return Ok(Err(conflict(transaction, &tick.use_case)?));
    };
    let state = State { generation: tick.expected.next(), ..tick.next.clone() };
    let ended = state.is_over().then_some(signed(state.seen.0));
    transaction.execute(
        "UPDATE rollouts SET state = ?2, generation = ?3, evidence = coalesce(?4, evidence),
             evidence_generation = iif(?4 IS NULL, coalesce(evidence_generation, ?6), ?3),
             ended_ms = coalesce(ended_ms, ?5)
         WHERE run = ?1",
        params![
            tick.run,
            json(&state)?,
            signed(state.generation.0),
            tick.evidence,
            ended,
            signed(tick.expected.0),
        ],
    )?;
    if let Some(spec) = &tick.spec {
        add_spec(transaction, &state, spec)?;
    }
    if let Some(window) = &tick.window {
        transaction.execute(
            "INSERT INTO rollout_windows (run, generation, to_ms, content)
             VALUES (?1, ?2, ?3, ?4)",
            params![
                tick.run,
                signed(state.generation.0),
                signed(window.to.0),
                codec::encode(window)
            ],
        )?;
    }
    let Some(decision) = decision else {
        return Ok(Ok(TickCommitted { state, weight, decision: None }));
    };
    let seq = decisions::append(transaction, (&tick.use_case, state.generation), decision)?;
    deliveries::add(transaction, &tick.tell, (seq, decision.at))?;
    Ok(Ok(TickCommitted { state, weight, decision: Some(seq) }))
}

fn set_weight(
    transaction: &Transaction<'_>,
    change: Option<&SetWeight>,
) -> SqlResult<Result<Option<WeightSet>, SetWeightError>> {
    let Some(change) = change else { return Ok(Ok(None)) };
    Ok(states::set(transaction, change)?.map(Some))
}

fn conflict(transaction: &Transaction<'_>, use_case: &UseCaseName) -> SqlResult<CommitError> {
    let sql = format!("{SELECT} WHERE use_case = ?1 ORDER BY seq DESC LIMIT 1");
    Ok(CommitError::Conflict {
        rollout: one(transaction, &sql, [use_case.as_str()])?.map(Box::new),
        weight: states::current(transaction, use_case)?.map(Box::new),
    })
}

fn add_spec(transaction: &Transaction<'_>, state: &State, spec: &Spec) -> SqlResult<()> {
    transaction.execute(
        "INSERT INTO rollout_specs (run, generation, spec) VALUES (?1, ?2, ?3)",
        params![state.run, signed(state.generation.0), json(spec)?],
    )?;
    Ok(())
}

/// The newest run of each use case, by name of the use case.
pub(super) fn newest(connection: &Connection) -> SqlResult<Vec<StoredRollout>> {
    let sql = format!(
        "{SELECT} WHERE seq IN (SELECT max(seq) FROM rollouts GROUP BY use_case) ORDER BY use_case"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut rollouts = Vec::new();
    while let Some(row) = rows.next()? {
        rollouts.push(read(connection, row)?);
    }
    Ok(rollouts)
}

pub(super) fn of_run(connection: &Connection, run: &str) -> SqlResult<Option<StoredRollout>> {
    one(connection, &format!("{SELECT} WHERE run = ?1"), [run])
}

fn one(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> SqlResult<Option<StoredRollout>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(values)?;
    rows.next()?.map(|row| read(connection, row)).transpose()
}

fn read(connection: &Connection, row: &Row<'_>) -> SqlResult<StoredRollout> {
    let run: String = row.get(0)?;
    let use_case: String = row.get(1)?;
    let damaged =
        |what: &str, why: &str| Trouble::Damaged(format!("{what} of rollout {run}: {why}"));
    let use_case = UseCaseName::new(&use_case).map_err(|e| damaged("use case", &e.to_string()))?;
    let mut state: State =
        parse(&row.get::<_, String>(2)?).map_err(|why| damaged("state", &why))?;
    // The column is what commits are compared with.
    state.generation = Generation(unsigned(row.get(6)?));
    let spec = row.get::<_, Option<String>>(7)?.ok_or_else(|| damaged("spec", "there is none"))?;
    let since = match row.get::<_, Option<i64>>(8)? {
        Some(held) => since(connection, &run, held)?,
        None => Vec::new(),
    };
    Ok(StoredRollout {
        since,
        spec: parse(&spec).map_err(|why| damaged("spec", &why))?,
        use_case,
        state,
        evidence: row.get(3)?,
        started: Millis(unsigned(row.get(4)?)),
        ended: row.get::<_, Option<i64>>(5)?.map(|at| Millis(unsigned(at))),
        run,
    })
}

/// The specs that a run followed, each with the generation from which on it did.
pub(super) fn specs(connection: &Connection, run: &str) -> SqlResult<Vec<(Generation, Spec)>> {
    let mut statement = connection
        .prepare("SELECT generation, spec FROM rollout_specs WHERE run = ?1 ORDER BY generation")?;
    let mut rows = statement.query([run])?;
    let mut specs = Vec::new();
    while let Some(row) = rows.next()? {
        let spec = parse(&row.get::<_, String>(1)?)
            .map_err(|why| Trouble::Damaged(format!("spec of rollout {run}: {why}")))?;
        specs.push((Generation(unsigned(row.get(0)?)), spec));
    }
    Ok(specs)
}

pub(super) fn windows(
    connection: &Connection,
    run: &str,
    (after, limit): (u64, u32),
) -> SqlResult<Vec<StoredWindow>> {
    let mut statement = connection.prepare(
        "SELECT seq, generation, content FROM rollout_windows
         WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![run, signed(after), limit])?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next()? {
        windows.push(window(row, run)?);
    }
    Ok(windows)
}

/// The windows that were committed after the evidence was written, oldest first.
fn since(connection: &Connection, run: &str, held: i64) -> SqlResult<Vec<Window>> {
    let mut statement = connection.prepare(
        "SELECT seq, generation, content FROM rollout_windows
         WHERE run = ?1 AND generation > ?2 ORDER BY generation",
    )?;
    let mut rows = statement.query(params![run, held])?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next()? {
        windows.push(window(row, run)?.window);
    }
    Ok(windows)
}

fn window(row: &Row<'_>, run: &str) -> SqlResult<StoredWindow> {
    let seq = unsigned(row.get(0)?);
    let window: Option<Window> = row.get_ref(2)?.as_blob().ok().and_then(codec::decode);
    let damaged = || Trouble::Damaged(format!("window {seq} of rollout {run} cannot be read"));
    let generation = Generation(unsigned(row.get(1)?));
    Ok(StoredWindow { seq, generation, window: window.ok_or_else(damaged)? })
}

/// Deletes windows of runs that have ended: a running one can be replayed whole.
pub(super) fn delete_windows(
    transaction: &Transaction<'_>,
    before: Millis,
    limit: u32,
) -> SqlResult<u64> {
    let deleted = transaction.execute(
        "DELETE FROM rollout_windows WHERE seq IN (
             SELECT w.seq FROM rollout_windows w JOIN rollouts r ON r.run = w.run
             WHERE w.to_ms < ?1 AND r.ended_ms IS NOT NULL ORDER BY w.to_ms LIMIT ?2)",
        params![signed(before.0), limit],
    )?;
    Ok(deleted as u64)
}

pub(super) fn json(value: &impl Serialize) -> SqlResult<String> {
    serde_json::to_string(value).map_err(|e| Trouble::Damaged(e.to_string()))
}

pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}
