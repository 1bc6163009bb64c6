//! Group commit: writers that wait for the connection at the same time, or come while its transaction is open, share that
//! transaction, and so one `fsync`.
//!
//! ```text
//!   writer ──▶ waiting ──▶ whoever gets the connection takes all that wait ──▶ BEGIN IMMEDIATE
//!                  │                                                             a
//!                  └──── and all that wait by then, until none does ────────▶    SAVEPOINT b … RELEASE
//!                                                                                SAVEPOINT c … ROLLBACK TO   (c's error)
//!                                                                              COMMIT ──▶ a, b, c are answered
//! ```
//!
//! *Guarantees.* A writer is answered after the commit that holds its work, never before. A writer that fails takes back its own
//! work and nobody else's. When the commit fails, everybody in it is told so, and nothing of it is there. A transaction has
//! [`GROUP_MAX`] writers at most, so that the first of them is answered however many come.
//!
//! The first writer has no savepoint, because nothing is to be kept if it fails: under a savepoint SQLite copies every page before
//! it changes it.

use super::pool::lock;
use crate::{Result, StoreError};
use decisiongraph_projections::Category;
use rusqlite::{Connection, TransactionBehavior};
use std::sync::{Arc, Mutex};

/// Most writers in one transaction.
const GROUP_MAX: usize = 64;

/// The writers that wait for a connection.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Vec<Box<dyn Job>>>);

/// One writer's work.
trait Job: Send {
    /// Does the work inside a transaction; whether it went well.
    fn run(&mut self, conn: &Connection) -> bool;

    /// Answers its writer: with what the work gave, or with why the transaction that held it is gone.
    fn answer(self: Box<Self>, lost: Option<&StoreError>);
}

struct Task<T, F> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    slot: Arc<Mutex<Option<Result<T>>>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T> + Send> Job for Task<T, F> {
    fn run(&mut self, conn: &Connection) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome = work(conn);
        let well = outcome.is_ok();
        self.outcome = Some(outcome);
        well
    }

    fn answer(mut self: Box<Self>, lost: Option<&StoreError>) {
        let answer = match (self.outcome.take(), lost) {
            (Some(Err(own)), _) => Err(own),
            (_, Some(lost)) => Err(lost.clone()),
            (Some(answer), None) => answer,
            (None, None) => Err(StoreError::internal("a write was passed over")),
        };
        *lock(&self.slot) = Some(answer);
    }
}

