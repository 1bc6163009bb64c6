//! The sealed log as rows of either backend, and the errors that both give about it.
//!
//! *Guarantees.* A row that was damaged by hand is read, with a value that its reader must refuse, or it is left out of
//! its list: the check of the log names it, and no list fails because of it.

use crate::columns::{Columns, Stored, unreadable};
use crate::decode::word;
use crate::{LoggedEvent, NoteKind, Result, SealNote, SealPage, SealTree, StoreError, TreeState, decide};
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::chunk::{Chunk, Node};
use decisiongraph_projections::seal::leaf::SealedEnvelope;
use decisiongraph_projections::seal::texts::TreeHead;
use std::borrow::Cow;
use uuid::Uuid;

/// Bytes of a hash.
const HASH_BYTES: usize = size_of::<Hash>();

/// A root of another length is read as zeros, and a frontier of another length as an empty one: they contradict the
/// rest of the row.
impl Stored for SealTree {
    fn read(row: &impl Columns) -> Result<SealTree> {
        let (size, root) = (row.at::<i64>(3)?, row.bytes(4)?.and_then(|bytes| Hash::try_from(bytes).ok()));
        Ok(SealTree {
            tenant: row.at(0)?,
            tree: row.at(1)?,
            origin: row.at(2)?,
            head: TreeHead { size: u64::try_from(size).unwrap_or(u64::MAX), root: root.unwrap_or_default() },
            last: row.at(5)?,
            frontier: hashes(row.bytes(6)?.unwrap_or_default()).unwrap_or_default(),
            state: word(row, 7, TreeState::parse)?.ok_or_else(|| unreadable(row, 7, "it is NULL"))?,
            sealed_since: row.at(8)?,
            noted: row.at::<Option<i64>>(9)?.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        })
    }
}

/// Splits joined hashes.
fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// A chunk whose numbers are negative is unreadable.
impl Stored for Chunk {
    fn read(row: &impl Columns) -> Result<Chunk> {
        let bytes = |at| -> Result<Vec<u8>> { Ok(row.bytes(at)?.unwrap_or_default().to_vec()) };
        Ok(Chunk {
            first_index: natural(row, 0)?,
            events: natural(row, 1)?,
            first: row.at(2)?,
            last: row.at(3)?,
            positions: bytes(4)?,
            entries: bytes(5)?,
            salts: bytes(6)?,
        })
    }
}

/// A node whose hash has another length is unreadable.
impl Stored for Node {
    fn read(row: &impl Columns) -> Result<Node> {
        let level = u32::try_from(row.at::<i64>(0)?).map_err(|error| unreadable(row, 0, error))?;
        let hash = Hash::try_from(row.bytes(2)?.unwrap_or_default()).map_err(|error| unreadable(row, 2, error))?;
        Ok(Node { level, index: natural(row, 1)?, hash })
    }
}

fn natural(row: &impl Columns, at: usize) -> Result<u64> {
    u64::try_from(row.at::<i64>(at)?).map_err(|error| unreadable(row, at, error))
}

impl Stored for SealNote {
    fn read(row: &impl Columns) -> Result<SealNote> {
        Ok(SealNote {
            number: row.at(0)?,
            tree: row.at(1)?,
            kind: word(row, 2, NoteKind::parse)?.ok_or_else(|| unreadable(row, 2, "it is NULL"))?,
            size: natural(row, 3)?,
            note: row.at(4)?,
            noted_at: row.at(5)?,
        })
    }
}

/// Text that is not UTF-8 is read with replacement characters. A key that is no key is read as zeros, which is the hash
/// of no text.
impl Stored for LoggedEvent {
    fn read(row: &impl Columns) -> Result<LoggedEvent> {
        let maybe = |at| -> Result<Option<String>> { Ok(row.any_text(at)?.map(Cow::into_owned)) };
        let text = |at| maybe(at)?.ok_or_else(|| unreadable(row, at, "it is NULL"));
        let id = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
        let key = |at| -> Result<Uuid> { Ok(row.bytes(at)?.and_then(id).unwrap_or_default()) };
        Ok(LoggedEvent {
            log_seq: row.at(0)?,
            recorded_at_us: row.at(1)?,
            tenant_id: text(2)?,
            event_id: text(3)?,
            trace_id: text(4)?,
            trace_seq: row.at(5)?,
            event_type: text(6)?,
            occurred_at: text(7)?,
            producer_id: text(8)?,
            source_system: text(9)?,
            source_subsystem: maybe(10)?,
            actor_type: text(11)?,
            actor_id: text(12)?,
            idempotency_key: text(13)?,
            correlation_id: maybe(14)?,
            causation_event_id: maybe(15)?,
            schema_version: row.at(16)?,
            tags: text(17)?,
            payload: text(18)?,
            payload_hash: text(19)?,
            event_key: key(20)?,
            trace_key: key(21)?,
            idempotency_uid: key(22)?,
        })
    }
}

