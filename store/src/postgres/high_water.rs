//! The safe high-water mark: a sample of the log's end, and the transactions that may still deliver below it.
//!
//! ```text
//!   1  S := the last log_seq that was drawn          (sequence)
//!   2  W := holders of RowExclusiveLock on the log   (pg_locks, asked after 1)
//!   3  when none of W is left, every log_seq ≤ S is visible or will never be
//! ```
//!
//! An appender takes that lock before it draws a log_seq, and releases it only after its commit is visible. A
//! transaction that may still deliver a log_seq ≤ S is therefore in W. The writers need not do anything for this. A
//! long transaction that never touched the log is not in W.
//!
//! *Never here:* a time-out that moves the mark.

use super::ask::{Ask, Session as _};
use super::errors::During as _;
use super::log::SQL;
use super::outline::outline;
use crate::NEXT_SYNCHRONOUS;
use crate::columns::{Columns, Stored};
use crate::{HighWaterSample, LogEnd, OpenWriter, Result, StoreError};
use deadpool_postgres::Object;
use decisiongraph_projections::{Category, LogSeq};
use tokio_postgres::Row;

const NEXT_STANDBY: &str = "point the database URL to the primary (with several hosts in it, `target_session_attrs=read-write`), or promote this server; the node then continues automatically";
const NEXT_READ_ONLY: &str = "find out who set `default_transaction_read_only` (`SHOW default_transaction_read_only`; a managed service does it when the disk is full) and have it reset; the node then continues automatically";

pub(super) async fn sample(ask: &Ask<'_, Object>) -> Result<HighWaterSample> {
    let end = ask.prepared(sql!(SQL, "log_end")).await.during(ask.what)?;
    let writers = ask.prepared(sql!(SQL, "open_writers")).await.during(ask.what)?;
    // Sent at once, run one after the other, each as a separate statement: the mark relies on this order.
    let everybody: Option<Vec<String>> = None;
    let (end, writers) = futures_util::future::join(ask.query_one(&end, &[]), ask.query(&writers, &[&everybody])).await;
    let LogEnd { sequence, history } = check(&end.during(ask.what)?)?;
    let writers = writers.during(ask.what)?.iter().map(OpenWriter::read).collect::<Result<_>>()?;
    Ok(HighWaterSample { sequence, writers, history })
}

pub(super) async fn end(ask: &Ask<'_, Object>) -> Result<LogEnd> {
    let statement = ask.prepared(sql!(SQL, "log_end")).await.during(ask.what)?;
    check(&ask.query_one(&statement, &[]).await.during(ask.what)?)
}

/// Fails when nothing can be written now, with the cause as far as the server names it.
pub(super) async fn writable(ask: &Ask<'_, Object>) -> Result<()> {
    let (standby, read_only, waiting, names): (bool, bool, i64, String) = ask.one(sql!(SQL, "writable"), &[]).await?;
    let unfit = |message: &str| Err(StoreError::new(Category::Unavailable, message).on_an_unfit_session());
    match (standby, read_only, waiting) {
        (true, _, _) => {
            unfit("this server is a standby, which accepts no writes").map_err(|error| error.next(NEXT_STANDBY))
        }
        (_, true, _) => unfit("the database is read-only").map_err(|error| error.next(NEXT_READ_ONLY)),
        (_, _, 0) => Ok(()),
        _ => Err(StoreError::transient(
            Category::Unavailable,
            format!(
                "commits wait for a synchronous standby that does not answer (`synchronous_standby_names` is `{names}`)"
            ),
        )
        .next(NEXT_SYNCHRONOUS)),
    }
}

impl Stored for OpenWriter {
    fn read(row: &impl Columns) -> Result<OpenWriter> {
        let (pid, query): (Option<i32>, Option<String>) = (row.at(1)?, row.at(3)?);
        // For a prepared transaction this is its name, which an operator needs to end it.
        let query = query.map(|query| if pid.is_some() { outline(&query) } else { query });
        Ok(OpenWriter {
            transaction: row.at(0)?,
            pid,
            age_seconds: row.at(2)?,
            query: query.filter(|query| !query.is_empty()),
            role: row.at(4)?,
            application: row.at::<Option<String>>(5)?.filter(|name| !name.is_empty()),
            waits_for_standby: row.at(6)?,
        })
    }
}

/// Reads the end of the log, or fails with the reason why it cannot be read safely.
fn check(row: &Row) -> Result<LogEnd> {
    let refuse = |why: &str| {
        Err(StoreError::new(
            Category::Unavailable,
            format!("the log cannot be read safely: {why}; otherwise the high-water mark could skip events"),
        ))
    };
    let (standby, cache, identity): (bool, Option<i64>, Option<String>) = (row.get(0), row.get(1), row.get(2));
    if standby {
        return refuse("this server is a standby; connect to the primary").map_err(StoreError::on_an_unfit_session);
    }
    if cache != Some(1) {
        return refuse(
            "the sequence of dg_event_log.log_seq must have CACHE 1 (ALTER SEQUENCE dg_event_log_log_seq_seq CACHE 1)",
        );
    }
    if identity.as_deref() != Some("a") {
        return refuse("dg_event_log.log_seq must be GENERATED ALWAYS AS IDENTITY");
    }
    // A fresh sequence shows 1 before anything was drawn.
    let drawn: bool = row.get(5);
    Ok(LogEnd { sequence: LogSeq(if drawn { row.get(4) } else { 0 }), history: row.get(3) })
}
