//! A plain fold of the reference semantics over `serde_json` values: no batches, no prior state, no code of the
//! projections.

use decisiongraph_projections::LogEvent;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub struct Digests {
    pub context_graph: String,
    pub trace_summary: String,
    pub precedent_index: String,
    pub full_projection: String,
}

#[derive(Default)]
struct Fold {
    nodes: BTreeMap<String, Value>,
    edges: BTreeMap<String, Value>,
    summaries: BTreeMap<String, Value>,
    precedents: BTreeMap<String, Value>,
}

pub fn fold(log: &[LogEvent]) -> Digests {
    let mut fold = Fold::default();
    for (index, event) in log.iter().enumerate() {
        fold.apply(event, &log[..index]);
    }
    let list = |map: &BTreeMap<String, Value>| Value::Array(map.values().cloned().collect());
    let context_graph = digest(&json!({"nodes": list(&fold.nodes), "edges": list(&fold.edges)}));
    let trace_summary = digest(&list(&fold.summaries));
    let precedent_index = digest(&list(&fold.precedents));
    let full_projection = sha(&format!("{context_graph}:{trace_summary}:{precedent_index}"));
    Digests { context_graph, trace_summary, precedent_index, full_projection }
}

fn sha(text: &str) -> String {
    let hex: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Hashes a value. serde_json sorts keys and writes no blanks; only characters outside U+0020–U+007E are left to
/// escape.
fn digest(value: &Value) -> String {
    let mut ascii = String::new();
    for c in value.to_string().chars() {
        match c {
            ' '..='~' => ascii.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    sha(&ascii)
}

impl Fold {
    fn node(&mut self, id: &str, trace_id: &str, event: &LogEvent) {
        let kind = id.split(':').next().unwrap_or_default();
        self.nodes.entry(id.to_owned()).or_insert_with(|| {
            json!({"node_id": id, "node_type": kind, "trace_id": trace_id, "log_seq": event.log_seq.0, "created_at": &*event.occurred_at, "attrs": {}})
        });
    }

    fn edge(&mut self, kind: &str, from: &str, to: &str, event: &LogEvent) {
        for end in [from, to] {
            match end.strip_prefix("trace:") {
                Some(trace) => self.node(end, trace, event),
                None => self.node(end, &event.trace_id, event),
            }
        }
        let id = format!("{kind}:{from}:{to}:{}", event.event_id);
        self.edges.entry(id.clone()).or_insert_with(|| {
            json!({"edge_id": id, "edge_type": kind, "from_node_id": from, "to_node_id": to, "trace_id": &*event.trace_id, "log_seq": event.log_seq.0, "created_at": &*event.occurred_at, "attrs": {}})
        });
    }

    fn apply(&mut self, event: &LogEvent, before: &[LogEvent]) {
        let p: Value = serde_json::from_str(&event.payload).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let entity = |value: &Value| format!("entity:{}:{}", text(&value["entity_type"]), text(&value["entity_id"]));
        let own = event.trace_id.to_string();
        let trace = format!("trace:{own}");
        match &*event.event_type {
            "TraceStarted" => {
                let primary = entity(&p["primary_entity"]);
                self.node(&trace, &own, event);
                self.node(&format!("actor:{}:{}", event.actor_type, event.actor_id), &own, event);
                self.node(&primary, &own, event);
                self.edge("trace_involves_entity", &trace, &primary, event);
                self.summaries.insert(own.clone(), json!({
                    "trace_id": own, "workflow": p["workflow"], "title": p["title"], "started_at": &*event.occurred_at,
                    "primary_entity_type": p["primary_entity"]["entity_type"], "primary_entity_id": p["primary_entity"]["entity_id"],
                    "outcome": null, "finished_at": null, "event_count": 1, "last_log_seq": event.log_seq.0,
                }));
            }
            "EntityObserved" => {
                let entity = entity(&p["entity"]);
                self.node(&entity, &own, event);
                self.edge("trace_involves_entity", &trace, &entity, event);
            }
            "InputObserved" => {
                let input = format!("input:{}", text(&p["input_id"]));
                self.node(&input, &own, event);
                self.edge("trace_observed_input", &trace, &input, event);
            }
            "PolicyEvaluated" => {
                let policy =
                    format!("policy:{}:{}", text(&p["policy"]["policy_id"]), text(&p["policy"]["policy_version"]));
                self.node(&policy, &own, event);
                self.edge("trace_evaluated_policy", &trace, &policy, event);
            }
            "ExceptionRequested" => {
                let exception = format!("exception:{}", text(&p["exception_id"]));
                self.node(&exception, &own, event);
                self.edge("trace_requested_exception", &trace, &exception, event);
            }
            "ApprovalRecorded" => {
                let actor =
                    format!("actor:{}:{}", text(&p["approver"]["actor_type"]), text(&p["approver"]["actor_id"]));
                self.node(&actor, &own, event);
                if p["subject"]["subject_type"] == "exception" {
                    self.edge(
                        "exception_approved_by",
                        &format!("exception:{}", text(&p["subject"]["subject_id"])),
                        &actor,
                        event,
                    );
                }
            }
            "PrecedentCited" => {
                self.edge("trace_cited_precedent", &trace, &format!("trace:{}", text(&p["cited_trace_id"])), event);
            }
            "ActionProposed" => {
                let action = format!("action:{}", text(&p["action_id"]));
                self.node(&action, &own, event);
                self.edge("trace_proposed_action", &trace, &action, event);
                self.edge("action_targets_entity", &action, &entity(&p["target_entity"]), event);
            }
            "ActionCommitted" => {
                self.edge("trace_committed_action", &trace, &format!("action:{}", text(&p["action_id"])), event);
            }
            "TraceFinished" => {
                if let Some(row) = self.summaries.get_mut(&own) {
                    row["outcome"] = p["outcome"].clone();
                    row["finished_at"] = json!(&*event.occurred_at);
                    row["event_count"] = json!(row["event_count"].as_i64().expect("count") + 1);
                    row["last_log_seq"] = json!(event.log_seq.0);
                }
                let mut primary = Value::Null;
                self.precedents.retain(|_, row| row["trace_id"] != json!(own));
                for earlier in before.iter().filter(|earlier| *earlier.trace_id == *own) {
                    let q: Value = serde_json::from_str(&earlier.payload).expect("JSON");
                    match &*earlier.event_type {
                        "TraceStarted" => primary = q["primary_entity"].clone(),
                        kind @ ("PolicyEvaluated" | "ExceptionRequested") => {
                            let exception =
                                if kind == "ExceptionRequested" { q["exception_id"].clone() } else { Value::Null };
                            self.precedents.insert(earlier.event_id.to_string(), json!({
                                "source_event_id": &*earlier.event_id, "log_seq": earlier.log_seq.0, "trace_id": own,
                                "policy_id": q["policy"]["policy_id"], "policy_version": q["policy"]["policy_version"], "exception_id": exception,
                                "primary_entity_type": primary["entity_type"], "primary_entity_system": primary["system"], "primary_entity_id": primary["entity_id"],
                            }));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}
