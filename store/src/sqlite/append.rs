//! Appending to the log, by the reference's rules.
//!
//! One transaction: look up the state that the rules need, decide ([`sequence::plan`]), insert. The writer's lock is
//! held from the first look-up on. No other appender can therefore come between the decision and its effect. No
//! position is drawn for an event that is refused or repeated.

use super::ask::Ask as _;
use super::errors::Result;
use super::log::SQL;
use super::rows::{collision, key_of};
use crate::decode::Keyed;
use crate::{AppendMode, MoveStep, Placed, Verdict, crash, decide};
use decisiongraph_projections::event::{Envelope, tags_to_json};
use decisiongraph_projections::sequence::{self, AppendPrior, TraceState};
use decisiongraph_projections::{Admitted, LogSeq, RowKey, TenantId};
use rusqlite::{Connection, params};
use std::borrow::Borrow;
use std::collections::HashSet;
use tokio::sync::mpsc;

/// Appends, inside a writing transaction.
pub(super) fn append(
    conn: &Connection,
    tenant: &TenantId,
    events: &[Admitted],
    mode: AppendMode,
) -> Result<Vec<Verdict>> {
    let planned = sequence::plan(&prior(conn, tenant, events)?, events);
    let new = decide::stored(&planned, mode);
    let mut positions = Vec::with_capacity(new.len());
    for (index, trace_seq) in &new {
        insert(conn, tenant, &events[*index], *trace_seq, None)?;
        positions.push(LogSeq(conn.last_insert_rowid()));
    }
    Ok(decide::verdicts(events, planned, &new, positions))
}

fn idempotency_uid(envelope: &Envelope) -> RowKey {
    RowKey::of_parts(&[&envelope.source.producer_id, &envelope.idempotency_key])
}

/// Moves a log in, inside a writing transaction. The events of one step at a time are in memory.
pub(super) fn move_in(conn: &Connection, steps: &mut mpsc::Receiver<MoveStep>) -> Result<()> {
    let (held, drawn): (bool, LogSeq) = conn.one(sql!(SQL, "move_ready"), [])?;
    if held {
        return Err(decide::not_empty().into());
    }
    let mut highest = drawn;
    while let Some(step) = steps.blocking_recv() {
        let MoveStep::Store { tenant, events, mode, answer } = step else {
            crash::point("move.before_commit");
            return Ok(());
        };
        let mut taken = HashSet::new();
        for log_seq in decide::maybe_taken(&events, highest) {
            taken.extend(conn.first(sql!(SQL, "move_taken"), [log_seq.0])?.map(|(log_seq,): (LogSeq,)| log_seq));
        }
        let planned = decide::placed(&prior(conn, &tenant, &events)?, &events, drawn, &taken);
        let new = decide::stored(&planned, mode);
        for (index, trace_seq) in &new {
            let Placed { event, log_seq, recorded_at_us } = &events[*index];
            insert(conn, &tenant, event, *trace_seq, Some((*log_seq, recorded_at_us.div_euclid(1_000))))?;
            highest = highest.max(*log_seq);
        }
        let positions: Vec<LogSeq> = new.iter().map(|(index, _)| events[*index].log_seq).collect();
        crash::point("move.stored");
        // A caller that no longer waits ends the steps.
        let _ = answer.send(decide::verdicts(&events, planned, &new, positions));
    }
    Err(decide::given_up().into())
}

/// Looks up the log's state that the rules need.
fn prior<E: Borrow<Admitted>>(conn: &Connection, tenant: &TenantId, events: &[E]) -> Result<AppendPrior> {
    let mut prior = AppendPrior::default();
    let tenant = tenant.as_str();
    for event in events {
        let envelope = Borrow::<Admitted>::borrow(event).envelope();
        let stored = conn.first(sql!(SQL, "append_idempotency"), params![tenant, idempotency_uid(envelope).0])?;
        if let Some(Keyed { key, identity }) = stored {
            if key.0 != envelope.source.producer_id || key.1 != envelope.idempotency_key {
                return Err(collision("idempotency_key").into());
            }
            prior.by_idempotency.insert(key, identity);
        }
        if !prior.traces.contains_key(&envelope.trace_id) {
            let head = conn.first(sql!(SQL, "append_trace"), params![tenant, key_of(&envelope.trace_id)])?;
            if let Some((trace_id, trace_seq, finished)) = head {
                if trace_id != envelope.trace_id {
                    return Err(collision("trace_id").into());
                }
                prior.traces.insert(trace_id, TraceState::behind(trace_seq, finished));
            }
        }
        let taken = conn.first(sql!(SQL, "append_event_id"), params![tenant, key_of(&envelope.event_id)])?;
        if let Some((event_id,)) = taken {
            if event_id != envelope.event_id {
                return Err(collision("event_id").into());
            }
            prior.event_ids.insert(event_id);
        }
    }
    Ok(prior)
}

/// Stores one event: at the next position, or at this position and with this time (milliseconds since 1970).
fn insert(
    conn: &Connection,
    tenant: &TenantId,
    event: &Admitted,
    trace_seq: i64,
    place: Option<(LogSeq, i64)>,
) -> Result<()> {
    let e = event.envelope();
    let mut tags = String::new();
    tags_to_json(&mut tags, &e.tags);
    let of = params![
        tenant.as_str(),
        e.event_id,
        e.trace_id,
        trace_seq,
        e.event_type,
        e.occurred_at,
        e.source.producer_id,
        e.source.system,
        e.source.subsystem,
        e.actor.actor_type,
        e.actor.actor_id,
        e.idempotency_key,
        e.correlation_id,
        e.causation_event_id,
        e.schema_version,
        tags,
        event.payload_hash(),
        key_of(&e.event_id),
        key_of(&e.trace_id),
        idempotency_uid(e).0,
        event.payload(),
        place.map(|(log_seq, _)| log_seq.0),
        place.map(|(_, recorded_at_ms)| recorded_at_ms),
    ];
    conn.run(sql!(SQL, "append_insert"), of)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;
    use crate::sqlite::pool::{File, lock};

    #[test]
    fn an_insert_runs_no_trigger_so_no_page_is_copied_before_it_changes() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let file = File::open(&directory.path().join("log.db"), &options, true, Default::default()).expect("a file");
        file.migrate().expect("migrates");
        let conn = lock(&file.writing);
        let mut program = conn.prepare(&format!("EXPLAIN {}", sql!(SQL, "append_insert"))).expect("a program");
        let mut rows = program.raw_query();
        let mut steps = Vec::new();
        while let Some(step) = rows.next().expect("a step") {
            steps.push(step.get::<_, String>("opcode").expect("its name"));
        }
        assert!(steps.iter().any(|step| step == "Insert") && !steps.iter().any(|step| step == "Program"), "{steps:?}");
    }
}
