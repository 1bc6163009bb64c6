//! Sessions with the name of the work that they are used for, and the ways to ask on them.
//!
//! *Guarantees.* A statement is prepared once per session. An error names the work. An error which shows that the
//! session leads to a standby or to a read-only database retires the sessions that were made before it.

use super::PostgresStore;
use super::errors::During as _;
use super::pool::{Connections, Overdue, READ_STATEMENTS};
use crate::columns::{Columns, Stored, unreadable};
use crate::{PageLimit, Paged, Result, StoreError};
use deadpool_postgres::{ClientWrapper, Object, Transaction};
use futures_util::TryStreamExt as _;
use std::ops::Deref;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Error, GenericClient, Row, Statement};

/// Parameter of a statement.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// A session that keeps prepared statements.
pub(super) trait Session: Sync {
    /// Returns the connection.
    fn connection(&self) -> &Client;
    /// Prepares a statement, once per session.
    fn prepared(&self, sql: &str) -> impl Future<Output = std::result::Result<Statement, Error>> + Send;
}

impl<S: Session> Session for &S {
    fn connection(&self) -> &Client {
        (**self).connection()
    }
    async fn prepared(&self, sql: &str) -> std::result::Result<Statement, Error> {
        (**self).prepared(sql).await
    }
}

impl Session for ClientWrapper {
    fn connection(&self) -> &Client {
        self
    }
    async fn prepared(&self, sql: &str) -> std::result::Result<Statement, Error> {
        self.prepare_cached(sql).await
    }
}

impl Session for Object {
    fn connection(&self) -> &Client {
        self
    }
    async fn prepared(&self, sql: &str) -> std::result::Result<Statement, Error> {
        self.prepare_cached(sql).await
    }
}

impl Session for Transaction<'_> {
    fn connection(&self) -> &Client {
        GenericClient::client(&**self)
    }
    async fn prepared(&self, sql: &str) -> std::result::Result<Statement, Error> {
        self.prepare_cached(sql).await
    }
}

/// A session in use for one work.
pub(super) struct Ask<'a, S> {
    on: S,
    pub(super) connections: &'a Connections,
    /// Name of the work, for its errors.
    pub(super) what: &'static str,
    /// Hangs up when the work takes too long.
    _overdue: Option<Overdue>,
}

/// A transaction for one work.
pub(super) type Work<'a> = Ask<'a, Transaction<'a>>;

impl<S> Deref for Ask<'_, S> {
    type Target = S;
    fn deref(&self) -> &S {
        &self.on
    }
}

