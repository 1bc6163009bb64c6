//! Nodes and frontier of a tree, written anew from its chunks.
//!
//! *Guarantees.* Every signed head that is known must agree with the chunks: otherwise nothing is written. Without a
//! signed head, the stored root must agree.

use super::Sealing;
use super::finding::SealWord;
use super::known::Known;
use super::now::{off, under_way};
use super::reader::{leaves_of, missing_leaf};
use crate::Engine;
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::chunk::{Node, add_leaf};
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::texts::TreeHead;
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_store::{Lease, ReadView, Result, Scope, SealTree, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Chunks per read.
const CHUNKS_PAGE: usize = 64;

/// Writes nodes and frontier of the tenant's newest tree anew.
pub async fn mend(engine: &Engine, tenant: &TenantId) -> Result<SealTree> {
    let sealing = engine.sealing().ok_or_else(off)?;
    let _decision = sealing.decide(tenant).ok_or_else(under_way)?;
    let (mark, scope) = (engine.mark().await?, Scope::new(tenant, SEAL));
    let work = async || {
        let (lease, _) = engine.take(SEAL, &scope, &mark).await?;
        let mended = mend_under(engine, sealing, &lease).await;
        // Best effort: a scope that is not released now is free when the lease is over.
        let _ = engine.store().release_scope(&lease).await;
        mended
    };
    engine.alive(work).await
}

async fn mend_under(engine: &Engine, sealing: &Arc<Sealing>, lease: &Lease) -> Result<SealTree> {
    let (store, tenant) = (engine.store(), &lease.scope.tenant);
    let view = store.view().await?;
    let tree = view.seal_trees(tenant).await?.pop();
    let tree = tree.ok_or_else(|| StoreError::new(Category::Conflict, "there is no tree: nothing is sealed yet"))?;
    let mut known = Known::ask(&*view, &tree, Some(sealing), None, 0).await?;
    let Grown { frontier, nodes, roots } = grown(&*view, &tree, &mut known).await?;
    let size = frontier.size();
    if size != tree.head.size {
        let text = format!("its chunks have {size} leaves, dg_seal has {}", tree.head.size);
        return Err(SealWord::TreeDamaged.because(text).into());
    }
    if let Some(finding) = known.shrunk(size).or_else(|| known.judge(&roots)) {
        return Err(finding.into());
    }
    if known.newest().is_none() && frontier.root() != tree.head.root {
        let text = "no signed checkpoint is known, and its chunks do not give the root of dg_seal";
        return Err(SealWord::TreeDamaged.because(text).into());
    }
    store.mend_seal(lease, tree.tree, &nodes, &frontier).await?;
    let head = TreeHead { size, root: frontier.root() };
    Ok(SealTree { head, frontier: frontier.hashes().to_vec(), ..tree })
}

/// A tree as its chunks give it.
#[derive(Default)]
struct Grown {
    frontier: Frontier,
    nodes: Vec<Node>,
    /// Roots at the sizes of the known heads that are not compared yet.
    roots: BTreeMap<u64, Hash>,
}

async fn grown(view: &dyn ReadView, tree: &SealTree, known: &mut Known) -> Result<Grown> {
    let mut grown = Grown::default();
    loop {
        let before = grown.frontier.size();
        let chunks = view.seal_chunks(&tree.tenant, tree.tree, before, CHUNKS_PAGE).await?;
        let upto = before + chunks.iter().map(|chunk| chunk.events).sum::<u64>();
        known.extend(view, upto).await?;
        let mut sizes = known.sizes(before, upto).into_iter().peekable();
        for chunk in &chunks {
            for leaf in leaves_of(chunk)? {
                if leaf.index != grown.frontier.size() {
                    return Err(missing_leaf(grown.frontier.size()).into());
                }
                add_leaf(&mut grown.frontier, leaf.entry.leaf_hash(), &mut grown.nodes);
                let size = grown.frontier.size();
                if sizes.next_if_eq(&size).is_some() {
                    grown.roots.insert(size, grown.frontier.root());
                }
            }
        }
        known.compare(&std::mem::take(&mut grown.roots), grown.frontier.size());
        if grown.frontier.size() == before {
            return Ok(grown);
        }
    }
}
