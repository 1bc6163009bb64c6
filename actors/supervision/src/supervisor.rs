//! The supervisor actor: carries out what `roster` decides.
//!
//! ```text
//!   exit of a child ─▶ roster ─▶ stop siblings, in reverse ─▶ (delay) ─▶ start, in order ──▶ running
//!                        │                                                  │ failed: message to itself, counts again
//!                        └─▶ gives up: stops itself ─▶ post_stop: all children, in reverse ─▶ exit `shutdown`
//! ```
//!
//! Guarantees: children are stopped by this actor alone, in order. A child gets its whole shutdown time, then is killed
//! with everything below it. A child's next life starts when nothing of the previous one is left. An exit is ignored
//! unless it is that of a child's present actor. Never decides anything.

use super::child_life::Child;
use super::child_spec::{ChildKind, ChildSpec, SupervisorSpec};
use super::dump::TreeEvent;
use super::exit_reason::{ExitReason, GAVE_UP};
use super::handle::{ChildCount, ChildInfo, ChildState, SupervisorError};
use super::roster::{Roster, Step};
use super::strategy::{MemberState, Place, Rules, Token};
use super::vitals::Vitals;
use futures_util::StreamExt;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

/// Most children of a dynamic supervisor that are stopped at the same time.
pub const STOPS_TOGETHER_MAX: usize = 256;

type Reply<T> = RpcReplyPort<Result<T, SupervisorError>>;

/// Messages that a supervisor receives. Callers use [`SupervisorRef`](super::SupervisorRef).
pub enum SupervisorMessage {
    /// See [`SupervisorRef::start_child`](super::SupervisorRef::start_child).
    StartChild(Box<ChildSpec>, Reply<ActorCell>),
    /// See [`SupervisorRef::terminate_child`](super::SupervisorRef::terminate_child).
    TerminateChild(String, Reply<()>),
    /// See [`SupervisorRef::restart_child`](super::SupervisorRef::restart_child).
    RestartChild(String, Reply<ActorCell>),
    /// See [`SupervisorRef::delete_child`](super::SupervisorRef::delete_child).
    DeleteChild(String, Reply<()>),
    /// See [`SupervisorRef::which_children`](super::SupervisorRef::which_children).
    WhichChildren(Reply<Vec<ChildInfo>>),
    /// See [`SupervisorRef::count`](super::SupervisorRef::count).
    Count(Reply<ChildCount>),
    /// To itself: a start failed during a restart.
    Retry(Place),
    /// To itself: a delay is over.
    Due(Token, Vec<Place>),
}

#[cfg(feature = "cluster")]
impl ractor::Message for SupervisorMessage {}

/// A supervisor that has not started yet.
pub(super) struct SupervisorActor {
    spec: SupervisorSpec,
    vitals: Vitals,
}

/// A running supervisor.
pub(super) struct Supervision {
    myself: ActorRef<SupervisorMessage>,
    vitals: Vitals,
    roster: Roster,
    children: HashMap<Place, Child>,
    by_actor: HashMap<ActorId, Place>,
    origin: Instant,
    dynamic: bool,
}

impl SupervisorActor {
    pub(super) const fn new(spec: SupervisorSpec, vitals: Vitals) -> SupervisorActor {
        SupervisorActor { spec, vitals }
    }
}

