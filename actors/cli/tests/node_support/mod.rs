//! Support for the tests of a running node: nodes in this process, appenders that never give up, and the final check.
#![allow(dead_code)]

use crate::support;
use decisiongraph_engine::EngineConfig;
use decisiongraph_engine::failure::Pauses;
use decisiongraph_projections::{Admitted, LogSeq, TenantId, catalogue};
use decisiongraph_runtime::node::{Identity, Node, NodeBounds, NodeParts, NodeSettings};
use decisiongraph_store::{AppendMode, ListFilter, RunMode, Scope, Store, Verdict};
use decisiongraph_supervision::ActorEntry;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// True when the large sizes are run.
pub fn soak() -> bool {
    std::env::var_os("DECISIONGRAPH_SOAK").is_some()
}

/// Returns the longest wait for every event to be applied. In a soak the machine may be busy with much else.
pub fn applied_within() -> Duration {
    Duration::from_secs(if soak() { 600 } else { 180 })
}

/// Returns the longest time for the rounds of one test.
fn rounds_max() -> Duration {
    Duration::from_secs(if soak() { 600 } else { 60 })
}

/// Yields the rounds of a test, few or many, while there is time. A run that takes too long ends in order and reports
/// its progress.
pub fn rounds(few: usize, many: usize) -> impl Iterator<Item = usize> {
    let (count, end) = (if soak() { many } else { few }, Instant::now() + rounds_max());
    (0..count).take_while(move |round| {
        let on = *round == 0 || Instant::now() < end;
        if !on {
            println!("time is up after {round} of {count} rounds");
        }
        on
    })
}

/// Returns bounds with short pauses; all others as in production.
pub fn bounds() -> NodeBounds {
    NodeBounds {
        poll: Duration::from_millis(200),
        sweep: Duration::from_secs(1),
        adopt: Duration::from_millis(300),
        retry: Pauses { first: Duration::from_millis(10), longest: Duration::from_millis(500) },
        recheck: Pauses { first: Duration::from_millis(50), longest: Duration::from_millis(500) },
        ..NodeBounds::default()
    }
}

pub fn config(batch: usize) -> EngineConfig {
    EngineConfig { lease: Duration::from_secs(2), ..support::config(batch) }
}

/// Returns the settings of a node that is alone, without listeners.
pub fn settings(store: &Arc<dyn Store>, name: &str, batch: usize, bounds: NodeBounds) -> NodeSettings {
    let identity = Identity { owner: support::owner(name), former: None };
    NodeSettings { engine: config(batch), bounds, ..NodeSettings::new(Arc::clone(store), identity) }
}

pub async fn start(store: &Arc<dyn Store>, name: &str, batch: usize, bounds: NodeBounds) -> Node {
    Node::start(NodeParts::new(settings(store, name, batch, bounds))).await.expect("the node starts")
}

pub fn named(index: usize) -> TenantId {
    TenantId::new(format!("t{index}")).expect("an id")
}

