//! Failures: one open row per poison event, counting the attempts that met it.

use super::PostgresStore;
use super::errors::During as _;
use super::read::paged;
use crate::{Failure, LIST_BYTES_MAX, ListFilter, NewFailure, PageLimit, Paged, Result, StoreError};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

pub(super) async fn record(store: &PostgresStore, new: &NewFailure) -> Result<Failure> {
    let what = "record a failure";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/record_failure.sql")).await.during(what)?;
    let row = client
        .query_one(
            &statement,
            &[
                &new.scope.tenant.as_str(),
                &new.scope.projection,
                &new.log_seq.0,
                &new.batch_from.0,
                &new.batch_to.0,
                &new.event_id,
                &new.trace_id,
                &new.event_type,
                &new.refusal.category.as_str(),
                &new.refusal.message,
                &new.digest_before,
            ],
        )
        .await
        .during(what)?;
    let id: i64 = row.get(0);
    one(&client, id).await?.ok_or_else(|| StoreError::internal("a failure that was just recorded is gone"))
}

pub(super) async fn one(client: &ClientWrapper, failure_id: i64) -> Result<Option<Failure>> {
    let what = "read a failure";
    let statement = client.prepare_cached(include_str!("sql/failure.sql")).await.during(what)?;
    let row = client.query_opt(&statement, &[&failure_id]).await.during(what)?;
    Ok(row.as_ref().and_then(failure))
}

pub(super) async fn list(client: &ClientWrapper, filter: &ListFilter) -> Result<Paged<Failure>> {
    let what = "list failures";
    let statement = client.prepare_cached(include_str!("sql/failures.sql")).await.during(what)?;
    let tenant = filter.tenant.as_ref().map(TenantId::as_str);
    let rows_max = i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
    let of: [&(dyn ToSql + Sync); 5] =
        [&tenant, &filter.projection, &filter.open_only, &rows_max, &filter.before_failure];
    paged(client, &statement, &of, limit, what, |row| Ok(failure(row))).await
}

/// Reads a failure; none when it belongs to no tenant.
fn failure(row: &Row) -> Option<Failure> {
    let category: String = row.get(7);
    Some(Failure {
        failure_id: row.get(0),
        tenant: super::read::tenant(row, 1)?,
        projection: row.get(2),
        log_seq: LogSeq(row.get(3)),
        event_id: row.get(4),
        trace_id: row.get(5),
        event_type: row.get(6),
        category: Category::parse(&category).unwrap_or(Category::Internal),
        message: row.get(8),
        batch_from: LogSeq(row.get(9)),
        batch_to: LogSeq(row.get(10)),
        digest_before: row.get(11),
        attempts: row.get(12),
        first_seen_at: row.get(13),
        last_seen_at: row.get(14),
        resolved_at: row.get(15),
    })
}
