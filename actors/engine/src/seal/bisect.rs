//! The first difference of two copies of a sealed log.
//!
//! ```text
//!   256 subtrees of the highest level ── first that differs ──▶ its 256 subtrees ── … ──▶ 256 leaves ──▶ both events
//! ```
//!
//! *Guarantees.* One pair of tiles per level is read: four for 2³² leaves. Nothing below equal subtrees is read.
//! [`by_log`] compares events, whatever their salts; it reads all of them.
//!
//! *Never here:* a judgment about which of the two is right. A signed checkpoint says that.

use super::evidence::event_at;
use super::finding::{SealFinding, SealWord};
use super::reader::{Tile, TreeReader};
use crate::budget::READ_EVENT_BYTES_MAX;
use decisiongraph_projections::seal::chunk::CHUNK_EVENTS;
use decisiongraph_projections::seal::leaf::Entry;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_store::{LoggedEvent, PageLimit, ReadView, Result, SealTree, StoreError};
use futures_util::future::try_join;

/// Levels of the tree between two levels of tiles.
const LEVELS: u32 = CHUNK_EVENTS.ilog2();
/// Bounds of a page when events are compared.
const PAGE: PageLimit = PageLimit { event_bytes_max: READ_EVENT_BYTES_MAX, ..PageLimit::of(1_000, 1024 * 1024) };

/// A copy of a sealed log: a database, a node, a folder of tiles.
pub trait LogCopy {
    /// Returns size and root.
    fn head(&self) -> TreeHead;

    /// Reads a tile of a tree of at least `size` leaves, as far as a tree of that size has it.
    fn tile(&self, level: u32, number: u64, size: u64) -> impl Future<Output = Result<Tile>> + Send;

    /// Reads what the copy knows about a leaf.
    fn leaf(&self, index: u64) -> impl Future<Output = Result<Seen>> + Send;
}

/// A leaf as a copy has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Position of its event.
    pub log_seq: Option<LogSeq>,
    /// The two commitments of the leaf.
    pub entry: Option<Entry>,
    /// The event that the log has there now.
    pub event: Option<LoggedEvent>,
}

/// The newest tree of a tenant in a database.
pub struct StoredCopy<'v> {
    view: &'v dyn ReadView,
    tree: SealTree,
}

impl<'v> StoredCopy<'v> {
    /// Reads the head. `not_found` when nothing is sealed.
    pub async fn open(view: &'v dyn ReadView, tenant: &TenantId) -> Result<StoredCopy<'v>> {
        let tree = view.seal_trees(tenant).await?.pop();
        let nothing = || StoreError::new(Category::NotFound, format!("nothing of tenant {tenant} is sealed there"));
        Ok(StoredCopy { view, tree: tree.ok_or_else(nothing)? })
    }

    /// Returns the tree.
    pub fn tree(&self) -> &SealTree {
        &self.tree
    }

    fn reader(&self) -> TreeReader<'v> {
        TreeReader::new(self.view, &self.tree.tenant, self.tree.tree, self.tree.head.size)
    }
}

impl LogCopy for StoredCopy<'_> {
    fn head(&self) -> TreeHead {
        self.tree.head
    }

    async fn tile(&self, level: u32, number: u64, size: u64) -> Result<Tile> {
        let reader = TreeReader::new(self.view, &self.tree.tenant, self.tree.tree, size);
        reader.tile(level, number).await
    }

    async fn leaf(&self, index: u64) -> Result<Seen> {
        let leaf = self.reader().leaf(index).await?;
        let event = event_at(self.view, &self.tree.tenant, leaf.log_seq, READ_EVENT_BYTES_MAX).await?;
        Ok(Seen { log_seq: Some(leaf.log_seq), entry: Some(leaf.entry), event })
    }
}

/// Result of a comparison of two copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bisected {
    /// Heads of both.
    pub heads: [TreeHead; 2],
    /// Number of leaves that were compared: the size of the smaller one.
    pub common: u64,
    /// Pairs of tiles that were read.
    pub pairs: u32,
    /// The first leaf that differs; none when one copy begins with the other.
    pub first: Option<Difference>,
}

/// The first leaf that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Index of the leaf.
    pub index: u64,
    /// The leaf in both.
    pub seen: [Seen; 2],
}

impl Difference {
    /// True when the events are the same, and only their salts differ: the copies were sealed apart.
    pub fn is_of_salts(&self) -> bool {
        match &self.seen {
            [Seen { event: Some(one), .. }, Seen { event: Some(other), .. }] => {
                one.log_seq == other.log_seq && columns(one, other).is_empty()
            }
            _ => false,
        }
    }
}

