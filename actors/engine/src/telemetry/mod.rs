//! Telemetry of a node: metrics, spans and logs, and their way to Prometheus and OpenTelemetry collectors.
//!
//! ```text
//!   runtime ──▶ Telemetry ──▶ instruments ──┬──▶ /metrics (Prometheus text)
//!   node    ──▶ Observed  ──▶ gauges  ──────┤
//!   spans   ──▶ tracing   ──▶ batches ──────┴──▶ OTLP over HTTP, when configured
//! ```
//!
//! *Guarantees.* Recording never waits and never fails. A collector that is away or hangs costs its own thread and the
//! exports it did not take. Every signal is declared in [`signals`].
//!
//! *Never here:* payloads, secrets.

mod observation;
pub mod page;
pub mod signals;

pub use observation::{AGE_MAX, Observation, Observed, ScopeLag};

use decisiongraph_projections::{Category, catalogue};
use decisiongraph_store::{RunMode, RunState};
use observation::{Summary, Watch};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Counter, Histogram, Meter};
use prometheus::{Registry, TextEncoder};
use signals::{Kind, Metric};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Records events of the runtime. Cheap to clone; the default one records nothing.
#[derive(Clone, Default)]
pub struct Telemetry(Option<Arc<Instruments>>);

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Telemetry(on)" } else { "Telemetry(off)" })
    }
}

/// Kinds of a node's supervisors, the node itself first.
pub const SUPERVISORS: [&str; 7] = ["node", "scopes", "tenant", "workers", "replay", "jobs", "links"];
/// Kinds of children that a supervisor starts again.
pub const CHILDREN: [&str; 15] = [
    "store_pool",
    "cluster",
    "admin",
    "high_water",
    "lease_keeper",
    "scopes",
    "tenant",
    "coordinator",
    "workers",
    "worker",
    "replay",
    "replay_coordinator",
    "jobs",
    "links",
    "link",
];
/// Doors by which a connection comes in.
const DOORS: [&str; 3] = ["socket", "tcp", "cluster"];

/// Change of a node's ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseChange {
    /// A scope was taken.
    Acquired,
    /// The lease ran out before it was renewed.
    Lost,
    /// A scope was given up.
    Released,
    /// A scope was taken from an owner whose lease was over.
    TakenOver,
    /// Another node took a scope: a commit or a renewal was refused.
    Fenced,
}

impl LeaseChange {
    const ALL: [LeaseChange; 5] =
        [LeaseChange::Acquired, LeaseChange::Lost, LeaseChange::Released, LeaseChange::TakenOver, LeaseChange::Fenced];

    const fn as_str(self) -> &'static str {
        match self {
            LeaseChange::Acquired => "acquired",
            LeaseChange::Lost => "lost",
            LeaseChange::Released => "released",
            LeaseChange::TakenOver => "taken_over",
            LeaseChange::Fenced => "fenced",
        }
    }
}

impl Telemetry {
    /// Records a committed batch: its events, their payload bytes when known, and its duration.
    pub fn batch(&self, projection: &'static str, events: u64, bytes: Option<u64>, took: Duration) {
        let Some(instruments) = &self.0 else { return };
        let attributes = [KeyValue::new("projection", projection)];
        instruments.events_applied.add(events, &attributes);
        instruments.batch_events.record(events as f64, &attributes);
        instruments.batch_duration.record(took.as_secs_f64(), &attributes);
        if let Some(bytes) = bytes {
            instruments.batch_bytes.record(bytes as f64, &attributes);
        }
    }

    /// Records that a fault that may pass is waited out.
    pub fn retry(&self, projection: &'static str, category: Category) {
        if let Some(instruments) = &self.0 {
            instruments.retries.add(1, &by_category(projection, category));
        }
    }

    /// Records that an error stops a projection.
    pub fn failure(&self, projection: &'static str, category: Category) {
        if let Some(instruments) = &self.0 {
            instruments.failures.add(1, &by_category(projection, category));
        }
    }

