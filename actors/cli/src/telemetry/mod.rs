//! Export of metrics, spans and logs out of the process.

mod collector;
mod exporters;
mod log;

pub use decisiongraph_engine::telemetry::*;
pub use exporters::{Exporters, TelemetryOptions};
pub use log::{LogOptions, fields};
