//! The record of the operators' requests.

use super::SqliteStore;
use super::ask::Ask as _;
use super::view::View;
use crate::columns::Stored as _;
use crate::sections::{Changes, ReadChanges};
use crate::{Change, ChangeAsker, ChangeEnd, ChangeFilter, LIST_BYTES_MAX, NewChange, PageLimit, Paged, Result};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;
use rusqlite::params;

const SQL: &str = include_str!("sql/change.sql");

#[async_trait]
impl Changes for SqliteStore {
    async fn note_change(&self, new: &NewChange) -> Result<i64> {
        let new = new.clone();
        self.write(move |conn| {
            let NewChange { what, tenant, projection, subject, run_id, asker, through, process, reason } = &new;
            let ChangeAsker { identity, token_id, on_behalf_of, peer, door, request_id } = asker;
            let tenant = tenant.as_ref().map(TenantId::as_str);
            let of = params![
                request_id,
                identity,
                token_id,
                on_behalf_of,
                peer,
                door,
                tenant,
                what,
                projection,
                subject,
                run_id,
                reason,
                through,
                process
            ];
            Ok(conn.one::<(i64,)>(sql!(SQL, "note"), of)?.0)
        })
        .await
    }

    async fn end_change(&self, change_id: i64, end: &ChangeEnd) -> Result<()> {
        let ChangeEnd { outcome, code, message } = end.clone();
        self.write(move |conn| {
            conn.run(sql!(SQL, "end"), params![change_id, outcome.as_str(), code, message]).map(|_| ())
        })
        .await
    }
}

#[async_trait]
impl ReadChanges for View {
    async fn changes(&self, filter: &ChangeFilter, before: Option<i64>, limit: usize) -> Result<Paged<Change>> {
        let filter = filter.clone();
        self.read(move |conn| {
            let limit = PageLimit::of(limit, LIST_BYTES_MAX);
            let ChangeFilter { tenant, since_ms, identity, what, outcome } = &filter;
            let tenant = tenant.as_ref().map(TenantId::as_str);
            let of = params![tenant, before, since_ms, identity, what, outcome, limit.one_more()];
            conn.paged(sql!(SQL, "list"), of, limit, |row| Change::read(row).map(Some))
        })
        .await
    }
}
