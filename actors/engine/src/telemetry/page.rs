//! The page `docs/reference/TELEMETRY.md`, made from [`super::signals`]. A test compares the two.

use super::signals::{Kind, LAG_SERIES_MAX, LOGS, METRICS, SPANS};
use std::fmt::Write as _;

/// Renders the page's text. `DECISIONGRAPH_BLESS=1 cargo test -p decisiongraph-cli --test telemetry` writes it.
pub fn markdown() -> String {
    let mut page = format!(
        "# Telemetry\n\n\
         The signals of a node. Made from `actors/engine/src/telemetry/signals.rs`; a test keeps the two equal. Words:\n\
         [GLOSSARY](../GLOSSARY.md). Keys: [CONFIGURATION](CONFIGURATION.md).\n\n\
         **Prometheus:** `GET /metrics` at `metrics_listen`, by default `http://127.0.0.1:9464/metrics`.\n\n\
         **OpenTelemetry:** with `otlp_endpoint`, metrics every `otlp_interval_s` and traces every 5 s, as OTLP over HTTP\n\
         (protobuf) to `/v1/metrics` and `/v1/traces`. A missing or hanging collector costs only its exports: each ends after\n\
         5 s, and at most 4,096 spans wait. The log reports once that the collector is away, and once that it is back.\n\n\
         **Log:** stderr, `log_filter` and `log_format`.\n\n\
         **Probes:** `GET /livez` is 200 while the supervision tree runs. `GET /readyz` is 200 while the database answers, the\n\
         lease is held and the node is not draining; else it is 503. The JSON body names the failed check:\n\
         `{{\"failed\":\"…\",\"ok\":false}}`. Other paths are 404, other methods 405. No page needs authentication.\n\n\
         No signal has payloads or secrets. Spans and log lines name tenants, and so does the lag of the {LAG_SERIES_MAX} scopes that\n\
         lag most.\n\n\
         ## Metrics\n\n| name | kind | unit | attributes | meaning |\n|---|---|---|---|---|\n"
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Histogram(_) => "histogram",
            Kind::Gauge => "gauge",
        };
        let attributes: Vec<_> = metric.attributes.iter().map(|(name, _)| *name).collect();
        let attributes = listed(&attributes);
        let _ = writeln!(page, "| `{}` | {kind} | {} | {attributes} | {} |", metric.name, metric.unit, metric.help);
    }
    page.push_str("\n## Spans\n\nLevel info, target `decisiongraph`. A span with an error has `otel.status_code` ERROR and the `category`.\n\n| name | fields | covers |\n|---|---|---|\n");
    for span in SPANS {
        let _ = writeln!(page, "| `{}` | {} | {} |", span.name, listed(span.fields), span.help);
    }
    page.push_str("\n## Log events\n\nLevel info or higher; `{…}` stands for a value. Each event has the fields of its spans.\n\n| level | text | meaning |\n|---|---|---|\n");
    for log in LOGS {
        let _ = writeln!(page, "| {} | `{}` | {} |", log.level, log.text, log.help);
    }
    page
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
