//! Generations: built beside the live one, flipped in one transaction, swept afterwards.
//!
//! A retired generation's rows may be deleted at once. A reader that still sees them has its own snapshot of the
//! write-ahead log, which keeps the rows for it.

use super::errors::Result;
use super::failure::resolve_upto;
use super::lease::{SESSION, create_scope, raw_position, rules_version};
use crate::{BuildLease, Epoch, Flip, Generation, Position, Scope, StoreError, Sweep, crash};
use decisiongraph_projections::{LogSeq, catalogue};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

/// Starts a new, empty generation for this run. An unfinished one of the same run is retired.
pub(super) fn begin(conn: &Connection, scope: &Scope, run_id: Uuid) -> Result<BuildLease> {
    let now = super::now_ms(conn)?;
    let known: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM dg_scope WHERE tenant_id = ?1 AND projection = ?2)",
        params![scope.tenant.as_str(), scope.projection],
        |row| row.get(0),
    )?;
    if !known {
        create_scope(conn, scope, now)?;
    }
    abandon(conn, scope, run_id)?;
    let token = Uuid::new_v4();
    conn.prepare_cached(include_str!("sql/generation_create.sql"))?.execute(params![
        scope.tenant.as_str(),
        scope.projection,
        "building",
        run_id.as_bytes(),
        token.as_bytes(),
        rules_version(scope),
        now
    ])?;
    Ok(BuildLease {
        scope: scope.clone(),
        run_id,
        generation: Generation(conn.last_insert_rowid()),
        epoch: Epoch { counter: 1, token },
        session: SESSION,
        history: None,
    })
}

/// Takes over this run's unfinished generation with a new fence.
pub(super) fn resume(conn: &Connection, scope: &Scope, run_id: Uuid) -> Result<Option<(BuildLease, Position)>> {
    let token = Uuid::new_v4();
    let row = conn
        .prepare_cached(include_str!("sql/generation_resume.sql"))?
        .query_row(params![scope.tenant.as_str(), scope.projection, run_id.as_bytes(), token.as_bytes()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, raw_position(row, 2)?))
        })
        .optional()?;
    let Some((generation, counter, position)) = row else { return Ok(None) };
    let lease = BuildLease {
        scope: scope.clone(),
        run_id,
        generation: Generation(generation),
        epoch: Epoch { counter, token },
        session: SESSION,
        history: None,
    };
    Ok(Some((lease, position.read()?)))
}

/// Reads the position of the build, if this lease still holds it and its cursor is `from` (when given); else `fenced`.
pub(super) fn check_build(conn: &Connection, lease: &BuildLease, from: Option<LogSeq>) -> Result<Position> {
    let row = conn
        .prepare_cached(
            "SELECT cursor, digest, version FROM dg_generation
             WHERE generation = ?1 AND state = 'building' AND epoch = ?2 AND epoch_token = ?3",
        )?
        .query_row(params![lease.generation.0, lease.epoch.counter, lease.epoch.token.as_bytes()], |row| {
            raw_position(row, 0)
        })
        .optional()?;
    let Some(position) = row else {
        return Err(StoreError::fenced(format!(
            "{}: generation {} is not being built under this epoch",
            lease.scope, lease.generation
        ))
        .into());
    };
    let position = position.read()?;
    match from {
        Some(from) if from != position.cursor => Err(StoreError::fenced(format!(
            "{}: the rebuild's cursor is {}, this batch was computed at {from}",
            lease.scope, position.cursor
        ))
        .into()),
        _ => Ok(position),
    }
}

/// Checks the fence and passes the crash points. No other work is left: rows and indexes are written together.
pub(super) fn finish(conn: &Connection, lease: &BuildLease) -> Result<()> {
    crash::point("finish.before_index");
    check_build(conn, lease, None)?;
    crash::point("finish.after_index");
    crash::point("finish.end");
    Ok(())
}

