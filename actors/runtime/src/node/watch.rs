//! Monitoring view of the node: the values of the gauges, and the answers of `/livez` and `/readyz`.
//!
//! *Guarantees.* Every scrape and probe is answered from memory. Lag is counted in the database for scopes that are
//! behind alone, at most [`LAGS_MAX`] of them every [`LAG_EVERY`]. A node without lag asks for no lag. Scopes that
//! stand out and open failures are counted when a job of this node has ended, and every [`COUNT_EVERY`].

use super::seal::by_word;
use super::{Condition, NodeParts};
use crate::guard::Guard;
use crate::tenants::Phase;
use decisiongraph_admin::overview::LAG_EVENTS_MAX;
use decisiongraph_engine::telemetry::{Observation, Observed, ScopeLag, Telemetry, kind_of, signals};
use decisiongraph_http::Probes;
use decisiongraph_http::api::{NodeState, Surroundings};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::{LinkPhase, MemberState};
use decisiongraph_store::{
    Backend, ChangeEnd, NewChange, Result as StoreResult, RunMode, RunState, Scope, ScopeCounts, StoreError,
};
use decisiongraph_supervision::{ActorTable, Root, TreeEvent};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Pause between two counts of the lag.
pub const LAG_EVERY: Duration = Duration::from_secs(2);
/// Scopes whose lag is counted at a time; the other scopes show their last count.
pub const LAGS_MAX: usize = 200;

/// Pause between two counts of the scopes that stand out, while no job ends here.
pub const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Time after its start for which a node without a mark is starting.
const STARTING: Duration = Duration::from_secs(30);

