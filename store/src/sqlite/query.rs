//! The queries over the read models. The hash finds a node or a policy; the text is compared as well.

use super::errors::Result;
use super::read::{one_more, paged};
use super::rows::{key_of, read_row, select_list};
use super::stretch::stretches;
use crate::{Direction, Generation, PageLimit, Paged, PrecedentFilter, PrecedentHit};
use decisiongraph_projections::{LogSeq, Row, Table, TenantId, catalogue};
use rusqlite::types::Value as Parameter;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Returns the table of the edges.
fn edges() -> &'static Table {
    &catalogue::CONTEXT_GRAPH.tables()[1]
}

/// Writes the query of a node's edges by one of its two indexes, with one of the [`positions`]. Condition and order are
/// appended.
fn edges_by(end: &str) -> String {
    format!(
        "SELECT {} FROM dg_cg_edges INDEXED BY dg_cg_edges_{end}
         WHERE tenant_id = ?1 AND generation = ?2 AND {end}_node_id_since = ?3 AND {end}_node_id_key = ?4 AND {end}_node_id = ?5",
        select_list(edges())
    )
}

/// Returns the positions that an edge behind `after` may have beside this node, in their order. A position is the
/// creation of the node, or the start of the edge's own stretch. It is 0 for an edge from before there were stretches.
/// No edge is before its position.
fn positions(
    conn: &Connection,
    tenant: &TenantId,
    generation: Generation,
    node: &str,
    after: i64,
) -> Result<BTreeSet<i64>> {
    let nodes = &catalogue::CONTEXT_GRAPH.tables()[0];
    let begun: Option<i64> = conn
        .prepare_cached(
            "SELECT log_seq FROM dg_cg_nodes WHERE tenant_id = ?1 AND generation = ?2 AND row_key = ?3 AND node_id = ?4",
        )?
        .query_row(params![tenant.as_str(), generation.0, nodes.key_of(0, node).as_bytes(), node], |row| row.get(0))
        .optional()?;
    // The log of rows that a verify compares is elsewhere, but their cursor is here.
    let end: i64 = conn
        .prepare_cached(
            "SELECT max(ifnull((SELECT max(log_seq) FROM dg_event_log), 0),
                        ifnull((SELECT max(cursor) FROM dg_scope WHERE tenant_id = ?1), 0))",
        )?
        .query_row(params![tenant.as_str()], |row| row.get(0))?;
    // A node exists since the first edge that names it, at the latest.
    let first = begun.unwrap_or_default().max(after);
    Ok([0].into_iter().chain(begun).chain(stretches(first, end)).collect())
}

/// The first edges in an order, from several look-ups that are each in that order. Nothing larger than the limit is
/// kept.
struct First<K> {
    found: BTreeMap<K, Row>,
    bytes: usize,
    limit: PageLimit,
    /// First edge that did not fit; none from there on is taken.
    cut: Option<K>,
}

impl<K: Ord + Clone> First<K> {
    fn of(limit: PageLimit) -> First<K> {
        First { found: BTreeMap::new(), bytes: 0, limit, cut: None }
    }

    /// Takes an edge, if it is among the first ones. False when it is behind them, as are the later edges of the same
    /// look-up.
    fn offer(&mut self, key: K, edge: Row) -> bool {
        if self.cut.as_ref().is_some_and(|cut| key >= *cut) {
            return false;
        }
        self.bytes += edge.bytes();
        if let Some(same) = self.found.insert(key, edge) {
            self.bytes -= same.bytes();
        }
        let over = |first: &Self| {
            let rows = first.found.len();
            rows > first.limit.rows_max || (first.bytes > first.limit.bytes_max && rows > 1)
        };
        while over(self)
            && let Some((key, edge)) = self.found.pop_last()
        {
            self.bytes -= edge.bytes();
            self.cut = Some(key);
        }
        true
    }

    fn page(self) -> Paged<Row> {
        Paged { items: self.found.into_values().collect(), more: self.cut.is_some() }
    }
}

