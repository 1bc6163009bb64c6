//! Packs: events of a log with one proof and the signed checkpoint, in pages.
//!
//! ```text
//!   page 1: head, events       page 2: events       …       last page: events, proof, checkpoint, statements
//! ```
//!
//! *Guarantees.* Every event is compared with its leaf, and the proof with the root of the checkpoint, before it is
//! handed out. The pages are one file, with the checkpoint that the first page chose, whatever is appended meanwhile.
//!
//! *Never here:* signatures of the checkpoint. Its reader checks them.

use super::event_check::{Erasures, judge};
use super::evidence::{
    NOTES_PAGE, Signed, Wanted, checkpoint_for, covering, damaged, inserted, leaf_at, missing, no_event, not_sealed,
    not_signed, shown, tree_of,
};
use super::known;
use super::reader::{TreeReader, leaves_of};
use crate::Engine;
use decisiongraph_projections::seal::chunk::{CHUNK_EVENTS, Leaf};
use decisiongraph_projections::seal::tree::Leaves;
use decisiongraph_projections::seal::{Hash, multiproof};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_seal::pack::{Head, Kind, Shown, Writer};
use decisiongraph_store::{LoggedEvent, NoteKind, PageLimit, ReadView, Result, SealNote, SealTree, StoreError};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Most events that a pack of a trace, or of named events, has.
pub const SCATTERED_MAX: usize = 10_000;
/// Most events that a pack of a range has.
pub const RANGE_MAX: u64 = 1_000_000;
/// Most hashes of a pack's proof: its line stays below the longest line of a pack.
const HASHES_MAX: usize = 500_000;
/// Bytes of events per page of a pack.
const PAGE_BYTES: usize = 1024 * 1024;

/// Selection of the events of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackOf {
    /// The events of a trace.
    Trace(String),
    /// The events at these positions and between them.
    Range(LogSeq, LogSeq),
    /// Events by their ids.
    Events(Vec<String>),
}

/// A pack that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRequest {
    /// Events of the pack.
    pub of: PackOf,
    /// Members of payloads that are not shown.
    pub redact: Vec<String>,
    /// True when no payload is shown.
    pub without_payloads: bool,
    /// True for the rotations of the key up to the checkpoint: a reader who knows only an older key needs them.
    pub rotations: bool,
    /// Place at which the pack goes on; none at its begin.
    pub after: Option<PackPlace>,
    /// Most events per page.
    pub events_max: usize,
}

/// Place in a pack between two pages: `TREE.SIZE.INDEX`, where INDEX is that of the next leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackPlace {
    tree: i64,
    size: u64,
    next: u64,
}

impl std::fmt::Display for PackPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.tree, self.size, self.next)
    }
}

impl FromStr for PackPlace {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<PackPlace> {
        let wrong =
            || StoreError::new(Category::InvalidArgument, "not a place in a pack: it has the form TREE.SIZE.INDEX");
        let mut parts = text.split('.');
        let (Some(tree), Some(size), Some(next), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        match (tree.parse(), size.parse(), next.parse()) {
            (Ok(tree), Ok(size), Ok(next)) => Ok(PackPlace { tree, size, next }),
            _ => Err(wrong()),
        }
    }
}

/// A page of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackPage {
    /// Whole lines, each with its line feed.
    pub text: String,
    /// Number of events in them.
    pub events: u64,
    /// Place at which the pack goes on; none at its end.
    pub next: Option<PackPlace>,
}

