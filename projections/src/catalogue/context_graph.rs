//! `context_graph`: a graph of traces and the entities, inputs, policies, exceptions, actions and actors they touch.
//!
//! Nodes and edges are *first write wins*, by the text of their ids. Ids are unbounded and may contain `:`. Two
//! different events can therefore spell the same id, and the first event keeps it. An event's own nodes come first.
//! Then each edge makes sure that its two ends exist. A missing end becomes a placeholder, which is never upgraded.

use crate::category::Refusal;
use crate::digest::reference::{Member, ReferenceForm, Section};
use crate::event::{EventType, LogEvent};
use crate::prior::{Carried, Fetch, Needs, Prior, RowsNeed, Texts, Working, changes_of, shared};
use crate::projection::{Density, Projected, Projection};
use crate::rows::{Column, ColumnType, Hashed, KeyPart, Place, Row, Table};
use crate::sequence::Poison;
use crate::stored_payload::{Object, StoredPayload};
use arrayvec::ArrayVec;
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
        // `{node_type}:{identifier}`
        place: Place::Key(KeyPart(1)),
        hashed: &[],
        naming: None,
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
        // `{edge_type}:{node_type}:{identifier}:…`: the node that the edge starts from, nearly always a trace.
        place: Place::Key(KeyPart(2)),
        hashed: &[Hashed { column: 2, place: None }, Hashed { column: 3, place: None }],
        naming: Some(NODES),
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

/// Additions of one event: its own nodes, then its edges, both in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Additions {
    nodes: ArrayVec<(&'static str, Arc<str>), 3>,
    edges: ArrayVec<Edge, 2>,
}

#[derive(Debug, PartialEq, Eq)]
struct Edge {
    id: Arc<str>,
    kind: &'static str,
    from: Arc<str>,
    to: Arc<str>,
}

impl Additions {
    fn edge(&mut self, ids: &mut Ids, event: &LogEvent, kind: &'static str, from: Arc<str>, to: Arc<str>) {
        let id = Arc::from(ids.spell(&[kind, &from, &to, &event.event_id]));
        self.edges.push(Edge { id, kind, from, to });
    }
}

/// Spells the ids of a batch.
#[derive(Default)]
struct Ids {
    /// Node ids, each once: most ids occur again and again.
    nodes: Texts,
    /// Node ids that first occurred as the own node of an event that begins such a node.
    fresh: Vec<Arc<str>>,
    scratch: String,
}

