//! The sealed log: its state, its notes, its proofs, and an operator's changes to it.

use super::health::HealthWord;
use crate::request::{Facts, FromDatabase, FromNode, Reply, Request, Right, Subject, change_of_scopes};
use decisiongraph_projections::seal::scope::SEAL_NAME;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_records::{Lag, NewChange, NoteKind, SealNote};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest wait for a seal, in milliseconds.
pub const SEAL_WAIT_MS_MAX: u64 = 600_000;
/// Most tenants of one page of the seal's state.
pub const SEALS_MAX: i64 = 1_000;
/// Most notes per reply.
pub const SEAL_NOTES_MAX: i64 = 1_000;
/// Most events that a pack names one by one.
pub const PACK_EVENTS_MAX: usize = 10_000;
/// Most hashes of a tile.
pub const TILE_HASHES_MAX: u16 = 256;

/// A page of the state of seals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealStatusRequest {
    /// Tenant of the log; every tenant when none.
    pub tenant: Option<TenantId>,
    /// Tenant behind which the page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TenantId>,
    /// Most tenants per page, at most [`SEALS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

impl Request for SealStatusRequest {
    const FACTS: Facts = Facts::reads("seal_status", Some(Right::Prove)).since(5).large();
    type Reply = SealStatusReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::if_named(&self.tenant)
    }
}

/// State of seals.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SealStatusReply {
    /// Name that the origins begin with. None when the answering process has no key: it seals nothing.
    pub name: Option<String>,
    /// Memories outside the database that the answering process compares with, the journal first.
    pub memory: Vec<String>,
    /// Nodes, as far as they are linked, that sign with a key that was replaced on another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_rotation: Vec<String>,
    /// Seals, by tenant.
    pub seals: Vec<SealOf>,
    /// True when there are more. Ask again with `after` = the last tenant.
    #[serde(default)]
    pub more: bool,
}

impl Reply for SealStatusReply {}

/// Seal of a tenant's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealOf {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// State as one word.
    pub state: SealState,
    /// Health of the seal, decided by its findings, its window and its places.
    pub health: HealthWord,
    /// Newest tree; none when nothing was sealed yet.
    #[serde(flatten)]
    pub tree: Option<SealedTree>,
    /// Position of the tenant's last event.
    pub last_log_seq: LogSeq,
    /// Events that are not in the tree.
    pub unsealed: Lag,
    /// Age of the oldest event that no copy of a checkpoint outside the database covers, in seconds; 0 without one.
    pub window_seconds: f64,
    /// Time from which on events were sealed, RFC 3339: events before it are as they were found then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_since: Option<String>,
    /// Newest checkpoint in the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedHead>,
    /// Newest checkpoint in each memory outside the database.
    #[serde(default)]
    pub places: Vec<SealPlace>,
    /// Last full round of the scrubber over this log, where the answering node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<SealScrub>,
    /// Findings about this log.
    #[serde(default)]
    pub findings: Vec<SealFound>,
}

/// State of a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealState {
    /// Nothing was sealed yet.
    Unsealed,
    /// The tree grows.
    Open,
    /// A finding stops it: the operator decides.
    Stopped,
    /// A fork ended the tree.
    Closed,
}

impl SealState {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            SealState::Unsealed => "unsealed",
            SealState::Open => "open",
            SealState::Stopped => "stopped",
            SealState::Closed => "closed",
        }
    }
}

/// Head of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedTree {
    /// Number of the tree; a fork begins the next one.
    pub tree: i64,
    /// Name of the log in everything that is signed.
    pub origin: String,
    /// Number of sealed events.
    pub size: u64,
    /// Root over them, base64.
    pub root: String,
    /// Position of the last sealed event.
    pub log_seq: LogSeq,
}

/// A signed head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// Number of events that it covers.
    pub size: u64,
    /// Time at which it was stored, RFC 3339.
    pub at: String,
}

/// A memory outside the database, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealPlace {
    /// Name of the place, such as `journal` or `dir:PATH`.
    pub place: String,
    /// Newest checkpoint there; none when it has none of this log.
    pub newest: Option<SignedHead>,
    /// Fault of the last attempt to reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Work of the scrubber on one log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealScrub {
    /// Sealed events that the running round has read.
    pub read: u64,
    /// Time since the end of the last full round, in seconds; none before the first.
    pub round_age_seconds: Option<f64>,
}

