//! Configuration of a node and exporters of its telemetry: the parts that the program `decisiongraph` puts around the
//! runtime.

pub mod config;
pub mod telemetry;
