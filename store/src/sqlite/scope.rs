//! Scopes: taken, given up, paused, read.

use super::SqliteStore;
use super::ask::Ask as _;
use super::build;
use super::errors::Result;
use super::view::View;
use crate::decide::{self, Ownership, Taken};
use crate::sections::{ReadScopes, Scopes};
use crate::{Acquisition, Checkpoint, Lease, Orders, Owner, Scope, ScopeCounts, ScopeHead, ScopeRow, decode};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::digest::rolling::RollingDigest;
use rusqlite::{Connection, params};
use uuid::Uuid;

const SQL: &str = include_str!("sql/scope.sql");

/// The session of every lease: SQLite has no sessions that could be lost, and one history.
pub(super) const SESSION: (i64, Option<String>) = (0, None);

#[async_trait]
impl Scopes for SqliteStore {
    async fn acquire_scope(&self, scope: &Scope, owner: &Owner) -> crate::Result<Acquisition> {
        let (scope, owner) = (scope.clone(), owner.clone());
        self.write(move |conn| {
            let taken_from = match create_scope(conn, &scope)?.given_to(&owner) {
                Ok(taken_from) => taken_from,
                Err((by, expires_in)) => return Ok(Acquisition::Held { by, expires_in }),
            };
            let token = Uuid::new_v4();
            let of = params![scope.tenant.as_str(), scope.projection, owner.node, owner.incarnation, token];
            let (taken, orders): (Taken, Orders) = conn.one(sql!(SQL, "acquire_take"), of)?;
            Ok(taken.acquired(&scope, &owner, token, SESSION, taken_from, orders))
        })
        .await
    }

    async fn release_scope(&self, lease: &Lease) -> crate::Result<()> {
        let lease = lease.clone();
        self.write(move |conn| {
            let Lease { scope, epoch, .. } = &lease;
            let of = params![scope.tenant.as_str(), scope.projection, epoch.counter, epoch.token];
            conn.run(sql!(SQL, "release"), of).map(|_| ())
        })
        .await
    }

    async fn pause_scope(&self, scope: &Scope, reason: &str, by: &str) -> crate::Result<ScopeRow> {
        let (scope, reason, by) = (scope.clone(), reason.to_owned(), by.to_owned());
        self.write(move |conn| {
            create_scope(conn, &scope)?;
            conn.run(sql!(SQL, "pause"), params![scope.tenant.as_str(), scope.projection, reason, by])?;
            Ok(one(conn, &scope)?.ok_or_else(|| decide::no_scope(&scope))?)
        })
        .await
    }

    async fn resume_scope(&self, scope: &Scope) -> crate::Result<ScopeRow> {
        let scope = scope.clone();
        self.write(move |conn| {
            conn.run(sql!(SQL, "resume"), params![scope.tenant.as_str(), scope.projection])?;
            Ok(one(conn, &scope)?.ok_or_else(|| decide::no_scope(&scope))?)
        })
        .await
    }
}

#[async_trait]
impl ReadScopes for View {
    async fn scope(&self, scope: &Scope) -> crate::Result<Option<ScopeRow>> {
        let scope = scope.clone();
        self.read(move |conn| one(conn, &scope)).await
    }

    async fn flipped_by(&self, scope: &Scope, run_id: Uuid) -> crate::Result<bool> {
        let scope = scope.clone();
        self.read(move |conn| {
            let of = params![scope.tenant.as_str(), scope.projection, run_id];
            let (flipped,) = conn.one(sql!(SQL, "flipped_by"), of)?;
            Ok(flipped)
        })
        .await
    }

    async fn scopes(&self, tenant: Option<&TenantId>) -> crate::Result<Vec<ScopeRow>> {
        let tenant = tenant.cloned();
        let list = move |conn: &Connection| conn.list(sql!(SQL, "list"), [tenant.as_ref().map(TenantId::as_str)]);
        Ok(decode::in_order(self.read(list).await?))
    }

    async fn scope_heads(&self, after_tenant: Option<&TenantId>, tenants_max: usize) -> crate::Result<Vec<ScopeHead>> {
        let after = after_tenant.cloned();
        self.read(move |conn| {
            let limit = i64::try_from(tenants_max).unwrap_or(i64::MAX);
            conn.list(sql!(SQL, "heads"), params![after.as_ref().map_or("", TenantId::as_str), limit])
        })
        .await
    }

    async fn digests(&self, scopes: &[Scope]) -> crate::Result<Vec<Option<RollingDigest>>> {
        let scopes = scopes.to_vec();
        self.read(move |conn| {
            let digest = |scope: &Scope| {
                let found = conn.first(sql!(SQL, "digests"), [scope.tenant.as_str(), scope.projection])?;
                Ok(found.flatten())
            };
            scopes.iter().map(digest).collect()
        })
        .await
    }

    async fn scope_counts(&self) -> crate::Result<ScopeCounts> {
        self.read(|conn| conn.one(sql!(SQL, "counts"), [])).await
    }

    async fn checkpoints(&self, scope: &Scope, limit: usize) -> crate::Result<Vec<Checkpoint>> {
        let scope = scope.clone();
        self.read(move |conn| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            conn.all(sql!(SQL, "checkpoints"), params![scope.tenant.as_str(), scope.projection, limit])
        })
        .await
    }
}

/// Creates the scope at the log's origin, with an empty live generation and no owner, when there is none. Returns its
/// owner.
pub(super) fn create_scope(conn: &Connection, scope: &Scope) -> Result<Ownership> {
    let (tenant, projection) = (scope.tenant.as_str(), scope.projection);
    if let Some(owner) = conn.first(sql!(SQL, "acquire_look"), [tenant, projection])? {
        return Ok(owner);
    }
    let first = build::create(conn, scope, "live", None, Uuid::new_v4())?;
    let version = decide::rules_version(scope);
    conn.run(sql!(SQL, "create"), params![tenant, projection, first.0, version])?;
    Ok(Ownership::default())
}

fn one(conn: &Connection, scope: &Scope) -> Result<Option<ScopeRow>> {
    conn.first(sql!(SQL, "one"), [scope.tenant.as_str(), scope.projection])
}
