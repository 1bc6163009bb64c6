//! Appending to the log, by the reference's rules.
//!
//! One transaction: look up the state that the rules need, decide ([`sequence::plan`]), insert. The writer's lock is
//! held from the first look-up on. No other appender can therefore come between the decision and its effect. No
//! position is drawn for an event that is refused or repeated.

use super::errors::Result;
use super::rows::{collision, key_of};
use crate::{AppendMode, StoreError, Verdict};
use decisiongraph_projections::event::{Actor, Envelope, Source, tags_from_json, tags_to_json};
use decisiongraph_projections::sequence::{self, AppendPrior, Planned, StoredIdentity, TraceState};
use decisiongraph_projections::{Admitted, LogSeq, RowKey, TenantId};
use rusqlite::{Connection, OptionalExtension, params};

/// Appends, inside a writing transaction.
pub(super) fn append(
    conn: &Connection,
    tenant: &TenantId,
    events: &[Admitted],
    mode: AppendMode,
) -> Result<Vec<Verdict>> {
    let planned = sequence::plan(&prior(conn, tenant, events)?, events);
    let refused = planned.iter().any(|plan| matches!(plan, Planned::Refuse(_)));
    let store = !(refused && mode == AppendMode::AllOrNothing);
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(events.len());
    if store {
        let now = super::now_ms(conn)?;
        let mut insert = conn.prepare_cached(include_str!("sql/append_event.sql"))?;
        for (event, plan) in events.iter().zip(planned) {
            let verdict = match plan {
                Planned::Store => {
                    insert_event(&mut insert, tenant, event, now)?;
                    Verdict::Accepted { log_seq: LogSeq(conn.last_insert_rowid()) }
                }
                Planned::RepeatInBatch(earlier) => match &verdicts[earlier] {
                    Verdict::Accepted { log_seq } => {
                        Verdict::Repeated { log_seq: *log_seq, event_id: events[earlier].envelope().event_id.clone() }
                    }
                    other => return Err(StoreError::internal(format!("an event repeats one that is {other:?}")).into()),
                },
                other => without_storing(other),
            };
            verdicts.push(verdict);
        }
    } else {
        verdicts.extend(planned.into_iter().map(without_storing));
    }
    Ok(verdicts)
}

fn without_storing(plan: Planned) -> Verdict {
    match plan {
        Planned::Store | Planned::RepeatInBatch(_) => Verdict::NotStored,
        Planned::Repeat { log_seq, event_id } => Verdict::Repeated { log_seq, event_id },
        Planned::Refuse(refusal) => Verdict::Refused(refusal),
    }
}

fn idempotency_uid(envelope: &Envelope) -> RowKey {
    RowKey::of_parts(&[&envelope.source.producer_id, &envelope.idempotency_key])
}

/// Looks up the log's state that the rules need.
fn prior(conn: &Connection, tenant: &TenantId, events: &[Admitted]) -> Result<AppendPrior> {
    let mut prior = AppendPrior::default();
    let mut by_idempotency = conn.prepare_cached(include_str!("sql/append_by_idempotency.sql"))?;
    let mut by_trace = conn.prepare_cached(include_str!("sql/append_trace.sql"))?;
    let mut by_event_id = conn.prepare_cached(include_str!("sql/append_event_id.sql"))?;
    let tenant = tenant.as_str();
    for event in events {
        let envelope = event.envelope();
        let stored = by_idempotency
            .query_row(params![tenant, idempotency_uid(envelope).0], |row| {
                let stored = Envelope {
                    event_id: row.get(1)?,
                    trace_id: row.get(2)?,
                    trace_seq: 0,
                    event_type: row.get(3)?,
                    occurred_at: String::new(),
                    source: Source { producer_id: row.get(4)?, system: row.get(5)?, subsystem: row.get(6)? },
                    actor: Actor { actor_type: row.get(7)?, actor_id: row.get(8)? },
                    idempotency_key: row.get(9)?,
                    correlation_id: row.get(10)?,
                    causation_event_id: row.get(11)?,
                    schema_version: row.get(12)?,
                    tags: Vec::new(),
                };
                Ok((row.get::<_, i64>(0)?, stored, row.get::<_, String>(13)?, row.get::<_, String>(14)?))
            })
            .optional()?;
        if let Some((log_seq, mut stored, tags, payload_hash)) = stored {
            if stored.source.producer_id != envelope.source.producer_id
                || stored.idempotency_key != envelope.idempotency_key
            {
                return Err(collision("idempotency_key").into());
            }
            // Unreadable tags equal no other tags.
            stored.tags = tags_from_json(&tags).unwrap_or_else(|| vec![tags]);
            let identity = sequence::identity(&stored, &payload_hash);
            prior.by_idempotency.insert(
                (stored.source.producer_id, stored.idempotency_key),
                StoredIdentity { log_seq: LogSeq(log_seq), event_id: stored.event_id, identity },
            );
        }
        if !prior.traces.contains_key(&envelope.trace_id) {
            let head = by_trace
                .query_row(params![tenant, key_of(&envelope.trace_id)], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
                })
                .optional()?;
            if let Some((trace_id, trace_seq, event_type)) = head {
                if trace_id != envelope.trace_id {
                    return Err(collision("trace_id").into());
                }
                let state = TraceState::behind(trace_seq, event_type == "TraceFinished");
                prior.traces.insert(trace_id, state);
            }
        }
        let taken: Option<String> =
            by_event_id.query_row(params![tenant, key_of(&envelope.event_id)], |row| row.get(0)).optional()?;
        match taken {
            Some(event_id) if event_id != envelope.event_id => return Err(collision("event_id").into()),
            Some(event_id) => {
                prior.event_ids.insert(event_id);
            }
            None => {}
        }
    }
    Ok(prior)
}

fn insert_event(insert: &mut rusqlite::Statement<'_>, tenant: &TenantId, event: &Admitted, now_ms: i64) -> Result<()> {
    let e = event.envelope();
    let mut tags = String::new();
    tags_to_json(&mut tags, &e.tags);
    insert.execute(params![
        tenant.as_str(),
        e.event_id,
        e.trace_id,
        e.trace_seq,
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
        now_ms,
        event.payload(),
    ])?;
    Ok(())
}
