//! Evidence that is handed out: the proof of an event, proofs of consistency.
//!
//! *Guarantees.* Every event is compared with its leaf, and every proof with the root of its checkpoint, before it is
//! handed out. An event that was edited gets no proof, but the finding.
//!
//! *Never here:* signatures of the checkpoint. Its reader checks them.

use super::event_check::judge;
use super::finding::SealWord;
use super::known;
use super::reader::{TreeReader, leaves_of};
use crate::Engine;
use decisiongraph_projections::seal::chunk::{CHUNK_EVENTS, Leaf};
use decisiongraph_projections::seal::note::Note;
use decisiongraph_projections::seal::texts::{Checkpoint, TreeHead};
use decisiongraph_projections::seal::tree::{inclusion_root, is_consistent};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_seal::consistency::Consistency;
use decisiongraph_seal::tlog_proof::{TlogProof, extra};
use decisiongraph_seal::{Event, Text};
use decisiongraph_store::{LoggedEvent, NoteKind, PageLimit, ReadView, Result, SealNote, SealTree, StoreError};

/// Notes per look for a checkpoint.
pub(super) const NOTES_PAGE: usize = 100;
/// Newest checkpoints that are tried: a note that was tampered with is passed over.
const TRIED_MAX: usize = 20;

/// An event that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// By its id.
    Id(&'a str),
    /// By its position.
    At(LogSeq),
}

/// Proof of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Position of the event.
    pub log_seq: LogSeq,
    /// Id of the event.
    pub event_id: String,
    /// Index of its leaf.
    pub index: u64,
    /// Number of events that the checkpoint covers.
    pub size: u64,
    /// The tlog-proof, with the signed checkpoint.
    pub text: String,
    /// The event as JSON, which an auditor needs beside the proof.
    pub event: String,
}

/// Proof that a tree begins with an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The older checkpoint.
    pub older: String,
    /// The proof, with the newer checkpoint.
    pub text: String,
}

/// Proves an event, with the newest checkpoint that covers it. An event that no answer of the engine has room for is an
/// error.
pub async fn prove(engine: &Engine, view: &dyn ReadView, tenant: &TenantId, wanted: Wanted<'_>) -> Result<Proof> {
    let tree = sealed(view, tenant).await?;
    let (event, leaf) = opened(view, &tree, wanted, engine.budget().read_event_bytes_max()).await?;
    let signed = covering(view, &tree, leaf.index + 1).await?.ok_or_else(|| not_signed(leaf.log_seq))?;
    let size = signed.head.size;
    let reader = TreeReader::new(view, tenant, tree.tree, size);
    let path = reader.inclusion(leaf.index, size).await?;
    if inclusion_root(leaf.index, size, &leaf.entry.leaf_hash(), &path) != Ok(signed.head.root) {
        return Err(damaged(leaf.index / CHUNK_EVENTS));
    }
    let text = TlogProof { extra: Some(extra(&leaf.salts)), index: leaf.index, path, note: &signed.note }.text();
    let json = serde_json::to_string(&shown(&event)).map_err(|error| StoreError::internal(error.to_string()))?;
    let LoggedEvent { log_seq, event_id, .. } = event;
    Ok(Proof { log_seq, event_id, index: leaf.index, size, text, event: json })
}

/// Proves that the tree of the checkpoint for `to` events begins with that of the checkpoint for `from`. Without a
/// number it is the newest tree.
pub async fn consistency(
    view: &dyn ReadView,
    tenant: &TenantId,
    tree: Option<i64>,
    from: u64,
    to: u64,
) -> Result<Extension> {
    let tree = tree_of(view, tenant, tree).await?;
    let (old, new) = (checkpoint_for(view, &tree, from).await?, checkpoint_for(view, &tree, to).await?);
    if from > to {
        let text = format!("the tree of {to} events cannot begin with that of {from}");
        return Err(StoreError::new(Category::InvalidArgument, text));
    }
    let reader = TreeReader::new(view, tenant, tree.tree, to);
    for signed in [&old, &new] {
        let (size, root) = (signed.head.size, reader.root_at(signed.head.size).await?);
        if root != signed.head.root {
            let text =
                format!("at {size} events the tree has another root than the checkpoint signed at {}", signed.at);
            return Err(SealWord::CheckpointDiffers.because(text).into());
        }
    }
    let hashes = reader.consistency(from, to).await?;
    if !is_consistent(from, &old.head.root, to, &new.head.root, &hashes) {
        let text = format!("the tree of {to} events does not begin with that of {from}");
        return Err(SealWord::TreeDamaged.because(text).into());
    }
    Ok(Extension { older: old.note, text: Consistency { old: from, hashes, note: &new.note }.text() })
}