impl Ids {
    /// Joins the parts with `:`.
    fn spell(&mut self, parts: &[&str]) -> &str {
        self.scratch.clear();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.scratch.push(':');
            }
            self.scratch.push_str(part);
        }
        &self.scratch
    }

    fn node(&mut self, parts: &[&str]) -> Arc<str> {
        self.spell(parts);
        shared(&mut self.nodes, &self.scratch)
    }

    /// Spells the node of an input, an exception or an action, which begins with its event. Other nodes have no such
    /// event. A trace is often cited before it starts. Many events share a node of the other types.
    fn fresh_node(&mut self, parts: &[&str]) -> Arc<str> {
        let met = self.nodes.len();
        let id = self.node(parts);
        if self.nodes.len() > met {
            self.fresh.push(Arc::clone(&id));
        }
        id
    }

    fn entity(&mut self, entity: &Object<'_, '_>) -> Result<Arc<str>, Refusal> {
        let entity_type = entity.text("entity_type")?.unwrap_or("unknown");
        let id = entity.text("entity_id")?.unwrap_or("unknown");
        Ok(self.node(&["entity", entity_type, id]))
    }
}

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

    fn reference_form(&self) -> Option<ReferenceForm> {
        Some(&FORM)
    }

    fn density(&self) -> Density {
        Density { rows_per_event: 2.0, bytes_per_row: 420.0 }
    }

    fn needs(&self, events: &[LogEvent]) -> Needs {
        let mut ids = Ids::default();
        let read: Vec<Result<Additions, Refusal>> = events.iter().map(|event| additions(event, &mut ids)).collect();
        let edges = read.iter().flatten().flat_map(|additions| &additions.edges);
        let edges: Vec<Arc<str>> = edges.map(|edge| Arc::clone(&edge.id)).collect();
        let need = |table, values, fresh| RowsNeed { values, fresh, ..RowsNeed::of(table, 0, Fetch::Existence) };
        // An event that cannot be read is poison when its turn comes. The ids before it are then asked for in vain.
        let rows = vec![need(NODES, ids.nodes, ids.fresh), need(EDGES, edges.iter().cloned().collect(), edges)];
        Needs { rows, carried: Carried::of(read), ..Needs::default() }
    }

    fn project(&self, events: &[LogEvent], needs: &Needs, prior: &Prior) -> Projected {
        let mut nodes = Working::new(needs, prior, NODES);
        let mut edges = Working::new(needs, prior, EDGES);
        let read = needs.carried.get::<Result<Additions, Refusal>>(events.len());
        let mut words = Texts::new();
        let mut poison = None;
        for (index, event) in events.iter().enumerate() {
            let again;
            let additions = match read {
                Some(read) => &read[index],
                None => {
                    again = additions(event, &mut Ids::default());
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
                nodes.insert_if_absent(id, || node_row(id, shared(&mut words, node_type), &event.trace_id, event));
            }
            for edge in &additions.edges {
                placeholder(&mut nodes, &edge.from, event, &mut words);
                placeholder(&mut nodes, &edge.to, event, &mut words);
                edges.insert_if_absent(&edge.id, || {
                    Row(vec![
                        (&edge.id).into(),
                        shared(&mut words, edge.kind).into(),
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

fn node_row(id: &Arc<str>, node_type: Arc<str>, trace_id: &Arc<str>, event: &LogEvent) -> Row {
    let at = event.log_seq.0.into();
    Row(vec![id.into(), node_type.into(), trace_id.into(), at, (&event.occurred_at).into()])
}

/// Inserts a placeholder for this node if it is absent. `words` are the node types seen so far.
fn placeholder(nodes: &mut Working, id: &Arc<str>, event: &LogEvent, words: &mut Texts) {
    nodes.insert_if_absent(id, || {
        let (node_type, rest) = id.split_once(':').unwrap_or((&**id, ""));
        let node_type = shared(words, node_type);
        if *node_type == *"trace" && *rest != *event.trace_id {
            return node_row(id, node_type, &Arc::from(rest), event);
        }
        node_row(id, node_type, &event.trace_id, event)
    });
}

fn additions(event: &LogEvent, ids: &mut Ids) -> Result<Additions, Refusal> {
    let mut out = Additions::default();
    let Some(event_type) = event.known_type() else { return Ok(out) };
    if event_type == EventType::TraceFinished {
        return Ok(out);
    }
    let payload = StoredPayload::of(event)?;
    let trace = |ids: &mut Ids| ids.node(&["trace", &event.trace_id]);
    let own_id = |key: &str| -> Result<&str, Refusal> { Ok(payload.text(key)?.unwrap_or(&event.event_id)) };
    match event_type {
        EventType::TraceStarted => {
            let trace = trace(ids);
            out.nodes.push(("trace", trace.clone()));
            out.nodes.push(("actor", ids.node(&["actor", &event.actor_type, &event.actor_id])));
            if let Some(entity) = payload.object("primary_entity")? {
                let entity = ids.entity(&entity)?;
                out.nodes.push(("entity", entity.clone()));
                out.edge(ids, event, "trace_involves_entity", trace, entity);
            }
        }
        EventType::InputObserved => {
            let input = ids.fresh_node(&["input", own_id("input_id")?]);
            out.nodes.push(("input", input.clone()));
            let trace = trace(ids);
            out.edge(ids, event, "trace_observed_input", trace, input);
        }
        EventType::EntityObserved => {
            let entity = match payload.object("entity")? {
                Some(entity) => ids.entity(&entity)?,
                None => ids.node(&["entity", "unknown", "unknown"]),
            };
            out.nodes.push(("entity", entity.clone()));
            let trace = trace(ids);
            out.edge(ids, event, "trace_involves_entity", trace, entity);
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
                (Some(id), Some(version)) => ids.node(&["policy", id, version]),
                (Some(id), None) => ids.node(&["policy", id]),
                (None, Some(version)) => ids.node(&["policy", "unknown", &event.event_id, version]),
                (None, None) => ids.node(&["policy", "unknown", &event.event_id]),
            };
            out.nodes.push(("policy", policy.clone()));
            let trace = trace(ids);
            out.edge(ids, event, "trace_evaluated_policy", trace, policy);
        }
        EventType::ExceptionRequested => {
            let exception = ids.fresh_node(&["exception", own_id("exception_id")?]);
            out.nodes.push(("exception", exception.clone()));
            let trace = trace(ids);
            out.edge(ids, event, "trace_requested_exception", trace, exception);
        }
        EventType::ApprovalRecorded => {
            let (approver_type, approver_id) = match payload.object("approver")? {
                Some(approver) => {
                    (approver.text("actor_type")?.unwrap_or("person"), approver.text("actor_id")?.unwrap_or("unknown"))
                }
                None => ("person", "unknown"),
            };
            let actor = ids.node(&["actor", approver_type, approver_id]);
            out.nodes.push(("actor", actor.clone()));
            if let Some(subject) = payload.object("subject")?
                && subject.text("subject_type")? == Some("exception")
                && let Some(id) = subject.text("subject_id")?.filter(|id| !id.is_empty())
            {
                let exception = ids.node(&["exception", id]);
                out.edge(ids, event, "exception_approved_by", exception, actor);
            }
        }
        EventType::PrecedentCited => {
            if let Some(cited) = payload.text("cited_trace_id")? {
                let trace = trace(ids);
                let cited = ids.node(&["trace", cited]);
                out.edge(ids, event, "trace_cited_precedent", trace, cited);
            }
        }
        EventType::ActionProposed => {
            let action = ids.fresh_node(&["action", own_id("action_id")?]);
            out.nodes.push(("action", action.clone()));
            let trace = trace(ids);
            out.edge(ids, event, "trace_proposed_action", trace, action.clone());
            if let Some(entity) = payload.object("target_entity")? {
                let entity = ids.entity(&entity)?;
                out.edge(ids, event, "action_targets_entity", action, entity);
            }
        }
        EventType::ActionCommitted => {
            if let Some(action) = payload.text("action_id")? {
                let trace = trace(ids);
                let action = ids.node(&["action", action]);
                out.edge(ids, event, "trace_committed_action", trace, action);
            }
        }
        EventType::TraceFinished => {}
    }
    Ok(out)
}
