//! Gives away tenants that belong to another node now, a few at a time.
//!
//! ```text
//!   held, not ours ──▶ actors run? ──yes──▶ stopped (each finishes its batch) ──▶ handed over ──▶ next owner takes it
//!                          └──no──▶ handed over with many others in one statement ───┘
//! ```
//!
//! *Guarantees.* A tenant is handed over after its actors have stopped. A tenant that became ours again meanwhile
//! stays. An interruption half-way loses nothing: a worker whose lease was voided is fenced, and takes the scope anew.

use crate::cluster::Whose;
use crate::node::Shared;
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
pub async fn run(shared: Shared) {
    loop {
        let lost = lost(&shared);
        shared.places.set_moving(lost.len());
        if lost.is_empty() {
            return;
        }
        shared.database.up().await;
        if let Err(error) = give_away(&shared, lost).await {
            shared.database.suspect(&error);
            tracing::debug!(category = %error.category, "tenants were not handed over: {}", error.message);
            tokio::time::sleep(AGAIN).await;
        } else if shared.places.moving() > 0 {
            // The remaining tenants were on their way out by themselves.
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn lost(shared: &Shared) -> Vec<TenantId> {
    let held = shared.scopes.held();
    held.into_iter().filter(|tenant| is_lost(shared, tenant)).collect()
}

fn is_lost(shared: &Shared, tenant: &TenantId) -> bool {
    matches!(shared.places.whose(&shared.owner.node, tenant), Whose::Theirs(_) | Whose::Nobody)
}

async fn give_away(shared: &Shared, lost: Vec<TenantId>) -> StoreResult<()> {
    let (running, idle): (Vec<_>, Vec<_>) = lost.into_iter().partition(|tenant| shared.scopes.is_here(tenant));
    for tenants in idle.chunks(HAND_OVER_MAX) {
        hand_over(shared, tenants).await?;
    }
    let mut stopped = stream::iter(running)
        .map(|tenant| async move {
            let gone = is_lost(shared, &tenant) && shared.scopes.give_up(shared, &tenant).await;
            if gone { hand_over(shared, &[tenant]).await } else { Ok(()) }
        })
        .buffer_unordered(STOPS_MAX);
    while let Some(done) = stopped.next().await {
        done?;
    }
    Ok(())
}

async fn hand_over(shared: &Shared, tenants: &[TenantId]) -> StoreResult<()> {
    let tenants: Vec<TenantId> = tenants.iter().filter(|tenant| is_lost(shared, tenant)).cloned().collect();
    if tenants.is_empty() {
        return Ok(());
    }
    shared.store.hand_over(&shared.owner, &tenants).await?;
    shared.scopes.let_go(&tenants);
    tracing::info!(
        tenants = tenants.len(),
        first = tenants[0].as_str(),
        "handed tenants over: they are other nodes' now"
    );
    // The next owner checks again within a second by itself.
    shared.links.tell_all(&Notice::Released { tenants: tenants.clone() });
    shared.places.set_moving(shared.places.moving().saturating_sub(tenants.len()));
    Ok(())
}
