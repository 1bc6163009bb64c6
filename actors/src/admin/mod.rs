//! What an operator asks and is told: one request enum, one reply enum, one function between them.
//!
//! The command line is a thin client of [`answer`]. Requests and replies are plain data, so that a node answers the same over a wire
//! ([`rpc`]).
//!
//! *Never here:* printing, arguments, SQL, projection rules.

pub mod append;
pub(crate) mod changes;
mod cluster;
mod estimate;
mod handler;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod overview;
pub mod rpc;
pub(crate) mod status;
mod steer;
pub(crate) mod tenants;
pub(crate) mod weight;
pub mod why;

pub use decisiongraph_protocol::writers::appender;
pub use decisiongraph_protocol::*;
pub(crate) use handler::carry_out;
pub use handler::{EXPORT_EVENTS_MAX, answer, no_node};
pub use overview::{SCOPES_PAGE, SCOPES_PAGE_MAX};
pub use status::STRAYS_MAX;
pub use tenants::{known as known_tenant, unknown as unknown_tenant};
pub use why::holds_up;
