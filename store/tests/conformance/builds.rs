//! Generations: built beside the live one, flipped, swept.

use crate::backend::{Blank, Fresh};
use crate::fold::{WHOLE, acquire, all_rows, append_all, build, catch_up, compute, origin, owner};
use crate::log::{named, seeded, started, tenant, whole_trace};
use decisiongraph_projections::{Category, LogSeq, Projection, catalogue};
use decisiongraph_store::*;
use std::time::Duration;
use uuid::Uuid;

const GRAPH: &dyn Projection = catalogue::CONTEXT_GRAPH;

fn scope() -> Scope {
    Scope::new(&tenant(), GRAPH)
}

/// Prepares a live scope at the end of a log.
async fn live(fresh: &Fresh) -> (Lease, Position) {
    append_all(&fresh.store, &tenant(), &seeded(11, 120)).await;
    let me = owner("n");
    fresh.store.heartbeat(&me, Duration::from_secs(600)).await.expect("alive");
    let (lease, position) = acquire(&fresh.store, &scope(), &me).await;
    let position = catch_up(&fresh.store, &lease, position, GRAPH, &[50]).await;
    (lease, position)
}

async fn swept(fresh: &Fresh) -> Sweep {
    let mut total = Sweep::default();
    // Bounded: a sweep that never ends is a fault, not a hang.
    for _ in 0..1_000 {
        let sweep = fresh.store.sweep(1_000_000).await.expect("a sweep");
        total = Sweep {
            rows: total.rows + sweep.rows,
            generations: total.generations + sweep.generations,
            left: sweep.left,
        };
        if sweep.left == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    total
}

async fn full_cycle(blank: Blank, storage: Storage) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    let (lease, position) = live(&fresh).await;
    let view = store.view().await.expect("a view");
    let live_rows = all_rows(&*view, &tenant(), GRAPH, lease.generation).await;
    let run = Uuid::new_v4();
    assert_eq!(store.resume_build(&scope(), run).await.expect("an answer"), None);
    let first = store.begin_build(&scope(), run, storage).await.expect("a build");
    assert_eq!(view.flipped_by(&scope(), run).await, Ok(false), "not yet");
    assert_ne!(first.generation, lease.generation);
    let there = build(store, &first, origin(GRAPH), GRAPH, 20, 3).await;
    // Interrupted, and continued from its position.
    let (second, found) = store.resume_build(&scope(), run).await.expect("an answer").expect("unfinished");
    assert_eq!((second.generation, &found), (first.generation, &there));
    let there = build(store, &second, found, GRAPH, 33, 100).await;
    assert_eq!(there, position, "the same digest at the same cursor");
    assert_eq!(all_rows(&*view, &tenant(), GRAPH, lease.generation).await, live_rows, "the live one is untouched");
    store.finish_build(&second).await.expect("ready");
    store.finish_build(&second).await.expect("safe to repeat");
    // The tail may be followed after that.
    append_all(store, &tenant(), &whole_trace("tail")).await;
    let ahead = build(store, &second, there, GRAPH, 100, 100).await;
    let flip = store.flip(&second).await.expect("a flip");
    assert_eq!(flip, Flip::Flipped { old_generation: lease.generation, old: position });
    let row = view.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!(view.flipped_by(&scope(), Uuid::new_v4()).await, Ok(false), "another run");
    assert_eq!(view.flipped_by(&scope(), run).await, Ok(true));
    assert_eq!((row.generation, &row.position), (second.generation, &ahead));
    assert_eq!(row.owner.as_deref(), Some("n"), "the owner stays");
    assert!(row.epoch.counter > lease.epoch.counter);
    let digest = digest_of_rows(&*view, &tenant(), GRAPH, row.generation).await.expect("a digest");
    assert_eq!(digest, ahead.digest);
    // Only the old generation is removed.
    let sweep = swept(&fresh).await;
    assert_eq!((sweep.generations, sweep.left), (1, 0), "{sweep:?}");
    let old = all_rows(&*view, &tenant(), GRAPH, lease.generation).await;
    assert!(old.iter().all(Vec::is_empty));
    let digest = digest_of_rows(&*view, &tenant(), GRAPH, row.generation).await.expect("a digest");
    assert_eq!(digest, ahead.digest);
    assert_eq!(swept(&fresh).await, Sweep::default(), "nothing left to do");
    // The new generation is live like any other: it is caught up, and looked up in.
    append_all(store, &tenant(), &whole_trace("later")).await;
    let (lease, position) = acquire(store, &scope(), &lease.owner).await;
    let position = catch_up(store, &lease, position, GRAPH, &[2]).await;
    let digest = digest_of_rows(&*view, &tenant(), GRAPH, lease.generation).await.expect("a digest");
    assert_eq!(digest, position.digest);
    // It is replaced like any other.
    let next = store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    assert_eq!(build(store, &next, origin(GRAPH), GRAPH, 1_000, 100).await, position);
    store.finish_build(&next).await.expect("ready");
    assert!(matches!(store.flip(&next).await.expect("a flip"), Flip::Flipped { .. }));
    assert_eq!(view.flipped_by(&scope(), run).await, Ok(false), "its generation is live no more");
    assert_eq!(swept(&fresh).await.left, 0);
}

