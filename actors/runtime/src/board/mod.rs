//! The board: published states of a node, as plain data. Each field has one writer, which is named at the field.
//!
//! *Guarantees.* Nothing here is the truth: everything durable is in the database, and an actor that dies loses nothing
//! that is only here. A part gets the fields that it uses, never the whole board.
//!
//! *Never here:* actors, and behaviour that needs another part.

mod database;
mod draining;
mod jitter;
mod mark;
pub mod placement;
mod placement_table;
mod seal;

pub use database::{Database, DatabaseState};
pub use draining::Draining;
pub use jitter::Jitter;
pub use mark::{HELD_MAX, MarkState};
pub use placement_table::{PlacementTable, Plan, Whose};
pub use seal::{ScrubState, SealBoard, SealWindow};

use decisiongraph_engine::Validity;
use decisiongraph_store::Member;
use std::time::Instant;
use tokio::sync::watch;

/// Published states of a node. Cheap to clone; every clone shows the same.
#[derive(Clone, Default)]
pub struct Board {
    /// State of the database: it answers, or not. Written by the database probe.
    pub database: Database,
    /// Validity of this node's lease. Written by the lease keeper.
    pub validity: Validity,
    /// Reason why the lease is not renewed; none while it is. Written by the lease keeper.
    pub unrenewed: watch::Sender<Option<Unrenewed>>,
    /// End of the log. Written by the high-water actor.
    pub mark: watch::Sender<MarkState>,
    /// Members of the cluster. Written by the cluster actor.
    pub members: watch::Sender<Vec<Member>>,
    /// Node of each tenant. Written by the cluster actor.
    pub placement: PlacementTable,
    /// The node stops, or not. Written by the node.
    pub draining: Draining,
    /// Fault of the changed identities file; the identities before it are then in force. Written by the HTTP interface.
    pub identities_fault: watch::Sender<Option<String>>,
    /// State of the seal.
    pub seal: SealBoard,
}

/// A lease that is not renewed, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrenewed {
    /// Time at which the first failed renewal was asked for.
    pub since: Instant,
    /// Cause that the last attempt gave.
    pub cause: String,
    /// True when another process lives under this node's name.
    pub displaced: bool,
    /// Next step that fits the cause.
    pub next: Option<&'static str>,
}
