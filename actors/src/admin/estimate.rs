//! How large a generation will be: from a sample of the live one, or from figures of mixed workloads where there is none.

use decisiongraph_projections::rows::{Row, Value};
use decisiongraph_projections::{Projection, TenantId};
use decisiongraph_store::{Generation, ReadView, Result, RowOrder};
use futures_util::StreamExt as _;

/// Rows of each table that are looked at, about.
const SAMPLE_ROWS: usize = 4_000;
/// Bytes of a row beside its texts: headers, integers, hashes.
const ROW_BYTES: f64 = 70.0;
/// Bytes of its place in an index.
const INDEX_BYTES: f64 = 60.0;

/// Rows and bytes, with indexes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Rows of all its tables.
    pub rows: f64,
    /// Their bytes.
    pub bytes: f64,
}

/// Of a projection over so many events, by what mixed workloads gave.
pub fn assumed(projection: &str, events: u64) -> Size {
    let (rows_per_event, bytes_per_row) = match projection {
        "context_graph" => (2.0, 420.0),
        "trace_summary" => (0.13, 300.0),
        _ => (0.4, 380.0),
    };
    let rows = (events as f64 * rows_per_event).ceil();
    Size { rows, bytes: rows * bytes_per_row }
}

/// Of a generation that is there, from the first rows of each table by row key. Those keys are hashes: how far the first so many of them
/// reach says how many there are.
pub async fn sampled(
    view: &dyn ReadView,
    tenant: &TenantId,
    projection: &dyn Projection,
    generation: Generation,
) -> Result<Size> {
    let mut size = Size { rows: 0.0, bytes: 0.0 };
    for (index, table) in projection.tables().iter().enumerate() {
        let mut stream = view.rows(tenant, projection, generation, index, RowOrder::Key).await?;
        let (mut rows, mut texts, mut last, mut all) = (0_usize, 0_usize, 0_u128, false);
        while rows < SAMPLE_ROWS {
            let Some(chunk) = stream.next().await.transpose()? else {
                all = true;
                break;
            };
            rows += chunk.len();
            texts += chunk.iter().map(|keyed| text_bytes(&keyed.row)).sum::<usize>();
            last = chunk.last().map_or(last, |keyed| keyed.key.reach());
        }
        let count = if all { rows as f64 } else { reach(rows, last) };
        let indexes = 1 + table.hashed.len();
        let each = texts as f64 / rows.max(1) as f64 + ROW_BYTES + indexes as f64 * INDEX_BYTES;
        size = Size { rows: size.rows + count, bytes: size.bytes + count * each };
    }
    Ok(size)
}

/// How many keys there are when the first `rows` of them reach to `last`.
fn reach(rows: usize, last: u128) -> f64 {
    let part = last as f64 / u128::MAX as f64;
    if part > 0.0 { rows as f64 / part } else { rows as f64 }
}

fn text_bytes(row: &Row) -> usize {
    row.0.iter().filter_map(Value::as_str).map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::rows::RowKey;

    #[test]
    fn the_first_keys_say_how_many_there_are() {
        let mut keys: Vec<u128> =
            (0..200_000).map(|n: i32| u128::from_be_bytes(RowKey::of(&format!("key {n}")).0)).collect();
        keys.sort_unstable();
        let told = reach(SAMPLE_ROWS, keys[SAMPLE_ROWS - 1]);
        assert!((190_000.0..210_000.0).contains(&told), "{told}");
    }
}
