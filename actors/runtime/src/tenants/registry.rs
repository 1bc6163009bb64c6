//! Tenants that have actors, and the way a wake reaches them.
//!
//! ```text
//!   wake ──▶ no actors? ──▶ starting ──▶ running ──idle for long──▶ leaving ──▶ no actors
//!                                                                     │ woken meanwhile: started again
//! ```
//!
//! *Guarantees.* Any number of tenants costs nothing while idle: a passivated tenant has no actor, no timer and no
//! query. At most [`TenantsParts::tenants_max`] tenants run at a time; the others wait in the [`AdmissionQueue`]. Each
//! waiting tenant at once calls the tenant that is idle for longest, to make room. A wake is remembered until the
//! coordinator has it.

use super::admission::AdmissionQueue;
use super::{CoordinatorMessage, TenantCell, tenant_id};
use crate::board::{MarkState, PlacementTable, Whose};
use crate::children::Children;
use crate::signals::Signal;
use decisiongraph_projections::{LogSeq, Projection, TenantId};
use decisiongraph_supervision::{ChildSpec, SupervisorError, SupervisorRef};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// Longest wait for the supervisor of tenants. It starts and stops tenants one after the other: a thousand in line take
/// a minute.
const TURN_MAX: Duration = Duration::from_secs(600);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// State of a tenant on this node.
enum Slot {
    /// The tenant's actors run or are being started.
    Here(Arc<TenantCell>),
    /// The tenant's actors are being stopped. Holds the position up to which it was woken meanwhile.
    Leaving(Arc<TenantCell>, Option<LogSeq>),
}

impl Slot {
    /// True when the slot is the same life as this cell. A restart of the supervisor of tenants begins another life.
    fn is_of(&self, cell: &Arc<TenantCell>) -> bool {
        let (Slot::Here(own) | Slot::Leaving(own, _)) = self;
        Arc::ptr_eq(own, cell)
    }
}

/// Fate of a tenant whose workers went quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// The tenant's actors are being stopped.
    Leaves,
    /// The tenant stays parked, and leaves when it is called.
    Parks,
    /// The tenant stays: it has something to do.
    Works,
}

/// Specification of the actors of the tenant that this cell is for.
pub type TenantSpec = dyn Fn(&Tenants, &Arc<TenantCell>) -> ChildSpec + Send + Sync;

/// Facts by which a node's tenants come and go.
pub struct TenantsParts {
    /// Name of this node.
    pub node: String,
    /// Scopes of each tenant.
    pub scopes: &'static [&'static dyn Projection],
    /// Tenants that have actors at the same time, at most.
    pub tenants_max: usize,
    /// End of the log.
    pub mark: watch::Receiver<MarkState>,
    /// Node of each tenant.
    pub placement: PlacementTable,
    /// Signal that tenants appeared that the placement does not know.
    pub unplaced: Signal,
    /// Specification of a tenant's actors.
    pub spec: Box<TenantSpec>,
}

/// The tenants of this node. Cheap to clone; every clone has the same tenants.
#[derive(Clone)]
pub struct Tenants(Arc<Kept>);

/// See [`Tenants`]. Where two locks are held, `tenants` is taken first.
struct Kept {
    parts: TenantsParts,
    tenants: Mutex<HashMap<TenantId, Slot>>,
    queue: Mutex<AdmissionQueue<Arc<TenantCell>>>,
    /// Tenants whose scopes this node may own: started here and not handed over since.
    held: Mutex<HashSet<TenantId>>,
    children: Children,
}

impl Tenants {
    /// Makes the tenants of a node that is about to start: none has actors.
    pub fn new(parts: TenantsParts) -> Tenants {
        Tenants(Arc::new(Kept {
            parts,
            tenants: Mutex::default(),
            queue: Mutex::default(),
            held: Mutex::default(),
            children: Children::default(),
        }))
    }

    /// Attaches a new supervisor of tenants. The tenants of a former supervisor are gone.
    pub fn attach(&self, supervisor: SupervisorRef) {
        lock(&self.0.tenants).clear();
        *lock(&self.0.queue) = AdmissionQueue::default();
        self.0.children.attach(supervisor);
    }

    /// Returns the tenant's shared cell, if its actors run or are being started.
    pub fn cell(&self, tenant: &TenantId) -> Option<Arc<TenantCell>> {
        match lock(&self.0.tenants).get(tenant) {
            Some(Slot::Here(cell)) => Some(Arc::clone(cell)),
            _ => None,
        }
    }

