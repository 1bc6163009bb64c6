//! Tenants that have actors: a coordinator each, one worker per projection, and one for the seal where it is
//! on. Each worker applies its log batch by batch and acknowledges only what is committed.

mod admission;
mod coordinator;
mod driven;
mod parts;
mod registry;
mod tenant_cell;
mod worker;

pub use coordinator::{Coordinator, CoordinatorMessage};
pub use decisiongraph_protocol::{Fault, LiveScope, Phase};
pub use parts::WorkerParts;
pub use registry::{Parting, TenantSpec, Tenants, TenantsParts};
pub use tenant_cell::TenantCell;
pub use worker::{Worker, WorkerMessage};

use decisiongraph_projections::{Projection, TenantId, catalogue};

/// Names a tenant's segment in the dump's paths.
pub fn tenant_id(tenant: &TenantId) -> String {
    format!("tenant {tenant}")
}

/// Names a worker's segment in the dump's paths.
pub fn worker_id(projection: &dyn Projection) -> String {
    format!("worker {}", projection.name())
}

/// Returns the place of a projection, or of the seal, among a tenant's scopes.
pub fn place_of(projection: &dyn Projection) -> usize {
    catalogue::ALL_WITH_SEAL.iter().position(|known| known.name() == projection.name()).unwrap_or_default()
}
