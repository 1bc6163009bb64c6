//! The event log of the Python reference, in its SQLite file: read only.

use super::errors::{self, Result};
use super::pool::connect;
use crate::foreign::{ForeignLine, TABLE, WIDTH, line, statement};
use crate::{StoreError, StoreOptions};
use decisiongraph_projections::Category;
use rusqlite::OpenFlags;
use std::collections::BTreeSet;
use std::path::Path;

/// Reads the events of the file; see [`crate::ForeignLog::read`]. Blocks.
pub(crate) async fn read(path: &Path, take: impl AsyncFnMut(ForeignLine) -> bool) -> crate::Result<()> {
    rows(path, take).await.map_err(|error| {
        let mut error = StoreError::from(errors::named(path, error));
        if matches!(error.category, Category::InvalidArgument | Category::NotFound) {
            error.message = format!("{}: {}", path.display(), error.message);
        }
        error
    })
}

async fn rows(path: &Path, mut take: impl AsyncFnMut(ForeignLine) -> bool) -> Result<()> {
    if !path.exists() {
        let error = StoreError::new(Category::NotFound, "there is no such file");
        return Err(error.next("check the path and its permissions").into());
    }
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, StoreOptions::default().statement_timeout)?;
    // One snapshot for the shape and the events.
    conn.execute_batch("BEGIN")?;
    let mut shape = conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let found = shape.query_map([TABLE], |row| row.get(0))?.collect::<rusqlite::Result<BTreeSet<String>>>()?;
    let mut events = conn.prepare(&statement(&found)?)?;
    let mut rows = events.query([])?;
    while let Some(row) = rows.next()? {
        let cells = (1..WIDTH).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Option<String>>>>()?;
        if !take(line(row.get(0)?, cells.iter().map(Option::as_deref))).await {
            break;
        }
    }
    Ok(())
}
