//! What nodes ask and tell each other over their links. Answered from memory, at once: never a query, never a wait.

use super::error::AdminError;
use super::reply::Finding;
use super::request::ScopeFilter;
use crate::live::LiveScope;
use decisiongraph_projections::{LogSeq, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One node to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerRequest {
    /// Are you there, and who are you?
    Ping {
        /// Who asks.
        from: String,
        /// Its incarnation.
        incarnation: Uuid,
    },
    /// Something happened that concerns you perhaps. Only makes it sooner: the database says it all, too.
    Tell(Vec<Notice>),
    /// What are your workers doing at these scopes, and what stands in your way?
    Live(ScopeFilter),
    /// How are your links?
    Links,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Somebody changed this tenant's scopes: its workers look again.
    Reconsider {
        /// Whose.
        tenant: TenantId,
    },
    /// Nobody holds these tenants' scopes any more.
    Released {
        /// Whose.
        tenants: Vec<TenantId>,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum PeerReply {
    Pong(Pong),
    Told,
    Live(LiveReply),
    Links(LinksReply),
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// Its name.
    pub node: String,
    /// Drawn at its start.
    pub incarnation: Uuid,
    /// Its program's version.
    pub program: String,
    /// The newest protocol that it speaks.
    pub protocol: u32,
    /// Since its start, milliseconds.
    pub uptime_ms: u64,
}

/// What a node's workers do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveReply {
    /// Whose workers.
    pub node: String,
    /// At most [`LIVE_SCOPES_MAX`].
    pub scopes: Vec<LiveOf>,
    /// What stands in the node's own way.
    pub findings: Vec<Finding>,
}

/// Longest [`LiveReply`].
pub const LIVE_SCOPES_MAX: usize = 30_000;

/// One worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveOf {
    /// Whose scope.
    pub tenant: TenantId,
    /// Which.
    pub projection: String,
    /// How far it may read.
    pub target: LogSeq,
    /// What it does.
    pub live: LiveScope,
}

/// A node's links to the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinksReply {
    /// Whose links.
    pub node: String,
    /// By name.
    pub links: Vec<LinkState>,
    /// Live members to which it has none: they, or it, have no cluster_listen.
    pub unlinked: Vec<String>,
}

/// A node that could not be asked: what is told lacks what only it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Its name.
    pub node: String,
    /// Why.
    pub error: AdminError,
}

/// A link in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPhase {
    /// Being made for the first time.
    Connecting,
    /// The peer answers.
    Up,
    /// It does not; tried again by itself.
    Down,
}

impl LinkPhase {
    /// Every word.
    pub const ALL: [LinkPhase; 3] = [LinkPhase::Connecting, LinkPhase::Up, LinkPhase::Down];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            LinkPhase::Connecting => "connecting",
            LinkPhase::Up => "up",
            LinkPhase::Down => "down",
        }
    }
}

/// A link, as the node at its near end sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkState {
    /// The peer; its address until it has said its name.
    pub node: String,
    /// What is dialled.
    pub address: String,
    /// In one word.
    pub state: LinkPhase,
    /// In this state for so long, milliseconds.
    pub since_ms: u64,
    /// Of the last ping, there and back, microseconds; none while the link is not up.
    pub rtt_us: Option<u64>,
    /// The peer's program.
    pub program: Option<String>,
    /// What both speak.
    pub protocol: Option<u32>,
    /// Why it is down, or was last.
    pub last_error: Option<String>,
}
