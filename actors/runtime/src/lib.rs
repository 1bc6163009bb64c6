//! A node: the supervised actors that keep the projections of every tenant current.
//!
//! *Never here:* configuration, sockets of operators, SQL, projection rules.

pub mod cluster;
pub mod coordinator;
pub mod high_water;
pub mod lease_keeper;
pub mod node;
pub mod replay;
pub mod room;
pub mod scopes;
pub mod store_pool;
pub mod tenant_cell;
pub mod worker;
