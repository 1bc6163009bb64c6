//! A process that seals is killed at each named point of its batches. Tree, leaves and cursor are always of one batch,
//! and the next process goes on from there.

#[allow(dead_code)]
#[path = "conformance/backend.rs"]
mod backend;
#[allow(dead_code)]
#[path = "conformance/fold.rs"]
mod fold;
#[allow(dead_code)]
#[path = "conformance/log.rs"]
mod log;

use backend::{Blank, Fresh};
use decisiongraph_projections::LogSeq;
use decisiongraph_projections::seal::Hash;
use decisiongraph_projections::seal::scope::SEAL;
use decisiongraph_projections::seal::tree::{Frontier, root_of};
use decisiongraph_store::{DatabaseUrl, FIRST_TREE, Scope, StoreOptions, launch, open};
use fold::{acquire, append_all, owner, seal};
use log::{seeded, tenant};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// Tells a child process of this test binary its database.
const URL: &str = "DECISIONGRAPH_TEST_URL";
const EVENTS: usize = 700;
const SIGKILL: i32 = 9;

/// The work of a child process.
#[tokio::test]
#[ignore = "a process of the other tests"]
async fn seals_to_the_end() {
    let Ok(url) = std::env::var(URL) else { return };
    let url = DatabaseUrl::parse(&url).expect("a URL");
    let store = open(&url, StoreOptions::default()).await.expect("a store");
    let (lease, position) = acquire(&store, &Scope::new(&tenant(), SEAL), &owner("child")).await;
    let trees = store.view().await.expect("a view").seal_trees(&tenant()).await.expect("trees");
    let frontier = trees.last().map_or_else(Frontier::default, |tree| tree.memory().expect("sound"));
    seal(&store, &lease, FIRST_TREE, frontier, position.cursor, &[60, 7, 130]).await;
}

/// Lets a process seal, killed at this point if there is one.
fn sealed(fresh: &Fresh, point: Option<&str>) -> ExitStatus {
    let url = match &fresh.url {
        DatabaseUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
        DatabaseUrl::Postgres(url) => url.clone(),
    };
    let mut child = launch::program(std::env::current_exe().expect("this binary"));
    child.args(["--ignored", "--exact", "seals_to_the_end"]).env(URL, url);
    if let Some(point) = point {
        child.env("DECISIONGRAPH_CRASH_AT", point);
    }
    child.output().expect("starts").status
}

/// Checks that tree, leaves and cursor are of one batch. Returns the number of leaves.
async fn of_one_batch(fresh: &Fresh, when: &str) -> u64 {
    let view = fresh.store.snapshot().await.expect("a snapshot");
    let row = view.scope(&Scope::new(&tenant(), SEAL)).await.expect("an answer");
    let cursor = row.map_or(LogSeq::ORIGIN, |row| row.position.cursor);
    let chunks = view.seal_chunks(&tenant(), FIRST_TREE, 0, 10_000).await.expect("chunks");
    let leaves: Vec<Hash> =
        chunks.iter().flat_map(|chunk| chunk.leaves().expect("sound")).map(|leaf| leaf.entry.leaf_hash()).collect();
    let trees = view.seal_trees(&tenant()).await.expect("trees");
    let Some(tree) = trees.last() else {
        assert_eq!((leaves.len(), cursor), (0, LogSeq::ORIGIN), "{when}");
        return 0;
    };
    assert_eq!((tree.head.size, tree.head.root), (leaves.len() as u64, root_of(&leaves)), "{when}");
    assert_eq!(tree.last, cursor, "{when}");
    assert!(tree.memory().is_some(), "{when}");
    let nodes = view.seal_nodes(&tenant(), FIRST_TREE, 1, 0..100).await.expect("nodes");
    assert_eq!(nodes.len() as u64, tree.head.size / 256, "{when}");
    tree.head.size
}

async fn killed_at_every_point(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &seeded(7, EVENTS)).await;
    let mut before = 0;
    for visit in [1, 2] {
        for point in ["seal.rows_written", "seal.before_fence", "commit.before_commit", "seal.after_commit"] {
            let point = format!("{point}:{visit}");
            assert_eq!(sealed(&fresh, Some(&point)).signal(), Some(SIGKILL), "{point}");
            let now = of_one_batch(&fresh, &point).await;
            // The batches before this visit, and the one of the visit where it was committed.
            let committed = visit - 1 + u64::from(point.starts_with("seal.after_commit"));
            assert_eq!(now > before, committed > 0, "{point}: {before} to {now}");
            before = now;
        }
    }
    assert!(sealed(&fresh, None).success());
    assert_eq!(of_one_batch(&fresh, "at the end").await, EVENTS as u64);
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sealer_leaves_tree_and_cursor_of_one_batch_in_the_embedded_store() {
    killed_at_every_point(Blank::Sqlite).await;
}

#[cfg(feature = "throwaway-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sealer_leaves_tree_and_cursor_of_one_batch_on_postgresql() {
    killed_at_every_point(Blank::Postgres).await;
}
