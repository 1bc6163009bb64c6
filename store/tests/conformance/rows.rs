//! Rows: found by identity, streamed in order.

use crate::appends::hostile_ids;
use crate::backend::{Blank, Fresh};
use crate::fold::{acquire, all_rows, append_all, catch_up, collect, owner};
use crate::log::{named, offered, policy, seeded, started, started_about, tenant, whole_trace};
use decisiongraph_projections::{Fetch, Hashed, LogSeq, Needs, Projection, RowsNeed, catalogue};
use decisiongraph_store::*;
use futures_util::StreamExt as _;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

async fn projected(
    fresh: &Fresh,
    tenant: &decisiongraph_projections::TenantId,
    projection: &'static dyn Projection,
) -> Lease {
    let (lease, position) = acquire(&fresh.store, &Scope::new(tenant, projection), &owner("n")).await;
    catch_up(&fresh.store, &lease, position, projection, &[7, 1, 100]).await;
    lease
}

fn need(table: usize, by: usize, fetch: Fetch, values: impl IntoIterator<Item = String>) -> RowsNeed {
    RowsNeed { values: values.into_iter().map(Into::into).collect(), ..RowsNeed::of(table, by, fetch) }
}

async fn prior_of(
    view: &dyn ReadView,
    projection: &dyn Projection,
    generation: Generation,
    needs: &Arc<Needs>,
) -> decisiongraph_projections::Prior {
    let prior = view.prior_rows(&tenant(), projection, generation, needs, usize::MAX).await;
    prior.expect("prior rows").expect("whatever they have")
}

pub async fn prior_rows_of_hostile_ids(blank: Blank) {
    let fresh = blank.migrated().await;
    for (number, id) in hostile_ids().into_iter().enumerate() {
        let event = offered(&id, &format!("k{number}"), &id, 0, "TraceStarted", started("t").payload());
        append_all(&fresh.store, &tenant(), &[event]).await;
    }
    let graph = projected(&fresh, &tenant(), catalogue::CONTEXT_GRAPH).await;
    let summary = projected(&fresh, &tenant(), catalogue::TRACE_SUMMARY).await;
    let view = fresh.store.view().await.expect("a view");
    let nodes: BTreeSet<String> = hostile_ids().iter().map(|id| format!("trace:{id}")).collect();
    let sought = nodes.iter().cloned().chain(["trace:nobody".to_owned(), String::new()]);
    let needs = Arc::new(Needs { rows: vec![need(0, 0, Fetch::Existence, sought)], ..Needs::default() });
    let prior = prior_of(&*view, catalogue::CONTEXT_GRAPH, graph.generation, &needs).await;
    assert_eq!(prior.existing[0].iter().map(|key| key.to_string()).collect::<BTreeSet<_>>(), nodes);
    assert_eq!(prior.rows, [Vec::new()]);
    let sought = hostile_ids().into_iter().chain(["nobody".to_owned()]);
    let needs = Arc::new(Needs { rows: vec![need(0, 0, Fetch::Rows, sought)], ..Needs::default() });
    let prior = prior_of(&*view, catalogue::TRACE_SUMMARY, summary.generation, &needs).await;
    let found: BTreeSet<String> = prior.rows[0].iter().map(|row| row.key().to_owned()).collect();
    assert_eq!(found, hostile_ids().into_iter().collect());
    assert_eq!(prior.rows[0].len(), hostile_ids().len());
    // Another generation has none of them, and an empty need has no answer.
    let other = Generation(summary.generation.0 + 1_000);
    let prior = prior_of(&*view, catalogue::TRACE_SUMMARY, other, &needs).await;
    assert_eq!(prior.rows, [Vec::new()]);
    let nothing = prior_of(&*view, catalogue::TRACE_SUMMARY, summary.generation, &Arc::default()).await;
    assert!(nothing.rows.is_empty() && nothing.existing.is_empty());
}

