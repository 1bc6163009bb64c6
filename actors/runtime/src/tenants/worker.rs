//! The worker: a thin shell that drives one lane, or the seal of its tenant.
//!
//! ```text
//!   Wake ─▶ Step ─▶ own the scope? ─▶ page ─▶ fold, or leaves ─▶ commit ─▶ acknowledged ─▶ Step …
//! ```
//!
//! *Guarantees.* One batch per message (pull): a stop waits for one batch at most, and the mailbox holds no work. The
//! position moves only after the commit. After any error the lane, or the sealer, is dropped and the scope is taken
//! anew. A new epoch comes first, then the durable position: an unknown outcome is never guessed. A fault that may
//! pass, a poison event and a lost scope are states.

use super::driven::Driven;
use super::{CoordinatorMessage, Fault, LiveScope, Phase, TenantCell, WorkerParts, place_of};
use decisiongraph_engine::Budget;
use decisiongraph_engine::claim::{Claim, Obstacle, claim};
use decisiongraph_engine::failure::{Decision, decide};
use decisiongraph_engine::lane::{ApplyOptions, Lane};
use decisiongraph_engine::mark::Mark;
use decisiongraph_engine::observed;
use decisiongraph_engine::seal::sealer::Sealer;
use decisiongraph_engine::seal::{self, Sealing};
use decisiongraph_engine::telemetry::LeaseChange;
use decisiongraph_projections::seal::scope::SEAL_NAME;
use decisiongraph_projections::{Category, LogSeq, Projection};
use decisiongraph_protocol::Command;
use decisiongraph_protocol::figures::number;
use decisiongraph_store::{Result as StoreResult, Scope, StoreError};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::Duration;

/// Pause before the worker checks again what this node itself lacks (lease, database).
const WAIT: Duration = Duration::from_millis(200);
/// Bytes of the first page after a wake, at most.
const PAGE_BYTES_FIRST: usize = 128 * 1024;
/// Longest pause before the worker asks again for a scope that another owner holds.
const STANDBY_MAX: Duration = Duration::from_secs(1);
/// Failed attempts in a row after which a session whose history is not the mark's counts as old.
const HISTORIES_MAX: u32 = 5;

/// The worker's actor.
pub struct Worker {
    /// Parts of the node that all its workers use.
    pub parts: Arc<WorkerParts>,
    /// State that the tenant's workers share.
    pub cell: Arc<TenantCell>,
    /// Rules of the projection, or the seal.
    pub projection: &'static dyn Projection,
    /// Entry of the worker in the dump.
    pub vitals: Vitals,
}

/// Messages to the worker.
#[derive(RactorMessage)]
pub enum WorkerMessage {
    /// There may be new events.
    Wake,
    /// Do the next batch. Sent by the worker to itself.
    Step,
    /// A pause of the worker is over; void when the number is old.
    Timer(u64),
    /// Check the scope again, now: it was paused, resumed, retried or rebuilt.
    Reconsider,
}

/// State of the worker. Everything durable is in the database.
pub struct WorkerState {
    scope: Scope,
    place: usize,
    /// Lane or sealer, with the era in which it was claimed.
    driven: Option<(Driven, u64)>,
    /// Errors in a row without progress.
    attempt: u32,
    /// True when a step is in the mailbox.
    stepping: bool,
    /// Number of the running timer; wakes do not shorten its pause.
    timer: Option<u64>,
    timers: u64,
    /// Bytes of the next page, at most: few at first, more as long as pages are full. So tenants with little to do do
    /// not wait for memory that they do not use.
    page_bytes: usize,
}

/// Next action after a step.
enum Next {
    /// There is more work.
    Again,
    /// Nothing to do until another message arrives.
    Quiet,
    /// Check again after this pause.
    In(Duration),
    /// The scope belongs to another owner.
    Stop,
}

