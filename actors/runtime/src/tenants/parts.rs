//! Parts of the node that all its workers use.

use crate::board::{Database, Jitter, MarkState};
use crate::signals::Signal;
use decisiongraph_engine::Engine;
use decisiongraph_engine::failure::Pauses;
use decisiongraph_engine::telemetry::Telemetry;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// Parts of the node that all its workers use.
pub struct WorkerParts {
    /// Engine of the node: database, identity, bounds, memory budget and telemetry.
    pub engine: Arc<Engine>,
    /// State of the database.
    pub database: Database,
    /// End of the log.
    pub mark: watch::Receiver<MarkState>,
    /// Signal that the known mark may be void.
    pub mark_void: Signal,
    /// Turns to do a batch, one per batch under way.
    pub turns: Semaphore,
    /// Pauses after faults that may pass.
    pub retry: Pauses,
    /// Pauses between two attempts at a scope that failed.
    pub recheck: Pauses,
    /// Spread of the pauses.
    pub jitter: Jitter,
}

impl WorkerParts {
    /// Returns the telemetry of the node.
    pub fn telemetry(&self) -> &Telemetry {
        self.engine.telemetry()
    }
}