/// Makes a page of a pack. The first page chooses the newest checkpoint; all others go on with it.
pub async fn pack(engine: &Engine, view: &dyn ReadView, tenant: &TenantId, request: &PackRequest) -> Result<PackPage> {
    let tree = tree_of(view, tenant, request.after.map(|place| place.tree)).await?;
    let signed = match request.after {
        Some(place) => checkpoint_for(view, &tree, place.size).await?,
        None => {
            let newest = covering(view, &tree, 1).await?;
            newest.ok_or_else(|| not_sealed("no checkpoint is signed yet"))?
        }
    };
    let event_bytes_max = engine.budget().read_event_bytes_max();
    let pack = Pack { event_bytes_max, view, tree: &tree, signed: &signed, tenant, request };
    let indices = pack.indices().await?;
    let erasures = known::erasures(view, &tree, engine.sealing()).await?;
    let mut writer = match request.after {
        None => Writer::begin(Vec::new(), &pack.head()).map_err(broken)?,
        Some(_) => Writer::go_on(Vec::new()),
    };
    let redact: Vec<&str> = request.redact.iter().map(String::as_str).collect();
    let part = match (request.without_payloads, redact.as_slice()) {
        (true, _) => Shown::Nothing,
        (false, []) => Shown::Whole,
        (false, names) => Shown::Without(names),
    };
    let (mut at, mut events, mut bytes, mut next) = (request.after.map_or(0, |place| place.next), 0, 0, None);
    let events_max = request.events_max.max(1) as u64;
    while let Some(run) = indices.run(at, events_max.saturating_sub(events).clamp(1, CHUNK_EVENTS)) {
        if events >= events_max || bytes >= PAGE_BYTES {
            next = Some(PackPlace { tree: tree.tree, size: signed.head.size, next: run.start });
            break;
        }
        for (event, leaf) in pack.run(run, &erasures).await? {
            writer.event(leaf.index, &leaf.entry, &shown(&event), &leaf.salts, part).map_err(broken)?;
            (at, events, bytes) = (leaf.index + 1, events + 1, bytes + event.bytes());
        }
    }
    if next.is_none() {
        pack.finish(&mut writer, &indices).await?;
    }
    let text = String::from_utf8(writer.into_inner()).map_err(|error| StoreError::internal(error.to_string()))?;
    Ok(PackPage { text, events, next })
}

/// A pack that is made.
struct Pack<'a> {
    /// Largest event that an answer has room for.
    event_bytes_max: usize,
    view: &'a dyn ReadView,
    tree: &'a SealTree,
    signed: &'a Signed,
    tenant: &'a TenantId,
    request: &'a PackRequest,
}

/// Leaves of a pack, ascending.
enum Indices {
    Between(u64, u64),
    Each(Vec<u64>),
}

impl Indices {
    /// Returns the first leaves at or behind an index that follow one another, at most `leaves_max` of them.
    fn run(&self, from: u64, leaves_max: u64) -> Option<Leaves> {
        match self {
            Indices::Between(first, end) => {
                let start = from.max(*first);
                (start < *end).then(|| start..start.saturating_add(leaves_max).min(*end))
            }
            Indices::Each(each) => {
                let rest = each.get(each.partition_point(|index| *index < from)..)?;
                let start = *rest.first()?;
                let follow = (start..start.saturating_add(leaves_max)).zip(rest).take_while(|(at, index)| at == *index);
                Some(start..start + follow.count() as u64)
            }
        }
    }

    fn all(&self) -> Vec<u64> {
        match self {
            Indices::Between(first, end) => (*first..*end).collect(),
            Indices::Each(each) => each.clone(),
        }
    }
}

