//! One link: an admin connection to a peer's door for other machines. It pings every second, and connects again when
//! the connection is lost.
//!
//! *Guarantees.* Each attempt and each ping has a deadline. The pauses between attempts grow and are jittered. A change
//! of state is logged once. The peer proves its identity with each ping: an answer of another node ends the link.
//!
//! *Never here:* the decision about the meaning of a silence ([`super::pulse`]); retries of requests.

use super::links::{Links, Peer};
use super::outbox::Outbox;
use super::pulse::Pulse;
use crate::guard::Guard;
use decisiongraph_engine::failure::Pauses;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, LinkPhase, LinkState, PeerReply, PeerRequest, Pong, Request, TreeRequest};
use decisiongraph_rpc::{Client, Target};
use decisiongraph_supervision::Vitals;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

/// Longest wait for a connection, handshakes included.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Pause between two pings.
pub const PING_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the answer to a ping, and for the peer to take notices.
pub const PING_DEADLINE: Duration = Duration::from_secs(1);
/// Pauses between two attempts.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// State of a link that it shares with the callers that ask over it.
pub struct Line {
    /// Peer at the other end.
    pub peer: Peer,
    target: Target,
    known: Mutex<Known>,
    outbox: Mutex<Outbox>,
    posted: Notify,
}

