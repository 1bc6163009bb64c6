//! A node: the supervised actors that keep the projections of every tenant current.
//!
//! ```text
//!   node          the tree, the answers to operators and other nodes, what monitoring sees
//!   jobs          catch-up, rebuild and verify beside the live work
//!   cluster       members, placement, links          high_water     end of the log, wakes
//!   tenants       tenants with actors, their workers  node_mark   the mark, as jobs read it
//!   notary, scrubber  signatures and re-reading of the sealed log
//!   database_probe, lease_keeper
//!   board         published states, one writer each  signals        requests to have a look
//! ```
//!
//! A module uses modules that are further down. Only `node/tree.rs` knows all actors.
//!
//! *Never here:* configuration, sockets of operators, SQL, projection rules.

pub mod board;
pub mod children;
pub mod cluster;
pub mod database_probe;
pub mod guard;
pub mod high_water;
pub mod jobs;
pub mod lease_keeper;
pub mod node;
pub mod node_mark;
pub mod notary;
pub mod scrubber;
pub mod signals;
pub mod tenants;
