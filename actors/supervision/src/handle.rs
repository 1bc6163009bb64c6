//! The handle of a running supervisor: add, end, restart and list its children.
//!
//! Guarantees: every call has a deadline and a typed error. Never call your own supervisor from `pre_start` or
//! `post_stop`: it waits for you there, and the call ends with `TimedOut`.

use super::child_spec::{ChildKind, ChildSpec};
use super::exit_reason::SHUTDOWN;
use super::strategy::Restart;
use super::supervisor::SupervisorMessage;
use ractor::rpc::CallResult;
use ractor::{ActorCell, ActorRef, RpcReplyPort};
use std::time::Duration;

/// Longest wait of a call for its answer, unless set by [`SupervisorRef::with_deadline`].
pub const CALL_WAIT_MAX: Duration = Duration::from_secs(30);

/// Reason for a refused or failed request to a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupervisorError {
    /// A child with this id runs, or is about to run again.
    #[error("a child with this id is already started")]
    AlreadyStarted,
    /// A child with this id is on the list, stopped.
    #[error("a child with this id is already present; restart or delete it")]
    AlreadyPresent,
    /// No child has this id.
    #[error("no child has this id")]
    NotFound,
    /// The child runs; terminate it first.
    #[error("the child is running")]
    Running,
    /// The child is being restarted; terminate it first.
    #[error("the child is being restarted")]
    Restarting,
    /// The supervisor is gone, or ended before it answered.
    #[error("the supervisor is gone")]
    Gone,
    /// No answer within the deadline; it is not known whether the request was carried out.
    #[error("no answer from the supervisor within the deadline")]
    TimedOut,
    /// The child could not be started.
    #[error("the child could not be started: {0}")]
    StartFailed(String),
}

/// State of a child, as OTP's `which_children` reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// The child's actor runs.
    Running,
    /// The actor does not run, and nothing starts it without a call.
    Stopped,
    /// The child waits for its next start.
    Restarting,
}

/// A child on the list.
#[derive(Debug, Clone)]
pub struct ChildInfo {
    /// Id of the child.
    pub id: String,
    /// Kind: worker or supervisor.
    pub kind: ChildKind,
    /// Restart type.
    pub restart: Restart,
    /// State of the child.
    pub state: ChildState,
    /// Actor of the child, when it runs.
    pub actor: Option<ActorCell>,
}

/// Number of children.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChildCount {
    /// Children on the list.
    pub specs: usize,
    /// Children that run.
    pub active: usize,
    /// Supervisors on the list.
    pub supervisors: usize,
    /// Workers on the list.
    pub workers: usize,
}

/// A running supervisor.
#[derive(Debug, Clone)]
pub struct SupervisorRef {
    actor: ActorRef<SupervisorMessage>,
    deadline: Duration,
}

type Reply<T> = RpcReplyPort<Result<T, SupervisorError>>;

impl SupervisorRef {
    /// Wraps a cell that is known to be a supervisor.
    pub(crate) fn of_cell(cell: ActorCell) -> SupervisorRef {
        SupervisorRef { actor: cell.into(), deadline: CALL_WAIT_MAX }
    }

    /// Returns the handle of a child that is a supervisor and runs.
    pub fn of_child(child: &ChildInfo) -> Option<SupervisorRef> {
        (child.kind == ChildKind::Supervisor).then(|| child.actor.clone()).flatten().map(SupervisorRef::of_cell)
    }

    /// Returns the handle with another deadline for its calls.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> SupervisorRef {
        self.deadline = deadline;
        self
    }

    /// Returns the supervisor's actor.
    pub fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }

    /// Adds a child at the end of the start order and starts it. A child that cannot be started is not added.
    ///
    /// # Errors
    /// `AlreadyStarted`, `AlreadyPresent`, `StartFailed`, `Gone`, `TimedOut`.
    pub async fn start_child(&self, spec: ChildSpec) -> Result<ActorCell, SupervisorError> {
        self.call(|reply| SupervisorMessage::StartChild(Box::new(spec), reply)).await
    }

    /// Stops a child as its spec says. It stays on the list, unless it is temporary.
    ///
    /// # Errors
    /// `NotFound`, `Gone`, `TimedOut`.
    pub async fn terminate_child(&self, id: &str) -> Result<(), SupervisorError> {
        self.call(|reply| SupervisorMessage::TerminateChild(id.into(), reply)).await
    }

    /// Starts a stopped child.
    ///
    /// # Errors
    /// `NotFound`, `Running`, `Restarting`, `StartFailed`, `Gone`, `TimedOut`.
    pub async fn restart_child(&self, id: &str) -> Result<ActorCell, SupervisorError> {
        self.call(|reply| SupervisorMessage::RestartChild(id.into(), reply)).await
    }

    /// Removes a stopped child from the list.
    ///
    /// # Errors
    /// `NotFound`, `Running`, `Restarting`, `Gone`, `TimedOut`.
    pub async fn delete_child(&self, id: &str) -> Result<(), SupervisorError> {
        self.call(|reply| SupervisorMessage::DeleteChild(id.into(), reply)).await
    }

    /// Lists all children, in start order.
    ///
    /// # Errors
    /// `Gone`, `TimedOut`.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, SupervisorError> {
        self.call(SupervisorMessage::WhichChildren).await
    }

    /// Counts the children.
    ///
    /// # Errors
    /// `Gone`, `TimedOut`.
    pub async fn count(&self) -> Result<ChildCount, SupervisorError> {
        self.call(SupervisorMessage::Count).await
    }

    /// Stops the supervisor: its children in reverse order, then itself. A supervisor above it restarts it if its spec
    /// says so.
    ///
    /// # Errors
    /// `TimedOut` when it still stops after `timeout`; it goes on stopping.
    pub async fn stop(&self, timeout: Duration) -> Result<(), SupervisorError> {
        self.actor.stop(Some(SHUTDOWN.to_owned()));
        self.actor.wait(Some(timeout)).await.map_err(|_| SupervisorError::TimedOut)
    }

    async fn call<T: Send + 'static>(
        &self,
        message: impl FnOnce(Reply<T>) -> SupervisorMessage,
    ) -> Result<T, SupervisorError> {
        match self.actor.call(message, Some(self.deadline)).await {
            Ok(CallResult::Success(answer)) => answer,
            Ok(CallResult::Timeout) => Err(SupervisorError::TimedOut),
            Ok(CallResult::SenderError) | Err(_) => Err(SupervisorError::Gone),
        }
    }
}
