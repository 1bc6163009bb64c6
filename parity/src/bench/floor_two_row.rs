//! A projection of two rows on PostgreSQL, as it is written by hand: a row per event, a row per trace, and a cursor,
//! one statement and one commit per batch. It reads the same log as the runtime.
//!
//! *Never:* a hash, sequence or digest, a fence, or a check for appends that commit late.

use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

const TABLES: &str = "
DROP SCHEMA IF EXISTS by_hand CASCADE;
CREATE SCHEMA by_hand;
CREATE TABLE by_hand.event
    (event_id text PRIMARY KEY, trace_id text NOT NULL, trace_seq bigint NOT NULL, event_type text NOT NULL, at text NOT NULL);
CREATE INDEX ON by_hand.event (trace_id, trace_seq);
CREATE TABLE by_hand.trace (trace_id text PRIMARY KEY, events bigint NOT NULL, latest text NOT NULL);
CREATE TABLE by_hand.reached (log_seq bigint NOT NULL);
INSERT INTO by_hand.reached VALUES (0);
CHECKPOINT";

/// `$1` events per batch. Returns the events that it applied.
const BATCH: &str = "
WITH page AS MATERIALIZED (
    SELECT log_seq, event_id, trace_id, trace_seq, event_type, occurred_at
      FROM dg_event_log
     WHERE log_seq > (SELECT log_seq FROM by_hand.reached FOR UPDATE)
     ORDER BY log_seq
     LIMIT $1),
each_event AS (
    INSERT INTO by_hand.event SELECT event_id, trace_id, trace_seq, event_type, occurred_at FROM page),
each_trace AS (
    INSERT INTO by_hand.trace AS t
    SELECT trace_id, count(*), max(occurred_at) FROM page GROUP BY trace_id
    ON CONFLICT (trace_id) DO UPDATE SET events = t.events + excluded.events, latest = greatest(t.latest, excluded.latest)),
moved AS (
    UPDATE by_hand.reached SET log_seq = coalesce((SELECT max(log_seq) FROM page), log_seq))
SELECT count(*) FROM page";

/// Projects the whole log, which has so many events of one tenant. Returns the time that this took.
pub async fn catch_up(url: &str, events: u64, batch_events: usize) -> Result<Duration> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("the floor cannot connect")?;
    tokio::spawn(connection);
    for statement in TABLES.split(';') {
        client.batch_execute(statement).await?;
    }
    let batch = client.prepare(BATCH).await?;
    let started = Instant::now();
    while client.query_one(&batch, &[&(batch_events as i64)]).await?.get::<_, i64>(0) > 0 {}
    let took = started.elapsed();
    let row =
        client.query_one("SELECT count(*), (SELECT sum(events)::bigint FROM by_hand.trace) FROM by_hand.event", &[]);
    let row = row.await?;
    let counted: (i64, i64) = (row.get(0), row.get(1));
    ensure!(counted == (events as i64, events as i64), "the loop by hand applied {counted:?} of {events} events");
    Ok(took)
}
