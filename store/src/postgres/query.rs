//! Queries over the read models, and the rows of a generation as a stream.

use super::ask::Parameter;
use super::errors::During as _;
use super::values::{Id, Key};
use super::view::{Snapshot, View};
use super::{prior, rows};
use crate::columns::Stored as _;
use crate::sections::{ReadRows, ahead};
use crate::{Direction, Generation, PageLimit, Paged, PrecedentFilter, PrecedentHit, Result, RowOrder, RowStream};
use async_trait::async_trait;
use decisiongraph_projections::{LogSeq, Needs, Prior, Projection, Row, RowKey, Table, TenantId, catalogue};
use futures_util::{StreamExt as _, stream};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SQL: &str = include_str!("sql/row.sql");

/// Most rows of one chunk of a stream.
const CHUNK_ROWS: usize = 2_000;
/// Rows of its first chunk, while their size is unknown. It is also the largest factor from the rows of one chunk to
/// the next.
const FIRST_ROWS: usize = 16;
/// Target bytes of a chunk: the rows before it determine the number of rows.
const CHUNK_BYTES: usize = 1024 * 1024;

#[async_trait]
impl ReadRows for View {
    async fn prior_rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        needs: &Arc<Needs>,
        bytes_max: usize,
    ) -> Result<Option<Prior>> {
        let ask = self.ask("read the rows that a batch changes").await?;
        prior::prior_rows(&ask, tenant, projection, generation, needs, bytes_max).await
    }

    async fn rows(
        &self,
        tenant: &TenantId,
        projection: &dyn Projection,
        generation: Generation,
        table: usize,
        order: RowOrder,
    ) -> Result<RowStream> {
        // A stream is read in many steps, so it needs its own instant when the view has none.
        let snapshot = match &self.snapshot {
            Some(snapshot) => snapshot.clone(),
            None => Snapshot::open(&self.connections).await?,
        };
        all_rows(snapshot, tenant, &projection.tables()[table], generation, order).await
    }

    async fn edges_touching(
        &self,
        tenant: &TenantId,
        generation: Generation,
        nodes: &BTreeSet<String>,
        edge_types: Option<&[String]>,
        after_edge_id: Option<&str>,
        limit: PageLimit,
    ) -> Result<Paged<Row>> {
        let ask = self.ask("read the edges of nodes").await?;
        let keys: Vec<Key> = nodes.iter().map(|node| RowKey::of(node).into()).collect();
        let ids: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let rows_of: Vec<Id> = nodes.iter().map(|node| nodes_table().key_of(0, node).into()).collect();
        let (tenant, rows_max) = (tenant.as_str(), limit.one_more());
        let of: [Parameter<'_>; 8] =
            [&tenant, &generation.0, &keys, &ids, &edge_types, &after_edge_id, &rows_max, &rows_of];
        let sql = graph(sql!(SQL, "edges_touching"), generation);
        ask.paged(&sql, &of, limit, |row| rows::row_at(edges_table(), row, 0).map(Some)).await
    }

    async fn edges_of(
        &self,
        tenant: &TenantId,
        generation: Generation,
        node_id: &str,
        direction: Direction,
        after: Option<(LogSeq, &str)>,
        limit: PageLimit,
    ) -> Result<Paged<Row>> {
        let ask = self.ask("read the edges of a node").await?;
        let key = Key::from(RowKey::of(node_id));
        let row_key = Id::from(nodes_table().key_of(0, node_id));
        // Before every edge: log_seq is positive.
        let (log_seq, edge_id) = after.map_or((-1, ""), |(log_seq, edge_id)| (log_seq.0, edge_id));
        let (outgoing, incoming) = (direction != Direction::Incoming, direction != Direction::Outgoing);
        let of: [Parameter<'_>; 10] = [
            &tenant.as_str(),
            &generation.0,
            &key,
            &node_id,
            &outgoing,
            &incoming,
            &log_seq,
            &edge_id,
            &limit.one_more(),
            &row_key,
        ];
        let sql = graph(sql!(SQL, "edges_of"), generation);
        ask.paged(&sql, &of, limit, |row| rows::row_at(edges_table(), row, 0).map(Some)).await
    }

    async fn finishes(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        before: LogSeq,
        limit: usize,
    ) -> Result<Vec<(LogSeq, Arc<str>)>> {
        let ask = self.ask("list finished traces").await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = at(sql!(SQL, "finishes"), "dg_trace_summary", summaries);
        ask.all(&sql, &[&tenant.as_str(), &summaries.0, &before.0, &limit]).await
    }

    async fn precedents(
        &self,
        tenant: &TenantId,
        summaries: Generation,
        precedents: Generation,
        filter: &PrecedentFilter,
        bytes_max: usize,
    ) -> Result<Paged<PrecedentHit>> {
        let ask = self.ask("look for precedents").await?;
        let limit = PageLimit::of(usize::try_from(filter.limit).unwrap_or_default(), bytes_max);
        let sql = match filter.policy_id {
            None => sql!(SQL, "precedents_any"),
            Some(_) => sql!(SQL, "precedents_of_policy"),
        };
        let sql = at(&at(sql, "dg_trace_summary", summaries), "dg_precedent_index", precedents);
        let key = filter.policy_id.as_deref().map(|policy_id| Key::from(RowKey::of(policy_id)));
        let of: [Parameter<'_>; 10] = [
            &tenant.as_str(),
            &summaries.0,
            &filter.entity_type,
            &filter.entity_id,
            &filter.outcome,
            &limit.one_more(),
            &precedents.0,
            &key,
            &filter.policy_id,
            &filter.policy_version,
        ];
        let of = if filter.policy_id.is_some() { &of[..] } else { &of[..6] };
        ask.paged(&sql, of, limit, |row| PrecedentHit::read(row).map(Some)).await
    }
}

/// Streams all rows of a generation, through a cursor. Chunks are fetched one by one, so that a slow reader costs the
/// server nothing and several streams share one snapshot.
async fn all_rows(
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
    let fetched = stream::try_unfold(Some((snapshot, cursor, FIRST_ROWS)), move |state| async move {
        let Some((snapshot, cursor, wanted)) = state else { return Ok(None) };
        let fetch = format!("FETCH FORWARD {wanted} FROM {cursor}");
        let found = snapshot.client().query(&fetch, &[]).await.during(table.name)?;
        if found.len() < wanted {
            snapshot.client().batch_execute(&format!("CLOSE {cursor}")).await.during(table.name)?;
            return Ok(if found.is_empty() { None } else { Some((found, None)) });
        }
        let bytes = found.iter().map(tokio_postgres::Row::raw_size_bytes).sum::<usize>() / found.len();
        let next = (CHUNK_BYTES / bytes.max(1)).clamp(1, CHUNK_ROWS).min(wanted.saturating_mul(FIRST_ROWS));
        Ok(Some((found, Some((snapshot, cursor, next)))))
    });
    // The server makes the next chunk while this one is decoded, and both while the one before is used.
    let decoded = ahead(Box::pin(fetched))
        .map(|found| found?.iter().map(|row| rows::keyed_row(table, row)).collect::<Result<Vec<_>>>());
    Ok(ahead(Box::pin(decoded)))
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