impl Actor for Worker {
    type Msg = WorkerMessage;
    type State = WorkerState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let place = place_of(self.projection);
        self.cell.note_worker(place, Some(self.vitals.address(myself.clone())));
        self.cell.show(place, |live| *live = LiveScope::default());
        let _ = myself.cast(WorkerMessage::Step);
        Ok(WorkerState {
            scope: Scope::new(&self.cell.tenant, self.projection),
            place,
            driven: None,
            attempt: 0,
            stepping: true,
            timer: None,
            timers: 0,
            page_bytes: PAGE_BYTES_FIRST,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WorkerMessage::Wake => {
                self.vitals.received("wake");
                if !state.stepping && state.timer.is_none() {
                    state.stepping = true;
                    let _ = myself.cast(WorkerMessage::Step);
                }
                return Ok(());
            }
            WorkerMessage::Reconsider => {
                self.vitals.received("reconsider");
                state.timer = None;
                state.attempt = 0;
                state.driven = None;
                if !std::mem::replace(&mut state.stepping, true) {
                    let _ = myself.cast(WorkerMessage::Step);
                }
                return Ok(());
            }
            WorkerMessage::Timer(number) => {
                self.vitals.noted("timer");
                if state.timer != Some(number) {
                    return Ok(());
                }
                state.timer = None;
            }
            WorkerMessage::Step => self.vitals.noted("step"),
        }
        state.stepping = false;
        let next = match self.step(state).await {
            Ok(next) => next,
            Err(error) => self.after(state, error).await,
        };
        match next {
            Next::Again => {
                state.stepping = true;
                let _ = myself.cast(WorkerMessage::Step);
            }
            Next::Quiet => {}
            Next::In(pause) => {
                state.timers += 1;
                let number = state.timers;
                state.timer = Some(number);
                myself.send_after(pause, move || WorkerMessage::Timer(number));
            }
            Next::Stop => {
                self.enter(state, Phase::Stopped, "another owner has the scope");
                self.cell.note_worker(state.place, None);
                myself.stop(None);
            }
        }
        if self.cell.live(state.place).phase.may_leave(true)
            && let Some(coordinator) = self.cell.coordinator()
        {
            let _ = coordinator.cast(CoordinatorMessage::Quiet);
        }
        Ok(())
    }
}

impl Worker {
    /// Does one batch, or what is needed before a batch can be done.
    async fn step(&self, state: &mut WorkerState) -> StoreResult<Next> {
        let Worker { parts, cell, .. } = self;
        if !parts.database.is_up() {
            self.enter(state, Phase::Retrying, "waiting for the database");
            return Ok(Next::In(WAIT));
        }
        if parts.engine.validity().left().is_zero() {
            self.enter(state, Phase::Retrying, "waiting for the node's lease");
            return Ok(Next::In(WAIT));
        }
        // Read together: a later mark may belong to another history.
        let (era, mark) = {
            let state = parts.mark.borrow();
            (state.era, state.proven())
        };
        if state.driven.as_ref().is_some_and(|(_, known)| *known != era) {
            state.driven = None;
        }
        // The tenant may have been woken in another history, whose log was longer. Then there may be open appenders
        // behind this history's mark.
        let target = cell.target().min(mark.at);
        if state.driven.as_ref().is_some_and(|(driven, _)| driven.cursor() >= target) {
            self.enter(state, Phase::Idle, "");
            return Ok(Next::Quiet);
        }
        self.doing(state, "waiting for its turn");
        let Ok(_turn) = parts.turns.acquire().await else { return Ok(Next::Quiet) };
        if state.driven.is_none()
            && let Some(next) = self.own(state, era, &mark).await?
        {
            return Ok(next);
        }
        // After an error it is not put back.
        let Some((mut driven, era)) = state.driven.take() else { return Ok(Next::Quiet) };
        let next = match &mut driven {
            driven if driven.cursor() >= target => {
                self.enter(state, Phase::Idle, "");
                Next::Quiet
            }
            Driven::Lane(lane) => self.apply(state, lane, target, era).await?,
            Driven::Sealer(sealer) => self.seal(state, sealer, target).await?,
        };
        state.driven = Some((driven, era));
        Ok(next)
    }

    /// Applies the next page.
    async fn apply(&self, state: &mut WorkerState, lane: &mut Lane, target: LogSeq, era: u64) -> StoreResult<Next> {
        let Worker { parts, cell, .. } = self;
        let config = parts.engine.config();
        let budget = parts.engine.budget();
        let (share_bytes, limit) = budget.batch(config, state.page_bytes);
        self.vitals.working_on("waiting for memory");
        let mut share = budget.work.hold(share_bytes).await;
        let log = parts.engine.store().view().await?;
        self.vitals.working_on("reading");
        let mut page = cell.page(&*log, lane.position.cursor, target, limit, era, budget).await?;
        let cost = Budget::batch_cost(page.bytes());
        if !budget.work.try_grow(&mut share, cost) {
            // The page is one event, larger than a page may be. It is read again when there is room for it.
            drop((page, share));
            share = budget.work.hold(cost).await;
            page = cell.page(&*log, lane.position.cursor, target, limit, era, budget).await?;
        }
        if page.is_empty() {
            self.enter(state, Phase::Idle, "");
            return Ok(Next::Quiet);
        }
        state.page_bytes = self.next_page_bytes(state, page.end() < target);
        if state.attempt > 0 {
            // The event that stopped the scope may have been skipped meanwhile.
            lane.skipping(&*log).await?;
        }
        let page = lane.own_page(&*log, &page).await?;
        self.working(state, "applying", page.after, page.end());
        let options = ApplyOptions { checkpoint_events: config.checkpoint_events, record_failures: true, limit };
        let (from, events) = (lane.position.cursor, lane.events);
        let alone = std::future::ready(None);
        observed::apply(lane, &**parts.engine.store(), &*log, &page, alone, &options, parts.telemetry()).await?;
        drop((page, share));
        let (cursor, applied) = (lane.position.cursor, lane.events - events);
        let failure = lane.failure.take();
        if cursor > from {
            self.moved(state, cursor, applied);
        }
        let Some(failure) = failure else { return Ok(Next::Again) };
        state.attempt += 1;
        let fault = format!(
            "stopped at log_seq {} (event {}): {}; see {}",
            number(failure.log_seq.0),
            failure.event_id,
            failure.category,
            Command::of(&format!("failure {}", failure.failure_id), &failure.tenant)
        );
        if state.attempt == 1 {
            tracing::warn!(scope = %state.scope, log_seq = failure.log_seq.0, category = %failure.category, "a poison event stops the scope");
        }
        self.fail(state, Fault { category: failure.category, message: fault, poison: true });
        Ok(Next::In(parts.recheck.before(state.attempt, parts.jitter.draw())))
    }

