//! The database may go away at any time, for any length of time. Sessions are ended one by one, a server restarts in
//! immediate mode, or a server stays away. The node waits. No actor is restarted for it, nothing is lost and nothing is
//! applied twice.

mod node_support;
mod support;

use decisiongraph_engine::{Engine, EngineConfig, Mark, RunRequest};
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminReply, Asker, ScopeFilter, WhyRequest};
use decisiongraph_rpc::Answers;
use decisiongraph_runtime::jobs::ReplayMessage;
use decisiongraph_runtime::node::{Condition, Node};
use decisiongraph_store::launch;
use decisiongraph_store::throwaway::{Server, StopMode};
use decisiongraph_store::{DatabaseUrl, RunMode, RunState, Store, StoreOptions, open};
use node_support::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

const TENANTS: usize = 4;

/// Starts a new server with a database.
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

/// Checks that no supervisor restarted a child: a database that is away is a state.
fn nothing_restarted(node: &Node) {
    for entry in node.parts().table.snapshot("node", None, 10_000) {
        assert_eq!(entry.restarts_total, 0, "{} was restarted: {:?}\n{}", entry.path, entry.last_exit, dump(node));
    }
    assert!(!node.gave_up());
}

async fn start_rebuild(node: &Node, tenant: usize) -> Uuid {
    let id = Uuid::now_v7();
    let request = RunRequest { tenant: named(tenant), ..support::request(RunMode::Rebuild) };
    let replay = node.jobs_actor().expect("a coordinator");
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
    settled(&node, TENANTS, applied_within()).await;
    if let Some(id) = job {
        until("the rebuild ends", applied_within(), async || !node.parts().jobs.registry.has(id)).await;
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
    until("the node sees it", Duration::from_secs(20), async || !node.parts().board.database.is_up()).await;
    tokio::time::sleep(outage).await;
    let down = node.parts().board.database.state();
    println!("while away: {down:?}");
    server.start_again().await.expect("starts");
    let back = Instant::now();
    until("the node sees that it is back", Duration::from_secs(30), async || node.parts().board.database.is_up()).await;
    println!("seen {:?} after the server was back", back.elapsed());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let events = appenders.stop().await;
    settled(&node, TENANTS, applied_within()).await;
    println!("{events} events, caught up {:?} after the server was back", back.elapsed());
    until("the rebuild ends", applied_within(), async || !node.parts().jobs.registry.has(job)).await;
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
    assert!(!node.parts().board.database.is_up());
    server.start_again().await.expect("starts");
    settled(&node, 1, Duration::from_secs(30)).await;
    nothing_restarted(&node);
    node.stop().await;
    reckon(&store, 1).await;
    server.stop(StopMode::Immediate).await.expect("stopped");
}

async fn sql(url: &str, statements: &[&str]) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    for statement in statements {
        client.simple_query(statement).await.expect(statement);
    }
    drop(client);
    let _ = driver.await;
}

/// Returns the node's own description of its obstacles.
fn causes(node: &Node) -> String {
    let condition = Condition::of(&node.parts().board);
    let findings = condition.findings();
    assert!(condition.ready().is_ok() || !findings.is_empty(), "{findings:?}");
    let told: Vec<String> =
        findings.iter().map(|found| format!("{}: {} | {}", found.subject, found.message, found.next)).collect();
    let told = told.join("\n");
    assert!(!told.contains("same name"), "{told}");
    told
}

async fn well(node: &Node, patience: Duration) {
    until("the node is well", patience, async || causes(node).is_empty()).await;
}