impl Pack<'_> {
    fn head(&self) -> Head {
        let (origin, tenant) = (self.tree.origin.as_str(), self.tenant.as_str());
        match &self.request.of {
            PackOf::Trace(trace) => Head::new(Kind::Trace, origin, tenant, Some(trace)),
            PackOf::Range(..) => Head::new(Kind::Range, origin, tenant, None),
            PackOf::Events(_) => Head::new(Kind::Events, origin, tenant, None),
        }
    }

    fn page(&self, rows_max: usize) -> PageLimit {
        PageLimit { event_bytes_max: self.event_bytes_max, ..PageLimit::of(rows_max, PAGE_BYTES) }
    }

    /// Finds the leaves of the pack. There is at least one.
    async fn indices(&self) -> Result<Indices> {
        match &self.request.of {
            PackOf::Range(first, last) => self.between(*first, *last).await,
            PackOf::Trace(trace) => {
                let positions = self.positions_of_trace(trace).await?;
                if positions.is_empty() {
                    return Err(StoreError::new(Category::NotFound, format!("there is no trace {trace}")));
                }
                let each = self.each(positions, false).await?;
                match each.is_empty() {
                    true => Err(not_sealed(format!("trace {trace} is not sealed yet"))),
                    false => Ok(Indices::Each(each)),
                }
            }
            PackOf::Events(ids) => {
                let mut positions = BTreeSet::new();
                for id in ids.iter().take(SCATTERED_MAX + 1) {
                    let found = self.view.position_of(self.tenant, id).await?;
                    positions.insert(found.ok_or_else(|| no_event(Wanted::Id(id)))?);
                }
                self.bounded(positions.len())?;
                Ok(Indices::Each(self.each(positions, true).await?))
            }
        }
    }

    /// Finds the leaves of the sealed events between two positions.
    async fn between(&self, first: LogSeq, last: LogSeq) -> Result<Indices> {
        let size = self.signed.head.size;
        let reader = TreeReader::new(self.view, self.tenant, self.tree.tree, size);
        let end_of_checkpoint = reader.leaf(size.saturating_sub(1)).await?.log_seq;
        let last_of_log = self.view.last_log_seq(self.tenant, Some(last)).await?;
        if last_of_log > end_of_checkpoint {
            let upto = end_of_checkpoint.0;
            let text = format!("log_seq {}: the newest checkpoint covers the events up to {upto}", last_of_log.0);
            return Err(not_sealed(text));
        }
        let begin = self.leaf_behind(LogSeq(first.0.saturating_sub(1))).await?;
        let end = self.leaf_behind(last).await?.min(size);
        if end.saturating_sub(begin) > RANGE_MAX {
            let text = format!("more than {RANGE_MAX} events: take several packs");
            return Err(StoreError::new(Category::InvalidArgument, text));
        }
        match begin < end {
            true => Ok(Indices::Between(begin, end)),
            false => {
                let text = format!("no event is sealed between log_seq {} and {}", first.0, last.0);
                Err(StoreError::new(Category::NotFound, text))
            }
        }
    }

    /// Returns the index of the first leaf behind a position.
    async fn leaf_behind(&self, position: LogSeq) -> Result<u64> {
        let Some(chunk) = self.view.seal_chunk_at(self.tenant, self.tree.tree, position).await? else { return Ok(0) };
        let leaves = leaves_of(&chunk)?;
        Ok(leaves.iter().find(|leaf| leaf.log_seq > position).map_or(chunk.end(), |leaf| leaf.index))
    }

    async fn positions_of_trace(&self, trace: &str) -> Result<BTreeSet<LogSeq>> {
        let (mut positions, mut after) = (BTreeSet::new(), LogSeq::ORIGIN);
        loop {
            let page = self.view.trace_events(self.tenant, trace, after, self.page(1_000)).await?;
            let Some(last) = page.items.last() else { return Ok(positions) };
            after = last.log_seq;
            positions.extend(page.items.iter().map(|event| event.log_seq));
            self.bounded(positions.len())?;
        }
    }

    fn bounded(&self, events: usize) -> Result<()> {
        match events > SCATTERED_MAX {
            true => {
                let text = format!("more than {SCATTERED_MAX} events: a pack of a range has no such bound");
                Err(StoreError::new(Category::InvalidArgument, text))
            }
            false => Ok(()),
        }
    }

    /// Finds the leaves at these positions. Events behind the checkpoint are refused, or else left out.
    async fn each(&self, positions: BTreeSet<LogSeq>, all: bool) -> Result<Vec<u64>> {
        let mut each = Vec::with_capacity(positions.len());
        for position in positions {
            match leaf_at(self.view, self.tree, position).await? {
                Some(leaf) if leaf.index < self.signed.head.size => each.push(leaf.index),
                None if position <= self.tree.last => return Err(inserted(self.tree, position)),
                _ if all => return Err(not_signed(position)),
                _ => {}
            }
        }
        Ok(each)
    }

    /// Reads events and their leaves, and compares them. The first of them is there; others may be left for the next
    /// read.
    async fn run(&self, indices: Leaves, erasures: &Erasures) -> Result<Vec<(LoggedEvent, Leaf)>> {
        let reader = TreeReader::new(self.view, self.tenant, self.tree.tree, self.signed.head.size);
        let leaves = reader.leaves(indices).await?;
        let (Some(first), Some(last)) = (leaves.first(), leaves.last()) else { return Ok(Vec::new()) };
        let (after, limit) = (LogSeq(first.log_seq.0.saturating_sub(1)), self.page(leaves.len()));
        let events = self.view.logged_events(self.tenant, after, last.log_seq, limit).await?;
        let (mut events, mut run) = (events.into_iter(), Vec::with_capacity(leaves.len()));
        for leaf in leaves {
            match events.next() {
                Some(event) if event.log_seq < leaf.log_seq => return Err(inserted(self.tree, event.log_seq)),
                Some(event) if event.log_seq == leaf.log_seq => {
                    self.compare(&event, &leaf, erasures)?;
                    run.push((event, leaf));
                }
                // The page was full.
                None if !run.is_empty() => break,
                _ => return Err(missing(&leaf)),
            }
        }
        Ok(run)
    }

    fn compare(&self, event: &LoggedEvent, leaf: &Leaf, erasures: &Erasures) -> Result<()> {
        let judged = judge(event, leaf, erasures);
        match judged.findings.into_iter().next() {
            Some(finding) => Err(finding.into()),
            None if judged.erased && !self.request.without_payloads => {
                let at = leaf.log_seq.0;
                let text = format!("the payload of log_seq {at} was erased: take the pack without payloads");
                Err(StoreError::new(Category::InvalidArgument, text))
            }
            None => Ok(()),
        }
    }

    /// Writes the proof and the notes.
    async fn finish(&self, writer: &mut Writer<Vec<u8>>, indices: &Indices) -> Result<()> {
        let (size, all) = (self.signed.head.size, indices.all());
        let parts = multiproof::subtrees(size, &all).map_err(|error| StoreError::internal(error.to_string()))?;
        if parts.len() > HASHES_MAX {
            let text = "the events lie too far apart for one pack; take packs of ranges or of fewer events";
            return Err(StoreError::new(Category::InvalidArgument, text));
        }
        let reader = TreeReader::new(self.view, self.tenant, self.tree.tree, size);
        let hashes = reader.multiproof(size, &all).await?;
        self.proves(&reader, &all, &hashes).await?;
        writer.proof(size, &hashes).map_err(broken)?;
        writer.checkpoint(&self.signed.note).map_err(broken)?;
        for statement in self.notes(NoteKind::Statement).await? {
            if statement.size == size {
                writer.statement(&statement.note).map_err(broken)?;
            }
        }
        if self.request.rotations {
            for rotation in self.notes(NoteKind::Rotation).await?.iter().rev().filter(|note| note.size <= size) {
                writer.rotation(&rotation.note).map_err(broken)?;
            }
        }
        Ok(())
    }

    /// Checks the proof as its reader will.
    async fn proves(&self, reader: &TreeReader<'_>, indices: &[u64], hashes: &[Hash]) -> Result<()> {
        let mut leaves = Vec::with_capacity(indices.len());
        for index in indices {
            let tile = reader.tile(0, index / CHUNK_EVENTS).await?;
            let hash = tile.get((index % CHUNK_EVENTS) as usize).copied();
            leaves.push((*index, hash.ok_or_else(|| damaged(index / CHUNK_EVENTS))?));
        }
        match multiproof::root(self.signed.head.size, &leaves, hashes) == Ok(self.signed.head.root) {
            true => Ok(()),
            false => Err(damaged(indices.first().copied().unwrap_or(0) / CHUNK_EVENTS)),
        }
    }

    /// Lists the newest notes of a kind, the newest first.
    async fn notes(&self, kind: NoteKind) -> Result<Vec<SealNote>> {
        self.view.seal_notes(self.tenant, self.tree.tree, Some(kind), None, NOTES_PAGE).await
    }
}

