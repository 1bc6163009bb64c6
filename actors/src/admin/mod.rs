//! What an operator asks and is told: one request enum, one reply enum, one function between them.
//!
//! The command line is a thin client of [`answer`]. Requests and replies are plain data, so that a node answers the same over a wire
//! ([`rpc`]).
//!
//! *Never here:* printing, arguments, SQL, projection rules.

pub mod append;
mod asker;
pub(crate) mod changes;
mod cluster;
mod command;
mod error;
mod estimate;
mod exit_code;
mod handler;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod overview;
mod peer;
mod reply;
mod request;
pub mod rpc;
pub(crate) mod status;
mod steer;
pub(crate) mod tenants;
pub(crate) mod weight;
pub mod why;

pub use asker::{Asker, Proof};
pub use cluster::{ClusterReply, MemberState, MemberStatus};
pub use command::{Command, addressed};
pub use error::AdminError;
pub use exit_code::{ExitCode, of_category, of_error, of_health, of_job, worst};
pub(crate) use handler::carry_out;
pub use handler::{EXPORT_EVENTS_MAX, answer, no_node};
pub use overview::{SCOPES_PAGE, SCOPES_PAGE_MAX};
pub use peer::*;
pub use reply::*;
pub use request::*;
pub use status::STRAYS_MAX;
pub use tenants::{known as known_tenant, unknown as unknown_tenant};
pub use why::{appender, holds_up};
