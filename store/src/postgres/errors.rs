//! The one place that turns errors of PostgreSQL into [`StoreError`]: category, a sentence, and a flag for errors that
//! may pass.
//!
//! *Never here:* passwords, payloads, values of keys. The server's `DETAIL` quotes rows, so it is left out.

use crate::NEXT_MIGRATE;
use crate::{Result, StoreError};
use deadpool_postgres::PoolError;
use decisiongraph_projections::Category;
use futures_util::future::join_all;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Raised by `dg_commit_scope` and `dg_commit_build` when the batch is not the next one.
pub(super) const FENCED: &str = "DG001";

/// Raised by `session.sql`: the server is too old; the session is not the requested one; the database is not in
/// UTF8.
const TOO_OLD: &str = "DG002";
const POOLED: &str = "DG003";
const ENCODED: &str = "DG004";

const NEXT_POOLED: &str = "connect to PostgreSQL directly: put its own host and port into the database URL, not those of a pooler (pgbouncer, RDS Proxy); a retry does not help";

/// Adds the operation during which an error happened.
pub(super) trait During<T> {
    /// Turns the error into this store's, with the operation.
    fn during(self, what: &str) -> Result<T>;
}

impl<T> During<T> for std::result::Result<T, Error> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|error| explain(&error, what))
    }
}

/// Collects the answers of statements that were sent one behind the other, or the error of the first that failed.
/// Inside a transaction the later ones fail because of it, carry no other news, and may arrive earlier.
pub(super) async fn answers<T>(sent: impl IntoIterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    join_all(sent).await.into_iter().collect()
}

