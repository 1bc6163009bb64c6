//! The queries over the read models. The hash finds a node or a policy, the text is compared as well.

use super::read::rows_limit;
use super::rows::{key_of, read_row, select_list};
use super::stretch::stretches;
use crate::{Direction, Generation, PrecedentFilter, PrecedentHit, Result};
use decisiongraph_projections::{LogSeq, Row, Table, TenantId, catalogue};
use rusqlite::types::Value as Parameter;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// The table of the edges.
fn edges() -> &'static Table {
    &catalogue::CONTEXT_GRAPH.tables()[1]
}

/// A node's edges by one of its two indexes, those with one of the [`positions`]; the condition and order are added behind.
fn edges_by(end: &str) -> String {
    format!(
        "SELECT {} FROM dg_cg_edges INDEXED BY dg_cg_edges_{end}
         WHERE tenant_id = ?1 AND generation = ?2 AND {end}_node_id_since = ?3 AND {end}_node_id_key = ?4 AND {end}_node_id = ?5",
        select_list(edges())
    )
}

/// The positions that an edge behind `after` may have beside this node, in their order: since when there is the node, or where the edge's own
/// stretch begins, or (of an edge from before there were stretches) 0. No edge is before its position.
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
    // The log of rows that are compared by a verify is elsewhere, but not their cursor.
    let end: i64 = conn
        .prepare_cached(
            "SELECT max(ifnull((SELECT max(log_seq) FROM dg_event_log), 0),
                        ifnull((SELECT max(cursor) FROM dg_scope WHERE tenant_id = ?1), 0))",
        )?
        .query_row(params![tenant.as_str()], |row| row.get(0))?;
    // A node is there since the first edge that names it, at the latest.
    let first = begun.unwrap_or_default().max(after);
    Ok([0].into_iter().chain(begun).chain(stretches(first, end)).collect())
}

/// Edges that touch one of these nodes, by the bytes of `edge_id`. One look-up a node, direction and position, each sorted and cut to
/// `limit` by the database, merged here: nothing bigger than `limit` rows is kept.
pub(super) fn edges_touching(
    conn: &Connection,
    tenant: &TenantId,
    generation: Generation,
    nodes: &BTreeSet<String>,
    edge_types: Option<&[String]>,
    after_edge_id: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>> {
    let mut condition = String::from(" AND edge_id > ?6");
    let mut fixed: Vec<Parameter> = vec![Parameter::Integer(rows_limit(limit))];
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
    let mut found: BTreeMap<String, Row> = BTreeMap::new();
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
                found.insert(edge.key().to_owned(), edge);
                if found.len() > limit {
                    found.pop_last();
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Edges of one node, by `log_seq`, `edge_id`.
pub(super) fn edges_of(
    conn: &Connection,
    tenant: &TenantId,
    generation: Generation,
    node_id: &str,
    direction: Direction,
    after: Option<(LogSeq, &str)>,
    limit: usize,
) -> Result<Vec<Row>> {
    let ends: &[&str] = match direction {
        Direction::Outgoing => &["from"],
        Direction::Incoming => &["to"],
        Direction::Both => &["from", "to"],
    };
    let (after_seq, after_id) = after.map_or((-1, ""), |(seq, id)| (seq.0, id));
    let log_seq = edges().column("log_seq");
    // By position and id, so that a self-loop, found from both ends, is there once.
    let mut found: BTreeMap<(i64, String), Row> = BTreeMap::new();
    let positions = positions(conn, tenant, generation, node_id, after_seq)?;
    for (since, end) in positions.iter().flat_map(|since| ends.iter().map(move |end| (since, end))) {
        if found.len() == limit && found.last_key_value().is_some_and(|((last, _), _)| last < since) {
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
            rows_limit(limit)
        ])?;
        while let Some(row) = rows.next()? {
            let edge = read_row(edges(), row, 0)?.row;
            found.insert((edge.0[log_seq].as_int().unwrap_or_default(), edge.key().to_owned()), edge);
            if found.len() > limit {
                found.pop_last();
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Finished traces that match, in the order of the reference.
pub(super) fn precedents(
    conn: &Connection,
    tenant: &TenantId,
    summaries: Generation,
    precedents: Generation,
    filter: &PrecedentFilter,
) -> Result<Vec<PrecedentHit>> {
    let hit = |row: &rusqlite::Row<'_>| {
        Ok(PrecedentHit {
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
        })
    };
    let hits = match &filter.policy_id {
        None => conn
            .prepare_cached(include_str!("sql/query_precedents.sql"))?
            .query_map(
                params![
                    tenant.as_str(),
                    summaries.0,
                    filter.entity_type,
                    filter.entity_id,
                    filter.outcome,
                    filter.limit
                ],
                hit,
            )?
            .collect::<rusqlite::Result<_>>()?,
        Some(policy_id) => conn
            .prepare_cached(include_str!("sql/query_precedents_of_policy.sql"))?
            .query_map(
                params![
                    tenant.as_str(),
                    summaries.0,
                    filter.entity_type,
                    filter.entity_id,
                    filter.outcome,
                    filter.limit,
                    precedents.0,
                    key_of(policy_id),
                    policy_id,
                    filter.policy_version
                ],
                hit,
            )?
            .collect::<rusqlite::Result<_>>()?,
    };
    Ok(hits)
}
