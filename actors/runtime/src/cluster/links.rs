//! Links of this node to other nodes, one per peer: which peers are linked, and what is asked and told.
//!
//! ```text
//!   members (database) ─┐
//!   cluster_peers ──────┴─▶ wanted ──▶ a `link` actor per peer ──▶ admin client over mutual TLS ──▶ its cluster_listen
//! ```
//!
//! *Guarantees.* Each caller is answered by the deadline. A peer whose link is down is an error at once, with its
//! reason. Notices wait in a queue of bounded size and are dropped when the link is down.
//!
//! *Never here:* anything that the data path waits for. Without any link projections go on; only wake-ups and remote
//! admin are slower.

use super::link::Line;
use super::outbox::Outbox;
use crate::board::Jitter;
use crate::children::Children;
use crate::guard::Guard;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, LinkState, Notice, Request};
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Secret, Target, Tls};
use decisiongraph_store::{Member, Owner};
use decisiongraph_supervision::{ChildSpec, SupervisorRef};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Longest wait for the answers of all peers.
pub const ASK_ALL_DEADLINE: Duration = Duration::from_secs(1);
/// Links of a node, at most. More are not made.
pub const LINKS_MAX: usize = 256;
/// Gone peers that no caller has asked about, at most; older entries are forgotten.
const GONE_MAX: usize = 64;

/// A node to link to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Name and incarnation of the node; none when only its address is known.
    pub node: Option<(String, Uuid)>,
    /// Address to dial, `HOST:PORT`.
    pub address: String,
}

impl Peer {
    /// Returns the peer's name, else its address.
    pub fn label(&self) -> &str {
        self.node.as_ref().map_or(&self.address, |(name, _)| name)
    }
}

/// Settings by which the other nodes admit this node.
#[derive(Debug)]
pub struct LinkSettings {
    /// The secret of the cluster.
    pub secret: Secret,
    /// This node's certificate.
    pub tls: Arc<Tls>,
    /// Peers besides the members, `HOST:PORT`.
    pub peers: Vec<String>,
}

/// Facts with which a node makes its links.
pub struct LinkParts {
    /// Identity of this node.
    pub owner: Owner,
    /// Versions that this node speaks.
    pub versions: Versions,
    /// Address at which other nodes reach this node.
    pub address: Option<String>,
    /// Settings of the links; none when this node links to no others.
    pub settings: Option<LinkSettings>,
    /// Members of the cluster.
    pub members: watch::Receiver<Vec<Member>>,
    /// Spread of the pauses.
    pub jitter: Jitter,
    /// Specification of a link's actor.
    pub spec: fn(&Links, &Arc<Line>) -> ChildSpec,
}

/// The links of a node. Cheap to clone; every clone has the same links.
#[derive(Clone)]
pub struct Links(Arc<Kept>);