/// Makes the built generation the live one, if it is not behind.
pub(super) fn flip(conn: &Connection, lease: &BuildLease) -> Result<Flip> {
    crash::point("flip.begin");
    let Scope { tenant, projection } = &lease.scope;
    let (old_generation, old) = conn
        .query_row(
            "SELECT generation, cursor, digest, version FROM dg_scope WHERE tenant_id = ?1 AND projection = ?2",
            params![tenant.as_str(), projection],
            |row| Ok((row.get::<_, i64>(0)?, raw_position(row, 1)?)),
        )
        .optional()?
        .ok_or_else(|| StoreError::fenced(format!("{}: there is no such scope", lease.scope)))?;
    let old = old.read()?;
    let built = check_build(conn, lease, None)?;
    if built.cursor < old.cursor {
        let behind = conn.query_row(
            "SELECT EXISTS (SELECT 1 FROM dg_event_log WHERE tenant_id = ?1 AND log_seq > ?2 AND log_seq <= ?3)",
            params![tenant.as_str(), built.cursor.0, old.cursor.0],
            |row| row.get(0),
        )?;
        if behind {
            return Ok(Flip::Behind { live_cursor: old.cursor });
        }
    }
    let now = super::now_ms(conn)?;
    // The old generation first: one generation of a scope is live at a time, and the index enforces it.
    conn.execute(
        "UPDATE dg_generation SET state = 'retired', retired_at_ms = ?2 WHERE generation = ?1",
        params![old_generation, now],
    )?;
    conn.execute("UPDATE dg_generation SET state = 'live' WHERE generation = ?1", params![lease.generation.0])?;
    conn.execute(
        include_str!("sql/generation_flip.sql"),
        params![
            tenant.as_str(),
            projection,
            lease.generation.0,
            built.cursor.0,
            built.digest.to_bytes(),
            built.version,
            Uuid::new_v4().as_bytes(),
            now
        ],
    )?;
    resolve_upto(conn, &lease.scope, built.cursor, now)?;
    crash::point("flip.before_commit");
    Ok(Flip::Flipped { old_generation: Generation(old_generation), old })
}

/// Retires this run's generation under construction, if there is one.
pub(super) fn abandon(conn: &Connection, scope: &Scope, run_id: Uuid) -> Result<()> {
    let now = super::now_ms(conn)?;
    conn.execute(
        "UPDATE dg_generation SET state = 'retired', retired_at_ms = ?4
         WHERE tenant_id = ?1 AND projection = ?2 AND run_id = ?3 AND state = 'building'",
        params![scope.tenant.as_str(), scope.projection, run_id.as_bytes(), now],
    )?;
    Ok(())
}

/// Deletes rows of retired generations, at most `rows_max`, and the generations without rows.
pub(super) fn sweep(conn: &Connection, rows_max: u64) -> Result<Sweep> {
    crash::point("sweep.begin");
    let mut swept = Sweep::default();
    let retired: Vec<(i64, String, String)> = conn
        .prepare_cached(
            "SELECT generation, tenant_id, projection FROM dg_generation WHERE state = 'retired' ORDER BY generation",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (generation, tenant, projection) in retired {
        // A projection of another program's catalogue: that program sweeps it.
        let tables = catalogue::find(&projection).map(|projection| projection.tables());
        let mut empty = tables.is_some();
        for table in tables.unwrap_or_default() {
            let left = rows_max - swept.rows;
            let chunk = i64::try_from(left).unwrap_or(i64::MAX);
            let name = table.name;
            let rows = conn
                .prepare_cached(&format!(
                    "DELETE FROM {name} WHERE rowid IN
                     (SELECT rowid FROM {name} WHERE tenant_id = ?1 AND generation = ?2 LIMIT ?3)"
                ))?
                .execute(params![tenant, generation, chunk])? as u64;
            swept.rows += rows;
            if rows == left {
                empty = false;
                break;
            }
        }
        if empty {
            conn.execute("DELETE FROM dg_generation WHERE generation = ?1", params![generation])?;
            swept.generations += 1;
        } else {
            swept.left += 1;
        }
    }
    crash::point("sweep.before_commit");
    Ok(swept)
}
