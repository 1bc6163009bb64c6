//! Scopes: their owners, their pauses, and how far they are.

use crate::{Acquisition, Checkpoint, Lease, Owner, Result, Scope, ScopeCounts, ScopeHead, ScopeRow};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::digest::rolling::RollingDigest;
use uuid::Uuid;

/// Takes, gives up and pauses scopes. Safety comes from the scope row alone (epoch, cursor, generation). The timing of
/// leases only decides how soon another process takes over.
#[async_trait]
pub trait Scopes {
    /// Takes the scope with a new epoch if its owner is none, or this owner, or one with an ended lease. Creates the
    /// scope and its first generation when there is none. Ends a stale writer's session first, where the database can.
    async fn acquire_scope(&self, scope: &Scope, owner: &Owner) -> Result<Acquisition>;

    /// Gives the scope up, if the lease still holds it. Not an error when it does not.
    async fn release_scope(&self, lease: &Lease) -> Result<()>;

    /// Pauses the scope, durably; creates it when there is none. Idempotent: the first reason stays. Owner, generation
    /// and cursor do not change; the epoch does. A worker of the scope is therefore `fenced` at its next commit, reads
    /// the scope again and sees [`ScopeRow::paused`]. Taking a paused scope is not refused: the new owner checks the
    /// pause.
    async fn pause_scope(&self, scope: &Scope, reason: &str, by: &str) -> Result<ScopeRow>;

    /// Ends the pause. Not an error when there is none; `not_found` when there is no such scope.
    async fn resume_scope(&self, scope: &Scope) -> Result<ScopeRow>;
}

/// Reads scopes.
#[async_trait]
pub trait ReadScopes {
    /// Reads the scope, if it was ever acquired.
    async fn scope(&self, scope: &Scope) -> Result<Option<ScopeRow>>;

    /// True when the scope's live generation is the one that this run built and flipped to.
    async fn flipped_by(&self, scope: &Scope, run_id: Uuid) -> Result<bool>;

    /// Lists all scopes, or those of one tenant, by tenant and in catalogue order.
    async fn scopes(&self, tenant: Option<&TenantId>) -> Result<Vec<ScopeRow>>;

    /// Lists scopes without their digests, by tenant behind `after_tenant`, of at most `tenants_max` tenants, for lists
    /// of many thousands of scopes.
    async fn scope_heads(&self, after_tenant: Option<&TenantId>, tenants_max: usize) -> Result<Vec<ScopeHead>>;

    /// Reads the digests at the cursors of these scopes, in their order; none for a scope that was never acquired or
    /// whose digest cannot be read. Each has 2 KB: meant for a page of scopes.
    async fn digests(&self, scopes: &[Scope]) -> Result<Vec<Option<RollingDigest>>>;

    /// Counts the scopes of the database that stand out, and the open failures. Costs one pass over the scopes: meant
    /// for rare calls.
    async fn scope_counts(&self) -> Result<ScopeCounts>;

    /// Lists the digest checkpoints of a scope, newest first, at most `limit`.
    async fn checkpoints(&self, scope: &Scope, limit: usize) -> Result<Vec<Checkpoint>>;
}
