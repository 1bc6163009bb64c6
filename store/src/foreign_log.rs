//! Event logs of other programs, read only: the Python reference's SQLite file, and the tables of the original service
//! on PostgreSQL. One snapshot, event by event.

use crate::foreign::ForeignLine;
use crate::{Result, StoreError};
use decisiongraph_projections::Category;
use std::path::PathBuf;

/// An event log of another program.
#[derive(Clone)]
pub enum ForeignLog {
    /// The SQLite file of the Python reference.
    Reference(PathBuf),
    /// The database of the original service, with its password if it has one.
    Original(String),
}

impl ForeignLog {
    /// Reads all events in the order of the log, from one snapshot, until `take` returns false. Blocks the thread while
    /// it reads a file.
    pub async fn read(self, take: impl AsyncFnMut(ForeignLine) -> bool) -> Result<()> {
        match self {
            #[cfg(feature = "sqlite")]
            ForeignLog::Reference(path) => crate::sqlite::foreign::read(&path, take).await,
            #[cfg(feature = "postgres")]
            ForeignLog::Original(url) => crate::postgres::foreign::read(&url, take).await,
            #[allow(unreachable_patterns)]
            _ => Err(StoreError::new(Category::InvalidArgument, "this build cannot read such a log")),
        }
    }
}
