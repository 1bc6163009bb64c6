//! The sealed log as stored: trees, notes, batches, and events with every column that is sealed.

use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::chunk::Grown;
use decisiongraph_projections::seal::leaf::SealedEnvelope;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_projections::{LogSeq, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Number of a tenant's first tree. A fork begins the next one.
pub const FIRST_TREE: i64 = 1;

/// State of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeState {
    /// It grows.
    Open,
    /// A fork ended it: the next tree goes on from a common prefix.
    Closed,
}

impl TreeState {
    /// Returns the stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            TreeState::Open => "open",
            TreeState::Closed => "closed",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<TreeState> {
        [TreeState::Open, TreeState::Closed].into_iter().find(|state| state.as_str() == word)
    }
}

/// A tree of a tenant, as stored. Nothing here is checked: see [`SealTree::memory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealTree {
    /// Tenant of the tree.
    pub tenant: TenantId,
    /// Number of the tree, from [`FIRST_TREE`].
    pub tree: i64,
    /// Name of the log in everything that is signed.
    pub origin: String,
    /// Size and root.
    pub head: TreeHead,
    /// Position of the last sealed event; 0 of an empty tree.
    pub last: LogSeq,
    /// Roots of its perfect subtrees, largest first.
    pub frontier: Vec<Hash>,
    /// State of the tree.
    pub state: TreeState,
    /// Time at which the row was made, RFC 3339: events before it are as they were found then.
    pub sealed_since: String,
    /// Size of the largest checkpoint of this tree among the database's notes; 0 without one.
    pub noted: u64,
}

impl SealTree {
    /// Returns the memory of an append. `None` when frontier, size and root contradict one another (`tree_damaged`).
    pub fn memory(&self) -> Option<Frontier> {
        let frontier = Frontier::restore(self.head.size, self.frontier.clone())?;
        (frontier.root() == self.head.root).then_some(frontier)
    }
}

/// Growth of a tree in one batch. It is committed with the cursor of the scope `seal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealBatch {
    /// Number of the tree.
    pub tree: i64,
    /// Origin of the tree; written with its first batch.
    pub origin: String,
    /// The head that it grew from. Checked: size and root must be the stored ones, or none stored and size 0.
    pub from: TreeHead,
    /// Chunks, nodes and frontier of the growth. Empty chunks: there was no event up to the cursor.
    pub grown: Grown,
    /// Position of the last sealed event.
    pub last: LogSeq,
}

impl SealBatch {
    /// Returns the head behind the batch.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.grown.frontier.size(), root: self.grown.frontier.root() }
    }
}

/// Kind of a signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// Size and root of a tree.
    Checkpoint,
    /// Digests of the projections at a checkpoint.
    Statement,
    /// Replacement of the key.
    Rotation,
    /// End of a tree, and begin of the next.
    Fork,
    /// Erasure of a payload or of members of it.
    Erasure,
}

impl NoteKind {
    /// Every kind.
    pub const ALL: [NoteKind; 5] =
        [NoteKind::Checkpoint, NoteKind::Statement, NoteKind::Rotation, NoteKind::Fork, NoteKind::Erasure];

    /// Returns the stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            NoteKind::Checkpoint => "checkpoint",
            NoteKind::Statement => "statement",
            NoteKind::Rotation => "rotation",
            NoteKind::Fork => "fork",
            NoteKind::Erasure => "erasure",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<NoteKind> {
        NoteKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A signed note that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSealNote {
    /// Tenant of the tree.
    pub tenant: TenantId,
    /// Number of the tree.
    pub tree: i64,
    /// Kind of the note.
    pub kind: NoteKind,
    /// Size of the tree that the note is about.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// A signed note as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealNote {
    /// Number of the note; a later one is greater.
    pub number: i64,
    /// Number of the tree.
    pub tree: i64,
    /// Kind of the note.
    pub kind: NoteKind,
    /// Size of the tree that the note is about.
    pub size: u64,
    /// The signed note.
    pub note: String,
    /// Time at which the database stored it, RFC 3339.
    pub noted_at: String,
}

/// End of a tree and begin of the next one, which takes the first `keep` leaves over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealFork {
    /// Number of the tree that ends.
    pub old: i64,
    /// Head of that tree. Checked: it must be the stored one.
    pub old_head: TreeHead,
    /// Number of leaves that both trees have.
    pub keep: u64,
    /// Frontier of the new tree at that size.
    pub frontier: Frontier,
    /// Position of the last common event; 0 without one. The cursor of the scope goes back to it.
    pub last: LogSeq,
    /// Origin of the new tree.
    pub origin: String,
    /// The fork note, stored with the new tree.
    pub note: String,
}

/// Replication as a signature that waits for the standbys sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standbys {
    /// Standbys that are connected and stream.
    pub streaming: usize,
    /// Standbys that have flushed the position.
    pub flushed: usize,
}

