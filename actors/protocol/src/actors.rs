//! Actors as the dump of a node shows them.

use serde::{Deserialize, Serialize};

/// An actor of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorEntry {
    /// Path: ids from the root, separated by `/`. A `/` or `%` inside an id is written `%2F`, `%25`.
    pub path: String,
    /// Worker or supervisor.
    pub kind: ActorKind,
    /// Restart type of the child.
    pub restart: RestartType,
    /// Strategy of a running supervisor; none for other actors.
    pub strategy: Option<SupervisorStrategy>,
    /// `starting`, `running`, `waiting` (for its restart), `restarting` (a start failed), `stopped`, or the state that
    /// the actor reports of itself.
    pub state: String,
    /// Id of the running actor.
    pub actor: Option<String>,
    /// Start time of the running actor, milliseconds since 1970.
    pub started_at_unix_ms: Option<u64>,
    /// Time since that start, milliseconds.
    pub uptime_ms: Option<u64>,
    /// Restarts that a supervisor has used and may use.
    pub budget: Option<RestartBudget>,
    /// Restarts of this actor.
    pub restarts_total: u32,
    /// Reason of the actor's last exit.
    pub last_exit: Option<ActorExit>,
    /// Messages sent and not yet received.
    pub mailbox_depth: u64,
    /// Last message that the actor received.
    pub last_message: Option<String>,
    /// Present work of the actor.
    pub work: Option<String>,
}

impl ActorEntry {
    /// Returns the last segment of the path.
    pub fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the distance from the root.
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

/// Exits after which a child is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartType {
    /// All exits.
    Permanent,
    /// Abnormal exits.
    Transient,
    /// No exit.
    Temporary,
}

/// Children that a supervisor restarts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisorStrategy {
    /// The child that exited.
    OneForOne,
    /// The child that exited, and the children started after it.
    RestForOne,
    /// All children.
    OneForAll,
}

/// Reason of an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorExit {
    /// The actor's work was done.
    Normal,
    /// The actor was told to stop.
    Shutdown,
    /// The actor was killed.
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

/// Restart window of a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartBudget {
    /// Restarts that count now.
    pub in_window: u32,
    /// Most restarts within the period; one more makes the supervisor give up.
    pub allowed: u32,
    /// Length of the window, milliseconds.
    pub period_ms: u64,
}
