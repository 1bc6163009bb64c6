//! Generations that own partitions: built, flipped to and removed, with every step interrupted and repeated.

use crate::backend::Blank;
use crate::fold::{acquire, all_rows, append_all, build, catch_up, origin, owner};
use crate::log::{seeded, tenant};
use crate::raw::{Fresh, until};
use decisiongraph_projections::catalogue::{CONTEXT_GRAPH as GRAPH, PRECEDENT_INDEX as PRECEDENTS};
use decisiongraph_store::{BuildLease, Flip, Generation, Position, Scope, Storage, digest_of_rows};
use uuid::Uuid;

fn scope() -> Scope {
    Scope::new(&tenant(), GRAPH)
}

/// Prepares a log, its live generation, and the same built beside it in its own partition.
async fn built(fresh: &Fresh) -> (Generation, Position, BuildLease) {
    append_all(&fresh.store, &tenant(), &seeded(7, 600)).await;
    let (lease, position) = acquire(&fresh.store, &scope(), &owner("me")).await;
    let live = catch_up(&fresh.store, &lease, position, GRAPH, &[100]).await;
    let build_lease = fresh.store.begin_build(&scope(), Uuid::new_v4(), Storage::Own).await.expect("a build");
    assert_eq!(build(&fresh.store, &build_lease, origin(GRAPH), GRAPH, 70, 100).await, live);
    (lease.generation, live, build_lease)
}

async fn partitions(fresh: &Fresh) -> i64 {
    let sql = "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('dg_cg_nodes'::regclass, 'dg_cg_edges'::regclass)";
    fresh.client().await.query_one(sql, &[]).await.expect("a count").get(0)
}

