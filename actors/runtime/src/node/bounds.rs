//! Bounds of a node, given at its start. All have units.

use decisiongraph_engine::failure::Pauses;
use std::time::Duration;

/// Pauses and limits of a node's work.
#[derive(Debug, Clone)]
pub struct NodeBounds {
    /// Pause between two checks of the log's end. Covers lost notifications.
    pub poll: Duration,
    /// Pause between two searches for tenants that are behind. Covers lost wakes and workers that gave up.
    pub sweep: Duration,
    /// Time after its last wake until an idle tenant is passivated.
    pub passivate_after: Duration,
    /// Tenants whose actors run at the same time, at most; others wait their turn.
    pub tenants_max: usize,
    /// Batches under way at the same time, at most.
    pub batches_max: usize,
    /// Pauses after faults that may pass.
    pub retry: Pauses,
    /// Pauses between two attempts at a scope that failed, at a poison event or otherwise.
    pub recheck: Pauses,
    /// Pause between two searches for orphaned jobs.
    pub adopt: Duration,
    /// Crashes that a job may have before it is given up.
    pub job_crashes_max: u32,
    /// Time between two scheduled verifies of a tenant; zero without a schedule.
    pub verify_every: Duration,
    /// Rows per second of a scheduled verify.
    pub verify_rows_per_s: u64,
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
            batches_max: 48,
            retry: Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(5) },
            recheck: Pauses { first: Duration::from_secs(5), longest: Duration::from_secs(300) },
            adopt: Duration::from_secs(5),
            job_crashes_max: 5,
            verify_every: Duration::ZERO,
            verify_rows_per_s: 20_000,
            drain: Duration::from_secs(10),
        }
    }
}
