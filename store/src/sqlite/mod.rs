//! To come.

use crate::{Result, Store, StoreError, StoreOptions};
use std::sync::Arc;

/// Opens the store.
pub async fn open(_url: &std::path::Path, _options: StoreOptions) -> Result<Arc<dyn Store>> {
    Err(StoreError::internal("this backend is not built yet"))
}
