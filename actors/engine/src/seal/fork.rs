//! A fork: an operator ends a tree that is not what was signed, and the next one goes on from their common prefix.
//!
//! ```text
//!   heads of all memories ──▶ largest that fits ──┐
//!                                                 ├──▶ keep ──▶ note, signed under both origins ──▶ one transaction
//!   log, event by event ──▶ first difference ─────┘                      └──▶ journal, places
//! ```
//!
//! *Guarantees.* The common prefix is the largest that is signed, and that the log still has: both can be proved. What
//! is behind it is sealed again, as it is found now, with new salts. Old proofs stay good under the old origin.
//!
//! *Never here:* a decision to fork. An operator asks for it, with a reason.

use super::event_check::{Erasures, judge};
use super::finding::SealWord;
use super::known::Known;
use super::notary::{journal_notes, publish};
use super::now::{off, under_way};
use super::reader::TreeReader;
use super::walk::{Stretch, Walk};
use super::{Sealing, memory_check};
use crate::Engine;
use crate::page::pure;
use decisiongraph_projections::seal::chunk::Leaf;
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::{SealPlace, SignedHead};
use decisiongraph_seal::Remembered;
use decisiongraph_store::{Lease, ReadView, Result, Scope, SealFork, SealTree, Store};
use std::sync::Arc;

/// A tree that goes on after a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// The new tree.
    pub tree: SealTree,
    /// The signed note about the fork.
    pub note: String,
    /// Journal and places, as far as they have the note.
    pub places: Vec<SealPlace>,
}

/// Ends the newest tree of the tenant, and begins the next one.
pub async fn fork(engine: &Engine, tenant: &TenantId, reason: &str) -> Result<Forked> {
    let sealing = engine.sealing().ok_or_else(off)?;
    let _decision = sealing.decide(tenant).ok_or_else(under_way)?;
    let (mark, scope) = (engine.mark().await?, Scope::new(tenant, SEAL));
    let work = async || {
        let (lease, _) = engine.take(SEAL, &scope, &mark).await?;
        let forked = fork_under(engine, sealing, &lease, reason).await;
        // Best effort: a scope that is not released now is free when the lease is over.
        let _ = engine.store().release_scope(&lease).await;
        forked
    };
    engine.alive(work).await
}

async fn fork_under(engine: &Engine, sealing: &Arc<Sealing>, lease: &Lease, reason: &str) -> Result<Forked> {
    let (store, tenant) = (&**engine.store(), &lease.scope.tenant);
    let view = store.view().await?;
    let old = match view.seal_trees(tenant).await?.pop() {
        Some(tree) => tree,
        // The database lost all of it.
        None => store.begin_seal(tenant, &sealing.origin(tenant)).await?,
    };
    let mut known = Known::ask(&*view, &old, Some(sealing), None, 0).await?;
    if !known.silent.is_empty() {
        let silent = known.silent.join(", ");
        tracing::warn!(%tenant, "memories of the seal did not answer: {silent}");
    }
    let peers = memory_check::of_peers(sealing, &old.origin).await.into_iter();
    let peers = peers.filter_map(|(_, newest)| newest.ok().flatten()?.head());
    let newest: Vec<TreeHead> = known.newest_head().into_iter().chain(peers).collect();
    let reader = TreeReader::new(&*view, tenant, old.tree, old.head.size);
    let signed = signed_prefix(&*view, &reader, &newest, &mut known).await?;
    let keep = first_difference(engine, &*view, &old, signed, Arc::new(known.erasures.clone())).await?.min(signed);
    let frontier = reader.frontier_at(keep).await?;
    let last = match keep {
        0 => LogSeq::ORIGIN,
        keep => reader.leaf(keep - 1).await?.log_seq,
    };
    let common = TreeHead { size: keep, root: frontier.root() };
    let last_signed = newest.iter().copied().max_by_key(|head| head.size).unwrap_or(old.head);
    let notes = sealing.fork_note(old.tree, &old.origin, last_signed, common, reason)?;
    let [of_old, of_new] = &notes;
    let (note, origin) = (of_old.note.clone(), of_new.origin.clone());
    let fork = SealFork { old: old.tree, old_head: old.head, keep, frontier, last, origin, note };
    let tree = store.fork_seal(lease, &fork).await?;
    let places = told(store, sealing, &tree, &notes).await;
    Ok(Forked { tree, note: fork.note, places })
}

