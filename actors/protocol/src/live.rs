//! Phase of a worker, and the state that is shown of it.
//!
//! ```text
//!   boot ──▶ catching_up ⇄ idle            (woken; every event applied)
//!               │   ▲
//!               ├──▶ retrying              a fault that may pass: a growing pause
//!               ├──▶ failed                a poison event, or a lasting fault: checked again at times, or when told
//!               ├──▶ paused                by an operator, durably
//!               ├──▶ standby               another owner's lease runs
//!               └──▶ stopped               fenced by another owner: a normal exit
//! ```

use decisiongraph_projections::{Category, LogSeq};
use serde::{Deserialize, Serialize};

/// Phase of a worker, as one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The worker has not read its scope yet.
    #[default]
    Boot,
    /// The worker applies events.
    CatchingUp,
    /// Every event is applied.
    Idle,
    /// The worker waits: the fault may pass.
    Retrying,
    /// An operator has to act, or the fault's cause has to go.
    Failed,
    /// An operator paused the scope.
    Paused,
    /// Another owner holds the scope.
    Standby,
    /// The worker gave up the scope.
    Stopped,
}

impl Phase {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Boot => "boot",
            Phase::CatchingUp => "catching_up",
            Phase::Idle => "idle",
            Phase::Retrying => "retrying",
            Phase::Failed => "failed",
            Phase::Paused => "paused",
            Phase::Standby => "standby",
            Phase::Stopped => "stopped",
        }
    }

    /// True when a worker in this phase believes that it owns the scope.
    pub const fn owns(self) -> bool {
        matches!(self, Phase::CatchingUp | Phase::Idle)
    }

    /// True when this worker does not keep the tenant's actors from being stopped. `crowded` means that other tenants
    /// wait for room: then a waiting worker may leave too. The sweep brings it back.
    pub const fn may_leave(self, crowded: bool) -> bool {
        match self {
            Phase::Idle | Phase::Paused => true,
            Phase::Failed | Phase::Standby | Phase::Stopped => crowded,
            Phase::Boot | Phase::CatchingUp | Phase::Retrying => false,
        }
    }
}

/// State of a worker, as shown. In memory only; the database has the truth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveScope {
    /// Phase of the worker.
    pub phase: Phase,
    /// Position that is applied, as acknowledged.
    pub cursor: LogSeq,
    /// Attempts in a row without progress.
    pub attempt: u32,
    /// Events applied since the worker was started.
    pub events: u64,
    /// Batches committed since the worker was started.
    pub batches: u64,
    /// Present activity: `reading`, `applying`, `waiting for its turn`.
    pub doing: String,
    /// The last fault.
    pub fault: Option<Fault>,
}

/// An error that stops or delays a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Category of the error.
    pub category: Category,
    /// Description, and the next step.
    pub message: String,
    /// True for a poison event: then a failure row has the rest.
    pub poison: bool,
}
