//! Which tenants have actors, and how a wake reaches them.
//!
//! ```text
//!   wake ──▶ nobody there? ──▶ starting ──▶ running ──idle for long──▶ leaving ──▶ nobody there
//!                                                                        │ woken meanwhile: started again
//! ```
//!
//! *Guarantees.* Any number of tenants costs nothing while idle: a passivated tenant is no actor, no timer and no query. At most
//! [`crate::node::NodeBounds::tenants_max`] tenants run at a time; the others wait in a queue and the idle ones make room. A wake is
//! remembered until the coordinator has it.

use crate::cluster::Whose;
use crate::coordinator::CoordinatorMessage;
use crate::engine::page::Page;
use crate::node::{Shared, tenant_spec};
use crate::supervision::{Address, SupervisorError, SupervisorRef};
use crate::worker::{LiveScope, Phase, WorkerMessage};
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use decisiongraph_store::{PageLimit, ReadView, Result as StoreResult};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Pages that a tenant's workers share at most: they stand close to each other or not at all.
const PAGES_MAX: usize = 3;
/// Longest wait for the supervisor of tenants, which starts and stops them one after the other: with a thousand in line, a minute.
const TURN_MAX: Duration = Duration::from_secs(600);

/// A tenant whose actors run: what they share.
pub struct TenantCell {
    /// Whose.
    pub tenant: TenantId,
    /// The last event that is known to be safe to read.
    target: AtomicI64,
    /// Pages that a worker read last: those behind it need not read them again.
    pages: tokio::sync::Mutex<VecDeque<(u64, Arc<Page>)>>,
    /// By place in the catalogue.
    workers: Mutex<Vec<Option<Address<WorkerMessage>>>>,
    live: Mutex<Vec<LiveScope>>,
    coordinator: Mutex<Option<Address<CoordinatorMessage>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl TenantCell {
    fn new(tenant: TenantId, target: LogSeq) -> TenantCell {
        TenantCell {
            tenant,
            target: AtomicI64::new(target.0),
            pages: Default::default(),
            workers: Mutex::new(vec![None; catalogue::ALL.len()]),
            live: Mutex::new(vec![LiveScope::default(); catalogue::ALL.len()]),
            coordinator: Default::default(),
        }
    }

    /// How far the log may be read.
    pub fn target(&self) -> LogSeq {
        LogSeq(self.target.load(Ordering::SeqCst))
    }

    /// The log may be read this far.
    pub fn raise(&self, target: LogSeq) {
        self.target.fetch_max(target.0, Ordering::SeqCst);
    }

    /// The worker of the projection at this place.
    pub fn worker(&self, place: usize) -> Option<Address<WorkerMessage>> {
        lock(&self.workers).get(place).cloned().flatten()
    }

    /// Notes who works at this place.
    pub fn set_worker(&self, place: usize, worker: Option<Address<WorkerMessage>>) {
        if let Some(slot) = lock(&self.workers).get_mut(place) {
            *slot = worker;
        }
    }

    /// Notes who answers for the tenant.
    pub fn set_coordinator(&self, coordinator: Address<CoordinatorMessage>) {
        *lock(&self.coordinator) = Some(coordinator);
    }

    /// Who answers for the tenant.
    pub fn coordinator(&self) -> Option<Address<CoordinatorMessage>> {
        lock(&self.coordinator).clone()
    }

    /// What the worker at this place is doing.
    pub fn live(&self, place: usize) -> LiveScope {
        lock(&self.live).get(place).cloned().unwrap_or_default()
    }

    /// Whether no idle worker has a wake that it has not heeded yet.
    fn is_done(&self) -> bool {
        let target = self.target();
        lock(&self.live).iter().all(|live| live.phase != Phase::Idle || live.cursor >= target)
    }

    /// Changes what is shown of the worker at this place.
    pub fn show(&self, place: usize, change: impl FnOnce(&mut LiveScope)) {
        if let Some(live) = lock(&self.live).get_mut(place) {
            change(live);
        }
    }

    /// The page behind `after`: the one that another worker has just read, or a new one. One worker reads at a time.
    pub async fn page(
        &self,
        log: &dyn ReadView,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
        era: u64,
    ) -> StoreResult<Arc<Page>> {
        let mut pages = self.pages.lock().await;
        if let Some((_, page)) = pages.iter().find(|(of, page)| *of == era && page.after == after && page.end() <= upto)
        {
            return Ok(Arc::clone(page));
        }
        let page = Arc::new(Page::read(log, &self.tenant, after, upto, limit, &BTreeSet::new()).await?);
        // A page with a poison event is not kept: the event's cause may be mended any time.
        if !page.is_empty() && page.poison.is_none() {
            pages.push_back((era, Arc::clone(&page)));
            if pages.len() > PAGES_MAX {
                pages.pop_front();
            }
        }
        Ok(page)
    }

    /// Forgets the pages: nobody needs them for a while.
    pub fn forget_pages(&self) {
        if let Ok(mut pages) = self.pages.try_lock() {
            pages.clear();
        }
    }
}

/// Where a tenant stands.
enum Slot {
    /// Its actors run or are being started.
    Here(Arc<TenantCell>),
    /// Its actors are being stopped; woken meanwhile up to here.
    Leaving(Option<LogSeq>),
}

/// The tenants of this node. One a node.
#[derive(Default)]
pub struct Scopes {
    tenants: Mutex<HashMap<TenantId, Slot>>,
    /// Tenants that wait for room, in the order in which they were woken.
    queue: Mutex<VecDeque<TenantId>>,
    waiting: Mutex<HashMap<TenantId, LogSeq>>,
    /// Tenants whose scopes this node may own: started here and not handed over since.
    held: Mutex<HashSet<TenantId>>,
    supervisor: Mutex<Option<SupervisorRef>>,
}

impl Scopes {
    /// A new supervisor of tenants: those of a former one are gone.
    pub fn attach(&self, supervisor: SupervisorRef) {
        lock(&self.tenants).clear();
        lock(&self.queue).clear();
        lock(&self.waiting).clear();
        *lock(&self.supervisor) = Some(supervisor);
    }

