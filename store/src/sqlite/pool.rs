//! Connections to the file: one that writes, and a pool of readers.
//!
//! *Guarantees.* Every write is inside one `BEGIN IMMEDIATE … COMMIT` on the writer's connection (see `writer`). It is
//! durable when it returns (WAL, `synchronous = FULL`; a scratch store gives durability up). Every read is inside a
//! transaction, so it sees one instant. Nothing blocks the async runtime: reads run on blocking threads, writes on
//! their own thread.
//!
//! *Never here:* a retry. The wait for another process's lock is bounded by `statement_timeout`.

use super::checkpoint::Checkpoints;
use super::errors::Result;
use super::on_disk::{self, OnDisk};
use super::queue::Size;
use super::threads::blocking;
use super::writer::Writer;
use super::{errors, migrate};
use crate::{SchemaFit, StoreError, StoreOptions};
use decisiongraph_projections::Category;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) const SQL: &str = include_str!("sql/session.sql");

/// Snapshots that may be open at once; each holds a reading connection.
const SNAPSHOTS_MAX: usize = 64;
/// Single reads that run at once, and reading connections that are kept for the next read. A further connection would
/// be opened for one read: it would read the schema and prepare its statements for nothing.
pub(super) const READS_MAX: usize = 8;
/// Longest wait of a checkpoint, which then delays the writer, for readers of the log.
const READER_PATIENCE: Duration = Duration::from_millis(20);
/// Prepared statements that a connection keeps.
const STATEMENTS_MAX: usize = 128;

/// The file, and the connections to it.
pub(super) struct Database {
    pub file: Arc<File>,
    patience: Duration,
    writer: Writer,
    idle: Mutex<Vec<Connection>>,
    reads: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
}

/// State that writer, readers and checkpoints share.
pub(super) struct File {
    pub path: PathBuf,
    /// The files that were opened under this path.
    pub on_disk: OnDisk,
    busy: Duration,
    durable: bool,
    /// True when the file has no log beside it, and this process may not make one. It is then read as it is, without
    /// locks.
    as_it_is: bool,
    /// Connection that writes.
    pub writing: Arc<Mutex<Connection>>,
    pub checkpoints: Checkpoints,
    /// True once the schema was found to be this program's.
    checked: AtomicBool,
}

impl Database {
    /// Opens the file. `durable`: a commit that returned survives a power cut. Blocks.
    pub fn open(path: &Path, options: &StoreOptions, durable: bool) -> Result<Database> {
        Database::over(File::open(path, options, durable, Checkpoints::default())?, options)
    }

    /// Starts the thread that writes to this file.
    pub fn over(file: File, options: &StoreOptions) -> Result<Database> {
        let file = Arc::new(file);
        let ready = {
            let file = file.clone();
            move |conn: &Connection| {
                file.check_place()?;
                file.check_schema(conn)?;
                file.checkpoints.begin_if_due(&file, conn)
            }
        };
        // A file that went away meanwhile took the commit along, and may return with it.
        let landed = {
            let file = file.clone();
            move || {
                Ok(file
                    .check_place()
                    .map_err(|error| StoreError { category: Category::OutcomeUnknown, ..error.into() })?)
            }
        };
        let writer = Writer::start(file.writing.clone(), ready, landed)?;
        Ok(Database {
            file,
            patience: options.connect_timeout,
            writer,
            idle: Mutex::new(Vec::new()),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)),
        })
    }

    /// Runs one writing transaction: committed when `work` succeeds, else rolled back whole.
    pub async fn write<T: Send + 'static>(
        &self,
        size: Size,
        work: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.write(size, work).await.map_err(|error| errors::named(&self.file.path, error))
    }

    /// True when a short work had to wait for a bulk work since the last call.
    pub fn has_delayed(&self) -> bool {
        self.writer.has_delayed()
    }

    /// Fails while another program keeps this one from writing.
    pub fn writable(&self) -> Result<()> {
        if !self.writer.is_kept_out() {
            return Ok(());
        }
        let held = "another program holds the file's write lock (a database browser, a backup)";
        let error = StoreError::transient(Category::Storage, held)
            .next("end that program, or its transaction (`fuser FILE` lists the processes that have the file open); the node then continues automatically");
        Err(errors::named(&self.file.path, error))
    }

    /// Returns a reading connection for a single read, from the pool or new.
    pub async fn reader(self: &Arc<Database>) -> Result<Reader> {
        self.reader_of(&self.reads, READS_MAX).await
    }

    /// Returns a reading connection that may stay in use for long.
    pub async fn snapshot_reader(self: &Arc<Database>) -> Result<Reader> {
        self.reader_of(&self.snapshots, SNAPSHOTS_MAX).await
    }

    async fn reader_of(self: &Arc<Database>, permits: &Arc<Semaphore>, max: usize) -> Result<Reader> {
        let permit = match tokio::time::timeout(self.patience, Arc::clone(permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            _ => {
                let error = StoreError::transient(
                    Category::Unavailable,
                    format!("{max} readers are busy; none became free within {:?}", self.patience),
                );
                return Err(errors::named(&self.file.path, error));
            }
        };
        let idle = lock(&self.idle).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => {
                let file = self.file.clone();
                blocking(move || file.connect_reader()).await?
            }
        };
        Ok(Reader {
            conn: Some(conn),
            held: AtomicBool::new(false),
            spoiled: false,
            database: self.clone(),
            _permit: permit,
        })
    }
}