struct Known {
    phase: LinkPhase,
    since: Instant,
    rtt: Option<Duration>,
    pong: Option<Pong>,
    protocol: Option<u32>,
    error: Option<String>,
    client: Option<Arc<Client>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Line {
    /// Makes a link that is about to connect.
    pub fn new(peer: Peer, target: Target) -> Line {
        let known = Known {
            phase: LinkPhase::Connecting,
            since: Instant::now(),
            rtt: None,
            pong: None,
            protocol: None,
            error: None,
            client: None,
        };
        Line { peer, target, known: Mutex::new(known), outbox: Mutex::default(), posted: Notify::new() }
    }

    /// Returns the peer's name, or its address until it has said a name.
    pub fn name(&self) -> String {
        let said = || lock(&self.known).pong.as_ref().map(|pong| pong.node.clone());
        let known = self.peer.node.as_ref().map(|(name, _)| name.clone());
        known.or_else(said).unwrap_or_else(|| self.peer.address.clone())
    }

    /// Returns the state of the link now.
    pub fn state(&self) -> LinkState {
        let node = self.name();
        let known = lock(&self.known);
        LinkState {
            node,
            address: self.peer.address.clone(),
            state: known.phase,
            since_ms: u64::try_from(known.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            rtt_us: known.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            program: known.pong.as_ref().map(|pong| pong.program.clone()),
            protocol: known.protocol,
            last_error: known.error.clone(),
        }
    }

    /// Asks the peer; returns an error at once while the link is not up.
    pub async fn ask<R: Request>(&self, request: R, deadline: Duration) -> Result<R::Reply, AdminError> {
        let client = {
            let known = lock(&self.known);
            match (&known.client, known.phase) {
                (Some(client), LinkPhase::Up) => Ok(Arc::clone(client)),
                (_, phase) => {
                    let why = known.error.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
                    Err(format!(
                        "the link to it has been {} for {:.0} s{why}",
                        phase.as_str(),
                        known.since.elapsed().as_secs_f64()
                    ))
                }
            }
        };
        match client {
            Ok(client) => client.ask(request, Uuid::now_v7(), deadline).await,
            Err(why) => Err(AdminError::new(Category::Unavailable, why)
                .next("check that node and the network path to it; ask it at its own address (--node ADDR)")),
        }
    }

    /// Puts notices into the queue; does nothing while the link is not up.
    pub fn tell(&self, put: impl FnOnce(&mut Outbox)) {
        if lock(&self.known).phase == LinkPhase::Up {
            put(&mut lock(&self.outbox));
            self.posted.notify_one();
        }
    }
}

/// The actor of a link.
pub struct LinkActor(pub Links, pub Arc<Line>, pub Vitals);

/// Messages to the link.
#[derive(RactorMessage)]
pub enum LinkMessage {
    /// The work of the link ended, which happens only after a panic.
    Ended,
}

impl Actor for LinkActor {
    type Msg = LinkMessage;
    type State = Guard;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Guard, ActorProcessingErr> {
        let LinkActor(links, line, vitals) = self;
        let keeper = Keeper { links: links.clone(), line: Arc::clone(line), vitals: vitals.clone() };
        let work = tokio::spawn(keeper.keep());
        let guard = Guard::from(&work);
        tokio::spawn(async move {
            let _ = work.await;
            let _ = myself.cast(LinkMessage::Ended);
        });
        Ok(guard)
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, _: Self::Msg, _: &mut Guard) -> Result<(), ActorProcessingErr> {
        Err("the work of the link ended".into())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, _: &mut Guard) -> Result<(), ActorProcessingErr> {
        lock(&self.1.known).client = None;
        Ok(())
    }
}

/// Keeps one link.
struct Keeper {
    links: Links,
    line: Arc<Line>,
    vitals: Vitals,
}

impl Keeper {
    async fn keep(self) {
        let mut pulse = Pulse::default();
        self.vitals.state(LinkPhase::Connecting.as_str());
        self.vitals.working_on(self.line.peer.address.as_str());
        loop {
            let dialled = Client::dial(&self.line.target, &self.links.parts().versions, CONNECT_DEADLINE).await;
            let (why, nobody_listens) = match dialled {
                Ok(client) => (self.hold(Arc::new(client), &mut pulse).await, false),
                Err(not) => (not.why.message, not.nobody_listens),
            };
            if pulse.failed(nobody_listens)
                && let Some((node, incarnation)) = &self.line.peer.node
            {
                self.links.is_gone(node, *incarnation);
            }
            self.down(&why);
            tokio::time::sleep(PAUSES.before(pulse.attempts(), self.links.parts().jitter.draw())).await;
        }
    }

    /// Uses a connection as long as the peer answers over it. Returns why the peer no longer does.
    async fn hold(&self, client: Arc<Client>, pulse: &mut Pulse) -> String {
        let mut ticks = interval(PING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                () = client.closed() => return "the connection was closed".to_owned(),
                _ = ticks.tick() => self.ping(&client, pulse).await,
                () = self.line.posted.notified() => self.deliver(&client).await,
            };
            match asked {
                Ok(()) => {}
                Err(Silence::Other(why)) => return why,
                Err(Silence::Missed(why)) if pulse.missed() => return why,
                Err(Silence::Missed(_)) => {}
            }
        }
    }

    async fn ping(&self, client: &Arc<Client>, pulse: &mut Pulse) -> Result<(), Silence> {
        let asked = Instant::now();
        let pong = match self.pong(client).await {
            Ok(PeerReply::Pong(pong)) => pong,
            Ok(_) => return Err(Silence::Other("it sent an unexpected answer to a ping".to_owned())),
            Err(error) => return Err(Silence::Missed(format!("pings are not answered: {}", error.message))),
        };
        let links = &self.links;
        match &self.line.peer.node {
            Some((node, _)) if *node != pong.node => {
                return Err(Silence::Other(format!("another node, {}, answers at its address", pong.node)));
            }
            Some((node, incarnation)) => {
                let before = lock(&self.line.known).pong.as_ref().map_or(*incarnation, |pong| pong.incarnation);
                if before != pong.incarnation {
                    links.is_gone(node, before);
                }
            }
            None => links.learn(&self.line.peer.address, &pong.node),
        }
        let news = {
            let mut known = lock(&self.line.known);
            let news = pulse.answered(known.phase == LinkPhase::Up);
            if news {
                known.since = Instant::now();
            }
            known.phase = LinkPhase::Up;
            known.rtt = Some(asked.elapsed());
            known.protocol = Some(client.protocol());
            known.pong = Some(pong);
            known.client = Some(Arc::clone(client));
            news
        };
        if news {
            self.vitals.state(LinkPhase::Up.as_str());
            let (peer, address) = (self.line.name(), self.line.peer.address.as_str());
            tracing::info!(peer, address, protocol = client.protocol(), "the link is up");
        }
        Ok(())
    }

    /// Asks for the peer's identity. Uses the words of an older protocol when that is what both nodes speak.
    async fn pong(&self, client: &Client) -> Result<PeerReply, AdminError> {
        if client.protocol() >= PeerRequest::FACTS.since {
            let owner = &self.links.parts().owner;
            let ping = PeerRequest::Ping { from: owner.node.clone(), incarnation: owner.incarnation };
            return client.ask(ping, Uuid::now_v7(), PING_DEADLINE).await;
        }
        // Behind every path: the facts of the node without actors, and without a query of its database.
        let facts = TreeRequest { after: Some("~".to_owned()), limit: 1, ..TreeRequest::default() };
        let node = client.ask(facts, Uuid::now_v7(), PING_DEADLINE).await?.node;
        Ok(PeerReply::Pong(Pong {
            node: node.name,
            incarnation: node.incarnation.parse().unwrap_or_default(),
            program: node.version,
            protocol: client.protocol(),
            uptime_ms: node.uptime_ms,
        }))
    }

    async fn deliver(&self, client: &Client) -> Result<(), Silence> {
        let notices = lock(&self.line.outbox).take();
        if notices.is_empty() || client.protocol() < PeerRequest::FACTS.since {
            return Ok(());
        }
        match client.ask(PeerRequest::Tell(notices), Uuid::now_v7(), PING_DEADLINE).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Silence::Missed(format!("notices are not accepted: {}", error.message))),
        }
    }

    fn down(&self, why: &str) {
        let news = {
            let mut known = lock(&self.line.known);
            let news = known.phase != LinkPhase::Down;
            if news {
                known.since = Instant::now();
            }
            known.phase = LinkPhase::Down;
            known.rtt = None;
            known.client = None;
            known.error = Some(why.to_owned());
            news
        };
        let _ = lock(&self.line.outbox).take();
        if news {
            self.vitals.state(LinkPhase::Down.as_str());
            let (peer, address) = (self.line.name(), self.line.peer.address.as_str());
            tracing::warn!(peer, address, "the link is down; reconnecting: {why}");
        }
    }
}

/// Reason why a request has no answer.
enum Silence {
    /// The peer may answer again.
    Missed(String),
    /// This connection is of no use.
    Other(String),
}
