//! The engine that drives the projections, the supervised runtime around it, and the admin requests that steer both.

/// Requests, their answers, and the door to both.
pub mod admin {
    pub use decisiongraph_admin::*;
    pub use decisiongraph_rpc as rpc;
}

pub mod cluster;
pub mod config;
pub mod coordinator;
pub use decisiongraph_engine::{self as engine, failure, queries};
pub use decisiongraph_rpc::{data_dir, waiting_room};
pub mod high_water;
pub mod http;
pub mod lease_keeper;
pub mod node;
pub mod replay;
pub mod room;
pub mod scopes;
pub mod store_pool;
pub mod telemetry;
pub mod tenant_cell;
pub mod worker;
