//! A log that moves in: events that bring their positions, all in one transaction.
//!
//! *Guarantees.* The rules of an append decide, inside the transaction. Other appends wait for the lock that it holds,
//! and draw above its highest position. Its inserts hold the lock that the high-water mark waits for. So no reader's
//! mark passes a position before the commit that makes it visible.

use super::PostgresStore;
use super::append::{New, Tenant, ints, load_prior, values};
use super::ask::Session as _;
use super::errors::{During as _, explain_commit};
use super::log::SQL;
use super::pool::SNAPSHOT_IDLE;
use super::rows::refs;
use crate::{AppendMode, MoveStep, Placed, Result, StoreError, Verdict, crash, decide};
use deadpool_postgres::Transaction;
use decisiongraph_projections::{LogSeq, TenantId};
use std::collections::HashSet;
use tokio::sync::mpsc;

const WHAT: &str = "move a log in";

/// Moves a log in. The events of one step at a time are in memory.
pub(super) async fn move_in(store: &PostgresStore, mut steps: mpsc::Receiver<MoveStep>) -> Result<()> {
    let mut client = store.connections.get().await?;
    let work = client.transaction().await.during(WHAT)?;
    let idle = SNAPSHOT_IDLE.as_millis();
    let begin = format!("SET LOCAL idle_in_transaction_session_timeout = {idle}; {}", sql!(SQL, "move_lock"));
    work.batch_execute(&begin).await.during(WHAT)?;
    let ready = work.prepared(sql!(SQL, "move_ready")).await.during(WHAT)?;
    let row = work.query_one(&ready, &[]).await.during(WHAT)?;
    if row.get(0) {
        return Err(decide::not_empty());
    }
    let drawn = LogSeq(row.get(1));
    let mut highest = drawn;
    while let Some(step) = steps.recv().await {
        let MoveStep::Store { tenant, events, mode, answer } = step else {
            if highest > drawn {
                // Unlike `setval`, a restart is undone with its transaction. The position is drawn from it at once, so
                // that it counts as drawn.
                let restart = format!("ALTER SEQUENCE dg_event_log_log_seq_seq RESTART WITH {highest}");
                work.batch_execute(&restart).await.during(WHAT)?;
                let draw = work.prepared(sql!(SQL, "move_sequence")).await.during(WHAT)?;
                work.query_one(&draw, &[]).await.during(WHAT)?;
            }
            crash::point("move.before_commit");
            work.commit().await.map_err(|error| explain_commit(&error, WHAT))?;
            crash::point("move.after_commit");
            store.waker.wake(&store.connections);
            return Ok(());
        };
        let verdicts = place(&work, &tenant, &events, mode, drawn, &mut highest).await?;
        crash::point("move.stored");
        // A caller that no longer waits ends the steps.
        let _ = answer.send(verdicts);
    }
    Err(decide::given_up())
}

/// Stores the events of one step. `highest` is the highest position that the move has stored.
async fn place(
    work: &Transaction<'_>,
    tenant: &TenantId,
    events: &[Placed],
    mode: AppendMode,
    drawn: LogSeq,
    highest: &mut LogSeq,
) -> Result<Vec<Verdict>> {
    let offered = Tenant { tenant, offers: Vec::new(), events: events.iter().map(|placed| &placed.event).collect() };
    let prior = load_prior(work, &[offered]).await?.pop().unwrap_or_default();
    let mut taken = HashSet::new();
    let maybe: Vec<i64> = decide::maybe_taken(events, *highest).into_iter().map(|log_seq| log_seq.0).collect();
    if !maybe.is_empty() {
        let look = work.prepared(sql!(SQL, "move_taken")).await.during(WHAT)?;
        taken.extend(work.query(&look, &[&maybe]).await.during(WHAT)?.iter().map(|row| LogSeq(row.get(0))));
    }
    let planned = decide::placed(&prior, events, drawn, &taken);
    let new = decide::stored(&planned, mode);
    let positions: Vec<LogSeq> = new.iter().map(|(index, _)| events[*index].log_seq).collect();
    if !new.is_empty() {
        let of =
            |(index, trace_seq): &(usize, i64)| New { tenant, event: &events[*index].event, trace_seq: *trace_seq };
        let rows: Vec<New<'_>> = new.iter().map(of).collect();
        let mut params = values(&rows);
        params.push(ints(positions.iter().map(|log_seq| log_seq.0)));
        params.push(ints(new.iter().map(|(index, _)| events[*index].recorded_at_us)));
        let statement = work.prepared(sql!(SQL, "move_insert")).await.during(WHAT)?;
        let stored = work.execute_raw(&statement, refs(&params)).await.during(WHAT)?;
        if stored != new.len() as u64 {
            return Err(StoreError::internal(format!("{stored} of {} events were stored", new.len())));
        }
        *highest = positions.iter().copied().fold(*highest, LogSeq::max);
    }
    Ok(decide::verdicts(events, planned, &new, positions))
}
