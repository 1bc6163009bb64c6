//! `context_graph`: which trace touched which entity, input, policy, exception, action and actor.
//!
//! Nodes and edges are *first write wins*, by the text of their ids: ids are unbounded and may contain `:`, so two
//! different events can spell the same id, and the first one keeps it. After an event's own nodes, each edge makes sure
//! that its two ends exist: a missing one becomes a placeholder, which is never upgraded.

use crate::category::Refusal;
use crate::digest::reference::{Member, ReferenceForm, Section};
use crate::event::{EventType, LogEvent};
use crate::prior::{Carried, Fetch, Needs, Prior, RowsNeed, Working, changes_of};
use crate::projection::{Projected, Projection};
use crate::rows::{Column, ColumnType, Row, Table};
use crate::sequence::Poison;
use crate::stored_payload::{Object, StoredPayload};
use std::cell::RefCell;
use std::sync::Arc;

/// The projection.
pub struct ContextGraph;

const NODES: usize = 0;
const EDGES: usize = 1;

const fn text(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Text }
}
const fn int(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Int }
}

static TABLES: [Table; 2] = [
    Table {
        name: "dg_cg_nodes",
        columns: &[text("node_id"), text("node_type"), text("trace_id"), int("log_seq"), text("created_at")],
        hashed: &[],
    },
    Table {
        name: "dg_cg_edges",
        columns: &[
            text("edge_id"),
            text("edge_type"),
            text("from_node_id"),
            text("to_node_id"),
            text("trace_id"),
            int("log_seq"),
            text("created_at"),
        ],
        hashed: &[2, 3],
    },
];

static FORM: [Section; 2] = [
    Section {
        label: Some("edges"),
        table: EDGES,
        members: &[
            Member::EmptyObject("attrs"),
            Member::Column("created_at", 6),
            Member::Column("edge_id", 0),
            Member::Column("edge_type", 1),
            Member::Column("from_node_id", 2),
            Member::Column("log_seq", 5),
            Member::Column("to_node_id", 3),
            Member::Column("trace_id", 4),
        ],
    },
    Section {
        label: Some("nodes"),
        table: NODES,
        members: &[
            Member::EmptyObject("attrs"),
            Member::Column("created_at", 4),
            Member::Column("log_seq", 3),
            Member::Column("node_id", 0),
            Member::Column("node_type", 1),
            Member::Column("trace_id", 2),
        ],
    },
];

/// What one event adds: its own nodes, then its edges, both in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Additions {
    nodes: Vec<(&'static str, Arc<str>)>,
    edges: Vec<Edge>,
}

#[derive(Debug, PartialEq, Eq)]
struct Edge {
    id: Arc<str>,
    kind: &'static str,
    from: Arc<str>,
    to: Arc<str>,
}

impl Additions {
    fn edge(&mut self, event: &LogEvent, kind: &'static str, from: Arc<str>, to: Arc<str>) {
        self.edges.push(Edge { id: joined(&[kind, &from, &to, &event.event_id]), kind, from, to });
    }
}

/// The parts with `:` between them.
fn joined(parts: &[&str]) -> Arc<str> {
    thread_local! {
        static SCRATCH: RefCell<String> = const { RefCell::new(String::new()) };
    }
    SCRATCH.with_borrow_mut(|text| {
        text.clear();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                text.push(':');
            }
            text.push_str(part);
        }
        let joined = Arc::from(text.as_str());
        text.shrink_to(SCRATCH_BYTES_KEPT);
        joined
    })
}

/// Bytes of the scratch space for ids that are kept for the next one.
const SCRATCH_BYTES_KEPT: usize = 4096;

impl Projection for ContextGraph {
    fn name(&self) -> &'static str {
        "context_graph"
    }

    fn version(&self) -> i32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        &TABLES
    }

    fn reference_form(&self) -> ReferenceForm {
        &FORM
    }

    fn needs(&self, events: &[LogEvent]) -> Needs {
        let mut nodes = RowsNeed { table: NODES, by: 0, fetch: Fetch::Existence, values: Default::default() };
        let mut edges = RowsNeed { table: EDGES, by: 0, fetch: Fetch::Existence, values: Default::default() };
        let read: Vec<Result<Additions, Refusal>> = events.iter().map(additions).collect();
        nodes.values.reserve(events.len());
        edges.values.reserve(events.len());
        // An event that cannot be read is poison when its turn comes; it needs nothing.
        for additions in read.iter().flatten() {
            let ends = additions.edges.iter().flat_map(|edge| [&edge.from, &edge.to]);
            for id in additions.nodes.iter().map(|(_, id)| id).chain(ends) {
                nodes.values.get_or_insert_with(id, Arc::clone);
            }
            edges.values.extend(additions.edges.iter().map(|edge| Arc::clone(&edge.id)));
        }
        Needs { rows: vec![nodes, edges], carried: Carried::of(read), ..Needs::default() }
    }

    fn project(&self, events: &[LogEvent], needs: &Needs, prior: &Prior) -> Projected {
        let mut nodes = Working::new(needs, prior, NODES);
        let mut edges = Working::new(needs, prior, EDGES);
        let read = needs.carried.get::<Result<Additions, Refusal>>(events.len());
        let mut poison = None;
        for (index, event) in events.iter().enumerate() {
            let again;
            let additions = match read {
                Some(read) => &read[index],
                None => {
                    again = additions(event);
                    &again
                }
            };
            let additions = match additions {
                Ok(additions) => additions,
                Err(refusal) => {
                    poison = Some(Poison { index, refusal: refusal.clone() });
                    break;
                }
            };
            for (node_type, id) in &additions.nodes {
                nodes.insert_if_absent(id, || node_row(id, node_type, &event.trace_id, event));
            }
            for edge in &additions.edges {
                placeholder(&mut nodes, &edge.from, event);
                placeholder(&mut nodes, &edge.to, event);
                edges.insert_if_absent(&edge.id, || {
                    Row(vec![
                        (&edge.id).into(),
                        edge.kind.into(),
                        (&edge.from).into(),
                        (&edge.to).into(),
                        (&event.trace_id).into(),
                        event.log_seq.0.into(),
                        (&event.occurred_at).into(),
                    ])
                });
            }
        }
        Projected { changes: changes_of(&TABLES, vec![nodes, edges]), poison }
    }
}

