//! Answers for one tenant: forwards wakes to its workers and restarts workers that gave up. Has the tenant's actors
//! stopped when there is nothing to do.
//!
//! *Never here:* the work itself, or its retries. A coordinator that dies takes its workers along (one_for_all).
//! Nothing is lost: everything it knows is in the database or is sent again.

use super::{Parting, TenantCell, Tenants, WorkerMessage, worker_id};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The coordinator's actor.
pub struct Coordinator {
    /// Tenants of the node, which decide about this tenant's stay.
    pub tenants: Tenants,
    /// State that the tenant's actors share.
    pub cell: Arc<TenantCell>,
    /// Time after its last wake until an idle tenant is passivated.
    pub passivate_after: Duration,
    /// Entry of the coordinator in the dump.
    pub vitals: Vitals,
}

/// Messages to the coordinator.
#[derive(RactorMessage)]
pub enum CoordinatorMessage {
    /// The log may be read further.
    Wake,
    /// A worker has nothing to do now.
    Quiet,
    /// Time to check again if the tenant's actors may leave.
    Consider,
    /// Another tenant waits for room.
    MakeRoom,
    /// An operator changed something: every worker checks its scope again.
    Reconsider,
}

/// State of the coordinator.
pub struct CoordinatorState {
    woken: Instant,
    /// True when a [`CoordinatorMessage::Consider`] is on its way.
    considering: bool,
}

impl Actor for Coordinator {
    type Msg = CoordinatorMessage;
    type State = CoordinatorState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let Coordinator { tenants, cell, vitals, .. } = self;
        tenants.unpark(&cell.tenant);
        cell.note_coordinator(vitals.address(myself));
        Ok(CoordinatorState { woken: Instant::now(), considering: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Coordinator { tenants, cell, vitals, .. } = self;
        match message {
            CoordinatorMessage::Wake => {
                vitals.received("wake");
                state.woken = Instant::now();
                tenants.unpark(&cell.tenant);
                self.tell(|| WorkerMessage::Wake);
            }
            CoordinatorMessage::Reconsider => {
                vitals.received("reconsider");
                state.woken = Instant::now();
                tenants.unpark(&cell.tenant);
                self.tell(|| WorkerMessage::Reconsider);
            }
            CoordinatorMessage::Quiet => {
                vitals.received("quiet");
                self.consider(&myself, state);
            }
            CoordinatorMessage::Consider => {
                vitals.noted("consider");
                state.considering = false;
                self.consider(&myself, state);
            }
            CoordinatorMessage::MakeRoom => {
                vitals.received("make_room");
                if self.consider(&myself, state) == Parting::Works {
                    tenants.make_room();
                }
            }
        }
        Ok(())
    }
}

impl Coordinator {
    /// Decides if the tenant's actors leave now, leave later or stay.
    fn consider(&self, myself: &ActorRef<CoordinatorMessage>, state: &mut CoordinatorState) -> Parting {
        let Coordinator { tenants, cell, passivate_after, vitals } = self;
        let may_leave = |crowded| (0..cell.scopes.len()).all(|place| cell.live(place).phase.may_leave(crowded));
        if !may_leave(true) {
            return Parting::Works;
        }
        let idle = may_leave(false);
        let stays = passivate_after.saturating_sub(state.woken.elapsed());
        let parting = tenants.leave_or_park(cell, idle && stays.is_zero());
        match parting {
            Parting::Leaves => vitals.state("leaving"),
            Parting::Parks => {
                cell.forget_pages();
                if idle && !std::mem::replace(&mut state.considering, true) {
                    myself.send_after(stays, || CoordinatorMessage::Consider);
                }
            }
            Parting::Works => {}
        }
        parting
    }

    /// Tells every worker. A worker that gave its scope up is started again: it may get the scope back.
    fn tell(&self, message: impl Fn() -> WorkerMessage) {
        let Coordinator { cell, vitals, .. } = self;
        for (place, projection) in cell.scopes.iter().enumerate() {
            let told = cell.worker(place).is_some_and(|worker| worker.cast(message()).is_ok());
            if told {
                continue;
            }
            // A worker that is just being started reads the target itself. Then the supervisor refuses the restart,
            // rightly.
            if let Some(supervisor) = vitals.sibling("workers") {
                let id = worker_id(*projection);
                tokio::spawn(async move {
                    let _ = supervisor.restart_child(&id).await;
                });
            }
        }
    }
}
