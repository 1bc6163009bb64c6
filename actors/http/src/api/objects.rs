//! The objects of the interface: those of the original service's clients, with our members beside.
//!
//! *Guarantees.* Each object has all its members, `null` where there is nothing. A payload is passed on digit for
//! digit.

use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::query::{Edge, EventRecord, Node};
use decisiongraph_protocol::{ScopeState, ScopeStatus};
use decisiongraph_store::{Direction, Run};
use serde_json::{Map, Value, json};

/// Writes an event, without its tenant.
pub fn event_json(event: &EventRecord) -> String {
    serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned())
}

/// Puts the tenant into the text of an event.
pub fn with_tenant(tenant: &TenantId, event: &str) -> String {
    let tenant = serde_json::to_string(tenant.as_str()).unwrap_or_default();
    match event.strip_prefix('{') {
        Some("}") | None => event.to_owned(),
        Some(members) => format!("{{\"tenant_id\":{tenant},{members}"),
    }
}

/// Writes events of one tenant as a JSON list.
pub fn events_json(tenant: &TenantId, events: &[EventRecord]) -> String {
    let texts: Vec<String> = events.iter().map(|event| with_tenant(tenant, &event_json(event))).collect();
    format!("[{}]", texts.join(","))
}

/// Returns the node of the context graph. Its attributes are empty in this projection.
pub fn node(node: &Node) -> Value {
    json!({
        "node_id": node.node_id, "node_type": node.node_type, "trace_id": node.trace_id, "log_seq": node.log_seq,
        "created_at": node.created_at, "attrs": {},
    })
}

/// Returns the edge of the context graph. Its attributes are empty in this projection.
pub fn edge(edge: &Edge) -> Value {
    json!({
        "edge_id": edge.edge_id, "edge_type": edge.edge_type, "from_node_id": edge.from_node_id,
        "to_node_id": edge.to_node_id, "trace_id": edge.trace_id, "log_seq": edge.log_seq,
        "created_at": edge.created_at, "attrs": {},
    })
}

/// Returns the word of a direction.
pub fn direction(word: &str) -> Option<Direction> {
    [Direction::Both, Direction::Incoming, Direction::Outgoing].into_iter().find(|known| known.as_str() == word)
}

/// Returns the state of one projection.
pub fn projection(scope: &ScopeStatus, updated_at: Option<String>, digest: Option<&str>) -> Value {
    json!({
        "projection_name": scope.projection,
        "last_log_seq": scope.cursor,
        "pending_events": scope.lag.events,
        "pending_more": scope.lag.more,
        "is_stale": scope.is_behind(),
        "updated_at": updated_at,
        "digest": digest.or(scope.digest.as_deref()),
        "open_failures": scope.open_failures,
        "state": ScopeState::as_str(scope.state),
        "why": scope.why,
    })
}

/// Members of a job that say where it is.
fn place(run: &Run) -> Map<String, Value> {
    let value = json!({
        "job_id": run.run_id,
        "projection_name": run.projection,
        "mode": run.mode.as_str(),
        "status": run.state.as_str(),
        "requested_at": run.created_at,
        "started_at": run.created_at,
        "processed_events": run.events,
        "last_log_seq": run.cursor,
        "until_log_seq": run.until,
    });
    super::call::object(value)
}

/// Returns an open job as the health of projections lists it.
pub fn open_run(run: &Run) -> Value {
    Value::Object(place(run))
}

/// Returns a job as the original service's clients read it.
pub fn run(run: &Run) -> Value {
    let mut members = place(run);
    let own = json!({
        "tenant_id": run.tenant,
        "finished_at": run.finished_at,
        "error_code": run.error.as_ref().map(|error| error.category.as_str()),
        "error_message": run.error.as_ref().map(|error| error.message.as_str()),
        "cancel_requested": run.cancel_requested,
    });
    members.extend(super::call::object(own));
    // The word that was recorded with the request, so that `since_log_seq` is shown back.
    let metadata = run.metadata.as_deref().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let mut metadata = metadata.unwrap_or_default();
    let since = metadata.remove(SINCE).unwrap_or(Value::from(LogSeq::ORIGIN.0));
    let by_default = json!({ "reason": run.reason, "requested_by_account_id": run.requested_by });
    let mut shown = metadata.clone();
    for (name, value) in super::call::object(by_default) {
        shown.entry(name).or_insert(value);
    }
    let more = json!({
        "since_log_seq": since, "reason": run.reason, "requested_by": run.requested_by, "metadata": metadata,
        "metadata_json": Value::Object(shown).to_string(),
    });
    members.extend(super::call::object(more));
    Value::Object(members)
}

/// Member of a job's metadata that holds the position which the original's clients send and nothing uses.
pub const SINCE: &str = "since_log_seq";
