//! Checkpoints: what the write-ahead log holds goes into the database file, beside the writer.
//!
//! Left to SQLite, the writer itself would do it after some commit: behind a long history it waited there for a third of its time,
//! most of it for the disk. Here a thread of its own copies while the writer goes on. What was written meanwhile is copied with the
//! writer held off, which is short, so that the log begins anew and does not grow without end.
//!
//! *Guarantees.* Nothing depends on it: a checkpoint that fails or is killed half-way is taken up by a later one, and what it would
//! have copied stays in the log. One runs at a time.

use super::pool::{Database, lock};
use crate::Result;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// A checkpoint is due when so many more pages (4 KiB) of the log are not copied than the last one had to leave: 48 MB, not the 4 MB of
/// SQLite, because each copies a page once, however often it changed.
const DUE_PAGES: i64 = 12_000;
/// So few are copied with the writer held off.
const HELD_PAGES: i64 = 2_000;
/// Copying beside the writer is tried so often, if it writes as fast as this reads.
const PASSES_MAX: usize = 3;

/// Whether one is due or under way.
pub(super) struct Checkpoints {
    due_pages: i64,
    running: AtomicBool,
    /// Pages that the last one left, because somebody still read what was before them.
    left: AtomicI64,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints { due_pages: DUE_PAGES, running: AtomicBool::new(false), left: AtomicI64::new(0) }
    }
}

/// Lets the next one begin, also after a panic.
struct Running<'c>(&'c Checkpoints);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
    }
}

impl Checkpoints {
    /// Begins one if it is due, on a thread of its own. `conn` is any connection to the file.
    pub fn begin_if_due(&self, database: &Arc<Database>, conn: &Connection) -> Result<()> {
        let due = self.left.load(Ordering::Relaxed) + self.due_pages;
        if step(conn, "NOOP")? < due || self.running.swap(true, Ordering::Acquire) {
            return Ok(());
        }
        let database = Arc::clone(database);
        tokio::task::spawn_blocking(move || {
            let running = Running(&database.checkpoints);
            // A fault of the file meets the next writer as well, who has somebody to tell it to.
            if let Ok(left) = run(&database) {
                running.0.left.store(left, Ordering::Relaxed);
            }
        });
        Ok(())
    }
}

/// One checkpoint; the pages that it left.
fn run(database: &Database) -> Result<i64> {
    let conn = database.connect_checkpointer()?;
    for _ in 0..PASSES_MAX {
        if step(&conn, "PASSIVE")? <= HELD_PAGES {
            break;
        }
    }
    let _held = lock(&database.writer);
    // Readers of the log are waited for, for a moment: if one stays, the log goes on behind what it reads.
    step(&conn, "RESTART")
}

/// A step of this kind; the pages of the log that are not copied behind it.
fn step(conn: &Connection, kind: &str) -> Result<i64> {
    let mut pragma = conn.prepare_cached(&format!("PRAGMA wal_checkpoint({kind})"))?;
    let (pages, copied): (i64, i64) = pragma.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?;
    Ok(pages - copied)
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Reader, blocking};
    use super::*;
    use crate::StoreOptions;
    use std::time::{Duration, Instant};

    const DUE: i64 = 100;

    /// A migrated database whose checkpoints are soon due.
    fn database(folder: &tempfile::TempDir) -> Arc<Database> {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let mut database = Database::open(&folder.path().join("x.db"), &options, true).expect("a database");
        database.checkpoints.due_pages = DUE;
        database.migrate().expect("a schema");
        Arc::new(database)
    }

    /// Writes more pages than make a checkpoint due.
    async fn write(database: &Arc<Database>) {
        let database = Arc::clone(database);
        let blob = |conn: &Connection| {
            conn.execute("CREATE TABLE IF NOT EXISTS t (b BLOB)", [])?;
            Ok(conn.execute("INSERT INTO t VALUES (randomblob(4096 * ?1))", [DUE + 10])?)
        };
        blocking(move || database.write(blob)).await.expect("a write");
    }

    /// Waits until none runs: pages of the log, and how many of them are not copied.
    async fn at_rest(database: &Arc<Database>) -> (i64, i64) {
        let until = Instant::now() + Duration::from_secs(20);
        while database.checkpoints.running.load(Ordering::Acquire) {
            assert!(Instant::now() < until, "a checkpoint does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let writer = lock(&database.writer);
        let pages = writer.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).expect("pages");
        (pages, step(&writer, "NOOP").expect("pages"))
    }

    fn counted(reader: &Reader) -> i64 {
        let count = |conn: &Connection| Ok(conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?);
        reader.read(count).expect("a count")
    }

    #[tokio::test]
    async fn the_log_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = database(&folder);
        write(&database).await;
        let (pages, left) = at_rest(&database).await;
        assert!(pages > DUE && left == pages, "{pages}, {left}: a write does not wait for a checkpoint");
        write(&database).await;
        let (_, left) = at_rest(&database).await;
        assert_eq!(left, 0);
        write(&database).await;
        let (pages, _) = at_rest(&database).await;
        assert!(pages < 2 * DUE, "{pages}: the third write alone");
    }

    #[tokio::test]
    async fn a_reader_keeps_its_instant_and_the_log_goes_on_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = database(&folder);
        write(&database).await;
        let reader = database.reader().await.expect("a reader");
        reader.hold().expect("an instant");
        for _ in 0..2 {
            write(&database).await;
            at_rest(&database).await;
        }
        let (_, left) = at_rest(&database).await;
        assert!(left > DUE, "{left}");
        assert!(
            database.checkpoints.left.load(Ordering::Relaxed) > DUE,
            "the next is due behind what this had to leave"
        );
        assert_eq!(counted(&reader), 1);
        drop(reader);
        for _ in 0..3 {
            write(&database).await;
            at_rest(&database).await;
        }
        let (pages, left) = at_rest(&database).await;
        assert!(pages < 3 * DUE && left < 3 * DUE, "{pages}, {left}");
        assert_eq!(counted(&database.reader().await.expect("a reader")), 6);
    }
}
