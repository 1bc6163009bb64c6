//! Administration: one request enum, one reply enum, one function between them.
//!
//! The command line is a thin client of [`answer`]. Requests and replies are plain data, so that a node answers the
//! same over every door.
//!
//! *Never here:* printing, arguments, SQL, projection rules.

pub mod append;
pub mod changes;
mod cluster;
mod estimate;
mod handler;
pub mod health;
pub mod jobs;
pub mod overview;
pub mod status;
mod steer;
pub mod tenants;
pub mod why;

pub use handler::carry_out;
pub use handler::{EXPORT_EVENTS_MAX, answer, no_node};
pub use overview::{SCOPES_PAGE, SCOPES_PAGE_MAX};
pub use status::STRAYS_MAX;
pub use tenants::{known as known_tenant, unknown as unknown_tenant};
pub use why::holds_up;
