//! A node: the supervised actors that keep the projections of every tenant current.
//!
//! *Never here:* configuration, sockets of operators, SQL, projection rules.

pub mod cluster;
pub mod database_probe;
pub mod high_water;
pub mod jobs;
pub mod lease_keeper;
pub mod node;
pub mod tenants;
