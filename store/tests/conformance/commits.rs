//! Batches: all or nothing, and only by the present owner.

use crate::backend::{Blank, Fresh};
use crate::fold::{Computed, WHOLE, acquire, all_rows, append_all, catch_up, compute, owner};
use crate::log::{event, finished, input, started, tenant, whole_trace};
use decisiongraph_projections::{Category, Changes, LogSeq, Projection, catalogue};
use decisiongraph_store::*;
use std::sync::Arc;
use std::time::Duration;

const GRAPH: &dyn Projection = catalogue::CONTEXT_GRAPH;

/// All that a commit may change.
#[derive(Debug, PartialEq)]
struct State {
    scope: ScopeRow,
    rows: Vec<Vec<KeyedRow>>,
    checkpoints: Vec<Checkpoint>,
}

async fn state(fresh: &Fresh, projection: &dyn Projection) -> State {
    let view = fresh.store.snapshot().await.expect("a snapshot");
    let name = Scope::new(&tenant(), projection);
    let mut scope = view.scope(&name).await.expect("an answer").expect("a scope");
    scope.cursor_age_seconds = 0.0;
    State {
        rows: all_rows(&*view, &tenant(), projection, scope.generation).await,
        checkpoints: view.checkpoints(&name, 100).await.expect("checkpoints"),
        scope,
    }
}

/// Prepares a scope that has read `first`, and the batch of `second`.
async fn prepared(
    fresh: &Fresh,
    projection: &'static dyn Projection,
    first: &[decisiongraph_projections::Admitted],
    second: &[decisiongraph_projections::Admitted],
) -> (Lease, Computed) {
    append_all(&fresh.store, &tenant(), first).await;
    let me = owner("n");
    fresh.store.heartbeat(&me, Duration::from_secs(600)).await.expect("alive");
    let (lease, position) = acquire(&fresh.store, &Scope::new(&tenant(), projection), &me).await;
    let position = catch_up(&fresh.store, &lease, position, projection, &[100]).await;
    append_all(&fresh.store, &tenant(), second).await;
    let view = fresh.store.view().await.expect("a view");
    let events = view.page(&tenant(), position.cursor, LogSeq(i64::MAX), WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), projection, lease.generation, &position, &events).await;
    (lease, computed)
}

async fn is_fenced(fresh: &Fresh, lease: &Lease, batch: &BatchCommit<'_>) {
    let before = state(fresh, batch.projection).await;
    let fenced = fresh.store.commit(lease, batch).await.expect_err("fenced");
    assert_eq!(fenced.category, Category::Fenced, "{fenced}");
    assert_eq!(state(fresh, batch.projection).await, before, "nothing changed");
}

pub async fn rows_cursor_and_digest_move_together(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, computed) = prepared(&fresh, GRAPH, &[started("t")], &[input("t", 1, "i")]).await;
    let before = state(&fresh, GRAPH).await;
    assert_eq!((before.rows[0].len(), before.rows[1].len()), (3, 1));
    fresh.store.commit(&lease, &computed.batch(GRAPH)).await.expect("a commit");
    let after = state(&fresh, GRAPH).await;
    assert_eq!((after.rows[0].len(), after.rows[1].len()), (4, 2));
    assert_eq!(after.scope.position.cursor, computed.to);
    assert_eq!(after.scope.position.digest, computed.digest);
    assert_eq!(after.scope.position.version, GRAPH.version());
    assert_eq!((after.scope.epoch, after.scope.owner), (before.scope.epoch, before.scope.owner));
}

pub async fn an_empty_batch_moves_the_cursor(blank: Blank) {
    let fresh = blank.migrated().await;
    let summary = catalogue::TRACE_SUMMARY;
    let (lease, computed) = prepared(&fresh, summary, &[started("t")], &[input("t", 1, "i")]).await;
    assert!(computed.changes.is_empty());
    let before = state(&fresh, summary).await;
    fresh.store.commit(&lease, &computed.batch(summary)).await.expect("a commit");
    let after = state(&fresh, summary).await;
    assert_eq!(after.scope.position.cursor, computed.to);
    assert_eq!(after.rows, before.rows);
    // A batch without any list of tables is an empty batch as well. So is a batch that does not move the cursor.
    let still = Computed { from: computed.to, changes: Changes::default(), ..computed };
    fresh.store.commit(&lease, &still.batch(summary)).await.expect("a commit");
    assert_eq!(state(&fresh, summary).await.scope.position, after.scope.position);
}

