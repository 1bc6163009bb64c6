//! Leaves in groups, as a store keeps them, and the growth of a tree by a page of events.
//!
//! A chunk has the leaves of consecutive events. It never crosses a multiple of [`CHUNK_EVENTS`], and it is never
//! written again: a busy tenant has one per 256 events, a quiet tenant one per batch. Each full subtree of 256 leaves,
//! of 256 × 256 and so on is a [`Node`], so a proof reads few of them.
//!
//! *Guarantees.* [`grow`] does not read the past: the frontier is all that it needs. The same events with the same
//! salts give the same tree, whatever the pages.

use super::Hash;
use super::leaf::{Entry, Salts};
use super::tree::Frontier;
use crate::event::LogSeq;

/// Leaves of a full chunk, and children of a node.
pub const CHUNK_EVENTS: u64 = 256;
/// Levels of the tree between two stored levels.
const LEVELS: u32 = CHUNK_EVENTS.ilog2();
const POSITION_BYTES: usize = 8;
const ENTRY_BYTES: usize = 64;
const SALT_BYTES: usize = 32;

/// Consecutive leaves of a tree, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Index of the first leaf.
    pub first_index: u64,
    /// Number of leaves, 1 to [`CHUNK_EVENTS`].
    pub events: u64,
    /// Position of the first event in the log.
    pub first: LogSeq,
    /// Position of the last event in the log.
    pub last: LogSeq,
    /// Position of each event, 8 bytes, big-endian.
    pub positions: Vec<u8>,
    /// Entry of each event, 64 bytes.
    pub entries: Vec<u8>,
    /// Salts of each event, 32 bytes. Zeros where an erasure or a fault removed one.
    pub salts: Vec<u8>,
}

/// A leaf of a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Index of the leaf in the tree.
    pub index: u64,
    /// Position of its event in the log.
    pub log_seq: LogSeq,
    /// The two commitments.
    pub entry: Entry,
    /// The salts that open them.
    pub salts: Salts,
}

impl Chunk {
    fn begin(first_index: u64, at: LogSeq) -> Chunk {
        Chunk {
            first_index,
            events: 0,
            first: at,
            last: at,
            positions: Vec::new(),
            entries: Vec::new(),
            salts: Vec::new(),
        }
    }

    fn add(&mut self, at: LogSeq, entry: &Entry, salts: &Salts) {
        self.events += 1;
        self.last = at;
        self.positions.extend_from_slice(&at.0.to_be_bytes());
        self.entries.extend_from_slice(&entry.0);
        self.salts.extend_from_slice(&salts.bytes());
    }

    /// Returns the index behind the last leaf.
    pub fn end(&self) -> u64 {
        self.first_index.saturating_add(self.events)
    }

    /// Returns the leaves. `None` when the columns do not agree about their number or about the chunk's ends.
    pub fn leaves(&self) -> Option<Vec<Leaf>> {
        let (positions, rest) = self.positions.as_chunks::<POSITION_BYTES>();
        let (entries, rest_of_entries) = self.entries.as_chunks::<ENTRY_BYTES>();
        let (salts, rest_of_salts) = self.salts.as_chunks::<SALT_BYTES>();
        let whole = rest.is_empty() && rest_of_entries.is_empty() && rest_of_salts.is_empty();
        let same = [positions.len(), entries.len(), salts.len()].iter().all(|count| *count as u64 == self.events);
        if !whole || !same || self.events == 0 || self.first_index % CHUNK_EVENTS + self.events > CHUNK_EVENTS {
            return None;
        }
        let columns = (self.first_index..).zip(positions).zip(entries).zip(salts);
        let leaves: Vec<Leaf> = columns
            .map(|(((index, at), entry), salts)| Leaf {
                index,
                log_seq: LogSeq(i64::from_be_bytes(*at)),
                entry: Entry(*entry),
                salts: Salts::of(salts),
            })
            .collect();
        let ends = (leaves.first().map(|leaf| leaf.log_seq), leaves.last().map(|leaf| leaf.log_seq));
        let ascend = leaves.windows(2).all(|pair| pair[0].log_seq < pair[1].log_seq);
        (ends == (Some(self.first), Some(self.last)) && ascend).then_some(leaves)
    }
}

/// Root of a full subtree of 256^`level` leaves, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Level, from 1: a node of level 1 has 256 leaves.
    pub level: u32,
    /// Number of the node in its level.
    pub index: u64,
    /// Root of the subtree.
    pub hash: Hash,
}

/// An event that becomes a leaf.
pub struct Unsealed {
    /// Position of the event in the log.
    pub log_seq: LogSeq,
    /// The two commitments.
    pub entry: Entry,
    /// Salts that open them, newly drawn.
    pub salts: Salts,
}

/// Growth of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// New chunks, in order.
    pub chunks: Vec<Chunk>,
    /// Subtrees that became full, in order of their completion.
    pub nodes: Vec<Node>,
    /// The tree behind them.
    pub frontier: Frontier,
}

/// Adds events to a tree, in the order of the log.
pub fn grow(mut frontier: Frontier, events: impl IntoIterator<Item = Unsealed>) -> Grown {
    let (mut chunks, mut nodes): (Vec<Chunk>, Vec<Node>) = (Vec::new(), Vec::new());
    for Unsealed { log_seq: at, entry, salts } in events {
        let index = frontier.size();
        if chunks.is_empty() || index.is_multiple_of(CHUNK_EVENTS) {
            chunks.push(Chunk::begin(index, at));
        }
        if let Some(chunk) = chunks.last_mut() {
            chunk.add(at, &entry, &salts);
        }
        add_leaf(&mut frontier, entry.leaf_hash(), &mut nodes);
    }
    Grown { chunks, nodes, frontier }
}

/// Adds a leaf, and lists the nodes that it completes.
pub fn add_leaf(frontier: &mut Frontier, leaf: Hash, nodes: &mut Vec<Node>) {
    frontier.append_noting(leaf, |height, index, hash| {
        if height > 0 && height.is_multiple_of(LEVELS) {
            nodes.push(Node { level: height / LEVELS, index, hash });
        }
    });
}
