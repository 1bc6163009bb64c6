//! Where a test gets its database from.

use decisiongraph_store::{DatabaseUrl, Store, StoreOptions, open};
use std::any::Any;
use std::sync::Arc;

/// A fresh, migrated database, which lives as long as this.
pub struct Fresh {
    pub store: Arc<dyn Store>,
    pub url: DatabaseUrl,
    kind: Kind,
    /// What removes it.
    _keep: Arc<dyn Any + Send + Sync>,
}

#[derive(Clone, Copy)]
enum Kind {
    Sqlite,
}

impl Fresh {
    /// On SQLite, in a folder of its own.
    pub async fn sqlite() -> Fresh {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::Sqlite(folder.path().join("store.db"));
        Fresh::of(url, Kind::Sqlite, Arc::new(folder)).await
    }

    async fn of(url: DatabaseUrl, kind: Kind, keep: Arc<dyn Any + Send + Sync>) -> Fresh {
        let store = open(&url, StoreOptions::default()).await.expect("a store");
        store.migrate().await.expect("a schema");
        Fresh { store, url, kind, _keep: keep }
    }

    /// The same database, opened by another process, as far as it can tell.
    pub async fn again(&self) -> Fresh {
        let store = open(&self.url, StoreOptions::default()).await.expect("a store");
        Fresh { store, url: self.url.clone(), kind: self.kind, _keep: self._keep.clone() }
    }

    /// Another empty database of the same backend.
    pub async fn sibling(&self) -> Fresh {
        match self.kind {
            Kind::Sqlite => Fresh::sqlite().await,
        }
    }
}
