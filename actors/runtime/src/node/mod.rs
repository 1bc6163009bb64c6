//! A node: one long-running process that keeps every tenant's projections current.
//!
//! [`Node::start`] starts the tree ([`tree`]). [`Node::stop`] drains it in reverse order: jobs, then workers (each
//! finishes its batch), then the lease is handed over.

mod answers;
mod bounds;
mod condition;
mod identity;
mod lives;
mod peers;
mod shared;
mod shown;
mod tree;
mod watch;

pub use answers::{NodeAnswers, TREE_ACTORS_MAX};
pub use bounds::NodeBounds;
pub use condition::{Condition, HELD_MAX};
pub use identity::Identity;
pub use shared::{Guard, Handles, Shared};
pub use tree::{job_spec, tenant_id, tenant_spec, worker_id};
pub use watch::{LAG_EVERY, LAGS_MAX, NodeWatch};

use decisiongraph_projections::{Projection, catalogue};
use decisiongraph_rpc::Listeners;
use decisiongraph_supervision::{ExitReason, Root, start_root};
use std::sync::Arc;

/// Parts of a node.
pub struct NodeParts {
    /// Handles that its actors share.
    pub shared: Shared,
    /// Listeners for operators; none when operators do not reach the node.
    pub listeners: Option<Arc<Listeners>>,
}

/// A running node.
pub struct Node {
    shared: Shared,
    root: Root,
}

impl Node {
    /// Starts the tree. The database need not be there yet.
    pub async fn start(parts: NodeParts) -> Result<Node, String> {
        let spec = tree::node_spec(&parts);
        let root = start_root("node", spec, parts.shared.table.clone()).await?;
        Ok(Node { shared: parts.shared, root })
    }

    /// Returns the handles that the actors share.
    pub fn shared(&self) -> &Shared {
        &self.shared
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
        self.shared.drain();
        self.root.kill().await
    }

    /// Stops the tree in order. Afterwards everything that this node holds is free, if the database answered.
    pub async fn stop(&self) -> ExitReason {
        self.shared.drain();
        self.root.stop().await
    }
}

/// Returns the place of a projection in the catalogue.
pub fn place_of(projection: &dyn Projection) -> usize {
    catalogue::ALL.iter().position(|known| known.name() == projection.name()).unwrap_or_default()
}
