//! Catch-up of the seal, for commands that work on the database directly. In a node, workers and notary do it.

use super::sealer::Sealer;
use super::{Sealing, notary};
use crate::mark::Mark;
use crate::{Budget, Engine};
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_store::{Lease, Position, Result, Scope};
use std::sync::Arc;
use tokio::sync::watch;

impl Engine {
    /// Seals a tenant's log up to the mark, beside the projections, signs it and publishes it once, where sealing is
    /// on and no node does so. Ends early when it is told to stop. The seal is never in the way: its faults are logged,
    /// and the catch-up of the projections stands.
    pub(crate) async fn seal_beside(&self, tenant: &TenantId, mark: &Mark, stop: watch::Receiver<bool>) {
        let Some(sealing) = self.sealing().filter(|_| !self.is_of_node()) else { return };
        let done = async {
            self.seal_until(sealing, tenant, mark, &stop).await?;
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
        let (_never, stop) = watch::channel(false);
        self.seal_until(sealing, tenant, mark, &stop).await
    }

    async fn seal_until(
        &self,
        sealing: &Arc<Sealing>,
        tenant: &TenantId,
        mark: &Mark,
        stop: &watch::Receiver<bool>,
    ) -> Result<u64> {
        let scope = Scope::new(tenant, SEAL);
        // A claim may wait for a lease. What is claimed and given up here is free when the lease is over.
        let (lease, position) = tokio::select! {
            taken = self.take(SEAL, &scope, mark) => taken?,
            () = stopped(stop.clone()) => return Ok(0),
        };
        let sealed = self.seal_under(sealing, lease.clone(), position, mark, stop).await;
        // Best effort: a scope that is not released now is free when the lease is over.
        let _ = self.store().release_scope(&lease).await;
        sealed
    }

    async fn seal_under(
        &self,
        sealing: &Arc<Sealing>,
        lease: Lease,
        position: Position,
        mark: &Mark,
        stop: &watch::Receiver<bool>,
    ) -> Result<u64> {
        let store = &**self.store();
        let mut sealer = Sealer::begin(store, sealing, lease, position).await?;
        let (share_bytes, limit) = self.budget().batch(self.config(), self.config().batch_bytes_max);
        let log = store.view().await?;
        loop {
            // Held for one page: the projections beside it may wait for a large share.
            let mut share = self.budget().work.hold(share_bytes).await;
            let mut page = sealer.page(&*log, mark.at, limit).await?;
            let cost = Budget::batch_cost(page.bytes());
            if !self.budget().work.try_grow(&mut share, cost) {
                // A single event may be larger than a page.
                drop((page, share));
                share = self.budget().work.hold(cost).await;
                page = sealer.page(&*log, mark.at, limit).await?;
            }
            let sealed = sealer.seal(store, sealing, page).await?.events;
            drop(share);
            if sealed == 0 || *stop.borrow() {
                return Ok(sealer.events);
            }
        }
    }
}

/// Waits until it is told to stop; forever when it is not.
async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}