fn node_row(id: &Arc<str>, node_type: &str, trace_id: &str, event: &LogEvent) -> Row {
    Row(vec![id.into(), node_type.into(), trace_id.into(), event.log_seq.0.into(), (&event.occurred_at).into()])
}

fn placeholder(nodes: &mut Working, id: &Arc<str>, event: &LogEvent) {
    nodes.insert_if_absent(id, || {
        let (node_type, rest) = id.split_once(':').unwrap_or((&**id, ""));
        let trace_id = if node_type == "trace" { rest } else { &event.trace_id };
        node_row(id, node_type, trace_id, event)
    });
}

fn entity_id(entity: &Object<'_, '_>) -> Result<Arc<str>, Refusal> {
    let entity_type = entity.text("entity_type")?.unwrap_or("unknown");
    let id = entity.text("entity_id")?.unwrap_or("unknown");
    Ok(joined(&["entity", entity_type, id]))
}

fn additions(event: &LogEvent) -> Result<Additions, Refusal> {
    let mut out = Additions::default();
    let Some(event_type) = event.known_type() else { return Ok(out) };
    if event_type == EventType::TraceFinished {
        return Ok(out);
    }
    let payload = StoredPayload::of(event)?;
    let trace = joined(&["trace", &event.trace_id]);
    let own_id = |key: &str| -> Result<&str, Refusal> { Ok(payload.text(key)?.unwrap_or(&event.event_id)) };
    match event_type {
        EventType::TraceStarted => {
            out.nodes.push(("trace", trace.clone()));
            out.nodes.push(("actor", joined(&["actor", &event.actor_type, &event.actor_id])));
            if let Some(entity) = payload.object("primary_entity")? {
                let entity = entity_id(&entity)?;
                out.nodes.push(("entity", entity.clone()));
                out.edge(event, "trace_involves_entity", trace, entity);
            }
        }
        EventType::InputObserved => {
            let input = joined(&["input", own_id("input_id")?]);
            out.nodes.push(("input", input.clone()));
            out.edge(event, "trace_observed_input", trace, input);
        }
        EventType::EntityObserved => {
            let entity = match payload.object("entity")? {
                Some(entity) => entity_id(&entity)?,
                None => Arc::from("entity:unknown:unknown"),
            };
            out.nodes.push(("entity", entity.clone()));
            out.edge(event, "trace_involves_entity", trace, entity);
        }
        EventType::PolicyEvaluated => {
            let policy = payload.object("policy")?;
            let policy_id = match &policy {
                Some(policy) => policy.text("policy_id")?,
                None => None,
            };
            let version = match &policy {
                Some(policy) => policy.text("policy_version")?.filter(|version| !version.is_empty()),
                None => None,
            };
            let policy = match (policy_id, version) {
                (Some(id), Some(version)) => joined(&["policy", id, version]),
                (Some(id), None) => joined(&["policy", id]),
                (None, Some(version)) => joined(&["policy", "unknown", &event.event_id, version]),
                (None, None) => joined(&["policy", "unknown", &event.event_id]),
            };
            out.nodes.push(("policy", policy.clone()));
            out.edge(event, "trace_evaluated_policy", trace, policy);
        }
        EventType::ExceptionRequested => {
            let exception = joined(&["exception", own_id("exception_id")?]);
            out.nodes.push(("exception", exception.clone()));
            out.edge(event, "trace_requested_exception", trace, exception);
        }
        EventType::ApprovalRecorded => {
            let (approver_type, approver_id) = match payload.object("approver")? {
                Some(approver) => (
                    approver.text("actor_type")?.unwrap_or("person").to_owned(),
                    approver.text("actor_id")?.unwrap_or("unknown").to_owned(),
                ),
                None => ("person".to_owned(), "unknown".to_owned()),
            };
            let actor = joined(&["actor", &approver_type, &approver_id]);
            out.nodes.push(("actor", actor.clone()));
            if let Some(subject) = payload.object("subject")?
                && subject.text("subject_type")? == Some("exception")
                && let Some(id) = subject.text("subject_id")?.filter(|id| !id.is_empty())
            {
                out.edge(event, "exception_approved_by", joined(&["exception", id]), actor);
            }
        }
        EventType::PrecedentCited => {
            if let Some(cited) = payload.text("cited_trace_id")? {
                out.edge(event, "trace_cited_precedent", trace, joined(&["trace", cited]));
            }
        }
        EventType::ActionProposed => {
            let action = joined(&["action", own_id("action_id")?]);
            out.nodes.push(("action", action.clone()));
            out.edge(event, "trace_proposed_action", trace, action.clone());
            if let Some(entity) = payload.object("target_entity")? {
                out.edge(event, "action_targets_entity", action, entity_id(&entity)?);
            }
        }
        EventType::ActionCommitted => {
            if let Some(action) = payload.text("action_id")? {
                out.edge(event, "trace_committed_action", trace, joined(&["action", action]));
            }
        }
        EventType::TraceFinished => {}
    }
    Ok(out)
}