/// A finding about a sealed log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealFound {
    /// Stable word, such as `tree_shrunk`.
    pub word: String,
    /// Line for a person. It begins with the word.
    pub message: String,
}

/// Seal up to the safe mark, sign and publish now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealNowRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Longest wait, in milliseconds, at most [`SEAL_WAIT_MS_MAX`].
    pub wait_ms: u64,
}

impl Request for SealNowRequest {
    const FACTS: Facts = Facts::changes("seal_now", Some(Right::Prove)).since(5);
    type Reply = SealedReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// A tree, and the note that was signed about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedReply {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// The tree.
    #[serde(flatten)]
    pub tree: SealedTree,
    /// The note that was signed: a checkpoint, or the note of a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Memories outside the database that have it.
    #[serde(default)]
    pub places: Vec<SealPlace>,
}

impl Reply for SealedReply {}

/// Signed notes of a tenant's log, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealCheckpointsRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Number of the tree; the newest when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<i64>,
    /// Kind of the notes; checkpoints when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<NoteKind>,
    /// Number of events that the note is about; any when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Number of the note before which the page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// Most notes, at most [`SEAL_NOTES_MAX`].
    pub limit: i64,
}

impl Request for SealCheckpointsRequest {
    const FACTS: Facts = Facts::reads("seal_checkpoints", Some(Right::Prove)).since(5).large();
    type Reply = SealCheckpointsReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// Signed notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealCheckpointsReply {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Name of the log in these notes.
    pub origin: String,
    /// Notes, newest first.
    pub notes: Vec<SealNote>,
    /// True when there are more. Ask again with `before` = the last note's number.
    #[serde(default)]
    pub more: bool,
}

impl Reply for SealCheckpointsReply {}

/// Proof that one event is in the sealed log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProveRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Id of the event; the position names it when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Position of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_seq: Option<LogSeq>,
}

impl Request for ProveRequest {
    const FACTS: Facts = Facts::reads("prove", Some(Right::Prove)).since(5).large();
    type Reply = ProveReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// Proof of one event. Leaf and log were compared before it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProveReply {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Position of the event.
    pub log_seq: LogSeq,
    /// Id of the event.
    pub event_id: String,
    /// Index of its leaf.
    pub index: u64,
    /// Number of events that the checkpoint covers.
    pub size: u64,
    /// The proof (C2SP tlog-proof), with the signed checkpoint.
    pub proof: String,
    /// The event as JSON: an auditor needs it beside the proof.
    pub event: String,
}

impl Reply for ProveReply {}

/// Proof that the sealed log of `to` events begins with that of `from` events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Number of the tree; the newest when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<i64>,
    /// Size of the older checkpoint.
    pub from: u64,
    /// Size of the newer checkpoint.
    pub to: u64,
}

impl Request for ConsistencyRequest {
    const FACTS: Facts = Facts::reads("consistency", Some(Right::Prove)).since(5);
    type Reply = ConsistencyReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// A consistency proof, which was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyReply {
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Size of the older checkpoint.
    pub from: u64,
    /// Size of the newer checkpoint.
    pub to: u64,
    /// The older checkpoint.
    pub older: String,
    /// The proof, with the newer checkpoint: the body of a witness's `add-checkpoint` (C2SP tlog-witness).
    pub proof: String,
}

impl Reply for ConsistencyReply {}

/// Selection of the events of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackOf {
    /// The events of a trace.
    Trace(String),
    /// The events at these positions and between them.
    Range(LogSeq, LogSeq),
    /// Events by their ids, at most [`PACK_EVENTS_MAX`].
    Events(Vec<String>),
}

/// A page of an evidence pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPackRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Events of the pack.
    pub of: PackOf,
    /// Members of payloads that are not shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// True when no payload is shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_payloads: bool,
    /// True for the rotations of the key: a reader who knows only an older key needs them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotations: bool,
    /// Place at which the pack goes on: `next` of the page before, with the same other fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most events per page.
    pub limit: i64,
}

impl Request for AuditPackRequest {
    const FACTS: Facts = Facts::reads("audit_pack", Some(Right::Prove)).since(5).large();
    type Reply = AuditPackReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// A page of an evidence pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPackReply {
    /// Lines of the file, each with its line feed.
    pub text: String,
    /// Number of events in these lines.
    pub events: u64,
    /// Place at which the pack goes on; none at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Reply for AuditPackReply {}

/// Begin a tenant's first tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealInitRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Name of the log in everything that is signed; made of the seal's name and the tenant when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// True to go on with the tree in the database although no memory outside it answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trust_database: bool,
    /// Reason of the operator.
    pub reason: String,
}

