//! The own partition of a generation: made, indexed when needed, made ready to be read.
//!
//! A large generation owns one table per projection table. The table is created without an index and with a CHECK on
//! its generation, so that attaching it needs no scan. It is filled by COPY, indexed when it is full, then attached.
//! Keeping an index current while a table fills costs several times as much as building it afterwards. A writer that
//! fills it from the log's origin knows its content and looks up little.
//!
//! *Guarantees.* Every step may be repeated after a crash at any point. The primary key is built before a partition is
//! attached. A key that was written twice stops the generation there, unread.

use super::PostgresStore;
use super::ask::{Ask, Parameter, Session};
use super::build::SQL;
use super::errors::During as _;
use super::pool::Connections;
use super::rows::{is_own, leaf, own_name};
use super::turn::Turn;
use super::values::Key;
use crate::{BuildLease, Generation, Result, StoreError, decide};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Category, Projection, Table};
use futures_util::future::try_join_all;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sampling rate of a generation (300 rows per unit). Every look-up is by given keys, and sessions are held to indexes.
/// The planner must therefore know the selective columns, but needs no histograms.
const STATISTICS_TARGET: u32 = 1;
/// Most indexes of a generation that are built at the same time.
const SESSIONS_MAX: usize = 3;
/// Bytes of tables that justify the start of one more session.
const SESSION_BYTES: u64 = 4 * 1024 * 1024;
/// Memory of each session for its sort, MB.
const SORT_MB: u32 = 96;

/// Writes the statement that makes a generation's own table.
pub(super) fn create_table(table: &Table, generation: Generation) -> String {
    let (parent, own, name) = (table.name, leaf(table.name, generation), own_name(table.name, generation));
    format!(
        "CREATE TABLE {own} (LIKE {parent} INCLUDING DEFAULTS INCLUDING STORAGE, CONSTRAINT {name}_only CHECK (generation = {generation}))"
    )
}

/// Writes the statement that makes the index of the primary key.
fn create_primary(table: &Table, generation: Generation) -> String {
    let (own, name) = (leaf(table.name, generation), own_name(table.name, generation));
    format!("CREATE UNIQUE INDEX IF NOT EXISTS {name}_pkey ON {own} (tenant_id, generation, row_key)")
}

/// Writes the statements for the `wanted` secondary indexes of the partitioned table. Attaching then finds them, and
/// builds none under its lock.
async fn create_secondary(
    client: &ClientWrapper,
    table: &Table,
    generation: Generation,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let (own, name) = (leaf(table.name, generation), own_name(table.name, generation));
    let indexes = client.query(sql!(SQL, "secondary_indexes"), &[&table.name]).await.during(table.name)?;
    let defined = indexes.iter().map(|index| (index.get::<_, i64>(0), index.get::<_, &str>(1)));
    let create = |(number, definition): (i64, &str)| {
        format!("CREATE INDEX IF NOT EXISTS {name}_i{number} ON {own} {definition}")
    };
    Ok(defined.filter(|(_, definition)| wanted(definition)).map(create).collect())
}

/// Indexes a generation; see [`Store::index_build`](crate::Store::index_build).
pub(super) async fn index(
    store: &PostgresStore,
    lease: &BuildLease,
    projection: &dyn Projection,
    columns: &[(usize, usize)],
) -> Result<()> {
    if !is_own(lease.generation) {
        return Ok(());
    }
    let what = "index a generation under construction";
    // The session that writes its batches: the work runs between two batches, and ends with the session.
    let held = store.connections.building(lease).await?;
    let client = held.client()?;
    let work = async {
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL default_statistics_target = {STATISTICS_TARGET}"
        );
        client.batch_execute(&begin).await.during(what)?;
        check(&Ask::new(client, &store.connections, what), lease).await?;
        for (table, column) in columns {
            let table = &projection.tables()[*table];
            let statements = if *column == 0 {
                vec![create_primary(table, lease.generation)]
            } else {
                let first = format!("(tenant_id, generation, {}_key", table.columns[*column].name);
                create_secondary(client, table, lease.generation, |definition| definition.contains(&first)).await?
            };
            for statement in statements {
                client.batch_execute(&statement).await.map_err(|error| twice(lease, table, &error))?;
            }
            // Without statistics the planner mistakes one index for another.
            let analyze = format!("ANALYZE {}", leaf(table.name, lease.generation));
            client.batch_execute(&analyze).await.during(table.name)?;
        }
        client.batch_execute("COMMIT").await.during(what)
    };
    match work.await {
        Ok(()) => {
            held.keep();
            Ok(())
        }
        Err(error) => {
            super::commit::roll_back(held).await;
            Err(error)
        }
    }
}

