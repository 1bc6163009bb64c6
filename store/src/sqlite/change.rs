//! The record of the operators' requests.

use super::SqliteStore;
use super::ask::Ask as _;
use super::view::View;
use crate::columns::Stored as _;
use crate::sections::{Changes, ReadChanges};
use crate::{Change, LIST_BYTES_MAX, NewChange, PageLimit, Paged, Result};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;
use rusqlite::params;

const SQL: &str = include_str!("sql/change.sql");

#[async_trait]
impl Changes for SqliteStore {
    async fn note_change(&self, new: &NewChange) -> Result<i64> {
        let new = new.clone();
        self.write(move |conn| {
            let NewChange { what, tenant, projection, subject, by, through, reason } = &new;
            let tenant = tenant.as_ref().map(TenantId::as_str);
            let of = params![what, tenant, projection, subject, by, through, reason];
            Ok(conn.one::<(i64,)>(sql!(SQL, "note"), of)?.0)
        })
        .await
    }

    async fn end_change(&self, change_id: i64, outcome: &str) -> Result<()> {
        let outcome = outcome.to_owned();
        self.write(move |conn| conn.run(sql!(SQL, "end"), params![change_id, outcome]).map(|_| ())).await
    }
}

#[async_trait]
impl ReadChanges for View {
    async fn changes(&self, tenant: Option<&TenantId>, before: Option<i64>, limit: usize) -> Result<Paged<Change>> {
        let tenant = tenant.cloned();
        self.read(move |conn| {
            let limit = PageLimit::of(limit, LIST_BYTES_MAX);
            let of = params![tenant.as_ref().map(TenantId::as_str), before, limit.one_more()];
            conn.paged(sql!(SQL, "list"), of, limit, |row| Change::read(row).map(Some))
        })
        .await
    }
}
