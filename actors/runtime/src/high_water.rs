//! One actor per node watches the end of the log. It publishes the safe mark and wakes the tenants that have new
//! events.
//!
//! ```text
//!   poll ──▶ anything drawn? ──yes──▶ as after a notification
//!   notification ──▶ sample ──▶ open appenders? ──none──▶ mark moves ──▶ wake tenants with events in (old, new]
//!                                            └─▶ look again (2 … 50 ms) ─┘
//! ```
//!
//! *Guarantees.* No poll per scope: the cost of idleness does not depend on the number of scopes. A wake gets lost with
//! a notification, or with a worker that gave up. The poll and a sweep over tenants that are behind cover it. When the
//! server's history changed (restart, fail-over), the era is counted up. Each actor then drops the cursors that it
//! holds in memory.

use crate::board::{Database, HELD_MAX, MarkState};
use crate::guard::Guard;
use crate::signals::Signals;
use crate::tenants::Tenants;
use decisiongraph_admin::STRAYS_MAX;
use decisiongraph_engine::mark::{HighWater, LOOK_EVERY, look};
use decisiongraph_engine::telemetry::{Telemetry, signals};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_store::{Result as StoreResult, Store, Stray};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Tenants per query, at most.
const TENANTS_PAGE: usize = 5_000;
/// Stray rows that one life of the actor reports, at most.
const STRAYS_TOLD_MAX: usize = 1_000;
/// Pause before listening again after the listening connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// The high-water actor.
pub struct HighWaterActor {
    /// The database.
    pub store: Arc<dyn Store>,
    /// State of the database.
    pub database: Database,
    /// End of the log, which the actor publishes.
    pub mark: watch::Sender<MarkState>,
    /// Tenants to wake.
    pub tenants: Tenants,
    /// Signals to this actor, and to the cluster actor.
    pub signals: Signals,
    /// Pause between two polls of the log's end.
    pub poll: Duration,
    /// Pause between two searches for tenants that are behind.
    pub sweep: Duration,
    /// Record of how long the mark was held up.
    pub telemetry: Telemetry,
    /// Entry of the actor in the dump.
    pub vitals: Vitals,
}

/// Messages to the high-water actor.
#[derive(RactorMessage)]
pub enum HighWaterMessage {
    /// Sample the log's end: there may be new events.
    Sample,
    /// Check if the log still ends at the same place: it is time.
    Poll,
    /// Check the appenders that hold up the mark.
    Look,
    /// Find tenants that are behind.
    Sweep,
    /// The database is back.
    Return,
    /// Listen for notifications again.
    Listen,
}

/// State of the high-water actor.
pub struct HighWaterState {
    water: HighWater,
    /// Mark up to which tenants were woken.
    woken: LogSeq,
    history: Option<String>,
    era: u64,
    held_since: Option<Instant>,
    /// True when a warning has said that the mark is held up.
    told_held: bool,
    /// Checks in a row in which the mark did not move.
    looks: u32,
    /// True when a `Look` is in the mailbox or on its way there: never more than one.
    look_due: bool,
    /// True when a notification's `Sample` is in the mailbox already.
    due: Arc<AtomicBool>,
    /// True after the first sweep of this history.
    started: bool,
    listener: Option<Guard>,
    /// Last error that was logged, so that the actor logs each error once.
    told: Option<String>,
    /// Strays that were reported.
    strays: BTreeSet<Stray>,
    _returns: Guard,
    _signals: [Guard; 2],
}

