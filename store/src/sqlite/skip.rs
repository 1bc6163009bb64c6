//! Skips: poison events that an operator left out of a projection.
//!
//! *Guarantees.* Only the event of an open failure is skipped, with operator and reason beside it. One skip per event
//! holds at a time. Nothing is deleted: a revoked skip stays.

use super::errors::Result;
use super::failure;
use super::read::{one_more, paged};
use crate::{LIST_BYTES_MAX, ListFilter, PageLimit, Paged, Scope, Skip, StoreError};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// Leaves the event of an open failure out.
pub(super) fn skip(conn: &Connection, failure_id: i64, reason: &str, by: &str) -> Result<Skip> {
    let failure = failure::by_id(conn, failure_id)?
        .ok_or_else(|| StoreError::new(Category::NotFound, format!("there is no failure {failure_id}")))?;
    let held = held(conn, failure.tenant.as_str(), &failure.projection, failure.log_seq)?;
    if let Some(held) = Skip::repeated(held, failure_id, failure.resolved_at.is_none())? {
        return Ok(held);
    }
    let now = super::now_ms(conn)?;
    conn.execute(include_str!("sql/skip_add.sql"), params![failure_id, reason, by, now])?;
    by_id(conn, conn.last_insert_rowid())
}

/// Ends the skip that holds for an event.
pub(super) fn revoke(conn: &Connection, scope: &Scope, log_seq: LogSeq) -> Result<Skip> {
    let revoked: Option<i64> = conn
        .query_row(
            "UPDATE dg_skip SET revoked_at_ms = ?4
             WHERE tenant_id = ?1 AND projection = ?2 AND log_seq = ?3 AND revoked_at_ms IS NULL RETURNING skip_id",
            params![scope.tenant.as_str(), scope.projection, log_seq.0, super::now_ms(conn)?],
            |row| row.get(0),
        )
        .optional()?;
    by_id(conn, revoked.ok_or_else(|| Skip::none(scope, log_seq))?)
}

/// Lists the skips of a scope that hold, in the order of the log.
pub(super) fn list(conn: &Connection, scope: &Scope) -> Result<Vec<Skip>> {
    let sql = format!(
        "{} INDEXED BY dg_skip_active WHERE tenant_id = ?1 AND projection = ?2 AND revoked_at_ms IS NULL ORDER BY log_seq",
        include_str!("sql/skip_select.sql")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![scope.tenant.as_str(), scope.projection])?;
    let mut skips = Vec::new();
    while let Some(row) = rows.next()? {
        skips.push(read(row)?);
    }
    Ok(skips)
}

/// Lists skips of all scopes or some, newest first.
pub(super) fn all(conn: &Connection, filter: &ListFilter) -> Result<Paged<Skip>> {
    let sql = format!(
        "{} WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR projection = ?2) AND (NOT ?3 OR revoked_at_ms IS NULL)
         AND (?5 IS NULL OR skip_id < ?5) ORDER BY skip_id DESC LIMIT ?4",
        include_str!("sql/skip_select.sql")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let tenant = filter.tenant.as_ref().map(TenantId::as_str);
    let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
    let params = params![tenant, filter.projection, filter.open_only, one_more(limit), filter.before_skip];
    // A skip that belongs to no tenant fails no list.
    paged(statement.query(params)?, limit, |row| Ok(read(row).ok()))
}

fn held(conn: &Connection, tenant: &str, projection: &str, log_seq: LogSeq) -> Result<Option<Skip>> {
    let sql = format!(
        "{} WHERE tenant_id = ?1 AND projection = ?2 AND log_seq = ?3 AND revoked_at_ms IS NULL",
        include_str!("sql/skip_select.sql")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![tenant, projection, log_seq.0])?;
    rows.next()?.map(read).transpose()
}

fn by_id(conn: &Connection, skip_id: i64) -> Result<Skip> {
    let sql = format!("{} WHERE skip_id = ?1", include_str!("sql/skip_select.sql"));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![skip_id])?;
    rows.next()?.map(read).unwrap_or_else(|| Err(StoreError::internal("a skip is gone that was just written").into()))
}

fn read(row: &Row<'_>) -> Result<Skip> {
    Ok(Skip {
        tenant: TenantId::new(row.get::<_, String>(0)?)?,
        projection: row.get(1)?,
        log_seq: LogSeq(row.get(2)?),
        event_id: row.get(3)?,
        trace_id: row.get(4)?,
        reason: row.get(5)?,
        skipped_by: row.get(6)?,
        skipped_at: row.get(7)?,
        failure_id: row.get(8)?,
        revoked_at: row.get(9)?,
        skip_id: row.get(10)?,
    })
}
