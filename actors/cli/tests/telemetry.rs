//! Telemetry signals: the declared signals are recorded, shown and documented, and no others.

use decisiongraph_cli::config::LogFormat;
use decisiongraph_cli::telemetry::signals::{self, Kind, LAG_SERIES_MAX, LOGS, METRICS, SPANS};
use decisiongraph_cli::telemetry::{
    Exporters, LeaseChange, LogOptions, Observation, Observed, ScopeLag, Telemetry, TelemetryOptions, page,
};
use decisiongraph_projections::{Category, LogSeq, TenantId, catalogue};
use decisiongraph_store::Epoch;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

fn exporters() -> Exporters {
    let interval = Duration::from_secs(60);
    Exporters::start(&TelemetryOptions { name: "n1".to_owned(), otlp_endpoint: None, otlp_interval: interval })
        .expect("starts")
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).expect("a tenant")
}

struct Node(usize);

impl Observed for Node {
    fn observe(&self) -> Observation {
        let lag = |index: usize| ScopeLag {
            tenant: tenant(&format!("t{index}\"\\\n")),
            projection: "trace_summary",
            events: index as u64,
            age: Duration::from_secs(index as u64),
        };
        let mut seen = Observation::of((1..=self.0).map(lag).collect());
        for metric in METRICS.iter().filter(|metric| metric.kind == Kind::Gauge && !shown_by_lags(metric)) {
            let labels: Vec<_> = metric.attributes.iter().map(|_| "x").collect();
            seen.show(metric, if *metric == signals::MARK { 77.0 } else { 1.0 }, &labels);
        }
        seen
    }
}

/// True for gauges that an observation derives from the lags of scopes, or from nothing.
fn shown_by_lags(metric: &signals::Metric) -> bool {
    metric.name.starts_with("decisiongraph_lag_") || *metric == signals::BUILD_INFO
}

fn record_everything(telemetry: &Telemetry) {
    telemetry.retry("trace_summary", Category::Unavailable);
    telemetry.failure("trace_summary", Category::Conflict);
    telemetry.lease_change(LeaseChange::TakenOver);
    for metric in METRICS {
        let labels: Vec<_> = metric.attributes.iter().map(|_| "trace_summary").collect();
        match metric.kind {
            Kind::Counter => telemetry.add(metric, 20, &labels),
            Kind::Histogram(_) => telemetry.record(metric, 0.03, &labels),
            Kind::Gauge => {}
        }
    }
}

/// Attributes and value of a sample.
type Sample = (BTreeMap<String, String>, f64);

/// Parses a Prometheus page into samples by metric. Panics when a line is neither sample nor comment.
fn samples(page: &str) -> BTreeMap<String, Vec<Sample>> {
    let mut samples: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let (name, attributes) = series.split_once('{').unwrap_or((series, "}"));
        let attributes = attributes.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
        let attributes = attributes.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        samples.entry(name.to_owned()).or_default().push((attributes.collect(), value));
    }
    samples
}