pub async fn built_resumed_finished_flipped_swept(blank: Blank) {
    full_cycle(blank, Storage::Shared).await;
}

pub async fn a_build_of_its_own_storage(blank: Blank) {
    full_cycle(blank, Storage::Own).await;
}

/// Look-ups in a build give the same answers with and without the indexes for them. A caller that has lost the build
/// builds no index.
pub async fn a_build_that_is_indexed_early(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    append_all(store, &tenant(), &seeded(11, 120)).await;
    let me = owner("n");
    store.heartbeat(&me, Duration::from_secs(600)).await.expect("alive");
    for projection in catalogue::ALL {
        let scope = Scope::new(&tenant(), projection);
        let (lease, position) = acquire(store, &scope, &me).await;
        let position = catch_up(store, &lease, position, projection, &[50]).await;
        let view = store.view().await.expect("a view");
        let rows = all_rows(&*view, &tenant(), projection, lease.generation).await;
        // Every column used by look-ups, and the keys, by which rows are changed.
        let asked = projection.needs(&[]).rows.into_iter().map(|need| (need.table, need.by));
        let columns: Vec<(usize, usize)> =
            asked.chain((0..projection.tables().len()).map(|table| (table, 0))).collect();
        for storage in [Storage::Shared, Storage::Own] {
            let run = Uuid::new_v4();
            let first = store.begin_build(&scope, run, storage).await.expect("a build");
            store.index_build(&first, &columns[..1]).await.expect("over no rows");
            let there = build(store, &first, origin(projection), projection, 20, 3).await;
            store.index_build(&first, &columns).await.expect("over some");
            let (second, found) = store.resume_build(&scope, run).await.expect("an answer").expect("unfinished");
            assert_eq!(found, there);
            if storage == Storage::Own && store.backend() == Backend::Postgres {
                let told = store.index_build(&first, &columns).await.expect_err("it is somebody else's now");
                assert_eq!(told.category, Category::Fenced);
            }
            store.index_build(&second, &columns).await.expect("safe to repeat");
            assert_eq!(build(store, &second, found, projection, 33, 100).await, position, "{storage:?}");
            store.finish_build(&second).await.expect("ready");
            store.index_build(&second, &columns).await.expect("nothing is left to do");
            assert_eq!(all_rows(&*view, &tenant(), projection, second.generation).await, rows, "{storage:?}");
            store.abandon_build(&scope, run).await.expect("abandoned");
        }
    }
}

pub async fn a_build_behind_does_not_flip(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    let (lease, position) = live(&fresh).await;
    let build_lease = store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    let there = build(store, &build_lease, origin(GRAPH), GRAPH, 20, 2).await;
    store.finish_build(&build_lease).await.expect("ready");
    let flip = store.flip(&build_lease).await.expect("an answer");
    assert_eq!(flip, Flip::Behind { live_cursor: position.cursor });
    let view = store.view().await.expect("a view");
    let row = view.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!((row.generation, row.epoch, row.position), (lease.generation, lease.epoch, position.clone()));
    // The build follows the log, and flips.
    build(store, &build_lease, there, GRAPH, 1_000, 100).await;
    assert!(matches!(store.flip(&build_lease).await.expect("a flip"), Flip::Flipped { .. }));
    // A flip succeeds once: its generation is the live one now.
    assert_eq!(store.flip(&build_lease).await.expect_err("again").category, Category::Fenced);
}

