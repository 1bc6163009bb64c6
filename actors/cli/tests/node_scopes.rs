//! A node's work on its scopes. It keeps them current by every way of learning of events. It waits at a poison event
//! and continues by itself. It obeys pauses, passivates idle tenants, rebuilds beside live work, and follows jobs to
//! their end.

mod node_support;
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

/// The high-water actor proves the only mark of a node. A job has it read the log's end, however long the next poll may
/// take.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_covers_events_of_which_the_node_has_not_heard() {
    // An embedded store hears nothing of another process.
    let db = Db::sqlite().await;
    let store = db.store().await;
    insist(&store, &named(0), &support::log(2, 0)).await;
    let hour = Duration::from_secs(3_600);
    let node = start(&store, "deaf", 4, NodeBounds { poll: hour, sweep: hour, ..bounds() }).await;
    settled(&node, 1, SOON).await;
    for round in 1..4 {
        insist(&db.store().await, &named(0), &support::log(1, round * 2)).await;
        let run = job(&node, 0, if round == 2 { RunMode::Rebuild } else { RunMode::CatchUp }).await.expect("started");
        let done = ended(&node, run.run_id).await;
        assert_eq!((done.state, done.target), (RunState::Completed, LogSeq(14 + 7 * round as i64)), "{done:?}");
    }
    settled(&node, 1, SOON).await;
    node.stop().await;
    reckon(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_is_a_state_and_goes_when_its_cause_goes() {
    for db in Db::both().await {
        let store = db.store().await;
        insist(&store, &named(0), &support::log(2, 0)).await;
        let victim = 5;
        let broken = format!("UPDATE dg_event_log SET payload_hash = 'x' || payload_hash WHERE log_seq = {victim}");
        assert_eq!(db.tamper(&broken).await, 1);
        // No sweep helps: a worker that is stopped by a poison event checks again by itself.
        let unswept = NodeBounds { sweep: Duration::from_secs(3_600), ..bounds() };
        let node = start(&store, "poison", 4, unswept).await;
        insist(&store, &named(1), &support::log(2, 0)).await;
        let open = ListFilter { open_only: true, limit: 100, ..ListFilter::default() };
        let failures = async || store.view().await.expect("a view").failures(&open).await.expect("failures").items;
        until("it is looked at again", SOON, async || {
            let found = failures().await;
            found.len() == catalogue::ALL.len() && found.iter().all(|failure| failure.attempts >= 3)
        })
        .await;
        for failure in failures().await {
            assert_eq!((failure.log_seq, &failure.tenant), (LogSeq(victim), &named(0)), "{failure:?}");
        }
        // Each worker checks again now and then. It is not failed at that moment.
        for place in 0..catalogue::ALL.len() {
            until("it is failed", SOON, async || phase(&node, 0, place) == Some(Phase::Failed)).await;
        }
        // The other tenant is not held up, and no actor was restarted for it.
        until("the other tenant is current", SOON, async || {
            let rows = store.view().await.expect("a view").scopes(Some(&named(1))).await.expect("scopes");
            rows.len() == 3 && rows.iter().all(|row| row.position.cursor >= LogSeq(28))
        })
        .await;
        assert!(node.parts().table.snapshot("node", None, 1_000).iter().all(|entry| entry.restarts_total == 0));
        let mended = format!("UPDATE dg_event_log SET payload_hash = substr(payload_hash, 2) WHERE log_seq = {victim}");
        assert_eq!(db.tamper(&mended).await, 1);
        settled(&node, 2, SOON).await;
        assert!(failures().await.is_empty(), "resolved by the commit that passed them");
        node.stop().await;
        reckon(&store, 2).await;
    }
}

/// Batches of several tenants share transactions. One tenant is poisoned and one scope is paused: only these stand.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_tenant_and_a_paused_scope_hold_up_no_scope_that_shares_their_transaction() {
    const TENANTS: usize = 12;
    let db = Db::postgres().await;
    let url = DatabaseUrl::parse(&db.url()).expect("a database URL");
    let one_writer = StoreOptions { writers: 1, ..StoreOptions::default() };
    let store = open(&url, one_writer).await.expect("opens");
    let graph = |tenant| Scope::new(&named(tenant), catalogue::CONTEXT_GRAPH);
    let cursors = async |tenant: usize| -> Vec<LogSeq> {
        let rows = store.view().await.expect("a view").scopes(Some(&named(tenant))).await.expect("scopes");
        rows.iter().map(|row| row.position.cursor).collect()
    };
    let last = async |tenant: usize| {
        store.view().await.expect("a view").last_log_seq(&named(tenant), None).await.expect("a position")
    };
    for tenant in 0..TENANTS {
        insist(&store, &named(tenant), &support::log(1, 0)).await;
    }
    let victim = last(3).await;
    let broken = format!("UPDATE dg_event_log SET payload_hash = 'x' || payload_hash WHERE log_seq = {}", victim.0);
    assert_eq!(db.tamper(&broken).await, 1);
    store.pause_scope(&graph(5), "a test", "ann").await.expect("paused");
    let node = start(&store, "shares", 100, bounds()).await;
    let stands = |tenant| [3, 5].contains(&tenant);
    // The second round meets scopes that are at work already.
    for round in 0..2 {
        if round > 0 {
            store.pause_scope(&graph(7), "while it works", "ann").await.expect("paused");
            for tenant in 0..TENANTS {
                insist(&store, &named(tenant), &support::log(1, round)).await;
            }
        }
        until("every other scope is current", SOON, async || {
            for tenant in (0..TENANTS).filter(|tenant| !stands(*tenant) && (round == 0 || *tenant != 7)) {
                let last = last(tenant).await;
                let cursors = cursors(tenant).await;
                if cursors.len() < catalogue::ALL.len() || cursors.iter().any(|cursor| *cursor < last) {
                    return false;
                }
            }
            true
        })
        .await;
        let shared = "SELECT 1 FROM dg_scope GROUP BY xmin::text HAVING count(DISTINCT tenant_id) > 1";
        assert!(db.tamper(shared).await > 0, "scopes of several tenants were written by one transaction");
    }
    until("the poisoned tenant stands before its event", SOON, async || {
        let cursors = cursors(3).await;
        cursors.len() == catalogue::ALL.len() && cursors.iter().all(|cursor| cursor.0 == victim.0 - 1)
    })
    .await;
    for (tenant, at) in [(5, LogSeq::ORIGIN), (7, last(0).await)] {
        let row = store.view().await.expect("a view").scope(&graph(tenant)).await.expect("reads").expect("a row");
        assert!(row.position.cursor <= at && row.position.cursor < last(tenant).await, "{row:?}");
    }
    let mended = format!("UPDATE dg_event_log SET payload_hash = substr(payload_hash, 2) WHERE log_seq = {}", victim.0);
    assert_eq!(db.tamper(&mended).await, 1);
    for tenant in [5, 7] {
        store.resume_scope(&graph(tenant)).await.expect("resumed");
    }
    settled(&node, TENANTS, SOON).await;
    node.stop().await;
    reckon(&store, TENANTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_tenants_stops_nobody() {
    for db in Db::both().await {
        let store = db.store().await;
        insist(&store, &named(0), &support::log(2, 0)).await;
        db.lawless().await;
        // As written by a producer with its own client: one event before the node starts, one while it runs.
        let bad = |id: &str, at: i64| format!("UPDATE dg_event_log SET tenant_id = '{id}' WHERE log_seq = {at}");
        assert_eq!(db.tamper(&bad("", 14)).await, 1);
        let node = start(&store, "strays", 4, bounds()).await;
        insist(&store, &named(1), &support::log(2, 0)).await;
        assert_eq!(db.tamper(&bad(&"x".repeat(201), 28)).await, 1);
        insist(&store, &named(2), &support::log(2, 0)).await;
        settled(&node, 3, SOON).await;
        let answers = node.answers();
        let request = HealthRequest(ScopeFilter::default()).into();
        let AdminReply::Health(health) =
            answers.answer(Uuid::now_v7(), Asker::here(None), request).await.expect("an answer")
        else {
            panic!("another reply")
        };
        let told: Vec<_> = health.findings.iter().filter(|finding| finding.subject == "dg_event_log").collect();
        assert_eq!(told.len(), 2, "{health:?}");
        assert!(told.iter().all(|finding| finding.health == HealthWord::Degraded), "{told:?}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_a_schema_is_to_be_migrated_not_brought_back() {
    let server = throwaway::shared().await.expect("a server");
    let database = server.empty_database().await.expect("a database");
    let url = DatabaseUrl::parse(database.url()).expect("a URL");
    let store = open(&url, StoreOptions::default()).await.expect("opens");
    let node = start(&store, "early", 4, bounds()).await;
    let answers = node.answers();
    let next = async || match answers
        .answer(Uuid::now_v7(), Asker::here(None), HealthRequest(ScopeFilter::default()).into())
        .await
    {
        Ok(AdminReply::Health(health)) => health.findings.first().map(|first| first.next.clone()).unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    until("it says what to do", SOON, async || next().await.contains("decisiongraph migrate")).await;
    store.migrate().await.expect("a schema");
    insist(&store, &named(0), &support::log(2, 0)).await;
    settled(&node, 1, SOON).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_a_verify_found_shows_everywhere_until_a_rebuild() {
    for db in Db::both().await {
        let store = db.store().await;
        insist(&store, &named(0), &support::log(2, 0)).await;
        let node = start(&store, "drift", 4, bounds()).await;
        let watch = NodeWatch::start(node.parts());
        let answers = node.answers();
        settled(&node, 1, SOON).await;
        assert_eq!(db.tamper("UPDATE dg_trace_summary SET title = 'forged' WHERE trace_id = 'trace1'").await, 1);
        let found = job(&node, 0, RunMode::Verify).await.expect("started");
        assert_eq!(ended(&node, found.run_id).await.state, RunState::Completed);
        let health = async || match answers
            .answer(Uuid::now_v7(), Asker::here(None), HealthRequest(ScopeFilter::default()).into())
            .await
        {
            // That nothing is sealed here is an information.
            Ok(AdminReply::Health(mut health)) => {
                health.findings.retain(|finding| finding.health != HealthWord::Ok);
                health
            }
            other => panic!("{other:?}"),
        };
        let seen = health().await;
        assert_eq!((seen.health, seen.findings.len()), (HealthWord::Failed, 1), "{seen:?}");
        let next = &seen.findings[0].next;
        assert!(next.contains("`decisiongraph rebuild --tenant t0 --projection trace_summary`"), "{next}");
        assert!(next.contains(&format!("`decisiongraph run {}`", found.run_id)), "{next}");
        let request = StatusRequest::default().into();
        let Ok(AdminReply::Status(status)) = answers.answer(Uuid::now_v7(), Asker::here(None), request).await else {
            panic!("a status")
        };
        let drifted: Vec<_> =
            status.scopes.iter().map(|scope| scope.drift.as_ref().map(|drift| drift.run_id)).collect();
        assert_eq!(drifted, [None, Some(found.run_id), None]);
        until("the gauge shows it", SOON, async || watch.observe().value(&signals::DRIFTED_SCOPES) == 1.0).await;
        let run = job(&node, 0, RunMode::Rebuild).await.expect("started");
        assert_eq!(ended(&node, run.run_id).await.state, RunState::Completed);
        assert_eq!(health().await.health, HealthWord::Ok);
        until("the gauge shows none", SOON, async || watch.observe().value(&signals::DRIFTED_SCOPES) == 0.0).await;
        node.stop().await;
        reckon(&store, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skip_lets_one_projection_go_on_and_stays_with_it() {
    for db in Db::both().await {
        let store = db.store().await;
        insist(&store, &named(0), &support::log(2, 0)).await;
        // The last event of a trace, so that nothing of the trace depends on it.
        let broken = "UPDATE dg_event_log SET payload_hash = 'x' || payload_hash WHERE log_seq = 14";
        assert_eq!(db.tamper(broken).await, 1);
        let node = start(&store, "skips", 4, bounds()).await;
        let watch = NodeWatch::start(node.parts());
        let answers = node.answers();
        let ask = async |request: SkipRequest| {
            let done = answers.answer(Uuid::now_v7(), Asker::here(None), request.into()).await;
            done.expect("an answer");
        };
        until("every worker stands before it", SOON, async || {
            (0..catalogue::ALL.len()).all(|place| phase(&node, 0, place) == Some(Phase::Failed))
        })
        .await;
        insist(&store, &named(0), &support::log(2, 2)).await;
        let open = ListFilter { open_only: true, limit: 100, ..ListFilter::default() };
        let failures = store.view().await.expect("a view").failures(&open).await.expect("failures").items;
        let failure = failures.iter().find(|failure| failure.projection == "trace_summary").expect("a failure");
        let reason = "the importer cut it".to_owned();
        ask(SkipRequest { failure_id: failure.failure_id, reason, revoke: false, of: ScopeFilter::default() }).await;
        let scope = Scope::new(&named(0), catalogue::TRACE_SUMMARY);
        let row =
            async || store.view().await.expect("a view").scope(&scope).await.expect("an answer").expect("a scope");
        until("the projection goes on", SOON, async || row().await.position.cursor == LogSeq(28)).await;
        assert!(row().await.deviating);
        let others = store.view().await.expect("a view").failures(&open).await.expect("failures").items;
        assert_eq!(others.len(), 2, "the others still stand before it: {others:?}");
        store.pause_scope(&Scope::new(&named(1), catalogue::CONTEXT_GRAPH), "a test", "ann").await.expect("paused");
        let stand_out =
            [signals::OPEN_FAILURES, signals::PAUSED_SCOPES, signals::DEVIATING_SCOPES, signals::DRIFTED_SCOPES];
        until("the gauges show it", SOON, async || {
            let seen = watch.observe();
            stand_out.iter().map(|metric| seen.value(metric)).eq([2.0, 1.0, 1.0, 0.0])
        })
        .await;
        let kinds = node.parts().table.snapshot("node", None, 1_000).into_iter();
        for path in kinds.map(|entry| entry.path).filter(|path| path != "node") {
            let kind = path.rsplit('/').next().and_then(|id| id.split(' ').next()).expect("an id");
            assert!(CHILDREN.contains(&kind), "{path} has no counter before its first restart");
        }
        // A skip makes every worker of the tenant check again.
        until("they meet it again", SOON, async || phase(&node, 0, 0) == Some(Phase::Failed)).await;
        // A mended event needs no skip: after revoke and rebuild nothing deviates.
        assert_eq!(
            db.tamper("UPDATE dg_event_log SET payload_hash = substr(payload_hash, 2) WHERE log_seq = 14").await,
            1
        );
        ask(SkipRequest {
            failure_id: failure.failure_id,
            reason: String::new(),
            revoke: true,
            of: ScopeFilter::default(),
        })
        .await;
        settled(&node, 1, SOON).await;
        let run = job(&node, 0, RunMode::Rebuild).await.expect("started");
        assert_eq!(ended(&node, run.run_id).await.state, RunState::Completed);
        assert!(!row().await.deviating);
        node.stop().await;
        reckon(&store, 1).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn idle_tenants_leave_and_come_back() {
    let tenants = 40;
    let db = Db::postgres().await;
    let store = db.store().await;
    let bounds = NodeBounds { tenants_max: 5, passivate_after: Duration::from_millis(100), ..bounds() };
    let node = start(&store, "crowd", 100, bounds).await;
    for index in 0..tenants {
        insist(&store, &named(index), &support::log(1, 0)).await;
    }
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let watch = {
        let (tenants, most) = (node.parts().tenants.clone(), Arc::clone(&most));
        tokio::spawn(async move {
            loop {
                most.fetch_max(tenants.count().0, std::sync::atomic::Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    settled(&node, tenants, SOON).await;
    watch.abort();
    assert!(most.load(std::sync::atomic::Ordering::SeqCst) <= 5, "{most:?}");
    until("all have left", SOON, async || node.parts().tenants.count() == (0, 0)).await;
    until("their actors are gone", SOON, async || node.parts().table.snapshot("node/scopes", None, 100).len() == 1)
        .await;
    insist(&store, &named(7), &support::log(1, 1)).await;
    settled(&node, tenants, SOON).await;
    assert!(node.parts().table.snapshot("node", None, 1_000).iter().all(|entry| entry.restarts_total == 0));
    node.stop().await;
    reckon(&store, tenants).await;
}

/// A tenant's actors are started by a task and stopped by a task. One worker thread polls the task that was spawned
/// last first, so that the stop overtakes the start. The actors that are left would keep the tenant's scopes for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_tenant_that_is_given_up_as_soon_as_it_was_woken_leaves_no_actors() {
    let db = Db::sqlite().await;
    let node = start(&db.store().await, "hasty", 4, bounds()).await;
    let supervisor = node.parts().table.supervisor("node/scopes").expect("the supervisor of tenants");
    for round in 0..20 {
        let (tenants, tenant) = (node.parts().tenants.clone(), named(round));
        let gone = tokio::spawn(async move {
            tenants.wake(&tenant, LogSeq(1));
            tenants.give_up(&tenant).await
        });
        let gone = gone.await.expect("no panic");
        // A start under way arrives before this question, because the task that asks is spawned later.
        let supervisor = supervisor.clone();
        let left = tokio::spawn(async move { supervisor.which_children().await }).await.expect("no panic");
        let left = left.expect("an answer");
        assert!(gone && left.is_empty(), "in round {round}: {left:?}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_waits_for_room_takes_the_place_of_an_idle_one_at_once() {
    let db = Db::sqlite().await;
    let store = db.store().await;
    // No tenant leaves by itself within this test.
    let bounds = NodeBounds { tenants_max: 3, passivate_after: Duration::from_secs(3_600), ..bounds() };
    let node = start(&store, "room", 100, bounds).await;
    for index in 0..3 {
        insist(&store, &named(index), &support::log(1, 0)).await;
    }
    settled(&node, 3, SOON).await;
    until("all three are idle", SOON, async || {
        (0..3).all(|tenant| (0..catalogue::ALL.len()).all(|place| phase(&node, tenant, place) == Some(Phase::Idle)))
    })
    .await;
    for index in 3..9 {
        insist(&store, &named(index), &support::log(1, 0)).await;
        settled(&node, index + 1, SOON).await;
    }
    // Tenants that left come back the same way.
    insist(&store, &named(0), &support::log(1, 1)).await;
    settled(&node, 9, SOON).await;
    assert_eq!(node.parts().tenants.count(), (3, 0));
    node.stop().await;
    reckon(&store, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_stands_before_a_poison_event_makes_room_and_is_looked_at_again() {
    let db = Db::sqlite().await;
    let store = db.store().await;
    let bounds = NodeBounds { tenants_max: 1, passivate_after: Duration::from_secs(3_600), ..bounds() };
    insist(&store, &named(0), &support::log(1, 0)).await;
    let broken = "UPDATE dg_event_log SET payload_hash = 'x' || payload_hash WHERE log_seq = 5";
    assert_eq!(db.tamper(broken).await, 1);
    let node = start(&store, "stands", 4, bounds).await;
    until("every worker stands before it", SOON, async || {
        (0..catalogue::ALL.len()).all(|place| phase(&node, 0, place) == Some(Phase::Failed))
    })
    .await;
    let row = async |scope: &Scope| store.view().await.expect("a view").scope(scope).await.expect("an answer");
    for tenant in 1..4 {
        insist(&store, &named(tenant), &support::log(1, 0)).await;
        let last = store.view().await.expect("a view").last_log_seq(&named(tenant), None).await.expect("a position");
        for projection in catalogue::ALL {
            let scope = Scope::new(&named(tenant), projection);
            until("it is current", SOON, async || row(&scope).await.is_some_and(|row| row.position.cursor >= last))
                .await;
        }
    }
    // Only the sweep wakes the first tenant.
    let mended = "UPDATE dg_event_log SET payload_hash = substr(payload_hash, 2) WHERE log_seq = 5";
    assert_eq!(db.tamper(mended).await, 1);
    settled(&node, 4, SOON).await;
    node.stop().await;
    reckon(&store, 4).await;
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
    // Time enough for a worker that was told of the higher event.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cursors(0).await, before, "nothing is applied above an appender that is open");
    admin.execute("SELECT pg_advisory_unlock(72)", &[]).await.expect("let go");
    second.await.expect("appended");
    // Long before a sweep over all tenants would find it.
    settled(&node, 3, Duration::from_secs(10)).await;
    node.stop().await;
    reckon(&store, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_a_tenant_that_waits_for_room_is_shown() {
    let db = Db::postgres().await;
    let store = db.store().await;
    let bounds = NodeBounds { tenants_max: 1, ..bounds() };
    let node = start(&store, "lag", 100, bounds).await;
    let watch = NodeWatch::start(node.parts());
    insist(&store, &named(0), &support::log(1, 0)).await;
    insist(&store, &named(1), &support::log(1, 0)).await;
    settled(&node, 2, SOON).await;
    // The only place is taken as long as another session holds the rows of the tenant's scopes.
    let (blocker, connection) = tokio_postgres::connect(&db.url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let lock = "BEGIN; SELECT * FROM dg_scope WHERE tenant_id = 't0' FOR UPDATE";
    blocker.batch_execute(lock).await.expect("locks");
    insist(&store, &named(0), &support::log(1, 1)).await;
    until("it has the place", SOON, async || node.parts().tenants.cell(&named(0)).is_some()).await;
    insist(&store, &named(1), &support::log(1, 1)).await;
    until("the other one waits", SOON, async || node.parts().tenants.waits(&named(1))).await;
    let lags = || {
        let lags = watch.observe().lags;
        lags.iter().filter(|lag| lag.tenant == named(1)).map(|lag| lag.events).collect::<Vec<_>>()
    };
    until("its lag shows", SOON, async || lags() == [7, 7, 7]).await;
    blocker.batch_execute("ROLLBACK").await.expect("lets go");
    settled(&node, 2, SOON).await;
    until("nobody lags", SOON, async || watch.observe().lags.iter().all(|lag| lag.events == 0)).await;
    node.stop().await;
    reckon(&store, 2).await;
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
async fn live_events_flow_while_a_rebuild_runs_beside_them() {
    let traces = if soak() { 20_000 } else { 400 };
    let db = Db::postgres().await;
    let store = db.store().await;
    insist(&store, &named(0), &support::log(traces, 10_000)).await;
    let node = start(&store, "beside", 20, bounds()).await;
    settled(&node, 1, Duration::from_secs(600)).await;
    let live = Scope::new(&named(0), catalogue::CONTEXT_GRAPH);
    let row = async || store.view().await.expect("a view").scope(&live).await.expect("an answer").expect("a scope");
    let before = row().await;
    let run = job(&node, 0, RunMode::Rebuild).await.expect("started");
    let refused = job(&node, 0, RunMode::CatchUp).await.expect_err("one job a scope");
    assert_eq!(refused.category, decisiongraph_projections::Category::Conflict);
    let mut beside = 0;
    let mut first = 0;
    while node.parts().jobs.registry.has(run.run_id) {
        insist(&store, &named(0), &support::log(2, first)).await;
        first += 2;
        let last = store.view().await.expect("a view").last_log_seq(&named(0), None).await.expect("a position");
        until("the live generation has the new events", SOON, async || row().await.position.cursor >= last).await;
        if row().await.generation == before.generation {
            beside += 1;
        }
    }
    let run = ended(&node, run.run_id).await;
    assert_eq!(run.state, RunState::Completed, "{run:?}");
    assert!(beside >= 2, "the rebuild was too quick: {beside} looks");
    assert!(row().await.generation > before.generation);
    settled(&node, 1, SOON).await;
    node.stop().await;
    reckon(&store, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_rebuild_leaves_its_run_row_and_nothing_else() {
    for db in Db::both().await {
        let store = db.store().await;
        insist(&store, &named(0), &support::log(200, 0)).await;
        let node = start(&store, "cancel", 3, bounds()).await;
        settled(&node, 1, Duration::from_secs(120)).await;
        let before = store.view().await.expect("a view").scopes(None).await.expect("scopes");
        let run = job(&node, 0, RunMode::Rebuild).await.expect("started");
        let view = node.parts().jobs.registry.view(run.run_id).expect("a job");
        until("it is on its way", SOON, async || {
            view.progress.borrow().as_ref().is_some_and(|progress| progress.events > 20)
        })
        .await;
        store.request_cancel(run.run_id).await.expect("asked");
        node.parts().jobs.registry.cancel(run.run_id);
        let run = ended(&node, run.run_id).await;
        assert_eq!(run.state, RunState::Cancelled, "{run:?}");
        let after = store.view().await.expect("a view").scopes(None).await.expect("scopes");
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((before.generation, &before.position), (after.generation, &after.position));
        }
        until("its rows are gone", SOON, async || store.sweep(100_000).await.expect("swept").left == 0).await;
        node.stop().await;
        reckon(&store, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catch_up_job_follows_the_live_workers() {
    for db in Db::both().await {
        let store = db.store().await;
        let node = start(&store, "follow", 4, bounds()).await;
        insist(&store, &named(0), &support::log(20, 0)).await;
        let run = job(&node, 0, RunMode::CatchUp).await.expect("started");
        let run = ended(&node, run.run_id).await;
        assert_eq!((run.state, run.target), (RunState::Completed, LogSeq(140)), "{run:?}");
        assert!(current(&store, 1).await, "its end is not told before the workers are there");
        // A poison event ends the job; the failure is recorded by the worker.
        insist(&store, &named(0), &support::log(2, 20)).await;
        settled(&node, 1, SOON).await;
        node.stop().await;
        insist(&store, &named(0), &support::log(2, 22)).await;
        db.tamper("UPDATE dg_event_log SET payload_hash = 'x' || payload_hash WHERE log_seq = 160").await;
        let node = start(&store, "follow", 4, bounds()).await;
        until("the workers stand before it", SOON, async || phase(&node, 0, 0) == Some(Phase::Failed)).await;
        let run = job(&node, 0, RunMode::CatchUp).await.expect("started");
        let run = ended(&node, run.run_id).await;
        assert_eq!(run.state, RunState::Failed, "{run:?}");
        assert!(run.error.as_ref().is_some_and(|error| error.message.contains("log_seq 160")), "{run:?}");
        node.stop().await;
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

/// Verifies of the schedule follow one another, and what they find is drift as that of any verify.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_verifies_its_tenants_on_a_schedule() {
    for db in Db::both().await {
        let store = db.store().await;
        insist(&store, &named(0), &support::log(2, 0)).await;
        insist(&store, &named(1), &support::log(2, 0)).await;
        let every = Duration::from_secs(3);
        let bounds = NodeBounds { verify_every: every, verify_rows_per_s: 1_000_000, ..bounds() };
        let node = start(&store, "scheduling", 4, bounds).await;
        settled(&node, 2, SOON).await;
        let verifies = async |tenant: usize| {
            let filter = ListFilter { tenant: Some(named(tenant)), limit: 100, ..ListFilter::default() };
            let mut runs = store.view().await.expect("a view").runs(&filter).await.expect("runs").items;
            runs.retain(|run| run.mode == RunMode::Verify && run.state == RunState::Completed);
            runs
        };
        let twice = async || verifies(0).await.len() >= 2 && verifies(1).await.len() >= 2;
        until("each tenant is verified twice", SOON, twice).await;
        let runs = verifies(0).await;
        assert_eq!(runs[0].reason.as_deref(), Some("scheduled: verify_every_s"));
        assert!(runs[0].created_at > runs[1].created_at, "the newest first");
        let drifted = async || {
            let scopes = store.view().await.expect("a view").scopes(Some(&named(1))).await.expect("scopes");
            scopes.iter().any(|scope| scope.drift.is_some())
        };
        assert!(!drifted().await);
        db.tamper(&format!("UPDATE dg_trace_summary SET title = 'x' WHERE tenant_id = '{}'", named(1))).await;
        until("the drift is remembered", SOON, async || drifted().await).await;
        node.stop().await;
    }
}
