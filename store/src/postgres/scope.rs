//! Scopes: taken, given up, paused, read.
//!
//! *Guarantees.* Before an epoch is taken from a former owner, its backend is ended if it still exists. A writer that
//! was paused inside a transaction may hold the very rows that the new owner needs.

use super::PostgresStore;
use super::ask::{Ask, Parameter, Session};
use super::values::Key;
use super::view::View;
use crate::columns::{Columns, Stored};
use crate::decide::{self, Ownership, Taken};
use crate::sections::{ReadScopes, Scopes};
use crate::{
    Acquisition, Checkpoint, Epoch, Lease, Owner, Result, Scope, ScopeCounts, ScopeHead, ScopeRow, StoreError, decode,
};
use async_trait::async_trait;
use decisiongraph_projections::{Category, TenantId};
use uuid::Uuid;

const SQL: &str = include_str!("sql/scope.sql");

/// Most attempts at a contended takeover in one call.
const ATTEMPTS_MAX: usize = 5;

#[async_trait]
impl Scopes for PostgresStore {
    async fn acquire_scope(&self, scope: &Scope, owner: &Owner) -> Result<Acquisition> {
        let held = self.connections.writer(scope).await?;
        let ask = Ask::new(held.client()?, &self.connections, "take a scope");
        let (tenant, projection, incarnation) = (scope.tenant.as_str(), scope.projection, Key::from(owner.incarnation));
        for _ in 0..ATTEMPTS_MAX {
            let found: Option<Found> = ask.first(sql!(SQL, "acquire_look"), &[&tenant, &projection]).await?;
            let Some(Found { ownership, epoch, former }) = found else {
                create_scope(&ask, scope).await?;
                continue;
            };
            let taken_from = match ownership.given_to(owner) {
                Ok(taken_from) => taken_from,
                Err((by, expires_in)) => {
                    held.keep();
                    return Ok(Acquisition::Held { by, expires_in });
                }
            };
            end_former_writer(&ask, former).await?;
            let token = Uuid::new_v4();
            let (new, seen) = (Key::from(token), Key::from(epoch.token));
            let of: [Parameter<'_>; 7] = [&tenant, &projection, &owner.node, &incarnation, &new, &epoch.counter, &seen];
            // None: another process was faster, or the former owner came back to life in between.
            if let Some(taken) = ask.first::<Taken>(sql!(SQL, "acquire_take"), &of).await? {
                let session = held.session()?.named();
                held.keep();
                return Ok(taken.acquired(scope, owner, token, session, taken_from));
            }
        }
        held.keep();
        Err(StoreError::transient(
            Category::Unavailable,
            format!("{scope}: other owners claimed this scope at the same time"),
        ))
    }

    async fn release_scope(&self, lease: &Lease) -> Result<()> {
        let ask = self.ask_in_time("give up a scope").await?;
        let (scope, token) = (&lease.scope, Key::from(lease.epoch.token));
        let of: [Parameter<'_>; 4] = [&scope.tenant.as_str(), &scope.projection, &lease.epoch.counter, &token];
        ask.run(sql!(SQL, "release"), &of).await.map(|_| ())
    }

    async fn pause_scope(&self, scope: &Scope, reason: &str, by: &str) -> Result<ScopeRow> {
        let ask = self.ask("pause a scope").await?;
        create_scope(&ask, scope).await?;
        ask.run(sql!(SQL, "pause"), &[&scope.tenant.as_str(), &scope.projection, &reason, &by]).await?;
        one(&ask, scope).await?.ok_or_else(|| decide::no_scope(scope))
    }

    async fn resume_scope(&self, scope: &Scope) -> Result<ScopeRow> {
        let ask = self.ask("resume a scope").await?;
        ask.run(sql!(SQL, "resume"), &[&scope.tenant.as_str(), &scope.projection]).await?;
        one(&ask, scope).await?.ok_or_else(|| decide::no_scope(scope))
    }
}

#[async_trait]
impl ReadScopes for View {
    async fn scope(&self, scope: &Scope) -> Result<Option<ScopeRow>> {
        one(&self.ask("read a scope").await?, scope).await
    }

    async fn flipped_by(&self, scope: &Scope, run_id: Uuid) -> Result<bool> {
        let ask = self.ask("look for the run that built a generation").await?;
        let of: [Parameter<'_>; 3] = [&scope.tenant.as_str(), &scope.projection, &Key::from(run_id)];
        let (flipped,) = ask.one(sql!(SQL, "flipped_by"), &of).await?;
        Ok(flipped)
    }

    async fn scopes(&self, tenant: Option<&TenantId>) -> Result<Vec<ScopeRow>> {
        let ask = self.ask("read scopes").await?;
        Ok(decode::in_order(ask.list(sql!(SQL, "list"), &[&tenant.map(TenantId::as_str)]).await?))
    }

    async fn scope_heads(&self, after_tenant: Option<&TenantId>, tenants_max: usize) -> Result<Vec<ScopeHead>> {
        let ask = self.ask("read the owners of the scopes").await?;
        let limit = i64::try_from(tenants_max).unwrap_or(i64::MAX);
        ask.list(sql!(SQL, "heads"), &[&after_tenant.map_or("", TenantId::as_str), &limit]).await
    }

    async fn scope_counts(&self) -> Result<ScopeCounts> {
        self.ask("count the scopes that need attention").await?.one(sql!(SQL, "counts"), &[]).await
    }

    async fn checkpoints(&self, scope: &Scope, limit: usize) -> Result<Vec<Checkpoint>> {
        let ask = self.ask("read digest checkpoints").await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        ask.all(sql!(SQL, "checkpoints"), &[&scope.tenant.as_str(), &scope.projection, &limit]).await
    }
}

/// A scope before a takeover.
struct Found {
    ownership: Ownership,
    epoch: Epoch,
    former: FormerWriter,
}

impl Stored for Found {
    fn read(row: &impl Columns) -> Result<Found> {
        let epoch = Epoch { counter: row.at(3)?, token: row.at(4)? };
        Ok(Found {
            ownership: Ownership::read(row)?,
            epoch,
            former: FormerWriter { pid: row.at(5)?, started: row.at(6)? },
        })
    }
}

/// The backend that wrote under the former epoch, if it still exists. Its start is named, so that an unrelated backend
/// with the same pid is not ended.
pub(super) struct FormerWriter {
    pub(super) pid: Option<i32>,
    pub(super) started: Option<String>,
}

/// Ends the former writer's backend, and waits until it is gone. A session that this store uses for other scopes is not
/// ended.
pub(super) async fn end_former_writer<S: Session>(ask: &Ask<'_, S>, former: FormerWriter) -> Result<()> {
    let (Some(pid), Some(started)) = (former.pid, former.started) else { return Ok(()) };
    if ask.connections.is_own(pid) {
        return Ok(());
    }
    match ask.run(sql!(SQL, "end_former_writer"), &[&pid, &started]).await {
        // A role without the right to end it leaves that to the session's own time-outs. The epoch fences it all the
        // same.
        Err(error) if error.category == Category::Unauthorized => Ok(()),
        ended => ended.map(|_| ()),
    }
}

/// Creates the scope with its first generation. Not an error when another process did.
pub(super) async fn create_scope<S: Session>(ask: &Ask<'_, S>, scope: &Scope) -> Result<()> {
    let version = decide::rules_version(scope);
    match ask.run(sql!(SQL, "create"), &[&scope.tenant.as_str(), &scope.projection, &version]).await {
        Err(error) if !error.duplicate => Err(error),
        _ => Ok(()),
    }
}

async fn one<S: Session>(ask: &Ask<'_, S>, scope: &Scope) -> Result<Option<ScopeRow>> {
    ask.first(sql!(SQL, "one"), &[&scope.tenant.as_str(), &scope.projection]).await
}
