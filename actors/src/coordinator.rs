//! Answers for one tenant: passes wakes on to its workers, starts those again that gave up, and lets the tenant's actors go when there
//! is nothing to do.
//!
//! *Never here:* the work itself, or its retries. A coordinator that dies takes its workers along (one_for_all) and loses
//! nothing: everything it knows is in the database or told again.

use crate::node::{Shared, worker_id};
use crate::scopes::TenantCell;
use crate::supervision::Vitals;
use crate::worker::WorkerMessage;
use decisiongraph_projections::catalogue;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::Instant;

/// The actor.
pub struct Coordinator(pub Shared, pub Arc<TenantCell>, pub Vitals);

/// What it is told.
#[derive(RactorMessage)]
pub enum CoordinatorMessage {
    /// The log may be read further.
    Wake,
    /// A worker has nothing to do now.
    Quiet,
    /// It is time to see whether anybody has something to do.
    Consider,
    /// An operator changed something: every worker looks at its scope again.
    Reconsider,
}

/// Its memory.
pub struct CoordinatorState {
    woken: Instant,
    /// A [`CoordinatorMessage::Consider`] is on its way.
    considering: bool,
}

impl Actor for Coordinator {
    type Msg = CoordinatorMessage;
    type State = CoordinatorState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let Coordinator(_, cell, vitals) = self;
        cell.set_coordinator(vitals.address(myself));
        Ok(CoordinatorState { woken: Instant::now(), considering: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Coordinator(shared, cell, vitals) = self;
        match message {
            CoordinatorMessage::Wake => {
                vitals.received("wake");
                state.woken = Instant::now();
                self.tell(|| WorkerMessage::Wake);
            }
            CoordinatorMessage::Reconsider => {
                vitals.received("reconsider");
                state.woken = Instant::now();
                self.tell(|| WorkerMessage::Reconsider);
            }
            CoordinatorMessage::Quiet | CoordinatorMessage::Consider => {
                let timer = matches!(message, CoordinatorMessage::Consider);
                if timer {
                    vitals.noted("consider")
                } else {
                    vitals.received("quiet")
                }
                state.considering &= !timer;
                let crowded = shared.scopes.crowded();
                if !(0..catalogue::ALL.len()).all(|place| cell.live(place).phase.may_leave(crowded)) {
                    return Ok(());
                }
                cell.forget_pages();
                let stays = shared.bounds.passivate_after.saturating_sub(state.woken.elapsed());
                if crowded || stays.is_zero() {
                    vitals.state("leaving");
                    shared.scopes.leave(shared, cell);
                } else if !std::mem::replace(&mut state.considering, true) {
                    myself.send_after(stays, || CoordinatorMessage::Consider);
                }
            }
        }
        Ok(())
    }
}

impl Coordinator {
    /// Tells every worker; one that gave its scope up is started again to see whether it may have it back.
    fn tell(&self, message: impl Fn() -> WorkerMessage) {
        let Coordinator(_, cell, vitals) = self;
        for (place, projection) in catalogue::ALL.iter().enumerate() {
            let told = cell.worker(place).is_some_and(|worker| worker.cast(message()).is_ok());
            if told {
                continue;
            }
            // A worker that is just being started reads the target itself; then this is refused, and right.
            if let Some(supervisor) = vitals.sibling("workers") {
                let id = worker_id(*projection);
                tokio::spawn(async move {
                    let _ = supervisor.restart_child(&id).await;
                });
            }
        }
    }
}
