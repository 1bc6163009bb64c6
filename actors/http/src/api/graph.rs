//! The context graph and the precedents.

use super::call::Call;
use super::fault::{Answered, Fault};
use super::objects;
use super::validator::{unchanged, validated};
use decisiongraph_engine::queries::EdgeCursor;
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::query::{EDGES_PAGE_MAX, EdgesPage, EdgesQuery, Staleness, SubgraphQuery};
use decisiongraph_protocol::{EdgesRequest, PrecedentsRequest, ReadReply, SubgraphRequest};
use decisiongraph_store::{Direction, PrecedentFilter};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

/// Pages of a node's edges that a look-up of a cursor reads, at most.
const LOOKUP_PAGES_MAX: usize = 10;

/// Adds what a stale answer lacks.
pub(super) fn with_staleness(mut data: Value, stale: Option<&Staleness>) -> Value {
    if let Some(stale) = stale {
        data["stale"] = serde_json::to_value(stale).unwrap_or_default();
    }
    data
}

/// Returns the key of the node that the query names.
fn node_key(call: &Call) -> Result<String, Fault> {
    Ok(format!("{}:{}", call.query.needed("node_type")?, call.query.needed("node_id")?))
}

/// `GET /graph/context`.
pub fn context(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let node_id = node_key(&call)?;
        if let Some(unchanged) = unchanged(&call, &["context_graph"]).await? {
            return unchanged;
        }
        let number = |key: &str, default| Ok::<i64, Fault>(call.query.number(key)?.unwrap_or(default));
        let request = SubgraphRequest {
            tenant: call.tenant.clone(),
            freshness: call.query.freshness()?,
            query: SubgraphQuery {
                node_id,
                max_depth: number("max_depth", 1)?,
                max_nodes: number("max_nodes", 100)?,
                max_edges: number("max_edges", 100)?,
                node_types: call.query.list("node_types"),
                edge_types: call.query.list("edge_types"),
            },
        };
        let ReadReply { stale, rows, answer, .. } = call.ask(request).await?;
        let data = json!({
            "center": { "node_type": call.query.needed("node_type")?, "node_id": call.query.needed("node_id")? },
            "nodes": answer.nodes.iter().map(objects::node).collect::<Vec<_>>(),
            "edges": answer.edges.iter().map(objects::edge).collect::<Vec<_>>(),
            "truncated": answer.truncated,
        });
        Ok(validated(call.data(with_staleness(data, stale.as_ref()))?, &rows))
    }
    .boxed()
}

/// `GET /graph/edges`.
pub fn edges(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let word = call.query.one("direction")?.unwrap_or("both");
        let direction =
            objects::direction(word).ok_or_else(|| Fault::invalid("`direction` must be both, incoming or outgoing"))?;
        let node_id = node_key(&call)?;
        if let Some(unchanged) = unchanged(&call, &["context_graph"]).await? {
            return unchanged;
        }
        let cursor = cursor(&call, &node_id, direction).await?;
        let query = EdgesQuery { node_id, direction, cursor, limit: call.query.number("limit")?.unwrap_or(100) };
        let ReadReply { stale, rows, answer, .. } = page(&call, query).await?;
        let next =
            answer.next_cursor.as_deref().and_then(|text| EdgeCursor::decode(text).ok().map(|cursor| (text, cursor)));
        let next = next.map(|(text, cursor)| {
            json!({
                "edge_key": cursor.edge_id, "direction": cursor.direction.as_str(), "log_seq": cursor.log_seq,
                "cursor": text,
            })
        });
        let edges: Vec<Value> = answer.edges.iter().map(objects::edge).collect();
        let data = with_staleness(json!({ "edges": edges, "next_cursor": next }), stale.as_ref());
        Ok(validated(call.data(data)?, &rows))
    }
    .boxed()
}

async fn page(call: &Call, query: EdgesQuery) -> Result<ReadReply<EdgesPage>, Fault> {
    call.ask(EdgesRequest { tenant: call.tenant.clone(), freshness: call.query.freshness()?, query }).await
}

/// Returns the cursor of the query: the opaque one, or that of an edge's key, whose position may be left out.
async fn cursor(call: &Call, node_id: &str, direction: Direction) -> Result<Option<String>, Fault> {
    if let Some(cursor) = call.query.one("cursor")? {
        return Ok(Some(cursor.to_owned()));
    }
    let Some(edge_id) = call.query.one("cursor_edge_key")? else { return Ok(None) };
    let at = |log_seq: LogSeq| EdgeCursor { direction, log_seq, edge_id: edge_id.to_owned() }.encode();
    if let Some(log_seq) = call.query.position("cursor_log_seq")? {
        return Ok(Some(at(log_seq)));
    }
    let mut behind = None;
    for _ in 0..LOOKUP_PAGES_MAX {
        let query = EdgesQuery { node_id: node_id.to_owned(), direction, cursor: behind, limit: EDGES_PAGE_MAX };
        let found = page(call, query).await?.answer;
        if let Some(edge) = found.edges.iter().find(|edge| edge.edge_id == edge_id) {
            return Ok(Some(at(edge.log_seq)));
        }
        behind = found.next_cursor;
        if behind.is_none() {
            return Err(Fault::invalid("the node has no edge of this `cursor_edge_key` in this direction"));
        }
    }
    Err(Fault::invalid("the node has too many edges for a look-up: give `cursor_log_seq` as well"))
}

/// `GET /precedents`.
pub fn precedents(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let text = |key: &str| Ok::<_, Fault>(call.query.one(key)?.map(str::to_owned));
        let query = PrecedentFilter {
            policy_id: text("policy_id")?,
            policy_version: text("policy_version")?,
            entity_type: text("entity_type")?,
            entity_id: text("entity_id")?,
            outcome: text("outcome")?,
            limit: call.query.number("limit")?.unwrap_or(100),
        };
        if let Some(unchanged) = unchanged(&call, &["trace_summary", "precedent_index"]).await? {
            return unchanged;
        }
        let request = PrecedentsRequest { tenant: call.tenant.clone(), freshness: call.query.freshness()?, query };
        let ReadReply { stale, rows, answer, .. } = call.ask(request).await?;
        let data = with_staleness(json!({ "precedents": answer.hits }), stale.as_ref());
        Ok(validated(call.data(data)?, &rows))
    }
    .boxed()
}
