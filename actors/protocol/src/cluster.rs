//! The members of the cluster, as they are told.

use super::peer::LinkState;
use decisiongraph_records::{Cordon, Member};
use serde::{Deserialize, Serialize};

/// The cluster, as the database knows it and, over a node, as that node does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterReply {
    /// The node that answered; none without one.
    pub answered_by: Option<String>,
    /// By name: the live ones, and those that died within a day.
    pub members: Vec<MemberStatus>,
    /// Tenants that the answering node holds and is handing over.
    pub moving: u64,
    /// The answering node's links to the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkState>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub node: String,
    /// Drawn at its start.
    pub incarnation: String,
    /// What it is up to.
    pub state: MemberState,
    /// Where the others reach it; nowhere when none.
    pub address: Option<String>,
    /// Its program's version.
    pub program: String,
    /// The newest protocol that it speaks.
    pub protocol: i32,
    /// How long its lease still runs, on the database's clock, milliseconds.
    pub lease_left_ms: u64,
    /// How long its lease has been over, milliseconds; 0 while it runs.
    #[serde(default)]
    pub dead_for_ms: u64,
    /// Since when this incarnation is there, RFC 3339.
    pub joined_at: String,
    /// Who asked that it takes no more tenants, and why.
    pub cordon: Option<Cordon>,
    /// Tenants that are placed on it, as the answering node sees it; none when it does not say (no node, or one node alone).
    pub tenants: Option<u64>,
}

/// What a member is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It takes tenants.
    Active,
    /// It keeps the tenants that it has and takes no more.
    Cordoned,
    /// It gives its tenants away.
    Draining,
    /// Its lease is over; its tenants are the others'.
    Dead,
}

impl MemberState {
    /// Every state.
    pub const ALL: [MemberState; 4] =
        [MemberState::Active, MemberState::Cordoned, MemberState::Draining, MemberState::Dead];

    /// What this member is up to.
    pub fn of(member: &Member) -> MemberState {
        match (member.is_live(), &member.cordon) {
            (false, _) => MemberState::Dead,
            (true, None) => MemberState::Active,
            (true, Some(cordon)) if cordon.draining => MemberState::Draining,
            (true, Some(_)) => MemberState::Cordoned,
        }
    }

    /// As people read it.
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