/// Finds the first leaf that differs.
pub async fn bisect(one: &impl LogCopy, other: &impl LogCopy) -> Result<Bisected> {
    let heads = [one.head(), other.head()];
    let common = heads[0].size.min(heads[1].size);
    let mut bisected = Bisected { heads, common, pairs: 0, first: None };
    if heads[0] == heads[1] || common == 0 {
        return Ok(bisected);
    }
    let full = |level: u32| common.checked_shr(level * LEVELS).unwrap_or(0);
    let (mut level, mut number, mut inside) = (top(common), 0, false);
    loop {
        let count = full(level).saturating_sub(number * CHUNK_EVENTS).min(CHUNK_EVENTS);
        let differs = match count {
            0 => None,
            count => {
                bisected.pairs += 1;
                let tiles = try_join(one.tile(level, number, common), other.tile(level, number, common)).await?;
                first_difference(&tiles.0, &tiles.1, count).map_err(|at| missing(level, number, at))?
            }
        };
        match (differs, level) {
            (Some(at), 0) => {
                let index = number * CHUNK_EVENTS + at;
                let (one, other) = try_join(one.leaf(index), other.leaf(index)).await?;
                bisected.first = Some(Difference { index, seen: [one, other] });
                return Ok(bisected);
            }
            (Some(at), _) => (level, number, inside) = (level - 1, number * CHUNK_EVENTS + at, true),
            (None, _) if inside => return Err(contradicts(level + 1, number).into()),
            (None, 0) => return Ok(bisected),
            // What the full subtrees of this level leave over.
            (None, _) => (level, number) = (level - 1, full(level)),
        }
    }
}

/// Returns the highest level of which a tree has more than one subtree, full or begun.
fn top(size: u64) -> u32 {
    (size.saturating_sub(1).max(1)).ilog2() / LEVELS
}

/// Returns the number of the first hash that differs among the first `count`; the number of one that is missing, as an
/// error.
fn first_difference(one: &Tile, other: &Tile, count: u64) -> std::result::Result<Option<u64>, u64> {
    for at in 0..count {
        match (one.get(at as usize), other.get(at as usize)) {
            (Some(one), Some(other)) if one == other => {}
            (Some(_), Some(_)) => return Ok(Some(at)),
            _ => return Err(at),
        }
    }
    Ok(None)
}

fn missing(level: u32, number: u64, at: u64) -> StoreError {
    let index = number * CHUNK_EVENTS + at;
    SealWord::TreeDamaged.because(format!("one of the copies lacks node {index} of level {level}")).into()
}

fn contradicts(level: u32, index: u64) -> SealFinding {
    let text = "differs, and nothing below it does; `verify --log-only` on each copy tells which one is damaged";
    SealWord::TreeDamaged.because(format!("node {index} of level {level} {text}"))
}

/// Result of a comparison of two logs, event by event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByLog {
    /// Events that are the same.
    pub same: u64,
    /// The first event that differs, or that one log has not.
    pub first: Option<ByLogDifference>,
}

/// The first event that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByLogDifference {
    /// Number of the event in its log, from 0.
    pub index: u64,
    /// The event in both.
    pub events: [Option<LoggedEvent>; 2],
    /// Columns that differ; none when one log ends before the event.
    pub columns: Vec<&'static str>,
}

/// Compares the events of two logs in their order. Positions and times of receipt are not compared: an import gives new
/// ones.
pub async fn by_log(one: &dyn ReadView, other: &dyn ReadView, tenant: &TenantId) -> Result<ByLog> {
    let (mut left, mut right) = (Events::of(one, tenant), Events::of(other, tenant));
    let mut same = 0;
    loop {
        let (one, other) = try_join(left.next(), right.next()).await?;
        let columns = match (&one, &other) {
            (None, None) => return Ok(ByLog { same, first: None }),
            (Some(one), Some(other)) => columns(one, other),
            _ => Vec::new(),
        };
        if one.is_none() || other.is_none() || !columns.is_empty() {
            let first = ByLogDifference { index: same, events: [one, other], columns };
            return Ok(ByLog { same, first: Some(first) });
        }
        same += 1;
    }
}

/// Lists the columns that differ, but for position and time of receipt.
pub fn columns(one: &LoggedEvent, other: &LoggedEvent) -> Vec<&'static str> {
    let compared = [
        ("tenant_id", one.tenant_id == other.tenant_id),
        ("event_id", one.event_id == other.event_id),
        ("trace_id", one.trace_id == other.trace_id),
        ("trace_seq", one.trace_seq == other.trace_seq),
        ("event_type", one.event_type == other.event_type),
        ("occurred_at", one.occurred_at == other.occurred_at),
        ("producer_id", one.producer_id == other.producer_id),
        ("source_system", one.source_system == other.source_system),
        ("source_subsystem", one.source_subsystem == other.source_subsystem),
        ("actor_type", one.actor_type == other.actor_type),
        ("actor_id", one.actor_id == other.actor_id),
        ("idempotency_key", one.idempotency_key == other.idempotency_key),
        ("correlation_id", one.correlation_id == other.correlation_id),
        ("causation_event_id", one.causation_event_id == other.causation_event_id),
        ("schema_version", one.schema_version == other.schema_version),
        ("tags", one.tags == other.tags),
        ("payload", one.payload == other.payload),
        ("payload_hash", one.payload_hash == other.payload_hash),
    ];
    compared.into_iter().filter(|(_, same)| !same).map(|(column, _)| column).collect()
}

