//! What the actors of one tenant share: how far the log may be read, the pages read last, and what each of them shows of itself.
//!
//! *Never here:* anything durable. A cell lives as long as the tenant's actors.

use crate::coordinator::CoordinatorMessage;
use crate::worker::{LiveScope, Phase, WorkerMessage};
use decisiongraph_engine::page::Page;
use decisiongraph_engine::{Budget, Share};
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use decisiongraph_store::{PageLimit, ReadView, Result as StoreResult};
use decisiongraph_supervision::Address;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Pages that a tenant's workers share at most: they stand close to each other or not at all.
const PAGES_MAX: usize = 3;

/// A tenant whose actors run: what they share.
pub struct TenantCell {
    /// Whose.
    pub tenant: TenantId,
    /// The last event that is known to be safe to read.
    target: AtomicI64,
    /// Pages that a worker read last: those behind it need not read them again.
    pages: tokio::sync::Mutex<VecDeque<Kept>>,
    /// By place in the catalogue.
    workers: Mutex<Vec<Option<Address<WorkerMessage>>>>,
    live: Mutex<Vec<LiveScope>>,
    coordinator: Mutex<Option<Address<CoordinatorMessage>>>,
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
    /// A tenant whose actors are about to be started.
    pub fn new(tenant: TenantId, target: LogSeq) -> TenantCell {
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
    pub fn is_done(&self, mark: LogSeq) -> bool {
        let target = self.target().min(mark);
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
        budget: &Budget,
    ) -> StoreResult<Arc<Page>> {
        let mut pages = self.pages.lock().await;
        let here = |kept: &&Kept| kept.era == era && kept.page.after == after && kept.page.end() <= upto;
        if let Some(kept) = pages.iter().find(here) {
            return Ok(Arc::clone(&kept.page));
        }
        let page = Arc::new(Page::read(log, &self.tenant, after, upto, limit, &BTreeSet::new()).await?);
        // A page with a poison event is not kept: the event's cause may be mended any time.
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

    /// Forgets the pages: nobody needs them for a while.
    pub fn forget_pages(&self) {
        if let Ok(mut pages) = self.pages.try_lock() {
            pages.clear();
        }
    }
}