impl Request for SealInitRequest {
    const FACTS: Facts = Facts::changes("seal_init", Some(Right::Seal)).since(5);
    type Reply = SealedReply;
    type Source = FromNode;

    // The log may be about to begin: no subject is looked for.
    fn change(&self, _id: Uuid) -> Option<NewChange> {
        Some(change_of_seal("seal_init", &self.tenant, &self.reason))
    }
}

/// End a tree, and begin the next one with their common prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealForkRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Reason of the operator. It is part of the signed note.
    pub reason: String,
}

impl Request for SealForkRequest {
    const FACTS: Facts = Facts::changes("seal_fork", Some(Right::Seal)).since(5);
    type Reply = SealedReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        Some(change_of_seal("seal_fork", &self.tenant, &self.reason))
    }
}

/// Write nodes and frontier of a tree anew, from its chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealRebuildRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Reason of the operator.
    pub reason: String,
}

impl Request for SealRebuildRequest {
    const FACTS: Facts = Facts::changes("seal_rebuild", Some(Right::Seal)).since(5);
    type Reply = SealedReply;
    type Source = FromNode;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }

    fn change(&self, _id: Uuid) -> Option<NewChange> {
        Some(change_of_seal("seal_rebuild", &self.tenant, &self.reason))
    }
}

fn change_of_seal(what: &str, tenant: &Option<TenantId>, reason: &str) -> NewChange {
    NewChange { reason: reason.to_owned(), ..change_of_scopes(what, tenant, &Some(SEAL_NAME.to_owned()), None) }
}

/// A tile of a tree: up to 256 hashes of one level (C2SP tlog-tiles).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealTileRequest {
    /// Tenant of the log.
    pub tenant: Option<TenantId>,
    /// Number of the tree; the newest when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<i64>,
    /// Level of the tile: 0 has leaves, 1 has subtrees of 256 leaves, and so on.
    pub level: u32,
    /// Number of the tile in its level.
    pub index: u64,
    /// Number of hashes, 1 to [`TILE_HASHES_MAX`]: the first ones of the tile. All that the tree has when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u16>,
}

impl Request for SealTileRequest {
    const FACTS: Facts = Facts::reads("seal_tile", Some(Right::Prove)).since(5);
    type Reply = SealTileReply;
    type Source = FromDatabase;

    fn subject(&self) -> Subject<'_> {
        Subject::Log(self.tenant.as_ref())
    }
}

/// A tile of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealTileReply {
    /// Head of the tree that it is of.
    #[serde(flatten)]
    pub tree: SealedTree,
    /// Hashes of the tile, base64.
    pub hashes: Vec<String>,
    /// Positions of the events of these leaves. Tiles of higher levels have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_seqs: Vec<LogSeq>,
}

impl Reply for SealTileReply {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_to_a_seal_is_recorded_with_its_scope_and_its_reason() {
        let reason = "restored".to_owned();
        let fork = SealForkRequest { tenant: None, reason: reason.clone() };
        let change = fork.change(Uuid::nil()).expect("a change");
        let expected = ("seal_fork", Some(TenantId::default()), Some("seal".to_owned()), reason);
        assert_eq!((change.what.as_str(), change.tenant, change.projection, change.reason), expected);
    }

    #[test]
    fn a_seal_without_a_tree_is_read_as_it_was_written() {
        let seal = SealOf {
            tenant: TenantId::default(),
            state: SealState::Unsealed,
            health: HealthWord::Ok,
            tree: None,
            last_log_seq: LogSeq(7),
            unsealed: Lag { events: 7, more: false, seconds: 1.0 },
            window_seconds: 1.0,
            sealed_since: None,
            signed: None,
            places: Vec::new(),
            scrub: None,
            findings: Vec::new(),
        };
        let text = serde_json::to_string(&seal).expect("writes");
        assert!(!text.contains("origin"), "{text}");
        assert_eq!(serde_json::from_str::<SealOf>(&text).expect("reads"), seal);
        let tree = SealedTree { tree: 1, origin: "a/b".to_owned(), size: 1, root: String::new(), log_seq: LogSeq(7) };
        let sealed = SealOf { tree: Some(tree), ..seal };
        let text = serde_json::to_string(&sealed).expect("writes");
        assert_eq!(serde_json::from_str::<SealOf>(&text).expect("reads"), sealed);
    }
}
