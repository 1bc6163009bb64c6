//! A node's work on its scopes. It keeps them current by every way of learning of events. It waits at a poison event
//! and continues by itself. It obeys pauses, passivates idle tenants, rebuilds beside live work, and follows jobs to
//! their end.

#[path = "node_scopes/faults.rs"]
mod faults;
#[path = "node_scopes/jobs.rs"]
mod jobs;
mod node_support;
#[path = "node_scopes/room.rs"]
mod room;
mod support;

use decisiongraph_cli::telemetry::signals::{self, CHILDREN};
use decisiongraph_cli::telemetry::{Exporters, Observed as _, TelemetryOptions};
use decisiongraph_engine::RunRequest;
use decisiongraph_projections::{LogSeq, catalogue};
use decisiongraph_protocol::{AdminReply, Asker, HealthRequest, HealthWord, ScopeFilter, SkipRequest, StatusRequest};
use decisiongraph_rpc::Answers as _;
use decisiongraph_runtime::jobs::ReplayMessage;
use decisiongraph_runtime::node::{Node, NodeBounds, NodeParts, NodeSettings, NodeWatch};
use decisiongraph_runtime::tenants::Phase;
use decisiongraph_store::{DatabaseUrl, ListFilter, Run, RunMode, RunState, Scope, StoreOptions, open, throwaway};
use node_support::*;
use std::sync::Arc;
use std::time::Duration;
use support::Db;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(30);

async fn job(node: &Node, tenant: usize, mode: RunMode) -> Result<Run, decisiongraph_store::StoreError> {
    let request = RunRequest { tenant: named(tenant), ..support::request(mode) };
    let replay = node.jobs_actor().expect("a coordinator");
    let id = Uuid::now_v7();
    let started = replay.call(|reply| ReplayMessage::Start(id, request, reply), Some(SOON)).await.expect("asked");
    started.unwrap()
}

async fn ended(node: &Node, run_id: Uuid) -> Run {
    until("the job ends", SOON, async || !node.parts().jobs.registry.has(run_id)).await;
    let view = node.parts().store.view().await.expect("a view");
    view.run(run_id).await.expect("an answer").expect("a run")
}

