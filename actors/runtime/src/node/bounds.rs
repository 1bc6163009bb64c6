//! Bounds of a node. All have units; every pause and limit of the runtime is here.

use decisiongraph_engine::failure::Pauses;
use std::time::Duration;

/// How a node paces its work.
#[derive(Debug, Clone)]
pub struct NodeBounds {
    /// Between two looks at the log's end. Covers notifications that were lost.
    pub poll: Duration,
    /// Between two searches for tenants that are behind although nobody was told (a lost wake, a worker that gave up).
    pub sweep: Duration,
    /// A tenant whose workers had nothing to do for this long is passivated.
    pub passivate_after: Duration,
    /// Tenants whose actors run at the same time; others wait their turn.
    pub tenants_max: usize,
    /// Batches under way at the same time.
    pub batches_max: usize,
    /// After faults that may pass.
    pub retry: Pauses,
    /// Between two looks at a poison event.
    pub recheck: Pauses,
    /// Between two looks for orphaned jobs.
    pub adopt: Duration,
    /// Times that a job may crash before it is given up.
    pub job_crashes_max: u32,
    /// Longest wait for a worker's batch or a job's batch boundary when the node stops.
    pub drain: Duration,
}

impl Default for NodeBounds {
    fn default() -> NodeBounds {
        NodeBounds {
            poll: Duration::from_secs(1),
            sweep: Duration::from_secs(60),
            passivate_after: Duration::from_secs(30),
            tenants_max: 1_000,
            batches_max: 6,
            retry: Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(5) },
            recheck: Pauses { first: Duration::from_secs(5), longest: Duration::from_secs(300) },
            adopt: Duration::from_secs(5),
            job_crashes_max: 5,
            drain: Duration::from_secs(10),
        }
    }
}
