//! The queries over the read models and their answers.

use decisiongraph_projections::event::{Actor, Source};
use decisiongraph_projections::{Category, LogSeq, Refusal, StoredEvent};
use decisiongraph_records::{Direction, Generation, PrecedentFilter};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;

/// Most bytes of one page of a read. A page that reaches them ends early and says that there is more. It holds at least
/// one event or row, even a larger one.
pub const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most edges per page. A query with a larger limit gets this many and a cursor.
pub const EDGES_PAGE_MAX: i64 = 10_000;

/// Query for the edges of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgesQuery {
    /// The node, `{node_type}:{identifier}`.
    pub node_id: String,
    /// Direction, as seen from the node.
    pub direction: Direction,
    /// Cursor of the page before; none for the first page.
    pub cursor: Option<String>,
    /// Most edges, at least 1.
    pub limit: i64,
}

/// A page of edges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgesPage {
    /// Edges by `log_seq`, `edge_id`.
    pub edges: Vec<Edge>,
    /// Cursor of the next page; none when this page was the last.
    pub next_cursor: Option<String>,
}

/// Deepest search.
pub const DEPTH_MAX: i64 = 10;
/// Most nodes of a query.
pub const NODES_MAX: i64 = 10_000;
/// Most edges of a query.
pub const EDGES_MAX: i64 = 10_000;
/// Query for the neighbourhood of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubgraphQuery {
    /// The center, `{node_type}:{identifier}`.
    pub node_id: String,
    /// Steps from the center, 0 to [`DEPTH_MAX`].
    pub max_depth: i64,
    /// Most nodes, the center included, 1 to [`NODES_MAX`].
    pub max_nodes: i64,
    /// Most edges, 1 to [`EDGES_MAX`].
    pub max_edges: i64,
    /// Types of the wanted nodes; all when none (the center always counts).
    pub node_types: Option<Vec<String>>,
    /// Types of the wanted edges; all when none.
    pub edge_types: Option<Vec<String>>,
}

impl SubgraphQuery {
    /// Makes a query with the reference's defaults: one step, 100 nodes, 100 edges, every type.
    pub fn around(node_id: impl Into<String>) -> SubgraphQuery {
        SubgraphQuery {
            node_id: node_id.into(),
            max_depth: 1,
            max_nodes: 100,
            max_edges: 100,
            node_types: None,
            edge_types: None,
        }
    }

    /// Checks the limits. `invalid_argument` when a limit is out of range.
    pub fn validate(&self) -> Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::new(Category::InvalidArgument, message));
        if !(0..=DEPTH_MAX).contains(&self.max_depth) {
            return refuse(format!("max_depth must be 0 to {DEPTH_MAX}, not {}", self.max_depth));
        }
        for (name, limit, most) in [("max_nodes", self.max_nodes, NODES_MAX), ("max_edges", self.max_edges, EDGES_MAX)]
        {
            if !(1..=most).contains(&limit) {
                return refuse(format!("{name} must be 1 to {most}, not {limit}"));
            }
        }
        Ok(())
    }
}

/// The neighbourhood of a node: nodes by id, edges by id. An edge's far end may be missing from the nodes when its type
/// was filtered out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subgraph {
    /// Nodes by `node_id`.
    pub nodes: Vec<Node>,
    /// Edges by `edge_id`.
    pub edges: Vec<Edge>,
    /// True when a limit cut the neighbourhood short.
    pub truncated: bool,
}

/// Required freshness of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// Longest wait for a projection, milliseconds.
    pub wait_ms: u64,
    /// True to answer after that wait in any case, with the distance by which the answer is behind.
    pub allow_stale: bool,
    /// Position that is enough: every event of the tenant at or below it is applied, and none can appear there any
    /// more. The tenant's last event when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<LogSeq>,
}

impl Default for Freshness {
    fn default() -> Freshness {
        Freshness { wait_ms: 1_000, allow_stale: false, at_least: None }
    }
}

/// Distance by which a stale answer is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staleness {
    /// Projection that is furthest behind.
    pub projection: String,
    /// Cursor of that projection.
    pub cursor: LogSeq,
    /// Position of the tenant's last event at the query's start, or the position that the query asks for.
    pub last_log_seq: LogSeq,
    /// Events between the two, counted up to [`STALE_EVENTS_MAX`].
    pub events: u64,
}