impl Waiting {
    /// Does `work` in a transaction on this connection, alone or with whoever waits as well. `ready` is asked first.
    pub fn write<T: Send + 'static>(
        &self,
        conn: &Mutex<Connection>,
        ready: impl Fn(&Connection) -> Result<()>,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slot = Arc::new(Mutex::new(None));
        lock(&self.0).push(Box::new(Task { work: Some(work), outcome: None, slot: slot.clone() }));
        let mut conn = lock(conn);
        loop {
            if let Some(answer) = lock(&slot).take() {
                return answer;
            }
            let mut group = self.take(GROUP_MAX);
            if group.is_empty() {
                // Whoever took this work along did not live to answer.
                return Err(StoreError::internal(
                    "another writer of the same transaction panicked; nothing was changed",
                ));
            }
            let done = ready(&conn).and_then(|()| self.transactions(&mut conn, &mut group));
            for job in group {
                job.answer(done.as_ref().err());
            }
        }
    }

    /// So many of those that wait, the longest waiting first.
    fn take(&self, count_max: usize) -> Vec<Box<dyn Job>> {
        let mut waiting = lock(&self.0);
        let count = waiting.len().min(count_max);
        waiting.drain(..count).collect()
    }

    /// Works this group off, with whoever comes meanwhile: one transaction, and one before it for each first writer that fails.
    fn transactions(&self, conn: &mut Connection, group: &mut Vec<Box<dyn Job>>) -> Result<()> {
        let mut next = 0;
        while next < group.len() {
            let mut transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let first_is_well = group[next].run(&transaction);
            next += 1;
            if !first_is_well {
                // Nothing to keep: what is dropped is rolled back.
                continue;
            }
            loop {
                if next == group.len() {
                    group.extend(self.take(GROUP_MAX - group.len()));
                }
                let Some(job) = group.get_mut(next) else { break };
                next += 1;
                let savepoint = transaction.savepoint()?;
                if job.run(&savepoint) {
                    savepoint.commit()?;
                } else if savepoint.is_autocommit() {
                    // A full disk or a failed file ends the whole transaction, and with it the work of those before.
                    return Err(StoreError::transient(
                        Category::Storage,
                        "the file failed under another writer of the same transaction; nothing was changed",
                    ));
                }
            }
            transaction.commit()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn counted(conn: &Mutex<Connection>) -> i64 {
        lock(conn).query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("a count")
    }

    fn insert(n: i64) -> impl FnOnce(&Connection) -> Result<i64> + Send + 'static {
        move |conn| {
            conn.execute("INSERT INTO t VALUES (?1)", [n])?;
            Ok(n)
        }
    }

    fn table() -> Arc<Mutex<Connection>> {
        let conn = Connection::open_in_memory().expect("a database");
        conn.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)").expect("a table");
        Arc::new(Mutex::new(conn))
    }

    type Work = Box<dyn FnOnce(&Connection) -> Result<i64> + Send>;

    /// Lets `works` pile up, in their order, while a writer that gives 0 is at work; all answers, its own first.
    fn piled_up(conn: &Arc<Mutex<Connection>>, works: Vec<Work>) -> Vec<Result<i64>> {
        let waiting = Waiting::default();
        let (entered, is_in) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                let work = move |_: &Connection| {
                    entered.send(()).expect("somebody listens");
                    gone.recv().expect("a signal");
                    Ok(0)
                };
                waiting.write(conn, |_| Ok(()), work)
            });
            is_in.recv().expect("it is in");
            let mut threads = Vec::new();
            for work in works {
                threads.push(scope.spawn(|| waiting.write(conn, |_| Ok(()), work)));
                while lock(&waiting.0).len() < threads.len() {
                    std::thread::yield_now();
                }
            }
            go.send(()).expect("somebody waits");
            [first].into_iter().chain(threads).map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    #[test]
    fn a_writer_that_fails_takes_back_its_own_work_only() {
        let conn = table();
        let half = |conn: &Connection| {
            conn.execute("INSERT INTO t VALUES (7)", [])?;
            conn.execute("INSERT INTO t VALUES (1)", [])?;
            Ok(7)
        };
        let answers = piled_up(&conn, vec![Box::new(insert(1)), Box::new(half), Box::new(insert(2))]);
        assert_eq!((&answers[0], &answers[1], &answers[3]), (&Ok(0), &Ok(1), &Ok(2)));
        assert!(answers[2].as_ref().is_err_and(|error| error.duplicate), "{answers:?}");
        assert_eq!(counted(&conn), 2);
    }

    #[test]
    fn a_transaction_that_ends_by_itself_is_nobodys_success() {
        let conn = table();
        let ended = |conn: &Connection| {
            conn.execute_batch("ROLLBACK")?;
            Err(StoreError::new(Category::Storage, "as a full disk does"))
        };
        let answers = piled_up(&conn, vec![Box::new(insert(1)), Box::new(ended), Box::new(insert(2))]);
        assert!(answers[0].as_ref().is_err_and(|error| error.transient), "{answers:?}");
        assert!(answers[1].as_ref().is_err_and(|error| error.transient), "{answers:?}");
        assert!(answers[2].as_ref().is_err_and(|error| error.message == "as a full disk does"), "{answers:?}");
        assert!(answers[3].as_ref().is_err_and(|error| error.transient), "{answers:?}");
        assert_eq!(counted(&conn), 0);
        assert_eq!(Waiting::default().write(&conn, |_| Ok(()), insert(3)), Ok(3), "the next one is not hurt");
    }

    #[test]
    fn a_commit_that_fails_is_everybodys_failure() {
        let conn = table();
        lock(&conn)
            .execute_batch(
                "PRAGMA foreign_keys = ON;
                 CREATE TABLE child (n INTEGER REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED)",
            )
            .expect("a table");
        let orphan = |conn: &Connection| {
            conn.execute("INSERT INTO child VALUES (99)", [])?;
            Ok(99)
        };
        let answers = piled_up(&conn, vec![Box::new(insert(1)), Box::new(orphan)]);
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
        assert_eq!(counted(&conn), 0);
    }

    #[test]
    fn who_comes_while_a_transaction_is_open_shares_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        let conn = Connection::open(&path).expect("a database");
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER PRIMARY KEY)").expect("a table");
        let conn = Arc::new(Mutex::new(conn));
        let others_see = move |_: &Connection| {
            let other = Connection::open(&path)?;
            Ok(other.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
        };
        let answers = piled_up(&conn, vec![Box::new(insert(1)), Box::new(others_see), Box::new(insert(2))]);
        assert_eq!(answers, [Ok(0), Ok(1), Ok(0), Ok(2)], "what came before is not committed yet");
        assert_eq!(counted(&conn), 2);
    }

    #[test]
    fn a_first_writer_that_fails_leaves_nothing_and_the_next_one_is_not_hurt() {
        let conn = table();
        let half = |conn: &Connection| {
            conn.execute("INSERT INTO t VALUES (7)", [])?;
            Err(StoreError::internal("half done"))
        };
        let waiting = Waiting::default();
        let (entered, is_in) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let failing = scope.spawn(|| {
                let work = move |conn: &Connection| -> Result<i64> {
                    entered.send(()).expect("somebody listens");
                    gone.recv().expect("a signal");
                    half(conn)
                };
                waiting.write(&conn, |_| Ok(()), work)
            });
            is_in.recv().expect("it is in");
            let next = scope.spawn(|| waiting.write(&conn, |_| Ok(()), insert(1)));
            while lock(&waiting.0).is_empty() {
                std::thread::yield_now();
            }
            go.send(()).expect("somebody waits");
            assert!(failing.join().expect("no panic").is_err());
            assert_eq!(next.join().expect("no panic"), Ok(1));
        });
        assert_eq!(counted(&conn), 1);
    }

    #[test]
    fn a_database_that_is_not_ready_gets_no_work() {
        let conn = table();
        let refused = Waiting::default().write(&conn, |_| Err(StoreError::internal("not ready")), insert(1));
        assert_eq!(refused, Err(StoreError::internal("not ready")));
        assert_eq!(counted(&conn), 0);
    }
}
