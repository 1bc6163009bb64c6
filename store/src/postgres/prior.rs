//! The prior state of a batch: set look-ups by identity, one statement per entry of [`Needs`], all under way at once.

use super::errors::{During as _, answers};
use super::rows;
use super::values::Id;
use crate::{Generation, Result, StoreError};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Fetch, Needs, Prior, Projection, RowsNeed, Table, TenantId};
use futures_util::TryStreamExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_postgres::types::ToSql;

pub(super) async fn prior_rows(
    client: &ClientWrapper,
    tenant: &TenantId,
    projection: &dyn Projection,
    generation: Generation,
    needs: &Needs,
    bytes_max: usize,
) -> Result<Option<Prior>> {
    let mut prior = Prior::empty(needs);
    let tenant = tenant.as_str();
    let mut asked = Vec::new();
    for (index, need) in needs.rows.iter().enumerate().filter(|(_, need)| !need.values.is_empty()) {
        let table = &projection.tables()[need.table];
        let statement = statement(table, need, &rows::leaf(table.name, generation));
        let statement = client.prepare_cached(&statement).await.during(table.name)?;
        // In the order of the index.
        let mut keys: Vec<Id> = need.values.iter().map(|value| Id(table.key_of(need.by, value))).collect();
        keys.sort_unstable();
        keys.dedup();
        asked.push((index, need, table, statement, keys));
    }
    let bytes = AtomicUsize::new(0);
    let found = answers(asked.iter().map(|(_, need, table, statement, keys)| {
        let bytes = &bytes;
        async move {
            let of: [&(dyn ToSql + Sync); 3] = [&tenant, &generation.0, keys];
            let rows = client.query_raw(statement, of).await.during(table.name)?;
            let (mut rows, mut found) = (std::pin::pin!(rows), Vec::new());
            while let Some(row) = rows.try_next().await.during(table.name)? {
                // For existence alone, the batch already has the text.
                let size = if need.fetch == Fetch::Rows { row.raw_size_bytes() } else { 0 };
                if bytes.fetch_add(size, Ordering::Relaxed) + size > bytes_max {
                    return Ok(None);
                }
                found.push(row);
            }
            Ok(Some(found))
        }
    }))
    .await?;
    for ((index, need, table, ..), found) in asked.iter().zip(found) {
        let Some(found) = found else { return Ok(None) };
        for row in found {
            let text: &str = row.get(0);
            if !need.values.contains(text) {
                let column = table.columns[need.by].name;
                return Err(StoreError::internal(format!(
                    "{}.{column}: two different texts have the same 128-bit hash",
                    table.name
                )));
            }
            match need.fetch {
                Fetch::Existence => {
                    prior.existing[*index].insert(text.into());
                }
                Fetch::Rows => prior.rows[*index].push(rows::row_at(table, &row, 1)?),
            }
        }
    }
    Ok(Some(prior))
}

/// Writes the look-up. `$1` tenant, `$2` generation, `$3` hashes of the requested values. The hashed text comes first,
/// for comparison.
///
/// LATERAL with LIMIT or OFFSET gives one index look-up per value, whatever the planner believes of the table's size.
/// The key is given as a range of one, and in its order. A planner that has seen the table empty cannot tell indexes
/// that begin with tenant and generation apart by plain equality. It would then keep its plan.
fn statement(table: &Table, need: &RowsNeed, leaf: &str) -> String {
    let by = table.columns[need.by].name;
    let key = if need.by == 0 { "row_key".to_owned() } else { format!("{by}_key") };
    let kind = rows::type_looked_up(table, need.by);
    let wanted = match need.fetch {
        Fetch::Existence => String::new(),
        Fetch::Rows => format!(", {}", rows::column_list(table, "t.")),
    };
    let limit = if need.by == 0 { "LIMIT 1" } else { "OFFSET 0" };
    format!(
        "SELECT t.{by}{wanted} FROM unnest($3::{kind}[]) AS k (key) CROSS JOIN LATERAL (SELECT * FROM {leaf} x \
         WHERE x.tenant_id = $1::text AND x.generation = $2::bigint AND x.{key} BETWEEN k.key AND k.key ORDER BY x.{key} {limit}) AS t"
    )
}