pub async fn a_flip_fences_the_live_lease(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    let (lease, position) = live(&fresh).await;
    let build_lease = store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    build(store, &build_lease, origin(GRAPH), GRAPH, 1_000, 100).await;
    store.finish_build(&build_lease).await.expect("ready");
    // The live worker holds a computed batch when the flip comes.
    append_all(store, &tenant(), &[started("late")]).await;
    let view = store.view().await.expect("a view");
    let events = view.page(&tenant(), position.cursor, LogSeq(i64::MAX), WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), GRAPH, lease.generation, &position, &events).await;
    store.flip(&build_lease).await.expect("a flip");
    let old_rows = all_rows(&*view, &tenant(), GRAPH, lease.generation).await;
    let fenced = store.commit(&lease, &computed.batch(GRAPH)).await.expect_err("the old generation");
    assert_eq!(fenced.category, Category::Fenced);
    assert_eq!(all_rows(&*view, &tenant(), GRAPH, lease.generation).await, old_rows);
    let (next, found) = acquire(store, &scope(), &lease.owner).await;
    assert_eq!((next.generation, found), (build_lease.generation, position));
    store.commit(&next, &computed.batch(GRAPH)).await.expect("the new one");
    // The build's own lease is over as well.
    let late = store.commit_build(&build_lease, &computed.batch(GRAPH)).await.expect_err("it is live now");
    assert_eq!(late.category, Category::Fenced);
}

pub async fn a_flip_resolves_what_it_passes(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    append_all(store, &tenant(), &whole_trace("t")).await;
    // The live generation stopped at the third event; a repaired one goes past it.
    let (lease, _) = acquire(store, &scope(), &owner("n")).await;
    for log_seq in [3, 9] {
        let poison = NewFailure {
            scope: scope(),
            log_seq: LogSeq(log_seq),
            event_id: "e".to_owned(),
            trace_id: "t".to_owned(),
            event_type: "PolicyEvaluated".to_owned(),
            refusal: decisiongraph_projections::Refusal::new(Category::SchemaViolation, "bad"),
            batch_from: LogSeq(0),
            batch_to: LogSeq(5),
            digest_before: String::new(),
        };
        store.record_failure(&poison).await.expect("recorded");
    }
    let build_lease = store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    build(store, &build_lease, origin(GRAPH), GRAPH, 100, 100).await;
    store.finish_build(&build_lease).await.expect("ready");
    let view = store.view().await.expect("a view");
    let open = async || {
        let filter = ListFilter { open_only: true, limit: 10, ..ListFilter::default() };
        let open = view.failures(&filter).await.expect("failures").items;
        open.into_iter().map(|failure| failure.log_seq.0).collect::<Vec<_>>()
    };
    assert_eq!(open().await, [9, 3], "a build by itself resolves nothing");
    let flip = store.flip(&build_lease).await.expect("a flip");
    assert!(matches!(flip, Flip::Flipped { old_generation, .. } if old_generation == lease.generation));
    assert_eq!(open().await, [9]);
}

pub async fn a_resumed_build_fences_its_former_writer(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    live(&fresh).await;
    let run = Uuid::new_v4();
    let first = store.begin_build(&scope(), run, Storage::Shared).await.expect("a build");
    let there = build(store, &first, origin(GRAPH), GRAPH, 20, 2).await;
    let view = store.view().await.expect("a view");
    let events = view.page(&tenant(), there.cursor, LogSeq(i64::MAX), WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), GRAPH, first.generation, &there, &events).await;
    let (second, found) = store.resume_build(&scope(), run).await.expect("an answer").expect("unfinished");
    let rows = all_rows(&*view, &tenant(), GRAPH, first.generation).await;
    let fenced = store.commit_build(&first, &computed.batch(GRAPH)).await.expect_err("an old epoch");
    assert_eq!(fenced.category, Category::Fenced);
    assert_eq!(store.finish_build(&first).await.expect_err("an old epoch").category, Category::Fenced);
    assert_eq!(store.flip(&first).await.expect_err("an old epoch").category, Category::Fenced);
    assert_eq!(all_rows(&*view, &tenant(), GRAPH, first.generation).await, rows);
    assert_eq!(found, there);
    store.commit_build(&second, &computed.batch(GRAPH)).await.expect("the present writer");
}

