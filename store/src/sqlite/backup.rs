//! A copy of the embedded store while it is in use: all of one instant, in one file.
//!
//! *Guarantees.* Neither writers nor readers of the store wait for it, in any process. The copy holds the committed
//! state at its start. The reported content is read from the copy itself.

use super::ask::Ask as _;
use super::errors;
use super::errors::Result;
use super::log::SQL;
use super::on_disk::OnDisk;
use super::threads::blocking;
use crate::StoreError;
use decisiongraph_projections::{Category, LogSeq};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Longest wait for another process's lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// Content of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// Number of events of all tenants.
    pub events: u64,
    /// Last position that was drawn before the copy.
    pub last: LogSeq,
    /// Size of the file, bytes.
    pub bytes: u64,
}

/// Copies the store at `from` into `into`, an empty file. The copy is on the disk when this returns.
pub async fn back_up(from: &Path, into: &Path) -> crate::Result<Backup> {
    let (from, into) = (from.to_owned(), into.to_owned());
    Ok(blocking(move || copy(&from, &into).map_err(|error| errors::named(&from, error))).await?)
}

fn copy(from: &Path, into: &Path) -> Result<Backup> {
    let conn = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.busy_timeout(PATIENCE)?;
    conn.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    let opened = OnDisk::at(from);
    let place = into.to_str().ok_or_else(|| StoreError::new(Category::InvalidArgument, "its path is not UTF-8"))?;
    conn.execute("VACUUM INTO ?1", [place])?;
    opened.check(from)?;
    let unwritten = |error| StoreError::new(Category::Storage, format!("the copy cannot be written: {error}"));
    let file = std::fs::File::open(into).map_err(unwritten)?;
    file.sync_all().map_err(unwritten)?;
    let bytes = file.metadata().map_err(unwritten)?.len();
    let copy = Connection::open_with_flags(into, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let events: i64 = copy.query_row("SELECT count(*) FROM dg_event_log", [], |row| row.get(0))?;
    let (last,) = copy.one(sql!(SQL, "log_end"), [])?;
    Ok(Backup { events: events.unsigned_abs(), last, bytes })
}
