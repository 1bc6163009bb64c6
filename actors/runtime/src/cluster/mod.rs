//! Membership of the cluster: which nodes live, which node gets which tenant, and the way tenants change hands.
//!
//! ```text
//!   check (a third of the lease, the next expiry, a notification) ──▶ members ──changed──▶ placement
//!   placement ─┬─▶ ours, new: found and woken
//!              └─▶ not ours any more: handed over
//! ```
//!
//! *Guarantees.* Decisions here come from the database alone; messages between nodes only make them sooner. A node that
//! cannot read the members keeps the placement that it knows. A node whose lease is over counts as dead from that
//! moment.
//!
//! *Never here:* safety. Each commit is checked by epoch, cursor and generation, whichever node believes that it owns a
//! tenant.

mod link;
mod links;
mod memory;
mod moves;
mod outbox;
mod pulse;

pub use link::{CONNECT_DEADLINE, Line, LinkActor, PING_DEADLINE, PING_EVERY};
pub use links::{ASK_ALL_DEADLINE, LINKS_MAX, LinkParts, LinkSettings, Links, Peer, link_id};
pub use memory::{LinkedJournals, memories};

use crate::board::placement::{Candidate, Placement};
use crate::board::{Database, DatabaseState, PlacementTable, Plan};
use crate::guard::Guard;
use crate::signals::Signals;
use crate::tenants::Tenants;
use decisiongraph_engine::alive::RENEWALS_PER_LEASE;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_store::{Backend, Member, Owner, Result as StoreResult, Store};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Pause after the end of a lease before the members are checked: the database's clock has then passed it.
const PAST_EXPIRY: Duration = Duration::from_millis(10);
/// Shortest pause between two checks.
const LOOK_MIN: Duration = Duration::from_millis(20);

/// Parts of the node that the cluster actor and its tasks use.
#[derive(Clone)]
pub struct ClusterParts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Identity of this node.
    pub owner: Owner,
    /// Length of a lease.
    pub lease: Duration,
    /// State of the database.
    pub database: Database,
    /// Node of each tenant, which the actor publishes.
    pub placement: PlacementTable,
    /// Members of the cluster, which the actor publishes.
    pub members: watch::Sender<Vec<Member>>,
    /// Tenants to wake and to give away.
    pub tenants: Tenants,
    /// Links to the other nodes.
    pub links: Links,
    /// Signals to this actor, and to the high-water actor.
    pub signals: Signals,
}

/// The cluster actor.
pub struct Cluster(pub ClusterParts, pub Vitals);

/// Messages to the cluster actor.
#[derive(RactorMessage)]
pub enum ClusterMessage {
    /// Check the members: a node came, left, or is expected to.
    Look,
    /// This node is a member again, or for the first time: the other nodes may have divided its tenants meanwhile.
    Joined,
    /// The time for a check has come; void when the number is old.
    Timer(u64),
    /// Tenants appeared that the placement does not know ([`PlacementTable::take_unplaced`]).
    Place,
}

/// State of the cluster actor: what the last check gave.
pub struct ClusterState {
    /// Members and their standing, on which the placement depends.
    key: Option<Vec<(String, Option<Standing>)>>,
    /// Every tenant; empty while this node is alone.
    tenants: BTreeSet<TenantId>,
    candidates: Vec<Candidate>,
    placement: Placement,
    /// Task that gives tenants away; ends with the next plan.
    moves: Option<Guard>,
    timers: u64,
    _returns: Guard,
    _signals: [Guard; 3],
    _buries: Guard,
}

/// Operators' wish for a live node. The tenants that a cordoned node keeps depend on its incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Cordoned(Uuid),
    Draining,
}

