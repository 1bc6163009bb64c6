//! A fresh store for each scenario: a SQLite file in a temporary directory, or a database on a PostgreSQL server. A
//! database is made for the check and dropped after it.
//!
//! *Never:* touches a database that it did not make.

use decisiongraph_store::{DatabaseUrl, Result, Store, StoreError, StoreOptions, open, throwaway};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Source of fresh stores.
pub enum Stores {
    /// Files in this directory.
    Sqlite {
        /// Directory of the files, removed with this value.
        directory: tempfile::TempDir,
        /// Files made so far.
        made: AtomicUsize,
    },
    /// Databases on this server.
    Postgres {
        /// Databases of finished scenarios, emptied. Dropped before the server is.
        idle: Mutex<Vec<FreshStore>>,
        /// Server of the databases; stopped, if it was started here, when this value is dropped.
        server: Box<throwaway::Server>,
    },
}

/// A migrated, empty store, gone when this value is.
pub struct FreshStore {
    store: Arc<dyn Store>,
    // Dropped after the store's connections.
    database: Option<throwaway::Database>,
}

impl FreshStore {
    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

impl Stores {
    /// Makes files in a directory of their own.
    pub fn sqlite() -> Result<Stores> {
        let directory = tempfile::Builder::new()
            .prefix("decisiongraph-parity-")
            .tempdir()
            .map_err(|error| StoreError::internal(format!("no temporary directory: {error}")))?;
        Ok(Stores::Sqlite { directory, made: AtomicUsize::new(0) })
    }

    /// Makes databases on the server of this URL. Without one, it starts a server, which ends with this process.
    pub async fn postgres(url: Option<String>) -> Result<Stores> {
        let server = match url {
            Some(url) => throwaway::Server::at(url),
            None => {
                let server = throwaway::Server::start().await?;
                without_fsync(&server).await?;
                server
            }
        };
        Ok(Stores::Postgres { server: Box::new(server), idle: Mutex::default() })
    }

    /// Returns a store that no other scenario uses.
    pub async fn fresh(&self) -> Result<FreshStore> {
        match self {
            Stores::Sqlite { directory, made } => {
                let path = directory.path().join(format!("{}.db", made.fetch_add(1, Ordering::Relaxed)));
                let store = open(&DatabaseUrl::Sqlite(path), StoreOptions::default()).await?;
                store.migrate().await?;
                Ok(FreshStore { store, database: None })
            }
            Stores::Postgres { server, idle } => {
                let emptied = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                if let Some(emptied) = emptied {
                    return Ok(emptied);
                }
                let database = server.fresh_database().await?;
                let options = StoreOptions { pool_size: 3, ..StoreOptions::default() };
                let store = open(&DatabaseUrl::parse(database.url())?, options).await?;
                Ok(FreshStore { store, database: Some(database) })
            }
        }
    }

    /// Takes back a store whose scenario is over. Making a database costs more than a scenario. So the store is emptied
    /// for the next one: no rows, no partitions, `log_seq` from 1 again.
    pub async fn take_back(&self, fresh: FreshStore) {
        if let (Stores::Postgres { idle, .. }, Some(database)) = (self, &fresh.database)
            && run_on(database.url(), include_str!("empty.sql")).await.is_ok()
        {
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(fresh);
            return;
        }
        // Dropping a database blocks; the other scenarios continue meanwhile.
        tokio::task::spawn_blocking(move || drop(fresh));
    }
}

/// Turns fsync off. The check compares the content of rows; it does not test a power failure. A server that lives for
/// one run and makes many databases need not wait for the disk.
async fn without_fsync(server: &throwaway::Server) -> Result<()> {
    run_on(server.admin_url(), "ALTER SYSTEM SET fsync = off").await?;
    run_on(server.admin_url(), "SELECT pg_reload_conf()").await
}

async fn run_on(url: &str, sql: &str) -> Result<()> {
    let failed = |error: tokio_postgres::Error| StoreError::internal(format!("the checker's database: {error}"));
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let done = client.batch_execute(sql).await.map_err(failed);
    drop(client);
    let _ = connection.await;
    done
}
