//! Membership of the cluster. For now a node knows itself alone.

use crate::node::Shared;
use crate::supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;

/// The actor. Holds the place in the tree above everything that depends on who the members are.
pub struct Cluster(pub Shared, pub Vitals);

/// What it is told: nothing yet.
#[derive(RactorMessage)]
pub enum ClusterMessage {}

impl Actor for Cluster {
    type Msg = ClusterMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        self.1.state("alone");
        self.1.working_on(self.0.owner.node.as_str());
        Ok(())
    }
}
