//! Skips: poison events that an operator left out of a projection.
//!
//! *Guarantees.* Only the event of an open failure is skipped, with operator and reason beside it. One skip per event
//! holds at a time. Nothing is deleted: a revoked skip stays.

use super::PostgresStore;
use super::errors::During as _;
use super::read::paged;
use crate::{LIST_BYTES_MAX, ListFilter, PageLimit, Paged, Result, Scope, Skip, StoreError};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

pub(super) async fn skip(store: &PostgresStore, failure_id: i64, reason: &str, by: &str) -> Result<Skip> {
    let what = "skip an event";
    let mut client = store.connections.get().await?;
    let transaction = client.transaction().await.during(what)?;
    let lock = transaction.prepare_cached(include_str!("sql/skip_lock_failure.sql")).await.during(what)?;
    let failure = transaction.query_opt(&lock, &[&failure_id]).await.during(what)?;
    let failure =
        failure.ok_or_else(|| StoreError::new(Category::NotFound, format!("there is no failure {failure_id}")))?;
    let (tenant, projection, log_seq): (&str, &str, i64) = (failure.get(0), failure.get(1), failure.get(2));
    let held = transaction.prepare_cached(include_str!("sql/skip.sql")).await.during(what)?;
    let held = transaction.query_opt(&held, &[&tenant, &projection, &log_seq]).await.during(what)?;
    let held = held.as_ref().map(read).transpose()?;
    if let Some(held) = Skip::repeated(held, failure_id, failure.get(3))? {
        return Ok(held);
    }
    let add = transaction.prepare_cached(include_str!("sql/skip_add.sql")).await.during(what)?;
    let added = transaction.query_one(&add, &[&failure_id, &reason, &by]).await.during(what)?;
    let added = read(&added)?;
    transaction.commit().await.during(what)?;
    Ok(added)
}

pub(super) async fn revoke(store: &PostgresStore, scope: &Scope, log_seq: LogSeq) -> Result<Skip> {
    let what = "revoke a skip";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/skip_revoke.sql")).await.during(what)?;
    let (tenant, projection) = (scope.tenant.as_str(), scope.projection);
    let revoked = client.query_opt(&statement, &[&tenant, &projection, &log_seq.0]).await.during(what)?;
    revoked.as_ref().map(read).unwrap_or_else(|| Err(Skip::none(scope, log_seq)))
}

pub(super) async fn list(client: &ClientWrapper, scope: &Scope) -> Result<Vec<Skip>> {
    let what = "read skips";
    let statement = client.prepare_cached(include_str!("sql/skips.sql")).await.during(what)?;
    let rows = client.query(&statement, &[&scope.tenant.as_str(), &scope.projection]).await.during(what)?;
    rows.iter().map(read).collect()
}

pub(super) async fn all(client: &ClientWrapper, filter: &ListFilter) -> Result<Paged<Skip>> {
    let what = "list skips";
    let statement = client.prepare_cached(include_str!("sql/skips_all.sql")).await.during(what)?;
    let tenant = filter.tenant.as_ref().map(TenantId::as_str);
    let rows_max = i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
    let of: [&(dyn ToSql + Sync); 5] = [&tenant, &filter.projection, &filter.open_only, &rows_max, &filter.before_skip];
    // A skip that belongs to no tenant fails no list.
    paged(client, &statement, &of, limit, what, |row| Ok(read(row).ok())).await
}

fn read(row: &Row) -> Result<Skip> {
    Ok(Skip {
        tenant: TenantId::new(row.get::<_, String>(0)).map_err(StoreError::from)?,
        projection: row.get(1),
        log_seq: LogSeq(row.get(2)),
        event_id: row.get(3),
        trace_id: row.get(4),
        reason: row.get(5),
        skipped_by: row.get(6),
        skipped_at: row.get(7),
        failure_id: row.get(8),
        revoked_at: row.get(9),
        skip_id: row.get(10),
    })
}
