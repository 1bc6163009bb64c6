//! The serving side as one actor: listeners, sessions and admin actor live and die together.
//!
//! *Guarantees.* The listeners are bound before it starts and belong to the code that bound them. So a restart of this
//! actor refuses no client. The cookie is new with every start and leaves the process only through the preamble.

use super::actor::AdminActor;
use super::answers::Answers;
use super::callers::Callers;
use super::listener::Listeners;
use super::preamble::Cookie;
use super::session::{Link, NODE_FRAME_BYTES_MAX, Sessions};
use super::wire::Versions;
use decisiongraph_engine::Budget;
use decisiongraph_engine::telemetry::Telemetry;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Message type of the actor, which receives none.
#[derive(RactorMessage)]
pub enum AdminServerMessage {}

/// Serves admin requests. Stops when any part of it fails, so that its supervisor starts it anew.
pub struct AdminServer;

/// Arguments of the actor.
#[derive(Clone)]
pub struct AdminServerArguments {
    /// Doors of the node.
    pub listeners: Arc<Listeners>,
    /// Answers to the requests.
    pub answers: Arc<dyn Answers>,
    /// Versions that the node speaks.
    pub versions: Versions,
    /// Telemetry that records refused connections.
    pub telemetry: Telemetry,
    /// Memory budget in which requests and answers are counted.
    pub budget: Budget,
}

/// Ends its task when it is dropped, also when the actor is killed.
pub struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for AdminServer {
    type Msg = AdminServerMessage;
    type State = Accepting;
    type Arguments = AdminServerArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<AdminServerMessage>,
        AdminServerArguments { listeners, answers, versions, telemetry, budget }: AdminServerArguments,
    ) -> Result<Accepting, ActorProcessingErr> {
        let (cookie, callers) = (Cookie::random(), Arc::new(Callers::default()));
        let (told, _) = watch::channel(Link::Opening);
        let sessions = Sessions::new("node", cookie, NODE_FRAME_BYTES_MAX, told);
        let (sessions, _) = Actor::spawn_linked(None, sessions, (), myself.get_cell()).await?;
        Actor::spawn_linked(
            None,
            AdminActor,
            (answers, versions.clone(), Arc::clone(&callers), budget),
            myself.get_cell(),
        )
        .await?;
        Ok(Accepting(tokio::spawn(async move {
            listeners.accept(cookie, &versions, sessions, &callers, &telemetry).await;
        })))
    }
}
