//! Where a test gets its database from.

use decisiongraph_store::{DatabaseUrl, Store, StoreOptions, open};
use std::any::Any;
use std::sync::Arc;

/// A database that lives as long as this.
pub struct Fresh {
    pub store: Arc<dyn Store>,
    pub url: DatabaseUrl,
    /// What removes it.
    _keep: Arc<dyn Any + Send + Sync>,
}

impl Fresh {
    /// On SQLite, in a folder of its own, without a schema.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite() -> Fresh {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::Sqlite(folder.path().join("store.db"));
        Fresh::of(url, Arc::new(folder)).await
    }

    /// On the PostgreSQL server of this test run, without a schema.
    #[cfg(feature = "throwaway-postgres")]
    pub async fn postgres() -> Fresh {
        let server = decisiongraph_store::throwaway::shared().await.expect("a server");
        let database = server.empty_database().await.expect("a database");
        let url = DatabaseUrl::parse(database.url()).expect("a URL");
        Fresh::of(url, Arc::new(database)).await
    }

    async fn of(url: DatabaseUrl, keep: Arc<dyn Any + Send + Sync>) -> Fresh {
        let store = open(&url, StoreOptions::default()).await.expect("a store");
        Fresh { store, url, _keep: keep }
    }

    /// With the program's schema.
    pub async fn migrated(self) -> Fresh {
        self.store.migrate().await.expect("a schema");
        self
    }

    /// The same database, opened by another process, as far as it can tell.
    pub async fn again(&self) -> Fresh {
        Fresh::of(self.url.clone(), self._keep.clone()).await
    }

    /// Another empty database of the same backend, with the program's schema.
    pub async fn sibling(&self) -> Fresh {
        let fresh = match &self.url {
            #[cfg(feature = "sqlite")]
            DatabaseUrl::Sqlite(_) => Fresh::sqlite().await,
            #[cfg(feature = "throwaway-postgres")]
            DatabaseUrl::Postgres(_) => Fresh::postgres().await,
            #[allow(unreachable_patterns)]
            other => panic!("not built for {other}"),
        };
        fresh.migrated().await
    }

    /// Does something that the store would never do; how many rows the last statement changed.
    pub async fn raw(&self, sql: &str) -> u64 {
        match &self.url {
            #[cfg(feature = "sqlite")]
            DatabaseUrl::Sqlite(path) => {
                let conn = rusqlite::Connection::open(path).expect("the file");
                conn.busy_timeout(std::time::Duration::from_secs(10)).expect("a setting");
                conn.execute(sql, []).expect("the statement") as u64
            }
            #[cfg(feature = "throwaway-postgres")]
            DatabaseUrl::Postgres(url) => {
                let (client, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
                let connection = tokio::spawn(connection);
                let changed = client.execute(sql, &[]).await.expect("the statement");
                drop(client);
                connection.await.expect("no panic").expect("a clean end");
                changed
            }
            #[allow(unreachable_patterns)]
            other => panic!("not built for {other}"),
        }
    }
}
