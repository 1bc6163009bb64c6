//! The admin actor: the requests that a node answers over the actor protocol.
//!
//! *Guarantees.* It owns nothing and never blocks: each ask is a task of its own behind the [`Desk`].

use super::answers::Answers;
use super::callers::Callers;
use super::desk::Desk;
use super::wire::Versions;
use decisiongraph_engine::Budget;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, pg};
use ractor_cluster::RactorClusterMessage;
use std::sync::Arc;

/// Process group of a node's admin actor.
pub const ADMIN_GROUP: &str = "decisiongraph.admin";

/// Messages of the admin actor. The names of the variants are part of the wire protocol: never rename one.
#[derive(RactorClusterMessage)]
pub enum AdminMessage {
    /// An encoded [`super::wire::Ask`]; answered with the first frame ([`super::parcel::Parcel`]) of an answer.
    #[rpc]
    Ask(Vec<u8>, RpcReplyPort<Vec<u8>>),
    /// An encoded [`super::parcel::Fetch`]; answered with a later frame.
    #[rpc]
    More(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

/// The admin actor.
pub struct AdminActor;

impl Actor for AdminActor {
    type Msg = AdminMessage;
    type State = Arc<Desk>;
    type Arguments = (Arc<dyn Answers>, Versions, Arc<Callers>, Budget);

    async fn pre_start(
        &self,
        myself: ActorRef<AdminMessage>,
        (answers, versions, callers, budget): Self::Arguments,
    ) -> Result<Arc<Desk>, ActorProcessingErr> {
        pg::join(ADMIN_GROUP.to_owned(), vec![myself.get_cell()]);
        Ok(Arc::new(Desk::new(answers, versions, callers, budget)))
    }

    async fn handle(
        &self,
        _: ActorRef<AdminMessage>,
        message: AdminMessage,
        desk: &mut Arc<Desk>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AdminMessage::Ask(frame, port) => {
                let desk = Arc::clone(desk);
                tokio::spawn(async move {
                    // A client that is gone gets no answer; a change is carried out all the same.
                    let _ = port.send(desk.ask(frame).await);
                });
            }
            AdminMessage::More(frame, port) => {
                let _ = port.send(desk.more(&frame));
            }
        }
        Ok(())
    }
}
