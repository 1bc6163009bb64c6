//! Faults of the database under a cluster. It may be restarted, and a replica that lacks the last events may be
//! promoted in its place. Cursors and rows then go back together and nothing is skipped. Lost events are applied when
//! their writers append them again.

mod fleet_support;
mod node_support;
mod support;

use decisiongraph_projections::TenantId;
use decisiongraph_runtime::node::Condition;
use decisiongraph_store::throwaway::{Server, StopMode};
use decisiongraph_store::{AppendMode, DatabaseUrl, RunMode, Store, StoreOptions, Verdict, launch, open};
use fleet_support::observer::Observer;
use fleet_support::proxy::Proxy;
use fleet_support::servers::{cut_replica, last_and_cursor, server};
use fleet_support::*;
use node_support::{named, rounds, until};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const TENANTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn immediate_restarts_lose_nothing() {
    let (server, database) = server().await;
    let mut cluster = Cluster::at(&server.url_of(&database)).await;
    for _ in 0..3 {
        cluster.add().await;
    }
    let writers = writers(&cluster.store, TENANTS);
    cluster.placed(TENANTS).await;
    let mut times = Vec::new();
    for _ in rounds(2, 40) {
        server.restart(StopMode::Immediate).await.expect("restarts");
        let since = Instant::now();
        let before = cluster.observer.progress().await;
        until("work goes on", PATIENCE, async || cluster.observer.progress().await > before).await;
        times.push(since.elapsed());
        cluster.placed(TENANTS).await;
    }
    for node in &mut cluster.nodes {
        until("the node has seen it", PATIENCE, async || node.log().contains("history changed")).await;
        assert!(node.is_running(), "{}", node.log());
    }
    println!("{} events; {}", writers.stop().await, told("first commit after a restart", &times));
    cluster.reckon(TENANTS).await;
}

