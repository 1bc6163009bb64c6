//! The configuration of a node and the exporters of its telemetry: what the program `decisiongraph` puts around the runtime.

pub mod config;
pub mod telemetry;
