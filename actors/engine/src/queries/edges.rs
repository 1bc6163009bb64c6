//! The edges of one node, one page at a time.
//!
//! The cursor is opaque and carries `log_seq`, `edge_id` and the direction. A page goes on exactly behind the last edge
//! shown, whatever was added meanwhile.

use super::rows::{by_key, edge_of};
use decisiongraph_projections::catalogue::CONTEXT_GRAPH;
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId};
use decisiongraph_protocol::query::{EDGES_PAGE_MAX, Edge, EdgesPage, EdgesQuery, READ_BYTES_MAX};
use decisiongraph_store::{Direction, Generation, PageLimit, ReadView, Result};
use std::collections::BTreeSet;

/// A place between two edges of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeCursor {
    /// Direction of the listing.
    pub direction: Direction,
    /// Position of the last edge shown.
    pub log_seq: LogSeq,
    /// Id of the last edge shown.
    pub edge_id: String,
}

impl EdgeCursor {
    /// Encodes the cursor as opaque text: `e1` and hexadecimal digits.
    pub fn encode(&self) -> String {
        let inner = format!("{}:{}:{}", self.direction.as_str(), self.log_seq, self.edge_id);
        let mut out = String::with_capacity(2 + inner.len() * 2);
        out.push_str("e1");
        for byte in inner.bytes() {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        out
    }

    /// Reads the opaque text.
    pub fn decode(text: &str) -> std::result::Result<EdgeCursor, Refusal> {
        let read = || {
            let digits = text.strip_prefix("e1")?.as_bytes();
            let nibble = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
            let bytes = digits
                .chunks(2)
                .map(|pair| match pair {
                    [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
                    _ => None,
                })
                .collect::<Option<Vec<u8>>>()?;
            let inner = String::from_utf8(bytes).ok()?;
            let mut parts = inner.splitn(3, ':');
            let direction = match parts.next()? {
                "outgoing" => Direction::Outgoing,
                "incoming" => Direction::Incoming,
                "both" => Direction::Both,
                _ => return None,
            };
            Some(EdgeCursor {
                direction,
                log_seq: LogSeq(parts.next()?.parse().ok()?),
                edge_id: parts.next()?.to_owned(),
            })
        };
        read().ok_or_else(|| refuse("the cursor did not come from `edges`"))
    }
}

fn refuse(message: impl Into<String>) -> Refusal {
    Refusal::new(Category::InvalidArgument, message)
}

/// True when the graph has this node.
pub async fn has_node(
    view: &dyn ReadView,
    tenant: &TenantId,
    generation: Option<Generation>,
    node_id: &str,
) -> Result<bool> {
    let Some(generation) = generation else { return Ok(false) };
    let wanted = BTreeSet::from([node_id.to_owned()]);
    Ok(!by_key(view, tenant, CONTEXT_GRAPH, generation, 0, wanted).await?.is_empty())
}

/// True when an edge of this trace, whose events are between these positions, touches the node.
pub(super) async fn edges_within(
    view: &dyn ReadView,
    tenant: &TenantId,
    generation: Option<Generation>,
    node_id: &str,
    (first, last): (LogSeq, LogSeq),
    trace_id: &str,
) -> Result<bool> {
    const LIMIT: PageLimit = PageLimit::of(100, READ_BYTES_MAX);
    let Some(generation) = generation else { return Ok(false) };
    let mut after = (LogSeq(first.0 - 1), String::new());
    loop {
        let behind = Some((after.0, after.1.as_str()));
        let page = view.edges_of(tenant, generation, node_id, Direction::Both, behind, LIMIT).await?;
        for edge in page.items.iter().map(edge_of) {
            if edge.log_seq > last {
                return Ok(false);
            }
            if edge.trace_id == trace_id {
                return Ok(true);
            }
            after = (edge.log_seq, edge.edge_id);
        }
        if !page.more {
            return Ok(false);
        }
    }
}

/// Reads one page of the node's edges.
pub async fn edges(
    view: &dyn ReadView,
    tenant: &TenantId,
    generation: Option<Generation>,
    query: &EdgesQuery,
) -> Result<EdgesPage> {
    if query.limit <= 0 {
        return Err(refuse(format!("limit must be at least 1, not {}", query.limit)).into());
    }
    let after = query.cursor.as_deref().map(EdgeCursor::decode).transpose()?;
    if let Some(cursor) = &after
        && cursor.direction != query.direction
    {
        return Err(refuse(format!(
            "the cursor belongs to direction {}, not {}",
            cursor.direction.as_str(),
            query.direction.as_str()
        ))
        .into());
    }
    let Some(generation) = generation else { return Ok(EdgesPage::default()) };
    let limit = PageLimit::of(query.limit.min(EDGES_PAGE_MAX) as usize, READ_BYTES_MAX);
    let after = after.as_ref().map(|cursor| (cursor.log_seq, cursor.edge_id.as_str()));
    let page = view.edges_of(tenant, generation, &query.node_id, query.direction, after, limit).await?;
    let edges: Vec<Edge> = page.items.iter().map(edge_of).collect();
    let next_cursor = page.more.then(|| edges.last()).flatten().map(|last| {
        EdgeCursor { direction: query.direction, log_seq: last.log_seq, edge_id: last.edge_id.clone() }.encode()
    });
    Ok(EdgesPage { edges, next_cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = EdgeCursor {
            direction: Direction::Incoming,
            log_seq: LogSeq(42),
            edge_id: "a:日本:\u{2028}\":ev".to_owned(),
        };
        let text = cursor.encode();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(EdgeCursor::decode(&text), Ok(cursor));
        for bad in ["", "e1", "e1zz", "e1ff", "x", &text[..text.len() - 1], "e16f757467"] {
            assert_eq!(EdgeCursor::decode(bad).expect_err(bad).category, Category::InvalidArgument);
        }
    }
}
