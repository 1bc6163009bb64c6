//! Random logs, and random cuts of them.

use decisiongraph_projections::event::{Metadata, Source};
use decisiongraph_projections::payload_hash::sha256_hex;
use decisiongraph_projections::{LogEvent, LogSeq};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Ids that collide, nest and escape.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "a:b", "b:a", "a:b:a", ":", "é", "\u{10000}", "\u{ffee}", "x\"\\\n", "\u{7f}"]).prop_map(str::to_owned),
        1 => "[a-c:]{1,6}",
    ]
}

fn entity() -> impl Strategy<Value = Value> {
    (id(), id(), prop::option::of(id()))
        .prop_map(|(kind, id, system)| json!({"entity_type": kind, "entity_id": id, "system": system}))
}

fn body() -> impl Strategy<Value = (&'static str, Value)> {
    let policy = || (id(), id()).prop_map(|(id, version)| json!({"policy_id": id, "policy_version": version}));
    prop_oneof![
        entity().prop_map(|entity| ("EntityObserved", json!({"entity": entity, "role": "primary", "facts": []}))),
        id().prop_map(|id| ("InputObserved", json!({"input_id": id, "facts": []}))),
        policy().prop_map(|policy| ("PolicyEvaluated", json!({"policy": policy, "decision": "allow", "inputs": []}))),
        (id(), policy()).prop_map(|(id, policy)| ("ExceptionRequested", json!({"exception_id": id, "policy": policy, "reason": "r"}))),
        (id(), id(), any::<bool>()).prop_map(|(subject, approver, exception)| {
            let kind = if exception { "exception" } else { "action" };
            let subject = json!({"subject_type": kind, "subject_id": subject});
            ("ApprovalRecorded", json!({"approval_id": "x", "subject": subject, "approver": {"actor_type": "person", "actor_id": approver}}))
        }),
        id().prop_map(|id| ("PrecedentCited", json!({"cited_trace_id": id, "reason": "r"}))),
        (id(), entity()).prop_map(|(id, entity)| ("ActionProposed", json!({"action_id": id, "target_entity": entity, "changes": []}))),
        id().prop_map(|id| ("ActionCommitted", json!({"action_id": id, "status": "success"}))),
        Just(("CustomEvent", json!({"anything": [1, null]}))),
        Just(("TraceFinished", json!({"outcome": "failure"}))),
    ]
}

/// Generates a legal log (for replay): interleaved traces over few, colliding ids. It has gaps in `log_seq`, events
/// after the finish, and several finishes of one trace.
pub fn log() -> impl Strategy<Value = Vec<LogEvent>> {
    let step = (0usize..4, body(), entity(), 1i64..4, id());
    prop::collection::vec(step, 0..60).prop_map(|steps| {
        let traces = ["t", "t:a", "a", "é"];
        let mut next: HashMap<&str, i64> = HashMap::new();
        let mut log_seq = 0;
        let mut log = Vec::new();
        for (index, (trace, (kind, payload), entity, gap, word)) in steps.into_iter().enumerate() {
            let trace = traces[trace];
            let trace_seq = next.entry(trace).or_default();
            let (kind, payload) = if *trace_seq == 0 {
                ("TraceStarted", json!({"workflow": word, "title": word, "primary_entity": entity}))
            } else {
                (kind, payload)
            };
            log_seq += gap;
            let payload = payload.to_string();
            let metadata = Metadata {
                source: Source { producer_id: word.clone(), system: word.clone(), subsystem: None },
                correlation_id: (gap > 1).then(|| word.clone()),
                causation_event_id: None,
                schema_version: 1,
                tags: Some(vec![word.clone(); index % 3]),
            };
            log.push(LogEvent {
                log_seq: LogSeq(log_seq),
                // Event ids that end in one another, so that edge ids of different events can have the same spelling.
                event_id: format!("{}{index}", ["", "e:", "a:e:"][index % 3]).into(),
                trace_id: trace.into(),
                trace_seq: *trace_seq,
                event_type: kind.into(),
                occurred_at: format!("2026-01-01T00:00:{:02}Z", index % 60).into(),
                actor_type: "agent".into(),
                actor_id: word.into(),
                payload_hash: sha256_hex(payload.as_bytes()).into(),
                metadata: Some(Arc::new(metadata)),
                payload: payload.into(),
            });
            *trace_seq += 1;
        }
        log
    })
}

/// Cuts a log into batches at the given marks.
pub fn batches<'l>(log: &'l [LogEvent], cuts: &[bool]) -> Vec<&'l [LogEvent]> {
    let mut out = Vec::new();
    let mut from = 0;
    for at in 1..=log.len() {
        if at == log.len() || cuts.get(at).copied().unwrap_or(false) {
            out.push(&log[from..at]);
            from = at;
        }
    }
    out
}
