//! Tenants that have actors, and the way a wake reaches them.
//!
//! ```text
//!   wake ──▶ no actors? ──▶ starting ──▶ running ──idle for long──▶ leaving ──▶ no actors
//!                                                                     │ woken meanwhile: started again
//! ```
//!
//! *Guarantees.* Any number of tenants costs nothing while idle: a passivated tenant has no actor, no timer and no
//! query. At most [`crate::node::NodeBounds::tenants_max`] tenants run at a time; the others wait in a queue. Each
//! waiting tenant at once calls the tenant that is idle for longest, to make room ([`Room`]). A wake is remembered
//! until the coordinator has it.

use super::admission::Room;
use super::{CoordinatorMessage, TenantCell};
use crate::cluster::Whose;
use crate::node::{Shared, tenant_spec};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_supervision::{SupervisorError, SupervisorRef};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

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
    /// The tenant stays, and leaves when it is called.
    Rests,
    /// The tenant stays: it has something to do.
    Works,
}

/// The tenants of this node; one instance per node. Where two locks are held, `tenants` is taken first.
#[derive(Default)]
pub struct Scopes {
    tenants: Mutex<HashMap<TenantId, Slot>>,
    room: Mutex<Room<Arc<TenantCell>>>,
    /// Tenants whose scopes this node may own: started here and not handed over since.
    held: Mutex<HashSet<TenantId>>,
    supervisor: Mutex<Option<SupervisorRef>>,
}

impl Scopes {
    /// Attaches a new supervisor of tenants. The tenants of a former supervisor are gone.
    pub fn attach(&self, supervisor: SupervisorRef) {
        lock(&self.tenants).clear();
        *lock(&self.room) = Room::default();
        *lock(&self.supervisor) = Some(supervisor);
    }

    /// Returns the tenant's shared cell, if its actors run or are being started.
    pub fn cell(&self, tenant: &TenantId) -> Option<Arc<TenantCell>> {
        match lock(&self.tenants).get(tenant) {
            Some(Slot::Here(cell)) => Some(Arc::clone(cell)),
            _ => None,
        }
    }

    /// Counts the tenants that have actors, and the tenants that wait for room.
    pub fn count(&self) -> (usize, usize) {
        (lock(&self.tenants).len(), lock(&self.room).waiting())
    }

    /// True when the tenant waits for room.
    pub fn waits(&self, tenant: &TenantId) -> bool {
        lock(&self.room).waits(tenant)
    }

    /// Lists the tenants that wait for room.
    pub fn all_waiting(&self) -> Vec<TenantId> {
        lock(&self.room).all_waiting().cloned().collect()
    }

    /// Lists the cells of the tenants whose actors run or are being started.
    pub fn cells(&self) -> Vec<Arc<TenantCell>> {
        lock(&self.tenants)
            .values()
            .filter_map(|slot| match slot {
                Slot::Here(cell) => Some(Arc::clone(cell)),
                Slot::Leaving(..) => None,
            })
            .collect()
    }

    /// Lists the tenants whose scopes this node may own.
    pub fn held(&self) -> Vec<TenantId> {
        lock(&self.held).iter().cloned().collect()
    }

    /// Notes that these tenants were handed over.
    pub fn let_go(&self, tenants: &[TenantId]) {
        let mut held = lock(&self.held);
        tenants.iter().for_each(|tenant| {
            held.remove(tenant);
        });
    }

    /// True when the tenant has actors, also while they are on their way out.
    pub fn is_here(&self, tenant: &TenantId) -> bool {
        lock(&self.tenants).contains_key(tenant)
    }

