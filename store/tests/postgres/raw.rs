//! A new database, its store, and sessions past the store: writers from outside the program, clients that stop.

use decisiongraph_store::throwaway::{Database, shared};
use decisiongraph_store::{Store, StoreOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// A migrated database and a store on it.
pub struct Fresh {
    pub store: Arc<dyn Store>,
    pub database: Database,
}

impl Fresh {
    pub async fn new() -> Fresh {
        Fresh::with(StoreOptions::default()).await
    }

    pub async fn with(options: StoreOptions) -> Fresh {
        let database = shared().await.expect("a server").fresh_database().await.expect("a database");
        let store = decisiongraph_store::postgres::open(database.url(), options).await.expect("a store");
        Fresh { store, database }
    }

    /// Opens another process's store on the same database.
    pub async fn again(&self) -> Arc<dyn Store> {
        decisiongraph_store::postgres::open(self.database.url(), StoreOptions::default()).await.expect("a store")
    }

    /// Opens a session past the store.
    pub async fn client(&self) -> Client {
        connect(self.database.url()).await
    }
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}

pub async fn pid(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0)
}

/// Inserts an event of the default tenant as any program could, in the client's current transaction. Returns its
/// position.
pub async fn insert_event(client: &Client, trace: &str) -> i64 {
    let sql = "INSERT INTO dg_event_log (tenant_id, trace_seq, schema_version, event_key, trace_key, idempotency_uid, event_id, trace_id, \
               event_type, occurred_at, producer_id, source_system, actor_type, actor_id, idempotency_key, tags, payload_hash, payload) \
               VALUES ('default', 0, 1, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), $1, $1, 'TraceStarted', \
               '2026-01-01T00:00:00Z', 'p', 's', 'agent', 'a', $1, '[]', 'sha256:', '{}') RETURNING log_seq";
    client.query_one(sql, &[&trace]).await.expect("an insert").get(0)
}

/// Repeats the question until the answer is true; fails loudly when it never is.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !ask().await {
        assert!(std::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
