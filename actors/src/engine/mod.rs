//! The engine: catch-up, rebuild and verify over a store, as plain async functions.

pub mod report;

pub use report::{Progress, RunReport, RunRequest, ScopeReport};

use decisiongraph_projections::LogSeq;
use decisiongraph_store::{Owner, Result, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Bounds of the engine. All have units in their names.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Events a batch.
    pub batch_events_max: usize,
    /// Payload bytes a batch (at least one event is taken).
    pub batch_bytes_max: usize,
    /// How long this process's lease lasts without renewal.
    pub lease: Duration,
    /// Longest wait for open appenders before a pass goes on with the mark it has.
    pub mark_wait: Duration,
    /// Events of a tenant from which a rebuild gets a partition of its own.
    pub own_partition_events: u64,
    /// Events between two digest checkpoints of a scope.
    pub checkpoint_events: u64,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            batch_events_max: 2_000,
            batch_bytes_max: 16 * 1024 * 1024,
            lease: Duration::from_secs(10),
            mark_wait: Duration::from_secs(10),
            own_partition_events: 20_000,
            checkpoint_events: 10_000,
        }
    }
}

/// Asks a job to stop at its next batch.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// How to follow and stop a job.
#[derive(Clone, Default)]
pub struct Control {
    /// Stops it between batches.
    pub cancel: Cancel,
    /// Gets its progress.
    pub progress: Option<watch::Sender<Option<Progress>>>,
}

/// Runs jobs against one store on behalf of one owner.
pub struct Engine {
    store: Arc<dyn Store>,
    owner: Owner,
    config: EngineConfig,
}

impl Engine {
    /// An engine of this owner.
    pub fn new(store: Arc<dyn Store>, owner: Owner, config: EngineConfig) -> Engine {
        Engine { store, owner, config }
    }

    /// The store it works on.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The safe high-water mark: nothing can still appear at or below it. Waits for open appenders, at most
    /// [`EngineConfig::mark_wait`]; then it is the best mark that is known to be safe.
    pub async fn mark(&self) -> Result<LogSeq> {
        todo!()
    }

    /// Runs a job to its end: records it as a run, keeps this owner's lease alive, works through the projections, and tells what
    /// happened. A poison event, cancel or drift is a state of the report, not an error.
    pub async fn run(&self, request: &RunRequest, control: &Control) -> Result<RunReport> {
        let _ = (request, control);
        todo!()
    }

    /// Goes on with an orphaned, failed or cancelled job under its old id.
    pub async fn resume(&self, run_id: Uuid, control: &Control) -> Result<RunReport> {
        let _ = (run_id, control, &self.owner, &self.config);
        todo!()
    }

    /// Deletes what retired generations left, in bounded chunks, until nothing can be deleted now.
    pub async fn sweep(&self) -> Result<decisiongraph_store::Sweep> {
        todo!()
    }
}
