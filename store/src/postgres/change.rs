//! The record of the operators' requests.
//!
//! *Guarantees.* A change is recorded before it is carried out. A record is neither changed nor deleted, except that
//! its outcome is added once.

use super::PostgresStore;
use super::errors::During as _;
use super::read::paged;
use crate::{Change, LIST_BYTES_MAX, NewChange, PageLimit, Paged, Result};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::TenantId;
use tokio_postgres::Row;

pub(super) async fn note(store: &PostgresStore, new: &NewChange) -> Result<i64> {
    let what = "note a change";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/change_note.sql")).await.during(what)?;
    let tenant = new.tenant.as_ref().map(TenantId::as_str);
    let noted = client
        .query_one(&statement, &[&new.what, &tenant, &new.projection, &new.subject, &new.by, &new.through, &new.reason])
        .await
        .during(what)?;
    Ok(noted.get(0))
}

pub(super) async fn end(store: &PostgresStore, change_id: i64, outcome: &str) -> Result<()> {
    let what = "note the outcome of a change";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/change_end.sql")).await.during(what)?;
    client.execute(&statement, &[&change_id, &outcome]).await.during(what)?;
    Ok(())
}

pub(super) async fn list(
    client: &ClientWrapper,
    tenant: Option<&TenantId>,
    before: Option<i64>,
    limit: usize,
) -> Result<Paged<Change>> {
    let what = "list changes";
    let statement = client.prepare_cached(include_str!("sql/changes.sql")).await.during(what)?;
    let tenant = tenant.map(TenantId::as_str);
    let rows_max = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let limit = PageLimit::of(limit, LIST_BYTES_MAX);
    paged(client, &statement, &[&tenant, &before, &rows_max], limit, what, |row| Ok(Some(change(row)))).await
}

fn change(row: &Row) -> Change {
    Change {
        change_id: row.get(0),
        at: row.get(1),
        asked: NewChange {
            what: row.get(2),
            tenant: row.get::<_, Option<String>>(3).and_then(|tenant| TenantId::new(tenant).ok()),
            projection: row.get(4),
            subject: row.get(5),
            by: row.get(6),
            through: row.get(7),
            reason: row.get(8),
        },
        outcome: row.get(9),
    }
}