    /// Records that a supervisor started this child again. Only the kind is kept of an id as in the dump (`worker
    /// trace_summary`).
    pub fn restart(&self, child: &str) {
        if let Some(instruments) = &self.0 {
            instruments.restarts.add(1, &[KeyValue::new("child", kind_of(child))]);
        }
    }

    /// Records that this supervisor gave up. Only the kind is kept of its id.
    pub fn escalation(&self, supervisor: &str) {
        if let Some(instruments) = &self.0 {
            instruments.escalations.add(1, &[KeyValue::new("supervisor", kind_of(supervisor))]);
        }
    }

    /// Records a change of ownership.
    pub fn lease_change(&self, change: LeaseChange) {
        if let Some(instruments) = &self.0 {
            instruments.lease_changes.add(1, &[KeyValue::new("change", change.as_str())]);
        }
    }

    /// Records that the mark moves again after open appenders held it up for this long.
    pub fn mark_held(&self, held: Duration) {
        if let Some(instruments) = &self.0 {
            instruments.mark_hold_duration.record(held.as_secs_f64(), &[]);
        }
    }

    /// Records that a job ended on this node.
    pub fn job(&self, mode: RunMode, state: RunState, took: Duration) {
        if let Some(instruments) = &self.0 {
            let attributes = [KeyValue::new("mode", mode.as_str()), KeyValue::new("state", state.as_str())];
            instruments.job_duration.record(took.as_secs_f64(), &attributes);
        }
    }

    /// Records that a connection at this door did not become an admin session.
    pub fn refused(&self, door: &'static str, category: Category) {
        if let Some(instruments) = &self.0 {
            instruments.connections_refused.add(1, &refused_at(door, category));
        }
    }

    /// Records that an admin request was answered. `error` is the category of an error reply.
    pub fn admin_ask(&self, command: &'static str, error: Option<Category>, took: Duration) {
        if let Some(instruments) = &self.0 {
            let outcome = error.map_or("ok", Category::as_str);
            let attributes = [KeyValue::new("command", command), KeyValue::new("outcome", outcome)];
            instruments.admin_ask_duration.record(took.as_secs_f64(), &attributes);
        }
    }

    /// Makes the gauges show `observed` from now on, as long as it lives.
    pub fn observe(&self, observed: Weak<dyn Observed>) {
        if let Some(instruments) = &self.0 {
            instruments.watch.set(observed);
        }
    }

    /// Renders all metrics as Prometheus text; empty when nothing is recorded. Walks all series: not for a thread that
    /// serves actors.
    pub fn page(&self) -> String {
        let Some(instruments) = &self.0 else { return String::new() };
        let mut page = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&instruments.registry.gather(), &mut page) {
            tracing::debug!("the page of metrics is not whole: {error}");
        }
        page
    }

    /// Creates the instruments of [`signals::METRICS`] on this meter.
    pub fn on(meter: &Meter, registry: Registry) -> Telemetry {
        let watch = Arc::new(Watch::default());
        gauges(meter, &watch);
        let instruments = Instruments {
            events_applied: counter(meter, &signals::EVENTS_APPLIED),
            retries: counter(meter, &signals::RETRIES),
            failures: counter(meter, &signals::FAILURES),
            restarts: counter(meter, &signals::RESTARTS),
            escalations: counter(meter, &signals::ESCALATIONS),
            lease_changes: counter(meter, &signals::LEASE_CHANGES),
            batch_duration: histogram(meter, &signals::BATCH_DURATION),
            batch_events: histogram(meter, &signals::BATCH_EVENTS),
            batch_bytes: histogram(meter, &signals::BATCH_BYTES),
            mark_hold_duration: histogram(meter, &signals::MARK_HOLD_DURATION),
            job_duration: histogram(meter, &signals::JOB_DURATION),
            admin_ask_duration: histogram(meter, &signals::ADMIN_ASK_DURATION),
            connections_refused: counter(meter, &signals::CONNECTIONS_REFUSED),
            watch,
            registry,
        };
        instruments.begin();
        Telemetry(Some(Arc::new(instruments)))
    }
}

