//! Workers: one a tenant and projection, each applying its log batch by batch and acknowledging only what is committed.

mod actor;

pub use actor::{Worker, WorkerMessage};
pub use decisiongraph_protocol::{Fault, LiveScope, Phase};
