//! Live processes, and the owners of scopes. The database's clock decides: here this is the host's clock, as SQLite
//! reads it.

use super::errors::Result;
use crate::{Acquisition, Epoch, Generation, Lease, Owner, Position, Scope, StoreError, process};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{LogSeq, catalogue};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::Duration;
use uuid::Uuid;

/// The session of every lease: SQLite has no sessions that could be lost.
pub(super) const SESSION: i64 = 0;

/// Declares that this process is alive for `ttl` from now.
pub(super) fn heartbeat(conn: &Connection, owner: &Owner, ttl: Duration) -> Result<()> {
    let now = super::now_ms(conn)?;
    let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 4);
    let renewed = conn.prepare_cached(include_str!("sql/lease_heartbeat.sql"))?.execute(params![
        owner.node,
        owner.incarnation.as_bytes(),
        now.saturating_add(ttl_ms),
        now,
        now.saturating_sub(ttl_ms),
        process::this()
    ])?;
    if renewed != 1 {
        return Err(StoreError::fenced(format!("another process runs under the name {:?}", owner.node)).into());
    }
    Ok(())
}

/// Gives up everything that this process holds; its scopes then have no living owner.
pub(super) fn leave(conn: &Connection, owner: &Owner) -> Result<()> {
    conn.execute(
        "DELETE FROM dg_node WHERE node = ?1 AND incarnation = ?2",
        params![owner.node, owner.incarnation.as_bytes()],
    )?;
    Ok(())
}

/// Ends the lease of a process that is gone. Its row stays: it records that the node died, and the time.
pub(super) fn bury(conn: &Connection, owner: &Owner) -> Result<()> {
    conn.prepare_cached(
        "UPDATE dg_node SET expires_at_ms = ?3
          WHERE node = ?1 AND incarnation = ?2 AND expires_at_ms > ?3 AND not_before_ms <= ?3",
    )?
    .execute(params![owner.node, owner.incarnation.as_bytes(), super::now_ms(conn)?])?;
    Ok(())
}

/// Ends the leases of processes of this machine that are gone.
pub(super) fn end_of_the_dead(conn: &Connection) -> Result<Vec<Owner>> {
    let now = super::now_ms(conn)?;
    let mut running = conn.prepare_cached(
        "SELECT node, incarnation, process FROM dg_node WHERE process IS NOT NULL AND expires_at_ms > ?1",
    )?;
    let mut ended = Vec::new();
    let mut rows = running.query([now])?;
    while let Some(row) = rows.next()? {
        if process::is_gone(&row.get::<_, String>(2)?) {
            ended.push(Owner { node: row.get(0)?, incarnation: Uuid::from_bytes(row.get(1)?) });
        }
    }
    let mut end = conn.prepare_cached("UPDATE dg_node SET expires_at_ms = ?3 WHERE node = ?1 AND incarnation = ?2")?;
    for owner in &ended {
        end.execute(params![owner.node, owner.incarnation.as_bytes(), now])?;
    }
    Ok(ended)
}

/// Takes the scope with a new epoch, unless another owner's lease is still running.
pub(super) fn acquire(conn: &Connection, scope: &Scope, owner: &Owner) -> Result<Acquisition> {
    let now = super::now_ms(conn)?;
    let held = conn
        .prepare_cached(include_str!("sql/lease_holder.sql"))?
        .query_row(params![scope.tenant.as_str(), scope.projection, now], |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<[u8; 16]>>(1)?, row.get::<_, Option<i64>>(2)?))
        })
        .optional()?;
    let taken_from = match held {
        None => {
            create_scope(conn, scope, now)?;
            None
        }
        Some((Some(node), incarnation, Some(expires))) => {
            let mine = node == owner.node && incarnation.as_ref() == Some(owner.incarnation.as_bytes());
            if !mine && expires > now {
                let expires_in = Duration::from_millis(expires.abs_diff(now));
                return Ok(Acquisition::Held { by: node, expires_in });
            }
            (node != owner.node).then_some(node)
        }
        // No owner, or handed over.
        Some(_) => None,
    };
    let token = Uuid::new_v4();
    let (counter, generation, position) = conn.prepare_cached(include_str!("sql/lease_acquire.sql"))?.query_row(
        params![scope.tenant.as_str(), scope.projection, owner.node, owner.incarnation.as_bytes(), token.as_bytes()],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, raw_position(row, 2)?)),
    )?;
    let lease = Lease {
        scope: scope.clone(),
        owner: owner.clone(),
        epoch: Epoch { counter, token },
        generation: Generation(generation),
        session: SESSION,
        history: None,
        taken_from,
    };
    Ok(Acquisition::Acquired(lease, position.read()?))
}

/// Gives the scope up, if this lease still holds it.
pub(super) fn release(conn: &Connection, lease: &Lease) -> Result<()> {
    conn.execute(
        "UPDATE dg_scope SET owner_node = NULL, owner_incarnation = NULL
         WHERE tenant_id = ?1 AND projection = ?2 AND epoch = ?3 AND epoch_token = ?4",
        params![lease.scope.tenant.as_str(), lease.scope.projection, lease.epoch.counter, lease.epoch.token.as_bytes()],
    )?;
    Ok(())
}

/// Creates a scope at the log's origin, with an empty live generation and no owner.
pub(super) fn create_scope(conn: &Connection, scope: &Scope, now_ms: i64) -> Result<()> {
    let version = rules_version(scope);
    let token = Uuid::new_v4();
    conn.prepare_cached(include_str!("sql/generation_create.sql"))?.execute(params![
        scope.tenant.as_str(),
        scope.projection,
        "live",
        None::<[u8; 16]>,
        token.as_bytes(),
        version,
        now_ms
    ])?;
    conn.prepare_cached(include_str!("sql/lease_create_scope.sql"))?.execute(params![
        scope.tenant.as_str(),
        scope.projection,
        token.as_bytes(),
        conn.last_insert_rowid(),
        version,
        now_ms
    ])?;
    Ok(())
}

/// Returns the version of the rules that will write this scope's first rows.
pub(super) fn rules_version(scope: &Scope) -> i32 {
    catalogue::find(scope.projection).map_or(0, |projection| projection.version())
}

/// Cursor, digest bytes and version as stored.
pub(super) struct RawPosition(i64, Vec<u8>, i32);

/// Reads cursor, digest and version from column `at` on.
pub(super) fn raw_position(row: &Row<'_>, at: usize) -> rusqlite::Result<RawPosition> {
    Ok(RawPosition(row.get(at)?, row.get(at + 1)?, row.get(at + 2)?))
}

impl RawPosition {
    pub fn read(self) -> Result<Position> {
        let digest = RollingDigest::from_bytes(&self.1).ok_or_else(|| {
            StoreError::new(
                decisiongraph_projections::Category::Storage,
                format!("the stored digest at cursor {} has {} bytes", self.0, self.1.len()),
            )
        })?;
        Ok(Position { cursor: LogSeq(self.0), digest, version: self.2 })
    }
}
