//! The program's own log, and the report of a panic.

use crate::output::Output;
use decisiongraph_cli::telemetry::fields;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, ExitCode};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Variable with the filter of the log, in the syntax of `tracing`.
const VARIABLE: &str = "DECISIONGRAPH_LOG";

/// Logs to stderr: warnings and worse, unless the caller asks for more. A program that reads the error object from
/// stderr (`json`) gets nothing else there, unless it asks.
pub fn start(verbose: u8, json: bool) {
    let filter = std::env::var(VARIABLE).ok().and_then(|filter| EnvFilter::try_new(filter).ok());
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(level(verbose, json))))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .fmt_fields(fields())
        .init();
}

/// Returns the filter for this many `-v`.
pub fn level(verbose: u8, json: bool) -> &'static str {
    match verbose {
        0 if json => "off",
        // The actor library logs every connection that ends. At `debug` it logs what the connection carries: payloads.
        0 => "warn,ractor=error,ractor_cluster=error",
        1 => "info,ractor=error,ractor_cluster=error",
        2 => "debug,ractor=info,ractor_cluster=info",
        _ => "trace,ractor=info,ractor_cluster=info",
    }
}

/// Installs the report of panics. A panic is a defect. A command prints it in the form of every error, and ends.
/// Committed work is durable, other work is rolled back. A node logs it, and the supervisor of the actor that panicked
/// starts it again.
pub fn report_panics(output: Output, node: bool) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        let what = panic
            .payload()
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "unknown panic".to_owned());
        if node {
            tracing::error!("a defect: {what}{place}");
            return;
        }
        output.error(&AdminError::new(Category::Internal, format!("{what}{place}")));
        std::process::exit(i32::from(ExitCode::OTHER.0));
    }));
}