    /// Returns a check that says if this node's workers have a tenant's scopes, or are woken for them. The check keeps
    /// no tenant.
    pub fn ours(&self) -> impl Fn(&TenantId) -> bool + Send + Sync + 'static {
        let kept = Arc::downgrade(&self.0);
        move |tenant| {
            let Some(kept) = kept.upgrade() else { return false };
            let parts = &kept.parts;
            match lock(&kept.tenants).get(tenant) {
                Some(Slot::Here(cell)) => cell.has_its_scopes(),
                _ => parts.placement.whose(&parts.node, tenant) == Whose::Ours,
            }
        }
    }

    /// Counts the tenants that have actors, and the tenants that wait for room.
    pub fn count(&self) -> (usize, usize) {
        (lock(&self.0.tenants).len(), lock(&self.0.queue).waiting())
    }

    /// True when the tenant waits for room.
    pub fn waits(&self, tenant: &TenantId) -> bool {
        lock(&self.0.queue).waits(tenant)
    }

    /// Lists the tenants that wait for room.
    pub fn all_waiting(&self) -> Vec<TenantId> {
        lock(&self.0.queue).all_waiting().cloned().collect()
    }

    /// Lists the cells of the tenants whose actors run or are being started.
    pub fn cells(&self) -> Vec<Arc<TenantCell>> {
        lock(&self.0.tenants)
            .values()
            .filter_map(|slot| match slot {
                Slot::Here(cell) => Some(Arc::clone(cell)),
                Slot::Leaving(..) => None,
            })
            .collect()
    }

    /// Lists the tenants whose scopes this node may own.
    pub fn held(&self) -> Vec<TenantId> {
        lock(&self.0.held).iter().cloned().collect()
    }

    /// Notes that these tenants were handed over.
    pub fn let_go(&self, tenants: &[TenantId]) {
        let mut held = lock(&self.0.held);
        tenants.iter().for_each(|tenant| {
            held.remove(tenant);
        });
    }

    /// True when the tenant has actors, also while they are on their way out.
    pub fn is_here(&self, tenant: &TenantId) -> bool {
        lock(&self.0.tenants).contains_key(tenant)
    }

    /// Lists the names of the scopes of each tenant.
    pub fn scope_names(&self) -> Vec<&'static str> {
        self.0.parts.scopes.iter().map(|scope| scope.name()).collect()
    }

    /// Tells the tenant that its log may be read up to `upto`; starts its actors when it has none. Leaves a tenant of
    /// another node to that node.
    pub fn wake(&self, tenant: &TenantId, upto: LogSeq) {
        let TenantsParts { node, scopes, placement, unplaced, tenants_max, .. } = &self.0.parts;
        match placement.whose(node, tenant) {
            Whose::Ours => {}
            Whose::Theirs(_) | Whose::Nobody => return,
            Whose::Unknown => {
                if placement.note_unplaced(tenant, upto) {
                    unplaced.send();
                }
                return;
            }
        }
        let (start, called) = {
            let mut tenants = lock(&self.0.tenants);
            let full = tenants.len() >= *tenants_max;
            match tenants.get_mut(tenant) {
                Some(Slot::Here(cell)) => {
                    cell.raise(upto);
                    if let Some(coordinator) = cell.coordinator() {
                        let _ = coordinator.cast(CoordinatorMessage::Wake);
                    }
                    (None, None)
                }
                Some(Slot::Leaving(_, woken)) => {
                    *woken = Some(woken.map_or(upto, |known| known.max(upto)));
                    (None, None)
                }
                None if full => (None, lock(&self.0.queue).wait(tenant, upto)),
                None => {
                    let cell = Arc::new(TenantCell::new(tenant.clone(), scopes, upto));
                    tenants.insert(tenant.clone(), Slot::Here(Arc::clone(&cell)));
                    lock(&self.0.held).insert(tenant.clone());
                    (Some(cell), None)
                }
            }
        };
        self.tell(called);
        if let Some(cell) = start {
            self.start(cell);
        }
    }

    fn start(&self, cell: Arc<TenantCell>) {
        let Some(supervisor) = self.0.children.supervisor() else {
            cell.start_ended();
            self.remove(&cell);
            return;
        };
        let tenants = self.clone();
        let supervisor = supervisor.with_deadline(TURN_MAX);
        tokio::spawn(async move {
            let id = tenant_id(&cell.tenant);
            let spec = || (tenants.0.parts.spec)(&tenants, &cell);
            let mut started = supervisor.start_child(spec()).await;
            if matches!(started, Err(SupervisorError::AlreadyStarted | SupervisorError::AlreadyPresent)) {
                // Left by an earlier life whose end was not seen: it has another cell, which no wake reaches.
                let _ = supervisor.terminate_child(&id).await;
                let _ = supervisor.delete_child(&id).await;
                started = supervisor.start_child(spec()).await;
            }
            cell.start_ended();
            if let Err(error) = started {
                // The next sweep tries again.
                tracing::warn!(tenant = %cell.tenant, "the tenant's actors were not started: {error}");
                tenants.not_started(&cell);
            }
        });
    }

    /// Stops the actors of a tenant that is another node's from now on, and waits for the end. True when they are gone.
    pub async fn give_up(&self, tenant: &TenantId) -> bool {
        let Some(supervisor) = self.0.children.supervisor() else { return false };
        let cell = {
            let mut tenants = lock(&self.0.tenants);
            match tenants.get_mut(tenant) {
                Some(slot @ Slot::Here(_)) => self.leaves(slot),
                Some(Slot::Leaving(..)) => return false,
                None => return true,
            }
        };
        // A task of its own: the caller may be gone before the stop has ended. Nothing else would end it.
        let tenants = self.clone();
        tokio::spawn(async move { tenants.stop(supervisor, &cell).await }).await.unwrap_or(false)
    }

    /// Marks the tenant as about to be stopped: a call of [`Tenants::stop`] has to follow.
    fn leaves(&self, slot: &mut Slot) -> Arc<TenantCell> {
        let (Slot::Here(cell) | Slot::Leaving(cell, _)) = &*slot;
        let cell = Arc::clone(cell);
        lock(&self.0.queue).leave(&cell.tenant);
        *slot = Slot::Leaving(Arc::clone(&cell), None);
        cell
    }

    /// Decides about a tenant whose workers have nothing to do. It leaves when it is `due` or room is wanted, else it
    /// is parked. Called by its coordinator, which must not wait for the end.
    pub fn leave_or_park(&self, cell: &Arc<TenantCell>, due: bool) -> Parting {
        let Some(supervisor) = self.0.children.supervisor() else { return Parting::Works };
        let mark = self.0.parts.mark.borrow().mark;
        {
            let mut tenants = lock(&self.0.tenants);
            let Some(slot) = tenants.get_mut(&cell.tenant).filter(|slot| slot.is_of(cell)) else {
                return Parting::Works;
            };
            if let Slot::Leaving(..) = slot {
                return Parting::Leaves;
            }
            // A wake that came after a worker went quiet is not lost: that worker is about to step.
            if !cell.is_done(mark) {
                return Parting::Works;
            }
            if !due && lock(&self.0.queue).parks(&cell.tenant, || Arc::clone(cell)) {
                return Parting::Parks;
            }
            self.leaves(slot);
        }
        let (tenants, cell) = (self.clone(), Arc::clone(cell));
        tokio::spawn(async move { tenants.stop(supervisor, &cell).await });
        Parting::Leaves
    }

    /// Notes that the tenant has something to do: it is not parked.
    pub fn unpark(&self, tenant: &TenantId) {
        lock(&self.0.queue).unpark(tenant);
    }

    /// Calls a parked tenant to leave, if room is wanted: the tenant called before cannot leave.
    pub fn make_room(&self) {
        let called = lock(&self.0.queue).call();
        self.tell(called);
    }

    fn tell(&self, mut called: Option<Arc<TenantCell>>) {
        while let Some(cell) = called {
            let told = cell.coordinator().is_some_and(|it| it.cast(CoordinatorMessage::MakeRoom).is_ok());
            // A coordinator that is gone comes back with workers that have not gone quiet yet.
            called = if told { None } else { lock(&self.0.queue).call() };
        }
    }

    /// Notes that the tenant's actors are gone. Waiting tenants come first, then the tenant itself if it was woken
    /// meanwhile.
    fn left(&self, cell: &Arc<TenantCell>) {
        let Some(slot) = self.remove(cell) else { return };
        self.next();
        if let Slot::Leaving(_, Some(upto)) = slot {
            self.wake(&cell.tenant, upto);
        }
        let called = lock(&self.0.queue).left();
        self.tell(called);
    }

    fn not_started(&self, cell: &Arc<TenantCell>) {
        // A tenant that came up late and leaves already is removed when it has left.
        if self.cell(&cell.tenant).is_some_and(|own| Arc::ptr_eq(&own, cell)) && self.remove(cell).is_some() {
            self.next();
        }
    }

    /// Forgets this life of the tenant, if it is still the present life.
    fn remove(&self, cell: &Arc<TenantCell>) -> Option<Slot> {
        let mut tenants = lock(&self.0.tenants);
        tenants.get(&cell.tenant).filter(|slot| slot.is_of(cell))?;
        tenants.remove(&cell.tenant)
    }

    /// Admits waiting tenants as long as there is room.
    fn next(&self) {
        loop {
            if lock(&self.0.tenants).len() >= self.0.parts.tenants_max {
                return;
            }
            let Some((tenant, upto)) = lock(&self.0.queue).admit() else { return };
            self.wake(&tenant, upto);
        }
    }

    /// Stops the actors of a leaving tenant, and admits the next tenant. A leaving tenant that was woken meanwhile
    /// comes back. True when its actors are gone.
    async fn stop(&self, supervisor: SupervisorRef, cell: &Arc<TenantCell>) -> bool {
        let supervisor = supervisor.with_deadline(TURN_MAX);
        let id = tenant_id(&cell.tenant);
        cell.after_start().await;
        let stopped = supervisor.terminate_child(&id).await.is_ok();
        let gone = supervisor.delete_child(&id).await.is_ok() && stopped;
        if !gone {
            tracing::debug!(tenant = %cell.tenant, "a tenant's actors were stopped by a supervisor that was stopping");
        }
        self.left(cell);
        gone
    }
}