pub async fn an_old_epoch_changes_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, computed) = prepared(&fresh, GRAPH, &[started("t")], &[input("t", 1, "i")]).await;
    let (next, _) = acquire(&fresh.store, &lease.scope, &lease.owner).await;
    is_fenced(&fresh, &lease, &computed.batch(GRAPH)).await;
    // The right number with another token is another epoch. A database that lost its tail may issue the number twice.
    let forged = Lease { epoch: Epoch { token: lease.epoch.token, ..next.epoch }, ..next.clone() };
    is_fenced(&fresh, &forged, &computed.batch(GRAPH)).await;
    fresh.store.commit(&next, &computed.batch(GRAPH)).await.expect("the present owner");
}

pub async fn a_wrong_cursor_changes_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, computed) = prepared(&fresh, GRAPH, &[started("t")], &[input("t", 1, "i")]).await;
    let early = Computed { from: LogSeq(computed.from.0 - 1), changes: computed.changes.clone(), ..computed };
    is_fenced(&fresh, &lease, &early.batch(GRAPH)).await;
    let late = Computed { from: early.to, ..early };
    is_fenced(&fresh, &lease, &late.batch(GRAPH)).await;
}

pub async fn a_wrong_generation_changes_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, computed) = prepared(&fresh, GRAPH, &[started("t")], &[input("t", 1, "i")]).await;
    let wrong = Lease { generation: Generation(lease.generation.0 + 1), ..lease };
    is_fenced(&fresh, &wrong, &computed.batch(GRAPH)).await;
    let view = fresh.store.view().await.expect("a view");
    let rows = all_rows(&*view, &tenant(), GRAPH, wrong.generation).await;
    assert!(rows.iter().all(Vec::is_empty), "nothing under the other number: {rows:?}");
}

pub async fn a_duplicate_is_told_and_changes_nothing(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, computed) = prepared(&fresh, GRAPH, &[started("t")], &[input("t", 1, "i")]).await;
    let before = state(&fresh, GRAPH).await;
    let mut twice = Computed { changes: computed.changes.clone(), digest: computed.digest.clone(), ..computed };
    Arc::make_mut(&mut twice.changes.tables)[0].inserts.push(before.rows[0][0].row.clone());
    let told = fresh.store.commit(&lease, &twice.batch(GRAPH)).await.expect_err("it is there");
    assert!(told.duplicate, "{told}");
    assert_eq!(state(&fresh, GRAPH).await, before, "nothing changed");
    fresh.store.commit(&lease, &computed.batch(GRAPH)).await.expect("the lease is still good");
}

pub async fn a_tampered_row_stops_its_update(blank: Blank) {
    let fresh = blank.migrated().await;
    let summary = catalogue::TRACE_SUMMARY;
    let (lease, computed) = prepared(
        &fresh,
        summary,
        &[started("t"), started("u")],
        &[finished("u", 1, "success"), finished("t", 1, "success")],
    )
    .await;
    assert_eq!(computed.changes.tables[0].updates.len(), 2);
    assert_eq!(fresh.raw("UPDATE dg_trace_summary SET title = 'forged' WHERE trace_id = 't'").await, 1);
    let before = state(&fresh, summary).await;
    let told = fresh.store.commit(&lease, &computed.batch(summary)).await.expect_err("it is not the row it was");
    assert_eq!((told.category, told.transient), (Category::Storage, false), "{told}");
    assert_eq!(state(&fresh, summary).await, before, "nothing changed, of no row");
}

pub async fn a_tampered_row_stops_its_deletion(blank: Blank) {
    let fresh = blank.migrated().await;
    let index = catalogue::PRECEDENT_INDEX;
    let (lease, mut computed) = prepared(&fresh, index, &whole_trace("t"), &[started("u")]).await;
    let rows = state(&fresh, index).await.rows;
    assert_eq!(rows[1].len(), 2);
    let tables = Arc::make_mut(&mut computed.changes.tables);
    tables.resize_with(2, Default::default);
    tables[1].deletes = rows[1].iter().map(|row| row.row.clone()).collect();
    assert_eq!(fresh.raw("UPDATE dg_precedent_index SET policy_version = '9' WHERE source_event_id = 't/3'").await, 1);
    let before = state(&fresh, index).await;
    let told = fresh.store.commit(&lease, &computed.batch(index)).await.expect_err("it is not the row it was");
    assert_eq!((told.category, told.transient), (Category::Storage, false), "{told}");
    assert_eq!(state(&fresh, index).await, before, "nothing changed, of no row");
    // With the original row restored, the commit succeeds.
    fresh.raw("UPDATE dg_precedent_index SET policy_version = '1' WHERE source_event_id = 't/3'").await;
    fresh.store.commit(&lease, &computed.batch(index)).await.expect("a commit");
    assert_eq!(state(&fresh, index).await.rows[1], Vec::new());
}

