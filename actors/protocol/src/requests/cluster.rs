//! The members of the cluster, and changes to one of them.

use super::peer::LinkState;
use crate::request::{Facts, FromNode, Reply, Request, Right, ScopeFilter, change_of};
use decisiongraph_records::{Cordon, Member, NewChange};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Nodes of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRequest;

impl Request for ClusterRequest {
    const FACTS: Facts = Facts::reads("cluster", Some(Right::Observe)).since(3);
    type Reply = ClusterReply;
    type Source = FromNode;
}

/// The cluster as the database knows it. A node that answers adds its own knowledge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterReply {
    /// Name of the node that answered; none when no node did.
    pub answered_by: Option<String>,
    /// Members by name: the live ones, and the nodes that died within a day.
    pub members: Vec<MemberStatus>,
    /// Tenants that the answering node holds and is handing over.
    pub moving: u64,
    /// Links of the answering node to other nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkState>,
}

impl Reply for ClusterReply {}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Name of the node.
    pub node: String,
    /// Incarnation, drawn at the node's start.
    pub incarnation: String,
    /// State of the member.
    pub state: MemberState,
    /// Address at which other nodes reach it; none when they cannot.
    pub address: Option<String>,
    /// Version of the node's program.
    pub program: String,
    /// Newest protocol that the node speaks.
    pub protocol: i32,
    /// Remaining time of the node's lease, on the database's clock, milliseconds.
    pub lease_left_ms: u64,
    /// Time since the node's lease ended, milliseconds; 0 while it runs.
    #[serde(default)]
    pub dead_for_ms: u64,
    /// Time at which this incarnation joined, RFC 3339.
    pub joined_at: String,
    /// Cordon of the node, with the operator's name and reason; none without a cordon.
    pub cordon: Option<Cordon>,
    /// Tenants placed on the node, as the answering node sees it. None when that is unknown: no node answered, or the
    /// node runs alone.
    pub tenants: Option<u64>,
}

/// State of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// The node takes tenants.
    Active,
    /// The node keeps its tenants and takes no more.
    Cordoned,
    /// The node gives its tenants away.
    Draining,
    /// The node's lease is over; other nodes may take its tenants.
    Dead,
}

impl MemberState {
    /// Every state.
    pub const ALL: [MemberState; 4] =
        [MemberState::Active, MemberState::Cordoned, MemberState::Draining, MemberState::Dead];

    /// Returns the state of this member.
    pub fn of(member: &Member) -> MemberState {
        match (member.is_live(), &member.cordon) {
            (false, _) => MemberState::Dead,
            (true, None) => MemberState::Active,
            (true, Some(cordon)) if cordon.draining => MemberState::Draining,
            (true, Some(_)) => MemberState::Cordoned,
        }
    }

    /// Returns the state as a word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberState::Active => "active",
            MemberState::Cordoned => "cordoned",
            MemberState::Draining => "draining",
            MemberState::Dead => "dead",
        }
    }
}

impl From<Member> for MemberStatus {
    fn from(member: Member) -> MemberStatus {
        MemberStatus {
            state: MemberState::of(&member),
            node: member.owner.node,
            incarnation: member.owner.incarnation.to_string(),
            address: member.facts.address,
            program: member.facts.program,
            protocol: member.facts.protocol,
            lease_left_ms: u64::try_from(member.lease_left.as_millis()).unwrap_or(u64::MAX),
            dead_for_ms: u64::try_from(member.dead_for.as_millis()).unwrap_or(u64::MAX),
            joined_at: member.joined_at,
            cordon: member.cordon,
            tenants: None,
        }
    }
}

/// Make a node take no more tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonRequest {
    /// Name of the node.
    pub node: String,
    /// True when the node also gives away its tenants.
    pub draining: bool,
    /// Reason of the operator.
    pub reason: String,
}

impl Request for CordonRequest {
    const FACTS: Facts = Facts::changes("cordon", Some(Right::Cordon)).since(3);
    type Reply = ClusterReply;
    type Source = FromNode;

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        let what = if self.draining { "drain" } else { "cordon" };
        Some(change_of(what, format!("node {}", self.node), &ScopeFilter::default(), Some(&self.reason)))
    }
}

/// Let a node take tenants again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncordonRequest {
    /// Name of the node.
    pub node: String,
    /// Reason, for later readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Request for UncordonRequest {
    const FACTS: Facts = Facts::changes("uncordon", Some(Right::Cordon)).since(3);
    type Reply = ClusterReply;
    type Source = FromNode;

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        Some(change_of("uncordon", format!("node {}", self.node), &ScopeFilter::default(), self.reason.as_ref()))
    }
}

/// Forget a dead node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetRequest {
    /// Name of the node.
    pub node: String,
    /// Reason, for later readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Request for ForgetRequest {
    const FACTS: Facts = Facts::changes("forget", Some(Right::Cordon)).since(3);
    type Reply = ClusterReply;
    type Source = FromNode;

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        Some(change_of("forget", format!("node {}", self.node), &ScopeFilter::default(), self.reason.as_ref()))
    }
}