/// Appends a chunk until it is stored, despite any fault of the database.
pub async fn insist(store: &Arc<dyn Store>, tenant: &TenantId, events: &[Admitted]) -> u64 {
    let mut refused = 0;
    loop {
        match store.append(tenant, events, AppendMode::AllOrNothing).await {
            Ok(verdicts) => {
                for verdict in &verdicts {
                    assert!(matches!(verdict, Verdict::Accepted { .. } | Verdict::Repeated { .. }), "{verdict:?}");
                }
                return refused;
            }
            Err(_) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Appends to every tenant, two traces at a time, until stopped.
pub struct Appenders {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<u64>>,
}

impl Appenders {
    pub fn start(store: &Arc<dyn Store>, tenants: usize, pause: Duration) -> Appenders {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..tenants)
            .map(|index| {
                let (store, stop, tenant) = (Arc::clone(store), Arc::clone(&stop), named(index));
                tokio::spawn(async move {
                    let mut events = 0;
                    let mut first = 0;
                    while !stop.load(Ordering::SeqCst) || first == 0 {
                        let chunk = support::log(2, first);
                        insist(&store, &tenant, &chunk).await;
                        events += chunk.len() as u64;
                        first += 2;
                        tokio::time::sleep(pause).await;
                    }
                    events
                })
            })
            .collect();
        Appenders { stop, tasks }
    }

    /// Stops the appenders and returns the number of events in the log.
    pub async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let mut events = 0;
        for task in self.tasks {
            events += task.await.expect("the appender ends well");
        }
        events
    }
}

/// Waits for a condition.
pub async fn until(what: &str, deadline: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !holds().await {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// True when every scope of these tenants has applied every event.
pub async fn current(store: &Arc<dyn Store>, tenants: usize) -> bool {
    let Ok(view) = store.view().await else { return false };
    for index in 0..tenants {
        let tenant = named(index);
        let Ok(last) = view.last_log_seq(&tenant, None).await else { return false };
        for projection in catalogue::ALL {
            match view.scope(&Scope::new(&tenant, projection)).await {
                Ok(Some(row)) if row.position.cursor >= last && last > LogSeq::ORIGIN => {}
                _ => return false,
            }
        }
    }
    true
}

/// True when every projection of this tenant has applied something.
pub async fn begun(store: &Arc<dyn Store>, tenant: &TenantId) -> bool {
    let Ok(view) = store.view().await else { return false };
    match view.scopes(Some(tenant)).await {
        Ok(rows) => rows.len() == catalogue::ALL.len() && rows.iter().all(|row| row.position.cursor > LogSeq::ORIGIN),
        Err(_) => false,
    }
}

pub async fn settled(node: &Node, tenants: usize, deadline: Duration) {
    let store = Arc::clone(&node.parts().store);
    let end = Instant::now() + deadline;
    while !current(&store, tenants).await {
        if Instant::now() > end {
            panic!("not every event is applied within {deadline:?}:\n{}", dump(node));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn dump(node: &Node) -> String {
    let entries = node.parts().table.snapshot("node", None, 400);
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!(
                "{} [{}] restarts {} depth {} last {:?}: {}",
                entry.path,
                entry.state,
                entry.restarts_total,
                entry.mailbox_depth,
                entry.last_message,
                entry.work.as_deref().unwrap_or_default()
            )
        })
        .collect();
    lines.join("\n")
}

/// Checks that every tenant's stored digest, rows and log agree, by a fold of the log from its origin. Nothing may have
/// failed.
pub async fn reckon(store: &Arc<dyn Store>, tenants: usize) {
    let engine = support::engine(store, 500);
    for index in 0..tenants {
        let tenant = named(index);
        let request = decisiongraph_engine::RunRequest { tenant: tenant.clone(), ..support::request(RunMode::Verify) };
        let report = engine.run(&request, &Default::default()).await.expect("verifies");
        assert!(!report.drifted(), "{report:?}");
        assert_eq!(report.scopes.len(), catalogue::ALL.len());
        let view = store.view().await.expect("a view");
        let last = view.last_log_seq(&tenant, None).await.expect("a position");
        let open = ListFilter { tenant: Some(tenant), open_only: true, limit: 10, ..ListFilter::default() };
        let failures = view.failures(&open).await.expect("a list").items;
        assert!(failures.is_empty(), "open: {failures:?}");
        for scope in &report.scopes {
            assert_eq!((scope.cursor, scope.failure.as_ref()), (last, None), "{scope:?}");
        }
    }
}

/// Keeps the kills below each supervisor's restart intensity, by its budget in the dump.
#[derive(Default)]
pub struct Pace(HashMap<String, Vec<Instant>>);

impl Pace {
    /// True when a child of this supervisor may be killed now: the supervisor keeps at least half of its budget.
    fn allows(&mut self, parent: &ActorEntry) -> bool {
        let Some(budget) = parent.budget else { return false };
        let kills = self.0.entry(parent.path.clone()).or_default();
        let period = Duration::from_millis(budget.period_ms);
        kills.retain(|at| at.elapsed() < period);
        if kills.len() as u32 >= budget.allowed.div_ceil(2).max(1) || budget.in_window >= budget.allowed.div_ceil(2) {
            return false;
        }
        kills.push(Instant::now());
        true
    }
}

/// Kills one actor of the node, if its supervisor does not give up for it. Returns the actor's kind.
pub fn kill_an_actor(node: &Node, pace: &mut Pace, dice: &mut Dice) -> Option<String> {
    let entries = node.parts().table.snapshot("node", None, 10_000);
    let below: Vec<&ActorEntry> = entries.iter().filter(|entry| entry.path != "node").collect();
    let victim = below[dice.below(below.len())];
    let parent_path = victim.path.rsplit_once('/').map_or("node", |(parent, _)| parent);
    let parent = entries.iter().find(|entry| entry.path == parent_path)?;
    if !pace.allows(parent) {
        return None;
    }
    node.parts().table.cell(&victim.path)?.kill();
    let kind = victim.path.rsplit('/').next().unwrap_or_default();
    Some(kind.split(' ').next().unwrap_or_default().to_owned())
}

/// SplitMix64, for schedules that can be repeated from a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
