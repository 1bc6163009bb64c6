//! Export of metrics, spans and logs out of the process.

mod collector;
mod exporters;
mod log;

pub use decisiongraph_engine::telemetry::*;
pub use exporters::{Exporters, TelemetryOptions};
pub use log::{LogOptions, fields};

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::collections::HashMap;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Makes a span, before it is entered, a part of the trace that a `traceparent` names. A faulty one changes nothing.
pub fn adopt(span: &tracing::Span, traceparent: &str, tracestate: Option<&str>) {
    let mut headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    headers.extend(tracestate.map(|state| ("tracestate".to_owned(), state.to_owned())));
    // Without an exporter there is nothing to be a part of.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&headers));
}
