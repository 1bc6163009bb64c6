//! A log of legal events, of any kind and in any order in which a producer may append them. Every projection takes all
//! of them. Rows and digests do not depend on the batches, and the incremental digest is that of the rows.
//!
//! The first byte is the size of a batch; each four bytes after it make up an event.

use crate::bench::folded::{FoldedProjection, fold};
use decisiongraph_projections::Admitted;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::event::{EventType, Line};
use decisiongraph_projections::sequence::{AppendPrior, Planned, plan};
use decisiongraph_projections::validation::admit;
use serde_json::{Value, json};

/// Most events of one log.
const EVENTS_MAX: usize = 400;
/// Ids that collide: equal ones, parts of one another, separators. Some characters sort differently by code point and
/// by unit.
const IDS: [&str; 8] = ["a", "a:b", "b", "trace:a", "\u{ffee}", "\u{10000}", "a\u{301}", " \n\"\\"];
const TRACES: usize = 5;

pub(super) fn offer(bytes: &[u8]) {
    let Some((batch, rest)) = bytes.split_first() else { return };
    let mut next = [0_i64; TRACES];
    let offered: Vec<Admitted> = rest
        .as_chunks::<4>()
        .0
        .iter()
        .take(EVENTS_MAX)
        .enumerate()
        .filter_map(|(index, choices)| event(index, *choices, &mut next))
        .collect();
    let planned = plan(&AppendPrior::default(), &offered);
    let log: Vec<Admitted> = offered
        .into_iter()
        .zip(planned)
        .filter_map(|(event, planned)| matches!(planned, Planned::Store { .. }).then_some(event))
        .collect();
    let (whole, cut) = (fold(&log, EVENTS_MAX), fold(&log, usize::from(*batch).max(1)));
    for (FoldedProjection { projection, rows, digest, .. }, cut) in whole.iter().zip(&cut) {
        assert_eq!((rows, digest), (&cut.rows, &cut.digest), "{} depends on its batches", projection.name());
        let mut of_rows = RollingDigest::default();
        for (table, rows) in projection.tables().iter().zip(rows) {
            of_rows.add(table, rows);
        }
        assert_eq!(&of_rows, digest, "the digest of {} is not that of its rows", projection.name());
    }
}

/// Builds the event of these choices; none when it would be refused.
fn event(index: usize, [trace, kind, one, other]: [u8; 4], next: &mut [i64; TRACES]) -> Option<Admitted> {
    let trace = usize::from(trace) % TRACES;
    let event_type = if next[trace] == 0 { EventType::TraceStarted } else { EventType::ALL[usize::from(kind) % 10] };
    let id = |choice: u8| IDS[usize::from(choice) % IDS.len()];
    let line = json!({
        "event_id": format!("e{index}"),
        "trace_id": IDS[trace],
        "trace_seq": next[trace],
        "event_type": event_type.as_str(),
        "occurred_at": "2026-01-31T09:30:00Z",
        "source": { "producer_id": "p", "system": id(one) },
        "actor": { "actor_type": "agent", "actor_id": id(other) },
        "idempotency_key": format!("k{index}"),
        "payload": payload(event_type, id, [kind, one, other]),
    });
    let event = admit(Line::parse(&line.to_string()).ok()?.draft).ok()?;
    next[trace] += 1;
    Some(event)
}

fn payload<'i>(event_type: EventType, id: impl Fn(u8) -> &'i str, [kind, one, other]: [u8; 3]) -> Value {
    let (id, second) = (id(one), id(other));
    // The high nibble, which chose nothing yet, chooses words.
    let word = |words: &[&str]| words[usize::from(kind >> 4) % words.len()].to_owned();
    let system = if one >= 128 { Value::Null } else { Value::from(second) };
    let entity = json!({ "entity_type": id, "entity_id": second, "system": system });
    let policy = json!({ "policy_id": id, "policy_version": second });
    let finding = json!([id, { "input_id": second }]);
    match event_type {
        EventType::TraceStarted => json!({ "workflow": id, "title": second, "primary_entity": entity }),
        EventType::InputObserved => {
            json!({ "input_id": id, "source": { "system": second, "object_type": id, "object_id": second }, "facts": finding })
        }
        EventType::EntityObserved => json!({ "entity": entity, "role": word(&["primary", "related"]), "facts": [] }),
        EventType::PolicyEvaluated => {
            json!({ "policy": policy, "inputs": finding, "decision": word(&["allow", "deny", "require_exception"]) })
        }
        EventType::ExceptionRequested => json!({ "exception_id": id, "policy": policy, "reason": second }),
        EventType::ApprovalRecorded => json!({
            "approval_id": id,
            "subject": { "subject_type": word(&["exception", "action", "other"]), "subject_id": second },
            "approver": { "actor_type": "person", "actor_id": second },
            "decision": word(&["approved", "rejected"]),
        }),
        EventType::PrecedentCited => json!({ "cited_trace_id": id, "reason": second }),
        EventType::ActionProposed => json!({
            "action_id": id, "action_type": second, "target_entity": entity, "target_system": second, "changes": []
        }),
        EventType::ActionCommitted => json!({ "action_id": id, "status": word(&["success", "failure", "partial"]) }),
        EventType::TraceFinished => json!({ "outcome": word(&["success", "failure", "abandoned"]) }),
    }
}