    /// Seals the next page.
    async fn seal(&self, state: &mut WorkerState, sealer: &mut Sealer, target: LogSeq) -> StoreResult<Next> {
        let Worker { parts, .. } = self;
        let Some(sealing) = parts.engine.sealing() else { return Ok(Next::Quiet) };
        let (store, budget) = (&**parts.engine.store(), parts.engine.budget());
        let (share_bytes, limit) = budget.batch(parts.engine.config(), state.page_bytes);
        self.vitals.working_on("waiting for memory");
        let mut share = budget.work.hold(share_bytes).await;
        let log = store.view().await?;
        self.vitals.working_on("reading");
        let mut page = sealer.page(&*log, target, limit).await?;
        let cost = Budget::batch_cost(page.bytes());
        if !budget.work.try_grow(&mut share, cost) {
            // As in `apply`: one event, larger than a page may be.
            drop((page, share));
            share = budget.work.hold(cost).await;
            page = sealer.page(&*log, target, limit).await?;
        }
        let Some(end) = page.last() else {
            self.enter(state, Phase::Idle, "");
            return Ok(Next::Quiet);
        };
        state.page_bytes = self.next_page_bytes(state, end < target);
        self.working(state, "sealing", sealer.position.cursor, end);
        let sealed = seal::observed::seal(sealer, store, sealing, page, parts.telemetry()).await?;
        drop(share);
        self.moved(state, sealer.position.cursor, sealed);
        Ok(Next::Again)
    }

    /// Returns the bytes of the next page, at most: more as long as pages are full.
    fn next_page_bytes(&self, state: &WorkerState, full: bool) -> usize {
        match full {
            true => state.page_bytes.saturating_mul(4).min(self.parts.engine.config().batch_bytes_max),
            false => PAGE_BYTES_FIRST,
        }
    }

    /// Shows that events behind `after` are worked on.
    fn working(&self, state: &WorkerState, what: &str, after: LogSeq, end: LogSeq) {
        self.cell.show(state.place, |live| {
            live.phase = Phase::CatchingUp;
            what.clone_into(&mut live.doing);
        });
        self.vitals.state(Phase::CatchingUp.as_str());
        self.vitals.working_on(format!("{what} {after}..{end}"));
    }

    /// Acknowledges a batch.
    fn moved(&self, state: &mut WorkerState, cursor: LogSeq, events: u64) {
        state.attempt = 0;
        self.parts.engine.waits().moved(&self.cell.tenant, self.projection.name(), cursor);
        self.cell.show(state.place, |live| {
            live.cursor = cursor;
            live.attempt = 0;
            live.fault = None;
            live.events += events;
            live.batches += 1;
        });
    }

