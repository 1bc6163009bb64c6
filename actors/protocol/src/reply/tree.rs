//! The dump of a node: itself, its actors, and what memory and database disagree about.

use crate::Partial;
use crate::actors::ActorEntry;
use decisiongraph_projections::LogSeq;
use decisiongraph_records::OpenWriter;
use serde::{Deserialize, Serialize};

/// The live actors of a node, and where they and the database disagree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeReply {
    /// The node itself.
    pub node: NodeFacts,
    /// By path; a page of them.
    pub actors: Vec<ActorEntry>,
    /// Where memory and database disagree. Looked for with the first page.
    pub disagreements: Vec<Disagreement>,
    /// Ask again with `after` = this; none on the last page.
    pub next: Option<String>,
}

/// The trees of all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreesReply {
    /// Those that answered.
    pub nodes: Vec<TreeReply>,
    /// Those that could not be asked.
    pub partial: Vec<Partial>,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Drawn at its start.
    pub incarnation: String,
    /// Its program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since its start, milliseconds.
    pub uptime_ms: u64,
    /// Without secrets.
    pub database: String,
    /// `up`, or what is wrong and for how long.
    pub database_state: String,
    /// How long its lease may still be believed in, milliseconds; 0: it does not write.
    pub lease_left_ms: u64,
    /// The safe end of the log.
    pub mark: LogSeq,
    /// Appenders that hold up the mark.
    pub waiting_for: Vec<OpenWriter>,
    /// Tenants whose actors run.
    pub tenants_running: u64,
    /// Tenants that wait for room.
    pub tenants_waiting: u64,
    /// Jobs under way here.
    pub jobs: u64,
    /// Whether it is stopping.
    pub draining: bool,
    /// Actors in the table.
    pub actors: u64,
}

/// Something that memory and the database say differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The scope.
    pub scope: String,
    /// What is said where.
    pub what: String,
}
