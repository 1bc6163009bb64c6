//! Shared state of one tenant's actors: the end of the readable log, the last pages, and each worker's shown state.
//!
//! *Never here:* anything durable. A cell lives as long as the tenant's actors.

use super::{CoordinatorMessage, LiveScope, Phase, WorkerMessage};
use decisiongraph_engine::page::Page;
use decisiongraph_engine::{Budget, Share};
use decisiongraph_projections::{LogSeq, Projection, TenantId};
use decisiongraph_store::{PageLimit, ReadView, Result as StoreResult};
use decisiongraph_supervision::Address;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::SetOnce;

/// Pages that a tenant's workers share, at most: workers are close to each other or share no page.
const PAGES_MAX: usize = 3;

/// Shared state of a tenant whose actors run.
pub struct TenantCell {
    /// Tenant of the cell.
    pub tenant: TenantId,
    /// Scopes of the tenant, each with a worker: projections in catalogue order, and the seal behind them.
    pub scopes: &'static [&'static dyn Projection],
    /// Last event that is known to be safe to read.
    target: AtomicI64,
    /// Pages that a worker read last: workers behind it need not read them again.
    pages: tokio::sync::Mutex<VecDeque<Kept>>,
    /// Workers by place among the scopes.
    workers: Mutex<Vec<Option<Address<WorkerMessage>>>>,
    live: Mutex<Vec<LiveScope>>,
    coordinator: Mutex<Option<Address<CoordinatorMessage>>>,
    /// Set when the start of the actors has ended, well or not.
    start: SetOnce<()>,
}

/// A page of an era, and its share of the memory.
struct Kept {
    era: u64,
    page: Arc<Page>,
    _share: Share,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl TenantCell {
    /// Makes the cell of a tenant whose actors are about to be started.
    pub fn new(tenant: TenantId, scopes: &'static [&'static dyn Projection], target: LogSeq) -> TenantCell {
        TenantCell {
            tenant,
            scopes,
            target: AtomicI64::new(target.0),
            pages: Default::default(),
            workers: Mutex::new(vec![None; scopes.len()]),
            live: Mutex::new(vec![LiveScope::default(); scopes.len()]),
            coordinator: Default::default(),
            start: SetOnce::new(),
        }
    }

    /// Notes that the start of the actors has ended, well or not.
    pub fn start_ended(&self) {
        let _ = self.start.set(());
    }

    /// Waits until the start of the actors has ended: a stop before it would find nothing to stop.
    pub async fn after_start(&self) {
        self.start.wait().await;
    }

    /// Returns the position up to which the log may be read.
    pub fn target(&self) -> LogSeq {
        LogSeq(self.target.load(Ordering::SeqCst))
    }

    /// Raises the position up to which the log may be read.
    pub fn raise(&self, target: LogSeq) {
        self.target.fetch_max(target.0, Ordering::SeqCst);
    }

    /// Returns the worker of the scope at this place.
    pub fn worker(&self, place: usize) -> Option<Address<WorkerMessage>> {
        lock(&self.workers).get(place).cloned().flatten()
    }

    /// Notes the worker at this place.
    pub fn note_worker(&self, place: usize, worker: Option<Address<WorkerMessage>>) {
        if let Some(slot) = lock(&self.workers).get_mut(place) {
            *slot = worker;
        }
    }

    /// Notes the tenant's coordinator.
    pub fn note_coordinator(&self, coordinator: Address<CoordinatorMessage>) {
        *lock(&self.coordinator) = Some(coordinator);
    }

    /// Returns the tenant's coordinator.
    pub fn coordinator(&self) -> Option<Address<CoordinatorMessage>> {
        lock(&self.coordinator).clone()
    }

    /// Returns what the worker at this place is doing.
    pub fn live(&self, place: usize) -> LiveScope {
        lock(&self.live).get(place).cloned().unwrap_or_default()
    }

    /// True when every idle worker has heeded its last wake.
    pub fn is_done(&self, mark: LogSeq) -> bool {
        let target = self.target().min(mark);
        lock(&self.live).iter().all(|live| live.phase != Phase::Idle || live.cursor >= target)
    }

    /// True when no other process has one of the tenant's scopes, as far as the workers know.
    pub fn has_its_scopes(&self) -> bool {
        lock(&self.live).iter().all(|live| !matches!(live.phase, Phase::Standby | Phase::Stopped))
    }

    /// Changes the shown state of the worker at this place.
    pub fn show(&self, place: usize, change: impl FnOnce(&mut LiveScope)) {
        if let Some(live) = lock(&self.live).get_mut(place) {
            change(live);
        }
    }

    /// Returns the page behind `after`: a page that another worker has just read, or a new page. One worker reads at a
    /// time.
    pub async fn page(
        &self,
        log: &dyn ReadView,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
        era: u64,
        budget: &Budget,
    ) -> StoreResult<Arc<Page>> {
        let mut pages = self.pages.lock().await;
        let here = |kept: &&Kept| kept.era == era && kept.page.after == after && kept.page.end() <= upto;
        if let Some(kept) = pages.iter().find(here) {
            return Ok(Arc::clone(&kept.page));
        }
        let page = Arc::new(Page::read(log, &self.tenant, after, upto, limit, &BTreeSet::new()).await?);
        // A page with a poison event is not kept: the event's cause may be mended at any time.
        if !page.is_empty()
            && page.poison.is_none()
            && let Some(share) = budget.kept.try_hold_all(page.bytes())
        {
            pages.push_back(Kept { era, page: Arc::clone(&page), _share: share });
            if pages.len() > PAGES_MAX {
                pages.pop_front();
            }
        }
        Ok(page)
    }

    /// Forgets the pages: no worker needs them for a while.
    pub fn forget_pages(&self) {
        if let Ok(mut pages) = self.pages.try_lock() {
            pages.clear();
        }
    }
}
