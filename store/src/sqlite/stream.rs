//! All rows of a table, in chunks, from one instant, with memory bounded by a few chunks.

use super::errors::Result;
use super::pool::{Reader, lock};
use super::rows::{read_row, select_list};
use super::threads::blocking;
use crate::sections::ahead;
use crate::{Generation, KeyedRow, RowOrder, RowStream};
use decisiongraph_projections::{Identity, Table, TenantId};
use futures_util::stream;
use rusqlite::{Connection, params};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Rows per chunk.
const CHUNK_ROWS: i64 = 1_000;
/// Most bytes per chunk: it ends early when its rows have more.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Position of the stream.
#[derive(Clone)]
enum At {
    /// Behind this key, in the order of the keys.
    Key(Option<Identity>),
    /// Behind this place of a temporary list of rows, in the order of their text.
    Listed { list: String, place: i64 },
}

struct Source {
    reader: Arc<Mutex<Reader>>,
    table: &'static Table,
    tenant: TenantId,
    generation: Generation,
}

/// Streams the rows of a generation through this reader, which must hold a transaction.
pub(super) async fn rows(
    reader: Arc<Mutex<Reader>>,
    table: &'static Table,
    tenant: TenantId,
    generation: Generation,
    order: RowOrder,
) -> Result<RowStream> {
    let source = Arc::new(Source { reader, table, tenant, generation });
    let at = match order {
        RowOrder::Key => At::Key(None),
        RowOrder::Text => {
            let source = source.clone();
            blocking(move || source.list_by_text()).await?
        }
    };
    let chunks = stream::try_unfold(Some(at), move |at| {
        let source = source.clone();
        async move {
            let Some(at) = at else { return Ok(None) };
            let (chunk, next) = blocking(move || source.chunk(at)).await?;
            Ok(if chunk.is_empty() { None } else { Some((chunk, next)) })
        }
    });
    Ok(ahead(Box::pin(chunks)))
}

impl Source {
    /// Sorts the table by the bytes of its canonical key, once, into a list of row ids on disk. No index has that
    /// order, and sorting again for every chunk would cost the square.
    fn list_by_text(&self) -> Result<At> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let list = format!("dg_order_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut reader = lock(&self.reader);
        reader.spoil();
        reader.read(|conn| {
            let Table { name, columns, .. } = self.table;
            conn.execute(
                &format!(
                    "CREATE TEMP TABLE {list} AS SELECT rowid AS source FROM {name}
                     WHERE tenant_id = ?1 AND generation = ?2 ORDER BY {}",
                    columns[0].name
                ),
                params![self.tenant.as_str(), self.generation.0],
            )?;
            Ok(())
        })?;
        Ok(At::Listed { list, place: 0 })
    }

    fn chunk(&self, at: At) -> Result<(Vec<KeyedRow>, Option<At>)> {
        lock(&self.reader).read(|conn| match at {
            At::Key(after) => self.chunk_by_key(conn, after),
            At::Listed { list, place } => self.chunk_of_list(conn, list, place),
        })
    }

    fn chunk_by_key(&self, conn: &Connection, after: Option<Identity>) -> Result<(Vec<KeyedRow>, Option<At>)> {
        let sql = format!(
            "SELECT {} FROM {} WHERE tenant_id = ?1 AND generation = ?2 AND row_key > ?3 ORDER BY row_key LIMIT {CHUNK_ROWS}",
            select_list(self.table),
            self.table.name
        );
        let mut statement = conn.prepare_cached(&sql)?;
        // An empty blob sorts before every key.
        let after: &[u8] = after.as_ref().map_or(&[], Identity::as_bytes);
        let mut rows = statement.query(params![self.tenant.as_str(), self.generation.0, after])?;
        let chunk = self.fill(&mut rows)?;
        let next = chunk.last().map(|row: &KeyedRow| At::Key(Some(row.key)));
        Ok((chunk, next))
    }

    fn fill(&self, rows: &mut rusqlite::Rows<'_>) -> Result<Vec<KeyedRow>> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while bytes < CHUNK_BYTES
            && let Some(row) = rows.next()?
        {
            let row = read_row(self.table, row, 0)?;
            bytes += row.row.bytes();
            chunk.push(row);
        }
        Ok(chunk)
    }

    fn chunk_of_list(&self, conn: &Connection, list: String, place: i64) -> Result<(Vec<KeyedRow>, Option<At>)> {
        let sql = format!(
            "SELECT {} FROM temp.{list} AS list CROSS JOIN {} AS source ON source.rowid = list.source
             WHERE list.rowid > ?1 ORDER BY list.rowid LIMIT {CHUNK_ROWS}",
            select_list(self.table),
            self.table.name
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![place])?;
        let chunk = self.fill(&mut rows)?;
        let place = place + i64::try_from(chunk.len()).unwrap_or(i64::MAX);
        Ok((chunk, Some(At::Listed { list, place })))
    }
}
