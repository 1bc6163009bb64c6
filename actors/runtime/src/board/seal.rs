//! The seal as a node publishes it: its window, and the findings that stop it or that the scrubber made.

use decisiongraph_engine::seal::scrub::Rounds;
use decisiongraph_engine::seal::{SealFinding, Sealing};
use decisiongraph_projections::TenantId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Published state of the seal. Cheap to clone; every clone shows the same.
#[derive(Clone, Default)]
pub struct SealBoard {
    /// Sealing of the log; none where it is off. Its tables name their writers.
    pub sealing: Option<Arc<Sealing>>,
    /// Window of this node's tenants. Written by the notary.
    pub window: watch::Sender<SealWindow>,
    /// Work of the scrubber. Written by the scrubber.
    pub scrub: watch::Sender<ScrubState>,
}

impl SealBoard {
    /// Creates the board of a node that seals, or does not.
    pub fn of(sealing: Option<Arc<Sealing>>) -> SealBoard {
        SealBoard { sealing, ..SealBoard::default() }
    }
}

/// Ages of the oldest events that no checkpoint in a place covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealWindow {
    /// Tenants with such events, the longest window first.
    pub tenants: Vec<(TenantId, Duration)>,
    /// Events that are not sealed yet, as far as counted.
    pub unsealed: u64,
}

impl SealWindow {
    /// Returns the tenant with the longest window.
    pub fn longest(&self) -> Option<&(TenantId, Duration)> {
        self.tenants.first()
    }
}

/// Work of the scrubber on the tenants of this node.
#[derive(Debug, Clone, Default)]
pub struct ScrubState {
    /// First finding of each word, by tenant.
    pub findings: Vec<(TenantId, SealFinding)>,
    /// Rounds over each tenant.
    pub rounds: BTreeMap<TenantId, Rounds>,
}
