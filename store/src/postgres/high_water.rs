//! The safe high-water mark: a sample of the log's end, and who may still deliver below it.
//!
//! ```text
//!   1  S := the last log_seq that was drawn          (sequence)
//!   2  W := who holds RowExclusiveLock on the log    (pg_locks, asked after 1)
//!   3  when none of W is left, every log_seq ≤ S is visible or will never be
//! ```
//!
//! An appender takes that lock before it draws a log_seq and gives it up only after its commit is visible, so whoever may still deliver a
//! log_seq ≤ S is in W. Nothing is needed of the writers, and a long transaction that never touched the log is not in W.
//!
//! *Never here:* a time-out that moves the mark.

use super::PostgresStore;
use super::errors::During as _;
use crate::{HighWaterSample, OpenWriter, Result, StoreError};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Category, LogSeq};
use tokio_postgres::Row;

pub(super) async fn sample(store: &PostgresStore) -> Result<HighWaterSample> {
    let what = "sample the high-water mark";
    let client = store.connections.get().await?;
    let conditions = client.prepare_cached(include_str!("sql/high_water_conditions.sql")).await.during(what)?;
    let sequence = client.prepare_cached(include_str!("sql/high_water_sequence.sql")).await.during(what)?;
    let writers = client.prepare_cached(include_str!("sql/high_water_writers.sql")).await.during(what)?;
    // Sent at once, run one after the other, each as a statement of its own: the order is what the mark rests on.
    let everybody: Option<Vec<String>> = None;
    let (conditions, sequence, writers) = futures_util::future::join3(
        client.query_one(&conditions, &[]),
        client.query_one(&sequence, &[]),
        client.query(&writers, &[&everybody]),
    )
    .await;
    let history = check(&conditions.during(what)?)?;
    let sequence = sequence.during(what)?;
    let drawn: bool = sequence.get(1);
    Ok(HighWaterSample {
        // A fresh sequence says 1 before anything was drawn.
        sequence: LogSeq(if drawn { sequence.get(0) } else { 0 }),
        writers: writers.during(what)?.iter().map(open_writer).collect(),
        history,
    })
}

pub(super) async fn still_open(client: &ClientWrapper, asked: &[OpenWriter]) -> Result<Vec<OpenWriter>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let what = "look after open appenders";
    let statement = client.prepare_cached(include_str!("sql/high_water_writers.sql")).await.during(what)?;
    let transactions: Vec<&str> = asked.iter().map(|writer| writer.transaction.as_str()).collect();
    let rows = client.query(&statement, &[&Some(transactions)]).await.during(what)?;
    Ok(rows.iter().map(open_writer).collect())
}

fn open_writer(row: &Row) -> OpenWriter {
    OpenWriter { transaction: row.get(0), pid: row.get(1), age_seconds: row.get(2), query: row.get(3) }
}

/// The history's identity, or why this log cannot be read safely.
fn check(row: &Row) -> Result<String> {
    let refuse = |why: &str| {
        Err(StoreError::new(
            Category::Unavailable,
            format!("the log cannot be read safely: {why}; without that, the high-water mark could step over events"),
        ))
    };
    let (standby, cache, identity): (bool, Option<i64>, Option<String>) = (row.get(0), row.get(1), row.get(2));
    if standby {
        return refuse("this server is a standby, connect to the primary");
    }
    if cache != Some(1) {
        return refuse(
            "the sequence of dg_event_log.log_seq must have CACHE 1 (ALTER SEQUENCE dg_event_log_log_seq_seq CACHE 1)",
        );
    }
    if identity.as_deref() != Some("a") {
        return refuse("dg_event_log.log_seq must be GENERATED ALWAYS AS IDENTITY");
    }
    Ok(row.get(3))
}