/// Reads edges that touch one of these nodes, by the bytes of `edge_id`. One look-up per node, direction and position,
/// each sorted and cut by the database, merged here.
pub(super) fn edges_touching(
    conn: &Connection,
    tenant: &TenantId,
    generation: Generation,
    nodes: &BTreeSet<String>,
    edge_types: Option<&[String]>,
    after_edge_id: Option<&str>,
    limit: PageLimit,
) -> Result<Paged<Row>> {
    let mut condition = String::from(" AND edge_id > ?6");
    let mut fixed: Vec<Parameter> = vec![Parameter::Integer(one_more(limit))];
    if let Some(types) = edge_types {
        let marks = (0..types.len()).map(|n| format!("?{}", n + 8)).collect::<Vec<_>>().join(", ");
        condition.push_str(&format!(" AND edge_type IN ({marks})"));
        fixed.extend(types.iter().map(|edge_type| Parameter::Text(edge_type.clone())));
    }
    condition.push_str(" ORDER BY edge_id LIMIT ?7");
    let mut sought = Vec::new();
    for node in nodes {
        sought.extend(positions(conn, tenant, generation, node, 0)?.into_iter().map(|since| (node, since)));
    }
    let mut first: First<String> = First::of(limit);
    for end in ["from", "to"] {
        let mut statement = conn.prepare_cached(&(edges_by(end) + &condition))?;
        for (node, since) in &sought {
            let mut parameters = vec![
                Parameter::Text(tenant.as_str().to_owned()),
                Parameter::Integer(generation.0),
                Parameter::Integer(*since),
                Parameter::Blob(key_of(node).to_vec()),
                Parameter::Text((*node).clone()),
                Parameter::Text(after_edge_id.unwrap_or_default().to_owned()),
            ];
            parameters.extend(fixed.iter().cloned());
            let mut rows = statement.query(params_from_iter(parameters))?;
            while let Some(row) = rows.next()? {
                let edge = read_row(edges(), row, 0)?.row;
                if !first.offer(edge.key().to_owned(), edge) {
                    break;
                }
            }
        }
    }
    Ok(first.page())
}

/// Reads edges of one node, by `log_seq`, `edge_id`.
pub(super) fn edges_of(
    conn: &Connection,
    tenant: &TenantId,
    generation: Generation,
    node_id: &str,
    direction: Direction,
    after: Option<(LogSeq, &str)>,
    limit: PageLimit,
) -> Result<Paged<Row>> {
    let ends: &[&str] = match direction {
        Direction::Outgoing => &["from"],
        Direction::Incoming => &["to"],
        Direction::Both => &["from", "to"],
    };
    let (after_seq, after_id) = after.map_or((-1, ""), |(seq, id)| (seq.0, id));
    let log_seq = edges().column("log_seq");
    // By position and id, so that a self-loop, found from both ends, occurs once.
    let mut first: First<(i64, String)> = First::of(limit);
    let positions = positions(conn, tenant, generation, node_id, after_seq)?;
    for (since, end) in positions.iter().flat_map(|since| ends.iter().map(move |end| (since, end))) {
        // No edge is before its position.
        if first.cut.as_ref().is_some_and(|(cut, _)| cut < since) {
            break;
        }
        let sql =
            edges_by(end) + " AND log_seq >= ?6 AND (log_seq > ?6 OR edge_id > ?7) ORDER BY log_seq, edge_id LIMIT ?8";
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![
            tenant.as_str(),
            generation.0,
            since,
            key_of(node_id),
            node_id,
            after_seq,
            after_id,
            one_more(limit)
        ])?;
        while let Some(row) = rows.next()? {
            let edge = read_row(edges(), row, 0)?.row;
            let key = (edge.0[log_seq].as_int().unwrap_or_default(), edge.key().to_owned());
            if !first.offer(key, edge) {
                break;
            }
        }
    }
    Ok(first.page())
}

/// Reads finished traces that match, in the order of the reference.
pub(super) fn precedents(
    conn: &Connection,
    tenant: &TenantId,
    summaries: Generation,
    precedents: Generation,
    filter: &PrecedentFilter,
    bytes_max: usize,
) -> Result<Paged<PrecedentHit>> {
    let hit = |row: &rusqlite::Row<'_>| {
        Ok(Some(PrecedentHit {
            trace_id: row.get(0)?,
            workflow: row.get(1)?,
            title: row.get(2)?,
            outcome: row.get(3)?,
            finished_at: row.get(4)?,
            last_log_seq: LogSeq(row.get(5)?),
            primary_entity_type: row.get(6)?,
            primary_entity_id: row.get(7)?,
            policy_id: row.get(8)?,
            policy_version: row.get(9)?,
            exception_id: row.get(10)?,
        }))
    };
    let limit = PageLimit::of(usize::try_from(filter.limit).unwrap_or_default(), bytes_max);
    let (tenant, rows_max) = (tenant.as_str(), one_more(limit));
    let PrecedentFilter { entity_type, entity_id, outcome, policy_version, .. } = filter;
    match &filter.policy_id {
        None => {
            let mut statement = conn.prepare_cached(include_str!("sql/query_precedents.sql"))?;
            let of = params![tenant, summaries.0, entity_type, entity_id, outcome, rows_max];
            paged(statement.query(of)?, limit, hit)
        }
        Some(policy_id) => {
            let mut statement = conn.prepare_cached(include_str!("sql/query_precedents_of_policy.sql"))?;
            let of = params![
                tenant,
                summaries.0,
                entity_type,
                entity_id,
                outcome,
                rows_max,
                precedents.0,
                key_of(policy_id),
                policy_id,
                policy_version
            ];
            paged(statement.query(of)?, limit, hit)
        }
    }
}