type Lags = HashMap<(TenantId, &'static str), (u64, Duration)>;

/// Watch over a node. Keep it as long as the node runs.
pub struct NodeWatch {
    parts: NodeParts,
    root: OnceLock<Root>,
    lags: Arc<Mutex<Lags>>,
    counts: Arc<Mutex<ScopeCounts>>,
    _counting: Guard,
}

impl NodeWatch {
    /// Watches the node; its telemetry shows it from now on.
    pub fn start(parts: &NodeParts) -> Arc<NodeWatch> {
        let lags = Arc::<Mutex<Lags>>::default();
        let counts = Arc::<Mutex<ScopeCounts>>::default();
        let counting = tokio::spawn({
            let (parts, lags, counts) = (parts.clone(), Arc::clone(&lags), Arc::clone(&counts));
            async move {
                let mut looked = None;
                for turn in 0.. {
                    if parts.board.database.is_up()
                        && let Err(error) = async {
                            count(&parts, &lags, turn).await?;
                            count_scopes(&parts, &counts, &mut looked).await
                        }
                        .await
                    {
                        parts.board.database.suspect(&error);
                        tracing::debug!(category = %error.category, "nothing was counted: {}", error.message);
                    }
                    tokio::time::sleep(LAG_EVERY).await;
                }
            }
        });
        let watch = Arc::new(NodeWatch {
            parts: parts.clone(),
            root: OnceLock::new(),
            lags,
            counts,
            _counting: counting.into(),
        });
        let observed: Arc<dyn Observed> = watch.clone();
        parts.telemetry().observe(Arc::downgrade(&observed));
        watch
    }

    /// Sets the root under which the tree runs.
    pub fn runs_under(&self, root: Root) {
        let _ = self.root.set(root);
    }
}

impl NodeWatch {
    /// Shows the seal; nothing where it is off.
    fn show_seal(&self, seen: &mut Observation) {
        let board = &self.parts.board.seal;
        let Some(sealing) = &board.sealing else { return };
        let window = board.window.borrow().clone();
        let longest = window.longest().map(|(_, age)| *age).unwrap_or_default();
        seen.show(&signals::SEAL_WINDOW_MAX, longest.as_secs_f64(), &[]);
        for (tenant, age) in &window.tenants {
            seen.show(&signals::SEAL_WINDOW, age.as_secs_f64(), &[tenant.as_str()]);
        }
        seen.show(&signals::SEAL_UNSEALED_EVENTS, window.unsealed as f64, &[]);
        for place in sealing.place_health() {
            seen.show(&signals::SEAL_PLACE_LAG, place.lag.as_secs_f64(), &[&place.place]);
        }
        for (word, count) in by_word(board) {
            seen.show(&signals::SEAL_FOUND, count as f64, &[word]);
        }
    }
}

/// Makes a table of actors that counts restarts and escalations.
pub fn counted_table(telemetry: &Telemetry) -> ActorTable {
    let telemetry = telemetry.clone();
    ActorTable::watched(move |event| match event {
        TreeEvent::Restarted(path) => telemetry.add(&signals::RESTARTS, 1, &[kind_of(path)]),
        TreeEvent::GaveUp(path) => telemetry.add(&signals::ESCALATIONS, 1, &[kind_of(path)]),
    })
}

/// Counts the lag of the scopes that are behind, also of tenants that wait for room and have no actors. Forgets scopes
/// that are not behind. Of more than [`LAGS_MAX`], each `turn` counts other scopes.
async fn count(parts: &NodeParts, lags: &Mutex<Lags>, turn: usize) -> StoreResult<()> {
    let mut behind = Vec::new();
    for cell in parts.tenants.cells() {
        for (place, projection) in cell.scopes.iter().enumerate() {
            let live = cell.live(place);
            if live.cursor < cell.target() {
                // A worker that has not checked its scope yet knows no cursor.
                let cursor = (live.phase != Phase::Boot).then_some(live.cursor);
                behind.push((Scope::new(&cell.tenant, *projection), cursor));
            }
        }
    }
    for tenant in parts.tenants.all_waiting() {
        behind.extend(parts.engine.scopes().iter().map(|projection| (Scope::new(&tenant, *projection), None)));
    }
    let mark = parts.board.mark.borrow().mark;
    let mut counted = Lags::new();
    if !behind.is_empty() {
        let view = parts.store.view().await?;
        let known = lags.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let many = behind.len();
        behind.rotate_left(turn.wrapping_mul(LAGS_MAX) % many);
        let (now, later) = behind.split_at(many.min(LAGS_MAX));
        let mut cursors = Vec::with_capacity(now.len());
        for (scope, cursor) in now {
            let cursor = match cursor {
                Some(cursor) => *cursor,
                None => view.scope(scope).await?.map_or(LogSeq::ORIGIN, |row| row.position.cursor),
            };
            cursors.push((scope.tenant.clone(), cursor));
        }
        for ((scope, _), lag) in now.iter().zip(view.lags(&cursors, mark, LAG_EVENTS_MAX).await?) {
            let key = (scope.tenant.clone(), scope.projection);
            counted.insert(key, (lag.events, Duration::from_secs_f64(lag.seconds.max(0.0))));
        }
        for (scope, _) in later {
            let key = (scope.tenant.clone(), scope.projection);
            counted.extend(known.get(&key).map(|lag| (key, *lag)));
        }
    }
    *lags.lock().unwrap_or_else(PoisonError::into_inner) = counted;
    Ok(())
}

/// Counts the scopes of the database that stand out, when it is time. `looked` says when that was done last, and how
/// many jobs had ended.
async fn count_scopes(
    parts: &NodeParts,
    counts: &Mutex<ScopeCounts>,
    looked: &mut Option<(Instant, u64)>,
) -> StoreResult<()> {
    let ended = parts.jobs.registry.ended_total();
    if looked.is_none_or(|(at, jobs)| jobs != ended || at.elapsed() >= COUNT_EVERY) {
        let counted = parts.store.view().await?.scope_counts().await?;
        *counts.lock().unwrap_or_else(PoisonError::into_inner) = counted;
        *looked = Some((Instant::now(), ended));
    }
    Ok(())
}

/// Counts the nodes of the cluster by state; a state without a node is listed, too.
fn members(parts: &NodeParts) -> Vec<(&'static str, usize)> {
    let states: Vec<MemberState> = parts.board.members.borrow().iter().map(MemberState::of).collect();
    let count = |state| (MemberState::as_str(state), states.iter().filter(|known| **known == state).count());
    MemberState::ALL.map(count).to_vec()
}

impl Observed for NodeWatch {
    fn observe(&self) -> Observation {
        let parts = &self.parts;
        let condition = Condition::of(&parts.board);
        let links = parts.links.states();
        let (tenants_running, tenants_waiting) = parts.tenants.count();
        let mut jobs: Vec<(RunMode, RunState, usize)> = Vec::new();
        for run in parts.jobs.registry.running() {
            match jobs.iter_mut().find(|(mode, _, _)| *mode == run.mode) {
                Some((_, _, count)) => *count += 1,
                None => jobs.push((run.mode, RunState::Running, 1)),
            }
        }
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut scopes = Vec::new();
        for cell in parts.tenants.cells() {
            for (place, projection) in cell.scopes.iter().enumerate() {
                let current = cell.live(place).cursor >= cell.target();
                let counted = lags.get(&(cell.tenant.clone(), projection.name())).filter(|_| !current);
                let (events, age) = counted.copied().unwrap_or_default();
                scopes.push(ScopeLag { tenant: cell.tenant.clone(), projection: projection.name(), events, age });
            }
        }
        for tenant in parts.tenants.all_waiting() {
            for projection in parts.engine.scopes() {
                let counted = lags.get(&(tenant.clone(), projection.name()));
                scopes.extend(counted.map(|(events, age)| ScopeLag {
                    tenant: tenant.clone(),
                    projection: projection.name(),
                    events: *events,
                    age: *age,
                }));
            }
        }
        let mut seen = Observation::of(scopes);
        seen.show(&signals::DATABASE_UP, f64::from(u8::from(condition.database_fault.is_none())), &[]);
        seen.show(&signals::LEASE_LEFT, parts.board.validity.left().as_secs_f64(), &[]);
        seen.show(&signals::MARK, parts.board.mark.borrow().mark.0 as f64, &[]);
        seen.show(&signals::MARK_HELD, condition.mark_held.unwrap_or_default().as_secs_f64(), &[]);
        for (state, tenants) in
            [("running", tenants_running), ("waiting", tenants_waiting), ("moving", parts.board.placement.moving())]
        {
            seen.show(&signals::TENANTS, tenants as f64, &[state]);
        }
        for (state, nodes) in members(parts) {
            seen.show(&signals::MEMBERS, nodes as f64, &[state]);
        }
        for phase in LinkPhase::ALL {
            let count = links.iter().filter(|link| link.state == phase).count();
            seen.show(&signals::LINKS, count as f64, &[phase.as_str()]);
        }
        for link in &links {
            if let Some(took) = link.rtt_us {
                seen.show(&signals::LINK_PING, Duration::from_micros(took).as_secs_f64(), &[&link.node]);
            }
        }
        for (mode, state, count) in jobs {
            seen.show(&signals::JOBS, count as f64, &[mode.as_str(), state.as_str()]);
        }
        self.show_seal(&mut seen);
        let counts = *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        seen.show(&signals::OPEN_FAILURES, counts.open_failures as f64, &[]);
        seen.show(&signals::PAUSED_SCOPES, counts.paused as f64, &[]);
        seen.show(&signals::DEVIATING_SCOPES, counts.deviating as f64, &[]);
        seen.show(&signals::DRIFTED_SCOPES, counts.drifted as f64, &[]);
        seen
    }
}

impl Probes for NodeWatch {
    fn live(&self) -> Result<(), String> {
        match self.root.get() {
            Some(root) if root.gave_up() => Err("the supervision tree gave up".to_owned()),
            _ => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        Condition::of(&self.parts.board).ready()
    }
}

impl Surroundings for NodeWatch {
    fn state(&self) -> NodeState {
        let board = &self.parts.board;
        let condition = Condition::of(board);
        let status = match condition.ready() {
            _ if condition.draining => "draining",
            Ok(()) => "ok",
            Err(_) if self.parts.started.elapsed() < STARTING && board.mark.borrow().history.is_none() => "starting",
            Err(_) => "degraded",
        };
        let backend = match self.parts.store.backend() {
            Backend::Postgres => "postgres",
            Backend::Sqlite => "sqlite",
        };
        NodeState { status, backend, database_up: board.database.is_up() }
    }

    fn mark(&self) -> LogSeq {
        self.parts.board.mark.borrow().mark
    }

    fn mark_behind(&self, position: LogSeq) -> BoxFuture<'static, ()> {
        let mut mark = self.parts.board.mark.subscribe();
        Box::pin(async move {
            if mark.wait_for(|state| state.mark > position).await.is_err() {
                // The node has ended, and so does everything that waits.
                std::future::pending::<()>().await;
            }
        })
    }

    fn is_draining(&self) -> bool {
        self.parts.board.draining.has_begun()
    }

    fn note_refusal(&self, change: NewChange, end: ChangeEnd) -> BoxFuture<'static, StoreResult<()>> {
        let (store, owner) = (Arc::clone(&self.parts.store), self.parts.owner.clone());
        let change = NewChange { through: owner.node, process: Some(owner.incarnation), ..change };
        // Both rows are written, whatever becomes of the caller's connection.
        let recording = tokio::spawn(async move {
            let change_id = store.note_change(&change).await?;
            store.end_change(change_id, &end).await
        });
        Box::pin(async move {
            let failed = |error| StoreError::new(Category::Internal, format!("the recording broke off: {error}"));
            recording.await.unwrap_or_else(|error| Err(failed(error)))
        })
    }

    fn note_identities(&self, fault: Option<String>) {
        self.parts.board.identities_fault.send_if_modified(|known| {
            let differs = *known != fault;
            *known = fault;
            differs
        });
    }
}