/// State of a projection's rows in the snapshot of a read that they were current for. It is not on the
/// wire: the process that has read the rows makes a validator of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsState {
    /// Live generation.
    pub generation: Generation,
    /// Position up to which everything is applied.
    pub cursor: LogSeq,
    /// Position of the tenant's last event.
    pub last_log_seq: LogSeq,
    /// Rolling digest at the cursor, as text.
    pub digest: String,
}

/// Bound of the count in [`Staleness::events`].
pub const STALE_EVENTS_MAX: u64 = 10_000;

/// A row of `dg_cg_nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Node {
    pub node_id: String,
    pub node_type: String,
    pub trace_id: String,
    pub log_seq: LogSeq,
    pub created_at: String,
}

/// A row of `dg_cg_edges`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Edge {
    pub edge_id: String,
    pub edge_type: String,
    pub from_node_id: String,
    pub to_node_id: String,
    pub trace_id: String,
    pub log_seq: LogSeq,
    pub created_at: String,
}

/// A row of `dg_trace_summary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Summary {
    pub trace_id: String,
    pub workflow: String,
    pub title: String,
    pub primary_entity_type: Option<String>,
    pub primary_entity_system: Option<String>,
    pub primary_entity_id: Option<String>,
    pub started_at: String,
    /// None while the trace runs.
    pub outcome: Option<String>,
    /// None while the trace runs.
    pub finished_at: Option<String>,
    /// Count of the trace's start and finish only: this is the reference's rule.
    pub event_count: i64,
    pub last_log_seq: LogSeq,
}

impl Edge {
    /// Returns the bytes of the edge's texts.
    pub fn bytes(&self) -> usize {
        let texts =
            [&self.edge_id, &self.edge_type, &self.from_node_id, &self.to_node_id, &self.trace_id, &self.created_at];
        texts.into_iter().map(String::len).sum()
    }
}

/// Most events per page.
pub const EVENTS_PAGE_MAX: usize = 10_000;

/// A stored event as replies show it. In JSON its payload is the stored text itself, digit for digit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EventRecord {
    pub log_seq: LogSeq,
    pub event_id: String,
    pub trace_id: String,
    pub trace_seq: i64,
    pub event_type: String,
    pub occurred_at: String,
    pub recorded_at: String,
    pub source: Source,
    pub actor: Actor,
    pub idempotency_key: String,
    pub correlation_id: Option<String>,
    pub causation_event_id: Option<String>,
    pub schema_version: i64,
    pub tags: Vec<String>,
    #[serde(serialize_with = "payload_out", deserialize_with = "payload_in")]
    pub payload: String,
    pub payload_hash: String,
    /// Description of the unreadable part; absent for a whole event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl From<StoredEvent> for EventRecord {
    fn from(event: StoredEvent) -> EventRecord {
        let e = event.envelope;
        EventRecord {
            log_seq: event.log_seq,
            event_id: e.event_id,
            trace_id: e.trace_id,
            trace_seq: e.trace_seq,
            event_type: e.event_type,
            occurred_at: e.occurred_at,
            recorded_at: event.recorded_at,
            source: e.source,
            actor: e.actor,
            idempotency_key: e.idempotency_key,
            correlation_id: e.correlation_id,
            causation_event_id: e.causation_event_id,
            schema_version: e.schema_version,
            tags: e.tags,
            payload: event.payload,
            payload_hash: event.payload_hash,
            fault: event.fault,
        }
    }
}

/// Writes the payload as JSON within JSON in a readable format. A corrupted payload is written as text, and so is every
/// payload in a binary format.
fn payload_out<S: Serializer>(payload: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match serializer.is_human_readable().then(|| RawValue::from_string(payload.to_owned())) {
        Some(Ok(raw)) => raw.serialize(serializer),
        _ => serializer.serialize_str(payload),
    }
}

fn payload_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    if deserializer.is_human_readable() {
        Box::<RawValue>::deserialize(deserializer).map(|raw| String::from(Box::<str>::from(raw)))
    } else {
        String::deserialize(deserializer)
    }
}

