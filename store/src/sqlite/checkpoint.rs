//! Checkpoints: copying the write-ahead log into the database file, beside the writer.
//!
//! If SQLite did it, the writer itself would copy after some commits. With a long history it waited there for a third
//! of its time, mostly for the disk. Here a separate thread copies while the writer goes on. Pages written meanwhile
//! are copied with the writer stopped, which is short. The log then begins anew and does not grow without end.
//!
//! *Guarantees.* Nothing depends on a checkpoint. A later checkpoint continues one that fails or is killed half-way;
//! the uncopied pages stay in the log. One checkpoint runs at a time.

use super::errors::Result;
use super::pool::{File, lock};
use rusqlite::Connection;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Growth of the log after which a checkpoint is due, in pages (4 KiB) not copied. Pages that the last checkpoint had
/// to leave do not count. It is 32 MB, not the 4 MB of SQLite, because each checkpoint copies a page once, however
/// often it changed.
const DUE_PAGES: i64 = 8_000;
/// Number of pages that are few enough to copy with the writer stopped.
const HELD_PAGES: i64 = 1_000;
/// Most passes of copying beside the writer, if it writes as fast as a pass copies.
const PASSES_MAX: usize = 6;

/// State of checkpoints: the next one's due size, and the last one.
pub(super) struct Checkpoints {
    due_pages: i64,
    last: Mutex<Last>,
}

/// The last checkpoint.
#[derive(Default)]
struct Last {
    /// Thread of the checkpoint; it may still be running.
    thread: Option<JoinHandle<Result<i64>>>,
    /// Pages that it left, because a reader still read the state before them.
    left: i64,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints { due_pages: DUE_PAGES, last: Mutex::default() }
    }
}

impl Checkpoints {
    /// Begins a checkpoint if it is due, on its own thread. `conn` is any connection to the file.
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
            // If the thread cannot start now, the checkpoint is due at the next write.
            last.thread =
                std::thread::Builder::new().name("sqlite-checkpoint".to_owned()).spawn(move || run(&file)).ok();
        }
        Ok(())
    }

    /// Copies everything that is left, and truncates the log, on this connection. Pages after a reader's state are left
    /// to a later checkpoint.
    pub fn to_the_end(&self, conn: &Connection) -> Result<()> {
        step(conn, "TRUNCATE").map(|_| ())
    }

    /// Waits for the checkpoint that is under way.
    pub fn end(&self) {
        // Not under the lock: a writer that checks for a due checkpoint would delay the running one's last step.
        let thread = lock(&self.last).thread.take();
        if let Some(left) = thread.and_then(left_by) {
            lock(&self.last).left = left;
        }
    }
}

/// Returns the pages that a checkpoint left. A fault of the file also meets the next writer, which can report it.
fn left_by(thread: JoinHandle<Result<i64>>) -> Option<i64> {
    thread.join().ok()?.ok()
}

/// Runs one checkpoint and returns the pages that it left.
fn run(file: &File) -> Result<i64> {
    let conn = file.connect_checkpointer()?;
    for _ in 0..PASSES_MAX {
        step(&conn, "PASSIVE")?;
        // Pages that came meanwhile; the pass itself counts only the pages that existed at its start.
        if step(&conn, "NOOP")? <= HELD_PAGES {
            break;
        }
    }
    let _held = lock(&file.writing);
    // Readers of the log are waited for, for a moment. If one stays, the log continues behind the pages it reads.
    step(&conn, "RESTART")
}

/// Runs a step of this kind and returns the pages of the log that are not copied after it.
fn step(conn: &Connection, kind: &str) -> Result<i64> {
    let mut pragma = conn.prepare_cached(&format!("PRAGMA wal_checkpoint({kind})"))?;
    let (pages, copied): (i64, i64) = pragma.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?;
    Ok(pages - copied)
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Database, Reader};
    use super::super::queue::Size;
    use super::*;
    use crate::StoreOptions;

    const DUE: i64 = 100;

    /// Creates a migrated database whose checkpoints are soon due.
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
        database.write(Size::Short, blob).await.expect("a write");
    }

    /// Waits until none runs. Returns the pages of the log, and the number of them that are not copied.
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
