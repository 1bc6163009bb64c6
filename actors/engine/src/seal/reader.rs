//! Roots and proofs of a tree, out of its stored nodes and chunks.
//!
//! A tile is 256 hashes of one level: leaves on level 0, subtrees of 256 leaves on level 1, and so on. A perfect
//! subtree lies in one tile. Any range of a proof is a few perfect subtrees. So a proof in a tree of 10⁹ reads four
//! tiles.
//!
//! *Guarantees.* A tile that is not as it should be is a finding (`tree_damaged`), never a panic. Memory is bounded by
//! [`TILES_MAX`] tiles.
//!
//! *Never here:* trust. Whoever hands a proof out compares its root with a checkpoint.

use super::finding::{SealFinding, SealWord};
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::chunk::{CHUNK_EVENTS, Chunk, Leaf};
use decisiongraph_projections::seal::multiproof;
use decisiongraph_projections::seal::tree::{self, Frontier, Leaves, ProofError};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_store::{ReadView, Result, StoreError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// Most tiles in memory: 512 KiB of hashes.
const TILES_MAX: usize = 64;
/// Chunks of the first read of a tile of leaves. A quiet tenant has more of them per tile than a busy one.
const CHUNKS_FIRST: usize = 2;
/// Growth of the next reads.
const CHUNKS_GROWTH: usize = 4;
/// Levels of the tree between two levels of tiles.
const LEVELS: u32 = CHUNK_EVENTS.ilog2();

/// A tile: up to 256 hashes of one level.
pub type Tile = Arc<[Hash]>;

type Tiles = VecDeque<((u32, u64), Tile)>;

/// Reads a tree as it was at a size.
pub struct TreeReader<'v> {
    view: &'v dyn ReadView,
    tenant: TenantId,
    tree: i64,
    size: u64,
    tiles: Mutex<Tiles>,
}