fn broken(error: std::io::Error) -> StoreError {
    StoreError::internal(format!("a pack was not written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_that_follow_one_another_are_read_together() {
        let runs = |indices: Indices, from, max| {
            let (mut at, mut runs) = (from, Vec::new());
            while let Some(run) = indices.run(at, max) {
                at = run.end;
                runs.push((run.start, run.end));
            }
            runs
        };
        assert_eq!(runs(Indices::Between(3, 9), 0, 4), [(3, 7), (7, 9)]);
        assert_eq!(runs(Indices::Between(3, 9), 8, 4), [(8, 9)]);
        assert_eq!(runs(Indices::Each(vec![1, 2, 3, 7, 9, 10]), 2, 256), [(2, 4), (7, 8), (9, 11)]);
        assert_eq!(runs(Indices::Each(vec![1, 2, 3]), 0, 1), [(1, 2), (2, 3), (3, 4)]);
        assert_eq!(runs(Indices::Each(vec![1]), 2, 256), []);
    }

    #[test]
    fn a_place_in_a_pack_is_read_as_it_was_written() {
        let place = PackPlace { tree: 1, size: 98, next: 60 };
        assert_eq!(place.to_string().parse::<PackPlace>(), Ok(place));
        for wrong in ["", "1.98", "1.98.60.1", "1.x.60", "1.98.-1"] {
            assert!(wrong.parse::<PackPlace>().is_err(), "{wrong}");
        }
    }
}
