//! Gives away tenants that belong to another node now, a few at a time.
//!
//! ```text
//!   held, not ours ──▶ actors run? ──yes──▶ stopped (each finishes its batch) ──▶ handed over ──▶ next owner takes it
//!                          └──no──▶ handed over with many others in one statement ───┘
//! ```
//!
//! *Guarantees.* A tenant is handed over after its actors have stopped. A tenant that became ours again meanwhile
//! stays. An interruption half-way loses nothing: a worker whose lease was voided is fenced, and takes the scope anew.

use super::ClusterParts;
use crate::board::Whose;
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::Notice;
use decisiongraph_store::Result as StoreResult;
use futures_util::StreamExt as _;
use futures_util::stream;
use std::time::Duration;

/// Tenants whose actors are stopped at a time.
const STOPS_MAX: usize = 8;
/// Idle tenants per statement that hands over.
const HAND_OVER_MAX: usize = 500;
/// Pause after a fault, and between two checks of tenants that are still on their way out.
const AGAIN: Duration = Duration::from_millis(200);

/// Runs until no tenant is left to give away.
pub async fn run(parts: ClusterParts) {
    loop {
        let lost = lost(&parts);
        parts.placement.note_moving(lost.len());
        if lost.is_empty() {
            return;
        }
        parts.database.up().await;
        if let Err(error) = give_away(&parts, lost).await {
            parts.database.suspect(&error);
            tracing::debug!(category = %error.category, "tenants were not handed over: {}", error.message);
            tokio::time::sleep(AGAIN).await;
        } else if parts.placement.moving() > 0 {
            // The remaining tenants were on their way out by themselves.
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn lost(parts: &ClusterParts) -> Vec<TenantId> {
    let held = parts.tenants.held();
    held.into_iter().filter(|tenant| is_lost(parts, tenant)).collect()
}

fn is_lost(parts: &ClusterParts, tenant: &TenantId) -> bool {
    matches!(parts.placement.whose(&parts.owner.node, tenant), Whose::Theirs(_) | Whose::Nobody)
}

async fn give_away(parts: &ClusterParts, lost: Vec<TenantId>) -> StoreResult<()> {
    let (running, idle): (Vec<_>, Vec<_>) = lost.into_iter().partition(|tenant| parts.tenants.is_here(tenant));
    for tenants in idle.chunks(HAND_OVER_MAX) {
        hand_over(parts, tenants).await?;
    }
    let mut stopped = stream::iter(running)
        .map(|tenant| async move {
            let gone = is_lost(parts, &tenant) && parts.tenants.give_up(&tenant).await;
            if gone { hand_over(parts, &[tenant]).await } else { Ok(()) }
        })
        .buffer_unordered(STOPS_MAX);
    while let Some(done) = stopped.next().await {
        done?;
    }
    Ok(())
}

async fn hand_over(parts: &ClusterParts, tenants: &[TenantId]) -> StoreResult<()> {
    let tenants: Vec<TenantId> = tenants.iter().filter(|tenant| is_lost(parts, tenant)).cloned().collect();
    if tenants.is_empty() {
        return Ok(());
    }
    parts.store.hand_over(&parts.owner, &tenants).await?;
    parts.tenants.let_go(&tenants);
    tracing::info!(
        tenants = tenants.len(),
        first = tenants[0].as_str(),
        "handed tenants over: other nodes own them now"
    );
    // The next owner checks again within a second by itself.
    parts.links.tell_all(&Notice::Released { tenants: tenants.clone() });
    parts.placement.note_moving(parts.placement.moving().saturating_sub(tenants.len()));
    Ok(())
}