    /// Tells the tenant that its log may be read up to `upto`; starts its actors when it has none. Leaves a tenant of
    /// another node to that node.
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
        let (start, called) = {
            let mut tenants = lock(&self.tenants);
            let full = tenants.len() >= shared.bounds.tenants_max;
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
                None if full => (None, lock(&self.room).wait(tenant, upto)),
                None => {
                    let cell = Arc::new(TenantCell::new(tenant.clone(), upto));
                    tenants.insert(tenant.clone(), Slot::Here(Arc::clone(&cell)));
                    lock(&self.held).insert(tenant.clone());
                    (Some(cell), None)
                }
            }
        };
        self.tell(called);
        if let Some(cell) = start {
            self.start(shared, cell);
        }
    }

    fn start(&self, shared: &Shared, cell: Arc<TenantCell>) {
        let Some(supervisor) = lock(&self.supervisor).clone() else {
            cell.start_ended();
            self.remove(&cell);
            return;
        };
        let shared = shared.clone();
        let supervisor = supervisor.with_deadline(TURN_MAX);
        tokio::spawn(async move {
            let id = crate::node::tenant_id(&cell.tenant);
            let spec = || tenant_spec(&shared, Arc::clone(&cell));
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
                shared.scopes.not_started(&shared, &cell);
            }
        });
    }

    /// Stops the actors of a tenant that is another node's from now on, and waits for the end. True when they are gone.
    pub async fn give_up(&self, shared: &Shared, tenant: &TenantId) -> bool {
        let Some(supervisor) = lock(&self.supervisor).clone() else { return false };
        let cell = {
            let mut tenants = lock(&self.tenants);
            match tenants.get_mut(tenant) {
                Some(slot @ Slot::Here(_)) => self.leaves(slot),
                Some(Slot::Leaving(..)) => return false,
                None => return true,
            }
        };
        // A task of its own: the caller may be gone before the stop has ended. Nothing else would end it.
        let shared = shared.clone();
        tokio::spawn(async move { stop(&shared, supervisor, &cell).await }).await.unwrap_or(false)
    }

    /// Marks the tenant as about to be stopped: a call of [`stop`] has to follow.
    fn leaves(&self, slot: &mut Slot) -> Arc<TenantCell> {
        let (Slot::Here(cell) | Slot::Leaving(cell, _)) = &*slot;
        let cell = Arc::clone(cell);
        lock(&self.room).leave(&cell.tenant);
        *slot = Slot::Leaving(Arc::clone(&cell), None);
        cell
    }

    /// Decides about a tenant whose workers have nothing to do. It leaves when it is `due` or room is wanted, else it
    /// rests. Called by its coordinator, which must not wait for the end.
    pub fn part(&self, shared: &Shared, cell: &Arc<TenantCell>, due: bool) -> Parting {
        let Some(supervisor) = lock(&self.supervisor).clone() else { return Parting::Works };
        let mark = shared.mark.borrow().mark;
        {
            let mut tenants = lock(&self.tenants);
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
            if !due && lock(&self.room).rests(&cell.tenant, || Arc::clone(cell)) {
                return Parting::Rests;
            }
            self.leaves(slot);
        }
        let (shared, cell) = (shared.clone(), Arc::clone(cell));
        tokio::spawn(async move { stop(&shared, supervisor, &cell).await });
        Parting::Leaves
    }

    /// Notes that the tenant has something to do: it does not rest.
    pub fn stir(&self, tenant: &TenantId) {
        lock(&self.room).stir(tenant);
    }

    /// Calls a resting tenant to leave, if room is wanted: the tenant called before cannot leave.
    pub fn make_room(&self) {
        let called = lock(&self.room).call();
        self.tell(called);
    }

    fn tell(&self, mut called: Option<Arc<TenantCell>>) {
        while let Some(cell) = called {
            let told = cell.coordinator().is_some_and(|it| it.cast(CoordinatorMessage::MakeRoom).is_ok());
            // A coordinator that is gone comes back with workers that have not gone quiet yet.
            called = if told { None } else { lock(&self.room).call() };
        }
    }

    /// Notes that the tenant's actors are gone. Waiting tenants come first, then the tenant itself if it was woken
    /// meanwhile.
    fn left(&self, shared: &Shared, cell: &Arc<TenantCell>) {
        let Some(slot) = self.remove(cell) else { return };
        self.next(shared);
        if let Slot::Leaving(_, Some(upto)) = slot {
            self.wake(shared, &cell.tenant, upto);
        }
        let called = lock(&self.room).left();
        self.tell(called);
    }

    fn not_started(&self, shared: &Shared, cell: &Arc<TenantCell>) {
        // A tenant that came up late and leaves already is removed when it has left.
        if self.cell(&cell.tenant).is_some_and(|own| Arc::ptr_eq(&own, cell)) && self.remove(cell).is_some() {
            self.next(shared);
        }
    }

    /// Forgets this life of the tenant, if it is still the present life.
    fn remove(&self, cell: &Arc<TenantCell>) -> Option<Slot> {
        let mut tenants = lock(&self.tenants);
        tenants.get(&cell.tenant).filter(|slot| slot.is_of(cell))?;
        tenants.remove(&cell.tenant)
    }

    /// Admits waiting tenants as long as there is room.
    fn next(&self, shared: &Shared) {
        loop {
            if lock(&self.tenants).len() >= shared.bounds.tenants_max {
                return;
            }
            let Some((tenant, upto)) = lock(&self.room).admit() else { return };
            self.wake(shared, &tenant, upto);
        }
    }
}

/// Stops the actors of a leaving tenant, and admits the next tenant. A leaving tenant that was woken meanwhile comes
/// back. True when its actors are gone.
async fn stop(shared: &Shared, supervisor: SupervisorRef, cell: &Arc<TenantCell>) -> bool {
    let supervisor = supervisor.with_deadline(TURN_MAX);
    let id = crate::node::tenant_id(&cell.tenant);
    cell.after_start().await;
    let stopped = supervisor.terminate_child(&id).await.is_ok();
    let gone = supervisor.delete_child(&id).await.is_ok() && stopped;
    if !gone {
        tracing::debug!(tenant = %cell.tenant, "a tenant's actors were stopped by a supervisor that was stopping");
    }
    shared.scopes.left(shared, cell);
    gone
}