async fn tables(fresh: &Fresh) -> i64 {
    let sql = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'dg\\_cg\\_%\\_g%'";
    fresh.client().await.query_one(sql, &[]).await.expect("a count").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_of_its_own_is_built_flipped_to_and_removed() {
    let fresh = Fresh::new().await;
    let (old, live, lease) = built(&fresh).await;
    fresh.store.flip(&lease).await.expect_err("not before it is finished");
    fresh.store.finish_build(&lease).await.expect("is ready");
    fresh.store.finish_build(&lease).await.expect("and again");
    assert_eq!(partitions(&fresh).await, 4);
    let view = fresh.store.view().await.expect("a view");
    let rows = all_rows(&*view, &tenant(), GRAPH, old).await;
    assert_eq!(all_rows(&*view, &tenant(), GRAPH, lease.generation).await, rows);
    assert_eq!(
        fresh.store.flip(&lease).await.expect("a flip"),
        Flip::Flipped { old_generation: old, old: live.clone() }
    );
    assert_eq!(digest_of_rows(&*view, &tenant(), GRAPH, lease.generation).await.expect("a digest"), live.digest);
    // Live batches continue in the partition.
    append_all(&fresh.store, &tenant(), &crate::log::whole_trace("later")).await;
    let (next, position) = acquire(&fresh.store, &scope(), &owner("me")).await;
    assert_eq!(next.generation, lease.generation);
    let after = catch_up(&fresh.store, &next, position, GRAPH, &[2]).await;
    assert_eq!(digest_of_rows(&*view, &tenant(), GRAPH, next.generation).await.expect("a digest"), after.digest);
    // Another rebuild retires it; its tables go.
    let second = fresh.store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    build(&fresh.store, &second, origin(GRAPH), GRAPH, 1_000, 100).await;
    fresh.store.finish_build(&second).await.expect("is ready");
    fresh.store.flip(&second).await.expect("a flip");
    until("both retired ones are gone", || async { fresh.store.sweep(u64::MAX).await.expect("a sweep").left == 0 })
        .await;
    assert_eq!((partitions(&fresh).await, tables(&fresh).await), (2, 0));
    assert!(all_rows(&*view, &tenant(), GRAPH, old).await.iter().all(Vec::is_empty));
    assert_eq!(digest_of_rows(&*view, &tenant(), GRAPH, second.generation).await.expect("a digest"), after.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_finish_goes_on() {
    let fresh = Fresh::new().await;
    let (_, live, lease) = built(&fresh).await;
    // A state that a crash may leave: one table attached, and one index on the other.
    let (client, generation) = (fresh.client().await, lease.generation.0);
    client
        .batch_execute(&format!(
            "ALTER TABLE dg_cg_nodes ATTACH PARTITION dg_partitions.dg_cg_nodes_g{generation} FOR VALUES FROM ({generation}) TO ({}); \
             CREATE INDEX dg_cg_edges_g{generation}_i1 ON dg_partitions.dg_cg_edges_g{generation} (tenant_id, generation, from_node_id_since, from_node_id_key, log_seq)",
            generation + 1
        ))
        .await
        .expect("half of it");
    fresh.store.finish_build(&lease).await.expect("the rest");
    assert_eq!(partitions(&fresh).await, 4);
    fresh.store.flip(&lease).await.expect("a flip");
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(digest_of_rows(&*view, &tenant(), GRAPH, lease.generation).await.expect("a digest"), live.digest);
}

/// The build's table is not attached yet. So a migration of its future parent does not reach it by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_under_way_is_brought_up_with_the_schema() {
    let fresh = Fresh::new().await;
    append_all(&fresh.store, &tenant(), &seeded(7, 600)).await;
    let (live_lease, position) = acquire(&fresh.store, &scope(), &owner("me")).await;
    let live = catch_up(&fresh.store, &live_lease, position, GRAPH, &[100]).await;
    let lease = fresh.store.begin_build(&scope(), Uuid::new_v4(), Storage::Own).await.expect("a build");
    let half = build(&fresh.store, &lease, origin(GRAPH), GRAPH, 70, 4).await;
    fresh.store.index_build(&lease, &[(1, 0)]).await.expect("an index");
    // A second build, of precedents, beside live ones.
    let precedents = Scope::new(&tenant(), PRECEDENTS);
    let (live_precedents, position) = acquire(&fresh.store, &precedents, &owner("me")).await;
    catch_up(&fresh.store, &live_precedents, position, PRECEDENTS, &[100]).await;
    let other = fresh.store.begin_build(&precedents, Uuid::new_v4(), Storage::Own).await.expect("a build");
    build(&fresh.store, &other, origin(PRECEDENTS), PRECEDENTS, 100, 100).await;
    let evaluations = format!("dg_policy_eval_index_g{}", other.generation);
    let (client, nodes) = (fresh.client().await, format!("dg_cg_nodes_g{}", lease.generation));
    let own = format!("dg_cg_edges_g{}", lease.generation);
    let before = [
        format!("ALTER TABLE {nodes} ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid"),
        format!(
            "DROP INDEX {own}_pkey; ALTER TABLE {own} ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid, \
             DROP COLUMN from_node_id_since, DROP COLUMN to_node_id_since"
        ),
        format!("CREATE UNIQUE INDEX {own}_pkey ON {own} (tenant_id, generation, row_key)"),
        format!("ALTER TABLE {evaluations} ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid"),
        format!(
            "ALTER TABLE dg_precedent_index_g{} ALTER row_key TYPE uuid USING encode(substr(row_key, 5), 'hex')::uuid, \
             ALTER trace_id_key TYPE uuid USING encode(substr(trace_id_key, 5), 'hex')::uuid",
            other.generation
        ),
    ];
    for statement in Blank::Postgres.to_the_schema_before().iter().map(|sql| (*sql).to_owned()).chain(before) {
        client.batch_execute(&statement).await.expect("the schema before");
    }
    let store = fresh.again().await;
    assert!(!store.migrate().await.expect("a schema").is_empty());
    let (lease, position) = store.resume_build(&scope(), lease.run_id).await.expect("an answer").expect("the build");
    assert_eq!(position, half);
    assert_eq!(build(&store, &lease, position, GRAPH, 70, 100).await, live);
    store.finish_build(&lease).await.expect("is ready");
    store.flip(&lease).await.expect("a flip");
    let view = store.view().await.expect("a view");
    let old = all_rows(&*view, &tenant(), GRAPH, live_lease.generation).await;
    assert_eq!(all_rows(&*view, &tenant(), GRAPH, lease.generation).await, old);
    assert_eq!(digest_of_rows(&*view, &tenant(), GRAPH, lease.generation).await.expect("a digest"), live.digest);
    let (other, _) = store.resume_build(&precedents, other.run_id).await.expect("an answer").expect("the build");
    store.finish_build(&other).await.expect("is ready");
    let old = all_rows(&*view, &tenant(), PRECEDENTS, live_precedents.generation).await;
    assert!(old.iter().all(|rows| rows.len() > 5), "{old:?}");
    assert_eq!(all_rows(&*view, &tenant(), PRECEDENTS, other.generation).await, old);
}

/// No index is kept while a partition is filled. So a duplicate key is found when the indexes are built.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_written_twice_is_never_made_live() {
    let fresh = Fresh::new().await;
    let (old, live, lease) = built(&fresh).await;
    let (client, own) = (fresh.client().await, format!("dg_partitions.dg_cg_edges_g{}", lease.generation));
    client.batch_execute(&format!("INSERT INTO {own} SELECT * FROM {own} LIMIT 1")).await.expect("no index forbids it");
    for _ in 0..2 {
        let told = fresh.store.finish_build(&lease).await.expect_err("a key is there twice");
        assert!(
            told.duplicate && told.message.contains("corruption") && told.message.contains("dg_cg_edges"),
            "{told}"
        );
        fresh.store.flip(&lease).await.expect_err("not before it is finished");
    }
    assert_eq!(partitions(&fresh).await, 2, "neither table is attached");
    let view = fresh.store.view().await.expect("a view");
    let row = view.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!((row.generation, row.position), (old, live), "readers see what they saw");
}

/// A lost connection leaves its sessions building. The next caller waits for them instead of building the same again.
#[tokio::test(flavor = "multi_thread")]
async fn a_finish_waits_for_the_sessions_of_an_interrupted_one() {
    let fresh = Fresh::new().await;
    let (_, _, lease) = built(&fresh).await;
    let generation = lease.generation.0;
    // Locks of an interrupted call, and of a session beside it.
    let left = [
        format!("BEGIN; INSERT INTO dg_turn (what) VALUES ('generation {generation}')"),
        format!("BEGIN; LOCK TABLE dg_partitions.dg_cg_nodes_g{generation} IN SHARE MODE"),
    ];
    let held = [fresh.client().await, fresh.client().await];
    for (client, lock) in held.iter().zip(&left) {
        client.batch_execute(lock).await.expect("held");
    }
    let (store, again) = (std::sync::Arc::clone(&fresh.store), lease.clone());
    let finishing = tokio::spawn(async move { store.finish_build(&again).await });
    let client = fresh.client().await;
    for (client_left, waits) in held.into_iter().zip(["transactionid", "relation"]) {
        until("it waits", || async {
            let sql = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                       WHERE l.locktype = $1 AND NOT l.granted AND a.datname = current_database()";
            client.query_one(sql, &[&waits]).await.expect("a count").get::<_, i64>(0) == 1
        })
        .await;
        assert_eq!(partitions(&fresh).await, 2, "nothing is attached yet");
        drop(client_left);
    }
    finishing.await.expect("no panic").expect("then it goes on");
    assert_eq!(partitions(&fresh).await, 4);
}

/// Each session that builds indexes of a large generation can be waited for.
#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_of_a_finish_hold_what_the_next_one_waits_for() {
    let fresh = Fresh::new().await;
    let (_, _, lease) = built(&fresh).await;
    let (client, generation) = (fresh.client().await, lease.generation.0);
    let large = format!(
        "INSERT INTO dg_partitions.dg_cg_nodes_g{generation} (tenant_id, generation, row_key, node_id, node_type, trace_id, log_seq, created_at) \
         SELECT 'default', {generation}, uuid_send(gen_random_uuid()), repeat('x', 1500), 't', 't', 1, '' FROM generate_series(1, 7000)"
    );
    client.batch_execute(&large).await.expect("some megabytes");
    // A writer in the table whose indexes come first delays each of its indexes. So no session has finished before
    // another one exists.
    client
        .batch_execute(&format!("BEGIN; LOCK TABLE dg_partitions.dg_cg_edges_g{generation} IN ROW EXCLUSIVE MODE"))
        .await
        .expect("held");
    let (store, again) = (std::sync::Arc::clone(&fresh.store), lease.clone());
    let finishing = tokio::spawn(async move { store.finish_build(&again).await });
    let nodes = format!("dg_partitions.dg_cg_nodes_g{generation}");
    until("a session beside has said that it is there", || async {
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND mode = 'ShareLock' AND granted \
                   AND relation = $1::text::regclass";
        client.query_one(sql, &[&nodes]).await.expect("a count").get::<_, i64>(0) >= 1
    })
    .await;
    client.batch_execute("COMMIT").await.expect("gone");
    finishing.await.expect("no panic").expect("then it goes on");
    assert_eq!(partitions(&fresh).await, 4);
}