/// A page of the log with all that is sealed, read row by row.
pub(crate) trait LoggedPage: Default + Send + 'static {
    /// Reads the next event.
    fn take(&mut self, row: &impl Columns) -> Result<()>;
    /// True without an event.
    fn has_none(&self) -> bool;
}

impl LoggedPage for Vec<LoggedEvent> {
    fn take(&mut self, row: &impl Columns) -> Result<()> {
        self.push(LoggedEvent::read(row)?);
        Ok(())
    }

    fn has_none(&self) -> bool {
        self.is_empty()
    }
}

/// Each text goes from its row into the page, as [`LoggedEvent`] reads it.
impl LoggedPage for SealPage {
    fn take(&mut self, row: &impl Columns) -> Result<()> {
        let maybe = |at| row.any_text(at);
        let text = |at| maybe(at)?.ok_or_else(|| unreadable(row, at, "it is NULL"));
        let (subsystem, correlation_id, causation_event_id) = (maybe(10)?, maybe(14)?, maybe(15)?);
        let envelope = SealedEnvelope {
            log_seq: row.at(0)?,
            recorded_at_us: row.at(1)?,
            tenant_id: &text(2)?,
            event_id: &text(3)?,
            trace_id: &text(4)?,
            trace_seq: row.at(5)?,
            event_type: &text(6)?,
            occurred_at: &text(7)?,
            producer_id: &text(8)?,
            source_system: &text(9)?,
            source_subsystem: subsystem.as_deref(),
            actor_type: &text(11)?,
            actor_id: &text(12)?,
            idempotency_key: &text(13)?,
            correlation_id: correlation_id.as_deref(),
            causation_event_id: causation_event_id.as_deref(),
            schema_version: row.at(16)?,
            tags: &text(17)?,
        };
        self.add(&envelope, &text(18)?);
        Ok(())
    }

    fn has_none(&self) -> bool {
        self.is_empty()
    }
}

/// Creates the error of a batch whose tree is another than it grew from.
pub(crate) fn root_differs(tenant: &TenantId) -> StoreError {
    decide::conflict(format!("root_differs: the tree of {tenant} is not the one that this batch grew from"))
}

/// Creates the error of leaves or nodes that are stored where a tree is to grow.
pub(crate) fn grown_over(tenant: &TenantId) -> StoreError {
    decide::conflict(format!("tree_damaged: {tenant} has leaves or nodes behind the end of its tree"))
}

/// Creates the error of a tenant that has a tree.
pub(crate) fn has_tree(tenant: &TenantId) -> StoreError {
    decide::conflict(format!("{tenant} has a tree already"))
}

/// Creates the error of a tree that has another head than its caller knows, or that is not open.
pub(crate) fn other_head(tenant: &TenantId, tree: i64) -> StoreError {
    decide::conflict(format!("tree {tree} of {tenant} is not open with this head"))
}

/// Creates the error of a tree that has another size than its caller knows.
pub(crate) fn other_size(tenant: &TenantId, tree: i64) -> StoreError {
    decide::conflict(format!("tree {tree} of {tenant} has another size"))
}

/// Checks that a fork took every common leaf over.
pub(crate) fn took_over(tenant: &TenantId, tree: i64, keep: u64, found: i64) -> Result<()> {
    match u64::try_from(found) == Ok(keep) {
        true => Ok(()),
        false => Err(decide::conflict(format!(
            "tree_damaged: tree {tree} of {tenant} has {found} of the {keep} leaves that the next one is to take over"
        ))),
    }
}

/// Creates `fenced` of a caller whose lease does not hold.
pub(crate) fn not_held(tenant: &TenantId) -> StoreError {
    StoreError::fenced(format!("{tenant}/seal: another epoch has taken over; nothing was changed"))
}

/// Converts a count or an index to the databases' integers, which no tree exceeds.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