impl Actor for Cluster {
    type Msg = ClusterMessage;
    type State = ClusterState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let Cluster(parts, vitals) = self;
        if parts.store.backend() == Backend::Sqlite {
            parts.placement.publish(Plan::Alone);
            vitals.state("alone");
            vitals.working_on(parts.owner.node.as_str());
        }
        let signals = [
            parts.signals.joined.wakes(&myself, || ClusterMessage::Joined),
            parts.signals.members.wakes(&myself, || ClusterMessage::Look),
            parts.signals.unplaced.wakes(&myself, || ClusterMessage::Place),
        ];
        let mut changes = parts.database.changes();
        let returns = tokio::spawn(async move {
            loop {
                let up = matches!(*changes.borrow_and_update(), DatabaseState::Up);
                if up && myself.cast(ClusterMessage::Look).is_err() || changes.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(ClusterState {
            key: None,
            tenants: BTreeSet::new(),
            candidates: Vec::new(),
            placement: Placement::default(),
            moves: None,
            timers: 0,
            _returns: returns.into(),
            _signals: signals,
            _buries: tokio::spawn(bury(parts.clone())).into(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Cluster(parts, vitals) = self;
        match message {
            ClusterMessage::Place => {
                vitals.noted("place");
                let new = parts.placement.take_unplaced();
                if state.key.is_some() && !new.is_empty() {
                    self.replan(state, &new, false);
                }
                return Ok(());
            }
            ClusterMessage::Timer(number) if number != state.timers => return Ok(()),
            ClusterMessage::Joined => {
                vitals.noted("joined");
                // Planned anew, also when the members are the same as before.
                state.key = None;
            }
            ClusterMessage::Look | ClusterMessage::Timer(_) => vitals.noted("look"),
        }
        if parts.store.backend() == Backend::Sqlite || !parts.database.is_up() {
            return Ok(());
        }
        let often = parts.lease / RENEWALS_PER_LEASE;
        let pause = match self.look(state).await {
            Ok(expiry) => expiry.map_or(often, |expiry| (expiry + PAST_EXPIRY).min(often)),
            Err(error) => {
                parts.database.suspect(&error);
                tracing::debug!(category = %error.category, "the members were not read: {}", error.message);
                often
            }
        };
        state.timers += 1;
        let number = state.timers;
        myself.send_after(pause.max(LOOK_MIN), move || ClusterMessage::Timer(number));
        Ok(())
    }
}

impl Cluster {
    /// Reads the members, and plans anew when something changed. Returns the time until the next lease of another node
    /// ends.
    async fn look(&self, state: &mut ClusterState) -> StoreResult<Option<Duration>> {
        let Cluster(parts, _) = self;
        let view = parts.store.view().await?;
        let members = view.members().await?;
        let live: Vec<&Member> = members.iter().filter(|member| member.is_live()).collect();
        let expiry = live.iter().filter(|member| member.owner != parts.owner).map(|member| member.lease_left).min();
        let key: Vec<_> = live.iter().map(|member| (member.owner.node.clone(), standing(member))).collect();
        let one_of_them = live.iter().any(|member| member.owner == parts.owner);
        if one_of_them && state.key.as_ref() != Some(&key) {
            let alone = matches!(&key[..], [(_, None)]);
            let mut candidates = Vec::with_capacity(live.len());
            for member in &live {
                let keeps = match standing(member) {
                    None => None,
                    Some(Standing::Draining) => Some(BTreeSet::new()),
                    Some(Standing::Cordoned(_)) => Some(view.tenants_of(&member.owner).await?.into_iter().collect()),
                };
                candidates.push(Candidate { node: member.owner.node.clone(), keeps });
            }
            state.tenants = if alone { BTreeSet::new() } else { view.tenants().await?.into_iter().collect() };
            state.candidates = candidates;
            let names: Vec<&str> = live.iter().map(|member| member.owner.node.as_str()).collect();
            tracing::info!(members = names.join(", "), "the members of the cluster changed");
            state.key = Some(key);
            self.replan(state, &parts.placement.take_unplaced(), true);
        }
        parts.members.send_replace(members);
        Ok(expiry)
    }

    /// Places the tenants anew, wakes tenants that are ours now, and gives away tenants that are not. `new`: tenants
    /// that waited to be placed, each with its last event. `changed`: the members differ from before.
    fn replan(&self, state: &mut ClusterState, new: &HashMap<TenantId, LogSeq>, changed: bool) {
        let Cluster(parts, vitals) = self;
        let me = parts.owner.node.as_str();
        let alone = matches!(&state.candidates[..], [Candidate { keeps: None, .. }]);
        if !alone {
            state.tenants.extend(new.keys().cloned());
        }
        let placement = if alone { Placement::default() } else { Placement::new(&state.candidates, &state.tenants) };
        let ours = |placement: &Placement, tenant: &TenantId| placement.node_of(tenant) == Some(me);
        let gained = changed
            || state
                .tenants
                .iter()
                .any(|tenant| ours(&placement, tenant) && !ours(&state.placement, tenant) && !new.contains_key(tenant));
        state.placement = placement.clone();
        parts.placement.publish(if alone { Plan::Alone } else { Plan::Divided(placement) });
        if alone {
            vitals.state("alone");
            vitals.working_on(me);
        } else {
            vitals.state("member");
            let (share, all) = (state.placement.share(me), state.tenants.len());
            vitals.working_on(format!("one of {}, {share} of {all} tenants", state.candidates.len()));
        }
        for (tenant, upto) in new {
            parts.tenants.wake(tenant, *upto);
        }
        if gained {
            parts.signals.behind.send();
        }
        state.moves = Some(tokio::spawn(moves::run(parts.clone())).into());
    }
}

/// Ends the lease of members whose process is gone, as their machine or their successor says. Takeover need not wait
/// for the lease's end. The members stay in the list, as dead members. If the report were wrong, the member's next
/// heartbeat would bring its lease back, and its workers would be fenced. That is a pause, nothing else.
async fn bury(parts: ClusterParts) {
    loop {
        let (node, incarnation) = parts.links.gone().await;
        parts.database.up().await;
        match parts.store.bury(&Owner { node: node.clone(), incarnation }).await {
            Ok(()) => {
                tracing::info!(%node, "the process of this member is gone: its tenants are taken over before its lease ends");
                parts.signals.members.send();
            }
            Err(error) => {
                parts.database.suspect(&error);
                tracing::debug!(%node, category = %error.category, "its lease stays until it expires: {}", error.message);
            }
        }
    }
}

fn standing(member: &Member) -> Option<Standing> {
    let cordon = member.cordon.as_ref()?;
    Some(if cordon.draining { Standing::Draining } else { Standing::Cordoned(member.owner.incarnation) })
}
