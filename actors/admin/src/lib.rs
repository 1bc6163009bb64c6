//! Answers to admin requests, out of the engine and the store: a file per noun, and one function to ask.
//!
//! The command line is a thin client of [`answer`]. Requests and replies are plain data, so that a node answers the
//! same over every door.
//!
//! *Never here:* printing, arguments, SQL, projection rules.

pub mod append;
mod ask;
pub mod changes;
mod cluster;
mod digest;
mod estimate;
mod events;
mod failures;
mod handler;
pub mod health;
pub mod jobs;
pub mod moving;
pub mod narrow;
pub mod overview;
mod reads;
pub mod runs;
mod seal;
pub mod seal_status;
pub mod status;
mod steer;
pub mod tenants;
pub mod why;

pub use ask::answer;
pub use events::EXPORT_EVENTS_MAX;
pub use handler::{StoreAnswers, no_node};
pub use overview::{SCOPES_PAGE, SCOPES_PAGE_MAX};
pub use status::{STRAYS_MAX, holds_up};
pub use tenants::unknown as unknown_tenant;