/// A session keeps the state that its database had when the session was made. A session that cannot write is not used
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_read_only_is_named_and_worked_with_again_within_seconds() {
    let (server, store, url) = server().await;
    insist(&store, &named(0), &support::log(2, 0)).await;
    let node = start(&store, "reader", 5, bounds()).await;
    settled(&node, 1, Duration::from_secs(30)).await;
    let database = url.rsplit('/').next().expect("a name");
    let admin = server.admin_url();
    sql(
        admin,
        &[
            &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"),
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"),
        ],
    )
    .await;
    until("the cause is named", Duration::from_secs(15), async || {
        let told = causes(&node);
        told.starts_with("database: ") && told.contains("read-only") && told.contains("default_transaction_read_only")
    })
    .await;
    sql(admin, &[&format!("ALTER DATABASE {database} RESET default_transaction_read_only")]).await;
    // No append happens meanwhile that would make new sessions.
    well(&node, Duration::from_secs(10)).await;
    insist(&store, &named(0), &support::log(2, 2)).await;
    settled(&node, 1, Duration::from_secs(30)).await;
    nothing_restarted(&node);
    node.stop().await;
    reckon(&store, 1).await;
    server.stop(StopMode::Immediate).await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_that_is_missing_is_named_as_the_cause() {
    let (server, store, url) = server().await;
    insist(&store, &named(0), &support::log(2, 0)).await;
    let node = start(&store, "waiter", 5, bounds()).await;
    settled(&node, 1, Duration::from_secs(30)).await;
    let admin = server.admin_url();
    sql(admin, &["ALTER SYSTEM SET synchronous_standby_names = 'gone'", "SELECT pg_reload_conf()"]).await;
    // A separate program: the node does not give up this session.
    let producer = connect(&url).await;
    let appends = tokio::spawn(async move { insist(&producer, &named(0), &support::log(2, 2)).await });
    // A renewal comes every 0.7 s, and a commit counts as waiting after one second.
    until("the cause is named", Duration::from_secs(5), async || {
        let told = causes(&node);
        told.starts_with("lease: ")
            && told.contains("commits wait for a synchronous standby")
            && told.contains("`gone`")
    })
    .await;
    // No answer suggests to end the waiting sessions.
    let told = async || {
        let filter = ScopeFilter::default();
        let answers = node.answers();
        match answers.answer(Uuid::new_v4(), Asker::here(None), WhyRequest { filter, all: false }.into()).await {
            Ok(AdminReply::Why(why)) => why.causes,
            // The keeper has given up every session meanwhile.
            Err(error) if error.category == Category::Unavailable => Vec::new(),
            other => panic!("{other:?}"),
        }
    };
    until("why names it, too", Duration::from_secs(15), async || {
        let causes = told().await;
        assert!(causes.iter().all(|cause| !cause.next.contains("terminate")), "{causes:?}");
        causes.iter().any(|cause| cause.subject == "lease" && cause.message.contains("`gone`"))
    })
    .await;
    sql(admin, &["ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"]).await;
    well(&node, Duration::from_secs(15)).await;
    appends.await.expect("it is stored");
    settled(&node, 1, Duration::from_secs(30)).await;
    nothing_restarted(&node);
    node.stop().await;
    reckon(&store, 1).await;
    server.stop(StopMode::Immediate).await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_file_that_another_program_locks_is_named_as_the_cause() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log.db");
    let store = connect(&format!("sqlite:{}", file.display())).await;
    store.migrate().await.expect("migrates");
    let node = start(&store, "kept-out", 5, bounds()).await;
    well(&node, Duration::from_secs(10)).await;
    let browser = rusqlite::Connection::open(&file).expect("opens");
    browser.busy_timeout(Duration::from_secs(5)).expect("set");
    browser.execute_batch("BEGIN IMMEDIATE").expect("locked");
    until("the cause is named", Duration::from_secs(30), async || {
        let told = causes(&node);
        told.starts_with("lease: ") && told.contains("another program holds the file's write lock")
    })
    .await;
    browser.execute_batch("ROLLBACK").expect("released");
    well(&node, Duration::from_secs(10)).await;
    node.stop().await;
}

/// Kills one backend of the server as the kernel's out-of-memory killer does. Waits until the postmaster has restarted
/// all others.
async fn one_backend_dies(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
    launch::signal(pid.unsigned_abs(), "KILL").expect("sent");
    let _ = driver.await;
    until("the server takes sessions again", Duration::from_secs(30), async || {
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.is_ok()
    })
    .await;
}

/// The postmaster keeps its start time when a backend dies. Positions that were drawn and never written are drawn
/// again. So an earlier mark may lie above an appender that is open now.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_from_before_a_backend_died_is_not_believed() {
    let (server, store, url) = server().await;
    // After the death of a backend, the server refuses sessions until it has recovered.
    let connect = async || {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            match tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    break client;
                }
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let admin = connect().await;
    for sql in [
        "ALTER SYSTEM SET wal_writer_delay = '10s'",
        "SELECT pg_reload_conf()",
        "CREATE FUNCTION dg_test_wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4242); RETURN NULL; END $$",
        "CREATE TRIGGER dg_test_wait AFTER INSERT ON dg_event_log FOR EACH ROW WHEN (NEW.trace_id = 'trace2') EXECUTE FUNCTION dg_test_wait()",
    ] {
        admin.execute(sql, &[]).await.expect(sql);
    }
    let config = EngineConfig { mark_wait: Duration::from_millis(300), ..config(5) };
    let engine = Engine::new(Arc::clone(&store), support::owner("engine"), config);
    insist(&store, &support::tenant(), &support::log(2, 0)).await;
    support::run(&engine, RunMode::CatchUp).await;
    let drawn = async || -> i64 {
        connect().await.query_one("SELECT last_value FROM dg_event_log_log_seq_seq", &[]).await.expect("a value").get(0)
    };
    let mut before = Mark::default();
    for _ in 0..20 {
        // The positions are drawn and given back: nothing makes the server write that before it dies.
        let client = connect().await;
        let draw = "BEGIN; SELECT nextval('dg_event_log_log_seq_seq') FROM generate_series(1, 40); ROLLBACK";
        client.batch_execute(draw).await.expect("drawn");
        before = engine.mark().await.expect("a mark");
        one_backend_dies(&url).await;
        if drawn().await < before.at.0 {
            break;
        }
    }
    let again = drawn().await;
    assert!(again < before.at.0, "the server wrote the positions each time");
    let mut after = None;
    let holder = connect().await;
    holder.execute("SELECT pg_advisory_lock(4242)", &[]).await.expect("locked");
    // An appender draws its positions and does not commit. Later ones commit, up to above the earlier mark.
    let slow = tokio::spawn({
        let store = self::connect(&url).await;
        async move { insist(&store, &support::tenant(), &support::log(1, 2)).await }
    });
    let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    until("the appender waits", Duration::from_secs(30), async || {
        !connect().await.query(waits, &[]).await.expect("an answer").is_empty()
    })
    .await;
    insist(&store, &support::tenant(), &support::log(10, 4)).await;
    assert!(drawn().await > before.at.0);
    until("a mark is told", Duration::from_secs(30), async || {
        after = engine.mark().await.ok();
        after.is_some()
    })
    .await;
    let after = after.expect("a mark");
    assert!(after.at.0 <= again, "{after:?} steps over the appender that is open above {again}; before: {before:?}");
    support::run(&engine, RunMode::CatchUp).await;
    holder.execute("SELECT pg_advisory_unlock(4242)", &[]).await.expect("unlocked");
    slow.await.expect("appended");
    let caught_up = support::run(&engine, RunMode::CatchUp).await;
    assert!(caught_up.scopes.iter().all(|scope| scope.events == 77), "{caught_up:?}");
    assert!(!support::run(&engine, RunMode::Verify).await.drifted());
    server.stop(StopMode::Immediate).await.expect("stopped");
}