    /// Takes the scope. `Some` when it cannot be worked on now.
    async fn own(&self, state: &mut WorkerState, era: u64, mark: &Mark) -> StoreResult<Option<Next>> {
        let Worker { parts, projection, .. } = self;
        let is_decided = |sealing: &Arc<Sealing>| sealing.is_being_decided(&self.cell.tenant);
        if projection.name() == SEAL_NAME && parts.engine.sealing().is_some_and(is_decided) {
            self.enter(state, Phase::Standby, "an operator's request changes the tree");
            return Ok(Some(Next::In(WAIT)));
        }
        self.vitals.working_on("claiming the scope");
        let asked =
            claim(&**parts.engine.store(), parts.engine.owner(), &state.scope, *projection, mark, parts.telemetry());
        let claim = asked.await?;
        if let Claim::Yours(_, position) | Claim::Refused(_, position) = &claim {
            self.cell.show(state.place, |live| live.cursor = position.cursor);
            // A job may have moved it.
            parts.engine.waits().moved(&self.cell.tenant, projection.name(), position.cursor);
        }
        match &claim {
            Claim::Held { by, expires_in } => {
                self.enter(state, Phase::Standby, &format!("owned by {by}"));
                return Ok(Some(Next::In((*expires_in).clamp(WAIT, STANDBY_MAX))));
            }
            Claim::Refused(Obstacle::Paused(paused), _) => {
                self.enter(state, Phase::Paused, &format!("paused by {}: {}", paused.by, paused.reason));
                return Ok(Some(Next::Quiet));
            }
            Claim::Refused(Obstacle::OtherHistory, _) => {
                // The server is not the server of the known mark, or has restarted: the target is void.
                parts.mark_void.send();
                if state.attempt >= HISTORIES_MAX {
                    parts.engine.store().hang_up();
                }
            }
            Claim::Refused(..) | Claim::Yours(..) => {}
        }
        let (lease, position) = claim.granted(&state.scope, *projection)?;
        let driven = Driven::begin(parts, *projection, lease, position).await?;
        state.driven = Some((driven, era));
        Ok(None)
    }

    /// Decides what an error means for this worker.
    async fn after(&self, state: &mut WorkerState, error: StoreError) -> Next {
        let Worker { parts, .. } = self;
        // Whatever happened to the batch, the next batch starts with a new epoch and the durable position.
        state.driven = None;
        state.attempt += 1;
        parts.database.suspect(&error);
        match decide(&error, state.attempt) {
            Decision::Retry => {
                if error.category == Category::Storage && state.attempt > 1 {
                    parts.database.refuses(&state.scope, &error);
                }
                parts.telemetry().retry(self.projection.name(), error.category);
                self.enter(state, Phase::Retrying, &error.message);
                Next::In(parts.retry.before(state.attempt, parts.jitter.draw()))
            }
            Decision::TakeAgain => match self.is_ours(state).await {
                Ok(true) => {
                    parts.telemetry().retry(self.projection.name(), error.category);
                    self.enter(state, Phase::Retrying, &error.message);
                    match state.attempt {
                        1 => Next::Again,
                        attempt => Next::In(parts.retry.before(attempt, parts.jitter.draw())),
                    }
                }
                Ok(false) => {
                    parts.telemetry().lease_change(LeaseChange::Fenced);
                    tracing::info!(scope = %state.scope, "the scope was taken over; this worker stops");
                    if let Some(sealing) = parts.engine.sealing().filter(|_| self.projection.name() == SEAL_NAME) {
                        sealing.forget(&self.cell.tenant);
                    }
                    Next::Stop
                }
                Err(again) => {
                    parts.database.suspect(&again);
                    self.enter(state, Phase::Retrying, &again.message);
                    Next::In(parts.retry.before(state.attempt, parts.jitter.draw()))
                }
            },
            Decision::Fail => {
                parts.telemetry().failure(self.projection.name(), error.category);
                if state.attempt == 1 {
                    tracing::error!(scope = %state.scope, category = %error.category, "the scope cannot be worked on: {}", error.message);
                }
                self.fail(state, Fault { category: error.category, message: error.message, poison: false });
                Next::In(parts.recheck.before(state.attempt, parts.jitter.draw()))
            }
        }
    }

    /// True when the scope still belongs to this node, or has no live owner. A flip or a pause takes a new epoch and
    /// leaves the owner.
    async fn is_ours(&self, state: &WorkerState) -> StoreResult<bool> {
        let row = self.parts.engine.store().view().await?.scope(&state.scope).await?;
        Ok(row.is_none_or(|row| {
            !row.owner_live || row.owner.as_deref().is_none_or(|owner| owner == self.parts.engine.owner().node)
        }))
    }

    fn enter(&self, state: &WorkerState, phase: Phase, why: &str) {
        self.vitals.state(phase.as_str());
        self.vitals.working_on(why);
        self.cell.show(state.place, |live| {
            live.phase = phase;
            live.doing = why.to_owned();
            live.attempt = state.attempt;
            if phase == Phase::Retrying {
                live.fault = Some(Fault { category: Category::Unavailable, message: why.to_owned(), poison: false });
            }
        });
    }

    fn fail(&self, state: &WorkerState, fault: Fault) {
        self.vitals.state(Phase::Failed.as_str());
        self.vitals.working_on(fault.message.as_str());
        self.cell.show(state.place, |live| {
            live.phase = Phase::Failed;
            live.doing = String::new();
            live.attempt = state.attempt;
            live.fault = Some(fault);
        });
    }

    fn doing(&self, state: &WorkerState, what: &str) {
        self.vitals.working_on(what);
        self.cell.show(state.place, |live| what.clone_into(&mut live.doing));
    }
}
