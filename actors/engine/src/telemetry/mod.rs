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

use decisiongraph_projections::Category;
use observation::Watch;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Counter, Histogram, Meter};
use prometheus::{Registry, TextEncoder};
use signals::{Kind, Metric};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Records events of the runtime. Cheap to clone; the default one records nothing.
#[derive(Clone, Default)]
pub struct Telemetry(Option<Arc<Instruments>>);

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Telemetry(on)" } else { "Telemetry(off)" })
    }
}

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
    /// Words of all changes.
    pub const WORDS: [&'static str; 5] = ["acquired", "lost", "released", "taken_over", "fenced"];

    const fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

impl Telemetry {
    /// Serves the page of a registry of another program than a node: nothing is recorded in it here.
    pub fn of_registry(registry: Registry) -> Telemetry {
        let (by_name, watch) = (HashMap::new(), Arc::new(Watch::default()));
        Telemetry(Some(Arc::new(Instruments { by_name, watch, registry })))
    }

    /// Adds to a counter. `labels` are the values of the metric's attributes, in their order.
    pub fn add(&self, metric: &Metric, count: u64, labels: &[&'static str]) {
        if let Some(Instrument::Counter(counter)) = self.instrument(metric) {
            counter.add(count, &key_values(metric, labels));
        }
    }

    /// Records a value in a histogram. `labels` are the values of the metric's attributes, in their order.
    pub fn record(&self, metric: &Metric, value: f64, labels: &[&'static str]) {
        if let Some(Instrument::Histogram(histogram)) = self.instrument(metric) {
            histogram.record(value, &key_values(metric, labels));
        }
    }

    fn instrument(&self, metric: &Metric) -> Option<&Instrument> {
        let instruments = self.0.as_ref()?;
        let instrument = instruments.by_name.get(metric.name);
        debug_assert!(instrument.is_some(), "{} is not in METRICS, or is a gauge", metric.name);
        instrument
    }

    /// Records that a worker waits until a transient fault is over.
    pub fn retry(&self, projection: &'static str, category: Category) {
        self.add(&signals::RETRIES, 1, &[projection, category.as_str()]);
    }

    /// Records that an error stops a projection.
    pub fn failure(&self, projection: &'static str, category: Category) {
        self.add(&signals::FAILURES, 1, &[projection, category.as_str()]);
    }

    /// Records a change of ownership.
    pub fn lease_change(&self, change: LeaseChange) {
        self.add(&signals::LEASE_CHANGES, 1, &[change.word()]);
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
            tracing::debug!("the page of metrics is incomplete: {error}");
        }
        page
    }

    /// Creates the instruments of [`signals::METRICS`] on this meter. Counters show 0 before they count: a query for
    /// their increase sees the first count, too.
    pub fn on(meter: &Meter, registry: Registry) -> Telemetry {
        let watch = Arc::new(Watch::default());
        let mut by_name = HashMap::new();
        for metric in signals::METRICS {
            match metric.kind {
                Kind::Counter => {
                    let counter = meter.u64_counter(metric.name).with_unit(metric.unit).with_description(metric.help);
                    let counter = counter.build();
                    combinations(metric).iter().for_each(|labels| counter.add(0, &key_values(metric, labels)));
                    by_name.insert(metric.name, Instrument::Counter(counter));
                }
                Kind::Histogram(bounds) => {
                    let histogram =
                        meter.f64_histogram(metric.name).with_unit(metric.unit).with_description(metric.help);
                    let histogram = histogram.with_boundaries(bounds.to_vec()).build();
                    by_name.insert(metric.name, Instrument::Histogram(histogram));
                }
                Kind::Gauge => {
                    let watch = Arc::clone(&watch);
                    let gauge =
                        meter.f64_observable_gauge(metric.name).with_unit(metric.unit).with_description(metric.help);
                    let show = move |gauge: &dyn AsyncInstrument<f64>| {
                        let samples = watch.look();
                        for (labels, value) in samples.iter().flat_map(|samples| samples.of(metric)) {
                            gauge.observe(*value, &key_values(metric, labels));
                        }
                    };
                    gauge.with_callback(show).build();
                }
            }
        }
        Telemetry(Some(Arc::new(Instruments { by_name, watch, registry })))
    }
}

/// Pairs the metric's attributes with their values.
fn key_values<V: Clone + Into<opentelemetry::Value>>(metric: &Metric, labels: &[V]) -> Vec<KeyValue> {
    debug_assert_eq!(metric.attributes.len(), labels.len(), "{}", metric.name);
    metric.attributes.iter().zip(labels).map(|((name, _), label)| KeyValue::new(*name, label.clone())).collect()
}

/// Lists every combination of the values that the metric's attributes can have.
fn combinations(metric: &Metric) -> Vec<Vec<&'static str>> {
    metric.attributes.iter().fold(vec![Vec::new()], |combinations, (_, values)| {
        let with_each = |labels: Vec<&'static str>| {
            values.list().into_iter().map(move |value| [labels.as_slice(), &[value]].concat())
        };
        combinations.into_iter().flat_map(with_each).collect()
    })
}

/// Returns the kind of a child by its id in the actor tree: `tenant` for `node/scopes/tenant acme`.
pub fn kind_of(id: &str) -> &'static str {
    let word = id.rsplit('/').next().unwrap_or(id).split_whitespace().next().unwrap_or_default();
    let mut known = signals::CHILDREN.iter().chain(&signals::SUPERVISORS);
    known.find(|kind| **kind == word).copied().unwrap_or("unknown")
}

enum Instrument {
    Counter(Counter<u64>),
    Histogram(Histogram<f64>),
}

struct Instruments {
    /// Counters and histograms.
    by_name: HashMap<&'static str, Instrument>,
    watch: Arc<Watch>,
    registry: Registry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_names_in_them_count_as_their_kind() {
        for (id, kind) in [
            ("tenant acme", "tenant"),
            ("node/scopes/tenant a/workers", "workers"),
            ("x 7", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(kind_of(id), kind);
        }
    }
}