/// Explains an error of a statement.
pub(super) fn explain(error: &Error, what: &str) -> StoreError {
    let Some(db) = error.as_db_error() else {
        if is_lost(error) {
            let message = format!("{what}: the connection to the database was lost: {}", chain(error));
            return StoreError::transient(Category::Unavailable, message);
        }
        return StoreError::internal(format!("{what}: {}", chain(error)));
    };
    let message = |hint: &str| format!("{what}: {}{hint}", db.message());
    let code = db.code();
    if code.code() == FENCED {
        return StoreError::fenced(message("; another writer has taken over or the cursor moved; nothing was changed"));
    }
    if *code == SqlState::UNIQUE_VIOLATION {
        return StoreError::duplicate(message(""));
    }
    if *code == SqlState::UNDEFINED_TABLE
        || *code == SqlState::UNDEFINED_FUNCTION
        || *code == SqlState::UNDEFINED_COLUMN
    {
        let hint = "; the database lacks this program's schema: run `decisiongraph migrate`";
        return StoreError::new(Category::Unavailable, message(hint)).next(NEXT_MIGRATE);
    }
    if code.code() == TOO_OLD {
        let next = "upgrade the server to PostgreSQL 14 or newer, or name another one in the database URL";
        return StoreError::new(Category::VersionMismatch, message("")).next(next);
    }
    if code.code() == ENCODED {
        let next = "create a UTF8 database (`createdb --encoding=UTF8 --locale=C --template=template0 NAME`) and put its name into the database URL; `pg_dump` and `pg_restore` move the data";
        return StoreError::new(Category::Unavailable, message("")).next(next);
    }
    // A statement prepared on this session is missing, or is another session's: a pooler shares the session.
    if code.code() == POOLED
        || *code == SqlState::INVALID_SQL_STATEMENT_NAME
        || *code == SqlState::DUPLICATE_PSTATEMENT
        || is_refused_by_a_pooler(db.message())
    {
        return StoreError::new(Category::Unavailable, message("")).next(NEXT_POOLED);
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE
        || *code == SqlState::INVALID_PASSWORD
        || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
    {
        return StoreError::new(Category::Unauthorized, message(""));
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return StoreError::new(Category::Storage, message("; the database is read-only")).on_an_unfit_session();
    }
    if *code == SqlState::DISK_FULL {
        return StoreError::transient(Category::Storage, message("; free space on the database's disk"));
    }
    match &code.code()[..2] {
        // Connection exceptions; an operator stops or starts the server or ends the session.
        "08" | "57" if *code != SqlState::QUERY_CANCELED => StoreError::transient(Category::Unavailable, message("")),
        _ if *code == SqlState::TOO_MANY_CONNECTIONS => {
            let next = "end sessions of other programs or raise `max_connections`; a node then continues automatically, a command must be repeated";
            StoreError::transient(Category::Unavailable, message("")).next(next)
        }
        _ if *code == SqlState::INVALID_CATALOG_NAME => {
            let next = "create it (`createdb NAME`), then run `decisiongraph migrate`, or correct the name in the database URL";
            StoreError::new(Category::Unavailable, message("; create it first")).next(next)
        }
        // Serialization, deadlock, lock and statement time-outs, idle time-outs, out of memory.
        "40" | "53" => StoreError::transient(Category::Storage, message("")),
        _ if *code == SqlState::LOCK_NOT_AVAILABLE
            || *code == SqlState::QUERY_CANCELED
            || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT =>
        {
            StoreError::transient(Category::Storage, message(""))
        }
        "22" => StoreError::new(Category::InvalidArgument, format!("{what}: {} ({})", db.message(), code.code())),
        _ => StoreError::new(Category::Storage, format!("{what}: {} ({})", db.message(), code.code())),
    }
}

/// Explains an error of COMMIT itself. When the answer was lost, the outcome is unknown here.
pub(super) fn explain_commit(error: &Error, what: &str) -> StoreError {
    let lost = is_lost(error) || error.as_db_error().is_some_and(|db| ["08", "57"].contains(&&db.code().code()[..2]));
    if lost {
        let message = format!(
            "{what}: the connection was lost during COMMIT ({}), so the commit may or may not have happened: take a new epoch, then read the cursor",
            chain(error)
        );
        return StoreError::transient(Category::OutcomeUnknown, message);
    }
    explain(error, what)
}

/// Explains an error of the attempt to connect.
pub(super) fn explain_connect(error: &Error, address: &str) -> StoreError {
    if let Some(db) = error.as_db_error() {
        let code = db.code();
        if code.code().starts_with("28") {
            return StoreError::new(Category::Unauthorized, format!("{address}: {}", db.message()));
        }
        let what = explain(error, address);
        return if what.category == Category::Storage {
            StoreError { category: Category::Unavailable, ..what }
        } else {
            what
        };
    }
    let said = chain(error);
    if said.starts_with("authentication error") || said.starts_with("invalid configuration: password") {
        return StoreError::new(Category::Unauthorized, format!("{address}: {said}"));
    }
    if said.starts_with("error performing TLS handshake") {
        return StoreError::new(Category::Unavailable, format!("{address}: {said}; see `sslmode` and `sslrootcert`"));
    }
    StoreError::transient(Category::Unavailable, format!("cannot reach {address}: {said}"))
}

/// Explains an error of the pool.
pub(super) fn explain_pool(error: PoolError, address: &str) -> StoreError {
    match error {
        PoolError::Backend(error) => explain_connect(&error, address),
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => StoreError::transient(
            Category::Unavailable,
            format!(
                "{address}: every connection of this program's pool is in use; enlarge the pool or send fewer requests at a time"
            ),
        ),
        PoolError::Timeout(_) => {
            StoreError::transient(Category::Unavailable, format!("cannot reach {address}: no answer in time"))
        }
        other => StoreError::internal(format!("{address}: {other}")),
    }
}

/// True for a pooler's message about settings that it does not pass on. The fault is permanent, though its code (08P01)
/// says otherwise.
fn is_refused_by_a_pooler(message: &str) -> bool {
    ["unsupported startup parameter", "command-line options"].iter().any(|said| message.contains(said))
}

/// True when the session is gone.
pub(super) fn is_lost(error: &Error) -> bool {
    use std::error::Error as _;
    error.is_closed()
        || error.source().is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some())
        || error.to_string().starts_with("unexpected message from server")
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    /// Both answers come at once, between the check of the first and of the second.
    #[tokio::test]
    async fn of_statements_sent_together_the_first_that_failed_is_told() {
        let (arrives, answer) = oneshot::channel();
        let deadlock = async move {
            let _ = answer.await;
            Err::<(), _>(StoreError::transient(Category::Unavailable, "deadlock"))
        };
        let aborted = async move {
            let _ = arrives.send(());
            Err(StoreError::internal("the transaction is aborted"))
        };
        let told = answers([deadlock.boxed(), aborted.boxed()]).await.expect_err("both failed");
        assert!(told.transient, "{told}");
    }
}
