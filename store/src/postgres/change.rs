//! The record of the operators' requests.

use super::PostgresStore;
use super::ask::Parameter;
use super::view::View;
use crate::columns::Stored as _;
use crate::sections::{Changes, ReadChanges};
use crate::{Change, LIST_BYTES_MAX, NewChange, PageLimit, Paged, Result};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;

const SQL: &str = include_str!("sql/change.sql");

#[async_trait]
impl Changes for PostgresStore {
    async fn note_change(&self, new: &NewChange) -> Result<i64> {
        let ask = self.ask("note a change").await?;
        let NewChange { what, tenant, projection, subject, by, through, reason } = new;
        let tenant = tenant.as_ref().map(TenantId::as_str);
        let of: [Parameter<'_>; 7] = [what, &tenant, projection, subject, by, through, reason];
        Ok(ask.one::<(i64,)>(sql!(SQL, "note"), &of).await?.0)
    }

    async fn end_change(&self, change_id: i64, outcome: &str) -> Result<()> {
        let ask = self.ask("note the outcome of a change").await?;
        ask.run(sql!(SQL, "end"), &[&change_id, &outcome]).await.map(|_| ())
    }
}

#[async_trait]
impl ReadChanges for View {
    async fn changes(&self, tenant: Option<&TenantId>, before: Option<i64>, limit: usize) -> Result<Paged<Change>> {
        let ask = self.ask("list changes").await?;
        let limit = PageLimit::of(limit, LIST_BYTES_MAX);
        let of: [Parameter<'_>; 3] = [&tenant.map(TenantId::as_str), &before, &limit.one_more()];
        ask.paged(sql!(SQL, "list"), &of, limit, |row| Change::read(row).map(Some)).await
    }
}
