//! The top of a tree: starts the root supervisor and reports how it ended.
//!
//! Guarantees: [`Root::exited`] resolves, whatever the end: an ordered stop, a root that gave up, a panic, a kill.
//! After that nothing of the tree runs. Never restarts the root: a process whose root gave up ends with
//! [`ROOT_GAVE_UP_EXIT_CODE`], and its service manager starts another.

use super::child_life::{Started, clear_below};
use super::child_spec::{SupervisorSpec, cause};
use super::dump::ActorTable;
use super::exit_reason::{ExitReason, GAVE_UP, SHUTDOWN};
use super::handle::SupervisorRef;
use super::supervisor::SupervisorActor;
use super::vitals::Slot;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Exit code of a process whose root supervisor gave up. No other end of the program has it.
pub const ROOT_GAVE_UP_EXIT_CODE: u8 = 12;

/// A running tree. Clones refer to the same tree; dropping them stops nothing.
#[derive(Debug, Clone)]
pub struct Root {
    supervisor: SupervisorRef,
    ending: watch::Receiver<Option<Ending>>,
}

#[derive(Debug, Clone)]
struct Ending {
    reason: ExitReason,
    gave_up: bool,
}

/// Starts a tree. `name` is the first segment of every path in `table`.
///
/// # Errors
/// The first child that could not be started, by id and with its error. Children started before it are stopped.
pub async fn start_root(name: &str, spec: SupervisorSpec, table: ActorTable) -> Result<Root, String> {
    let (ended, ending) = watch::channel(None);
    let (started, root) = oneshot::channel();
    let slot = table.insert_root(name);
    let arguments = WatchArguments { spec, table: table.clone(), slot: Arc::clone(&slot), started, ended };
    if let Err(error) = Actor::spawn(None, RootWatch, arguments).await {
        table.remove(&slot);
        return Err(cause(error));
    }
    let supervisor = root.await.map_err(|_| "the root ended while it started".to_owned())?;
    Ok(Root { supervisor, ending })
}

impl Root {
    /// Returns the root supervisor.
    pub const fn supervisor(&self) -> &SupervisorRef {
        &self.supervisor
    }

    /// Resolves when the root has ended. `Shutdown` is an ordered stop, or a root that gave up: see [`Root::gave_up`].
    pub async fn exited(&self) -> ExitReason {
        let mut ending = self.ending.clone();
        match ending.wait_for(Option::is_some).await {
            Ok(ending) => ending.as_ref().map_or(ExitReason::Killed, |ending| ending.reason.clone()),
            Err(_) => ExitReason::Killed,
        }
    }

    /// True when the root ended on its own and not by an ordered stop: too many restarts, a panic, a kill. Such a
    /// process ends with [`ROOT_GAVE_UP_EXIT_CODE`]. False while the root runs.
    pub fn gave_up(&self) -> bool {
        match &*self.ending.borrow() {
            Some(ending) => ending.gave_up,
            None => self.ending.has_changed().is_err(),
        }
    }

    /// Stops the tree, each child in its own time, and waits for its end.
    pub async fn stop(&self) -> ExitReason {
        self.supervisor.cell().stop(Some(SHUTDOWN.to_owned()));
        self.exited().await
    }

    /// Kills the tree at once and waits for its end; after that none of its code runs.
    pub async fn kill(&self) -> ExitReason {
        self.supervisor.cell().kill();
        self.exited().await
    }
}

/// The actor above the root: observes its end.
struct RootWatch;

struct WatchArguments {
    spec: SupervisorSpec,
    table: ActorTable,
    slot: Arc<Slot>,
    started: oneshot::Sender<SupervisorRef>,
    ended: watch::Sender<Option<Ending>>,
}

struct WatchState {
    table: ActorTable,
    slot: Arc<Slot>,
    root: Started,
    ended: watch::Sender<Option<Ending>>,
}

/// Message type of [`RootWatch`], which receives none.
enum WatchMessage {}

#[cfg(feature = "cluster")]
impl ractor::Message for WatchMessage {}

impl Actor for RootWatch {
    type Msg = WatchMessage;
    type State = WatchState;
    type Arguments = WatchArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<WatchMessage>,
        arguments: WatchArguments,
    ) -> Result<WatchState, ActorProcessingErr> {
        let WatchArguments { spec, table, slot, started, ended } = arguments;
        let root = SupervisorActor::new(spec, slot.begin(&table));
        let (root, task) = Actor::spawn_linked(None, root, (), myself.get_cell()).await.map_err(cause)?;
        let root = Started::new(root.get_cell(), task);
        slot.run(root.clone());
        let _ = started.send(SupervisorRef::of_cell(root.actor().clone()));
        Ok(WatchState { table, slot, root, ended })
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<WatchMessage>,
        event: SupervisionEvent,
        state: &mut WatchState,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(reason) = ExitReason::of_event(&event) {
            let told =
                matches!(&event, SupervisionEvent::ActorTerminated(_, _, Some(text)) if text.starts_with(GAVE_UP));
            let gave_up = told || reason.is_abnormal();
            state.root.gone().await;
            clear_below(&state.slot, &state.table).await;
            state.table.remove(&state.slot);
            state.ended.send_replace(Some(Ending { reason, gave_up }));
            myself.stop(None);
        }
        Ok(())
    }
}
