//! To come.

use crate::{Result, Store, StoreError, StoreOptions};
use std::sync::Arc;

/// Opens the store.
pub async fn open(_url: &std::path::Path, _options: StoreOptions) -> Result<Arc<dyn Store>> {
    Err(StoreError::internal("this backend is not built yet"))
}

/// A store for intermediate results, without durability: a file that its owner deletes.
pub async fn scratch(_path: &std::path::Path) -> Result<Arc<dyn Store>> {
    Err(StoreError::internal("this backend is not built yet"))
}