/// The look-up columns of a build get their index before the build is finished, and the planner knows of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_a_build_asks_for_is_there_with_statistics() {
    let fresh = Fresh::new().await;
    let (_, _, lease) = built(&fresh).await;
    let (client, own) = (fresh.client().await, format!("dg_cg_nodes_g{}", lease.generation));
    let there = async || -> (i64, i64) {
        let sql = "SELECT (SELECT count(*) FROM pg_indexes WHERE tablename = $1), \
                          (SELECT count(DISTINCT attname) FROM pg_stats WHERE tablename = $1 AND attname = 'row_key')";
        let row = client.query_one(sql, &[&own]).await.expect("the catalogue");
        (row.get(0), row.get(1))
    };
    assert_eq!(there().await, (0, 0), "none while it fills");
    fresh.store.index_build(&lease, &[(0, 0)]).await.expect("an index");
    assert_eq!(there().await, (1, 1));
    let asked: Vec<_> = GRAPH.needs(&[]).rows.into_iter().map(|need| (need.table, need.by)).collect();
    fresh.store.index_build(&lease, &asked).await.expect("the others");
    fresh.store.finish_build(&lease).await.expect("ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_was_given_up_leaves_no_table() {
    let fresh = Fresh::new().await;
    let (_, _, lease) = built(&fresh).await;
    assert_eq!(tables(&fresh).await, 2);
    fresh.store.abandon_build(&scope(), lease.run_id).await.expect("given up");
    until("it is gone", || async { fresh.store.sweep(u64::MAX).await.expect("a sweep").left == 0 }).await;
    assert_eq!(tables(&fresh).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_while_a_snapshot_may_read_it() {
    let fresh = Fresh::new().await;
    let (old, _, lease) = built(&fresh).await;
    fresh.store.finish_build(&lease).await.expect("is ready");
    fresh.store.flip(&lease).await.expect("a flip");
    // A reader of the partition, before a second rebuild retires it. It has read nothing of the partition yet, so no
    // lock shows it.
    let snapshot = fresh.store.snapshot().await.expect("a snapshot");
    let second = fresh.store.begin_build(&scope(), Uuid::new_v4(), Storage::Shared).await.expect("a build");
    build(&fresh.store, &second, origin(GRAPH), GRAPH, 1_000, 100).await;
    fresh.store.finish_build(&second).await.expect("is ready");
    fresh.store.flip(&second).await.expect("a flip");
    for _ in 0..3 {
        assert_eq!(fresh.store.sweep(u64::MAX).await.expect("a sweep").left, 2);
    }
    let view = fresh.store.view().await.expect("a view");
    let expected = all_rows(&*view, &tenant(), GRAPH, second.generation).await;
    assert_eq!(all_rows(&*snapshot, &tenant(), GRAPH, lease.generation).await, expected);
    assert_eq!(all_rows(&*snapshot, &tenant(), GRAPH, old).await, expected);
    // A later reader delays no removal.
    let later = fresh.store.snapshot().await.expect("a snapshot");
    drop(snapshot);
    until("both are gone", || async { fresh.store.sweep(u64::MAX).await.expect("a sweep").left == 0 }).await;
    assert_eq!(all_rows(&*later, &tenant(), GRAPH, second.generation).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_detachment_is_finished() {
    let fresh = Fresh::new().await;
    let (_, _, lease) = built(&fresh).await;
    fresh.store.finish_build(&lease).await.expect("is ready");
    // A reader of the partitioned table makes the detachment wait between its two steps. There the detachment is
    // interrupted.
    let reader = fresh.client().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM dg_cg_nodes").await.expect("reads");
    let (detacher, generation) = (fresh.client().await, lease.generation.0);
    let detach =
        format!("ALTER TABLE dg_cg_nodes DETACH PARTITION dg_partitions.dg_cg_nodes_g{generation} CONCURRENTLY");
    let detaching = tokio::spawn(async move { detacher.batch_execute(&detach).await });
    let client = fresh.client().await;
    until("the detachment waits", || async {
        let sql = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending";
        client.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) == 1
    })
    .await;
    let end =
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%CONCURRENTLY'";
    client.batch_execute(end).await.expect("ends it");
    detaching.await.expect("no panic").expect_err("interrupted");
    reader.batch_execute("COMMIT").await.expect("done");
    fresh.store.abandon_build(&scope(), lease.run_id).await.expect("given up");
    until("it is gone", || async { fresh.store.sweep(u64::MAX).await.expect("a sweep").left == 0 }).await;
    assert_eq!((partitions(&fresh).await, tables(&fresh).await), (2, 0));
}