impl Database {
    /// Ends the begun work and writes no more. Copies the whole log into the file, if no other process has it open.
    /// Blocks.
    pub fn close(&self) -> Result<()> {
        self.rest();
        self.file.check_place()?;
        let conn = lock(&self.file.writing);
        conn.busy_timeout(READER_PATIENCE)?;
        self.file.checkpoints.to_the_end(&conn)
    }

    /// Ends the begun work.
    fn rest(&self) {
        self.writer.end();
        self.file.checkpoints.end();
        // Readers first: the last closed connection copies the log into the file, and a read-only connection cannot.
        lock(&self.idle).clear();
    }
}

impl Drop for Database {
    /// Ends the begun work on the file with the store.
    fn drop(&mut self) {
        self.rest();
    }
}

impl File {
    /// Opens the file. Blocks.
    pub fn open(path: &Path, options: &StoreOptions, durable: bool, checkpoints: Checkpoints) -> Result<File> {
        let opened = || -> Result<(Connection, bool)> {
            if !options.create && !path.exists() {
                return Err(StoreError::new(
                    Category::Unavailable,
                    "there is no such database; `decisiongraph migrate` creates it",
                )
                .into());
            }
            if options.create {
                on_disk::make(path)?;
            }
            let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, options.statement_timeout)?;
            let as_it_is = conn.is_readonly("main")? && !on_disk::has_log(path);
            if as_it_is {
                conn = connect(&on_disk::as_it_is(path), AS_IT_IS, options.statement_timeout)?;
            }
            prepare_writer(&conn, durable)?;
            if options.cache_bytes > 0 {
                let bytes = i64::try_from(options.cache_bytes).unwrap_or(i64::MAX);
                conn.pragma_update_and_check(None, "soft_heap_limit", bytes, |_| Ok(()))?;
            }
            Ok((conn, as_it_is))
        };
        let (writing, as_it_is) = opened().map_err(|error| errors::named(path, error))?;
        Ok(File {
            path: path.to_owned(),
            on_disk: OnDisk::at(path),
            busy: options.statement_timeout,
            durable,
            as_it_is,
            writing: Arc::new(Mutex::new(writing)),
            checkpoints,
            checked: AtomicBool::new(false),
        })
    }

    /// Refuses a path that does not lead to the opened files any more.
    pub fn check_place(&self) -> Result<()> {
        self.on_disk.check(&self.path)
    }

    /// Opens one more connection to the same file.
    fn connect(&self, flags: OpenFlags, busy: Duration) -> Result<Connection> {
        if self.as_it_is {
            // Its owner writes now, and pages may change under a reader without locks.
            if on_disk::has_log(&self.path) {
                let message = "another process began to write to the file; ask again";
                return Err(StoreError::transient(Category::Unavailable, message).into());
            }
            return connect(&on_disk::as_it_is(&self.path), AS_IT_IS, busy);
        }
        let conn = connect(&self.path, flags, busy)?;
        // Before it reads anything: the log of this file must not be another file's.
        self.check_place()?;
        Ok(conn)
    }

    /// Refuses a file whose schema is not this program's.
    fn check_schema(&self, conn: &Connection) -> Result<()> {
        if self.checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let status = migrate::status(conn)?;
        match status.fit() {
            SchemaFit::Behind => Err(errors::not_migrated().into()),
            SchemaFit::TooNew => Err(errors::too_new(status.database, status.program).into()),
            SchemaFit::Same | SchemaFit::ServesOlder => {
                self.checked.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Runs the migrations. Blocks.
    pub fn migrate(&self) -> Result<Vec<String>> {
        let run = || -> Result<Vec<String>> {
            self.check_place()?;
            let mut conn = lock(&self.writing);
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
            let applied = migrate::run(&transaction)?;
            transaction.commit()?;
            Ok(applied)
        };
        run().map_err(|error| errors::named(&self.path, error))
    }

    /// Reads the versions of the schema. Blocks.
    pub fn schema_status(&self) -> Result<crate::SchemaStatus> {
        migrate::status(&lock(&self.writing)).map_err(|error| errors::named(&self.path, error))
    }

    /// Opens a connection that copies the log into the file.
    pub fn connect_checkpointer(&self) -> Result<Connection> {
        let conn = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE, READER_PATIENCE)?;
        set_durability(&conn, self.durable)?;
        Ok(conn)
    }

    fn connect_reader(&self) -> Result<Connection> {
        let open = || -> Result<Connection> {
            let conn = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY, self.busy)?;
            conn.execute_batch(sql!(SQL, "reader"))?;
            self.check_schema(&conn)?;
            Ok(conn)
        };
        open().map_err(|error| errors::named(&self.path, error))
    }
}

