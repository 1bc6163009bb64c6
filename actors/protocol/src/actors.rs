//! Actors as the dump of a node shows them.

use serde::{Deserialize, Serialize};

/// An actor of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorEntry {
    /// Ids from the root, separated by `/`. A `/` or `%` inside an id is written `%2F`, `%25`.
    pub path: String,
    /// Worker or supervisor.
    pub kind: ActorKind,
    /// Restart type.
    pub restart: RestartType,
    /// Of a supervisor that runs.
    pub strategy: Option<SupervisorStrategy>,
    /// `starting`, `running`, `waiting` (for its restart), `restarting` (a start failed), `stopped`, or what it says of itself.
    pub state: String,
    /// Id of the running actor.
    pub actor: Option<String>,
    /// Time of its start, milliseconds since 1970.
    pub started_at_unix_ms: Option<u64>,
    /// Time since its start, milliseconds.
    pub uptime_ms: Option<u64>,
    /// Restarts that a supervisor has spent and may spend.
    pub budget: Option<RestartBudget>,
    /// Restarts of this actor.
    pub restarts_total: u32,
    /// Reason of its last end.
    pub last_exit: Option<ActorExit>,
    /// Messages sent and not yet received.
    pub mailbox_depth: u64,
    /// The message it received last.
    pub last_message: Option<String>,
    /// Its present work.
    pub work: Option<String>,
}

impl ActorEntry {
    /// The last segment of the path.
    pub fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Distance from the root.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }
}

/// Worker or supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// An actor without children.
    Worker,
    /// An actor that starts, stops and restarts others.
    Supervisor,
}

/// Ends after which a child is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartType {
    /// All.
    Permanent,
    /// Abnormal ones.
    Transient,
    /// None.
    Temporary,
}

/// Children that a supervisor restarts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisorStrategy {
    /// The child that ended.
    OneForOne,
    /// It, and those started after it.
    RestForOne,
    /// All.
    OneForAll,
}

/// Reason of an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorExit {
    /// Its work was done.
    Normal,
    /// It was told to stop.
    Shutdown,
    /// It was killed.
    Killed,
    /// A panic or an error.
    Failed(String),
}

impl std::fmt::Display for ActorExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ActorExit::Normal => f.write_str("normal"),
            ActorExit::Shutdown => f.write_str("shutdown"),
            ActorExit::Killed => f.write_str("killed"),
            ActorExit::Failed(text) => write!(f, "failed: {text}"),
        }
    }
}

/// A supervisor's restart window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartBudget {
    /// Restarts that count now.
    pub in_window: u32,
    /// More than this within the period makes it give up.
    pub allowed: u32,
    /// Length of the window, milliseconds.
    pub period_ms: u64,
}
