//! Poison events: failures and skips.

use super::SqliteStore;
use super::ask::Ask as _;
use super::errors::Result;
use super::view::View;
use crate::columns::Stored as _;
use crate::sections::{Failures, ReadFailures};
use crate::{Failure, LIST_BYTES_MAX, ListFilter, NewFailure, OpenFailures, PageLimit, Paged, Scope, Skip, decide};
use async_trait::async_trait;
use decisiongraph_projections::{LogSeq, TenantId};
use rusqlite::{Connection, params};

const SQL: &str = include_str!("sql/failure.sql");

#[async_trait]
impl Failures for SqliteStore {
    async fn record_failure(&self, new: &NewFailure) -> crate::Result<Failure> {
        let new = new.clone();
        self.write(move |conn| {
            let of = params![
                new.scope.tenant.as_str(),
                new.scope.projection,
                new.log_seq.0,
                new.event_id,
                new.trace_id,
                new.event_type,
                new.refusal.category.as_str(),
                new.refusal.message,
                new.batch_from.0,
                new.batch_to.0,
                new.digest_before,
            ];
            let (id,) = conn.one(sql!(SQL, "record"), of)?;
            Ok(one(conn, id)?.ok_or_else(|| decide::lost("failure"))?)
        })
        .await
    }

    async fn skip_event(&self, failure_id: i64, reason: &str, by: &str) -> crate::Result<Skip> {
        let (reason, by) = (reason.to_owned(), by.to_owned());
        self.write(move |conn| {
            let failure = conn.first::<Failure>(sql!(SQL, "lock"), [failure_id])?;
            let failure = failure.ok_or_else(|| decide::no_failure(failure_id))?;
            let event = params![failure.tenant.as_str(), failure.projection, failure.log_seq.0];
            let held = conn.first(sql!(SQL, "skip_of_event"), event)?;
            if let Some(held) = Skip::repeated(held, failure_id, failure.resolved_at.is_none())? {
                return Ok(held);
            }
            conn.one(sql!(SQL, "add_skip"), params![failure_id, reason, by])
        })
        .await
    }

    async fn revoke_skip(&self, scope: &Scope, log_seq: LogSeq) -> crate::Result<Skip> {
        let scope = scope.clone();
        self.write(move |conn| {
            let event = params![scope.tenant.as_str(), scope.projection, log_seq.0];
            let revoked = conn.first(sql!(SQL, "revoke_skip"), event)?;
            Ok(revoked.ok_or_else(|| Skip::none(&scope, log_seq))?)
        })
        .await
    }
}

#[async_trait]
impl ReadFailures for View {
    async fn failures(&self, filter: &ListFilter) -> crate::Result<Paged<Failure>> {
        let filter = filter.clone();
        self.read(move |conn| {
            let ListFilter { tenant, projection, open_only, before_failure, .. } = &filter;
            let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
            let tenant = tenant.as_ref().map(TenantId::as_str);
            let of = params![tenant, projection, open_only, limit.one_more(), before_failure];
            // A failure that belongs to no tenant fails no list.
            conn.paged(sql!(SQL, "list"), of, limit, |row| Ok(Failure::read(row).ok()))
        })
        .await
    }

    async fn open_failures(&self, tenant: Option<&TenantId>) -> crate::Result<Vec<OpenFailures>> {
        let tenant = tenant.cloned();
        self.read(move |conn| conn.list(sql!(SQL, "open_by_scope"), [tenant.as_ref().map(TenantId::as_str)])).await
    }

    async fn failure(&self, failure_id: i64) -> crate::Result<Option<Failure>> {
        self.read(move |conn| one(conn, failure_id)).await
    }

    async fn skips(&self, scope: &Scope) -> crate::Result<Vec<Skip>> {
        let scope = scope.clone();
        let of =
            move |conn: &Connection| conn.all(sql!(SQL, "skips"), params![scope.tenant.as_str(), scope.projection]);
        self.read(of).await
    }

    async fn all_skips(&self, filter: &ListFilter) -> crate::Result<Paged<Skip>> {
        let filter = filter.clone();
        self.read(move |conn| {
            let ListFilter { tenant, projection, open_only, before_skip, .. } = &filter;
            let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
            let tenant = tenant.as_ref().map(TenantId::as_str);
            let of = params![tenant, projection, open_only, limit.one_more(), before_skip];
            // A skip that belongs to no tenant fails no list.
            conn.paged(sql!(SQL, "all_skips"), of, limit, |row| Ok(Skip::read(row).ok()))
        })
        .await
    }
}

fn one(conn: &Connection, failure_id: i64) -> Result<Option<Failure>> {
    conn.first(sql!(SQL, "one"), [failure_id])
}

/// Resolves the scope's open failures at or below a position that it has passed.
pub(super) fn resolve_upto(conn: &Connection, scope: &Scope, upto: LogSeq) -> Result<()> {
    conn.run(sql!(SQL, "resolve"), params![scope.tenant.as_str(), scope.projection, upto.0])?;
    Ok(())
}