/// Checks that this job still builds the generation; else `fenced`.
pub(super) async fn check<S: Session>(ask: &Ask<'_, S>, lease: &BuildLease) -> Result<()> {
    let (tenant, token) = (lease.scope.tenant.as_str(), Key::from(lease.epoch.token));
    let of: [Parameter<'_>; 4] = [&tenant, &lease.generation.0, &lease.epoch.counter, &token];
    let holds: Option<(bool,)> = ask.first(sql!(SQL, "holds"), &of).await?;
    holds.map(|_| ()).ok_or_else(|| decide::not_building(lease))
}

fn twice(lease: &BuildLease, table: &Table, error: &tokio_postgres::Error) -> StoreError {
    let error = super::errors::explain(error, table.name);
    if !error.duplicate {
        return error;
    }
    let message = format!(
        "corruption: {}, generation {}, table {}: a key was written twice; the generation was not made live: rebuild again",
        lease.scope, lease.generation, table.name
    );
    StoreError { message, category: Category::Storage, ..error }
}

/// Opens a session for long work. Its settings and its locks end with it, and an interrupted call leaves nothing.
pub(super) async fn session(connections: &Connections) -> Result<ClientWrapper> {
    let client = connections.dedicated().await?;
    // Several indexes are built at the same time, instead of one by several workers.
    let settings = format!(
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET maintenance_work_mem = '{SORT_MB}MB'; SET max_parallel_maintenance_workers = 0; \
         SET default_statistics_target = {STATISTICS_TARGET}"
    );
    client.batch_execute(&settings).await.during("set up a session")?;
    Ok(client)
}

/// Waits until no other session makes this generation ready. An interrupted call may still run, and the sessions beside
/// it may each still build an index ([`complete`]).
pub(super) async fn alone(
    connections: &Connections,
    client: &ClientWrapper,
    tables: &[Table],
    generation: Generation,
) -> Result<Turn> {
    let what = "wait for an interrupted call";
    let turn = Turn::take(connections, &format!("generation {generation}")).await?;
    if let Some(first) = tables.first() {
        let lock = format!("BEGIN; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE; COMMIT", leaf(first.name, generation));
        client.batch_execute(&lock).await.during(what)?;
    }
    Ok(turn)
}

/// Builds the missing indexes, several at the same time.
pub(super) async fn complete(
    connections: &Connections,
    client: &ClientWrapper,
    lease: &BuildLease,
    tables: &[Table],
) -> Result<()> {
    let (mut missing, mut bytes) = (Vec::new(), 0);
    for table in tables {
        let of = leaf(table.name, lease.generation);
        let size = client.query_one(sql!(SQL, "table_size"), &[&of]).await.during(table.name)?;
        bytes += size.get::<_, i64>(0).unsigned_abs();
        missing.push((table, create_primary(table, lease.generation)));
        let secondary = create_secondary(client, table, lease.generation, |_| true).await?;
        missing.extend(secondary.into_iter().map(|statement| (table, statement)));
    }
    // The later tables of a projection have more indexes, and a long one must not come last.
    missing.reverse();
    let (missing, next) = (&missing, &AtomicUsize::new(0));
    let worth = usize::try_from(bytes / SESSION_BYTES).unwrap_or(usize::MAX).clamp(1, SESSIONS_MAX);
    let here = tables.first().map(|table| leaf(table.name, lease.generation)).unwrap_or_default();
    let here = &format!("BEGIN; LOCK TABLE {here} IN SHARE MODE");
    let sessions = (0..missing.len().min(worth)).map(|number| async move {
        let beside;
        let client = if number == 0 {
            client
        } else {
            beside = session(connections).await?;
            // Held until this session has done its part: `alone` waits for it.
            beside.batch_execute(here).await.during("build an index")?;
            &beside
        };
        while let Some((table, statement)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            client.batch_execute(statement).await.map_err(|error| twice(lease, table, &error))?;
        }
        if number > 0 {
            client.batch_execute("COMMIT").await.during("build an index")?;
        }
        Ok::<(), StoreError>(())
    });
    try_join_all(sessions).await.map(|_| ())
}

/// Attaches the unattached tables, and updates the planner's knowledge of them, in one transaction.
pub(super) async fn attach(client: &ClientWrapper, tables: &[Table], generation: Generation) -> Result<()> {
    let what = "attach a generation";
    let mut steps = Vec::new();
    for table in tables {
        let (parent, own, name) = (table.name, leaf(table.name, generation), own_name(table.name, generation));
        let state = client.query_one(sql!(SQL, "partition_state"), &[&own]).await.during(what)?;
        let (attached, primary): (bool, bool) = (state.get(0), state.get(1));
        if !primary {
            steps.push(format!("ALTER TABLE {own} ADD CONSTRAINT {name}_pkey PRIMARY KEY USING INDEX {name}_pkey"));
        }
        if !attached {
            let upper = generation.0 + 1;
            let bounds = format!("FOR VALUES FROM ({generation}) TO ({upper})");
            steps.push(format!("ALTER TABLE {parent} ATTACH PARTITION {own} {bounds}"));
        }
        steps.push(format!("ANALYZE {own}"));
    }
    client.batch_execute(&steps.join("; ")).await.during(what)
}