impl Actor for HighWaterActor {
    type Msg = HighWaterMessage;
    type State = HighWaterState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let signals = [
            self.signals.behind.wakes(&myself, || HighWaterMessage::Sweep),
            self.signals.mark.wakes(&myself, || HighWaterMessage::Sample),
        ];
        let _ = myself.cast(HighWaterMessage::Listen);
        myself.send_interval(self.poll, || HighWaterMessage::Poll);
        myself.send_interval(self.sweep, || HighWaterMessage::Sweep);
        let mut changes = self.database.changes();
        let returns = tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let up = matches!(*changes.borrow(), crate::board::DatabaseState::Up);
                if up && myself.cast(HighWaterMessage::Return).is_err() {
                    return;
                }
            }
        });
        Ok(HighWaterState {
            water: HighWater::default(),
            woken: LogSeq::ORIGIN,
            history: None,
            // A restarted actor knows no history: the new era makes workers start anew, too.
            era: self.mark.borrow().era + 1,
            held_since: None,
            told_held: false,
            looks: 0,
            look_due: false,
            due: Arc::default(),
            started: false,
            listener: None,
            told: None,
            strays: BTreeSet::new(),
            _returns: returns.into(),
            _signals: signals,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let HighWaterActor { database, vitals, .. } = self;
        let done = match message {
            HighWaterMessage::Sample => {
                vitals.noted("sample");
                state.due.store(false, Ordering::SeqCst);
                if database.is_up() { self.sample(&myself, state).await } else { Ok(()) }
            }
            HighWaterMessage::Poll => {
                vitals.noted("poll");
                if database.is_up() { self.poll(&myself, state).await } else { Ok(()) }
            }
            HighWaterMessage::Look => {
                vitals.noted("look");
                if database.is_up() { self.look(&myself, state).await } else { Ok(()) }
            }
            HighWaterMessage::Sweep => {
                vitals.noted("sweep");
                if database.is_up() { self.sweep(state.water.mark(), state).await } else { Ok(()) }
            }
            HighWaterMessage::Return => {
                vitals.noted("return");
                let sampled = self.sample(&myself, state).await;
                match sampled {
                    Ok(()) => self.sweep(state.water.mark(), state).await,
                    Err(error) => Err(error),
                }
            }
            HighWaterMessage::Listen => {
                vitals.noted("listen");
                self.listen(&myself, state).await;
                Ok(())
            }
        };
        match done {
            Ok(()) => state.told = None,
            Err(error) => {
                database.suspect(&error);
                vitals.state("retrying");
                // The database probe reports a database that is away. Any other error stops every tenant, and is logged
                // once.
                let away = error.transient || error.category == Category::Unavailable;
                if !away && state.told.as_ref() != Some(&error.message) {
                    tracing::error!(category = %error.category, "no tenant is woken; the end of the log is unknown: {}", error.message);
                    state.told = Some(error.message);
                } else {
                    tracing::debug!(category = %error.category, "the end of the log is unknown: {}", error.message);
                }
            }
        }
        Ok(())
    }
}

impl HighWaterActor {
    /// Samples the log's end. While appenders hold up an earlier sample, it checks them instead. A newer sample has
    /// newer appenders: under steady load the mark would never move.
    async fn sample(&self, myself: &ActorRef<HighWaterMessage>, state: &mut HighWaterState) -> StoreResult<()> {
        if state.water.waiting_for().is_empty() {
            state.water.sampled(self.store.sample_high_water().await?);
        } else {
            look(&*self.store, &mut state.water).await?;
        }
        self.publish(myself, state).await
    }

    /// Polls with one statement while nothing happens. Samples when the log's end moved, or when tenants below the mark
    /// are still to be woken.
    async fn poll(&self, myself: &ActorRef<HighWaterMessage>, state: &mut HighWaterState) -> StoreResult<()> {
        let told = state.started && state.woken == state.water.mark();
        if told && state.water.is_at(&self.store.log_end().await?) {
            self.vitals.state("watching");
            return Ok(());
        }
        self.sample(myself, state).await
    }

    async fn look(&self, myself: &ActorRef<HighWaterMessage>, state: &mut HighWaterState) -> StoreResult<()> {
        state.look_due = false;
        if state.water.waiting_for().is_empty() {
            return Ok(());
        }
        look(&*self.store, &mut state.water).await?;
        self.publish(myself, state).await
    }