    /// The tenant's shared cell, if its actors run.
    pub fn cell(&self, tenant: &TenantId) -> Option<Arc<TenantCell>> {
        match lock(&self.tenants).get(tenant) {
            Some(Slot::Here(cell)) => Some(Arc::clone(cell)),
            _ => None,
        }
    }

    /// Tenants whose actors run, and tenants that wait for room.
    pub fn count(&self) -> (usize, usize) {
        (lock(&self.tenants).len(), lock(&self.waiting).len())
    }

    /// Whether the tenant waits for room.
    pub fn waits(&self, tenant: &TenantId) -> bool {
        lock(&self.waiting).contains_key(tenant)
    }

    /// Whether tenants wait for room: then the idle ones leave at once.
    pub fn crowded(&self) -> bool {
        !lock(&self.waiting).is_empty()
    }

    /// Every tenant whose actors run.
    pub fn cells(&self) -> Vec<Arc<TenantCell>> {
        lock(&self.tenants)
            .values()
            .filter_map(|slot| match slot {
                Slot::Here(cell) => Some(Arc::clone(cell)),
                Slot::Leaving(_) => None,
            })
            .collect()
    }

    /// The tenants whose scopes this node may own.
    pub fn held(&self) -> Vec<TenantId> {
        lock(&self.held).iter().cloned().collect()
    }

    /// These were handed over.
    pub fn let_go(&self, tenants: &[TenantId]) {
        let mut held = lock(&self.held);
        tenants.iter().for_each(|tenant| {
            held.remove(tenant);
        });
    }

    /// Whether the tenant has actors, be it that they are on their way out.
    pub fn is_here(&self, tenant: &TenantId) -> bool {
        lock(&self.tenants).contains_key(tenant)
    }

    /// Tells the tenant that its log may be read up to `upto`; starts its actors when there are none. Another node's tenant is left to it.
    pub fn wake(&self, shared: &Shared, tenant: &TenantId, upto: LogSeq) {
        match shared.places.whose(&shared.owner.node, tenant) {
            Whose::Ours => {}
            Whose::Theirs(_) | Whose::Nobody => return,
            Whose::Unknown => {
                if shared.places.note_unplaced(tenant, upto) {
                    shared.place_tenants();
                }
                return;
            }
        }
        let start = {
            let mut tenants = lock(&self.tenants);
            let full = tenants.len() >= shared.bounds.tenants_max;
            match tenants.get_mut(tenant) {
                Some(Slot::Here(cell)) => {
                    cell.raise(upto);
                    if let Some(coordinator) = cell.coordinator() {
                        let _ = coordinator.cast(CoordinatorMessage::Wake);
                    }
                    None
                }
                Some(Slot::Leaving(woken)) => {
                    *woken = Some(woken.map_or(upto, |known| known.max(upto)));
                    None
                }
                None if full => {
                    let mut waiting = lock(&self.waiting);
                    if waiting.insert(tenant.clone(), upto).is_none() {
                        lock(&self.queue).push_back(tenant.clone());
                    }
                    None
                }
                None => {
                    let cell = Arc::new(TenantCell::new(tenant.clone(), upto));
                    tenants.insert(tenant.clone(), Slot::Here(Arc::clone(&cell)));
                    lock(&self.held).insert(tenant.clone());
                    Some(cell)
                }
            }
        };
        if let Some(cell) = start {
            self.start(shared, cell);
        }
    }