impl Actor for SupervisorActor {
    type Msg = SupervisorMessage;
    type State = Supervision;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<SupervisorMessage>, (): ()) -> Result<Supervision, ActorProcessingErr> {
        let SupervisorSpec { strategy, intensity, backoff, ref children } = self.spec;
        let (seed, dynamic) = (RandomState::new().hash_one(self.vitals.path()), self.spec.is_dynamic());
        let rules = Rules { strategy, intensity, backoff, seed, dynamic };
        let mut supervision = Supervision {
            myself,
            vitals: self.vitals.clone(),
            roster: Roster::new(rules),
            children: HashMap::new(),
            by_actor: HashMap::new(),
            origin: Instant::now(),
            dynamic,
        };
        self.vitals.supervises(strategy, supervision.origin, supervision.roster.window().clone());
        for spec in children {
            if let Err(error) = supervision.add(spec.clone()).await {
                supervision.stop_all().await;
                return Err(format!("child {}: {error}", spec.id).into());
            }
        }
        Ok(supervision)
    }

    async fn handle(
        &self,
        _: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        // A caller that stopped waiting has dropped its end of the reply; the answer is lost.
        match message {
            SupervisorMessage::StartChild(spec, reply) => _ = reply.send(state.add(*spec).await),
            SupervisorMessage::TerminateChild(id, reply) => _ = reply.send(state.terminate(&id).await),
            SupervisorMessage::RestartChild(id, reply) => _ = reply.send(state.restart(&id).await),
            SupervisorMessage::DeleteChild(id, reply) => _ = reply.send(state.delete(&id)),
            SupervisorMessage::WhichChildren(reply) => _ = reply.send(Ok(state.list())),
            SupervisorMessage::Count(reply) => _ = reply.send(Ok(state.count())),
            SupervisorMessage::Retry(place) => {
                let step = state.roster.retry(place, state.origin.elapsed());
                state.carry_out(place, step).await;
            }
            SupervisorMessage::Due(token, places) => state.start_due(token, &places).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        if let (Some(id), Some(reason)) = (event.actor_id(), ExitReason::of_event(&event)) {
            // The event holds the state of the ended actor. Dropping it frees that state before a successor starts.
            drop(event);
            state.exited(id, reason).await;
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<SupervisorMessage>,
        state: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        state.stop_all().await;
        Ok(())
    }
}

impl Supervision {
    async fn exited(&mut self, actor: ActorId, reason: ExitReason) {
        let Some(place) = self.by_actor.remove(&actor) else { return };
        if reason.is_abnormal() {
            tracing::warn!(supervisor = self.vitals.path(), child = self.id(place), %reason, "child ended");
        }
        if let Some(child) = self.children.get_mut(&place) {
            child.ended(self.vitals.table(), reason.clone()).await;
        }
        let step = self.roster.exited(place, &reason, self.origin.elapsed());
        self.carry_out(place, step).await;
    }

    async fn carry_out(&mut self, place: Place, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Forgotten => self.forget(place),
            Step::Restart(token, plan) => {
                self.vitals.spent(self.roster.window());
                for sibling in plan.stop {
                    self.stop(sibling).await;
                }
                if plan.delay.is_zero() {
                    return self.start_due(token, &plan.start).await;
                }
                for waiting in plan.start.iter().filter_map(|place| self.children.get(place)) {
                    waiting.slot.rest("waiting");
                }
                let start = plan.start;
                // The timer needs no cancelling: once this supervisor is gone its message reaches no actor.
                drop(self.myself.send_after(plan.delay, move || SupervisorMessage::Due(token, start)));
            }
            Step::GiveUp(_) => {
                self.vitals.spent(self.roster.window());
                let intensity = self.roster.window().intensity();
                let why = format!(
                    "{GAVE_UP}: child {} ended after {} restarts within {:?}",
                    self.id(place),
                    intensity.restarts_max,
                    intensity.period
                );
                tracing::error!(supervisor = self.vitals.path(), "{why}");
                self.vitals.table().tell(TreeEvent::GaveUp(self.vitals.path()));
                // `post_stop` stops the children; no message is handled before it runs.
                self.myself.stop(Some(why));
            }
        }
    }

    /// Starts, in order, the children that still wait for this restart, up to the first failure.
    async fn start_due(&mut self, token: Token, places: &[Place]) {
        for &place in places {
            if !self.roster.is_due(place, token) {
                continue;
            }
            if let Err(error) = self.start(place).await {
                tracing::warn!(supervisor = self.vitals.path(), child = self.id(place), error, "restart failed");
                self.roster.start_failed(place, token);
                self.show_rest();
                let _ = self.myself.send_message(SupervisorMessage::Retry(place));
                return;
            }
            if let Some(child) = self.children.get(&place) {
                self.vitals.table().tell(TreeEvent::Restarted(child.slot.path()));
            }
        }
    }

    async fn start(&mut self, place: Place) -> Result<ActorCell, String> {
        let Some(child) = self.children.get_mut(&place) else { return Err("no such child".to_owned()) };
        let (supervisor, table) = (self.myself.get_cell(), self.vitals.table());
        match child.begin(&supervisor, table).await {
            Ok(cell) => {
                self.by_actor.insert(cell.get_id(), place);
                self.roster.started(place);
                Ok(cell)
            }
            Err(error) => {
                let mut linked = supervisor.get_children();
                linked.retain(|actor| !self.by_actor.contains_key(&actor.get_id()));
                child.not_begun(linked, table, &error).await;
                Err(error)
            }
        }
    }

    async fn stop(&mut self, place: Place) {
        if let Some(child) = self.children.get(&place) {
            child.end(&self.myself.get_cell(), self.vitals.table()).await;
        }
        self.stopped(place);
    }

    async fn stop_all(&mut self) {
        let (supervisor, table) = (self.myself.get_cell(), self.vitals.table());
        let together = if self.dynamic { STOPS_TOGETHER_MAX } else { 1 };
        let order = self.roster.stop_order();
        let stops = order.iter().filter_map(|place| self.children.get(place));
        let stops = stops.map(|child| child.end(&supervisor, table)).collect::<Vec<_>>();
        futures_util::stream::iter(stops).buffer_unordered(together).for_each(|_| async {}).await;
        for place in order {
            self.stopped(place);
        }
    }

    /// Notes that the child was stopped: its actor no longer runs.
    fn stopped(&mut self, place: Place) {
        if let Some(child) = self.children.get_mut(&place)
            && let Some((life, _)) = child.life.take()
        {
            self.by_actor.remove(&life.actor().get_id());
        }
        if self.roster.stopped(place) {
            self.forget(place);
        }
    }

    fn forget(&mut self, place: Place) {
        if let Some(child) = self.children.remove(&place) {
            self.vitals.table().remove(&child.slot);
        }
    }

    async fn add(&mut self, spec: ChildSpec) -> Result<ActorCell, SupervisorError> {
        let Some(place) = self.roster.add(&spec.id, spec.restart) else {
            let present = self.roster.place(&spec.id).and_then(|place| self.roster.state(place));
            let stopped = present == Some(MemberState::Stopped);
            return Err(if stopped { SupervisorError::AlreadyPresent } else { SupervisorError::AlreadyStarted });
        };
        let slot = self.vitals.table().insert(&self.vitals, &spec.id, spec.kind, spec.restart);
        self.children.insert(place, Child { spec, slot, life: None });
        match self.start(place).await {
            Ok(cell) => Ok(cell),
            Err(error) => {
                self.roster.forget(place);
                self.forget(place);
                Err(SupervisorError::StartFailed(error))
            }
        }
    }

    async fn terminate(&mut self, id: &str) -> Result<(), SupervisorError> {
        let place = self.roster.place(id).ok_or(SupervisorError::NotFound)?;
        self.stop(place).await;
        if self.roster.terminated(place) {
            self.forget(place);
        } else if let Some(child) = self.children.get(&place) {
            child.slot.rest("stopped");
        }
        Ok(())
    }

    async fn restart(&mut self, id: &str) -> Result<ActorCell, SupervisorError> {
        let place = self.stopped_place(id)?;
        self.start(place).await.map_err(SupervisorError::StartFailed)
    }

    fn delete(&mut self, id: &str) -> Result<(), SupervisorError> {
        let place = self.stopped_place(id)?;
        self.roster.forget(place);
        self.forget(place);
        Ok(())
    }

    fn stopped_place(&self, id: &str) -> Result<Place, SupervisorError> {
        let place = self.roster.place(id).ok_or(SupervisorError::NotFound)?;
        match self.roster.state(place) {
            Some(MemberState::Running) => Err(SupervisorError::Running),
            Some(MemberState::Waiting(_) | MemberState::Retrying) => Err(SupervisorError::Restarting),
            Some(MemberState::Stopped) | None => Ok(place),
        }
    }

    fn list(&self) -> Vec<ChildInfo> {
        let children = self.roster.members().filter_map(|(place, member)| {
            let child = self.children.get(&place)?;
            Some(ChildInfo {
                id: child.spec.id.clone(),
                kind: child.spec.kind,
                restart: child.spec.restart,
                state: match member.state {
                    MemberState::Running => ChildState::Running,
                    MemberState::Stopped => ChildState::Stopped,
                    MemberState::Waiting(_) | MemberState::Retrying => ChildState::Restarting,
                },
                actor: child.life.as_ref().map(|(life, _)| life.actor().clone()),
            })
        });
        children.collect()
    }

    fn count(&self) -> ChildCount {
        let supervisors = self.children.values().filter(|child| child.spec.kind == ChildKind::Supervisor).count();
        ChildCount {
            specs: self.children.len(),
            active: self.children.values().filter(|child| child.life.is_some()).count(),
            supervisors,
            workers: self.children.len() - supervisors,
        }
    }

    /// Updates the state words of the children that do not run.
    fn show_rest(&self) {
        for (place, member) in self.roster.members() {
            let state = match member.state {
                MemberState::Running => continue,
                MemberState::Stopped => "stopped",
                MemberState::Waiting(_) => "waiting",
                MemberState::Retrying => "restarting",
            };
            if let Some(child) = self.children.get(&place) {
                child.slot.rest(state);
            }
        }
    }

    fn id(&self, place: Place) -> &str {
        self.roster.id(place).map_or("", |id| id)
    }
}
