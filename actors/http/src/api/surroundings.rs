//! View of a node that its interface has.

use decisiongraph_projections::LogSeq;
use decisiongraph_store::{ChangeEnd, NewChange, StoreError};
use futures_util::future::BoxFuture;

/// State of the node, as `healthz` tells it to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// `ok`, `starting`, `degraded` or `draining`.
    pub status: &'static str,
    /// Kind of the database.
    pub backend: &'static str,
    /// True while the database answers.
    pub database_up: bool,
}

/// The node around the interface. Every method but `mark_behind` answers from memory.
pub trait Surroundings: Send + Sync + 'static {
    /// Returns the state of the node.
    fn state(&self) -> NodeState;
    /// Returns the safe mark.
    fn mark(&self) -> LogSeq;
    /// Waits until the mark is behind this position.
    fn mark_behind(&self, position: LogSeq) -> BoxFuture<'static, ()>;
    /// True when the node is stopping.
    fn is_draining(&self) -> bool;
    /// Records a change that was refused before the node was asked to carry it out.
    fn note_refusal(&self, change: NewChange, end: ChangeEnd) -> BoxFuture<'static, Result<(), StoreError>>;
    /// Notes the fault of the identities file while earlier identities are in force; none when it has no fault.
    fn note_identities(&self, fault: Option<String>);
}
