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
mod moves;
mod outbox;
pub mod placement;
mod places;
mod pulse;

pub use link::{CONNECT_DEADLINE, PING_DEADLINE, PING_EVERY};
pub use links::{ASK_ALL_DEADLINE, LINKS_MAX, LinkSettings, Links, Peer};
pub use places::{Places, Plan, Whose};

use crate::database_probe::DatabaseState;
use crate::node::{Guard, Shared};
use decisiongraph_engine::alive::RENEWALS_PER_LEASE;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_store::{Backend, Member, Owner, Result as StoreResult};
use decisiongraph_supervision::Vitals;
use placement::{Candidate, Placement};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use uuid::Uuid;

/// Pause after the end of a lease before the members are checked: the database's clock has then passed it.
const PAST_EXPIRY: Duration = Duration::from_millis(10);
/// Shortest pause between two checks.
const LOOK_MIN: Duration = Duration::from_millis(20);

/// The cluster actor.
pub struct Cluster(pub Shared, pub Vitals);

/// Messages to the cluster actor.
#[derive(RactorMessage)]
pub enum ClusterMessage {
    /// Check the members: a node came, left, or is expected to.
    Look,
    /// This node is a member again, or for the first time: the other nodes may have divided its tenants meanwhile.
    Joined,
    /// The time for a check has come; void when the number is old.
    Timer(u64),
    /// Tenants appeared that the placement does not know ([`Places::take_unplaced`]).
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
        let Cluster(shared, vitals) = self;
        shared.set_cluster(myself.clone());
        if shared.store.backend() == Backend::Sqlite {
            shared.places.set(Plan::Alone);
            vitals.state("alone");
            vitals.working_on(shared.owner.node.as_str());
        }
        let mut changes = shared.database.changes();
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
            _buries: tokio::spawn(bury(shared.clone())).into(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Cluster(shared, vitals) = self;
        match message {
            ClusterMessage::Place => {
                vitals.noted("place");
                let new = shared.places.take_unplaced();
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
        if shared.store.backend() == Backend::Sqlite || !shared.database.is_up() {
            return Ok(());
        }
        let often = shared.engine.config().lease / RENEWALS_PER_LEASE;
        let pause = match self.look(state).await {
            Ok(expiry) => expiry.map_or(often, |expiry| (expiry + PAST_EXPIRY).min(often)),
            Err(error) => {
                shared.database.suspect(&error);
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
        let Cluster(shared, _) = self;
        let view = shared.store.view().await?;
        let members = view.members().await?;
        let live: Vec<&Member> = members.iter().filter(|member| member.is_live()).collect();
        let expiry = live.iter().filter(|member| member.owner != shared.owner).map(|member| member.lease_left).min();
        let key: Vec<_> = live.iter().map(|member| (member.owner.node.clone(), standing(member))).collect();
        let one_of_them = live.iter().any(|member| member.owner == shared.owner);
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
            self.replan(state, &shared.places.take_unplaced(), true);
        }
        shared.members.send_replace(members);
        Ok(expiry)
    }

    /// Places the tenants anew, wakes tenants that are ours now, and gives away tenants that are not. `new`: tenants
    /// that waited to be placed, each with its last event. `changed`: the members differ from before.
    fn replan(&self, state: &mut ClusterState, new: &HashMap<TenantId, LogSeq>, changed: bool) {
        let Cluster(shared, vitals) = self;
        let me = shared.owner.node.as_str();
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
        shared.places.set(if alone { Plan::Alone } else { Plan::Divided(placement) });
        if alone {
            vitals.state("alone");
            vitals.working_on(me);
        } else {
            vitals.state("member");
            let (share, all) = (state.placement.share(me), state.tenants.len());
            vitals.working_on(format!("one of {}, {share} of {all} tenants", state.candidates.len()));
        }
        for (tenant, upto) in new {
            shared.scopes.wake(shared, tenant, *upto);
        }
        if gained {
            shared.find_behind();
        }
        state.moves = Some(tokio::spawn(moves::run(shared.clone())).into());
    }
}

/// Ends the lease of members whose process is gone, as their machine or their successor says. Takeover need not wait
/// for the lease's end. The members stay in the list, as dead members. If the report were wrong, the member's next
/// heartbeat would bring its lease back, and its workers would be fenced. That is a pause, nothing else.
async fn bury(shared: Shared) {
    loop {
        let (node, incarnation) = shared.links.gone().await;
        shared.database.up().await;
        match shared.store.bury(&Owner { node: node.clone(), incarnation }).await {
            Ok(()) => {
                tracing::info!(%node, "the process of this member is gone: its tenants are taken over before its lease is over");
                shared.poke_cluster();
            }
            Err(error) => {
                shared.database.suspect(&error);
                tracing::debug!(%node, category = %error.category, "its lease runs out by itself: {}", error.message);
            }
        }
    }
}

fn standing(member: &Member) -> Option<Standing> {
    let cordon = member.cordon.as_ref()?;
    Some(if cordon.draining { Standing::Draining } else { Standing::Cordoned(member.owner.incarnation) })
}