/// A checkpoint of the database, whose text was read.
pub(super) struct Signed {
    pub head: TreeHead,
    pub note: String,
    at: String,
}

fn signed(tree: &SealTree, note: SealNote) -> Option<Signed> {
    let Checkpoint { origin, head } = Checkpoint::parse(Note::parse(&note.note).ok()?.text).ok()?;
    (origin == tree.origin).then_some(Signed { head, note: note.note, at: note.noted_at })
}

/// Finds the newest checkpoint of at least so many events whose root the tree has. One that was tampered with is passed
/// over. None: no checkpoint is so large.
pub(super) async fn covering(view: &dyn ReadView, tree: &SealTree, events: u64) -> Result<Option<Signed>> {
    let kind = Some(NoteKind::Checkpoint);
    let notes = view.seal_notes(&tree.tenant, tree.tree, kind, None, TRIED_MAX).await?;
    let reader = TreeReader::new(view, &tree.tenant, tree.tree, tree.head.size);
    let mut differs = None;
    for signed in notes.into_iter().filter_map(|note| signed(tree, note)) {
        if signed.head.size < events || signed.head.size > tree.head.size {
            continue;
        }
        match reader.root_at(signed.head.size).await? == signed.head.root {
            true => return Ok(Some(signed)),
            false => differs = differs.or(Some(signed)),
        }
    }
    let Some(Signed { head, at, .. }) = differs else { return Ok(None) };
    let text = format!("at {} events the tree has another root than the checkpoint signed at {at}", head.size);
    Err(SealWord::CheckpointDiffers.because(text).into())
}

/// Finds the checkpoint of exactly so many events.
pub(super) async fn checkpoint_for(view: &dyn ReadView, tree: &SealTree, size: u64) -> Result<Signed> {
    let mut before = None;
    loop {
        let kind = Some(NoteKind::Checkpoint);
        let notes = view.seal_notes(&tree.tenant, tree.tree, kind, before, NOTES_PAGE).await?;
        let Some(last) = notes.last() else {
            let text = format!("there is no checkpoint for {size} events in the database");
            return Err(StoreError::new(Category::NotFound, text));
        };
        before = Some(last.number);
        let mut found = notes.into_iter().filter(|note| note.size == size).filter_map(|note| signed(tree, note));
        if let Some(found) = found.find(|signed| signed.head.size == size) {
            return Ok(found);
        }
    }
}

/// Returns the newest tree, which has events.
async fn sealed(view: &dyn ReadView, tenant: &TenantId) -> Result<SealTree> {
    let tree = view.seal_trees(tenant).await?.pop().filter(|tree| tree.head.size > 0);
    tree.ok_or_else(|| not_sealed(format!("nothing of tenant {tenant} is sealed")))
}

pub(super) async fn tree_of(view: &dyn ReadView, tenant: &TenantId, number: Option<i64>) -> Result<SealTree> {
    let Some(number) = number else { return sealed(view, tenant).await };
    let tree = view.seal_trees(tenant).await?.into_iter().find(|tree| tree.tree == number);
    tree.ok_or_else(|| StoreError::new(Category::NotFound, format!("tenant {tenant} has no tree {number}")))
}

