//! Present state of a node: the values of the gauges, looked up when a reader asks for them.
//!
//! *Guarantees.* Lag has at most [`LAG_SERIES_MAX`] series of its own; the rest is in the sums and maxima. Everything
//! is computed from one observation, at most [`AGE_MAX`] old.

use super::signals::LAG_SERIES_MAX;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_store::{RunMode, RunState, ScopeCounts};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Oldest observation that a gauge shows: long enough that one page is made from one observation.
pub const AGE_MAX: Duration = Duration::from_millis(100);

/// Reports the present state of a node. Answers from memory, within milliseconds, and never waits.
pub trait Observed: Send + Sync {
    /// Takes an observation.
    fn observe(&self) -> Observation;
}

/// Present state of a node.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// True when the database answers.
    pub database_up: bool,
    /// Time for which the lease may still be trusted.
    pub lease_left: Duration,
    /// Safe mark.
    pub mark: LogSeq,
    /// Time for which open appenders have held up the mark; zero when none does.
    pub mark_held: Duration,
    /// Tenants whose actors run.
    pub tenants_running: usize,
    /// Tenants that wait for their turn.
    pub tenants_waiting: usize,
    /// Tenants that are handed over to other nodes.
    pub tenants_moving: usize,
    /// Nodes of the cluster by state.
    pub members: Vec<(&'static str, usize)>,
    /// Links to other nodes by state.
    pub links: Vec<(&'static str, usize)>,
    /// Peers that answer, and the duration of the last ping, there and back.
    pub pings: Vec<(String, Duration)>,
    /// Jobs of this node.
    pub jobs: Vec<(RunMode, RunState, usize)>,
    /// Scopes of the database that stand out, and open failures, as last counted.
    pub counts: ScopeCounts,
    /// Scopes whose lag is known. Current scopes may be left out.
    pub lags: Vec<ScopeLag>,
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

/// An observation with its lag summed up.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub observation: Observation,
    /// The scopes that lag most, at most [`LAG_SERIES_MAX`]; the order is by age, then events, then name.
    pub worst: Vec<ScopeLag>,
    /// All scopes, by projection.
    pub by_projection: BTreeMap<&'static str, Total>,
}

/// The lag of a projection over all scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Total {
    pub events_sum: u64,
    pub events_max: u64,
    pub age_max: Duration,
}

/// Sums up an observation. `projections` have a series even when nothing lags.
pub(super) fn summarize(mut observation: Observation, projections: &[&'static str]) -> Summary {
    let mut by_projection: BTreeMap<_, _> = projections.iter().map(|name| (*name, Total::default())).collect();
    for lag in &observation.lags {
        let total = by_projection.entry(lag.projection).or_default();
        total.events_sum = total.events_sum.saturating_add(lag.events);
        total.events_max = total.events_max.max(lag.events);
        total.age_max = total.age_max.max(lag.age);
    }
    let mut worst = std::mem::take(&mut observation.lags);
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
    Summary { observation, worst, by_projection }
}

/// The observed node, and its last observation.
#[derive(Default)]
pub(super) struct Watch(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    who: Option<Weak<dyn Observed>>,
    last: Option<(Instant, Arc<Summary>)>,
}

impl Watch {
    /// Observes `who` from now on, without keeping it alive.
    pub fn set(&self, who: Weak<dyn Observed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Watched { who: Some(who), last: None };
    }

    /// Returns the present state; `None` when no node is observed.
    pub fn look(&self, projections: &[&'static str]) -> Option<Arc<Summary>> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let who = watched.who.as_ref()?.upgrade()?;
        if let Some((at, summary)) = &watched.last
            && at.elapsed() < AGE_MAX
        {
            return Some(Arc::clone(summary));
        }
        let summary = Arc::new(summarize(who.observe(), projections));
        watched.last = Some((Instant::now(), Arc::clone(&summary)));
        Some(summary)
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
        let lags = (0..10_000).flat_map(|i| [lag(i, "a", 2, i as u64), lag(i, "b", i as u64, 1)]).collect();
        let summary = summarize(Observation { lags, ..Observation::default() }, &["a", "b", "c"]);
        assert_eq!(summary.worst.len(), LAG_SERIES_MAX);
        assert!(summary.worst.iter().all(|lag| lag.projection == "a" && lag.age.as_secs() >= 9_700));
        assert_eq!(summary.worst[0], lag(9_999, "a", 2, 9_999));
        let second = Duration::from_secs(1);
        assert_eq!(summary.by_projection["a"], Total { events_sum: 20_000, events_max: 2, age_max: second * 9_999 });
        assert_eq!(summary.by_projection["b"], Total { events_sum: 49_995_000, events_max: 9_999, age_max: second });
        assert_eq!(summary.by_projection["c"], Total::default());
    }
}