    fn start(&self, shared: &Shared, cell: Arc<TenantCell>) {
        let Some(supervisor) = lock(&self.supervisor).clone() else {
            lock(&self.tenants).remove(&cell.tenant);
            return;
        };
        let shared = shared.clone();
        let supervisor = supervisor.with_deadline(TURN_MAX);
        tokio::spawn(async move {
            let (tenant, id) = (cell.tenant.clone(), crate::node::tenant_id(&cell.tenant));
            let mut started = supervisor.start_child(tenant_spec(&shared, Arc::clone(&cell))).await;
            if matches!(started, Err(SupervisorError::AlreadyStarted | SupervisorError::AlreadyPresent)) {
                // Left by an earlier life that was not seen to end: it has another cell, which nobody wakes.
                let _ = supervisor.terminate_child(&id).await;
                let _ = supervisor.delete_child(&id).await;
                started = supervisor.start_child(tenant_spec(&shared, cell)).await;
            }
            if let Err(error) = started {
                // The next sweep tries again.
                tracing::warn!(%tenant, "the tenant's actors were not started: {error}");
                lock(&shared.scopes.tenants).remove(&tenant);
                shared.scopes.next(&shared);
            }
        });
    }

    /// Stops the tenant's actors, which are another node's from now on, and waits for it. Whether they are gone.
    pub async fn give_up(&self, shared: &Shared, tenant: &TenantId) -> bool {
        let Some(supervisor) = lock(&self.supervisor).clone() else { return false };
        match lock(&self.tenants).get_mut(tenant) {
            Some(slot @ Slot::Here(_)) => *slot = Slot::Leaving(None),
            Some(Slot::Leaving(_)) => return false,
            None => return true,
        }
        // A task of its own: whoever waits may be gone before it has ended, and nobody else would end it.
        let (shared, tenant) = (shared.clone(), tenant.clone());
        tokio::spawn(async move { stop(&shared, supervisor, &tenant).await }).await.unwrap_or(false)
    }

    /// Stops the tenant's actors: they have nothing to do. Called by its coordinator, which must not wait for it.
    pub fn leave(&self, shared: &Shared, cell: &Arc<TenantCell>) {
        let Some(supervisor) = lock(&self.supervisor).clone() else { return };
        {
            let mut tenants = lock(&self.tenants);
            match tenants.get_mut(&cell.tenant) {
                // A wake that came after a worker went quiet is not lost: that worker is about to step.
                Some(Slot::Here(_)) if !cell.is_done() => return,
                Some(slot @ Slot::Here(_)) => *slot = Slot::Leaving(None),
                _ => return,
            }
        }
        let (shared, tenant) = (shared.clone(), cell.tenant.clone());
        tokio::spawn(async move { stop(&shared, supervisor, &tenant).await });
    }

    /// Lets the tenants in that wait, as far as there is room.
    fn next(&self, shared: &Shared) {
        loop {
            if lock(&self.tenants).len() >= shared.bounds.tenants_max {
                return;
            }
            let Some(tenant) = lock(&self.queue).pop_front() else { return };
            let woken = lock(&self.waiting).remove(&tenant);
            if let Some(upto) = woken {
                self.wake(shared, &tenant, upto);
            }
        }
    }
}

/// Stops the actors of a tenant that is leaving, and lets the next one in. Woken meanwhile, it comes back. Whether they are gone.
async fn stop(shared: &Shared, supervisor: SupervisorRef, tenant: &TenantId) -> bool {
    let supervisor = supervisor.with_deadline(TURN_MAX);
    let id = crate::node::tenant_id(tenant);
    let stopped = supervisor.terminate_child(&id).await.is_ok();
    let gone = supervisor.delete_child(&id).await.is_ok() && stopped;
    let slot = lock(&shared.scopes.tenants).remove(tenant);
    if let Some(Slot::Leaving(Some(upto))) = slot {
        shared.scopes.wake(shared, tenant, upto);
    } else if !gone {
        tracing::debug!(%tenant, "a tenant's actors were stopped by a supervisor that was stopping");
    }
    shared.scopes.next(shared);
    gone
}
