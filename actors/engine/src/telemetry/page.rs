//! The page `docs/reference/TELEMETRY.md`, made from [`super::signals`]. A test compares the two.

use super::signals::{Kind, LAG_SERIES_MAX, LOGS, METRICS, SPANS};
use std::fmt::Write as _;

/// Renders the page's text. `DECISIONGRAPH_BLESS=1 cargo test -p decisiongraph-actors --test telemetry` writes it.
pub fn markdown() -> String {
    let mut page = format!(
        "# Telemetry\n\n\
         What a node tells about itself. Made from `actors/engine/src/telemetry/signals.rs`; a test keeps the two equal. Words: [GLOSSARY](../GLOSSARY.md). Keys: [CONFIGURATION](CONFIGURATION.md).\n\n\
         - **Prometheus:** `GET /metrics` at `metrics_listen`, by default `http://127.0.0.1:9464/metrics`.\n\
         - **OpenTelemetry:** with `otlp_endpoint`, metrics each `otlp_interval_s` and traces each 5 s, as OTLP over HTTP (protobuf) to `/v1/metrics` and `/v1/traces`. \
         A collector that is away or hangs costs its exports and nothing else: each ends after 5 s, at most 4,096 spans wait, and the log says once that it is away and once that it is back.\n\
         - **Log:** stderr, `log_filter` and `log_format`.\n\
         - **Probes:** `GET /livez` is 200 while the supervision tree runs; `GET /readyz` is 200 while the database answers, the lease is held and the node is not draining. \
         Else 503; the JSON body says what failed: `{{\"failed\":\"…\",\"ok\":false}}`. Other paths are 404, other methods 405. Nothing here is authenticated.\n\n\
         Payloads and secrets are in no signal. A tenant is named by spans, by log lines, and by the lag of the {LAG_SERIES_MAX} scopes that lag most.\n\n\
         ## Metrics\n\n| name | kind | unit | attributes | meaning |\n|---|---|---|---|---|\n"
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Histogram(_) => "histogram",
            Kind::Gauge => "gauge",
        };
        let attributes = listed(metric.attributes);
        let _ = writeln!(page, "| `{}` | {kind} | {} | {attributes} | {} |", metric.name, metric.unit, metric.help);
    }
    page.push_str("\n## Spans\n\nOf level info, target `decisiongraph`. A span whose work met an error has `otel.status_code` ERROR and the `category`.\n\n| name | fields | covers |\n|---|---|---|\n");
    for span in SPANS {
        let _ = writeln!(page, "| `{}` | {} | {} |", span.name, listed(span.fields), span.help);
    }
    page.push_str("\n## Log events\n\nOf level info or higher; `{…}` stands for a value. Each carries the fields of the spans it is in.\n\n| level | text | meaning |\n|---|---|---|\n");
    for log in LOGS {
        let _ = writeln!(page, "| {} | `{}` | {} |", log.level, log.text, log.help);
    }
    page
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
