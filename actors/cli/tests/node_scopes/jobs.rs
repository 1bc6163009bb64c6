//! Jobs of a node beside its workers: they cover what the node has not heard of, follow the workers, and find drift.

use super::*;

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
