//! The rows of projections, and queries over the read models. The hash finds a node or a policy; the text is compared
//! as well.

use super::ask::Ask as _;
use super::errors::Result;
use super::read::in_order;
use super::rows::{collision, existence_sql, key_of, lookup_sql, read_row, select_list};
use super::stream;
use super::stretch::stretches;
use super::view::{View, hold};
use crate::columns::Stored as _;
use crate::sections::ReadRows;
use crate::{Direction, Generation, PageLimit, Paged, PrecedentFilter, PrecedentHit, RowOrder, RowStream};
use async_trait::async_trait;
use decisiongraph_projections::{Fetch, LogSeq, Needs, Prior, Projection, Row, Table, TenantId, catalogue};
use rusqlite::types::Value as Parameter;
use rusqlite::{Connection, params, params_from_iter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const SQL: &str = include_str!("sql/row.sql");

#[async_trait]
impl ReadRows for View {
    async fn prior_rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        needs: &Arc<Needs>,
        bytes_max: usize,
    ) -> crate::Result<Option<Prior>> {
        let (tenant, tables, needs) = (tenant.clone(), projection.tables(), Arc::clone(needs));
        self.read(move |conn| prior_rows(conn, &tenant, tables, generation, &needs, bytes_max)).await
    }

    async fn rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        table: usize,
        order: RowOrder,
    ) -> crate::Result<RowStream> {
        let table = &projection.tables()[table];
        // Outside a snapshot, the stream opens its own.
        let reader = match &self.held {
            Some(held) => held.clone(),
            None => hold(&self.database).await?,
        };
        Ok(stream::rows(reader, table, tenant.clone(), generation, order).await?)
    }

    async fn edges_touching(
        &self,
        tenant: &TenantId,
        generation: Generation,
        nodes: &BTreeSet<String>,
        edge_types: Option<&[String]>,
        after_edge_id: Option<&str>,
        limit: PageLimit,
    ) -> crate::Result<Paged<Row>> {
        let (tenant, nodes) = (tenant.clone(), nodes.clone());
        let edge_types = edge_types.map(<[String]>::to_vec);
        let after = after_edge_id.map(str::to_owned);
        self.read(move |conn| {
            edges_touching(conn, &tenant, generation, &nodes, edge_types.as_deref(), after.as_deref(), limit)
        })
        .await
    }

    async fn edges_of(
        &self,
        tenant: &TenantId,
        generation: Generation,
        node_id: &str,
        direction: Direction,
        after: Option<(LogSeq, &str)>,
        limit: PageLimit,
    ) -> crate::Result<Paged<Row>> {
        let (tenant, node_id) = (tenant.clone(), node_id.to_owned());
        let after = after.map(|(log_seq, edge_id)| (log_seq, edge_id.to_owned()));
        self.read(move |conn| {
            let after = after.as_ref().map(|(log_seq, edge_id)| (*log_seq, edge_id.as_str()));
            edges_of(conn, &tenant, generation, &node_id, direction, after, limit)
        })
        .await
    }

    async fn finishes(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        before: LogSeq,
        limit: usize,
    ) -> crate::Result<Vec<(LogSeq, Arc<str>)>> {
        let (tenant, limit) = (tenant.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
        self.read(move |conn| conn.all(sql!(SQL, "finishes"), params![tenant.as_str(), summaries.0, before.0, limit]))
            .await
    }

    async fn precedents(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        precedents: Generation,
        filter: &PrecedentFilter,
        bytes_max: usize,
    ) -> crate::Result<Paged<PrecedentHit>> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.read(move |conn| find_precedents(conn, &tenant, summaries, precedents, &filter, bytes_max)).await
    }
}

/// Reads the rows that a batch must know; none when they have more bytes than the bound.
fn prior_rows(
    conn: &Connection,
    tenant: &TenantId,
    tables: &'static [Table],
    generation: Generation,
    needs: &Needs,
    bytes_max: usize,
) -> Result<Option<Prior>> {
    let mut prior = Prior::empty(needs);
    let mut bytes = 0;
    for (index, need) in needs.rows.iter().enumerate() {
        let table = &tables[need.table];
        match need.fetch {
            Fetch::Existence => {
                let mut statement = conn.prepare_cached(&existence_sql(table))?;
                for (key, value) in in_order(&need.values, |value| table.key_of(0, value)) {
                    let mut rows = statement.query(params![tenant.as_str(), generation.0, key.as_bytes()])?;
                    let Some(row) = rows.next()? else { continue };
                    if row.get_ref(0)?.as_bytes().ok() != Some(value.as_bytes()) {
                        return Err(collision(table.columns[0].name).into());
                    }
                    // The text is one of the requested values, so it takes no memory of its own.
                    prior.existing[index].insert(Arc::clone(value));
                }
            }
            Fetch::Rows => {
                let mut statement = conn.prepare_cached(&lookup_sql(table, need.by))?;
                for (key, value) in in_order(&need.values, |value| table.key_of(need.by, value)) {
                    let mut rows = statement.query(params![tenant.as_str(), generation.0, key.as_bytes()])?;
                    while let Some(row) = rows.next()? {
                        let found = read_row(table, row, 0)?.row;
                        if found.0[need.by].as_str() != Some(&**value) {
                            return Err(collision(table.columns[need.by].name).into());
                        }
                        bytes += found.bytes();
                        if bytes > bytes_max {
                            return Ok(None);
                        }
                        prior.rows[index].push(found);
                    }
                }
            }
        }
    }
    Ok(Some(prior))
}

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
    let key = nodes.key_of(0, node);
    let of = params![tenant.as_str(), generation.0, key.as_bytes(), node];
    let begun: Option<(i64,)> = conn.first(sql!(SQL, "node_begun"), of)?;
    let begun = begun.map(|(begun,)| begun);
    let (end,): (i64,) = conn.one(sql!(SQL, "log_end"), [tenant.as_str()])?;
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
fn edges_touching(
    conn: &Connection,
    tenant: &TenantId,
    generation: Generation,
    nodes: &BTreeSet<String>,
    edge_types: Option<&[String]>,
    after_edge_id: Option<&str>,
    limit: PageLimit,
) -> Result<Paged<Row>> {
    let mut condition = String::from(" AND edge_id > ?6");
    let mut fixed: Vec<Parameter> = vec![Parameter::Integer(limit.one_more())];
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
fn edges_of(
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
            limit.one_more()
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
fn find_precedents(
    conn: &Connection,
    tenant: &TenantId,
    summaries: Generation,
    precedents: Generation,
    filter: &PrecedentFilter,
    bytes_max: usize,
) -> Result<Paged<PrecedentHit>> {
    let hit = |row: &rusqlite::Row<'_>| PrecedentHit::read(row).map(Some);
    let limit = PageLimit::of(usize::try_from(filter.limit).unwrap_or_default(), bytes_max);
    let (tenant, rows_max) = (tenant.as_str(), limit.one_more());
    let PrecedentFilter { entity_type, entity_id, outcome, policy_version, .. } = filter;
    match &filter.policy_id {
        None => {
            let of = params![tenant, summaries.0, entity_type, entity_id, outcome, rows_max];
            conn.paged(sql!(SQL, "precedents_any"), of, limit, hit)
        }
        Some(policy_id) => {
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
            conn.paged(sql!(SQL, "precedents_of_policy"), of, limit, hit)
        }
    }
}