/// Brings the note to the journal and the places. Returns who has it. The database has it: what fails here is only
/// told.
async fn told(store: &dyn Store, sealing: &Arc<Sealing>, tree: &SealTree, notes: &[Remembered; 2]) -> Vec<SealPlace> {
    let (tenant, [_, of_new]) = (&tree.tenant, notes);
    let journalled = journal_notes(sealing, tenant, notes).await;
    match &journalled {
        Ok(()) => publish(store, sealing).await,
        Err(error) => tracing::warn!(%tenant, "the note of the fork is in the database alone: {}", error.message),
    }
    let head = SignedHead { size: of_new.size, at: of_new.at.clone() };
    sealing.keepers_of(&tree.origin, &head, journalled.is_ok())
}

/// Returns the size of the largest prefix of the tree that no signed head contradicts. Where one does, or where one is
/// larger than the tree, it is the largest signed head that fits.
async fn signed_prefix(
    view: &dyn ReadView,
    reader: &TreeReader<'_>,
    newest: &[TreeHead],
    known: &mut Known,
) -> Result<u64> {
    let (mut fits, mut contradicted) = (0, false);
    let mut heads = newest.to_vec();
    while !heads.is_empty() {
        for head in &heads {
            let is_prefix = head.size <= reader.size() && reader.root_at(head.size).await? == head.root;
            match is_prefix {
                true => fits = fits.max(head.size),
                false => contradicted = true,
            }
        }
        heads = known.next(view).await?;
    }
    Ok(if contradicted { fits } else { reader.size() })
}

/// Finds the first leaf, below `upto`, that does not stand for its event, or before which there is an event without a
/// leaf. Returns `upto` or more when there is none.
async fn first_difference(
    engine: &Engine,
    view: &dyn ReadView,
    tree: &SealTree,
    upto: u64,
    erasures: Arc<Erasures>,
) -> Result<u64> {
    let (budget, limits) = (engine.budget(), engine.budget().compare(engine.config()));
    let (mut walk, mut same, mut behind) = (Walk::new(view, tree, 0, LogSeq::ORIGIN), 0, LogSeq::ORIGIN);
    while same < upto {
        let (stretch, _share) = walk.next_within(&budget.work, limits).await?;
        let Some(stretch) = stretch else { break };
        let Stretch { pairs, leaves, findings, has_hole, upto: end, .. } = stretch;
        let (leaves, erasures) = (Arc::new(leaves), Arc::clone(&erasures));
        let compared = Arc::clone(&leaves);
        let matching = pure(move || {
            let pairs = pairs.iter().zip(compared.iter());
            let is_same = |pair: &(&(_, Leaf), &Leaf)| {
                let ((event, leaf), expected) = pair;
                leaf.index == expected.index && judge(event, leaf, &erasures).findings.is_empty()
            };
            pairs.take_while(is_same).count()
        });
        let matching = matching.await?;
        same = leaves.first().map_or(same, |leaf| leaf.index) + matching as u64;
        if findings.has(SealWord::EventInserted) {
            let prefix = leaves.get(..matching).unwrap_or_default();
            return Ok(same - prefix.len() as u64 + uncut(view, tree, behind, prefix).await?);
        }
        if matching < leaves.len() || has_hole || !findings.is_empty() {
            return Ok(same);
        }
        behind = end;
    }
    Ok(same)
}

/// Counts the leaves before the first event, behind this position, that has no leaf.
async fn uncut(view: &dyn ReadView, tree: &SealTree, behind: LogSeq, leaves: &[Leaf]) -> Result<u64> {
    let (mut low, mut high) = (0, leaves.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(leaf) = leaves.get(middle) else { break };
        let expected = middle as u64 + 1;
        match view.count_events(&tree.tenant, behind, leaf.log_seq, expected + 1).await? > expected {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    Ok(low as u64)
}
