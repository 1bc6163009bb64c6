//! Queries that wait for a projection, and the way in which a cursor reaches them.
//!
//! ```text
//!   worker of this node ─────┐
//!                            ├─ moved ─▶ cursors of the tenant ─▶ each query whose position is reached
//!   look at the database ────┘
//! ```
//!
//! *Guarantees.* A query that waits asks the database nothing and holds no connection. The worker of a scope wakes it.
//! A tenant whose scopes another process has is looked at every [`LOOK_EVERY`], once for all queries that wait for it.
//! While no query waits, nothing is looked at.
//!
//! *Never here:* decisions about freshness. A query that is woken looks for itself.

use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_store::{Result, Store};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Pause between two looks at a scope that another process has.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Cursors of a tenant's projections that moved while queries waited.
type Cursors = BTreeMap<&'static str, LogSeq>;

/// Check that says if the workers of this process have the tenant's scopes, or are about to.
type Ours = Box<dyn Fn(&TenantId) -> bool + Send + Sync>;

/// The queries that wait. Cheap to clone; every clone has the same.
#[derive(Clone, Default)]
pub struct Waits(Arc<Table>);

#[derive(Default)]
struct Table {
    state: Mutex<State>,
    /// Number of queries that wait: a worker without any pays for one load.
    waiting: AtomicUsize,
    looks: AtomicU64,
    ours: OnceLock<Ours>,
}

#[derive(Default)]
struct State {
    tenants: HashMap<TenantId, watch::Sender<Cursors>>,
    /// True while a task looks.
    looking: bool,
}

impl Waits {
    /// Sets the check that says if the workers of this process have a tenant's scopes. Without one, no tenant is ours.
    pub fn know(&self, ours: impl Fn(&TenantId) -> bool + Send + Sync + 'static) {
        let _ = self.0.ours.set(Box::new(ours));
    }

    /// Tells the queries that wait for this tenant that a projection has committed up to this cursor.
    pub fn moved(&self, tenant: &TenantId, projection: &'static str, cursor: LogSeq) {
        if self.0.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(cursors) = self.state().tenants.get(tenant) {
            cursors.send_if_modified(|cursors| cursors.insert(projection, cursor) != Some(cursor));
        }
    }

    /// Waits for this tenant, for as long as the returned value is kept. What moved before is not told: look once after
    /// this call.
    pub fn begin(&self, store: &Arc<dyn Store>, tenant: &TenantId) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut state = self.state();
        let cursors = state.tenants.entry(tenant.clone()).or_default().subscribe();
        if !std::mem::replace(&mut state.looking, true) {
            tokio::spawn(look(self.clone(), Arc::clone(store)));
        }
        Waiting { waits: self.clone(), tenant: tenant.clone(), cursors }
    }

    /// Returns the number of queries that wait now.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// Returns the number of looks at the database so far.
    pub fn looks(&self) -> u64 {
        self.0.looks.load(Ordering::SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the tenants to look at. None when no query waits any more: then the task that looks has to end.
    fn foreign(&self) -> Option<Vec<TenantId>> {
        let mut state = self.state();
        if state.tenants.is_empty() {
            state.looking = false;
            return None;
        }
        let ours = |tenant: &&TenantId| self.0.ours.get().is_some_and(|ours| ours(tenant));
        Some(state.tenants.keys().filter(|tenant| !ours(tenant)).cloned().collect())
    }

    async fn look_at(&self, store: &dyn Store, tenant: &TenantId) -> Result<()> {
        self.0.looks.fetch_add(1, Ordering::SeqCst);
        for row in store.view().await?.scopes(Some(tenant)).await? {
            self.moved(tenant, row.scope.projection, row.position.cursor);
        }
        Ok(())
    }
}

/// Looks at the tenants that other processes have, as long as queries wait.
async fn look(waits: Waits, store: Arc<dyn Store>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(tenants) = waits.foreign() else { return };
        for tenant in tenants {
            // A query that waits looks once more at its end, whatever happens here.
            if let Err(error) = waits.look_at(&*store, &tenant).await {
                tracing::debug!(category = %error.category, "the cursors of {tenant} are not known: {}", error.message);
            }
        }
    }
}

/// A query that waits.
pub struct Waiting {
    waits: Waits,
    tenant: TenantId,
    cursors: watch::Receiver<Cursors>,
}

impl Waiting {
    /// Waits until each of these projections was told to have committed this position.
    pub async fn reached(&mut self, projections: &[&'static str], position: LogSeq) {
        let reached = |cursors: &Cursors| {
            projections.iter().all(|name| cursors.get(name).is_some_and(|cursor| *cursor >= position))
        };
        if self.cursors.wait_for(reached).await.is_err() {
            // Nothing is told any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.waits.state();
        if state.tenants.get(&self.tenant).is_some_and(|cursors| cursors.receiver_count() == 1) {
            state.tenants.remove(&self.tenant);
        }
        drop(state);
        self.waits.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
