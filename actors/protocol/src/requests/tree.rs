//! Live actors of a node, and the disagreements between memory and database.

use crate::Partial;
use crate::actors::ActorEntry;
use crate::request::{Facts, FromNode, Reply, Request, Right};
use decisiongraph_projections::LogSeq;
use decisiongraph_records::OpenWriter;
use serde::{Deserialize, Serialize};

/// A page of the live actors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRequest {
    /// Name of the node whose actors are shown, asked through the answering node. None for the answering node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Path of an actor: it and the actors below it are shown; the whole tree when none.
    pub under: Option<String>,
    /// Path behind which the page starts.
    pub after: Option<String>,
    /// Most actors per page.
    pub limit: i64,
}

impl Request for TreeRequest {
    const FACTS: Facts = Facts::reads("tree", Some(Right::Observe));
    type Reply = TreeReply;
    type Source = FromNode;
}

/// Live actors of a node, and the disagreements between them and the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeReply {
    /// The node itself.
    pub node: NodeFacts,
    /// Page of actors, by path.
    pub actors: Vec<ActorEntry>,
    /// Disagreements between memory and database. Checked with the first page.
    pub disagreements: Vec<Disagreement>,
    /// Path to ask again with, as `after`; none on the last page.
    pub next: Option<String>,
}

impl Reply for TreeReply {
    // The text of a stopped worker names a command.
    fn advice(&mut self) -> Vec<&mut String> {
        self.actors.iter_mut().filter_map(|actor| actor.work.as_mut()).collect()
    }
}

/// The trees of all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreesReply {
    /// Nodes that answered.
    pub nodes: Vec<TreeReply>,
    /// Nodes that could not be asked.
    pub partial: Vec<Partial>,
}

impl Reply for TreesReply {
    fn advice(&mut self) -> Vec<&mut String> {
        self.nodes.iter_mut().flat_map(TreeReply::advice).collect()
    }
}

/// Facts that a node reports of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Name of the node.
    pub name: String,
    /// Incarnation, drawn at the node's start.
    pub incarnation: String,
    /// Version of the node's program.
    pub version: String,
    /// Process id of the node.
    pub pid: u32,
    /// Time since the node's start, milliseconds.
    pub uptime_ms: u64,
    /// Address of the database, without secrets.
    pub database: String,
    /// `up`, or the fault and its duration.
    pub database_state: String,
    /// Time for which the node may still trust its lease, milliseconds; 0: it does not write.
    pub lease_left_ms: u64,
    /// Safe end of the log.
    pub mark: LogSeq,
    /// Appenders that hold up the mark.
    pub waiting_for: Vec<OpenWriter>,
    /// Tenants whose actors run.
    pub tenants_running: u64,
    /// Tenants that wait for room.
    pub tenants_waiting: u64,
    /// Jobs under way on this node.
    pub jobs: u64,
    /// True when the node is stopping.
    pub draining: bool,
    /// Actors in the node's table.
    pub actors: u64,
}

/// A difference between memory and the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Scope of the difference.
    pub scope: String,
    /// Description of both sides.
    pub what: String,
}
