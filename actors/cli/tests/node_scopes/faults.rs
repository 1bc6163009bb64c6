//! A poison event, a stray row and a database without a schema are states. What else there is to do is done.

use super::*;

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