impl<'v> TreeReader<'v> {
    /// Creates a reader of the first `size` leaves of this tree. They must be committed.
    pub fn new(view: &'v dyn ReadView, tenant: &TenantId, tree: i64, size: u64) -> TreeReader<'v> {
        TreeReader { view, tenant: tenant.clone(), tree, size, tiles: Mutex::default() }
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root that the tree had at this size.
    pub async fn root_at(&self, size: u64) -> Result<Hash> {
        Ok(self.frontier_at(size).await?.root())
    }

    /// Returns the memory of an append that the tree had at this size.
    pub async fn frontier_at(&self, size: u64) -> Result<Frontier> {
        self.frontier_of(0..size).await
    }

    /// Returns the root over these leaves: a range of [`tree::inclusion`], [`tree::consistency`] or
    /// [`multiproof::subtrees`].
    pub async fn root_of(&self, leaves: Leaves) -> Result<Hash> {
        Ok(self.frontier_of(leaves).await?.root())
    }

    /// Returns the roots of the perfect subtrees of a range, largest first.
    async fn frontier_of(&self, leaves: Leaves) -> Result<Frontier> {
        if leaves.end > self.size || leaves.start > leaves.end {
            return Err(outside(leaves.end, self.size));
        }
        let (size, mut hashes, mut start) = (leaves.end - leaves.start, Vec::new(), leaves.start);
        for height in (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1) {
            hashes.push(self.perfect(start, height).await?);
            start += 1 << height;
        }
        Frontier::restore(size, hashes).ok_or_else(|| StoreError::internal("a frontier has not the hashes of its size"))
    }

    /// Returns the root of the 2^`height` leaves from `start` on.
    async fn perfect(&self, start: u64, height: u32) -> Result<Hash> {
        let (level, within) = (height / LEVELS, height % LEVELS);
        let first = start >> (level * LEVELS);
        let tile = self.tile(level, first / CHUNK_EVENTS).await?;
        let from = (first % CHUNK_EVENTS) as usize;
        let part = tile.get(from..from + (1 << within));
        Ok(tree::root_of(part.ok_or_else(|| outside(start.saturating_add(1 << height), self.size))?))
    }

    /// Returns the roots that prove that the leaf is in the tree of this size, from the leaf up.
    pub async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>> {
        self.roots(tree::inclusion(index, size)).await
    }

    /// Returns the roots that prove that the tree of size `new` begins with that of size `old`.
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>> {
        self.roots(tree::consistency(old, new)).await
    }

    /// Returns the roots that prove that these leaves are in the tree of this size. The indices ascend.
    pub async fn multiproof(&self, size: u64, indices: &[u64]) -> Result<Vec<Hash>> {
        self.roots(multiproof::subtrees(size, indices)).await
    }

    async fn roots(&self, parts: std::result::Result<Vec<Leaves>, ProofError>) -> Result<Vec<Hash>> {
        let parts = parts.map_err(|error| StoreError::new(Category::InvalidArgument, error.to_string()))?;
        let mut roots = Vec::with_capacity(parts.len());
        for part in parts {
            roots.push(self.root_of(part).await?);
        }
        Ok(roots)
    }

    /// Returns a tile, as far as the tree has it: all hashes of the level whose subtrees are full.
    pub async fn tile(&self, level: u32, number: u64) -> Result<Tile> {
        if let Some(tile) = self.kept(level, number) {
            return Ok(tile);
        }
        let hashes: Vec<Hash> = match (level, self.places(level, number)) {
            (_, places) if places.is_empty() => Vec::new(),
            (0, _) => self.leaf_tile(number).await?.iter().map(|leaf| leaf.entry.leaf_hash()).collect(),
            (_, places) => self.nodes(level, places).await?,
        };
        let tile: Tile = hashes.into();
        self.keep(level, number, &tile);
        Ok(tile)
    }

    /// Returns the leaves of a tile of level 0, as far as the tree has them.
    pub async fn leaf_tile(&self, number: u64) -> Result<Vec<Leaf>> {
        self.leaves(self.places(0, number)).await
    }

    /// Returns the indices that a tile has in its level.
    fn places(&self, level: u32, number: u64) -> Leaves {
        let full = self.size.checked_shr(level.saturating_mul(LEVELS)).unwrap_or(0);
        let first = number.saturating_mul(CHUNK_EVENTS);
        first..full.min(first.saturating_add(CHUNK_EVENTS))
    }

    fn tiles(&self) -> MutexGuard<'_, Tiles> {
        self.tiles.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn kept(&self, level: u32, number: u64) -> Option<Tile> {
        let tiles = self.tiles();
        tiles.iter().find(|(place, _)| *place == (level, number)).map(|(_, tile)| Arc::clone(tile))
    }

    fn keep(&self, level: u32, number: u64, tile: &Tile) {
        let mut tiles = self.tiles();
        tiles.push_front(((level, number), Arc::clone(tile)));
        tiles.truncate(TILES_MAX);
    }

    async fn nodes(&self, level: u32, indices: Leaves) -> Result<Vec<Hash>> {
        let nodes = self.view.seal_nodes(&self.tenant, self.tree, level, indices.clone()).await?;
        let is_whole = nodes.iter().map(|node| node.index).eq(indices.clone());
        if !is_whole {
            let stored: Vec<u64> = nodes.iter().map(|node| node.index).collect();
            let missing = (indices.start..indices.end).find(|index| !stored.contains(index)).unwrap_or_default();
            return Err(SealWord::TreeDamaged.because(format!("node {missing} of level {level} is missing")).into());
        }
        Ok(nodes.into_iter().map(|node| node.hash).collect())
    }

    /// Reads the leaves of a range that is at most as long as a tile.
    pub async fn leaves(&self, indices: Leaves) -> Result<Vec<Leaf>> {
        let (mut found, mut limit, mut next) = (Vec::new(), CHUNKS_FIRST, indices.start);
        while next < indices.end {
            let chunks = self.view.seal_chunks(&self.tenant, self.tree, next, limit).await?;
            let before = next;
            for chunk in &chunks {
                for leaf in leaves_of(chunk)? {
                    if leaf.index < next || leaf.index >= indices.end {
                        continue;
                    }
                    if leaf.index > next {
                        return Err(missing_leaf(next).into());
                    }
                    next += 1;
                    found.push(leaf);
                }
            }
            if next == before {
                return Err(missing_leaf(next).into());
            }
            limit = limit.saturating_mul(CHUNKS_GROWTH);
        }
        Ok(found)
    }

    /// Reads one leaf.
    pub async fn leaf(&self, index: u64) -> Result<Leaf> {
        if index >= self.size {
            return Err(outside(index.saturating_add(1), self.size));
        }
        let leaf = self.leaves(index..index + 1).await?.pop();
        leaf.ok_or_else(|| missing_leaf(index).into())
    }
}

/// Reads the leaves of a chunk.
pub(super) fn leaves_of(chunk: &Chunk) -> std::result::Result<Vec<Leaf>, SealFinding> {
    let damaged = || SealWord::TreeDamaged.because(format!("the chunk from leaf {} on is not one", chunk.first_index));
    chunk.leaves().ok_or_else(damaged)
}

/// Reports a leaf that no chunk has.
pub(super) fn missing_leaf(index: u64) -> SealFinding {
    SealWord::SaltsMissing.because(format!("leaf {index}: no chunk has it; its event can no longer be checked"))
}

fn outside(end: u64, size: u64) -> StoreError {
    StoreError::new(Category::InvalidArgument, format!("the tree has {size} events, not {end}"))
}