pub async fn a_build_batch_is_fenced_by_its_cursor(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    live(&fresh).await;
    let lease = store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    let view = store.view().await.expect("a view");
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), GRAPH, lease.generation, &origin(GRAPH), &events).await;
    let batch = BatchCommit { from: LogSeq(1), ..computed.batch(GRAPH) };
    assert_eq!(store.commit_build(&lease, &batch).await.expect_err("a wrong cursor").category, Category::Fenced);
    let rows = all_rows(&*view, &tenant(), GRAPH, lease.generation).await;
    assert!(rows.iter().all(Vec::is_empty), "nothing changed");
    store.commit_build(&lease, &computed.batch(GRAPH)).await.expect("a commit");
    let again = store.commit_build(&lease, &computed.batch(GRAPH)).await.expect_err("a second time");
    assert!(again.category == Category::Fenced || again.duplicate, "{again}");
}

pub async fn an_abandoned_build_is_gone(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    let (lease, position) = live(&fresh).await;
    for storage in [Storage::Shared, Storage::Own] {
        let run = Uuid::new_v4();
        let build_lease = store.begin_build(&scope(), run, storage).await.expect("a build");
        build(store, &build_lease, origin(GRAPH), GRAPH, 20, 2).await;
        store.abandon_build(&scope(), run).await.expect("abandoned");
        store.abandon_build(&scope(), run).await.expect("nothing to do is no error");
        assert_eq!(store.resume_build(&scope(), run).await.expect("an answer"), None);
        assert_eq!(store.flip(&build_lease).await.expect_err("abandoned").category, Category::Fenced);
        let sweep = swept(&fresh).await;
        assert_eq!((sweep.generations, sweep.left), (1, 0), "{storage:?}: {sweep:?}");
    }
    let view = store.view().await.expect("a view");
    let row = view.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!((row.generation, row.epoch, row.position), (lease.generation, lease.epoch, position));
}

pub async fn a_second_start_of_a_run_starts_over(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    let (_, position) = live(&fresh).await;
    let run = Uuid::new_v4();
    let first = store.begin_build(&scope(), run, Storage::Shared).await.expect("a build");
    build(store, &first, origin(GRAPH), GRAPH, 20, 2).await;
    let second = store.begin_build(&scope(), run, Storage::Shared).await.expect("a build");
    assert_ne!(first.generation, second.generation);
    assert_eq!(build(store, &second, origin(GRAPH), GRAPH, 100, 100).await, position);
    let (found, _) = store.resume_build(&scope(), run).await.expect("an answer").expect("unfinished");
    assert_eq!(found.generation, second.generation);
    // Another run of the scope is separate.
    assert_eq!(store.resume_build(&scope(), Uuid::new_v4()).await.expect("an answer"), None);
    let sweep = swept(&fresh).await;
    assert_eq!(sweep.generations, 1, "the first start's rows go: {sweep:?}");
}

pub async fn sweeping_is_bounded(blank: Blank) {
    let fresh = blank.migrated().await;
    let store = &fresh.store;
    let other = named("other");
    append_all(store, &other, &whole_trace("t")).await;
    live(&fresh).await;
    let run = Uuid::new_v4();
    let build_lease = store.begin_build(&scope(), run, Storage::Shared).await.expect("a build");
    build(store, &build_lease, origin(GRAPH), GRAPH, 1_000, 100).await;
    let view = store.view().await.expect("a view");
    let count = async || -> usize {
        all_rows(&*view, &tenant(), GRAPH, build_lease.generation).await.iter().map(Vec::len).sum()
    };
    let before = count().await;
    assert!(before > 100);
    store.abandon_build(&scope(), run).await.expect("abandoned");
    let first = store.sweep(10).await.expect("a sweep");
    assert!(first.rows <= 10 && first.left == 1 && first.generations == 0, "{first:?}");
    assert_eq!(count().await as u64, before as u64 - first.rows);
    let rest = swept(&fresh).await;
    assert_eq!((first.rows + rest.rows, rest.generations, rest.left), (before as u64, 1, 0));
}