impl Instruments {
    /// Shows the counters before they count: a query for their increase sees the first one, too.
    fn begin(&self) {
        for projection in catalogue::ALL.iter().map(|projection| projection.name()) {
            self.events_applied.add(0, &[KeyValue::new("projection", projection)]);
            for category in Category::ALL {
                self.retries.add(0, &by_category(projection, category));
                self.failures.add(0, &by_category(projection, category));
            }
        }
        for change in LeaseChange::ALL {
            self.lease_changes.add(0, &[KeyValue::new("change", change.as_str())]);
        }
        for child in CHILDREN {
            self.restarts.add(0, &[KeyValue::new("child", child)]);
        }
        for supervisor in SUPERVISORS {
            self.escalations.add(0, &[KeyValue::new("supervisor", supervisor)]);
        }
        for door in DOORS {
            for category in Category::ALL {
                self.connections_refused.add(0, &refused_at(door, category));
            }
        }
    }
}

fn by_category(projection: &'static str, category: Category) -> [KeyValue; 2] {
    [KeyValue::new("projection", projection), KeyValue::new("category", category.as_str())]
}

fn refused_at(door: &'static str, category: Category) -> [KeyValue; 2] {
    [KeyValue::new("door", door), KeyValue::new("category", category.as_str())]
}

/// Returns the first word of a child's id: `tenant acme` is one of many, `tenant` is not.
fn kind_of(id: &str) -> String {
    id.rsplit('/').next().unwrap_or(id).split_whitespace().next().unwrap_or("unknown").to_owned()
}

struct Instruments {
    events_applied: Counter<u64>,
    retries: Counter<u64>,
    failures: Counter<u64>,
    restarts: Counter<u64>,
    escalations: Counter<u64>,
    lease_changes: Counter<u64>,
    batch_duration: Histogram<f64>,
    batch_events: Histogram<f64>,
    batch_bytes: Histogram<f64>,
    mark_hold_duration: Histogram<f64>,
    job_duration: Histogram<f64>,
    admin_ask_duration: Histogram<f64>,
    connections_refused: Counter<u64>,
    watch: Arc<Watch>,
    registry: Registry,
}

fn counter(meter: &Meter, metric: &'static Metric) -> Counter<u64> {
    meter.u64_counter(metric.name).with_unit(metric.unit).with_description(metric.help).build()
}

fn histogram(meter: &Meter, metric: &'static Metric) -> Histogram<f64> {
    let builder = meter.f64_histogram(metric.name).with_unit(metric.unit).with_description(metric.help);
    match metric.kind {
        Kind::Histogram(bounds) => builder.with_boundaries(bounds.to_vec()).build(),
        Kind::Counter | Kind::Gauge => builder.build(),
    }
}

type Show = fn(&Summary, &dyn AsyncInstrument<f64>);