pub async fn prior_rows_by_a_hashed_column(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &[whole_trace("t"), whole_trace("u"), whole_trace("v")].concat()).await;
    let lease = projected(&fresh, &tenant(), catalogue::PRECEDENT_INDEX).await;
    let view = fresh.store.view().await.expect("a view");
    let table = &catalogue::PRECEDENT_INDEX.tables()[1];
    let by = table.column("trace_id");
    let sought = ["t", "v", "w"].map(str::to_owned);
    let rows = vec![need(0, 0, Fetch::Existence, []), need(1, by, Fetch::Rows, sought)];
    let needs = Arc::new(Needs { rows, ..Needs::default() });
    let prior = prior_of(&*view, catalogue::PRECEDENT_INDEX, lease.generation, &needs).await;
    let mut keys: Vec<&str> = prior.rows[1].iter().map(decisiongraph_projections::Row::key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["t/2", "t/3", "v/2", "v/3"]);
}

/// Rows and histories larger than the caller's room are not returned at all. All that fit are returned whole.
pub async fn what_must_be_known_is_bounded_by_its_bytes(blank: Blank) {
    let fresh = blank.migrated().await;
    let names: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    let long = "p".repeat(4_000);
    for name in &names {
        let events = [started_about(name, "account", &long), policy(name, 1, &long, "1")];
        append_all(&fresh.store, &tenant(), &events).await;
    }
    let summary = projected(&fresh, &tenant(), catalogue::TRACE_SUMMARY).await;
    let view = fresh.store.view().await.expect("a view");
    let traces: BTreeSet<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
    let rows = async |bytes_max| {
        let needs = Needs { rows: vec![need(0, 0, Fetch::Rows, names.clone())], ..Needs::default() };
        let (projection, generation) = (catalogue::TRACE_SUMMARY, summary.generation);
        let prior = view.prior_rows(&tenant(), projection, generation, &Arc::new(needs), bytes_max).await;
        prior.expect("prior rows").map(|prior| prior.rows[0].len())
    };
    let history = async |bytes_max| {
        let end = LogSeq(i64::MAX);
        let history = view.history(&tenant(), catalogue::PRECEDENT_INDEX, &traces, end, bytes_max).await;
        history.expect("a history").map(|history| history.len())
    };
    for (bytes_max, expected) in [(0, None), (39_000, None), (200_000, Some(10)), (usize::MAX, Some(10))] {
        assert_eq!((rows(bytes_max).await, history(bytes_max).await), (expected, expected), "{bytes_max}");
    }
    assert_eq!(rows(0).await, None, "after one that was not read to its end");
}

pub async fn streams_come_in_both_orders(blank: Blank) {
    let fresh = blank.migrated().await;
    // Several chunks of rows.
    append_all(&fresh.store, &tenant(), &seeded(3, 4_200)).await;
    let lease = projected(&fresh, &tenant(), catalogue::CONTEXT_GRAPH).await;
    let snapshot = fresh.store.snapshot().await.expect("a snapshot");
    let view = fresh.store.view().await.expect("a view");
    for (index, table) in catalogue::CONTEXT_GRAPH.tables().iter().enumerate() {
        let stream = async |view: &dyn ReadView, order| {
            collect(
                view.rows(&tenant(), catalogue::CONTEXT_GRAPH, lease.generation, index, order).await.expect("a stream"),
            )
            .await
        };
        let by_key = stream(&*snapshot, RowOrder::Key).await;
        let by_text = stream(&*snapshot, RowOrder::Text).await;
        assert!(by_key.len() > 1_000, "{}: {}", table.name, by_key.len());
        assert!(by_key.windows(2).all(|pair| pair[0].key < pair[1].key));
        assert!(by_text.windows(2).all(|pair| pair[0].row.key().as_bytes() < pair[1].row.key().as_bytes()));
        for row in &by_key {
            assert_eq!(row.key, table.identity(&row.row));
            let beside = |hashed: &Hashed| hashed.key(row.row.0[hashed.column].as_str().expect("a text"));
            assert_eq!(row.hashed, table.hashed.iter().map(beside).collect::<Vec<_>>());
        }
        positions_are_those_of_the_rows_named(&*view, lease.generation, index, &by_key).await;
        let mut sorted = by_key.clone();
        sorted.sort_by(|a, b| a.row.key().cmp(b.row.key()));
        assert_eq!(sorted, by_text);
        assert_eq!(stream(&*view, RowOrder::Key).await, by_key, "outside a snapshot as well");
        assert_eq!(stream(&*view, RowOrder::Text).await, by_text);
    }
    let none = view
        .rows(&tenant(), catalogue::CONTEXT_GRAPH, Generation(i64::MAX), 0, RowOrder::Text)
        .await
        .expect("a stream");
    assert_eq!(collect(none).await, Vec::new());
}

