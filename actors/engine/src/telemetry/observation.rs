//! Present state of a node: the values of the gauges, looked up when a reader asks for them.
//!
//! *Guarantees.* Lag has at most [`LAG_SERIES_MAX`] series of its own; the rest is in the sums and maxima. Everything
//! is computed from one observation, at most [`AGE_MAX`] old.

use super::signals::{self, LAG_SERIES_MAX, Metric, Values};
use decisiongraph_projections::TenantId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Oldest observation that a gauge shows: long enough that one page is made from one observation.
pub const AGE_MAX: Duration = Duration::from_millis(100);

/// Reports the present state of a node. Answers from memory, within milliseconds, and never waits.
pub trait Observed: Send + Sync {
    /// Takes an observation.
    fn observe(&self) -> Observation;
}

/// Present state of a node: samples of the gauges, and the lag of scopes, which is summed up.
#[derive(Debug, Default)]
pub struct Observation {
    samples: Samples,
    /// Scopes whose lag is known. Current scopes may be left out.
    pub lags: Vec<ScopeLag>,
}

impl Observation {
    /// Starts an observation with the lag of scopes.
    pub fn of(lags: Vec<ScopeLag>) -> Observation {
        Observation { samples: Samples::default(), lags }
    }

    /// Adds a sample of a gauge. `labels` are the values of the metric's attributes, in their order.
    pub fn show(&mut self, metric: &Metric, value: f64, labels: &[&str]) {
        self.samples.add(metric, value, labels);
    }

    /// Returns the sum of a gauge's samples.
    pub fn value(&self, metric: &Metric) -> f64 {
        self.samples.of(metric).iter().map(|(_, value)| value).sum()
    }
}

/// Labels and values of the gauges, by name of the metric.
#[derive(Debug, Default)]
pub(super) struct Samples(HashMap<&'static str, Vec<(Vec<String>, f64)>>);

impl Samples {
    fn add(&mut self, metric: &Metric, value: f64, labels: &[&str]) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.entry(metric.name).or_default().push((labels, value));
    }

    /// Returns the samples of this gauge.
    pub fn of(&self, metric: &Metric) -> &[(Vec<String>, f64)] {
        self.0.get(metric.name).map_or(&[], Vec::as_slice)
    }
}

/// Lag of a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeLag {
    /// Tenant of the scope.
    pub tenant: TenantId,
    /// Projection of the scope.
    pub projection: &'static str,
    /// Events between cursor and mark, as far as known.
    pub events: u64,
    /// Age of the oldest of these events.
    pub age: Duration,
}

/// The lag of a projection over all scopes.
#[derive(Default)]
struct Total {
    events_sum: u64,
    events_max: u64,
    age_max: Duration,
}

/// Turns an observation into samples. Each projection has samples even when nothing lags.
fn summarize(observation: Observation) -> Samples {
    let Observation { mut samples, lags: mut worst } = observation;
    samples.add(&signals::BUILD_INFO, 1.0, &[env!("CARGO_PKG_VERSION")]);
    let mut by_projection: BTreeMap<_, _> =
        Values::Projections.list().into_iter().map(|name| (name, Total::default())).collect();
    for lag in &worst {
        let total = by_projection.entry(lag.projection).or_default();
        total.events_sum = total.events_sum.saturating_add(lag.events);
        total.events_max = total.events_max.max(lag.events);
        total.age_max = total.age_max.max(lag.age);
    }
    for (projection, total) in by_projection {
        samples.add(&signals::LAG_EVENTS_SUM, total.events_sum as f64, &[projection]);
        samples.add(&signals::LAG_EVENTS_MAX, total.events_max as f64, &[projection]);
        samples.add(&signals::LAG_SECONDS_MAX, total.age_max.as_secs_f64(), &[projection]);
    }
    let order = |a: &ScopeLag, b: &ScopeLag| {
        (b.age, b.events)
            .cmp(&(a.age, a.events))
            .then_with(|| (&a.tenant, a.projection).cmp(&(&b.tenant, b.projection)))
    };
    if worst.len() > LAG_SERIES_MAX {
        worst.select_nth_unstable_by(LAG_SERIES_MAX, order);
        worst.truncate(LAG_SERIES_MAX);
    }
    worst.sort_unstable_by(order);
    for lag in worst {
        let labels = [lag.tenant.as_str(), lag.projection];
        samples.add(&signals::LAG_EVENTS, lag.events as f64, &labels);
        samples.add(&signals::LAG_SECONDS, lag.age.as_secs_f64(), &labels);
    }
    samples
}

/// The observed node, and its last observation.
#[derive(Default)]
pub(super) struct Watch(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    who: Option<Weak<dyn Observed>>,
    last: Option<(Instant, Arc<Samples>)>,
}

impl Watch {
    /// Observes `who` from now on, without keeping it alive.
    pub fn set(&self, who: Weak<dyn Observed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Watched { who: Some(who), last: None };
    }

    /// Returns the present state; `None` when no node is observed.
    pub fn look(&self) -> Option<Arc<Samples>> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let who = watched.who.as_ref()?.upgrade()?;
        if let Some((at, samples)) = &watched.last
            && at.elapsed() < AGE_MAX
        {
            return Some(Arc::clone(samples));
        }
        let samples = Arc::new(summarize(who.observe()));
        watched.last = Some((Instant::now(), Arc::clone(&samples)));
        Some(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(tenant: usize, projection: &'static str, events: u64, seconds: u64) -> ScopeLag {
        let tenant = TenantId::new(format!("t{tenant:05}")).expect("a tenant");
        ScopeLag { tenant, projection, events, age: Duration::from_secs(seconds) }
    }

    #[test]
    fn ten_thousand_tenants_have_a_bounded_number_of_series_and_whole_sums() {
        let [first, second, third] = Values::Projections.list()[..] else { panic!("three projections") };
        let lags = (0..10_000).flat_map(|i| [lag(i, first, 2, i as u64), lag(i, second, i as u64, 1)]);
        let observation = Observation::of(lags.collect());
        let samples = summarize(observation);
        let worst = samples.of(&signals::LAG_SECONDS);
        assert_eq!((worst.len(), samples.of(&signals::LAG_EVENTS).len()), (LAG_SERIES_MAX, LAG_SERIES_MAX));
        assert!(worst.iter().all(|(labels, age)| labels[1] == first && *age >= 9_700.0));
        assert_eq!(worst[0], (vec!["t09999".to_owned(), first.to_owned()], 9_999.0));
        let totals = |projection: &str| {
            [signals::LAG_EVENTS_SUM, signals::LAG_EVENTS_MAX, signals::LAG_SECONDS_MAX].map(|metric| {
                let of = samples.of(&metric).iter().find(|(labels, _)| labels[0] == projection);
                of.map_or(f64::NAN, |(_, value)| *value)
            })
        };
        assert_eq!(totals(first), [20_000.0, 2.0, 9_999.0]);
        assert_eq!(totals(second), [49_995_000.0, 9_999.0, 1.0]);
        assert_eq!(totals(third), [0.0; 3]);
    }
}
