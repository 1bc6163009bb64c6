//! Starting and stopping one actor, within bounds.
//!
//! Guarantees: a start ends with an actor or an error, also when the start function panics; a stop ends, also when the actor
//! does not. Never touches a list of children.

use super::child_spec::{ChildKind, ChildSpec, Shutdown};
use super::exit_reason::{ExitReason, SHUTDOWN};
use super::vitals::Vitals;
use futures_util::FutureExt;
use ractor::ActorCell;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// How long a worker may take to start; longer is a failed start. A supervisor takes the sum of its children.
pub const START_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a kill is waited for. It acts when the actor next yields; one that never does is given up, with an error in the log.
pub const KILL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Runs a start function: a panic in it and a start without end are failed starts.
pub(super) async fn begin(spec: &ChildSpec, supervisor: ActorCell, vitals: Vitals) -> Result<ActorCell, String> {
    let start = Arc::clone(&spec.start);
    let starting = AssertUnwindSafe(async move { start(supervisor, vitals).await }).catch_unwind();
    let started = match spec.kind {
        ChildKind::Supervisor => starting.await,
        ChildKind::Worker => match tokio::time::timeout(START_WAIT_MAX, starting).await {
            Ok(started) => started,
            Err(_) => return Err(format!("did not start within {START_WAIT_MAX:?}")),
        },
    };
    started.unwrap_or_else(|panic| Err(format!("panic in start: {}", panic_text(&*panic))))
}

/// Stops an actor as its spec says. Returns how it ended.
pub(super) async fn end(cell: &ActorCell, shutdown: Shutdown, path: &str) -> ExitReason {
    let wait = match shutdown {
        Shutdown::Brutal => return kill(cell, path).await,
        Shutdown::Timeout(wait) => Some(wait),
        Shutdown::Infinity => None,
    };
    cell.stop(Some(SHUTDOWN.to_owned()));
    match cell.wait(wait).await {
        Ok(()) => ExitReason::Shutdown,
        Err(_) => {
            tracing::warn!(path, ?wait, "did not stop in time; killed");
            kill(cell, path).await
        }
    }
}

async fn kill(cell: &ActorCell, path: &str) -> ExitReason {
    if cell.kill_and_wait(Some(KILL_WAIT_MAX)).await.is_err() {
        tracing::error!(path, waited = ?KILL_WAIT_MAX, "does not yield and cannot be killed; given up");
    }
    ExitReason::Killed
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}
