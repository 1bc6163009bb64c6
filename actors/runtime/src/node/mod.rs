//! A node: one long-running process that keeps every tenant's projections current.
//!
//! [`Node::start`] starts the tree ([`tree`]). [`Node::stop`] drains it in reverse order: jobs, then workers (each
//! finishes its batch), then the lease is handed over.

mod answers;
mod bounds;
mod condition;
mod identity;
mod lives;
mod parts;
mod peers;
mod seal;
mod shown;
mod tree;
mod watch;

pub use answers::{NodeAnswers, TREE_ACTORS_MAX};
pub use bounds::NodeBounds;
pub use condition::Condition;
pub use identity::Identity;
pub use parts::{NodeParts, NodeSettings};
pub use watch::{LAG_EVERY, LAGS_MAX, NodeWatch};

use crate::jobs::ReplayMessage;
use decisiongraph_supervision::{ExitReason, Root, start_root};
use ractor::ActorRef;

/// A running node.
pub struct Node {
    parts: NodeParts,
    root: Root,
}

impl Node {
    /// Starts the tree. The database need not be there yet.
    pub async fn start(parts: NodeParts) -> Result<Node, String> {
        let spec = tree::node_spec(&parts);
        let root = start_root("node", spec, parts.table.clone()).await?;
        Ok(Node { parts, root })
    }

    /// Returns the parts of the node.
    pub fn parts(&self) -> &NodeParts {
        &self.parts
    }

    /// Returns the answers of the node.
    pub fn answers(&self) -> NodeAnswers {
        NodeAnswers(self.parts.clone())
    }

    /// Finds the actor that starts jobs, while it runs.
    pub fn jobs_actor(&self) -> Option<ActorRef<ReplayMessage>> {
        tree::jobs_actor(&self.parts.table)
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Waits until the tree gives up or is stopped.
    pub async fn exited(&self) -> ExitReason {
        self.root.exited().await
    }

    /// True when the tree gave up: there were more failures than allowed.
    pub fn gave_up(&self) -> bool {
        self.root.gave_up()
    }

    /// Ends every actor at once, as a crash of the process would: nothing is handed over.
    pub async fn kill(&self) -> ExitReason {
        self.parts.board.draining.begin();
        self.root.kill().await
    }

    /// Stops the tree in order. Afterwards everything that this node holds is free, if the database answered.
    pub async fn stop(&self) -> ExitReason {
        self.parts.board.draining.begin();
        self.root.stop().await
    }
}
