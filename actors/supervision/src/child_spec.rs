//! Children as data: what to start, when to restart it, how to stop it.
//!
//! Guarantees: a spec can be started any number of times. Never holds a running actor.

use super::backoff::Backoff;
use super::child_life::Started;
use super::handle::SupervisorRef;
use super::intensity::Intensity;
use super::strategy::{Restart, Strategy};
use super::supervisor::SupervisorActor;
use super::vitals::Vitals;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, SpawnErr};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest stop of an ordinary child whose spec does not say otherwise.
pub const WORKER_SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Way to stop a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shutdown {
    /// Killed at once.
    Brutal,
    /// Asked to stop; killed after this time.
    Timeout(Duration),
    /// Asked to stop and awaited without a limit. For supervisors, whose children have their own times.
    Infinity,
}

/// Kind of a child: with or without children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildKind {
    /// A child without children.
    Worker,
    /// A child that has children.
    Supervisor,
}

/// Starts a child linked to the given supervisor, and returns once it runs or could not be started.
pub type StartFn = Arc<dyn Fn(ActorCell, Vitals) -> BoxFuture<'static, Result<Started, String>> + Send + Sync>;

/// One child.
#[derive(Clone)]
pub struct ChildSpec {
    /// Unique among its siblings; a segment of its path in the dump.
    pub id: String,
    /// Kind: worker or supervisor.
    pub kind: ChildKind,
    /// Restart type.
    pub restart: Restart,
    /// Way to stop the child.
    pub shutdown: Shutdown,
    /// Start function.
    pub start: StartFn,
}

impl ChildSpec {
    /// Builds a permanent worker with [`WORKER_SHUTDOWN_MAX`] to stop.
    pub fn worker(id: impl Into<String>, start: StartFn) -> ChildSpec {
        ChildSpec {
            id: id.into(),
            kind: ChildKind::Worker,
            restart: Restart::Permanent,
            shutdown: Shutdown::Timeout(WORKER_SHUTDOWN_MAX),
            start,
        }
    }

    /// Builds a permanent nested supervisor, awaited without a limit when it stops. A restart starts the children of
    /// `spec`; children added later are gone, as in OTP.
    pub fn supervisor(id: impl Into<String>, spec: SupervisorSpec) -> ChildSpec {
        let start: StartFn = Arc::new(move |parent, vitals| {
            let actor = SupervisorActor::new(spec.clone(), vitals);
            Box::pin(async move {
                let started = Actor::spawn_linked(None, actor, (), parent).await;
                started.map(|(actor, task)| Started::new(actor.get_cell(), task)).map_err(cause)
            })
        });
        ChildSpec {
            id: id.into(),
            kind: ChildKind::Supervisor,
            restart: Restart::Permanent,
            shutdown: Shutdown::Infinity,
            start,
        }
    }

    /// Returns the same supervisor with a hook. `then` gets its handle after every start, before its next sibling
    /// starts.
    #[must_use]
    pub fn on_start(mut self, then: impl Fn(SupervisorRef) + Send + Sync + 'static) -> ChildSpec {
        debug_assert!(self.kind == ChildKind::Supervisor, "{} is not a supervisor", self.id);
        let (start, then) = (Arc::clone(&self.start), Arc::new(then));
        self.start = Arc::new(move |parent, vitals| {
            let (starting, then) = (start(parent, vitals), Arc::clone(&then));
            Box::pin(async move {
                let started = starting.await?;
                then(SupervisorRef::of_cell(started.actor().clone()));
                Ok(started)
            })
        });
        self
    }

    /// Returns the spec with another restart type.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> ChildSpec {
        self.restart = restart;
        self
    }

    /// Returns the spec with another way to stop.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> ChildSpec {
        self.shutdown = shutdown;
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

/// Makes the start function of an ordinary ractor actor. `build` gives a fresh actor and its arguments at every start.
pub fn start_actor<A, F>(build: F) -> StartFn
where
    A: Actor,
    F: Fn(Vitals) -> (A, A::Arguments) + Send + Sync + 'static,
{
    let build = Arc::new(build);
    Arc::new(move |parent, vitals| {
        let build = Arc::clone(&build);
        Box::pin(async move {
            let (actor, arguments) = build(vitals);
            let started = Actor::spawn_linked(None, actor, arguments, parent).await;
            started.map(|(actor, task)| Started::new(actor.get_cell(), task)).map_err(cause)
        })
    })
}

/// Returns the cause of a failed start, without ractor's frame around it.
pub(super) fn cause(error: SpawnErr) -> String {
    match error {
        SpawnErr::StartupFailed(cause) => cause.to_string(),
        other => other.to_string(),
    }
}

/// One supervisor as data.
///
/// With `one_for_one` and no children it is *dynamic*, as OTP's `simple_one_for_one`. Its children come and go by
/// `start_child`, and are stopped together rather than one after the other. A transient child that ended well leaves
/// the list.
#[derive(Debug, Clone)]
pub struct SupervisorSpec {
    /// Strategy: which children are restarted together.
    pub strategy: Strategy,
    /// Restarts that are tolerated before the supervisor gives up.
    pub intensity: Intensity,
    /// Delay of restarts; `None` for no delay, as OTP.
    pub backoff: Option<Backoff>,
    /// Children in start order.
    pub children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// Builds a spec without children and back-off.
    pub const fn new(strategy: Strategy, intensity: Intensity) -> SupervisorSpec {
        SupervisorSpec { strategy, intensity, backoff: None, children: Vec::new() }
    }

    /// Returns the spec with a back-off.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> SupervisorSpec {
        self.backoff = Some(backoff);
        self
    }

    /// Returns the spec with one more child.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> SupervisorSpec {
        self.children.push(child);
        self
    }

    /// True when the children come and go.
    pub const fn is_dynamic(&self) -> bool {
        matches!(self.strategy, Strategy::OneForOne) && self.children.is_empty()
    }
}
