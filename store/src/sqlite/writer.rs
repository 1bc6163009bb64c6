//! The thread that writes. Writers share a transaction, and so one `fsync`, when they wait at the same time or come
//! while it is open.
//!
//! ```text
//!   writer ──▶ queue ──▶ the thread takes all that wait ──▶ BEGIN IMMEDIATE
//!                │                                            a
//!                └── and all that wait by then, until none does ──▶ b, c
//!                                                           COMMIT ──▶ a, b, c are answered
//! ```
//!
//! *Guarantees.* A writer is answered after the commit that holds its work, never before. A writer that fails undoes
//! only its own work. The whole transaction is rolled back, and each of its writers gets a separate one. Work may
//! therefore be done twice, but only once for good. When the commit fails, every writer in it gets the error, and
//! nothing of it is stored. A transaction has [`GROUP_MAX`] writers at most, so that the first of them is answered
//! however many come.
//!
//! *Why no savepoints:* under a savepoint SQLite copies every page before it changes it, for a failure that hardly ever
//! comes. *Why one thread:* the connection's cached pages are then in one arena of the allocator, and freed memory is
//! used again.

use super::errors::{Failed, Result};
use super::pool::lock;
use super::queue::{Job, Queue, Size};
use crate::StoreError;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Most writers in one transaction.
const GROUP_MAX: usize = 64;

struct Task<T, F> {
    work: F,
    outcome: Option<Result<T>>,
    writer: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: Fn(&Connection) -> Result<T> + Send> Job for Task<T, F> {
    fn run(&mut self, conn: &Connection) -> bool {
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(conn)))
            .unwrap_or_else(|_| Err(StoreError::internal("a write panicked; nothing was changed").into()));
        self.outcome.insert(outcome).is_ok()
    }

    fn answer(self: Box<Self>, lost: Option<&Failed>) {
        let answer = match (self.outcome, lost) {
            (Some(Err(own)), _) => Err(own),
            (_, Some(lost)) => Err(lost.clone()),
            (Some(answer), None) => answer,
            (None, None) => Err(StoreError::internal("a write was passed over").into()),
        };
        // A caller that no longer waits has not asked for a rollback.
        let _ = self.writer.send(answer);
    }
}

