//! Poison events: one open row per event, counting attempts; resolved by the commit that passes it.

use super::errors::Result;
use super::errors::unreadable;
use super::read::{one_more, paged};
use crate::{Failure, LIST_BYTES_MAX, ListFilter, NewFailure, PageLimit, Paged, Scope, StoreError};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Records that the scope met a poison event.
pub(super) fn record(conn: &Connection, failure: &NewFailure) -> Result<Failure> {
    let now = super::now_ms(conn)?;
    let id: i64 = conn.prepare_cached(include_str!("sql/failure_record.sql"))?.query_row(
        params![
            failure.scope.tenant.as_str(),
            failure.scope.projection,
            failure.log_seq.0,
            failure.event_id,
            failure.trace_id,
            failure.event_type,
            failure.refusal.category.as_str(),
            failure.refusal.message,
            failure.batch_from.0,
            failure.batch_to.0,
            failure.digest_before,
            now
        ],
        |row| row.get(0),
    )?;
    Ok(by_id(conn, id)?.ok_or_else(|| StoreError::internal("a failure is gone that was just recorded"))?)
}

/// Resolves the scope's open failures at or below a position that it has passed.
pub(super) fn resolve_upto(conn: &Connection, scope: &Scope, upto: LogSeq, now_ms: i64) -> Result<()> {
    conn.prepare_cached(
        "UPDATE dg_failure SET resolved_at_ms = ?4
         WHERE tenant_id = ?1 AND projection = ?2 AND log_seq <= ?3 AND resolved_at_ms IS NULL",
    )?
    .execute(params![scope.tenant.as_str(), scope.projection, upto.0, now_ms])?;
    Ok(())
}

/// Reads one failure.
pub(super) fn by_id(conn: &Connection, failure_id: i64) -> Result<Option<Failure>> {
    let sql = format!("{} WHERE failure_id = ?1", include_str!("sql/failure_select.sql"));
    let raw = conn.prepare_cached(&sql)?.query_row(params![failure_id], raw).optional()?;
    raw.map(RawFailure::read).transpose()
}

/// Lists failures, newest first.
pub(super) fn list(conn: &Connection, filter: &ListFilter) -> Result<Paged<Failure>> {
    let sql = format!(
        "{} WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR projection = ?2)
         AND (NOT ?3 OR resolved_at_ms IS NULL) AND (?5 IS NULL OR failure_id < ?5) ORDER BY failure_id DESC LIMIT ?4",
        include_str!("sql/failure_select.sql")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let tenant = filter.tenant.as_ref().map(TenantId::as_str);
    let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
    let params = params![tenant, filter.projection, filter.open_only, one_more(limit), filter.before_failure];
    let rows = statement.query(params)?;
    paged(rows, limit, |row| match raw(row) {
        Ok(raw) => Ok(raw.read().ok()),
        Err(error) if unreadable(&error) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

struct RawFailure {
    failure: Failure,
    tenant: String,
    category: String,
}

impl RawFailure {
    fn read(self) -> Result<Failure> {
        let unreadable = |what: &str| {
            StoreError::new(
                Category::Storage,
                format!("failure {} has a {what} that nobody knows", self.failure.failure_id),
            )
        };
        Ok(Failure {
            tenant: TenantId::new(self.tenant).map_err(|_| unreadable("tenant"))?,
            category: Category::parse(&self.category).ok_or_else(|| unreadable("category"))?,
            ..self.failure
        })
    }
}

fn raw(row: &Row<'_>) -> rusqlite::Result<RawFailure> {
    let failure = Failure {
        failure_id: row.get(0)?,
        tenant: TenantId::default(),
        projection: row.get(2)?,
        log_seq: LogSeq(row.get(3)?),
        event_id: row.get(4)?,
        trace_id: row.get(5)?,
        event_type: row.get(6)?,
        category: Category::Internal,
        message: row.get(8)?,
        batch_from: LogSeq(row.get(9)?),
        batch_to: LogSeq(row.get(10)?),
        digest_before: row.get(11)?,
        attempts: row.get(12)?,
        first_seen_at: row.get(13)?,
        last_seen_at: row.get(14)?,
        resolved_at: row.get(15)?,
    };
    Ok(RawFailure { failure, tenant: row.get(1)?, category: row.get(7)? })
}