/// Each gauge, and how it shows a summary.
const GAUGES: &[(&Metric, Show)] = &[
    (&signals::BUILD_INFO, |_, gauge| gauge.observe(1.0, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))])),
    (&signals::LAG_EVENTS, |summary, gauge| {
        for lag in &summary.worst {
            gauge.observe(lag.events as f64, &of_scope(lag));
        }
    }),
    (&signals::LAG_SECONDS, |summary, gauge| {
        for lag in &summary.worst {
            gauge.observe(lag.age.as_secs_f64(), &of_scope(lag));
        }
    }),
    (&signals::LAG_EVENTS_SUM, |summary, gauge| {
        for (projection, total) in &summary.by_projection {
            gauge.observe(total.events_sum as f64, &[KeyValue::new("projection", *projection)]);
        }
    }),
    (&signals::LAG_EVENTS_MAX, |summary, gauge| {
        for (projection, total) in &summary.by_projection {
            gauge.observe(total.events_max as f64, &[KeyValue::new("projection", *projection)]);
        }
    }),
    (&signals::LAG_SECONDS_MAX, |summary, gauge| {
        for (projection, total) in &summary.by_projection {
            gauge.observe(total.age_max.as_secs_f64(), &[KeyValue::new("projection", *projection)]);
        }
    }),
    (&signals::MARK, |summary, gauge| gauge.observe(summary.observation.mark.0 as f64, &[])),
    (&signals::MARK_HELD, |summary, gauge| gauge.observe(summary.observation.mark_held.as_secs_f64(), &[])),
    (&signals::DATABASE_UP, |summary, gauge| gauge.observe(f64::from(u8::from(summary.observation.database_up)), &[])),
    (&signals::LEASE_LEFT, |summary, gauge| gauge.observe(summary.observation.lease_left.as_secs_f64(), &[])),
    (&signals::TENANTS, |summary, gauge| {
        let observation = &summary.observation;
        let moving = ("moving", observation.tenants_moving);
        for (state, count) in
            [("running", observation.tenants_running), ("waiting", observation.tenants_waiting), moving]
        {
            gauge.observe(count as f64, &[KeyValue::new("state", state)]);
        }
    }),
    (&signals::MEMBERS, |summary, gauge| {
        for (state, count) in &summary.observation.members {
            gauge.observe(*count as f64, &[KeyValue::new("state", *state)]);
        }
    }),
    (&signals::LINKS, |summary, gauge| {
        for (state, count) in &summary.observation.links {
            gauge.observe(*count as f64, &[KeyValue::new("state", *state)]);
        }
    }),
    (&signals::LINK_PING, |summary, gauge| {
        for (peer, took) in &summary.observation.pings {
            gauge.observe(took.as_secs_f64(), &[KeyValue::new("peer", peer.clone())]);
        }
    }),
    (&signals::JOBS, |summary, gauge| {
        for (mode, state, count) in &summary.observation.jobs {
            let attributes = [KeyValue::new("mode", mode.as_str()), KeyValue::new("state", state.as_str())];
            gauge.observe(*count as f64, &attributes);
        }
    }),
    (&signals::OPEN_FAILURES, |summary, gauge| gauge.observe(summary.observation.counts.open_failures as f64, &[])),
    (&signals::PAUSED_SCOPES, |summary, gauge| gauge.observe(summary.observation.counts.paused as f64, &[])),
    (&signals::DEVIATING_SCOPES, |summary, gauge| gauge.observe(summary.observation.counts.deviating as f64, &[])),
    (&signals::DRIFTED_SCOPES, |summary, gauge| gauge.observe(summary.observation.counts.drifted as f64, &[])),
];

fn of_scope(lag: &ScopeLag) -> [KeyValue; 2] {
    [KeyValue::new("tenant", lag.tenant.to_string()), KeyValue::new("projection", lag.projection)]
}

fn gauges(meter: &Meter, watch: &Arc<Watch>) {
    let projections: Vec<&'static str> = catalogue::ALL.iter().map(|projection| projection.name()).collect();
    for (metric, show) in GAUGES {
        let (watch, projections) = (Arc::clone(watch), projections.clone());
        let gauge = meter.f64_observable_gauge(metric.name).with_unit(metric.unit).with_description(metric.help);
        gauge
            .with_callback(move |gauge| {
                if let Some(summary) = watch.look(&projections) {
                    show(&summary, gauge);
                }
            })
            .build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_gauge_is_shown() {
        let shown: Vec<_> = GAUGES.iter().map(|(metric, _)| metric.name).collect();
        let declared: Vec<_> =
            signals::METRICS.iter().filter(|metric| metric.kind == Kind::Gauge).map(|metric| metric.name).collect();
        assert_eq!(shown, declared);
    }

    #[test]
    fn ids_with_names_in_them_count_as_their_kind() {
        for (id, kind) in
            [("tenant acme", "tenant"), ("node/scopes/tenant a/workers", "workers"), ("job 7", "job"), ("", "unknown")]
        {
            assert_eq!(kind_of(id), kind);
        }
    }
}
