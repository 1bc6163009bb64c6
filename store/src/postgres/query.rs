//! Queries over the read models, and the rows of a generation as a stream.

use super::errors::During as _;
use super::read::paged;
use super::rows;
use super::values::{Id, Key};
use super::view::Snapshot;
use crate::{Direction, Generation, PageLimit, Paged, PrecedentFilter, PrecedentHit, Result, RowOrder, RowStream};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{LogSeq, Row, RowKey, Table, TenantId, catalogue};
use futures_util::stream;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::types::ToSql;

/// Most rows of one chunk of a stream.
const CHUNK_ROWS: usize = 2_000;
/// Rows of its first chunk, while their size is unknown. It is also the largest factor from the rows of one chunk to
/// the next.
const FIRST_ROWS: usize = 16;
/// Target bytes of a chunk: the rows before it determine the number of rows.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Streams all rows of a generation, through a cursor. Chunks are fetched one by one, so that a slow reader costs the
/// server nothing and several streams share one snapshot.
pub(super) async fn rows(
    snapshot: Arc<Snapshot>,
    tenant: &TenantId,
    table: &'static Table,
    generation: Generation,
    order: RowOrder,
) -> Result<RowStream> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let cursor = format!("dg_rows_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let leaf = rows::leaf(table.name, generation);
    let by = match order {
        RowOrder::Key => "row_key",
        RowOrder::Text => table.columns[0].name,
    };
    if rows::is_own(generation) {
        let exists = snapshot.client().query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&leaf]).await;
        if !exists.during(table.name)?.get::<_, bool>(0) {
            return Ok(Box::pin(stream::empty()));
        }
    }
    // DECLARE takes no parameters; the tenant is quoted as the server does it.
    let declare = format!(
        "DECLARE {cursor} NO SCROLL CURSOR FOR SELECT row_key, {}{} FROM {leaf} WHERE tenant_id = {} AND generation = {generation} \
         ORDER BY {by}",
        rows::column_list(table, ""),
        rows::since_list(table),
        quoted(tenant.as_str()),
    );
    snapshot.client().batch_execute(&declare).await.during(table.name)?;
    Ok(Box::pin(stream::try_unfold(Some((snapshot, cursor, FIRST_ROWS)), move |state| async move {
        let Some((snapshot, cursor, wanted)) = state else { return Ok(None) };
        let fetch = format!("FETCH FORWARD {wanted} FROM {cursor}");
        let found = snapshot.client().query(&fetch, &[]).await.during(table.name)?;
        let chunk = found.iter().map(|row| rows::keyed_row(table, row)).collect::<Result<Vec<_>>>()?;
        if chunk.len() < wanted {
            snapshot.client().batch_execute(&format!("CLOSE {cursor}")).await.during(table.name)?;
            return Ok(if chunk.is_empty() { None } else { Some((chunk, None)) });
        }
        let bytes = chunk.iter().map(|row| row.row.bytes()).sum::<usize>() / chunk.len();
        let next = (CHUNK_BYTES / bytes.max(1)).clamp(1, CHUNK_ROWS).min(wanted.saturating_mul(FIRST_ROWS));
        Ok(Some((chunk, Some((snapshot, cursor, next)))))
    })))
}

/// Writes a string literal with every special character escaped, whatever `standard_conforming_strings` says.
fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn nodes_table() -> &'static Table {
    &catalogue::CONTEXT_GRAPH.tables()[0]
}

fn edges_table() -> &'static Table {
    &catalogue::CONTEXT_GRAPH.tables()[1]
}

/// Replaces the edges and nodes of a statement of the files by the tables of a generation.
fn graph(sql: &str, generation: Generation) -> String {
    catalogue::CONTEXT_GRAPH.tables().iter().fold(sql.to_owned(), |sql, table| at(&sql, table.name, generation))
}

/// Names the partition of a generation in a statement of the files.
fn at(sql: &str, table: &str, generation: Generation) -> String {
    sql.replace(&format!("{table}_leaf"), &rows::leaf(table, generation))
}