#[tokio::test]
async fn every_declared_metric_is_on_the_page_with_its_kind_and_attributes() {
    let exporters = exporters();
    let telemetry = exporters.telemetry();
    let node: Arc<dyn Observed> = Arc::new(Node(2));
    telemetry.observe(Arc::downgrade(&node));
    record_everything(&telemetry);
    let page = telemetry.page();
    let samples = samples(&page);
    for metric in METRICS {
        let (kind, suffixes): (_, &[&str]) = match metric.kind {
            Kind::Counter => ("counter", &[""]),
            Kind::Gauge => ("gauge", &[""]),
            Kind::Histogram(_) => ("histogram", &["_bucket", "_sum", "_count"]),
        };
        assert!(page.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{} in {page}", metric.name);
        for suffix in suffixes {
            let series = samples.get(&format!("{}{suffix}", metric.name)).expect(metric.name);
            for (attributes, _) in series {
                let names: BTreeSet<_> = attributes.keys().map(String::as_str).filter(|name| *name != "le").collect();
                assert_eq!(names, metric.attributes.iter().map(|(name, _)| *name).collect(), "{}", metric.name);
            }
        }
    }
    let declared: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    for name in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = name.split(' ').next().unwrap_or_default();
        assert!(declared.contains(name) || name == "target_info", "{name} is not declared");
    }
    // What was recorded with each metric's own attributes, and no other series, has the recorded value.
    let of_label = |name: &str, label: &str| {
        let found = samples[name].iter().filter(|(attributes, _)| attributes.values().all(|value| value == label));
        found.map(|(_, value)| *value).sum::<f64>()
    };
    for metric in METRICS.iter().filter(|metric| !shown_by_lags(metric)) {
        let (name, expected) = match metric.kind {
            Kind::Counter => (metric.name.to_owned(), 20.0),
            Kind::Histogram(_) => (format!("{}_sum", metric.name), 0.03),
            Kind::Gauge => (metric.name.to_owned(), if *metric == signals::MARK { 77.0 } else { 1.0 }),
        };
        let label = if metric.kind == Kind::Gauge { "x" } else { "trace_summary" };
        assert_eq!(of_label(&name, label), expected, "{name}");
    }
    let counted = |name: &str| samples[name].iter().find(|(_, value)| *value == 1.0).map(|(of, _)| of.clone());
    assert_eq!(counted("decisiongraph_retries_total").expect("one")["category"], "unavailable");
    assert_eq!(counted("decisiongraph_failures_total").expect("one")["category"], "conflict");
    assert_eq!(counted("decisiongraph_lease_changes_total").expect("one")["change"], "taken_over");
}

/// A series must exist before its first count: `increase()` misses the count with which a series begins.
#[tokio::test]
async fn counters_are_there_before_they_count() {
    let exporters = exporters();
    let samples = samples(&exporters.telemetry().page());
    for name in ["decisiongraph_failures_total", "decisiongraph_retries_total"] {
        let series = samples.get(name).unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!(series.len(), catalogue::ALL.len() * Category::ALL.len(), "{name}");
        assert!(series.iter().all(|(_, value)| *value == 0.0), "{name}: {series:?}");
    }
    assert_eq!(samples["decisiongraph_lease_changes_total"].len(), 5);
    assert_eq!(samples["decisiongraph_events_applied_total"].len(), catalogue::ALL.len());
    let counters = METRICS.iter().filter(|metric| metric.kind == Kind::Counter);
    for metric in counters {
        let series = samples.get(metric.name).unwrap_or_else(|| panic!("{} is not there", metric.name));
        assert!(series.iter().all(|(_, value)| *value == 0.0), "{}: {series:?}", metric.name);
    }
    assert_eq!(samples["decisiongraph_connections_refused_total"].len(), 3 * Category::ALL.len());
    let restarts = &samples["decisiongraph_restarts_total"];
    assert!(restarts.iter().any(|(of, _)| of["child"] == "worker"), "{restarts:?}");
}

#[tokio::test]
async fn ten_thousand_tenants_do_not_make_ten_thousand_series() {
    let exporters = exporters();
    let telemetry = exporters.telemetry();
    let node: Arc<dyn Observed> = Arc::new(Node(10_000));
    telemetry.observe(Arc::downgrade(&node));
    let samples = samples(&telemetry.page());
    assert_eq!(samples["decisiongraph_lag_seconds"].len(), LAG_SERIES_MAX);
    assert!(samples["decisiongraph_lag_seconds"].iter().all(|(_, value)| *value > 9_700.0));
    let summary = |name: &str| {
        let series = samples[name].iter().find(|(attributes, _)| attributes["projection"] == "trace_summary");
        series.expect("a series").1
    };
    assert_eq!(summary("decisiongraph_lag_events_sum"), 50_005_000.0);
    assert_eq!(summary("decisiongraph_lag_seconds_max"), 10_000.0);
    // A node that is gone has no gauges; its counts stay.
    drop(node);
    telemetry.lease_change(LeaseChange::Lost);
    let page = telemetry.page();
    assert!(
        !page.contains("decisiongraph_lag_seconds{") && page.contains("decisiongraph_lease_changes_total"),
        "{page}"
    );
}

#[test]
fn telemetry_that_is_not_started_records_nothing() {
    let telemetry = Telemetry::default();
    record_everything(&telemetry);
    assert_eq!(telemetry.page(), "");
}