/// Reads an event and its leaf, and compares them.
async fn opened(
    view: &dyn ReadView,
    tree: &SealTree,
    wanted: Wanted<'_>,
    event_bytes_max: usize,
) -> Result<(LoggedEvent, Leaf)> {
    let position = match wanted {
        Wanted::At(position) => Some(position),
        Wanted::Id(id) => view.position_of(&tree.tenant, id).await?,
    };
    let position = position.ok_or_else(|| no_event(wanted))?;
    let event = event_at(view, &tree.tenant, position, event_bytes_max).await?;
    match (event, leaf_at(view, tree, position).await?) {
        (None, None) => Err(no_event(wanted)),
        (None, Some(leaf)) => Err(missing(&leaf)),
        (Some(_), None) if position <= tree.last => Err(inserted(tree, position)),
        (Some(_), None) => Err(not_sealed(format!("log_seq {} is not sealed yet", position.0))),
        (Some(event), Some(leaf)) => {
            let judged = judge(&event, &leaf, &known::erasures(view, tree, None).await?);
            match judged.findings.into_iter().next() {
                Some(finding) => Err(finding.into()),
                None if judged.erased => {
                    let text =
                        format!("the payload of log_seq {} was erased: take a pack without payloads", position.0);
                    Err(StoreError::new(Category::InvalidArgument, text))
                }
                None => Ok((event, leaf)),
            }
        }
    }
}

/// Reads the event at a position.
pub(super) async fn event_at(
    view: &dyn ReadView,
    tenant: &TenantId,
    position: LogSeq,
    event_bytes_max: usize,
) -> Result<Option<LoggedEvent>> {
    let after = LogSeq(position.0.saturating_sub(1));
    let limit = PageLimit { event_bytes_max, ..PageLimit::rows(1) };
    Ok(view.logged_events(tenant, after, position, limit).await?.pop())
}

pub(super) async fn leaf_at(view: &dyn ReadView, tree: &SealTree, position: LogSeq) -> Result<Option<Leaf>> {
    let Some(chunk) = view.seal_chunk_at(&tree.tenant, tree.tree, position).await? else { return Ok(None) };
    let leaf = leaves_of(&chunk)?.into_iter().find(|leaf| leaf.log_seq == position);
    Ok(leaf.filter(|leaf| leaf.index < tree.head.size))
}

/// Returns an event as packs have it.
pub(super) fn shown(event: &LoggedEvent) -> Event<'_> {
    Event {
        log_seq: event.log_seq.0,
        recorded_at_us: event.recorded_at_us,
        tenant_id: event.tenant_id.as_str().into(),
        event_id: event.event_id.as_str().into(),
        trace_id: event.trace_id.as_str().into(),
        trace_seq: event.trace_seq,
        event_type: event.event_type.as_str().into(),
        occurred_at: event.occurred_at.as_str().into(),
        producer_id: event.producer_id.as_str().into(),
        source_system: event.source_system.as_str().into(),
        source_subsystem: event.source_subsystem.as_deref().map(Text::from),
        actor_type: event.actor_type.as_str().into(),
        actor_id: event.actor_id.as_str().into(),
        idempotency_key: event.idempotency_key.as_str().into(),
        correlation_id: event.correlation_id.as_deref().map(Text::from),
        causation_event_id: event.causation_event_id.as_deref().map(Text::from),
        schema_version: event.schema_version,
        tags: event.tags.as_str().into(),
        payload: Some(event.payload.as_str().into()),
    }
}

/// Reports that something is not sealed or not signed yet. The answering process adds the way to have it sealed.
pub(super) fn not_sealed(what: impl Into<String>) -> StoreError {
    let next = "seal what is committed with `decisiongraph seal now`, then ask again";
    StoreError::new(Category::ProjectionOutOfDate, what).next(next)
}

pub(super) fn not_signed(position: LogSeq) -> StoreError {
    not_sealed(format!("log_seq {} is not covered by a checkpoint yet", position.0))
}

pub(super) fn no_event(wanted: Wanted<'_>) -> StoreError {
    let named = match wanted {
        Wanted::Id(id) => format!("there is no event {id}"),
        Wanted::At(position) => format!("there is no event at log_seq {}", position.0),
    };
    StoreError::new(Category::NotFound, named)
}

pub(super) fn missing(leaf: &Leaf) -> StoreError {
    let text = format!("leaf {} (log_seq {}): sealed, and not in the log", leaf.index, leaf.log_seq.0);
    SealWord::EventMissing.because(text).into()
}

pub(super) fn inserted(tree: &SealTree, position: LogSeq) -> StoreError {
    let (at, last) = (position.0, tree.last.0);
    let text = format!("log_seq {at}: the log is sealed up to {last}, and this was not sealed");
    SealWord::EventInserted.because(text).into()
}

pub(super) fn damaged(chunk: u64) -> StoreError {
    SealWord::TreeDamaged.because(format!("chunk {chunk} does not give the root of the checkpoint")).into()
}
