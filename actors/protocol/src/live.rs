//! What a worker is doing, in one word, and what is shown of it.
//!
//! ```text
//!   boot ──▶ catching_up ⇄ idle            (woken; every event applied)
//!               │   ▲
//!               ├──▶ retrying              a fault that may pass: a growing pause
//!               ├──▶ failed                a poison event, or a fault that does not pass: looked at again now and then, or when told
//!               ├──▶ paused                by an operator, durably
//!               ├──▶ standby               somebody else's lease runs
//!               └──▶ stopped               fenced by another owner: a normal exit
//! ```

use decisiongraph_projections::{Category, LogSeq};
use serde::{Deserialize, Serialize};

/// A worker in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not looked at its scope yet.
    #[default]
    Boot,
    /// It applies events.
    CatchingUp,
    /// Every event is applied.
    Idle,
    /// A fault may pass.
    Retrying,
    /// Somebody has to act, or its cause has to go.
    Failed,
    /// An operator stopped it.
    Paused,
    /// Somebody else owns the scope.
    Standby,
    /// It gave the scope up.
    Stopped,
}

impl Phase {
    /// The word.
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

    /// Whether a worker in it believes that the scope is its own.
    pub const fn owns(self) -> bool {
        matches!(self, Phase::CatchingUp | Phase::Idle)
    }

    /// Whether the tenant's actors may be stopped as far as this worker goes. When others wait for room, those that only wait may
    /// leave too: the sweep brings them back.
    pub const fn may_leave(self, crowded: bool) -> bool {
        match self {
            Phase::Idle | Phase::Paused => true,
            Phase::Failed | Phase::Standby | Phase::Stopped => crowded,
            Phase::Boot | Phase::CatchingUp | Phase::Retrying => false,
        }
    }
}

/// What is shown of a worker. In memory only; the database has the truth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveScope {
    /// In one word.
    pub phase: Phase,
    /// Where it stands, as acknowledged.
    pub cursor: LogSeq,
    /// Attempts in a row without progress.
    pub attempt: u32,
    /// Events applied since it was started.
    pub events: u64,
    /// Batches committed since it was started.
    pub batches: u64,
    /// What it does right now: `reading`, `applying`, `waiting for its turn`.
    pub doing: String,
    /// The last fault.
    pub fault: Option<Fault>,
}

/// What stands in a worker's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Of which kind.
    pub category: Category,
    /// What happened, and what to do.
    pub message: String,
    /// Whether it is a poison event: then a failure row has the rest.
    pub poison: bool,
}
