//! Which tenants have actors, and how a wake reaches them.
//!
//! ```text
//!   wake ──▶ nobody there? ──▶ starting ──▶ running ──idle for long──▶ leaving ──▶ nobody there
//!                                                                        │ woken meanwhile: started again
//! ```
//!
//! *Guarantees.* Any number of tenants costs nothing while idle: a passivated tenant is no actor, no timer and no query. At most
//! [`crate::node::NodeBounds::tenants_max`] tenants run at a time; the others wait in a queue, and each of them has the one that is
//! idle for longest make room at once ([`Room`]). A wake is remembered until the coordinator has it.

use crate::cluster::Whose;
use crate::coordinator::CoordinatorMessage;
use crate::node::{Shared, tenant_spec};
use crate::room::Room;
use crate::tenant_cell::TenantCell;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_supervision::{SupervisorError, SupervisorRef};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Longest wait for the supervisor of tenants, which starts and stops them one after the other: with a thousand in line, a minute.
const TURN_MAX: Duration = Duration::from_secs(600);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Where a tenant stands.
enum Slot {
    /// Its actors run or are being started.
    Here(Arc<TenantCell>),
    /// Its actors are being stopped; woken meanwhile up to here.
    Leaving(Arc<TenantCell>, Option<LogSeq>),
}

impl Slot {
    /// Whether it is the life that this cell belongs to: after a restart of the supervisor of tenants there is another.
    fn is_of(&self, cell: &Arc<TenantCell>) -> bool {
        let (Slot::Here(own) | Slot::Leaving(own, _)) = self;
        Arc::ptr_eq(own, cell)
    }
}

/// What becomes of a tenant whose workers went quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Its actors are being stopped.
    Leaves,
    /// It stays, and leaves when it is called.
    Rests,
    /// It stays: it has something to do.
    Works,
}

/// The tenants of this node. One a node. Where two locks are held, `tenants` is taken first.
#[derive(Default)]
pub struct Scopes {
    tenants: Mutex<HashMap<TenantId, Slot>>,
    room: Mutex<Room<Arc<TenantCell>>>,
    /// Tenants whose scopes this node may own: started here and not handed over since.
    held: Mutex<HashSet<TenantId>>,
    supervisor: Mutex<Option<SupervisorRef>>,
}

impl Scopes {
    /// A new supervisor of tenants: those of a former one are gone.
    pub fn attach(&self, supervisor: SupervisorRef) {
        lock(&self.tenants).clear();
        *lock(&self.room) = Room::default();
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
        (lock(&self.tenants).len(), lock(&self.room).waiting())
    }

    /// Whether the tenant waits for room.
    pub fn waits(&self, tenant: &TenantId) -> bool {
        lock(&self.room).waits(tenant)
    }

    /// Tenants that wait for room.
    pub fn all_waiting(&self) -> Vec<TenantId> {
        lock(&self.room).all_waiting().cloned().collect()
    }

    /// Every tenant whose actors run.
    pub fn cells(&self) -> Vec<Arc<TenantCell>> {
        lock(&self.tenants)
            .values()
            .filter_map(|slot| match slot {
                Slot::Here(cell) => Some(Arc::clone(cell)),
                Slot::Leaving(..) => None,
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
                // Left by an earlier life that was not seen to end: it has another cell, which nobody wakes.
                let _ = supervisor.terminate_child(&id).await;
                let _ = supervisor.delete_child(&id).await;
                started = supervisor.start_child(spec()).await;
            }
            if let Err(error) = started {
                // The next sweep tries again.
                tracing::warn!(tenant = %cell.tenant, "the tenant's actors were not started: {error}");
                shared.scopes.not_started(&shared, &cell);
            }
        });
    }

    /// Stops the tenant's actors, which are another node's from now on, and waits for it. Whether they are gone.
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
        // A task of its own: whoever waits may be gone before it has ended, and nobody else would end it.
        let shared = shared.clone();
        tokio::spawn(async move { stop(&shared, supervisor, &cell).await }).await.unwrap_or(false)
    }

    /// The tenant is about to be stopped: [`stop`] has to follow.
    fn leaves(&self, slot: &mut Slot) -> Arc<TenantCell> {
        let (Slot::Here(cell) | Slot::Leaving(cell, _)) = &*slot;
        let cell = Arc::clone(cell);
        lock(&self.room).leave(&cell.tenant);
        *slot = Slot::Leaving(Arc::clone(&cell), None);
        cell
    }

    /// The tenant's workers have nothing to do: it leaves when it is `due` or when somebody waits for room, else it rests. Called by
    /// its coordinator, which must not wait for the end.
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

    /// The tenant has something to do: it does not rest.
    pub fn stir(&self, tenant: &TenantId) {
        lock(&self.room).stir(tenant);
    }

    /// Has somebody leave, if room is wanted: whoever was called before cannot.
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

    /// The tenant's actors are gone: those that wait come first, then the tenant itself when it was woken meanwhile.
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
        // One that came up late and leaves already is gone when it has left.
        if self.cell(&cell.tenant).is_some_and(|own| Arc::ptr_eq(&own, cell)) && self.remove(cell).is_some() {
            self.next(shared);
        }
    }

    /// Forgets this life of the tenant, if it is still the present one.
    fn remove(&self, cell: &Arc<TenantCell>) -> Option<Slot> {
        let mut tenants = lock(&self.tenants);
        tenants.get(&cell.tenant).filter(|slot| slot.is_of(cell))?;
        tenants.remove(&cell.tenant)
    }

    /// Lets the tenants in that wait, as far as there is room.
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

/// Stops the actors of a tenant that is leaving, and lets the next one in. Woken meanwhile, it comes back. Whether they are gone.
async fn stop(shared: &Shared, supervisor: SupervisorRef, cell: &Arc<TenantCell>) -> bool {
    let supervisor = supervisor.with_deadline(TURN_MAX);
    let id = crate::node::tenant_id(&cell.tenant);
    let stopped = supervisor.terminate_child(&id).await.is_ok();
    let gone = supervisor.delete_child(&id).await.is_ok() && stopped;
    if !gone {
        tracing::debug!(tenant = %cell.tenant, "a tenant's actors were stopped by a supervisor that was stopping");
    }
    shared.scopes.left(shared, cell);
    gone
}