fn phase(node: &Node, tenant: usize, place: usize) -> Option<Phase> {
    node.parts().tenants.cell(&named(tenant)).map(|cell| cell.live(place).phase)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_applied_however_the_node_hears_of_them() {
    for db in Db::both().await {
        let store = db.store().await;
        // Events before the node starts, through its own store and through the store of another process. (An embedded
        // store hears nothing of the other process.)
        insist(&store, &named(0), &support::log(2, 0)).await;
        let node = start(&store, "hears", 4, bounds()).await;
        settled(&node, 1, SOON).await;
        insist(&store, &named(1), &support::log(2, 0)).await;
        settled(&node, 2, SOON).await;
        insist(&db.store().await, &named(2), &support::log(2, 0)).await;
        settled(&node, 3, SOON).await;
        node.stop().await;
        for row in store.view().await.expect("a view").scopes(None).await.expect("scopes") {
            assert!(!row.owner_live, "handed over: {row:?}");
        }
        reckon(&store, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_across_restarts_and_whoever_works() {
    for db in Db::both().await {
        let store = db.store().await;
        insist(&store, &named(0), &support::log(2, 0)).await;
        let node = start(&store, "first", 4, bounds()).await;
        settled(&node, 1, SOON).await;
        let paused = Scope::new(&named(0), catalogue::TRACE_SUMMARY);
        // Paused by another process: the worker is idle, and learns of the pause when it wants to commit.
        db.store().await.pause_scope(&paused, "the mapping is wrong", "ann").await.expect("paused");
        let cursor = async |scope: &Scope| {
            let row = store.view().await.expect("a view").scope(scope).await.expect("an answer").expect("a scope");
            row.position.cursor
        };
        let before = cursor(&paused).await;
        insist(&store, &named(0), &support::log(2, 2)).await;
        let other = Scope::new(&named(0), catalogue::CONTEXT_GRAPH);
        until("the others go on", SOON, async || cursor(&other).await >= LogSeq(28)).await;
        until("the worker sees the pause", SOON, async || phase(&node, 0, 1) == Some(Phase::Paused)).await;
        assert_eq!(cursor(&paused).await, before);
        // A job of the whole tenant reports why it cannot run.
        let run = job(&node, 0, RunMode::CatchUp).await.expect("started");
        let run = ended(&node, run.run_id).await;
        assert_eq!(run.state, RunState::Failed);
        assert!(run.error.as_ref().is_some_and(|error| error.message.contains("paused by ann")), "{run:?}");
        node.stop().await;
        let node = start(&store, "second", 4, bounds()).await;
        insist(&store, &named(0), &support::log(2, 4)).await;
        until("the others go on", SOON, async || cursor(&other).await >= LogSeq(42)).await;
        assert_eq!(cursor(&paused).await, before);
        store.resume_scope(&paused).await.expect("resumed");
        // The sweep finds it; a resume through the node would be faster still.
        settled(&node, 1, SOON).await;
        node.stop().await;
        reckon(&store, 1).await;
    }
}

/// Appends in the background. The appender has drawn its positions when this returns, and stays open until the lock is
/// let go.
async fn open_appender(url: &str, lock: i64, tenant: usize, trace: usize) -> tokio::task::JoinHandle<u64> {
    let (watcher, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let store = open(&DatabaseUrl::parse(url).expect("a URL"), StoreOptions::default()).await.expect("opens");
    let appended = tokio::spawn(async move { insist(&store, &named(tenant), &support::log(1, trace)).await });
    let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1::bigint::oid";
    until("the appender waits", SOON, async || !watcher.query(waits, &[&lock]).await.expect("locks").is_empty()).await;
    appended
}

/// A tenant's position 11 commits after its position 12, and an appender of another tenant is in front of both. Each
/// sample of the log's end has an open appender; the second was open behind the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_lower_event_that_commits_after_a_higher_one_is_applied_before_it() {
    let db = Db::postgres().await;
    let store = db.store().await;
    let url = db.url();
    let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    admin
        .batch_execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ \
             BEGIN PERFORM pg_advisory_xact_lock_shared(right(NEW.trace_id, 2)::bigint); RETURN NULL; END $$; \
             CREATE TRIGGER hold AFTER INSERT ON dg_event_log FOR EACH ROW WHEN (NEW.trace_id IN ('trace71', 'trace72')) \
             EXECUTE FUNCTION hold(); SELECT pg_advisory_lock(71), pg_advisory_lock(72)",
        )
        .await
        .expect("a trigger");
    let node = start(&store, "order", 4, bounds()).await;
    insist(&store, &named(0), &support::log(1, 0)).await;
    insist(&store, &named(1), &support::log(1, 0)).await;
    settled(&node, 2, SOON).await;
    let cursors = async |tenant: usize| {
        let rows = store.view().await.expect("a view").scopes(Some(&named(tenant))).await.expect("scopes");
        rows.iter().map(|row| row.position.cursor).collect::<Vec<_>>()
    };
    let before = cursors(0).await;
    let mark = node.parts().board.mark.subscribe();
    let held_by = |count: usize| mark.borrow().waiting_for.len() == count;
    let first = open_appender(&url, 71, 1, 71).await;
    // A notification tells of the new end of the log.
    insist(&store, &named(2), &support::log(1, 0)).await;
    until("the first sample waits for the first appender", SOON, async || held_by(1)).await;
    let second = open_appender(&url, 72, 0, 72).await;
    insist(&store, &named(0), &support::log(1, 1)).await;
    admin.execute("SELECT pg_advisory_unlock(71)", &[]).await.expect("let go");
    first.await.expect("appended");
    until("tenants before the second appender are current", SOON, async || {
        let last = store.view().await.expect("a view").last_log_seq(&named(1), None).await.expect("a position");
        cursors(1).await.iter().all(|cursor| *cursor == last) && held_by(1)
    })
    .await;
    // The node hears of still later events: what it was told of the higher one is behind it, each time.
    for round in 1..4 {
        let looked = mark.clone();
        insist(&store, &named(2), &support::log(1, round)).await;
        until("it looked at the end of the log", SOON, async || looked.has_changed().is_ok_and(|changed| changed))
            .await;
        assert_eq!(cursors(0).await, before, "nothing is applied above an appender that is open");
    }
    admin.execute("SELECT pg_advisory_unlock(72)", &[]).await.expect("let go");
    second.await.expect("appended");
    // Long before a sweep over all tenants would find it.
    settled(&node, 3, Duration::from_secs(10)).await;
    node.stop().await;
    reckon(&store, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_whose_owner_died_is_counted_as_taken_over_and_one_that_was_handed_over_is_not() {
    for db in Db::both().await {
        let store = db.store().await;
        let options = TelemetryOptions { name: "n".to_owned(), otlp_endpoint: None, otlp_interval: SOON };
        for (former_dies, change) in [(true, "taken_over"), (false, "acquired")] {
            insist(&store, &named(0), &support::log(1, usize::from(former_dies))).await;
            let former = support::owner("former");
            store.heartbeat(&former, SOON).await.expect("alive");
            for projection in catalogue::ALL {
                let taken = store.acquire_scope(&Scope::new(&named(0), projection), &former).await.expect("an answer");
                assert!(matches!(taken, decisiongraph_store::Acquisition::Acquired(..)), "{taken:?}");
            }
            if former_dies {
                store.heartbeat(&former, Duration::ZERO).await.expect("its lease is over");
            } else {
                store.leave(&former).await.expect("handed over");
            }
            let exporters = Exporters::start(&options).expect("starts");
            let settings = NodeSettings {
                telemetry: exporters.telemetry(),
                ..node_support::settings(&store, "heir", 100, bounds())
            };
            let node = Node::start(NodeParts::new(settings)).await.expect("the node starts");
            settled(&node, 1, SOON).await;
            node.stop().await;
            let page = exporters.telemetry().page();
            let count = page.lines().find(|line| line.contains(&format!("change=\"{change}\"")));
            assert!(count.is_some_and(|line| line.ends_with(" 3")), "{change}: {page}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_appender_holds_the_mark_and_nothing_is_skipped() {
    let db = Db::postgres().await;
    let store = db.store().await;
    insist(&store, &named(0), &support::log(2, 0)).await;
    let node = start(&store, "held", 4, bounds()).await;
    settled(&node, 1, SOON).await;
    // An appender that has drawn its log_seq and has not committed.
    let (mut client, connection) = tokio_postgres::connect(&db.url(), tokio_postgres::NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
    let transaction = client.transaction().await.expect("begins");
    let copied = "INSERT INTO dg_event_log (trace_seq, schema_version, event_key, trace_key, idempotency_uid, tenant_id, event_id, \
                  trace_id, event_type, occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, \
                  idempotency_key, correlation_id, causation_event_id, tags, payload_hash, payload) \
                  SELECT trace_seq, schema_version, event_key, trace_key, idempotency_uid, 'held', event_id, trace_id, event_type, \
                  occurred_at, producer_id, source_system, source_subsystem, actor_type, actor_id, idempotency_key, correlation_id, \
                  causation_event_id, tags, payload_hash, payload FROM dg_event_log WHERE log_seq <= 14 ORDER BY log_seq";
    assert_eq!(transaction.execute(copied, &[]).await.expect("inserts"), 14);
    insist(&store, &named(0), &support::log(2, 2)).await;
    until("the mark is held up", SOON, async || {
        let mark = node.parts().board.mark.borrow().clone();
        mark.waiting_for.iter().any(|writer| writer.pid == Some(pid)) && mark.held_since.is_some()
    })
    .await;
    assert!(node.parts().board.mark.borrow().mark < LogSeq(15), "{:?}", node.parts().board.mark.borrow());
    transaction.commit().await.expect("commits");
    settled(&node, 1, SOON).await;
    let held = decisiongraph_projections::TenantId::new("held").expect("an id");
    until("what came late is applied too", SOON, async || {
        let rows = store.view().await.expect("a view").scopes(Some(&held)).await.expect("scopes");
        rows.len() == 3 && rows.iter().all(|row| row.position.cursor == LogSeq(28))
    })
    .await;
    node.stop().await;
    reckon(&store, 1).await;
    drop(client);
    let _ = driver.await;
}
