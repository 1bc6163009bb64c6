//! The log: lines for people or one JSON object per line, and spans on their way to the exporters.
//!
//! *Guarantees.* Only spans of [`TARGET`] are exported, whatever libraries trace. A line for people is one line,
//! whatever is in its fields. Stored text can neither forge a line nor steer the terminal that shows the log.

use super::signals::TARGET;
use crate::config::{LogFormat, NodeConfig};
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_protocol::foreign_text::shown;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Subscriber;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, debug_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// Filter and form of the log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// A `tracing` filter, for the log and for spans.
    pub filter: String,
    /// Form of the log.
    pub format: LogFormat,
    /// True when lines for people are coloured.
    pub ansi: bool,
}

impl LogOptions {
    /// Takes the options from the configuration; `ansi` when the log goes to a terminal.
    pub fn of(config: &NodeConfig, ansi: bool) -> LogOptions {
        LogOptions { filter: config.log_filter.clone(), format: config.log_format, ansi }
    }
}

/// Formats the fields of a line for people, the message among them, as every log of this program does.
pub fn fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    debug_fn(|out, field, value| match field.name() {
        "message" => write!(out, "{}", shown(&format!("{value:?}"))),
        name => write!(out, "{name}={}", shown(&format!("{value:?}"))),
    })
    .delimited(" ")
}

pub(super) fn subscriber<W>(
    options: &LogOptions,
    writer: W,
    tracer: Option<SdkTracer>,
) -> Result<impl Subscriber + use<W>, AdminError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&options.filter)
        .map_err(|error| AdminError::new(Category::InvalidArgument, format!("log_filter: {error}")))?;
    // A terminal that is gone takes no line, and no message about that either.
    let lines = fmt::layer().with_writer(writer).log_internal_errors(false);
    let lines = match options.format {
        LogFormat::Text => lines.with_ansi(options.ansi).fmt_fields(fields()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(filter_fn(|metadata| metadata.is_event() || metadata.target() == TARGET))
    });
    Ok(Registry::default().with(lines).with(spans).with(filter))
}
