//! Processes with their leases, and the cluster's members.

use crate::{Member, MemberFacts, Owner, Result};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;
use std::time::Duration;

/// Renews and ends the leases of processes, and records the operators' orders for nodes. The database's clock decides.
/// The placement of tenants is decided elsewhere, and safety never relies on it.
#[async_trait]
pub trait Members {
    /// Declares that this process is alive for `ttl` from now, on the database's clock. First call and renewal are
    /// alike. `fenced` when another incarnation lives under the same name. A clock that is set back ends the leases
    /// that were given under the time before. Leases with no more than twice their `ttl` left remain. A live process
    /// renews its own.
    async fn heartbeat(&self, owner: &Owner, ttl: Duration) -> Result<()>;

    /// Sends the heartbeat of a node: [`Members::heartbeat`], and the facts that the other nodes need. Nodes that died
    /// more than a day ago are forgotten.
    async fn join(&self, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()>;

    /// Gives up everything this process holds, whatever its number. Its scopes then have no owner, and it is no member.
    async fn leave(&self, owner: &Owner) -> Result<()>;

    /// Ends the lease of another process that is known to be gone. Its scopes then have no owner. It stays among the
    /// members, as a dead one, until it returns or is forgotten. If it is alive after all, its next heartbeat restores
    /// its lease.
    async fn bury(&self, owner: &Owner) -> Result<()>;

    /// Forgets a dead node, and the operators' orders for it. False when no dead node has this name.
    async fn forget(&self, node: &str) -> Result<bool>;

    /// Ends the leases of processes of this machine that are known to be gone ([`process::is_gone`]). Their successors
    /// then need not wait. Returns the owners of these leases.
    ///
    /// [`process::is_gone`]: crate::process::is_gone
    async fn end_leases_of_the_dead(&self) -> Result<Vec<Owner>>;

    /// Gives up this process's scopes of these tenants, after all its workers have left them: leases that still exist
    /// become void. Waits for commits that are under way. Returns the number of scopes.
    async fn hand_over(&self, owner: &Owner, tenants: &[TenantId]) -> Result<u64>;

    /// Records, durably and by name, that a node takes no more tenants. With `draining` it also gives away the tenants
    /// it has. The latest call counts.
    async fn cordon(&self, node: &str, draining: bool, reason: &str, by: &str) -> Result<()>;

    /// Ends the cordon. Not an error when there is none.
    async fn uncordon(&self, node: &str) -> Result<()>;
}

/// Reads members.
#[async_trait]
pub trait ReadMembers {
    /// Lists every node that joined and has not left, by name, including the dead nodes of the last day.
    async fn members(&self) -> Result<Vec<Member>>;

    /// Lists the tenants with a scope that this process owns. Reads every scope: meant for rare changes, not for
    /// polling.
    async fn tenants_of(&self, owner: &Owner) -> Result<Vec<TenantId>>;
}
