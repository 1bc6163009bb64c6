//! Checkpoints: what the write-ahead log holds goes into the database file, beside the writer.
//!
//! Left to SQLite, the writer itself would do it after some commit: behind a long history it waited there for a third of its time,
//! most of it for the disk. Here a thread of its own copies while the writer goes on. What was written meanwhile is copied with the
//! writer held off, which is short, so that the log begins anew and does not grow without end.
//!
//! *Guarantees.* Nothing depends on it: a checkpoint that fails or is killed half-way is taken up by a later one, and what it would
//! have copied stays in the log. One runs at a time.

use super::errors::Result;
use super::pool::{File, lock};
use rusqlite::Connection;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A checkpoint is due when so many more pages (4 KiB) of the log are not copied than the last one had to leave: 32 MB, not the 4 MB of
/// SQLite, because each copies a page once, however often it changed.
const DUE_PAGES: i64 = 8_000;
/// So few are copied with the writer held off.
const HELD_PAGES: i64 = 1_000;
/// Copying beside the writer is tried so often, if it writes as fast as this reads.
const PASSES_MAX: usize = 6;

/// Whether one is due or under way.
pub(super) struct Checkpoints {
    due_pages: i64,
    last: Mutex<Last>,
}

/// The last one.
#[derive(Default)]
struct Last {
    /// It may be under way.
    thread: Option<JoinHandle<Result<i64>>>,
    /// Pages that it left, because somebody still read what was before them.
    left: i64,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints { due_pages: DUE_PAGES, last: Mutex::default() }
    }
}

impl Checkpoints {
    /// Begins one if it is due, on a thread of its own. `conn` is any connection to the file.
    pub fn begin_if_due(&self, file: &Arc<File>, conn: &Connection) -> Result<()> {
        let mut last = lock(&self.last);
        if last.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        if let Some(left) = last.thread.take().and_then(left_by) {
            last.left = left;
        }
        if step(conn, "NOOP")? >= last.left + self.due_pages {
            let file = file.clone();
            // Without a thread now, one is due at the next write.
            last.thread =
                std::thread::Builder::new().name("sqlite-checkpoint".to_owned()).spawn(move || run(&file)).ok();
        }
        Ok(())
    }

    /// Copies all that is left, and cuts the log off, on this connection. Of what somebody still reads the copy is left to a later one.
    pub fn to_the_end(&self, conn: &Connection) -> Result<()> {
        step(conn, "TRUNCATE").map(|_| ())
    }

    /// Waits for the one that is under way.
    pub fn end(&self) {
        // Not under the lock: a writer who looks whether one is due holds up the last step of the one under way.
        let thread = lock(&self.last).thread.take();
        if let Some(left) = thread.and_then(left_by) {
            lock(&self.last).left = left;
        }
    }
}

/// What a checkpoint left. A fault of the file meets the next writer as well, who has somebody to tell it to.
fn left_by(thread: JoinHandle<Result<i64>>) -> Option<i64> {
    thread.join().ok()?.ok()
}

/// One checkpoint; the pages that it left.
fn run(file: &File) -> Result<i64> {
    let conn = file.connect_checkpointer()?;
    for _ in 0..PASSES_MAX {
        step(&conn, "PASSIVE")?;
        // What came meanwhile; the pass itself counts only what was there when it began.
        if step(&conn, "NOOP")? <= HELD_PAGES {
            break;
        }
    }
    let _held = lock(&file.writing);
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
    use super::super::pool::{Database, Reader};
    use super::*;
    use crate::StoreOptions;

    const DUE: i64 = 100;

    /// A migrated database whose checkpoints are soon due.
    fn database(folder: &tempfile::TempDir) -> Arc<Database> {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let checkpoints = Checkpoints { due_pages: DUE, ..Checkpoints::default() };
        let file = File::open(&folder.path().join("x.db"), &options, true, checkpoints).expect("a database");
        file.migrate().expect("a schema");
        Arc::new(Database::over(file, &options).expect("a thread"))
    }

    /// Writes more pages than make a checkpoint due.
    async fn write(database: &Database) {
        let blob = |conn: &Connection| {
            conn.execute("CREATE TABLE IF NOT EXISTS t (b BLOB)", [])?;
            Ok(conn.execute("INSERT INTO t VALUES (randomblob(4096 * ?1))", [DUE + 10])?)
        };
        database.write(blob).await.expect("a write");
    }

    /// Waits until none runs: pages of the log, and how many of them are not copied.
    fn at_rest(database: &Database) -> (i64, i64) {
        database.file.checkpoints.end();
        let writer = lock(&database.file.writing);
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
        let (pages, left) = at_rest(&database);
        assert!(pages > DUE && left == pages, "{pages}, {left}: a write does not wait for a checkpoint");
        write(&database).await;
        let (_, left) = at_rest(&database);
        assert_eq!(left, 0);
        write(&database).await;
        let (pages, _) = at_rest(&database);
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
            at_rest(&database);
        }
        let (_, left) = at_rest(&database);
        assert!(left > DUE, "{left}");
        assert!(lock(&database.file.checkpoints.last).left > DUE, "the next is due behind what this had to leave");
        assert_eq!(counted(&reader), 1);
        drop(reader);
        for _ in 0..3 {
            write(&database).await;
            at_rest(&database);
        }
        let (pages, left) = at_rest(&database);
        assert!(pages < 3 * DUE && left < 3 * DUE, "{pages}, {left}");
        assert_eq!(counted(&database.reader().await.expect("a reader")), 6);
    }

    #[tokio::test]
    async fn nothing_goes_on_behind_a_store_that_is_closed() {
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("a folder");
            let database = database(&folder);
            write(&database).await;
            // One is due now.
            write(&database).await;
            let file = database.file.clone();
            drop(database);
            assert_eq!(Arc::strong_count(&file), 1, "a thread still works on it");
        }
    }
}