    /// Publishes the mark, wakes tenants that have events up to it, and checks again while appenders hold it up.
    async fn publish(&self, myself: &ActorRef<HighWaterMessage>, state: &mut HighWaterState) -> StoreResult<()> {
        let HighWaterActor { store, telemetry, vitals, .. } = self;
        let mark = state.water.mark();
        let history = state.water.history().map(str::to_owned);
        if state.history.is_some() && state.history != history || mark < state.woken {
            tracing::warn!("the server's history changed: cursors and digests held in memory are dropped");
            // Sessions with the former server may be left: nothing more is read there.
            store.hang_up();
            state.era += 1;
            state.started = false;
        }
        state.history = history;
        let waiting_for = state.water.waiting_for().to_vec();
        if (mark > state.woken || waiting_for.is_empty())
            && let Some(since) = state.held_since.take()
        {
            telemetry.record(&signals::MARK_HOLD_DURATION, since.elapsed().as_secs_f64(), &[]);
            if std::mem::take(&mut state.told_held) {
                tracing::info!("the mark moves again, after {:.0} s", since.elapsed().as_secs_f64());
            }
        }
        if mark > state.woken {
            state.looks = 0;
        }
        if waiting_for.is_empty() {
            state.looks = 0;
            vitals.state("watching");
        } else {
            let since = *state.held_since.get_or_insert_with(Instant::now);
            if since.elapsed() > HELD_MAX && !std::mem::replace(&mut state.told_held, true) {
                let pids: Vec<i32> = waiting_for.iter().filter_map(|writer| writer.pid).collect();
                tracing::warn!(
                    ?pids,
                    "open appenders have held up the mark for {:.0} s",
                    since.elapsed().as_secs_f64()
                );
            }
            vitals.state("held up");
            if !std::mem::replace(&mut state.look_due, true) {
                let pause = LOOK_EVERY.0.saturating_mul(1 << state.looks.min(10)).min(LOOK_EVERY.1);
                state.looks += 1;
                myself.send_after(pause, || HighWaterMessage::Look);
            }
        }
        let (era, history, held_since) = (state.era, state.history.clone(), state.held_since);
        self.mark.send_replace(MarkState { mark, era, history, waiting_for, held_since });
        if !state.started {
            // Every tenant may be behind: a range of the log would not tell which tenants were behind before.
            if mark > LogSeq::ORIGIN || state.water.waiting_for().is_empty() {
                self.sweep(mark, state).await?;
                state.started = true;
                state.woken = mark;
            }
        }
        while state.started && state.woken < mark {
            let tenants = store.view().await?.tenants_with_events(state.woken, mark, TENANTS_PAGE).await?;
            state.woken = match tenants.last() {
                Some((_, last)) if tenants.len() == TENANTS_PAGE => *last,
                _ => mark,
            };
            for (tenant, last) in tenants {
                self.tenants.wake(&tenant, last);
            }
        }
        Ok(())
    }

    async fn sweep(&self, mark: LogSeq, state: &mut HighWaterState) -> StoreResult<()> {
        for stray in self.store.view().await?.strays(STRAYS_MAX).await? {
            if state.strays.len() < STRAYS_TOLD_MAX && !state.strays.contains(&stray) {
                tracing::warn!(table = stray.table, "{}; {}", stray.why, stray.next);
                state.strays.insert(stray);
            }
        }
        let (scopes, mut after) = (self.tenants.scope_names(), None::<TenantId>);
        loop {
            let page = self.store.view().await?.tenants_behind(&scopes, mark, after.as_ref(), TENANTS_PAGE).await?;
            for (tenant, last) in &page {
                self.tenants.wake(tenant, *last);
            }
            match page.into_iter().last() {
                Some((tenant, _)) => after = Some(tenant),
                None => return Ok(()),
            }
        }
    }

    async fn listen(&self, myself: &ActorRef<HighWaterMessage>, state: &mut HighWaterState) {
        state.listener = None;
        let Ok(mut wakes) = self.store.wakes().await else {
            myself.send_after(LISTEN_AGAIN, || HighWaterMessage::Listen);
            return;
        };
        // Notifications sent before this connection listened are lost: the members are checked.
        let members = self.signals.members.clone();
        members.send();
        let (due, myself) = (Arc::clone(&state.due), myself.clone());
        let listener = tokio::spawn(async move {
            loop {
                let heard = tokio::select! {
                    heard = wakes.log.recv() => heard,
                    Some(()) = wakes.members.recv() => {
                        members.send();
                        continue;
                    }
                };
                if heard.is_none() {
                    break;
                }
                if !due.swap(true, Ordering::SeqCst) && myself.cast(HighWaterMessage::Sample).is_err() {
                    return;
                }
            }
            // The connection is lost: a sample finds the events that were appended meanwhile.
            tokio::time::sleep(LISTEN_AGAIN).await;
            let _ = myself.cast(HighWaterMessage::Sample);
            let _ = myself.cast(HighWaterMessage::Listen);
        });
        state.listener = Some(listener.into());
    }
}
