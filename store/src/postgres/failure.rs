//! Poison events: failures and skips.

use super::PostgresStore;
use super::ask::{Ask, Parameter, Session};
use super::errors::explain;
use super::view::View;
use crate::columns::Stored as _;
use crate::sections::{Failures, ReadFailures};
use crate::{
    Failure, LIST_BYTES_MAX, ListFilter, NewFailure, OpenFailures, PageLimit, Paged, Result, Scope, Skip, decide,
};
use async_trait::async_trait;
use decisiongraph_projections::{LogSeq, TenantId};

pub(super) const SQL: &str = include_str!("sql/failure.sql");

#[async_trait]
impl Failures for PostgresStore {
    async fn record_failure(&self, new: &NewFailure) -> Result<Failure> {
        let ask = self.ask("record a failure").await?;
        let of: [Parameter<'_>; 11] = [
            &new.scope.tenant.as_str(),
            &new.scope.projection,
            &new.log_seq.0,
            &new.event_id,
            &new.trace_id,
            &new.event_type,
            &new.refusal.category.as_str(),
            &new.refusal.message,
            &new.batch_from.0,
            &new.batch_to.0,
            &new.digest_before,
        ];
        let (id,) = ask.one(sql!(SQL, "record"), &of).await?;
        one(&ask, id).await?.ok_or_else(|| decide::lost("failure"))
    }

    async fn skip_event(&self, failure_id: i64, reason: &str, by: &str) -> Result<Skip> {
        let mut ask = self.ask("skip an event").await?;
        let work = ask.begin().await?;
        let failure = work.first::<Failure>(sql!(SQL, "lock"), &[&failure_id]).await?;
        let failure = failure.ok_or_else(|| decide::no_failure(failure_id))?;
        let event: [Parameter<'_>; 3] = [&failure.tenant.as_str(), &failure.projection, &failure.log_seq.0];
        let held = work.first(sql!(SQL, "skip_of_event"), &event).await?;
        if let Some(held) = Skip::repeated(held, failure_id, failure.resolved_at.is_none())? {
            return Ok(held);
        }
        let added = work.one(sql!(SQL, "add_skip"), &[&failure_id, &reason, &by]).await?;
        work.commit(explain).await?;
        Ok(added)
    }

    async fn revoke_skip(&self, scope: &Scope, log_seq: LogSeq) -> Result<Skip> {
        let ask = self.ask("revoke a skip").await?;
        let event: [Parameter<'_>; 3] = [&scope.tenant.as_str(), &scope.projection, &log_seq.0];
        let revoked = ask.first(sql!(SQL, "revoke_skip"), &event).await?;
        revoked.ok_or_else(|| Skip::none(scope, log_seq))
    }
}

#[async_trait]
impl ReadFailures for View {
    async fn failures(&self, filter: &ListFilter) -> Result<Paged<Failure>> {
        let ask = self.ask("list failures").await?;
        let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
        let tenant = filter.tenant.as_ref().map(TenantId::as_str);
        let of: [Parameter<'_>; 5] =
            [&tenant, &filter.projection, &filter.open_only, &limit.one_more(), &filter.before_failure];
        // A failure that belongs to no tenant fails no list.
        ask.paged(sql!(SQL, "list"), &of, limit, |row| Ok(Failure::read(row).ok())).await
    }

    async fn open_failures(&self, tenant: Option<&TenantId>) -> Result<Vec<OpenFailures>> {
        let ask = self.ask("list the scopes with open failures").await?;
        ask.list(sql!(SQL, "open_by_scope"), &[&tenant.map(TenantId::as_str)]).await
    }

    async fn failure(&self, failure_id: i64) -> Result<Option<Failure>> {
        one(&self.ask("read a failure").await?, failure_id).await
    }

    async fn skips(&self, scope: &Scope) -> Result<Vec<Skip>> {
        let ask = self.ask("read skips").await?;
        ask.all(sql!(SQL, "skips"), &[&scope.tenant.as_str(), &scope.projection]).await
    }

    async fn all_skips(&self, filter: &ListFilter) -> Result<Paged<Skip>> {
        let ask = self.ask("list skips").await?;
        let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
        let tenant = filter.tenant.as_ref().map(TenantId::as_str);
        let of: [Parameter<'_>; 5] =
            [&tenant, &filter.projection, &filter.open_only, &limit.one_more(), &filter.before_skip];
        // A skip that belongs to no tenant fails no list.
        ask.paged(sql!(SQL, "all_skips"), &of, limit, |row| Ok(Skip::read(row).ok())).await
    }
}

async fn one<S: Session>(ask: &Ask<'_, S>, failure_id: i64) -> Result<Option<Failure>> {
    ask.first(sql!(SQL, "one"), &[&failure_id]).await
}