/// An event with every sealed column and the columns that follow from them, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LoggedEvent {
    pub log_seq: LogSeq,
    /// Microseconds since 1970, by the database's clock.
    pub recorded_at_us: i64,
    pub tenant_id: String,
    pub event_id: String,
    pub trace_id: String,
    pub trace_seq: i64,
    pub event_type: String,
    pub occurred_at: String,
    pub producer_id: String,
    pub source_system: String,
    pub source_subsystem: Option<String>,
    pub actor_type: String,
    pub actor_id: String,
    pub idempotency_key: String,
    pub correlation_id: Option<String>,
    pub causation_event_id: Option<String>,
    pub schema_version: i64,
    /// The stored JSON text.
    pub tags: String,
    /// The stored text.
    pub payload: String,
    pub payload_hash: String,
    /// Hash of the event's id.
    pub event_key: Uuid,
    /// Hash of the trace's id.
    pub trace_key: Uuid,
    /// Hash of producer and idempotency key.
    pub idempotency_uid: Uuid,
}

impl LoggedEvent {
    /// Borrows the sealed fields of the envelope.
    pub fn envelope(&self) -> SealedEnvelope<'_> {
        SealedEnvelope {
            log_seq: self.log_seq,
            recorded_at_us: self.recorded_at_us,
            tenant_id: &self.tenant_id,
            event_id: &self.event_id,
            trace_id: &self.trace_id,
            trace_seq: self.trace_seq,
            event_type: &self.event_type,
            occurred_at: &self.occurred_at,
            producer_id: &self.producer_id,
            source_system: &self.source_system,
            source_subsystem: self.source_subsystem.as_deref(),
            actor_type: &self.actor_type,
            actor_id: &self.actor_id,
            idempotency_key: &self.idempotency_key,
            correlation_id: self.correlation_id.as_deref(),
            causation_event_id: self.causation_event_id.as_deref(),
            schema_version: self.schema_version,
            tags: &self.tags,
        }
    }

    /// Counts the bytes of its texts.
    pub fn bytes(&self) -> usize {
        let optional = [&self.source_subsystem, &self.correlation_id, &self.causation_event_id];
        let texts = [
            &self.tenant_id,
            &self.event_id,
            &self.trace_id,
            &self.event_type,
            &self.occurred_at,
            &self.producer_id,
            &self.source_system,
            &self.actor_type,
            &self.actor_id,
            &self.idempotency_key,
            &self.tags,
            &self.payload,
            &self.payload_hash,
        ];
        let optional: usize = optional.iter().filter_map(|text| text.as_ref()).map(String::len).sum();
        optional + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// Consecutive events as a tree grows by them: the sealed fields of each, encoded, and its payload. All of them are in
/// two buffers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealPage {
    envelopes: Vec<u8>,
    payloads: String,
    /// Position of each event, and the ends of its envelope and its payload.
    events: Vec<(LogSeq, usize, usize)>,
}

impl SealPage {
    /// Adds an event behind the others.
    pub fn add(&mut self, envelope: &SealedEnvelope<'_>, payload: &str) {
        envelope.encode(&mut self.envelopes);
        self.payloads.push_str(payload);
        self.events.push((envelope.log_seq, self.envelopes.len(), self.payloads.len()));
    }

    /// Lists the events: position, encoded envelope and payload.
    pub fn events(&self) -> impl Iterator<Item = (LogSeq, &[u8], &str)> {
        let begins =
            std::iter::once((0, 0)).chain(self.events.iter().map(|(_, envelope, payload)| (*envelope, *payload)));
        begins.zip(&self.events).map(|((envelope, payload), (log_seq, envelope_end, payload_end))| {
            (*log_seq, &self.envelopes[envelope..*envelope_end], &self.payloads[payload..*payload_end])
        })
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True without an event.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns the position of the last event.
    pub fn last(&self) -> Option<LogSeq> {
        self.events.last().map(|(log_seq, ..)| *log_seq)
    }

    /// Counts the bytes of its events.
    pub fn bytes(&self) -> usize {
        self.envelopes.len() + self.payloads.len()
    }
}
