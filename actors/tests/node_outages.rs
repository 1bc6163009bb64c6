//! The database may go away at any time, for as long as it likes: sessions ended one by one, a server restarted in immediate mode, a
//! server that stays away. The node waits; no actor is restarted for it, nothing is lost and nothing applied twice.

mod node_support;
mod support;

use decisiongraph_actors::engine::RunRequest;
use decisiongraph_actors::node::Node;
use decisiongraph_actors::replay::ReplayMessage;
use decisiongraph_store::throwaway::{Server, StopMode};
use decisiongraph_store::{DatabaseUrl, RunMode, RunState, Store, StoreOptions, open};
use node_support::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const TENANTS: usize = 4;

/// A server of its own, with a database.
async fn server() -> (Server, Arc<dyn Store>, String) {
    let server = Server::start().await.expect("a server");
    let database = server.fresh_database().await.expect("a database");
    let url = database.url().to_owned();
    // The server is removed as a whole.
    std::mem::forget(database);
    let store = connect(&url).await;
    (server, store, url)
}

async fn connect(url: &str) -> Arc<dyn Store> {
    let options = StoreOptions { connect_timeout: Duration::from_secs(2), ..StoreOptions::default() };
    open(&DatabaseUrl::parse(url).expect("a URL"), options).await.expect("opens")
}

/// No supervisor spent anything: a database that is away is a state.
fn nothing_restarted(node: &Node) {
    for entry in node.shared().table.snapshot("node", None, 10_000) {
        assert_eq!(entry.restarts_total, 0, "{} was restarted: {:?}\n{}", entry.path, entry.last_exit, dump(node));
    }
    assert!(!node.gave_up());
}

async fn start_rebuild(node: &Node, tenant: usize) -> Uuid {
    let id = Uuid::now_v7();
    let request = RunRequest { tenant: named(tenant), ..support::request(RunMode::Rebuild) };
    let replay = node.shared().replay().expect("a coordinator");
    let started = replay.call(|reply| ReplayMessage::Start(id, request, reply), Some(Duration::from_secs(10))).await;
    assert!(started.is_ok_and(|reply| reply.is_success()));
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions_lose_nothing() {
    let seconds = if soak() { 120 } else { 5 };
    let (server, store, url) = server().await;
    let (batch, pause) = if soak() { (200, Duration::from_millis(250)) } else { (5, Duration::from_millis(20)) };
    let node = start(&store, "sessions", batch, bounds()).await;
    let appenders = Appenders::start(&connect(&url).await, TENANTS, pause);
    let mut dice = Dice(7);
    let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut ended = 0;
    let mut job = None;
    while Instant::now() < end {
        let rows = admin
            .query(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'decisiongraph' AND pid <> pg_backend_pid() ORDER BY pid",
                &[],
            )
            .await
            .expect("sessions");
        if !rows.is_empty() {
            let pid: i32 = rows[dice.below(rows.len())].get(0);
            admin.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("ended");
            ended += 1;
        }
        if job.is_none() && begun(&store, &named(0)).await {
            job = Some(start_rebuild(&node, 0).await);
        }
        tokio::time::sleep(Duration::from_millis(20 + dice.next() % 60)).await;
    }
    let events = appenders.stop().await;
    println!("{events} events, {ended} sessions ended");
    settled(&node, TENANTS, Duration::from_secs(if soak() { 600 } else { 60 })).await;
    if let Some(id) = job {
        until("the rebuild ends", Duration::from_secs(60), async || !node.shared().jobs.has(id)).await;
        let run = store.view().await.expect("a view").run(id).await.expect("an answer").expect("a run");
        assert_eq!(run.state, RunState::Completed, "{run:?}");
    }
    nothing_restarted(&node);
    node.stop().await;
    reckon(&store, TENANTS).await;
    drop(admin);
    let _ = driver.await;
    server.stop(StopMode::Immediate).await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn immediate_restarts_and_an_outage_lose_nothing() {
    let outage = Duration::from_secs(if soak() { 60 } else { 4 });
    let (server, store, url) = server().await;
    let node = start(&store, "outages", 5, bounds()).await;
    let appenders = Appenders::start(&connect(&url).await, TENANTS, Duration::from_millis(20));
    until("something is applied", Duration::from_secs(30), async || begun(&store, &named(0)).await).await;
    let job = start_rebuild(&node, 0).await;
    for _ in 0..if soak() { 10 } else { 2 } {
        server.restart(StopMode::Immediate).await.expect("restarts");
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    server.stop(StopMode::Immediate).await.expect("stops");
    until("the node sees it", Duration::from_secs(20), async || !node.shared().database.is_up()).await;
    tokio::time::sleep(outage).await;
    let down = node.shared().database.state();
    println!("while away: {down:?}");
    server.start_again().await.expect("starts");
    let back = Instant::now();
    until("the node sees that it is back", Duration::from_secs(30), async || node.shared().database.is_up()).await;
    println!("seen {:?} after the server was back", back.elapsed());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let events = appenders.stop().await;
    settled(&node, TENANTS, Duration::from_secs(60)).await;
    println!("{events} events, caught up {:?} after the server was back", back.elapsed());
    until("the rebuild ends", Duration::from_secs(60), async || !node.shared().jobs.has(job)).await;
    let run = store.view().await.expect("a view").run(job).await.expect("an answer").expect("a run");
    assert_eq!(run.state, RunState::Completed, "{run:?}");
    nothing_restarted(&node);
    node.stop().await;
    reckon(&store, TENANTS).await;
    server.stop(StopMode::Immediate).await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_before_its_database() {
    let (server, store, url) = server().await;
    insist(&store, &named(0), &support::log(4, 0)).await;
    drop(store);
    server.stop(StopMode::Immediate).await.expect("stops");
    let options = StoreOptions { later: true, connect_timeout: Duration::from_secs(2), ..StoreOptions::default() };
    let store = open(&DatabaseUrl::parse(&url).expect("a URL"), options).await.expect("opens without connecting");
    let node = start(&store, "early", 5, bounds()).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!node.shared().database.is_up());
    server.start_again().await.expect("starts");
    settled(&node, 1, Duration::from_secs(30)).await;
    nothing_restarted(&node);
    node.stop().await;
    reckon(&store, 1).await;
    server.stop(StopMode::Immediate).await.expect("stopped");
}
