//! Workers: one a tenant and projection, each applying its log batch by batch and acknowledging only what is committed.

mod actor;
mod phase;

pub use actor::{Worker, WorkerMessage};
pub use phase::{Fault, LiveScope, Phase};