/// The thread, and its queue.
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. `ready` runs before each transaction; `landed` runs after each commit, before its writers are
    /// answered.
    pub fn start(
        conn: Arc<Mutex<Connection>>,
        ready: impl Fn(&Connection) -> Result<()> + Send + 'static,
        landed: impl Fn() -> Result<()> + Send + 'static,
    ) -> Result<Writer> {
        let queue = Arc::<Queue>::default();
        let works = Arc::clone(&queue);
        let serve = move || {
            while let Some((first, size)) = works.first() {
                work_off(&mut lock(&conn), &ready, &landed, &works, first, size);
            }
        };
        let thread = std::thread::Builder::new().name("sqlite-writer".to_owned()).spawn(serve);
        let thread =
            thread.map_err(|error| StoreError::internal(format!("cannot start the writer thread: {error}")))?;
        Ok(Writer { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Does `work` in a transaction, alone or with other waiting writers. It may run more than once, but takes effect
    /// only once.
    pub async fn write<T: Send + 'static>(
        &self,
        size: Size,
        work: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let gone = || StoreError::internal("the writer thread has ended");
        let (writer, answer) = oneshot::channel();
        if !self.queue.add(Box::new(Task { work, outcome: None, writer }), size) {
            return Err(gone().into());
        }
        answer.await.map_err(|_| gone())?
    }

    /// True when a short work had to wait for a bulk work since the last call.
    pub fn has_delayed(&self) -> bool {
        self.queue.has_delayed()
    }

    /// True when a transaction cannot begin now because another process writes.
    pub fn is_kept_out(&self) -> bool {
        self.queue.kept_out.load(Ordering::Relaxed)
    }

    /// Waits until the queue is done, also for writers that no longer wait. Blocks.
    pub fn end(&self) {
        self.queue.end();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs one transaction for this writer and the other waiting ones; or, if one of them fails, one per writer.
fn work_off(
    conn: &mut Connection,
    ready: &impl Fn(&Connection) -> Result<()>,
    landed: &impl Fn() -> Result<()>,
    queue: &Queue,
    first: Box<dyn Job>,
    size: Size,
) {
    let mut group = vec![first];
    match ready(conn).and_then(|()| together(conn, landed, queue, &mut group, size)) {
        Ok(done) if done || group.len() == 1 => group.into_iter().for_each(|job| job.answer(None)),
        Ok(_) => {
            for mut job in group {
                let lost = alone(conn, landed, queue, &mut *job).err();
                job.answer(lost.as_ref());
            }
        }
        Err(lost) => group.into_iter().for_each(|job| job.answer(Some(&lost))),
    }
}

/// Runs all in one transaction, with writers that come meanwhile. `size` is the first one's. False if one of them
/// failed: then nothing was done.
fn together(
    conn: &mut Connection,
    landed: &impl Fn() -> Result<()>,
    queue: &Queue,
    group: &mut Vec<Box<dyn Job>>,
    mut size: Size,
) -> Result<bool> {
    let transaction = begin(conn, &queue.kept_out)?;
    let mut done = 0;
    while done < group.len() {
        if !group[done].run(&transaction) {
            // A dropped transaction is rolled back.
            return Ok(false);
        }
        done += 1;
        if done < GROUP_MAX
            && let Some((job, of)) = queue.joins(size)
        {
            size = of;
            group.push(job);
        }
    }
    transaction.commit()?;
    landed()?;
    Ok(true)
}

/// Begins a transaction, as soon as no other process is in one.
fn begin<'a>(conn: &'a mut Connection, kept_out: &AtomicBool) -> Result<Transaction<'a>> {
    kept_out.store(true, Ordering::Relaxed);
    let begun = conn.transaction_with_behavior(TransactionBehavior::Immediate);
    kept_out.store(false, Ordering::Relaxed);
    Ok(begun?)
}

/// Runs one writer in a separate transaction.
fn alone(conn: &mut Connection, landed: &impl Fn() -> Result<()>, queue: &Queue, job: &mut dyn Job) -> Result<()> {
    let transaction = begin(conn, &queue.kept_out)?;
    if job.run(&transaction) {
        transaction.commit()?;
        landed()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::Category;
    use std::sync::mpsc;

    /// A table of numbers, and a thread that writes to it.
    struct Numbers {
        conn: Arc<Mutex<Connection>>,
        writer: Arc<Writer>,
    }

    impl Numbers {
        fn new(conn: Connection) -> Numbers {
            conn.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)").expect("a table");
            let conn = Arc::new(Mutex::new(conn));
            let writer = Writer::start(conn.clone(), |_| Ok(()), || Ok(())).expect("a thread");
            Numbers { conn, writer: Arc::new(writer) }
        }

        fn in_memory() -> Numbers {
            Numbers::new(Connection::open_in_memory().expect("a database"))
        }

        fn counted(&self) -> i64 {
            lock(&self.conn).query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("a count")
        }

        /// Lets `works` pile up, in their order, while a writer that gives 0 is at work. Returns all answers, its own
        /// first.
        async fn piled_up(&self, works: Vec<Work>) -> Vec<Result<i64>> {
            self.piled_up_as(works.into_iter().map(|work| (Size::Short, work)).collect()).await
        }

        async fn piled_up_as(&self, works: Vec<(Size, Work)>) -> Vec<Result<i64>> {
            let (entered, is_in) = mpsc::channel();
            let (go, gone) = mpsc::channel::<()>();
            let first: Work = Box::new(move |_| {
                let _ = entered.send(());
                // Returns at once, when it is done again.
                let _ = gone.recv();
                Ok(0)
            });
            let mut writes = vec![self.write(Size::Short, first)];
            tokio::task::spawn_blocking(move || is_in.recv()).await.expect("no panic").expect("it is in");
            for (size, work) in works {
                writes.push(self.write(size, work));
                // In the queue after it was polled for the first time.
                tokio::task::yield_now().await;
            }
            drop(go);
            let mut answers = Vec::new();
            for write in writes {
                answers.push(write.await.expect("no panic"));
            }
            answers
        }

        fn write(&self, size: Size, work: Work) -> tokio::task::JoinHandle<Result<i64>> {
            let writer = self.writer.clone();
            tokio::spawn(async move { writer.write(size, work).await })
        }
    }

    type Work = Box<dyn Fn(&Connection) -> Result<i64> + Send>;

    fn insert(n: i64) -> Work {
        Box::new(move |conn| {
            conn.execute("INSERT INTO t VALUES (?1)", [n])?;
            Ok(n)
        })
    }

    #[tokio::test]
    async fn a_writer_that_fails_takes_back_its_own_work_only() {
        let numbers = Numbers::in_memory();
        let half: Work = Box::new(|conn| {
            conn.execute("INSERT INTO t VALUES (7)", [])?;
            conn.execute("INSERT INTO t VALUES (1)", [])?;
            Ok(7)
        });
        let answers = numbers.piled_up(vec![insert(1), half, insert(2)]).await;
        assert_eq!((&answers[0], &answers[1], &answers[3]), (&Ok(0), &Ok(1), &Ok(2)));
        assert!(answers[2].as_ref().is_err_and(|error| error.duplicate), "{answers:?}");
        assert_eq!(numbers.counted(), 2);
    }

    #[tokio::test]
    async fn a_first_writer_that_fails_leaves_nothing_and_the_next_one_is_not_hurt() {
        let numbers = Numbers::in_memory();
        let half: Work = Box::new(|conn| {
            conn.execute("INSERT INTO t VALUES (7)", [])?;
            Err(StoreError::internal("half done").into())
        });
        assert_eq!(numbers.writer.write(Size::Short, half).await, Err(StoreError::internal("half done").into()));
        assert_eq!(numbers.counted(), 0);
        assert_eq!(numbers.writer.write(Size::Short, insert(1)).await, Ok(1));
        assert_eq!(numbers.counted(), 1);
    }

    #[tokio::test]
    async fn a_writer_that_panics_is_told_and_nobody_else_is_hurt() {
        let numbers = Numbers::in_memory();
        let panics: Work = Box::new(|conn| {
            conn.execute("INSERT INTO t VALUES (7)", [])?;
            panic!("as a defect does")
        });
        let answers = numbers.piled_up(vec![insert(1), panics, insert(2)]).await;
        assert_eq!((&answers[0], &answers[1], &answers[3]), (&Ok(0), &Ok(1), &Ok(2)));
        assert!(answers[2].as_ref().is_err_and(|error| error.category == Category::Internal), "{answers:?}");
        assert_eq!(numbers.counted(), 2);
    }

    #[tokio::test]
    async fn a_transaction_that_ends_by_itself_is_nobodys_success() {
        let numbers = Numbers::in_memory();
        let ended: Work = Box::new(|conn| {
            conn.execute_batch("ROLLBACK")?;
            Err(StoreError::new(Category::Storage, "as a full disk does").into())
        });
        let answers = numbers.piled_up(vec![insert(1), ended, insert(2)]).await;
        assert_eq!((&answers[0], &answers[1], &answers[3]), (&Ok(0), &Ok(1), &Ok(2)));
        assert!(answers[2].as_ref().is_err_and(|error| error.message == "as a full disk does"), "{answers:?}");
        assert_eq!(numbers.counted(), 2);
    }

    #[tokio::test]
    async fn a_commit_that_fails_is_everybodys_failure() {
        let numbers = Numbers::in_memory();
        lock(&numbers.conn)
            .execute_batch(
                "PRAGMA foreign_keys = ON;
                 CREATE TABLE child (n INTEGER REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED)",
            )
            .expect("a table");
        let orphan: Work = Box::new(|conn| {
            conn.execute("INSERT INTO child VALUES (99)", [])?;
            Ok(99)
        });
        let answers = numbers.piled_up(vec![insert(1), orphan]).await;
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
        assert_eq!(numbers.counted(), 0);
        assert_eq!(numbers.writer.write(Size::Short, insert(1)).await, Ok(1), "the next one is not hurt");
    }

    #[tokio::test]
    async fn who_comes_while_a_transaction_is_open_shares_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        let conn = Connection::open(&path).expect("a database");
        conn.execute_batch("PRAGMA journal_mode = WAL").expect("a log");
        let numbers = Numbers::new(conn);
        let others_see: Work = Box::new(move |_| {
            let other = Connection::open(&path)?;
            Ok(other.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
        });
        let answers = numbers.piled_up(vec![insert(1), others_see, insert(2)]).await;
        assert_eq!(answers, [Ok(0), Ok(1), Ok(0), Ok(2)], "what came before is not committed yet");
        assert_eq!(numbers.counted(), 2);
    }

    /// A work that gives the number of rows that others see: those of the transactions before its own.
    fn seen_by_others(path: &std::path::Path) -> Work {
        let path = path.to_owned();
        Box::new(move |conn| {
            conn.execute("INSERT INTO t DEFAULT VALUES", [])?;
            let other = Connection::open(&path)?;
            Ok(other.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
        })
    }

    #[tokio::test]
    async fn bulk_work_gives_way_and_is_not_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        let conn = Connection::open(&path).expect("a database");
        conn.execute_batch("PRAGMA journal_mode = WAL").expect("a log");
        let numbers = Numbers::new(conn);
        let work = |size| (size, seen_by_others(&path));
        let mut works: Vec<_> = [Size::Bulk, Size::Short, Size::Bulk, Size::Short].map(work).into();
        // It comes while the first bulk work is done, and ends that transaction.
        let (writer, late) = (numbers.writer.clone(), seen_by_others(&path));
        let (late, bulk) = (Mutex::new(Some(late)), works.remove(0).1);
        let (tell, told) = mpsc::channel();
        let first_bulk: Work = Box::new(move |conn| {
            if let Some(late) = lock(&late).take() {
                let (answer, _) = oneshot::channel();
                assert!(writer.queue.add(Box::new(Task { work: late, outcome: None, writer: answer }), Size::Short));
                let _ = tell.send(());
            }
            bulk(conn)
        });
        works.insert(0, (Size::Bulk, first_bulk));
        let answers = numbers.piled_up_as(works).await;
        told.recv().expect("it came");
        // First both short works, in the transaction that was open; then the bulk work and the late one; then the rest.
        assert_eq!(answers, [Ok(0), Ok(2), Ok(0), Ok(4), Ok(0)]);
        assert!(numbers.writer.has_delayed() && !numbers.writer.has_delayed());
    }

    #[tokio::test]
    async fn a_database_that_is_not_ready_gets_no_work() {
        let numbers = Numbers::in_memory();
        let refuses = Writer::start(numbers.conn.clone(), |_| Err(StoreError::internal("not ready").into()), || Ok(()));
        let refused = refuses.expect("a thread").write(Size::Short, insert(1)).await;
        assert_eq!(refused, Err(StoreError::internal("not ready").into()));
        assert_eq!(numbers.counted(), 0);
    }

    #[tokio::test]
    async fn a_commit_that_did_not_land_is_nobodys_success() {
        let numbers = Numbers::in_memory();
        let lands = Writer::start(numbers.conn.clone(), |_| Ok(()), || Err(StoreError::internal("gone").into()));
        let told = lands.expect("a thread").write(Size::Short, insert(1)).await;
        assert_eq!(told, Err(StoreError::internal("gone").into()));
    }

    #[tokio::test]
    async fn what_is_in_the_queue_is_done_before_the_thread_ends() {
        let Numbers { conn, writer } = Numbers::in_memory();
        let (entered, is_in) = mpsc::channel();
        let slow: Work = Box::new(move |conn| {
            let _ = entered.send(());
            std::thread::sleep(std::time::Duration::from_millis(100));
            insert(1)(conn)
        });
        let waits_no_longer = tokio::time::timeout(std::time::Duration::ZERO, writer.write(Size::Short, slow)).await;
        assert!(waits_no_longer.is_err());
        is_in.recv().expect("it is in");
        drop(writer);
        let count: i64 = lock(&conn).query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("a count");
        assert_eq!((count, Arc::strong_count(&conn)), (1, 1));
    }
}
