//! Tenants that have actors: a coordinator each, and one worker per projection. Each worker applies its log batch by
//! batch and acknowledges only what is committed.

mod admission;
mod coordinator;
mod scopes;
mod tenant_cell;
mod worker;

pub use coordinator::{Coordinator, CoordinatorMessage};
pub use decisiongraph_protocol::{Fault, LiveScope, Phase};
pub use scopes::{Parting, Scopes};
pub use tenant_cell::TenantCell;
pub use worker::{Worker, WorkerMessage};
