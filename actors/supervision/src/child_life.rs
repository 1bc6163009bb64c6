//! One child through its lives: starts it, stops it, and leaves nothing of it behind.
//!
//! ```text
//!   begin ─▶ actor and task ─▶ end: asked, then killed ─▶ task over ─▶ all below killed, tasks over ─▶ next life
//! ```
//!
//! Guarantees: a start ends with an actor or an error, also when the start function panics. A stop ends, also when the
//! actor does not. After a stop or an exit was dealt with, nothing runs at or below the child's path. The exception is
//! an actor that never yields and so cannot be killed. The table remembers it, and no actor starts at its path while it
//! lives. Never touches a list of children.

use super::child_spec::{ChildKind, ChildSpec, Shutdown};
use super::dump::ActorTable;
use super::exit_reason::{ExitReason, SHUTDOWN};
use super::vitals::{Slot, Vitals};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use ractor::ActorCell;
use ractor::concurrency::JoinHandle;
use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest start of a worker; a longer one is a failed start. A supervisor takes the sum of its children.
pub const START_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a kill, which acts when the actor next yields. An actor that never yields is given up, with an
/// error in the log.
pub const KILL_WAIT_MAX: Duration = Duration::from_secs(5);

/// A started actor. Clones refer to the same actor.
#[derive(Clone)]
pub struct Started {
    actor: ActorCell,
    task: Shared<BoxFuture<'static, ()>>,
}

impl Started {
    /// Joins the actor and its task, as ractor's `spawn_linked` gives them.
    pub fn new(actor: ActorCell, task: JoinHandle<()>) -> Started {
        Started { actor, task: task.map(drop).boxed().shared() }
    }

    /// Wraps an actor whose task is held elsewhere. It counts as gone when ractor says so, an instant before its state
    /// is dropped.
    fn of_cell(actor: ActorCell) -> Started {
        let cell = actor.clone();
        Started { actor, task: async move { cell.wait(None).await.unwrap_or_default() }.boxed().shared() }
    }

    /// Returns the actor's address.
    pub const fn actor(&self) -> &ActorCell {
        &self.actor
    }

    /// Resolves when the task is over: neither code nor state of the actor is left.
    pub async fn gone(&self) {
        self.task.clone().await;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.task.clone().now_or_never().is_some()
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Started").field(&self.actor).finish()
    }
}

/// A child of one supervisor.
pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) slot: Arc<Slot>,
    pub(super) life: Option<(Started, Vitals)>,
}

impl Child {
    /// Runs the start function. A panic in it, a start without end and a former life without end are failed starts.
    pub(super) async fn begin(&mut self, supervisor: &ActorCell, table: &ActorTable) -> Result<ActorCell, String> {
        for former in table.unended(self.slot.path()) {
            if timeout(KILL_WAIT_MAX, former.gone()).await.is_err() {
                return Err("its former actor was killed, does not yield, and still runs".to_owned());
            }
        }
        let vitals = self.slot.begin(table);
        let (start, parent, shown) = (Arc::clone(&self.spec.start), supervisor.clone(), vitals.clone());
        let starting = AssertUnwindSafe(async move { start(parent, shown).await }).catch_unwind();
        let started = match self.spec.kind {
            ChildKind::Supervisor => starting.await,
            ChildKind::Worker => match timeout(START_WAIT_MAX, starting).await {
                Ok(started) => started,
                Err(_) => return Err(format!("did not start within {START_WAIT_MAX:?}")),
            },
        };
        let started = started.unwrap_or_else(|panic| Err(format!("panic in start: {}", panic_text(&*panic))))?;
        let cell = started.actor().clone();
        self.slot.run(started.clone());
        self.life = Some((started, vitals));
        Ok(cell)
    }

    /// Cleans up after a failed start: also ends actors that the start function linked to the supervisor before it
    /// failed.
    pub(super) async fn not_begun(&self, linked: Vec<ActorCell>, table: &ActorTable, error: &str) {
        kill_all(linked.into_iter().map(Started::of_cell).collect(), self.slot.path(), table).await;
        self.left(table, ExitReason::failed(error)).await;
    }

    /// Stops the actor as its spec says, if it runs.
    pub(super) async fn end(&self, supervisor: &ActorCell, table: &ActorTable) {
        let Some((life, _)) = &self.life else { return };
        let (actor, path) = (life.actor(), self.slot.path());
        // The end is awaited here. As an event it would keep the actor's state alive in the supervisor's mailbox.
        actor.unlink(supervisor.clone());
        let own = if self.spec.kind == ChildKind::Worker { descendants(actor) } else { Vec::new() };
        if self.spec.shutdown != Shutdown::Brutal {
            actor.stop(Some(SHUTDOWN.to_owned()));
        }
        let stopped = match self.spec.shutdown {
            Shutdown::Brutal => false,
            Shutdown::Timeout(wait) => timeout(wait, life.gone()).await.is_ok(),
            Shutdown::Infinity => life.gone().map(|()| true).await,
        };
        if !stopped {
            if self.spec.shutdown != Shutdown::Brutal {
                tracing::warn!(%path, shutdown = ?self.spec.shutdown, "did not stop in time; killed");
            }
            kill_all(vec![life.clone()], path, table).await;
        }
        kill_all(own, path, table).await;
        self.left(table, if stopped { ExitReason::Shutdown } else { ExitReason::Killed }).await;
    }

    /// Deals with a child that ended on its own.
    pub(super) async fn ended(&mut self, table: &ActorTable, reason: ExitReason) {
        if let Some((life, _)) = self.life.take() {
            kill_all(vec![life], self.slot.path(), table).await;
        }
        self.left(table, reason).await;
    }

    /// Clears everything below an actor that is gone, and updates its part of the dump.
    async fn left(&self, table: &ActorTable, reason: ExitReason) {
        if self.spec.kind == ChildKind::Supervisor {
            clear_below(&self.slot, table).await;
        }
        self.slot.end("stopped", reason);
    }
}

/// Kills what still runs below an actor that is gone, whatever it does, and waits for it.
///
/// ractor kills the actors linked to one that ends, except those that are stopping already. It waits for none.
pub(super) async fn clear_below(slot: &Arc<Slot>, table: &ActorTable) {
    // A supervisor below may start one more child before its kill acts, hence the rounds.
    loop {
        let running = table.running_below(slot);
        if running.is_empty() {
            break;
        }
        let ends = running.iter().map(|(below, life)| async move {
            let mut lives = descendants(life.actor());
            lives.push(life.clone());
            kill_all(lives, below.path(), table).await;
            below.end("stopped", ExitReason::Killed);
        });
        join_all(ends).await;
    }
    table.remove_below(slot);
}

/// Kills actors and waits until they are gone. Actors that do not yield are given up, and the table remembers them.
async fn kill_all(lives: Vec<Started>, path: &Arc<str>, table: &ActorTable) {
    lives.iter().for_each(|life| life.actor().kill());
    let ends = lives.into_iter().map(|life| async move {
        if timeout(KILL_WAIT_MAX, life.gone()).await.is_err() {
            tracing::error!(%path, waited = ?KILL_WAIT_MAX, "does not yield and cannot be killed; given up");
            table.cannot_end(path, life);
        }
    });
    join_all(ends).await;
}

/// Collects the actors that are linked below this one.
fn descendants(actor: &ActorCell) -> Vec<Started> {
    let (mut found, mut from) = (Vec::new(), actor.get_children());
    while let Some(child) = from.pop() {
        from.extend(child.get_children());
        found.push(Started::of_cell(child));
    }
    found
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}
