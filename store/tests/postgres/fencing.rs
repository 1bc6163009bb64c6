//! Writers that should have stopped: at any timing they change nothing, and they keep no other process waiting.

use crate::fold::{WHOLE, acquire, all_rows, append_all, catch_up, compute, owner};
use crate::log::{tenant, whole_trace};
use crate::raw::{Fresh, pid, until};
use decisiongraph_projections::catalogue::CONTEXT_GRAPH as GRAPH;
use decisiongraph_projections::catalogue::TRACE_SUMMARY as SUMMARY;
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_store::throwaway::Server;
use decisiongraph_store::{Scope, Store, StoreOptions, postgres};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn scope() -> Scope {
    Scope::new(&tenant(), GRAPH)
}

/// Ends every session of the store's writers.
async fn end_writer(fresh: &Fresh) {
    let sql = "SELECT pg_terminate_backend(writer_pid, 5000) FROM dg_scope WHERE writer_pid IS NOT NULL";
    fresh.client().await.batch_execute(sql).await.expect("ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_inside_its_transaction_is_stopped_by_the_fence() {
    let fresh = Fresh::new().await;
    let (lease, _) = acquire(&fresh.store, &scope(), &owner("first")).await;
    // The first writer has written its rows and not yet come to the fence …
    let stale = fresh.client().await;
    stale.batch_execute("BEGIN").await.expect("begins");
    stale
        .execute(
            "INSERT INTO dg_cg_nodes (tenant_id, generation, row_key, node_id, node_type, trace_id, log_seq, created_at) \
             VALUES ('default', $1, uuid_send(gen_random_uuid()), 'n', 't', 't', 1, '')",
            &[&lease.generation.0],
        )
        .await
        .expect("writes a row");
    // … when the scope is taken over.
    let other = fresh.again().await;
    let (taken, position) = acquire(&other, &scope(), &owner("second")).await;
    assert_eq!(taken.epoch.counter, lease.epoch.counter + 1);
    let fence = format!(
        "SELECT dg_commit_scope('default', 'context_graph', 0, 9, {}, '{}', {}, '', 1)",
        lease.epoch.counter, lease.epoch.token, lease.generation
    );
    let error = stale.batch_execute(&fence).await.expect_err("fenced");
    assert_eq!(error.code().map(|code| code.code()), Some("DG001"));
    // The writer continues all the same: the server has turned its COMMIT into a ROLLBACK.
    stale.batch_execute("COMMIT").await.expect("says so in no other way");
    let view = other.view().await.expect("a view");
    assert!(all_rows(&*view, &tenant(), GRAPH, lease.generation).await.iter().all(Vec::is_empty));
    let row = view.scope(&scope()).await.expect("an answer").expect("a scope");
    assert_eq!((row.position, row.epoch), (position, taken.epoch));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_writer_that_holds_the_scope_row_is_ended_by_the_takeover() {
    let fresh = Fresh::new().await;
    let (lease, _) = acquire(&fresh.store, &scope(), &owner("first")).await;
    // A writer that stopped after it touched the scope row: no other writer gets past it.
    let stopped = fresh.client().await;
    let claims = "UPDATE dg_scope SET writer_pid = pg_backend_pid(), writer_started = \
                  (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())";
    stopped.batch_execute(claims).await.expect("is the scope's writer");
    stopped.batch_execute("BEGIN; UPDATE dg_scope SET cursor_seq = 77").await.expect("holds the row");
    let began = Instant::now();
    let other = fresh.again().await;
    let (_, position) = acquire(&other, &scope(), &owner("second")).await;
    let bound = StoreOptions::default().idle_in_transaction_timeout;
    assert!(began.elapsed() < bound, "it was ended, not waited for: {:?}", began.elapsed());
    assert_eq!(position.cursor, LogSeq::ORIGIN);
    until("the stopped session is closed", || async { stopped.is_closed() }).await;
    drop(lease);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_the_same_pid_is_left_alone() {
    let fresh = Fresh::new().await;
    let (lease, _) = acquire(&fresh.store, &scope(), &owner("first")).await;
    let stranger = fresh.client().await;
    let sql = format!("UPDATE dg_scope SET writer_pid = {}, writer_started = '2001-01-01'", pid(&stranger).await);
    stranger.batch_execute(&sql).await.expect("a pid that was given out again");
    let (taken, _) = acquire(&fresh.again().await, &scope(), &owner("second")).await;
    assert_eq!(taken.epoch.counter, lease.epoch.counter + 1);
    stranger.batch_execute("SELECT 1").await.expect("lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_one_scope_again_leaves_the_others_of_its_session_alone() {
    let fresh = Fresh::with(StoreOptions { writers: 1, ..StoreOptions::default() }).await;
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let me = owner("me");
    let (graph, at_graph) = acquire(&fresh.store, &scope(), &me).await;
    let (summary, at_summary) = acquire(&fresh.store, &Scope::new(&tenant(), SUMMARY), &me).await;
    assert_eq!(graph.session, summary.session);
    let (again, _) = acquire(&fresh.store, &scope(), &me).await;
    assert_eq!(again.session, summary.session);
    catch_up(&fresh.store, &summary, at_summary, SUMMARY, &[3]).await;
    catch_up(&fresh.store, &again, at_graph, GRAPH, &[3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ends_with_its_session() {
    let fresh = Fresh::new().await;
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let me = owner("me");
    let (lease, position) = acquire(&fresh.store, &scope(), &me).await;
    let view = fresh.store.view().await.expect("a view");
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), GRAPH, lease.generation, &position, &events).await;
    end_writer(&fresh).await;
    // The loss is noticed during the commit or before it. In both cases nothing is changed, and the lease is void.
    let first = fresh.store.commit(&lease, &computed.batch(GRAPH)).await.expect_err("the session is gone");
    assert!(matches!(first.category, Category::Unavailable | Category::Fenced), "{first}");
    let second = fresh.store.commit(&lease, &computed.batch(GRAPH)).await.expect_err("still gone");
    assert_eq!(second.category, Category::Fenced, "{second}");
    let (again, found) = acquire(&fresh.store, &scope(), &me).await;
    assert_eq!(found, position);
    fresh.store.commit(&again, &computed.batch(GRAPH)).await.expect("a new epoch on a new session");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_commit_leaves_no_transaction_to_the_next_one() {
    let fresh = Fresh::new().await;
    append_all(&fresh.store, &tenant(), &whole_trace("t")).await;
    let me = owner("me");
    let (lease, position) = acquire(&fresh.store, &scope(), &me).await;
    let view = fresh.store.view().await.expect("a view");
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), GRAPH, lease.generation, &position, &events).await;
    // Another session holds the scope row, so the commit waits at its fence; then its caller gives up.
    let blocker = fresh.client().await;
    blocker.batch_execute("BEGIN; SELECT * FROM dg_scope FOR UPDATE").await.expect("holds the row");
    let watcher = fresh.client().await;
    let waiting = async {
        until("the commit waits", || async {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%dg_commit_scope%'";
            watcher.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) == 1
        })
        .await;
    };
    let batch = computed.batch(GRAPH);
    tokio::select! {
        committed = fresh.store.commit(&lease, &batch) => panic!("it could not: {committed:?}"),
        () = waiting => {}
    }
    blocker.batch_execute("ROLLBACK").await.expect("lets go");
    let error = fresh.store.commit(&lease, &computed.batch(GRAPH)).await.expect_err("its session was closed");
    assert_eq!(error.category, Category::Fenced);
    let (again, found) = acquire(&fresh.store, &scope(), &me).await;
    assert_eq!(found, position, "the interrupted batch was rolled back");
    fresh.store.commit(&again, &computed.batch(GRAPH)).await.expect("commits");
}

/// Starts a connection to the server that is cut right after COMMIT went through: the answer never comes.
async fn cut_at_commit(to: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(to).await.expect("the server");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                    let commit =
                        buffer[..read].windows(8).any(|window| window == b"\0COMMIT\0" || window == b"\x0bCOMMIT\0");
                    if commit {
                        // The way back is cut first, then the request goes through.
                        back.abort();
                    }
                    if to_server.write_all(&buffer[..read]).await.is_err() || commit {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_during_commit_is_outcome_unknown() {
    let server = Server::start().await.expect("a server of its own");
    let database = server.fresh_database().await.expect("a database");
    let direct = postgres::open(database.url(), StoreOptions::default()).await.expect("a store");
    append_all(&direct, &tenant(), &whole_trace("t")).await;
    let port = cut_at_commit(server.host_port().expect("started here")).await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/{}?sslmode=disable", database.name());
    let cut: Arc<dyn Store> = postgres::open(&url, StoreOptions::default()).await.expect("a store");
    let me = owner("me");
    let (lease, position) = acquire(&cut, &scope(), &me).await;
    let view = direct.view().await.expect("a view");
    let events = view.page(&tenant(), LogSeq::ORIGIN, LogSeq(i64::MAX), WHOLE).await.expect("a page");
    let computed = compute(&*view, &tenant(), GRAPH, lease.generation, &position, &events).await;
    let unknown = cut.commit(&lease, &computed.batch(GRAPH)).await.expect_err("no answer");
    assert_eq!((unknown.category, unknown.transient), (Category::OutcomeUnknown, true), "{unknown}");
    // A new epoch waits for the old session or ends it; then the cursor shows the outcome.
    let (_, found) =
        tokio::time::timeout(Duration::from_secs(20), acquire(&direct, &scope(), &me)).await.expect("in time");
    let rows = all_rows(&*view, &tenant(), GRAPH, lease.generation).await;
    if found.cursor == computed.to {
        assert_eq!(found.digest, computed.digest);
        assert!(!rows[0].is_empty());
    } else {
        assert_eq!(found, position);
        assert!(rows.iter().all(Vec::is_empty));
    }
}
