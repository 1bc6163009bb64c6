//! The event log of the original service, in its tables on PostgreSQL: read only.

use super::errors::During as _;
use super::pool::{Connections, SNAPSHOT_IDLE};
use crate::foreign::{ForeignLine, TABLE, WIDTH, line, statement};
use crate::{Result, StoreError, StoreOptions};
use futures_util::TryStreamExt as _;
use std::collections::BTreeSet;
use tokio_postgres::IsolationLevel;

const WHAT: &str = "read the log of the original service";
/// Rows that the server's cursor gives at a time. The driver takes them one by one.
const ROWS: i32 = 1_000;
const COLUMNS: &str = "SELECT a.attname::text FROM pg_attribute a
 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

/// Reads the events of the database; see [`crate::ForeignLog::read`].
pub(crate) async fn read(url: &str, mut take: impl AsyncFnMut(ForeignLine) -> bool) -> Result<()> {
    let options = StoreOptions { session_name: Some("import, as reader".to_owned()), ..StoreOptions::default() };
    let connections = Connections::new(url, &options)?;
    let mut client = connections.dedicated().await?;
    let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
    let work = begun.await.during(WHAT)?;
    // Between two reads the caller stores what it took.
    let idle = SNAPSHOT_IDLE.as_millis();
    let bounds =
        format!("SET LOCAL idle_in_transaction_session_timeout = {idle}; SET LOCAL statement_timeout = {idle}");
    work.batch_execute(&bounds).await.during(WHAT)?;
    let found: BTreeSet<String> =
        work.query(COLUMNS, &[&TABLE]).await.during(WHAT)?.iter().map(|row| row.get(0)).collect();
    let named =
        |error: StoreError| StoreError { message: format!("{}: {}", connections.address(), error.message), ..error };
    let events = work.prepare(&statement(&found).map_err(named)?).await.during(WHAT)?;
    let cursor = work.bind(&events, &[]).await.during(WHAT)?;
    loop {
        let mut rows = std::pin::pin!(work.query_portal_raw(&cursor, ROWS).await.during(WHAT)?);
        let mut any = false;
        while let Some(row) = rows.try_next().await.during(WHAT)? {
            any = true;
            if !take(line(row.get(0), (1..WIDTH).map(|at| row.get(at)))).await {
                return Ok(());
            }
        }
        if !any {
            return Ok(());
        }
    }
}
