//! Claims and batches that wait for the same session at the same time share a transaction, and so one `fsync`.
//!
//! ```text
//!   claim, batch ──▶ queue of the session ──▶ a task takes what waits ──▶ claims: one UPDATE ────────▶ answers
//!                                                       ▲                 batches: BEGIN … COMMIT ──▶ answers
//!                                                       └── until nothing waits ──┘
//! ```
//!
//! *Guarantees.* A caller is answered after the commit that holds its work, never before. Each scope keeps its own
//! fence. When one of several fails, the transaction is rolled back, and each gets a transaction of its own: a caller
//! that fails undoes only its own work. When no caller waits any more, the work is broken off and its session closed,
//! which rolls back.
//!
//! *Never here:* a pause to collect more. A lone caller is served at once.

use super::pool::Connections;
use super::{commit, scope};
use crate::batch::Batch;
use crate::{Acquisition, Lease, Owner, Result, Scope, StoreError};
use decisiongraph_projections::Category;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tokio::sync::{Notify, oneshot};

/// Most claims and batches that are taken from a queue at once.
const WORKS_MAX: usize = 128;
/// Most changed rows (and sealed events) of the batches that are taken at once; a larger batch is taken alone.
const ROWS_MAX: usize = 4_000;

/// A claim that waits.
pub(super) struct Claim {
    pub(super) scope: Scope,
    pub(super) owner: Owner,
    answer: oneshot::Sender<Result<Acquisition>>,
}

/// A batch that waits.
pub(super) struct Commit {
    pub(super) lease: Lease,
    pub(super) batch: Batch,
    answer: oneshot::Sender<Result<()>>,
}

impl Claim {
    /// Answers the caller, if it still waits.
    pub(super) fn answer(self, answer: Result<Acquisition>) {
        let _ = self.answer.send(answer);
    }
}

impl Commit {
    /// Answers the caller; see [`Claim::answer`].
    pub(super) fn answer(self, answer: Result<()>) {
        let _ = self.answer.send(answer);
    }
}

#[expect(clippy::large_enum_variant, reason = "a queue holds few, and moves each once")]
pub(super) enum Work {
    Claim(Claim),
    Commit(Commit),
}

impl Work {
    fn rows(&self) -> usize {
        match self {
            Work::Claim(_) => 0,
            Work::Commit(commit) => commit.batch.rows(),
        }
    }
}

/// Work in a queue, and its caller, while it waits.
struct Entry<W> {
    work: W,
    caller: Weak<()>,
}

/// Work that waits for one session.
pub(super) struct Queue<W> {
    waiting: Mutex<Waiting<W>>,
    /// Notified when a caller waits no longer.
    left: Notify,
}

struct Waiting<W> {
    works: VecDeque<Entry<W>>,
    /// True while a task works off the queue.
    served: bool,
}

impl<W> Default for Waiting<W> {
    fn default() -> Waiting<W> {
        Waiting { works: VecDeque::new(), served: false }
    }
}

impl<W> Default for Queue<W> {
    fn default() -> Queue<W> {
        Queue { waiting: Mutex::default(), left: Notify::new() }
    }
}

impl<W> Queue<W> {
    fn lock(&self) -> MutexGuard<'_, Waiting<W>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds work, and starts the task that works off the queue when there is none. The caller keeps what is returned as
    /// long as it waits.
    pub(super) fn submit<S>(&self, work: W, serve: impl FnOnce() -> S) -> Waits<'_, W>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let alive = Arc::new(());
        let entry = Entry { work, caller: Arc::downgrade(&alive) };
        let served = {
            let mut waiting = self.lock();
            waiting.works.push_back(entry);
            std::mem::replace(&mut waiting.served, true)
        };
        if !served {
            tokio::spawn(serve());
        }
        Waits { queue: self, alive: Some(alive) }
    }

    /// Begins to work off the queue.
    pub(super) fn service(&self) -> Service<'_, W> {
        Service { queue: self, ended: false }
    }

    /// Waits until none of these callers waits any more.
    async fn all_left(&self, callers: &[Weak<()>]) {
        loop {
            let mut left = std::pin::pin!(self.left.notified());
            left.as_mut().enable();
            if callers.iter().all(|caller| caller.strong_count() == 0) {
                return;
            }
            left.await;
        }
    }
}

