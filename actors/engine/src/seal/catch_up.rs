//! Catch-up of the seal, for commands that work on the database directly. In a node, workers and notary do it.

use super::sealer::Sealer;
use super::{Sealing, notary};
use crate::Engine;
use crate::mark::Mark;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_store::{Lease, Position, Result, Scope};
use std::sync::Arc;

impl Engine {
    /// Seals a tenant's log up to the mark, signs it and publishes it once, where sealing is on and no node does so.
    /// The seal is never in the way: its faults are logged, and the catch-up of the projections stands.
    pub(crate) async fn seal_behind(&self, tenant: &TenantId, mark: &Mark) {
        let Some(sealing) = self.sealing().filter(|_| !self.is_of_node()) else { return };
        let done = async {
            self.seal_upto(sealing, tenant, mark).await?;
            let log = sealing.unsigned().into_iter().find(|log| log.tenant == *tenant);
            if let Some(log) = log {
                notary::sign(&**self.store(), sealing, &log).await?;
            }
            notary::publish(&**self.store(), sealing).await;
            Ok(())
        };
        let done: Result<()> = done.await;
        if let Err(error) = done {
            tracing::warn!(%tenant, category = %error.category, "the log is not sealed up to its end: {}", error.message);
        }
    }

    /// Seals a tenant's log up to the mark. Returns the number of events.
    pub(crate) async fn seal_upto(&self, sealing: &Arc<Sealing>, tenant: &TenantId, mark: &Mark) -> Result<u64> {
        let (lease, position) = self.take(SEAL, &Scope::new(tenant, SEAL), mark).await?;
        let sealed = self.seal_under(sealing, lease.clone(), position, mark).await;
        // Best effort: a scope that is not released now is free when the lease is over.
        let _ = self.store().release_scope(&lease).await;
        sealed
    }

    async fn seal_under(&self, sealing: &Arc<Sealing>, lease: Lease, position: Position, mark: &Mark) -> Result<u64> {
        let store = &**self.store();
        let mut sealer = Sealer::begin(store, sealing, lease, position).await?;
        let (share, limit) = self.budget().batch(self.config(), self.config().batch_bytes_max);
        let _share = self.budget().work.hold(share).await;
        let log = store.view().await?;
        while sealer.step(store, sealing, &*log, mark.at, limit).await?.events > 0 {}
        Ok(sealer.events)
    }
}
