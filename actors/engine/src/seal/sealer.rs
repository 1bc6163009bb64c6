//! The sealer: the scope `seal` of one tenant on its way through the log. Each event becomes a leaf.
//!
//! ```text
//!   begin: claim ──▶ newest tree ──▶ whole? at the cursor? ──▶ memory_check ──▶ took
//!   seal:  page of whole rows ──▶ salts, entries, frontier ──▶ commit (tree, cursor, fence) ──▶ grew
//! ```
//!
//! *Guarantees.* The tree moves only after the commit returned. Salts of a batch that was not committed are dropped
//! with it. A sealer whose batch was not committed ends: its holder claims the scope again and begins anew.
//!
//! *Never here:* a judgment of an event. Poison, wrong hashes and unreadable payloads are sealed as they lie.

use super::finding::{SealFinding, SealWord};
use super::{Sealing, memory_check};
use crate::page::pure;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::seal::chunk::{Grown, Unsealed, grow};
use decisiongraph_projections::seal::leaf::{Entry, Salts};
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::seal::tree::{Frontier, empty_root};
use decisiongraph_projections::{Category, Changes, LogSeq, TenantId};
use decisiongraph_store::{
    BatchCommit, FIRST_TREE, Lease, PageLimit, Position, ReadView, Result, Scope, SealBatch, SealPage, SealTree, Store,
    StoreError, TreeState,
};
use std::sync::Arc;

/// The tree as its sealer keeps it in memory.
#[derive(Debug, Clone)]
pub struct SealTreeState {
    /// Number of the tree.
    pub tree: i64,
    /// Name of the log.
    pub origin: String,
    /// Memory of an append: size and root follow from it.
    pub frontier: Frontier,
    /// Position of the last sealed event.
    pub last: LogSeq,
}

impl SealTreeState {
    /// Returns size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.frontier.size(), root: self.frontier.root() }
    }
}

/// One tenant's seal on its way through the log.
pub struct Sealer {
    /// Tenant and the scope `seal`.
    pub scope: Scope,
    /// Claim under which it commits.
    pub lease: Lease,
    /// Durable position.
    pub position: Position,
    /// The tree behind the last batch.
    pub tree: SealTreeState,
    /// Events sealed.
    pub events: u64,
    /// Batches committed.
    pub batches: u64,
}

/// Work of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Events sealed; 0 when there was none.
    pub events: u64,
    /// Bytes of their texts.
    pub bytes: u64,
}

impl Sealer {
    /// Begins with the newest tree of the tenant, after it was checked. A finding is an error of category `conflict`,
    /// and is noted: nothing of the tenant is sealed or signed until a later claim finds the tree well.
    pub async fn begin(store: &dyn Store, sealing: &Arc<Sealing>, lease: Lease, position: Position) -> Result<Sealer> {
        let view = store.view().await?;
        let tenant = &lease.scope.tenant;
        let stored = view.seal_trees(tenant).await?.pop().unwrap_or_else(|| unborn(sealing, tenant));
        let frontier = match whole(&stored) {
            Ok(frontier) => frontier,
            Err(finding) => return Err(stopped(sealing, tenant, finding)),
        };
        let cut = cut(&*view, &stored).await?;
        let found = match cut {
            Some(finding) => Some(finding),
            None => memory_check::check(&*view, sealing, &stored).await?,
        };
        if let Some(finding) = found.or_else(|| astray(&stored, position.cursor)) {
            return Err(stopped(sealing, tenant, finding));
        }
        sealing.took(&stored);
        let tree = SealTreeState { tree: stored.tree, origin: stored.origin, frontier, last: stored.last };
        Ok(Sealer { scope: lease.scope.clone(), lease, position, tree, events: 0, batches: 0 })
    }

    /// Reads the next events to seal. None at or below `upto`: an empty list.
    pub async fn page(&self, log: &dyn ReadView, upto: LogSeq, limit: PageLimit) -> Result<SealPage> {
        log.unsealed_events(&self.scope.tenant, self.position.cursor, upto, limit).await
    }

    /// Seals a page of [`Sealer::page`], durably.
    pub async fn seal(&mut self, store: &dyn Store, sealing: &Sealing, page: SealPage) -> Result<Step> {
        let Some(to) = page.last() else { return Ok(Step::default()) };
        let step = Step { events: page.len() as u64, bytes: page.bytes() as u64 };
        let (from, frontier) = (self.tree.head(), self.tree.frontier.clone());
        let grown = grown(frontier, page).await?;
        let SealTreeState { tree, origin, .. } = &self.tree;
        let batch = SealBatch { tree: *tree, origin: origin.clone(), from, grown, last: to };
        self.commit(store, sealing, &batch, to).await?;
        let head = batch.head();
        self.position.cursor = to;
        (self.tree.frontier, self.tree.last) = (batch.grown.frontier, to);
        (self.events, self.batches) = (self.events + step.events, self.batches + 1);
        sealing.grew(&self.scope.tenant, self.tree.tree, &self.tree.origin, head, to);
        Ok(step)
    }

    async fn commit(&self, store: &dyn Store, sealing: &Sealing, batch: &SealBatch, to: LogSeq) -> Result<()> {
        let (changes, digest) = (Changes::default(), RollingDigest::default());
        let commit = BatchCommit {
            projection: SEAL,
            from: self.position.cursor,
            to,
            changes: &changes,
            digest: &digest,
            checkpoint: false,
            skipped: &[],
            seal: Some(batch),
        };
        let committed = store.commit(&self.lease, &commit).await;
        if let Err(error) = &committed
            && error.category == Category::Conflict
            && let Some(word @ (SealWord::RootDiffers | SealWord::TreeDamaged)) = SealWord::of_message(&error.message)
        {
            // The fence held, so no other sealer made this tree.
            sealing.stop(&self.scope.tenant, SealFinding { word, message: error.message.clone() });
        }
        committed
    }
}

