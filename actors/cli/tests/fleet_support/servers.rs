//! Servers that belong to one test, and the ways in which they end.

use super::PATIENCE;
use super::observer::Observer;
use crate::node_support::until;
use decisiongraph_store::launch;
use decisiongraph_store::throwaway::Server;

/// Starts a new server with a database. Returns the database's name too.
pub async fn server() -> (Server, String) {
    let server = Server::start().await.expect("a server");
    let database = server.fresh_database().await.expect("a database");
    let name = database.name().to_owned();
    // The server is removed as a whole.
    std::mem::forget(database);
    (server, name)
}

/// Waits until the replica has everything that the primary has, and stops its replication.
pub async fn cut_replica(primary: &Server, replica: &Server, database: &str) {
    replica.has_replayed(primary).await.expect("the replica follows");
    replica.disconnect().await.expect("disconnected");
    let there = Observer::of(&replica.url_of(database));
    until("it receives nothing more", PATIENCE, async || {
        there.rows("SELECT 1 FROM pg_stat_wal_receiver", &[]).await.is_some_and(|rows| rows.is_empty())
    })
    .await;
}

/// Returns the last position of the log and the furthest cursor.
pub async fn last_and_cursor(observer: &Observer) -> (i64, i64) {
    let sql = "SELECT (SELECT coalesce(max(log_seq), 0) FROM dg_event_log), (SELECT coalesce(max(cursor_seq), 0) FROM dg_scope)";
    let rows = observer.rows(sql, &[]).await.expect("the database answers");
    (rows[0].get(0), rows[0].get(1))
}

/// Identifies the server's present start by its checkpointer, which no two starts share. None while the server is away.
pub async fn life(observer: &Observer) -> Option<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    observer.rows(sql, &[]).await?.first().map(|row| row.get(0))
}

/// Kills one backend of the server as the kernel's out-of-memory killer does. Waits until the postmaster has restarted
/// all others. `chosen` picks one of the program's sessions.
pub async fn one_backend_dies(observer: &Observer, chosen: impl FnOnce(usize) -> usize) {
    let before = life(observer).await;
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' ORDER BY pid";
    let rows = observer.rows(sql, &[]).await.expect("the database answers");
    let pid: i32 = rows[chosen(rows.len())].get(0);
    launch::signal(pid.unsigned_abs(), "KILL").expect("sent");
    until("the server takes sessions again", PATIENCE, async || {
        life(observer).await.is_some_and(|now| Some(now) != before)
    })
    .await;
}