/// Appends to a tenant without end. After a change of history it starts again at its first event: stored events are
/// repeats.
async fn insistent(
    store: Arc<dyn Store>,
    tenant: TenantId,
    mut history: watch::Receiver<u32>,
    stop: watch::Receiver<bool>,
) -> u64 {
    let (mut next, mut ever) = (0, 0);
    history.borrow_and_update();
    loop {
        if history.has_changed().unwrap_or(false) {
            history.borrow_and_update();
            next = 0;
        }
        if *stop.borrow() && next >= ever && next > 0 {
            return ever as u64 * 7;
        }
        match store.append(&tenant, &support::log(2, next), AppendMode::AllOrNothing).await {
            Ok(verdicts) => {
                let sound = |verdict: &Verdict| matches!(verdict, Verdict::Accepted { .. } | Verdict::Repeated { .. });
                assert!(verdicts.iter().all(sound), "{verdicts:?}");
                next += 2;
                let again = next <= ever;
                ever = ever.max(next);
                tokio::time::sleep(Duration::from_millis(if again { 5 } else { 100 })).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_without_the_last_events_loses_nothing_that_is_appended_again() {
    for _ in rounds(1, 10) {
        fail_over().await;
    }
}

async fn fail_over() {
    let (primary, database) = server().await;
    let replica = primary.standby().await.expect("a replica");
    let (one, other) = (primary.host_port().expect("its own"), replica.host_port().expect("its own"));
    let either = format!("postgres://postgres@{one},{other}/{database}?target_session_attrs=read-write");
    let mut cluster = Cluster::at(&primary.url_of(&database)).await;
    // Proxies lead two nodes to the new primary; the third knows both servers.
    cluster.add().await;
    cluster.add().await;
    cluster.add_with(|order| order.url = either.clone()).await;
    let (histories, stop) = (watch::Sender::new(0), watch::Sender::new(false));
    let store = connect(&either).await;
    assert!(store.address().contains(&one) && store.address().contains(&other), "{}", store.address());
    let writers: Vec<_> = (0..TENANTS)
        .map(|index| tokio::spawn(insistent(Arc::clone(&store), named(index), histories.subscribe(), stop.subscribe())))
        .collect();
    cluster.placed(TENANTS).await;
    cut_replica(&primary, &replica, &database).await;
    let (kept, _) = last_and_cursor(&Observer::of(&replica.url_of(&database))).await;
    until("events are applied that the replica lacks", PATIENCE, async || {
        last_and_cursor(&cluster.observer).await.1 > kept + 200
    })
    .await;
    let (_, applied) = last_and_cursor(&cluster.observer).await;
    primary.stop(StopMode::Immediate).await.expect("stopped");
    replica.promote().await.expect("promoted");
    let url = replica.url_of(&database);
    cluster.observer.turn_to(&url).await;
    let (last, cursor) = last_and_cursor(&cluster.observer).await;
    assert!(cursor < applied, "nothing was lost: {cursor} of {applied}");
    println!("the tail from {last} to {applied} is lost");
    for node in &cluster.nodes {
        node.proxy.lead_to(address(&url));
        node.proxy.cut();
    }
    let promoted = Instant::now();
    histories.send_modify(|history| *history += 1);
    cluster.move_to(&url).await;
    until("work goes on", PATIENCE, async || last_and_cursor(&cluster.observer).await.1 > cursor).await;
    println!("first commit after {:?}", promoted.elapsed());
    for node in &mut cluster.nodes {
        let noticed = || node.log().contains("history changed");
        until("the change of history is noticed", PATIENCE, async || noticed()).await;
        assert!(node.is_running());
    }
    let sql = "SELECT count(*) FROM dg_scope s WHERE cursor_seq > (SELECT max(log_seq) FROM dg_event_log)";
    assert_eq!(
        cluster.observer.rows(sql, &[]).await.expect("answers")[0].get::<_, i64>(0),
        0,
        "cursors above the log's end"
    );
    cluster.placed(TENANTS).await;
    stop.send_replace(true);
    let mut events = 0;
    for writer in writers {
        events += writer.await.expect("the writer ends well");
    }
    let stored = cluster.observer.rows("SELECT count(*) FROM dg_event_log", &[]).await.expect("answers");
    assert_eq!(stored[0].get::<_, i64>(0) as u64, events, "each event once");
    cluster.reckon(TENANTS).await;
    drop(primary);
}

/// The lost log was longer: a position that was safe on the lost primary says nothing about the promoted one. An
/// appender of the promoted one may still be open below that position.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_the_lost_primary_is_not_believed_on_the_promoted_one() {
    let (primary, database) = server().await;
    let mut cluster = Cluster::at(&primary.url_of(&database)).await;
    for _ in 0..2 {
        cluster.add_with(|order| order.flags.push("--batch-events-max=3".to_owned())).await;
    }
    let tenant = named(0);
    node_support::insist(&cluster.store, &tenant, &support::log(4, 0)).await;
    cluster.placed(1).await;
    until("the start is applied", PATIENCE, async || node_support::current(&cluster.store, 1).await).await;
    let replica = primary.standby().await.expect("a replica");
    cut_replica(&primary, &replica, &database).await;
    // The nodes are busy with these events when the primary is lost: they know of events that will not exist.
    let tail = support::log(400, 4);
    for chunk in tail.chunks(700) {
        node_support::insist(&cluster.store, &tenant, chunk).await;
    }
    until("the lost tail is being applied", PATIENCE, async || last_and_cursor(&cluster.observer).await.1 > 60).await;
    primary.stop(StopMode::Immediate).await.expect("stopped");
    replica.promote().await.expect("promoted");
    let url = replica.url_of(&database);
    cluster.observer.turn_to(&url).await;
    let (kept, _) = last_and_cursor(&cluster.observer).await;
    // An appender of the new history draws its positions and does not commit. A later one commits.
    for sql in [
        "CREATE FUNCTION dg_test_wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4242); RETURN NULL; END $$",
        "CREATE TRIGGER dg_test_wait AFTER INSERT ON dg_event_log FOR EACH ROW WHEN (NEW.trace_id = 'trace4') EXECUTE FUNCTION dg_test_wait()",
        "SELECT pg_advisory_lock(4242)",
    ] {
        cluster.observer.rows(sql, &[]).await.expect("the database answers");
    }
    let store = connect(&url).await;
    let slow = tokio::spawn({
        let (store, tenant, events) = (Arc::clone(&store), tenant.clone(), support::log(2, 4));
        async move { node_support::insist(&store, &tenant, &events).await }
    });
    let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    until("the appender waits", PATIENCE, async || {
        cluster.observer.rows(waits, &[]).await.is_some_and(|rows| !rows.is_empty())
    })
    .await;
    node_support::insist(&store, &tenant, &support::log(2, 6)).await;
    let epochs = "SELECT coalesce(sum(epoch), 0)::bigint FROM dg_scope";
    let epoch = async || cluster.observer.rows(epochs, &[]).await.map_or(0, |rows| rows[0].get::<_, i64>(0));
    let before = epoch().await;
    for node in &cluster.nodes {
        node.proxy.lead_to(address(&url));
        node.proxy.cut();
    }
    // Every projection's worker takes its scope on the new primary, any number of times, and applies nothing for a
    // second.
    until("the scopes are taken", PATIENCE, async || epoch().await >= before + 3).await;
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let (_, cursor) = last_and_cursor(&cluster.observer).await;
        assert!(cursor <= kept, "stepped over an open appender: {cursor} > {kept}\n{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.observer.rows("SELECT pg_advisory_unlock(4242)", &[]).await.expect("the database answers");
    slow.await.expect("appended");
    for chunk in tail.chunks(700) {
        node_support::insist(&store, &tenant, chunk).await;
    }
    cluster.move_to(&url).await;
    cluster.reckon(1).await;
    drop(primary);
}

/// A rebuild follows the tail up to a mark. When its session is replaced by a session of a promoted server, that mark
/// is void. It belongs to the lost log, and an appender may be open below it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_believes_no_mark_of_a_lost_primary() {
    let (primary, database) = server().await;
    let replica = primary.standby().await.expect("a replica");
    let (one, other) = (primary.host_port().expect("its own"), replica.host_port().expect("its own"));
    let either = format!("postgres://postgres@{one},{other}/{database}?target_session_attrs=read-write");
    let (store, tenant) = (connect(&either).await, decisiongraph_projections::TenantId::default());
    node_support::insist(&store, &tenant, &support::log(4, 0)).await;
    let engine = support::engine(&store, 1000);
    support::run(&engine, RunMode::CatchUp).await;
    // The process stops itself when its build holds everything, and again while it holds the first page of the tail.
    let rebuild = |stop_at: &str| {
        let mut command = launch::program(env!("CARGO_BIN_EXE_decisiongraph"));
        command.args(["--database", &either, "rebuild", "--projection", "trace_summary"]);
        command.env("DECISIONGRAPH_STOP_AT", stop_at).env("DECISIONGRAPH_LEASE_MS", "120000");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let child = rebuild("finish.end,build.begin:2").spawn().expect("starts");
    let stopped = async |what: &str| {
        until(what, PATIENCE, async || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it lives");
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
        .await;
    };
    stopped("the build is full").await;
    cut_replica(&primary, &replica, &database).await;
    node_support::insist(&store, &tenant, &support::log(20, 4)).await;
    launch::signal(child.id(), "CONT").expect("sent");
    stopped("it follows the tail").await;
    primary.stop(StopMode::Immediate).await.expect("stopped");
    replica.promote().await.expect("promoted");
    let url = replica.url_of(&database);
    let observer = Observer::of(&url);
    for sql in [
        "CREATE FUNCTION dg_test_wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4242); RETURN NULL; END $$",
        "CREATE TRIGGER dg_test_wait AFTER INSERT ON dg_event_log FOR EACH ROW WHEN (NEW.trace_id = 'trace4') EXECUTE FUNCTION dg_test_wait()",
        "SELECT pg_advisory_lock(4242)",
    ] {
        observer.rows(sql, &[]).await.expect("the database answers");
    }
    let promoted = connect(&url).await;
    let slow = tokio::spawn({
        let (store, tenant, events) = (Arc::clone(&promoted), tenant.clone(), support::log(2, 4));
        async move { node_support::insist(&store, &tenant, &events).await }
    });
    let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    until("the appender waits", PATIENCE, async || {
        observer.rows(waits, &[]).await.is_some_and(|rows| !rows.is_empty())
    })
    .await;
    node_support::insist(&promoted, &tenant, &support::log(30, 6)).await;
    launch::signal(child.id(), "CONT").expect("sent");
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("waited").expect("ends");
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    observer.rows("SELECT pg_advisory_unlock(4242)", &[]).await.expect("the database answers");
    slow.await.expect("appended");
    let engine = support::engine(&promoted, 1000);
    support::run(&engine, RunMode::CatchUp).await;
    let verified = support::run(&engine, RunMode::Verify).await;
    assert!(!verified.drifted(), "{verified:?}\n{}\n{told}", ended.status);
    let mut again = rebuild("none").env("DECISIONGRAPH_LEASE_MS", "1500").spawn().expect("starts");
    assert!(again.wait().expect("ends").success());
    assert!(!support::run(&engine, RunMode::Verify).await.drifted());
}

/// A switch-over behind one address: it leads to a standby for a while, then to the new primary. Open connections stay
/// open.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_to_a_standby_are_given_up_as_soon_as_the_address_leads_to_the_new_primary() {
    let (primary, database) = server().await;
    let next = primary.standby().await.expect("the next primary");
    let stale = primary.standby().await.expect("a standby that stays one");
    let at = |server: &Server| server.host_port().and_then(|at| at.parse().ok()).expect("an address");
    let proxy = Proxy::to(at(&primary)).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", proxy.port);
    let options = StoreOptions { connect_timeout: Duration::from_secs(2), ..StoreOptions::default() };
    let store = open(&DatabaseUrl::parse(&url).expect("a URL"), options).await.expect("opens");
    node_support::insist(&store, &named(0), &support::log(2, 0)).await;
    let node = node_support::start(&store, "moved", 5, node_support::bounds()).await;
    node_support::settled(&node, 1, PATIENCE).await;
    for replica in [&next, &stale] {
        replica.has_replayed(&primary).await.expect("follows");
    }
    primary.stop(StopMode::Fast).await.expect("stops");
    proxy.lead_to(at(&stale));
    next.promote().await.expect("takes over");
    let findings = || Condition::of(&node.parts().board).findings();
    until("the standby is named", PATIENCE, async || {
        findings().first().is_some_and(|found| found.message.contains("standby"))
    })
    .await;
    // No connection is cut: open connections still lead to the standby.
    proxy.lead_to(at(&next));
    until("the node is well", Duration::from_secs(10), async || findings().is_empty()).await;
    node_support::insist(&store, &named(0), &support::log(2, 2)).await;
    node_support::settled(&node, 1, PATIENCE).await;
    node.stop().await;
    node_support::reckon(&store, 1).await;
}
