//! The record of the operators' requests.

use super::PostgresStore;
use super::ask::Parameter;
use super::values::Key;
use super::view::View;
use crate::columns::Stored as _;
use crate::sections::{Changes, ReadChanges};
use crate::{Change, ChangeAsker, ChangeEnd, ChangeFilter, LIST_BYTES_MAX, NewChange, PageLimit, Paged, Result};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;

const SQL: &str = include_str!("sql/change.sql");

#[async_trait]
impl Changes for PostgresStore {
    async fn note_change(&self, new: &NewChange) -> Result<i64> {
        let ask = self.ask("record a change").await?;
        let NewChange { what, tenant, projection, subject, run_id, asker, through, process, reason } = new;
        let ChangeAsker { identity, token_id, on_behalf_of, peer, door, request_id } = asker;
        let tenant = tenant.as_ref().map(TenantId::as_str);
        let (run, process) = (run_id.map(Key::from), process.map(Key::from));
        let of: [Parameter<'_>; 14] = [
            request_id,
            identity,
            token_id,
            on_behalf_of,
            peer,
            door,
            &tenant,
            what,
            projection,
            subject,
            &run,
            reason,
            through,
            &process,
        ];
        Ok(ask.one::<(i64,)>(sql!(SQL, "note"), &of).await?.0)
    }

    async fn end_change(&self, change_id: i64, end: &ChangeEnd) -> Result<()> {
        let ask = self.ask("record the end of a change").await?;
        let of: [Parameter<'_>; 4] = [&change_id, &end.outcome.as_str(), &end.code, &end.message];
        ask.run(sql!(SQL, "end"), &of).await.map(|_| ())
    }
}

#[async_trait]
impl ReadChanges for View {
    async fn changes(&self, filter: &ChangeFilter, before: Option<i64>, limit: usize) -> Result<Paged<Change>> {
        let ask = self.ask("list changes").await?;
        let limit = PageLimit::of(limit, LIST_BYTES_MAX);
        let ChangeFilter { tenant, since_ms, identity, what, outcome } = filter;
        let tenant = tenant.as_ref().map(TenantId::as_str);
        let of: [Parameter<'_>; 7] = [&tenant, &before, since_ms, identity, what, outcome, &limit.one_more()];
        ask.paged(sql!(SQL, "list"), &of, limit, |row| Change::read(row).map(Some)).await
    }
}
