//! Consistency of a read view while other processes write.

use crate::backend::Blank;
use crate::fold::{WHOLE, acquire, all_rows, append_all, build, catch_up, origin, owner};
use crate::log::{seeded, tenant, whole_trace};
use decisiongraph_projections::{LogSeq, Projection, catalogue};
use decisiongraph_store::*;
use uuid::Uuid;

const GRAPH: &dyn Projection = catalogue::CONTEXT_GRAPH;

fn scope() -> Scope {
    Scope::new(&tenant(), GRAPH)
}

pub async fn a_snapshot_sees_one_instant(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    append_all(store, &tenant(), &whole_trace("t")).await;
    let (lease, position) = acquire(store, &scope(), &owner("n")).await;
    let position = catch_up(store, &lease, position, GRAPH, &[100]).await;
    let snapshot = store.snapshot().await.expect("a snapshot");
    // Everything after this line is later than the snapshot, whatever is read first.
    append_all(store, &tenant(), &whole_trace("u")).await;
    let later = catch_up(store, &lease, position.clone(), GRAPH, &[100]).await;
    assert_ne!(later, position);
    let row = snapshot.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!(row.position, position);
    assert_eq!(snapshot.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), WHOLE).await.expect("a page").len(), 5);
    assert_eq!(snapshot.last_log_seq(&tenant(), None).await.expect("last"), position.cursor);
    let digest = digest_of_rows(&*snapshot, &tenant(), GRAPH, row.generation).await.expect("a digest");
    assert_eq!(digest, position.digest);
    drop(snapshot);
    let snapshot = store.snapshot().await.expect("a snapshot");
    let row = snapshot.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!(row.position, later);
}

pub async fn a_snapshot_survives_flip_and_sweep(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    append_all(store, &tenant(), &seeded(5, 200)).await;
    let (lease, position) = acquire(store, &scope(), &owner("n")).await;
    let position = catch_up(store, &lease, position, GRAPH, &[100]).await;
    let snapshot = store.snapshot().await.expect("a snapshot");
    let build_lease = store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    build(store, &build_lease, origin(GRAPH), GRAPH, 64, 100).await;
    store.finish_build(&build_lease).await.expect("ready");
    assert!(matches!(store.flip(&build_lease).await.expect("a flip"), Flip::Flipped { .. }));
    store.sweep(1_000_000).await.expect("a sweep");
    // The reader still sees the old generation, whole.
    let row = snapshot.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!((row.generation, &row.position), (lease.generation, &position));
    let digest = digest_of_rows(&*snapshot, &tenant(), GRAPH, lease.generation).await.expect("a digest");
    assert_eq!(digest, position.digest);
    drop(snapshot);
    // Once the reader has gone, the old generation can go as well.
    let view = store.view().await.expect("a view");
    for _ in 0..10_000 {
        if store.sweep(1_000_000).await.expect("a sweep").left == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(all_rows(&*view, &tenant(), GRAPH, lease.generation).await.iter().all(Vec::is_empty));
}

pub async fn a_view_sees_the_newest(blank: Blank) {
    let fresh = blank.migrated().await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.last_log_seq(&tenant(), None).await.expect("none"), LogSeq::ORIGIN);
    let positions = append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    assert_eq!(view.last_log_seq(&tenant(), None).await.expect("last"), positions[4]);
    // Another process sees it as well.
    let other = fresh.again().await.store.view().await.expect("a view");
    assert_eq!(other.last_log_seq(&tenant(), None).await.expect("last"), positions[4]);
}

pub async fn every_snapshot_is_whole(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = fresh.store.clone();
    append_all(&store, &tenant(), &seeded(6, 240)).await;
    let (lease, position) = acquire(&store, &scope(), &owner("n")).await;
    // One side commits small batches, flips to a rebuild, and commits on. The other side reads all the while.
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            let position = catch_up(&store, &lease, position, GRAPH, &[3, 5]).await;
            let build_lease = store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
            assert_eq!(build(&store, &build_lease, origin(GRAPH), GRAPH, 50, 100).await, position);
            store.finish_build(&build_lease).await.expect("ready");
            store.flip(&build_lease).await.expect("a flip");
            append_all(&store, &tenant(), &whole_trace("last")).await;
            let (lease, position) = acquire(&store, &scope(), &lease.owner).await;
            let position = catch_up(&store, &lease, position, GRAPH, &[1]).await;
            (lease.generation, position)
        }
    });
    let mut seen = std::collections::BTreeSet::new();
    while !writer.is_finished() {
        let snapshot = store.snapshot().await.expect("a snapshot");
        let row = snapshot.scope(&scope()).await.expect("an answer").expect("a scope");
        let digest = digest_of_rows(&*snapshot, &tenant(), GRAPH, row.generation).await.expect("a digest");
        assert_eq!(digest, row.position.digest, "at {} of generation {}", row.position.cursor, row.generation);
        seen.insert((row.generation, row.position.cursor));
    }
    let (generation, position) = writer.await.expect("no panic");
    assert!(seen.len() > 1, "the reader saw it move: {seen:?}");
    let row = store.view().await.expect("a view").scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!((row.generation, row.position), (generation, position));
}
