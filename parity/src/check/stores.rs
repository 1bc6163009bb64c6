//! A fresh store for each scenario: a SQLite file in a temporary directory, or a database made and dropped on a PostgreSQL
//! server.
//!
//! *Never:* touches a database that it did not make.

use decisiongraph_store::{DatabaseUrl, Result, Store, StoreError, StoreOptions, open, throwaway};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where fresh stores come from.
pub enum Stores {
    /// Files in this directory.
    Sqlite {
        /// Removed with this value.
        directory: tempfile::TempDir,
        /// Files made so far.
        made: AtomicUsize,
    },
    /// Databases on this server.
    Postgres(Box<throwaway::Server>),
}

/// A migrated, empty store, gone when this value is.
pub struct FreshStore {
    store: Arc<dyn Store>,
    // Dropped after the store's connections.
    _database: Option<throwaway::Database>,
}

impl FreshStore {
    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

impl Stores {
    /// Files in a directory of their own.
    pub fn sqlite() -> Result<Stores> {
        let directory = tempfile::Builder::new()
            .prefix("decisiongraph-parity-")
            .tempdir()
            .map_err(|error| StoreError::internal(format!("no temporary directory: {error}")))?;
        Ok(Stores::Sqlite { directory, made: AtomicUsize::new(0) })
    }

    /// Databases on the server of this URL; without one, on a server that is started now and ends with this process.
    pub async fn postgres(url: Option<String>) -> Result<Stores> {
        Ok(Stores::Postgres(Box::new(match url {
            Some(url) => throwaway::Server::at(url),
            None => throwaway::Server::start().await?,
        })))
    }

    /// A store of its own.
    pub async fn fresh(&self) -> Result<FreshStore> {
        match self {
            Stores::Sqlite { directory, made } => {
                let path = directory.path().join(format!("{}.db", made.fetch_add(1, Ordering::Relaxed)));
                let store = open(&DatabaseUrl::Sqlite(path), StoreOptions::default()).await?;
                store.migrate().await?;
                Ok(FreshStore { store, _database: None })
            }
            Stores::Postgres(server) => {
                let database = server.fresh_database().await?;
                let options = StoreOptions { pool_size: 3, ..StoreOptions::default() };
                let store = open(&DatabaseUrl::parse(database.url())?, options).await?;
                Ok(FreshStore { store, _database: Some(database) })
            }
        }
    }
}