/// The service of a queue. When it breaks off, what waits is dropped: its callers get an error, and the next of them
/// starts another.
pub(super) struct Service<'a, W> {
    queue: &'a Queue<W>,
    ended: bool,
}

impl<W> Service<'_, W> {
    /// Takes what waits, up to these bounds, and its callers. None ends the service.
    pub(super) fn take(
        &mut self,
        works_max: usize,
        size_max: usize,
        size: impl Fn(&W) -> usize,
    ) -> Option<(Vec<W>, Vec<Weak<()>>)> {
        let mut waiting = self.queue.lock();
        let (mut works, mut callers, mut sum) = (Vec::new(), Vec::new(), 0);
        while let Some(Entry { work, .. }) = waiting.works.front() {
            sum += size(work);
            if works.len() == works_max || (sum > size_max && !works.is_empty()) {
                break;
            }
            let Some(Entry { work, caller }) = waiting.works.pop_front() else { break };
            works.push(work);
            callers.push(caller);
        }
        self.ended = works.is_empty();
        waiting.served = !self.ended;
        (!self.ended).then_some((works, callers))
    }
}

impl<W> Drop for Service<'_, W> {
    fn drop(&mut self) {
        if !self.ended {
            *self.queue.lock() = Waiting::default();
        }
    }
}

/// A caller that waits.
pub(super) struct Waits<'a, W> {
    queue: &'a Queue<W>,
    alive: Option<Arc<()>>,
}

impl<W> Drop for Waits<'_, W> {
    fn drop(&mut self) {
        drop(self.alive.take());
        self.queue.left.notify_waiters();
    }
}

/// Claims a scope, alone or with others that wait.
pub(super) async fn claim(connections: &Arc<Connections>, scope: &Scope, owner: &Owner) -> Result<Acquisition> {
    let (answer, answered) = oneshot::channel();
    let work = Work::Claim(Claim { scope: scope.clone(), owner: owner.clone(), answer });
    let _waits = submit(connections, scope, work);
    answered.await.unwrap_or_else(|_| Err(broken_off()))
}

/// Commits a batch, alone or with others that wait.
pub(super) async fn commit(connections: &Arc<Connections>, lease: &Lease, batch: Batch) -> Result<()> {
    let (answer, answered) = oneshot::channel();
    let _waits = submit(connections, &lease.scope, Work::Commit(Commit { lease: lease.clone(), batch, answer }));
    answered.await.unwrap_or_else(|_| Err(broken_off()))
}

fn broken_off() -> StoreError {
    let text =
        "the task that writes broke off, the work may or may not be done: take a new epoch, then read the cursor";
    StoreError::transient(Category::OutcomeUnknown, text)
}

fn submit<'a>(connections: &'a Arc<Connections>, scope: &Scope, work: Work) -> Waits<'a, Work> {
    let place = connections.place(scope);
    connections.queue(place).submit(work, || serve(Arc::clone(connections), place))
}

async fn serve(connections: Arc<Connections>, place: usize) {
    let queue = connections.queue(place);
    let mut service = queue.service();
    while let Some((works, callers)) = service.take(WORKS_MAX, ROWS_MAX, Work::rows) {
        let (mut claims, mut commits) = (Vec::new(), Vec::new());
        for work in works {
            match work {
                Work::Claim(claim) => claims.push(claim),
                Work::Commit(commit) => commits.push(commit),
            }
        }
        // Every process locks the rows of scopes in the same order.
        claims.sort_unstable_by(|a, b| in_order(&a.scope, &b.scope));
        commits.sort_unstable_by(|a, b| in_order(&a.lease.scope, &b.lease.scope));
        let work = async {
            if !claims.is_empty() {
                scope::take(&connections, place, claims).await;
            }
            if !commits.is_empty() {
                commit::write(&connections, place, commits).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = queue.all_left(&callers) => {}
        }
    }
}

fn in_order(a: &Scope, b: &Scope) -> Ordering {
    (a.tenant.as_str(), a.projection).cmp(&(b.tenant.as_str(), b.projection))
}