pub async fn two_commits_of_one_lease_cannot_both_win(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, computed) = prepared(&fresh, GRAPH, &[started("t")], &[input("t", 1, "i")]).await;
    let digest = computed.digest.clone();
    let computed = std::sync::Arc::new(computed);
    // Each commit runs on a separate task, and so on a separate thread. (A lease is valid only for the store that took
    // it.)
    let writer = async || {
        let (store, lease, computed) = (fresh.store.clone(), lease.clone(), computed.clone());
        tokio::spawn(async move { store.commit(&lease, &computed.batch(GRAPH)).await }).await.expect("no panic")
    };
    let (a, b) = tokio::join!(writer(), writer());
    let lost = match (a, b) {
        (Ok(()), Err(lost)) | (Err(lost), Ok(())) => lost,
        both => panic!("one wins: {both:?}"),
    };
    assert!(lost.category == Category::Fenced || lost.duplicate, "{lost}");
    assert_eq!(state(&fresh, GRAPH).await.scope.position.digest, digest);
}

pub async fn checkpoints_are_chained(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, computed) = prepared(&fresh, GRAPH, &[started("t")], &[input("t", 1, "i")]).await;
    fresh.store.commit(&lease, &BatchCommit { checkpoint: true, ..computed.batch(GRAPH) }).await.expect("a commit");
    append_all(&fresh.store, &tenant(), &[event("t", 2, "TraceFinished", r#"{"outcome":"failure"}"#)]).await;
    let next = Computed {
        from: computed.to,
        to: LogSeq(computed.to.0 + 1),
        changes: Changes::default(),
        digest: computed.digest.clone(),
    };
    fresh.store.commit(&lease, &BatchCommit { checkpoint: true, ..next.batch(GRAPH) }).await.expect("a commit");
    let checkpoints = state(&fresh, GRAPH).await.checkpoints;
    let [second, first] = checkpoints.as_slice() else { panic!("{checkpoints:?}") };
    assert_eq!((first.cursor, second.cursor), (computed.to, next.to));
    assert_eq!((first.previous.as_str(), &second.previous), ("", &first.hash));
    for checkpoint in [first, second] {
        assert_eq!(checkpoint.digest, computed.digest.to_text());
        assert_eq!((checkpoint.generation, checkpoint.version), (lease.generation, GRAPH.version()));
        assert_eq!(
            checkpoint.hash,
            Checkpoint::chain(
                &checkpoint.previous,
                &lease.scope,
                checkpoint.cursor,
                &checkpoint.digest,
                checkpoint.version
            )
        );
        assert!(checkpoint.recorded_at.ends_with('Z'), "{}", checkpoint.recorded_at);
    }
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(view.checkpoints(&lease.scope, 1).await.expect("one"), std::slice::from_ref(second));
    // A fenced batch leaves no checkpoint.
    let old = Lease { epoch: Epoch { counter: 0, ..lease.epoch }, ..lease };
    let batch = BatchCommit { from: next.to, to: next.to, checkpoint: true, ..next.batch(GRAPH) };
    is_fenced(&fresh, &old, &batch).await;
}

pub async fn old_checkpoints_go(blank: Blank) {
    let fresh = blank.migrated().await;
    let (lease, _) = prepared(&fresh, GRAPH, &[], &[]).await;
    let digest = Default::default();
    for cursor in 1..=1_003 {
        let batch = BatchCommit {
            projection: GRAPH,
            from: LogSeq(cursor - 1),
            to: LogSeq(cursor),
            changes: &Changes::default(),
            digest: &digest,
            skipped: &[],
            seal: None,
            checkpoint: true,
        };
        fresh.store.commit(&lease, &batch).await.expect("a commit");
    }
    let view = fresh.store.view().await.expect("a view");
    let kept = view.checkpoints(&lease.scope, 5_000).await.expect("checkpoints");
    assert_eq!(kept.len(), 1_000);
    assert_eq!((kept[0].cursor, kept[999].cursor), (LogSeq(1_003), LogSeq(4)));
    assert!(kept.windows(2).all(|pair| pair[0].previous == pair[1].hash), "the chain holds");
}
