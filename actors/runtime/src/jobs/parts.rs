//! Parts of the node that its jobs, and their coordinator, use.

use super::JobRegistry;
use crate::board::{Database, Draining, Jitter, PlacementTable};
use crate::children::Children;
use crate::cluster::Links;
use crate::signals::Signal;
use crate::tenants::Tenants;
use decisiongraph_engine::Engine;
use decisiongraph_engine::failure::Pauses;
use decisiongraph_engine::telemetry::Telemetry;
use decisiongraph_store::Run;
use decisiongraph_supervision::ChildSpec;
use std::sync::Arc;
use std::time::Duration;

/// Parts of the node that its jobs, and their coordinator, use.
pub struct JobParts {
    /// Engine of the node: database, identity, bounds and telemetry.
    pub engine: Arc<Engine>,
    /// State of the database.
    pub database: Database,
    /// Stop of the node.
    pub draining: Draining,
    /// Tenants of the node, whose workers a catch-up follows.
    pub tenants: Tenants,
    /// Links to the other nodes, whose workers check their scopes again.
    pub links: Links,
    /// Jobs of the node.
    pub registry: Arc<JobRegistry>,
    /// Supervisor of the jobs.
    pub children: Children,
    /// Signal that jobs were lost with their supervisor.
    pub lost: Signal,
    /// Pauses after faults that may pass.
    pub retry: Pauses,
    /// Pause between two searches for orphaned jobs.
    pub adopt: Duration,
    /// Crashes that a job may have before it is given up.
    pub crashes_max: u32,
    /// Spread of the pauses.
    pub jitter: Jitter,
    /// Node of each tenant: a node verifies its own ones.
    pub placement: PlacementTable,
    /// Time between two scheduled verifies of a tenant; zero without a schedule.
    pub verify_every: Duration,
    /// Rows per second of a scheduled verify.
    pub verify_rows_per_s: u64,
    /// Specification of a job's actor: of its run, which goes on with what an earlier life left, or begins.
    pub spec: fn(&Arc<JobParts>, &Run, bool) -> ChildSpec,
}

impl JobParts {
    /// Returns the telemetry of the node.
    pub fn telemetry(&self) -> &Telemetry {
        self.engine.telemetry()
    }
}
