//! The serving side as one actor: listeners, sessions and admin actor live and die together.
//!
//! *Guarantees.* The listeners are bound before it starts and belong to whoever bound them, so a restart of this actor refuses nobody.
//! The cookie is new with every start and never leaves the process but through the preamble.

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

/// It is told nothing.
#[derive(RactorMessage)]
pub enum AdminServerMessage {}

/// Serves admin requests; stops when anything of it fails, so that its supervisor starts it anew.
pub struct AdminServer;

/// What it serves.
#[derive(Clone)]
pub struct AdminServerArguments {
    /// Where.
    pub listeners: Arc<Listeners>,
    /// Who answers.
    pub answers: Arc<dyn Answers>,
    /// What is spoken.
    pub versions: Versions,
    /// Who is told of refused connections.
    pub telemetry: Telemetry,
    /// The memory that requests and answers are counted in.
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