struct Kept {
    parts: LinkParts,
    /// Links by label.
    lines: Mutex<BTreeMap<String, Arc<Line>>>,
    /// Live members as peers, as they were last set.
    peers: Mutex<Vec<Peer>>,
    /// Names of the nodes that answered at addresses of `cluster_peers`.
    learned: Mutex<HashMap<String, String>>,
    gone: Mutex<VecDeque<(String, Uuid)>>,
    gone_told: Notify,
    children: Children,
    watching: Mutex<Option<Guard>>,
    turn: tokio::sync::Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Links {
    /// Makes the links of a node that is about to start: none yet.
    pub fn new(parts: LinkParts) -> Links {
        Links(Arc::new(Kept {
            parts,
            lines: Mutex::default(),
            peers: Mutex::default(),
            learned: Mutex::default(),
            gone: Mutex::default(),
            gone_told: Notify::new(),
            children: Children::default(),
            watching: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// Returns the facts with which the links are made.
    pub(super) fn parts(&self) -> &LinkParts {
        &self.0.parts
    }

    /// True when this node links to others at all.
    pub fn are_open(&self) -> bool {
        self.0.parts.settings.is_some()
    }

    /// Attaches a new supervisor of links. The links of a former supervisor are gone. From now on the links follow the
    /// members.
    pub fn attach(&self, supervisor: SupervisorRef) {
        lock(&self.0.lines).clear();
        self.0.children.attach(supervisor);
        let (links, mut members) = (self.clone(), self.0.parts.members.clone());
        let watching = tokio::spawn(async move {
            loop {
                let peers = peers_of(&links.0.parts.owner.node, &members.borrow_and_update());
                *lock(&links.0.peers) = peers;
                links.settle().await;
                if members.changed().await.is_err() {
                    return;
                }
            }
        });
        *lock(&self.0.watching) = Some(watching.into());
    }

    fn settle_soon(&self) {
        let links = self.clone();
        tokio::spawn(async move { links.settle().await });
    }

    /// Ends links that are not wanted, and makes links that are missing. One turn at a time.
    async fn settle(&self) {
        let Kept { parts, lines, peers, learned, children, turn, .. } = &*self.0;
        let _turn = turn.lock().await;
        let (Some(settings), Some(supervisor)) = (&parts.settings, children.supervisor()) else { return };
        let wanted = wanted(&parts.owner.node, parts.address.as_deref(), &lock(peers), &settings.peers, &lock(learned));
        let unwanted: Vec<String> = {
            let lines = lock(lines);
            lines.iter().filter(|(_, line)| !wanted.contains(&line.peer)).map(|(label, _)| label.clone()).collect()
        };
        for label in unwanted {
            let _ = supervisor.terminate_child(&link_id(&label)).await;
            let _ = supervisor.delete_child(&link_id(&label)).await;
            lock(lines).remove(&label);
        }
        for peer in wanted {
            if lock(lines).contains_key(peer.label()) {
                continue;
            }
            let target = Target::Tls(peer.address.clone(), settings.secret.clone(), Arc::clone(&settings.tls));
            let line = Arc::new(Line::new(peer, target));
            let label = line.peer.label();
            lock(lines).insert(label.to_owned(), Arc::clone(&line));
            if let Err(error) = supervisor.start_child((parts.spec)(self, &line)).await {
                // Tried again at the next check of the members.
                tracing::warn!(peer = label, "the link was not started: {error}");
                lock(lines).remove(label);
            }
        }
    }

    /// Notes the name of a peer that was known by its address alone.
    pub(super) fn learn(&self, address: &str, name: &str) {
        let before = lock(&self.0.learned).insert(address.to_owned(), name.to_owned());
        if before.as_deref() != Some(name) {
            self.settle_soon();
        }
    }

    /// Notes that a peer's process is gone for certain, as far as its machine or its successor says.
    pub(super) fn is_gone(&self, node: &str, incarnation: Uuid) {
        let mut gone = lock(&self.0.gone);
        if gone.len() == GONE_MAX {
            gone.pop_front();
        }
        gone.push_back((node.to_owned(), incarnation));
        drop(gone);
        self.0.gone_told.notify_one();
    }

    /// Waits for the next peer whose process is gone. Its machine said twice that no process listens, after an
    /// established link was lost; or another incarnation answered. Ending its lease early is safe (epochs), and sooner
    /// than its expiry. One caller waits.
    pub async fn gone(&self) -> (String, Uuid) {
        loop {
            let told = self.0.gone_told.notified();
            if let Some(gone) = lock(&self.0.gone).pop_front() {
                return gone;
            }
            told.await;
        }
    }

    /// Lists the states of all links, by name.
    pub fn states(&self) -> Vec<LinkState> {
        let mut states: Vec<LinkState> = self.lines().iter().map(|line| line.state()).collect();
        states.sort_by(|a, b| a.node.cmp(&b.node));
        states
    }

    fn lines(&self) -> Vec<Arc<Line>> {
        lock(&self.0.lines).values().cloned().collect()
    }

    /// Asks one node. `not_found` when there is no link to it, `unavailable` at once while the link is down.
    pub async fn ask<R: Request>(&self, node: &str, request: R, deadline: Duration) -> Result<R::Reply, AdminError> {
        let line = self.lines().into_iter().find(|line| line.name() == node || line.peer.address == node);
        let Some(line) = line else {
            return Err(AdminError::new(Category::NotFound, format!("there is no link to a node `{node}`")).next(
                "`decisiongraph cluster` lists the nodes; a node without cluster_listen cannot be asked through another node",
            ));
        };
        line.ask(request, deadline).await
    }

    /// Asks all peers at the same time. Returns by the deadline what each peer said, by name.
    pub async fn ask_all<R: Request>(
        &self,
        request: &R,
        deadline: Duration,
    ) -> Vec<(String, Result<R::Reply, AdminError>)> {
        let asked = self.lines().into_iter().map(|line| {
            let request = request.clone();
            async move { (line.name(), line.ask(request, deadline).await) }
        });
        let mut answers = futures_util::future::join_all(asked).await;
        answers.sort_by(|(a, _), (b, _)| a.cmp(b));
        answers
    }

    /// Tells all peers whose links are up. Never waits.
    pub fn tell_all(&self, notice: &Notice) {
        for line in self.lines() {
            line.tell(|outbox: &mut Outbox| outbox.put(notice));
        }
    }
}

/// Names a link's segment in the dump's paths.
pub fn link_id(label: &str) -> String {
    format!("link {label}")
}

/// Lists the live members without this node, as far as they can be reached.
fn peers_of(me: &str, members: &[Member]) -> Vec<Peer> {
    let others = members.iter().filter(|member| member.is_live() && member.owner.node != me);
    others
        .filter_map(|member| {
            let node = Some((member.owner.node.clone(), member.owner.incarnation));
            Some(Peer { node, address: member.facts.address.clone()? })
        })
        .collect()
}

/// Lists the peers to link to: the members, and addresses of the static list. Leaves out an address that belongs to a
/// member or this node, or is named twice.
fn wanted(
    me: &str,
    own_address: Option<&str>,
    members: &[Peer],
    listed: &[String],
    learned: &HashMap<String, String>,
) -> Vec<Peer> {
    let mut names: BTreeSet<&str> = members.iter().filter_map(|peer| Some(peer.node.as_ref()?.0.as_str())).collect();
    let mut addresses: BTreeSet<&str> = members.iter().map(|peer| peer.address.as_str()).collect();
    names.insert(me);
    addresses.extend(own_address);
    let mut wanted = members.to_vec();
    for address in listed {
        let known_twice = learned.get(address).is_some_and(|name| !names.insert(name));
        if addresses.insert(address) && !known_twice {
            wanted.push(Peer { node: None, address: address.clone() });
        }
    }
    wanted.truncate(LINKS_MAX);
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, address: &str) -> Peer {
        Peer { node: Some((name.to_owned(), Uuid::nil())), address: address.to_owned() }
    }

    #[test]
    fn members_come_first_and_a_list_that_every_node_shares_names_nobody_twice_and_never_oneself() {
        let listed: Vec<String> = ["a:1", "b:1", "c:1", "other-name-of-b:1", "me:1", "c:1"].map(str::to_owned).to_vec();
        let labels = |members: &[Peer], learned: &[(&str, &str)]| {
            let learned = learned.iter().map(|(at, name)| ((*at).to_owned(), (*name).to_owned())).collect();
            let wanted = wanted("me", Some("me:1"), members, &listed, &learned);
            wanted.iter().map(|peer| peer.label().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(labels(&[], &[]), ["a:1", "b:1", "c:1", "other-name-of-b:1"]);
        assert_eq!(labels(&[member("a", "a:1")], &[]), ["a", "b:1", "c:1", "other-name-of-b:1"]);
        let known = [("b:1", "b"), ("other-name-of-b:1", "b"), ("c:1", "me")];
        assert_eq!(labels(&[member("a", "a:1")], &known), ["a", "b:1"]);
        assert_eq!(labels(&[member("b", "10.0.0.2:1")], &known), ["b", "a:1"]);
    }
}