/// Checks a tree that no sealer holds, and notes it. A finding is noted, too.
pub async fn take_up(view: &dyn ReadView, sealing: &Arc<Sealing>, tree: &SealTree) -> Result<Option<SealFinding>> {
    let cut = match whole(tree) {
        Ok(_) => cut(view, tree).await?,
        Err(finding) => Some(finding),
    };
    let found = match cut {
        Some(finding) => Some(finding),
        None => memory_check::check(view, sealing, tree).await?,
    };
    match &found {
        Some(finding) => sealing.stop(&tree.tenant, finding.clone()),
        None => sealing.found(tree),
    }
    Ok(found)
}

/// Makes leaves of a page, with salts drawn for each.
async fn grown(frontier: Frontier, page: SealPage) -> Result<Grown> {
    let salts: Vec<Salts> = decisiongraph_seal::draw_salts(page.len())
        .map_err(|error| StoreError::internal(format!("no salts were drawn: {error}")))?;
    pure(move || {
        let leaves = page.events().zip(salts).map(|((log_seq, envelope, payload), salts)| Unsealed {
            log_seq,
            entry: Entry::of_encoded(envelope, payload, &salts),
            salts,
        });
        grow(frontier, leaves)
    })
    .await
}

/// Describes the tree of a tenant that has none: empty, and not stored.
pub fn unborn(sealing: &Sealing, tenant: &TenantId) -> SealTree {
    SealTree {
        tenant: tenant.clone(),
        tree: FIRST_TREE,
        origin: sealing.origin(tenant),
        head: TreeHead { size: 0, root: empty_root() },
        last: LogSeq::ORIGIN,
        frontier: Vec::new(),
        state: TreeState::Open,
        sealed_since: String::new(),
        noted: 0,
    }
}

/// Checks that a tree is whole.
pub(super) fn whole(tree: &SealTree) -> std::result::Result<Frontier, SealFinding> {
    if tree.state == TreeState::Closed {
        return Err(damaged(format!("tree {} is closed, and there is no tree behind it", tree.tree)));
    }
    let contradicts = || damaged(format!("the frontier of tree {} does not give the root of dg_seal", tree.tree));
    tree.memory().ok_or_else(contradicts)
}

/// Reports a tree whose leaves do not end where it says. Size and root alone do not tell: frontiers of two sizes may
/// have the same hashes.
async fn cut(view: &dyn ReadView, tree: &SealTree) -> Result<Option<SealFinding>> {
    if tree.head.size == 0 {
        return Ok(None);
    }
    let last = view.seal_chunk_at(&tree.tenant, tree.tree, tree.last).await?;
    let end = last.filter(|chunk| chunk.last == tree.last).map(|chunk| chunk.end());
    let size = tree.head.size;
    Ok((end != Some(size)).then(|| match end {
        Some(end) => damaged(format!("its leaves end at {end}, and dg_seal says {size}")),
        None => damaged(format!("no chunk ends with log_seq {}, the last of {size} leaves", tree.last)),
    }))
}

/// Reports a tree that does not end at the cursor of its scope.
fn astray(tree: &SealTree, cursor: LogSeq) -> Option<SealFinding> {
    let (last, cursor) = (tree.last.0, cursor.0);
    (last != cursor).then(|| damaged(format!("the last leaf is of log_seq {last}, and its scope is at {cursor}")))
}

fn damaged(message: String) -> SealFinding {
    SealWord::TreeDamaged.because(message)
}

/// Notes the finding, and makes the error of it.
fn stopped(sealing: &Sealing, tenant: &TenantId, finding: SealFinding) -> StoreError {
    let error = StoreError::from(finding.clone());
    sealing.stop(tenant, finding);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(size: usize, last: i64) -> SealTree {
        let mut frontier = Frontier::default();
        (0..size).for_each(|leaf| frontier.append([leaf as u8; 32]));
        SealTree {
            tenant: TenantId::default(),
            tree: FIRST_TREE,
            origin: "a/b".to_owned(),
            head: TreeHead { size: size as u64, root: frontier.root() },
            last: LogSeq(last),
            frontier: frontier.hashes().to_vec(),
            state: TreeState::Open,
            sealed_since: String::new(),
            noted: 0,
        }
    }

    #[test]
    fn a_tree_that_contradicts_itself_or_its_cursor_is_damaged() {
        let found = |tree: &SealTree, cursor| whole(tree).err().or_else(|| astray(tree, LogSeq(cursor)));
        assert_eq!((found(&tree(7, 9), 9), found(&tree(0, 0), 0)), (None, None));
        let mut root = tree(7, 9);
        root.head.root[0] ^= 1;
        let mut cut = tree(7, 9);
        cut.frontier.pop();
        let closed = SealTree { state: TreeState::Closed, ..tree(7, 9) };
        for (tree, cursor, part) in [
            (root, 9, "does not give the root"),
            (cut, 9, "does not give the root"),
            (closed, 9, "is closed"),
            (tree(7, 9), 8, "log_seq 9, and its scope is at 8"),
            (tree(0, 0), 8, "log_seq 0, and its scope is at 8"),
        ] {
            let finding = found(&tree, cursor).expect(part);
            assert!(finding.word == SealWord::TreeDamaged && finding.message.contains(part), "{}", finding.message);
        }
    }
}