/// Events of a log, one at a time.
struct Events<'v> {
    view: &'v dyn ReadView,
    tenant: &'v TenantId,
    after: LogSeq,
    page: std::vec::IntoIter<LoggedEvent>,
}

impl<'v> Events<'v> {
    fn of(view: &'v dyn ReadView, tenant: &'v TenantId) -> Events<'v> {
        Events { view, tenant, after: LogSeq::ORIGIN, page: Vec::new().into_iter() }
    }

    async fn next(&mut self) -> Result<Option<LoggedEvent>> {
        if self.page.len() == 0 {
            let page = self.view.logged_events(self.tenant, self.after, LogSeq(i64::MAX), PAGE).await?;
            self.page = page.into_iter();
        }
        let next = self.page.next();
        self.after = next.as_ref().map_or(self.after, |event| event.log_seq);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::seal::Hash;
    use decisiongraph_projections::seal::tree::root_of;
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    /// Roots of full subtrees whose leaves are all the same, by level.
    static SAME: LazyLock<[Hash; 5]> = LazyLock::new(|| {
        let mut same = [[0; 32]; 5];
        (1..5).for_each(|level| same[level] = root_of(&[same[level - 1]; 256]));
        same
    });

    /// A tree whose leaves are all the same, but for a few.
    struct Sparse {
        size: u64,
        others: BTreeMap<u64, Hash>,
    }

    impl Sparse {
        /// Root of the full subtree of this number on a level.
        fn node(&self, level: u32, index: u64) -> Hash {
            let begin = index << (level * LEVELS);
            let end = begin + (1 << (level * LEVELS));
            if self.others.range(begin..end).next().is_none() {
                return SAME[level as usize];
            }
            match level {
                0 => self.others[&index],
                _ => root_of(&(0..256).map(|at| self.node(level - 1, index * 256 + at)).collect::<Vec<_>>()),
            }
        }
    }

    impl LogCopy for Sparse {
        fn head(&self) -> TreeHead {
            // The root is not looked at when it differs.
            let differs = self.others.values().next().copied().unwrap_or_default();
            TreeHead { size: self.size, root: differs }
        }

        async fn tile(&self, level: u32, number: u64, size: u64) -> Result<Tile> {
            let end = (size >> (level * LEVELS)).min((number + 1) * 256);
            Ok((number * 256..end).map(|index| self.node(level, index)).collect())
        }

        async fn leaf(&self, index: u64) -> Result<Seen> {
            Ok(Seen { log_seq: Some(LogSeq(index as i64 + 1)), ..Seen::default() })
        }
    }

    #[tokio::test]
    async fn the_first_difference_is_found_in_four_pairs_per_2_to_the_32() {
        let places = |size: u64| [0, 1, 255, 256, 65_535, 65_536, size / 3, size / 2, size.saturating_sub(2), size - 1];
        for size in [1, 2, 255, 256, 257, 65_536, 65_537, 70_000, 1 << 24, (1 << 32) - 1, 1 << 32] {
            let one = Sparse { size, others: BTreeMap::new() };
            for index in places(size).into_iter().filter(|index| *index < size) {
                let later = (size - 1, [2; 32]);
                let other = Sparse { size, others: BTreeMap::from([later, (index, [1; 32])]) };
                let found = bisect(&one, &other).await.expect("compared");
                assert_eq!(found.first.map(|first| first.index), Some(index), "of {size}");
                assert!(found.pairs <= 4, "{} pairs for {index} of {size}", found.pairs);
            }
        }
    }

    #[tokio::test]
    async fn a_copy_that_begins_with_the_other_has_no_difference() {
        let (one, longer) = (Sparse { size: 300, others: BTreeMap::new() }, BTreeMap::from([(300, [1; 32])]));
        let found = bisect(&one, &Sparse { size: 70_000, others: longer }).await.expect("compared");
        assert_eq!((found.common, found.first), (300, None));
        let same = bisect(&one, &Sparse { size: 300, others: BTreeMap::new() }).await.expect("compared");
        assert_eq!((same.pairs, same.first), (0, None));
    }

    #[test]
    fn the_highest_level_has_more_than_one_subtree() {
        let tops = [1, 2, 256, 257, 65_536, 65_537, 1 << 24, (1 << 24) + 1, 1 << 32].map(top);
        assert_eq!(tops, [0, 0, 0, 1, 1, 2, 2, 3, 3]);
    }
}
