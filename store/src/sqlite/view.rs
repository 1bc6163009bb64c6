//! Read views: each call its own instant ([`View::fresh`]), or all calls one instant ([`View::snapshot`]).

use super::errors;
use super::pool::{Database, Reader, lock};
use super::threads::{CALLS, Threads, blocking};
use crate::{ReadView, Result};
use rusqlite::Connection;
use std::sync::{Arc, Mutex};

/// A read view.
pub(super) struct View {
    pub(super) database: Arc<Database>,
    /// The connection whose open transaction is the snapshot.
    pub(super) held: Option<Arc<Mutex<Reader>>>,
}

impl View {
    /// Creates a view whose calls each see the committed state at their start.
    pub fn fresh(database: Arc<Database>) -> View {
        View { database, held: None }
    }

    /// Creates a view whose calls all see the state committed now.
    pub async fn snapshot(database: Arc<Database>) -> Result<View> {
        let held = hold(&database).await?;
        Ok(View { database, held: Some(held) })
    }

    /// Reads.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> errors::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read_on(&CALLS, work).await
    }

    /// Reads on these threads.
    pub async fn read_on<T: Send + 'static>(
        &self,
        threads: &'static Threads,
        work: impl FnOnce(&Connection) -> errors::Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.held {
            Some(held) => {
                let held = held.clone();
                Ok(threads.run(move || lock(&held).read(work)).await?)
            }
            None => {
                let reader = self.database.reader().await?;
                Ok(threads.run(move || reader.read(work)).await?)
            }
        }
    }
}

/// Opens a reader with a transaction that sees the present instant.
pub(super) async fn hold(database: &Arc<Database>) -> Result<Arc<Mutex<Reader>>> {
    let reader = database.reader().await?;
    Ok(blocking(move || {
        reader.hold()?;
        Ok(Arc::new(Mutex::new(reader)))
    })
    .await?)
}

impl ReadView for View {}
