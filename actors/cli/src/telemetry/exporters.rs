//! Starts and stops the export of telemetry: the Prometheus registry, and OTLP exporters when a collector is
//! configured.
//!
//! *Guarantees.* Starting reaches no network. Queues are bounded; entries that do not fit are dropped. Stopping takes
//! at most [`STOP_DEADLINE`].

use super::Telemetry;
use super::collector::{Collector, EXPORT_DEADLINE};
use super::log::{self, LogOptions};
use super::signals::TARGET;
use crate::config::NodeConfig;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use prometheus::Registry;
use std::fmt::Display;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;

/// Longest wait for the last exports when the node stops.
pub const STOP_DEADLINE: Duration = Duration::from_secs(3);
/// Spans that wait for their export; more are dropped.
const SPANS_MAX: usize = 4_096;
/// Most spans per export.
const SPANS_PER_EXPORT_MAX: usize = 512;
/// Longest wait of a span for its export.
const SPANS_EVERY: Duration = Duration::from_secs(5);

/// Content and destination of exports.
#[derive(Debug, Clone)]
pub struct TelemetryOptions {
    /// The node's name (`service.instance.id`).
    pub name: String,
    /// The collector: `http://HOST[:PORT][/PATH]` without a slash at its end.
    pub otlp_endpoint: Option<String>,
    /// Interval between two exports of metrics.
    pub otlp_interval: Duration,
}

impl TelemetryOptions {
    /// Takes the options from the configuration, for the node of this name.
    pub fn of(config: &NodeConfig, node: &str) -> TelemetryOptions {
        TelemetryOptions {
            name: node.to_owned(),
            otlp_endpoint: config.otlp_endpoint.clone(),
            otlp_interval: config.otlp_interval,
        }
    }
}

/// Running exporters of telemetry. Keep the value as long as something is to be recorded: without it the page of
/// metrics is empty. Stop it at the end, for the last exports.
#[derive(Debug)]
pub struct Exporters {
    telemetry: Telemetry,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
}

impl Exporters {
    /// Starts the exporters. Call it within a tokio runtime, which then does their I/O.
    pub fn start(options: &TelemetryOptions) -> Result<Exporters, AdminError> {
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", "decisiongraph"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", options.name.clone()),
            ])
            .build();
        let registry = Registry::new();
        // Names carry their units already, so that they are equal in Prometheus and OTLP.
        let prometheus = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .scope_info_enabled(false);
        let mut meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(prometheus.build().map_err(defect)?);
        let mut tracers = None;
        if let Some(endpoint) = &options.otlp_endpoint {
            let metrics = MetricExporter::builder()
                .with_http()
                .with_http_client(Collector::new("metrics", Handle::current()))
                .with_endpoint(format!("{endpoint}/v1/metrics"))
                .with_protocol(Protocol::HttpBinary)
                .with_timeout(EXPORT_DEADLINE)
                .with_retry_policy(RetryPolicy::disabled())
                .build()
                .map_err(defect)?;
            meters = meters.with_reader(PeriodicReader::builder(metrics).with_interval(options.otlp_interval).build());
            let spans = SpanExporter::builder()
                .with_http()
                .with_http_client(Collector::new("traces", Handle::current()))
                .with_endpoint(format!("{endpoint}/v1/traces"))
                .with_protocol(Protocol::HttpBinary)
                .with_timeout(EXPORT_DEADLINE)
                .with_retry_policy(RetryPolicy::disabled())
                .build()
                .map_err(defect)?;
            let batches = BatchConfigBuilder::default()
                .with_max_queue_size(SPANS_MAX)
                .with_max_export_batch_size(SPANS_PER_EXPORT_MAX)
                .with_scheduled_delay(SPANS_EVERY);
            let processor = BatchSpanProcessor::builder(spans).with_batch_config(batches.build()).build();
            tracers = Some(SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build());
        }
        let meters = meters.build();
        let telemetry = Telemetry::on(&meters.meter(TARGET), registry);
        Ok(Exporters { telemetry, meters, tracers })
    }

    /// Returns the telemetry with which the runtime records.
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    /// Returns the subscriber that writes the log to `writer` and hands spans to the exporters. Install it once
    /// (`tracing::subscriber::set_global_default`).
    pub fn subscriber<W>(&self, options: &LogOptions, writer: W) -> Result<impl Subscriber + use<W>, AdminError>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        log::subscriber(options, writer, self.tracers.as_ref().map(|tracers| tracers.tracer(TARGET)))
    }

    /// Exports waiting data and stops, within [`STOP_DEADLINE`].
    pub async fn stop(self) {
        let Exporters { telemetry: _, meters, tracers } = self;
        let (done, flushed) = tokio::sync::oneshot::channel();
        // A thread of its own: the exporters wait for their threads, and the runtime must not wait.
        std::thread::spawn(move || {
            if let Some(tracers) = tracers {
                let _ = tracers.shutdown_with_timeout(STOP_DEADLINE);
            }
            let _ = meters.shutdown_with_timeout(STOP_DEADLINE);
            let _ = done.send(());
        });
        if tokio::time::timeout(STOP_DEADLINE, flushed).await.is_err() {
            tracing::info!("telemetry not flushed within {STOP_DEADLINE:?}");
        }
    }

    /// Exports waiting data now. For tests and for the end of short programs.
    pub async fn flush(&self) {
        let (meters, tracers) = (self.meters.clone(), self.tracers.clone());
        let (done, flushed) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            if let Some(tracers) = tracers {
                let _ = tracers.force_flush();
            }
            let _ = meters.force_flush();
            let _ = done.send(());
        });
        let _ = tokio::time::timeout(2 * EXPORT_DEADLINE, flushed).await;
    }
}

/// Turns a failed start into `internal`. The endpoint was checked with the configuration, so a failure here is ours.
fn defect(error: impl Display) -> AdminError {
    AdminError::new(Category::Internal, format!("telemetry cannot start: {error}"))
}