impl PostgresStore {
    /// Takes a session of the pool for a work whose statements end by their own time-outs.
    pub(super) async fn ask(&self, what: &'static str) -> Result<Ask<'_, Object>> {
        Ok(Ask::new(self.connections.get().await?, &self.connections, what))
    }

    /// Takes a session of the pool for a short work. Hangs up when the answer is overdue.
    pub(super) async fn ask_in_time(&self, what: &'static str) -> Result<Ask<'_, Object>> {
        let overdue = self.connections.overdue(READ_STATEMENTS);
        Ok(Ask { _overdue: Some(overdue), ..self.ask(what).await? })
    }
}

impl<'a, S: Session> Ask<'a, S> {
    /// Uses a session for a work.
    pub(super) fn new(on: S, connections: &'a Connections, what: &'static str) -> Ask<'a, S> {
        Ask { on, connections, what, _overdue: None }
    }

    /// Returns the rows of an answer.
    pub(super) async fn rows(&self, sql: &str, of: &[Parameter<'_>]) -> Result<Vec<Row>> {
        let asked = async { self.connection().query(&self.prepared(sql).await?, of).await };
        self.judged(asked.await)
    }

    /// Reads all rows of an answer.
    pub(super) async fn all<T: Stored>(&self, sql: &str, of: &[Parameter<'_>]) -> Result<Vec<T>> {
        self.rows(sql, of).await?.iter().map(T::read).collect()
    }

    /// Reads the rows of an answer that can be read.
    pub(super) async fn list<T: Stored>(&self, sql: &str, of: &[Parameter<'_>]) -> Result<Vec<T>> {
        Ok(self.all::<Option<T>>(sql, of).await?.into_iter().flatten().collect())
    }

    /// Reads the row of an answer, if there is one.
    pub(super) async fn first<T: Stored>(&self, sql: &str, of: &[Parameter<'_>]) -> Result<Option<T>> {
        let asked = async { self.connection().query_opt(&self.prepared(sql).await?, of).await };
        self.judged(asked.await)?.as_ref().map(T::read).transpose()
    }

    /// Reads the one row of an answer.
    pub(super) async fn one<T: Stored>(&self, sql: &str, of: &[Parameter<'_>]) -> Result<T> {
        let asked = async { self.connection().query_one(&self.prepared(sql).await?, of).await };
        T::read(&self.judged(asked.await)?)
    }

    /// Executes a statement and returns the number of its rows.
    pub(super) async fn run(&self, sql: &str, of: &[Parameter<'_>]) -> Result<u64> {
        let asked = async { self.connection().execute(&self.prepared(sql).await?, of).await };
        self.judged(asked.await)
    }

    /// Reads the rows of a statement up to a limit, one at a time. Later rows are not kept. A row for which `read`
    /// returns nothing is left out.
    pub(super) async fn paged<T>(
        &self,
        sql: &str,
        of: &[Parameter<'_>],
        limit: PageLimit,
        mut read: impl FnMut(&Row) -> Result<Option<T>>,
    ) -> Result<Paged<T>> {
        let asked = async { self.connection().query_raw(&self.prepared(sql).await?, of.iter().copied()).await };
        let mut rows = std::pin::pin!(self.judged(asked.await)?);
        let (mut page, mut bytes, mut seen) = (Paged::default(), 0, 0);
        while let Some(row) = rows.try_next().await.during(self.what)? {
            seen += 1;
            if !page.takes(&mut bytes, row.raw_size_bytes(), limit) {
                break;
            }
            page.items.extend(read(&row)?);
        }
        // Also when rows were left out: the rows behind them are yet to be read.
        page.more |= seen > limit.rows_max;
        Ok(page)
    }

    fn judged<T>(&self, answer: std::result::Result<T, Error>) -> Result<T> {
        self.connections.judged(answer.during(self.what))
    }
}

impl Ask<'_, Object> {
    /// Begins a transaction. It is rolled back unless it is committed.
    pub(super) async fn begin(&mut self) -> Result<Work<'_>> {
        let (what, connections) = (self.what, self.connections);
        Ok(Ask::new(self.on.transaction().await.during(what)?, connections, what))
    }
}

impl Work<'_> {
    /// Commits. `explain` says what an error means for the work.
    pub(super) async fn commit(self, explain: fn(&Error, &str) -> StoreError) -> Result<()> {
        self.connections.judged(self.on.commit().await.map_err(|error| explain(&error, self.what)))
    }
}

impl Columns for Row {
    fn text(&self, at: usize) -> Result<Option<&str>> {
        cell(self, at)
    }
    fn int(&self, at: usize) -> Result<Option<i64>> {
        match *self.columns()[at].type_() {
            Type::INT4 => Ok(cell::<Option<i32>>(self, at)?.map(i64::from)),
            _ => cell(self, at),
        }
    }
    fn float(&self, at: usize) -> Result<Option<f64>> {
        cell(self, at)
    }
    fn flag(&self, at: usize) -> Result<Option<bool>> {
        cell(self, at)
    }
    fn bytes(&self, at: usize) -> Result<Option<&[u8]>> {
        Ok(cell::<Option<Raw<'_>>>(self, at)?.map(|raw| raw.0))
    }
    fn count(&self) -> usize {
        self.len()
    }
    fn name(&self, at: usize) -> String {
        self.columns()[at].name().to_owned()
    }
}

fn cell<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|error| unreadable(row, at, error))
}

/// Bytes of a value, or of an id.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> std::result::Result<Raw<'a>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }
    tokio_postgres::types::accepts!(UUID, BYTEA);
}