/// Checks that beside the hash of a named row is its position, or 0. Both occur when the log is cut into batches of
/// several sizes.
async fn positions_are_those_of_the_rows_named(
    view: &dyn ReadView,
    generation: Generation,
    table: usize,
    rows: &[KeyedRow],
) {
    let tables = catalogue::CONTEXT_GRAPH.tables();
    let Some(named) = tables[table].naming else {
        assert!(rows.iter().all(|row| row.since.is_empty()), "{}", tables[table].name);
        return;
    };
    let begun = all_rows(view, &tenant(), catalogue::CONTEXT_GRAPH, generation).await.swap_remove(named);
    let at = tables[named].column("log_seq");
    let begun: HashMap<&str, i64> =
        begun.iter().map(|row| (row.row.key(), row.row.0[at].as_int().expect("a position"))).collect();
    let (mut known, mut unknown) = (0, 0);
    for row in rows {
        assert_eq!(row.since.len(), tables[table].hashed.len());
        for (hashed, since) in tables[table].hashed.iter().zip(&row.since) {
            let name = row.row.0[hashed.column].as_str().expect("a text");
            assert!(*since == 0 || begun[name] == *since, "{name} of {}: {since}", row.row.key());
            if *since == 0 { unknown += 1 } else { known += 1 }
        }
    }
    assert!(known > 100 && unknown > 100, "{known}, {unknown}");
}

pub async fn streams_of_one_view_do_not_block_each_other(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &tenant(), &seeded(4, 4_200)).await;
    let lease = projected(&fresh, &tenant(), catalogue::CONTEXT_GRAPH).await;
    let view = fresh.store.snapshot().await.expect("a snapshot");
    let projection = catalogue::CONTEXT_GRAPH;
    for order in [RowOrder::Key, RowOrder::Text] {
        let mut nodes = view.rows(&tenant(), projection, lease.generation, 0, order).await.expect("a stream");
        let mut edges = view.rows(&tenant(), projection, lease.generation, 1, order).await.expect("a stream");
        let (mut node_count, mut edge_count) = (0, 0);
        loop {
            let node = nodes.next().await.transpose().expect("a chunk");
            let edge = edges.next().await.transpose().expect("a chunk");
            view.tenants().await.expect("another read in between");
            if node.is_none() && edge.is_none() {
                break;
            }
            node_count += node.map_or(0, |chunk| chunk.len());
            edge_count += edge.map_or(0, |chunk| chunk.len());
        }
        assert!(node_count > 1_000 && edge_count > 1_000, "{node_count}, {edge_count}");
    }
    // A stream that is dropped half-way leaves the view as it was.
    let mut half = view.rows(&tenant(), projection, lease.generation, 0, RowOrder::Key).await.expect("a stream");
    half.next().await.expect("a chunk").expect("rows");
    drop(half);
    assert_eq!(all_rows(&*view, &tenant(), projection, lease.generation).await.len(), 2);
}

pub async fn generations_and_tenants_are_apart(blank: Blank) {
    let fresh = blank.migrated().await;
    let (a, b) = (named("a"), named("b"));
    append_all(&fresh.store, &a, &whole_trace("t")).await;
    append_all(&fresh.store, &b, &[started("t"), started("u")]).await;
    let projection = catalogue::TRACE_SUMMARY;
    let of_a = projected(&fresh, &a, projection).await;
    let of_b = projected(&fresh, &b, projection).await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(all_rows(&*view, &a, projection, of_a.generation).await[0].len(), 1);
    assert_eq!(all_rows(&*view, &b, projection, of_b.generation).await[0].len(), 2);
    assert_eq!(all_rows(&*view, &a, projection, of_b.generation).await[0].len(), 0, "a tenant is in every key");
}