pub(super) async fn edges_touching(
    client: &ClientWrapper,
    tenant: &TenantId,
    generation: Generation,
    nodes: &BTreeSet<String>,
    edge_types: Option<&[String]>,
    after_edge_id: Option<&str>,
    limit: PageLimit,
) -> Result<Paged<Row>> {
    let what = "read the edges of nodes";
    let table = edges_table();
    let statement =
        client.prepare_cached(&graph(include_str!("sql/edges_touching.sql"), generation)).await.during(what)?;
    let keys: Vec<Key> = nodes.iter().map(|node| RowKey::of(node).into()).collect();
    let ids: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let rows_of: Vec<Id> = nodes.iter().map(|node| nodes_table().key_of(0, node).into()).collect();
    let rows_max = one_more(limit);
    let of: [&(dyn ToSql + Sync); 8] =
        [&tenant.as_str(), &generation.0, &keys, &ids, &edge_types, &after_edge_id, &rows_max, &rows_of];
    paged(client, &statement, &of, limit, what, |row| rows::row_at(table, row, 0).map(Some)).await
}

pub(super) async fn edges_of(
    client: &ClientWrapper,
    tenant: &TenantId,
    generation: Generation,
    node_id: &str,
    direction: Direction,
    after: Option<(LogSeq, &str)>,
    limit: PageLimit,
) -> Result<Paged<Row>> {
    let what = "read the edges of a node";
    let table = edges_table();
    let statement = client.prepare_cached(&graph(include_str!("sql/edges_of.sql"), generation)).await.during(what)?;
    let key = Key::from(RowKey::of(node_id));
    let row_key = Id::from(nodes_table().key_of(0, node_id));
    let rows_max = one_more(limit);
    // Before every edge: log_seq is positive.
    let (log_seq, edge_id) = after.map_or((-1, ""), |(log_seq, edge_id)| (log_seq.0, edge_id));
    let (outgoing, incoming) = (direction != Direction::Incoming, direction != Direction::Outgoing);
    let of: [&(dyn ToSql + Sync); 10] = [
        &tenant.as_str(),
        &generation.0,
        &key,
        &node_id,
        &outgoing,
        &incoming,
        &log_seq,
        &edge_id,
        &rows_max,
        &row_key,
    ];
    paged(client, &statement, &of, limit, what, |row| rows::row_at(table, row, 0).map(Some)).await
}

/// Returns one row more than a page may hold, to see if the list goes on.
fn one_more(limit: PageLimit) -> i64 {
    i64::try_from(limit.rows_max.saturating_add(1)).unwrap_or(i64::MAX)
}

pub(super) async fn precedents(
    client: &ClientWrapper,
    tenant: &TenantId,
    summaries: Generation,
    precedents: Generation,
    filter: &PrecedentFilter,
    bytes_max: usize,
) -> Result<Paged<PrecedentHit>> {
    let what = "look for precedents";
    let limit = PageLimit::of(usize::try_from(filter.limit).unwrap_or_default(), bytes_max);
    let (tenant, rows_max) = (tenant.as_str(), one_more(limit));
    let (entity_type, entity_id, outcome) = (&filter.entity_type, &filter.entity_id, &filter.outcome);
    let sql = match filter.policy_id {
        None => include_str!("sql/precedents_any.sql"),
        Some(_) => include_str!("sql/precedents_of_policy.sql"),
    };
    let sql = at(&at(sql, "dg_trace_summary", summaries), "dg_precedent_index", precedents);
    let statement = client.prepare_cached(&sql).await.during(what)?;
    let key = filter.policy_id.as_deref().map(|policy_id| Key::from(RowKey::of(policy_id)));
    let of: [&(dyn ToSql + Sync); 10] = [
        &tenant,
        &summaries.0,
        entity_type,
        entity_id,
        outcome,
        &rows_max,
        &precedents.0,
        &key,
        &filter.policy_id,
        &filter.policy_version,
    ];
    let of = if filter.policy_id.is_some() { &of[..] } else { &of[..6] };
    paged(client, &statement, of, limit, what, |row| {
        Ok(Some(PrecedentHit {
            trace_id: row.get(0),
            workflow: row.get(1),
            title: row.get(2),
            outcome: row.get(3),
            finished_at: row.get(4),
            last_log_seq: LogSeq(row.get(5)),
            primary_entity_type: row.get(6),
            primary_entity_id: row.get(7),
            policy_id: row.get(8),
            policy_version: row.get(9),
            exception_id: row.get(10),
        }))
    })
    .await
}
