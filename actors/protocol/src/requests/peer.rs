//! Messages between nodes over their links. Answered at once: never a query, never a wait. [`SealMemoryRequest`] reads
//! the end of a file of the node; everything else is answered from memory.

use super::health::Finding;
use crate::error::AdminError;
use crate::live::LiveScope;
use crate::request::{Facts, FromNode, Reply, Request, ScopeFilter, unfit};
use decisiongraph_projections::{LogSeq, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A request of one node to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerRequest {
    /// Are you there, and what is your name?
    Ping {
        /// Name of the asking node.
        from: String,
        /// Incarnation of the asking node.
        incarnation: Uuid,
    },
    /// Events that may concern the other node. A notice only speeds things up: the database says the same.
    Tell(Vec<Notice>),
    /// Present work of your workers at these scopes, and findings about your node?
    Live(ScopeFilter),
    /// State of your links to the other nodes?
    Links,
}

impl Request for PeerRequest {
    const FACTS: Facts = Facts::reads("peer", None).since(3);
    type Reply = PeerReply;
    type Source = FromNode;
}

/// A notice of one node to the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// This tenant's scopes were changed: its workers read them again.
    Reconsider {
        /// Tenant of the scopes.
        tenant: TenantId,
    },
    /// No node holds the scopes of these tenants any more.
    Released {
        /// Tenants of the scopes.
        tenants: Vec<TenantId>,
    },
}

/// The answer to a request of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum PeerReply {
    Pong(Pong),
    Told,
    Live(LiveReply),
    Links(LinksReply),
}

impl Reply for PeerReply {}

/// Identity of the answering node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// Name of the node.
    pub node: String,
    /// Incarnation, drawn at the node's start.
    pub incarnation: Uuid,
    /// Version of the node's program.
    pub program: String,
    /// Newest protocol that the node speaks.
    pub protocol: u32,
    /// Time since the node's start, milliseconds.
    pub uptime_ms: u64,
}

/// Present work of a node's workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveReply {
    /// Name of the workers' node.
    pub node: String,
    /// Workers, at most [`LIVE_SCOPES_MAX`].
    pub scopes: Vec<LiveOf>,
    /// Findings about the node itself.
    pub findings: Vec<Finding>,
}

/// Most workers in one [`LiveReply`].
pub const LIVE_SCOPES_MAX: usize = 30_000;

/// A worker and its scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveOf {
    /// Tenant of the scope.
    pub tenant: TenantId,
    /// Projection of the scope.
    pub projection: String,
    /// Position up to which the worker may read.
    pub target: LogSeq,
    /// State of the worker.
    pub live: LiveScope,
}

/// Links of a node to the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinksReply {
    /// Name of the node.
    pub node: String,
    /// Links by name.
    pub links: Vec<LinkState>,
    /// Live members without a link to this node: the member, or this node, has no cluster_listen.
    pub unlinked: Vec<String>,
}

impl TryFrom<PeerReply> for LinksReply {
    type Error = AdminError;

    fn try_from(reply: PeerReply) -> Result<LinksReply, AdminError> {
        match reply {
            PeerReply::Links(links) => Ok(links),
            _ => Err(unfit()),
        }
    }
}

/// Memory of a node for a sealed log: does its journal know the log, and which key signs there?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealMemoryRequest {
    /// Name of the log; none when only the key is asked for.
    pub origin: Option<String>,
}

impl Request for SealMemoryRequest {
    const FACTS: Facts = Facts::reads("seal_memory", None).since(5);
    type Reply = SealMemoryReply;
    type Source = FromNode;
}

/// Memory of a node for a sealed log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealMemoryReply {
    /// Newest head in the journal of the node, as a line of the journal; none when the journal has none of this log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// Public key that signs on the node; none when nothing is sealed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Public key that it replaced, as far as the node knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_key: Option<String>,
}

impl Reply for SealMemoryReply {}

/// A node that could not be asked: the answer lacks the knowledge of that node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Name of the node.
    pub node: String,
    /// Reason why it could not be asked.
    pub error: AdminError,
}

/// Phase of a link, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPhase {
    /// The first connection is being made.
    Connecting,
    /// The peer answers.
    Up,
    /// The peer does not answer; the node tries again without being asked.
    Down,
}

impl LinkPhase {
    /// Every phase.
    pub const ALL: [LinkPhase; 3] = [LinkPhase::Connecting, LinkPhase::Up, LinkPhase::Down];

    /// Returns the word.
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
    /// Name of the peer; its address until the name is known.
    pub node: String,
    /// Address that is dialled.
    pub address: String,
    /// Phase of the link.
    pub state: LinkPhase,
    /// Time in this phase, milliseconds.
    pub since_ms: u64,
    /// Round-trip time of the last ping, microseconds; none while the link is not up.
    pub rtt_us: Option<u64>,
    /// Version of the peer's program.
    pub program: Option<String>,
    /// Protocol that both nodes speak.
    pub protocol: Option<u32>,
    /// Reason why the link is down, or was down last.
    pub last_error: Option<String>,
}
