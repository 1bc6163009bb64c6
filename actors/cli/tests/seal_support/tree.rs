//! The tree of a log, computed here once more out of its events and its salts.

use super::{Ground, tenant};
use decisiongraph_projections::LogSeq;
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::chunk::{CHUNK_EVENTS, Grown, Leaf, Unsealed, grow};
use decisiongraph_projections::seal::leaf::{Entry, Salts};
use decisiongraph_projections::seal::tree::{Frontier, root_of};
use decisiongraph_store::{LoggedEvent, PageLimit, SealTree, Store};
use std::sync::Arc;

/// Returns the tenant's newest tree.
pub async fn newest(store: &Arc<dyn Store>) -> SealTree {
    let view = store.view().await.expect("a view");
    view.seal_trees(&tenant()).await.expect("trees").pop().expect("a tree")
}

/// Reads the whole log of the tenant.
pub async fn log(store: &Arc<dyn Store>) -> Vec<LoggedEvent> {
    let view = store.view().await.expect("a view");
    let limit = PageLimit::rows(100_000);
    view.logged_events(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), limit).await.expect("events")
}

/// Reads every leaf of a tree.
pub async fn leaves(store: &Arc<dyn Store>, tree: &SealTree) -> Vec<Leaf> {
    let (view, mut leaves, mut from) = (store.view().await.expect("a view"), Vec::new(), 0);
    while from < tree.head.size {
        let chunks = view.seal_chunks(&tenant(), tree.tree, from, 100).await.expect("chunks");
        assert!(!chunks.is_empty(), "no chunk with leaf {from}");
        for chunk in chunks {
            assert_eq!(chunk.first_index, from, "chunks follow one another");
            assert!(chunk.events <= CHUNK_EVENTS);
            from = chunk.end();
            leaves.extend(chunk.leaves().expect("a whole chunk"));
        }
    }
    leaves
}

/// Checks that the tree is the fold of the log's beginning.
pub async fn is_the_fold_of_its_log(ground: &Ground) -> SealTree {
    let store = ground.store().await;
    let (tree, log) = (newest(&store).await, log(&store).await);
    assert!(log.len() as u64 >= tree.head.size, "{} events, {} sealed", log.len(), tree.head.size);
    let leaves = leaves(&store, &tree).await;
    let mut hashes: Vec<Hash> = Vec::new();
    for (event, leaf) in log.iter().zip(&leaves) {
        assert_eq!(event.log_seq, leaf.log_seq, "leaf {}", leaf.index);
        assert!(Entry::of(&event.envelope(), &event.payload, &leaf.salts) == leaf.entry, "leaf {}", leaf.index);
        hashes.push(leaf.entry.leaf_hash());
    }
    assert_eq!(hashes.len() as u64, tree.head.size);
    assert_eq!(root_of(&hashes), tree.head.root, "frontier and leaves");
    assert!(tree.memory().is_some(), "frontier and root");
    let last = leaves.last().map_or(LogSeq::ORIGIN, |leaf| leaf.log_seq);
    assert_eq!(tree.last, last);
    tree
}

/// Grows a tree anew from the log as it is, with the salts that are stored.
async fn grown(ground: &Ground) -> (SealTree, Grown) {
    let store = ground.store().await;
    let (tree, log) = (newest(&store).await, log(&store).await);
    let salts: Vec<Salts> = leaves(&store, &tree).await.into_iter().map(|leaf| leaf.salts).collect();
    let events = log.iter().zip(salts).map(|(event, salts)| Unsealed {
        log_seq: event.log_seq,
        entry: Entry::of(&event.envelope(), &event.payload, &salts),
        salts,
    });
    let grown = grow(Frontier::default(), events);
    (tree, grown)
}

/// Writes what the log gives into the chunks of the tree, and nothing else.
pub async fn recompute_chunks(ground: &Ground) {
    let (tree, grown) = grown(ground).await;
    let entries: Vec<u8> = grown.chunks.iter().flat_map(|chunk| chunk.entries.clone()).collect();
    let store = ground.store().await;
    let view = store.view().await.expect("a view");
    let chunks = view.seal_chunks(&tenant(), tree.tree, 0, 100).await.expect("chunks");
    drop(view);
    for chunk in chunks {
        let (from, to) = (chunk.first_index as usize * 64, chunk.end() as usize * 64);
        let bytes = ground.bytes(&entries[from..to]);
        let at = format!("tree = {} AND first_index = {}", tree.tree, chunk.first_index);
        ground.sql(&format!("UPDATE dg_seal_chunk SET entries = {bytes} WHERE tenant_id = 'default' AND {at}")).await;
    }
}

/// Makes the whole tree anew: chunks, frontier and root; the notes of the database go.
pub async fn recompute_tree(ground: &Ground) {
    recompute_chunks(ground).await;
    let (tree, grown) = grown(ground).await;
    let root = ground.bytes(&grown.frontier.root());
    let frontier = ground.bytes(&grown.frontier.hashes().concat());
    assert!(grown.nodes.is_empty(), "a small log has no nodes");
    ground
        .sql(&format!(
            "UPDATE dg_seal SET root = {root}, frontier = {frontier} WHERE tenant_id = 'default' AND tree = {};
             DELETE FROM dg_seal_note WHERE tenant_id = 'default';",
            tree.tree
        ))
        .await;
}