/// A connection that reads. Returns to the pool when dropped.
pub(super) struct Reader {
    conn: Option<Connection>,
    /// True when its transaction is a snapshot. It stays open; when it is lost, the reader is lost too.
    held: AtomicBool,
    /// True when it holds more than the pool wants back (a temporary table): close it.
    spoiled: bool,
    database: Arc<Database>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Runs `work` inside its own transaction, or inside the open one of a snapshot. Blocks.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let run = || -> Result<T> {
            let conn = self.connection()?;
            if self.held.load(Ordering::Relaxed) {
                // SQLite itself ends a transaction when the file fails. The next read would then see another instant.
                if conn.is_autocommit() {
                    return Err(StoreError::transient(
                        Category::Storage,
                        "the snapshot was lost; read again from a new one",
                    )
                    .into());
                }
                return work(conn);
            }
            let transaction = conn.unchecked_transaction()?;
            let answer = work(&transaction)?;
            transaction.rollback()?;
            Ok(answer)
        };
        run().map_err(|error| errors::named(&self.database.file.path, error))
    }

    /// Opens a transaction that stays open, and reads once, so that it sees the present instant. Blocks.
    pub fn hold(&self) -> Result<()> {
        let run = || -> Result<()> {
            let conn = self.connection()?;
            conn.execute_batch("BEGIN DEFERRED")?;
            conn.query_row("SELECT 1 FROM sqlite_master LIMIT 1", [], |_| Ok(()))?;
            self.held.store(true, Ordering::Relaxed);
            Ok(())
        };
        run().map_err(|error| errors::named(&self.database.file.path, error))
    }

    /// Marks this connection as not to be used again.
    pub fn spoil(&mut self) {
        self.spoiled = true;
    }

    fn connection(&self) -> Result<&Connection> {
        Ok(self.conn.as_ref().ok_or_else(|| StoreError::internal("a reader without a connection"))?)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        if self.spoiled || (!conn.is_autocommit() && conn.execute_batch("ROLLBACK").is_err()) {
            return;
        }
        let mut idle = lock(&self.database.idle);
        if idle.len() < READS_MAX {
            idle.push(conn);
        }
    }
}

/// Locks a mutex, also after a panic. A panic inside a transaction rolled it back; the connection behind the lock is
/// sound.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Flags of a connection by [`on_disk::as_it_is`].
const AS_IT_IS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_URI);

pub(super) fn connect(path: &Path, flags: OpenFlags, busy: Duration) -> Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(busy)?;
    // One plan per statement, whatever its values. Otherwise SQLite prepares most look-ups again for each use.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(conn)
}

fn prepare_writer(conn: &Connection, durable: bool) -> Result<()> {
    conn.execute_batch(sql!(SQL, "writer"))?;
    // The log's triggers are for other programs; types keep their rules here. With a trigger, SQLite copies each page
    // that an insert changes, to be able to undo that insert alone.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    if !conn.is_readonly("main")? {
        // A read-only file keeps its mode; its reads work, its writes report the reason.
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(StoreError::new(
                Category::Storage,
                format!("the file system does not allow write-ahead logging (journal mode {mode})"),
            )
            .into());
        }
        // Opens the log and its index, so that their files are known from here on.
        conn.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    }
    set_durability(conn, durable)
}

fn set_durability(conn: &Connection, durable: bool) -> Result<()> {
    conn.execute_batch(if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = OFF" })?;
    Ok(())
}
