//! Tenants take turns where a node has room for few: the idle ones leave, and come back.

use super::*;

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