/// Most hits per query.
pub const PRECEDENTS_MAX: i64 = 10_000;

/// Checks that the filter's arguments fit together.
///
/// # Errors
/// `invalid_argument`: limit out of range, `policy_version` without `policy_id`, `entity_id` without `entity_type`.
pub fn validate_precedents(filter: &PrecedentFilter) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(Category::InvalidArgument, message));
    if !(1..=PRECEDENTS_MAX).contains(&filter.limit) {
        return refuse(format!("limit must be 1 to {PRECEDENTS_MAX}, not {}", filter.limit));
    }
    if filter.policy_version.is_some() && filter.policy_id.is_none() {
        return refuse("policy_version needs policy_id".to_owned());
    }
    if filter.entity_id.is_some() && filter.entity_type.is_none() {
        return refuse("entity_id needs entity_type".to_owned());
    }
    Ok(())
}

/// Digests that are byte-equal to the Python reference's digests of the same log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceDigests {
    /// Digest of each projection that the reference has, as a member of its name.
    #[serde(flatten)]
    pub projections: ByName,
    /// Digest over these.
    pub full_projection: String,
    /// Position of the tenant's last event at or below the common cursor.
    pub last_log_seq: LogSeq,
}

impl ReferenceDigests {
    /// Lists all digests with their names, that over all projections last.
    pub fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = ("full_projection", self.full_projection.as_str());
        self.projections.0.iter().map(|(name, digest)| (name.as_str(), digest.as_str())).chain([all])
    }
}

/// Names with texts, in an order: the members of a JSON object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByName(pub Vec<(String, String)>);

impl Serialize for ByName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, text)| (name, text)))
    }
}

impl<'de> Deserialize<'de> for ByName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByName, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = ByName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByName, A::Error> {
                let mut members = Vec::new();
                // A member that is no text is of a newer program.
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    members.extend(value.as_str().map(|text| (name, text.to_owned())));
                }
                Ok(ByName(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_digests_are_members_in_their_order() {
        let digest = |name: &str| (name.to_owned(), format!("sha256:{name}"));
        let digests = ReferenceDigests {
            projections: ByName(["context_graph", "trace_summary", "precedent_index"].map(digest).to_vec()),
            full_projection: "sha256:all".to_owned(),
            last_log_seq: LogSeq(7),
        };
        let json = serde_json::to_string(&digests).expect("JSON");
        assert_eq!(
            json,
            r#"{"context_graph":"sha256:context_graph","trace_summary":"sha256:trace_summary","precedent_index":"sha256:precedent_index","full_projection":"sha256:all","last_log_seq":7}"#
        );
        let newer = json.replace("7}", r#"7,"of a newer program":{}}"#);
        for json in [json, newer] {
            assert_eq!(serde_json::from_str::<ReferenceDigests>(&json).expect("reads"), digests);
        }
    }

    #[test]
    fn arguments_go_together() {
        let good = PrecedentFilter { limit: 100, ..PrecedentFilter::default() };
        assert_eq!(validate_precedents(&good), Ok(()));
        let text = || Some("x".to_owned());
        for bad in [
            PrecedentFilter { limit: 0, ..good.clone() },
            PrecedentFilter { limit: 10_001, ..good.clone() },
            PrecedentFilter { policy_version: text(), ..good.clone() },
            PrecedentFilter { entity_id: text(), ..good.clone() },
        ] {
            assert_eq!(validate_precedents(&bad).expect_err("refused").category, Category::InvalidArgument);
        }
        assert_eq!(validate_precedents(&PrecedentFilter { policy_id: text(), policy_version: text(), ..good }), Ok(()));
    }

    #[test]
    fn limits_are_checked() {
        for (depth, nodes, edges) in
            [(-1, 1, 1), (11, 1, 1), (1, 0, 1), (1, 1, -5), (1, NODES_MAX + 1, 1), (1, 1, i64::MAX)]
        {
            let query = SubgraphQuery {
                max_depth: depth,
                max_nodes: nodes,
                max_edges: edges,
                ..SubgraphQuery::around("trace:a")
            };
            assert_eq!(query.validate().expect_err("refused").category, Category::InvalidArgument);
        }
    }
}
