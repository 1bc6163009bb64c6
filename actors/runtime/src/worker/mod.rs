//! Workers: one per tenant and projection. Each applies its log batch by batch and acknowledges only what is committed.

mod actor;

pub use actor::{Worker, WorkerMessage};
pub use decisiongraph_protocol::{Fault, LiveScope, Phase};