#[test]
fn spans_have_the_declared_names_and_fields() {
    let (acme, run) = (tenant("acme"), Uuid::from_u128(7));
    let made = tracing::subscriber::with_default(tracing_subscriber::registry(), || {
        let epoch = Epoch { counter: 3, token: run };
        [
            signals::batch_span(&acme, "trace_summary", LogSeq(1), LogSeq(2), Some(epoch), Some(run)),
            signals::job_span(&acme, run, "rebuild"),
            signals::admin_span("status"),
            signals::http_span("events", "id"),
        ]
        .map(|span| span.metadata().expect("enabled"))
    });
    for (metadata, declared) in made.iter().zip(SPANS) {
        assert_eq!((metadata.name(), metadata.target()), (declared.name, signals::TARGET));
        let fields: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        assert_eq!(fields, declared.fields, "{}", declared.name);
    }
    assert_eq!(made.len(), SPANS.len());
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Written;
    fn make_writer(&self) -> Written {
        self.clone()
    }
}

#[tokio::test]
async fn a_json_log_is_one_object_a_line_with_the_fields_of_its_span() {
    let written = Written::default();
    let options = LogOptions { filter: "info".to_owned(), format: LogFormat::Json, ansi: false };
    let subscriber = exporters().subscriber(&options, written.clone()).expect("a filter");
    tracing::subscriber::with_default(subscriber, || {
        let _in = signals::admin_span("status").entered();
        tracing::info!(category = "conflict", "two\nlines");
        tracing::debug!("not asked for");
    });
    let text = String::from_utf8(written.0.lock().expect("lock").clone()).expect("text");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert_eq!((&lines[0]["message"], &lines[0]["category"]), (&"two\nlines".into(), &"conflict".into()));
    assert_eq!(lines[0]["span"]["command"], "status");
    let wrong = LogOptions { filter: "=,=".to_owned(), ..options };
    assert_eq!(
        exporters().subscriber(&wrong, written).err().map(|error| error.category),
        Some(Category::InvalidArgument)
    );
}

#[test]
fn the_page_says_what_is_declared() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/TELEMETRY.md");
    if std::env::var_os("DECISIONGRAPH_BLESS").is_some() {
        std::fs::write(&path, page::markdown()).expect("written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, page::markdown(), "write it with DECISIONGRAPH_BLESS=1");
    let lag = METRICS.iter().filter(|metric| metric.attributes.iter().any(|(name, _)| *name == "tenant"));
    assert!(lag.clone().count() > 0);
    lag.for_each(|metric| assert!(metric.help.contains(&LAG_SERIES_MAX.to_string()), "{}", metric.help));
}

#[test]
fn every_log_event_of_the_library_is_declared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["admin", "engine", "http", "rpc", "runtime", "supervision", "cli/src/config", "cli/src/telemetry"];
    let files: Vec<PathBuf> = folders.iter().flat_map(|folder| sources(&root.join(folder))).collect();
    assert!(files.len() > 100, "{}", files.len());
    let mut undeclared = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("reads");
        for level in ["info", "warn", "error"] {
            for call in text.split(&format!("{level}!(")).skip(1) {
                if let Some(message) = last_literal(call)
                    && !LOGS.iter().any(|log| log.level == level && log.text == message)
                {
                    undeclared.push(format!("{}: {level} `{message}`", file.display()));
                }
            }
        }
    }
    assert!(undeclared.is_empty(), "declare in telemetry/signals.rs (LOGS):\n{}", undeclared.join("\n"));
}

/// Lists the files of the library: the program's own commands log nothing.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true if path.ends_with("tests") || path.ends_with("examples") => {}
            true => files.extend(sources(&path)),
            false => files.extend(path.extension().is_some_and(|end| end == "rs").then_some(path)),
        }
    }
    files
}

/// Returns the last string literal before the parenthesis that ends a macro's arguments: its message.
fn last_literal(call: &str) -> Option<String> {
    let (mut depth, mut last, mut characters) = (1, None, call.chars());
    while let Some(character) = characters.next() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '"' => {
                let mut literal = String::new();
                while let Some(inner) = characters.next().filter(|inner| *inner != '"') {
                    literal.push(if inner == '\\' { characters.next()? } else { inner });
                }
                last = Some(literal);
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    last
}
