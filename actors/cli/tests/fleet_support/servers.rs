//! Servers of a test's own, and how their lives end.

use super::PATIENCE;
use super::observer::Observer;
use crate::node_support::until;
use decisiongraph_store::launch;
use decisiongraph_store::throwaway::Server;

/// A server of its own with a database, and the database's name.
pub async fn server() -> (Server, String) {
    let server = Server::start().await.expect("a server");
    let database = server.fresh_database().await.expect("a database");
    let name = database.name().to_owned();
    // The server is removed as a whole.
    std::mem::forget(database);
    (server, name)
}

/// Waits until the replica has all that the primary has, and lets it receive no more.
pub async fn cut_replica(primary: &Server, replica: &Server, database: &str) {
    replica.has_replayed(primary).await.expect("the replica follows");
    replica.disconnect().await.expect("disconnected");
    let there = Observer::of(&replica.url_of(database));
    until("it receives nothing more", PATIENCE, async || {
        there.rows("SELECT 1 FROM pg_stat_wal_receiver", &[]).await.is_some_and(|rows| rows.is_empty())
    })
    .await;
}

/// The last position of the log, and the furthest cursor.
pub async fn last_and_cursor(observer: &Observer) -> (i64, i64) {
    let sql = "SELECT (SELECT coalesce(max(log_seq), 0) FROM dg_event_log), (SELECT coalesce(max(cursor_seq), 0) FROM dg_scope)";
    let rows = observer.rows(sql, &[]).await.expect("the database answers");
    (rows[0].get(0), rows[0].get(1))
}

/// Which life of a server answers: its checkpointer, which no two lives share. None while it is away.
pub async fn life(observer: &Observer) -> Option<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    observer.rows(sql, &[]).await?.first().map(|row| row.get(0))
}

/// Lets one backend of the server die as the kernel ends it that has no memory left, and waits until the postmaster has
/// started all others anew. `chosen` picks one of the program's sessions.
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
