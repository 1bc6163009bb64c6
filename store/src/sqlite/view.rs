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
    let reader = database.snapshot_reader().await?;
    Ok(blocking(move || {
        reader.hold()?;
        Ok(Arc::new(Mutex::new(reader)))
    })
    .await?)
}

impl ReadView for View {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;
    use crate::sqlite::pool::READS_MAX;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn view(folder: &tempfile::TempDir) -> View {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let database = Database::open(&folder.path().join("x.db"), &options, true).expect("a database");
        database.file.migrate().expect("a schema");
        View::fresh(Arc::new(database))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn single_reads_share_a_few_connections() {
        let folder = tempfile::tempdir().expect("a folder");
        let view = Arc::new(view(&folder));
        let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let reads = (0..4 * READS_MAX).map(|_| {
            let (view, now, most) = (Arc::clone(&view), Arc::clone(&now), Arc::clone(&most));
            async move {
                let read = view.read(move |_| {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                });
                read.await.expect("a read");
            }
        });
        futures_util::future::join_all(reads).await;
        assert!(most.load(Ordering::SeqCst) <= READS_MAX, "{most:?} at once");
        hold(&view.database).await.expect("a snapshot has its own bound");
    }
}
