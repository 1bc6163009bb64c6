//! The schema: brought up to this program's, one process at a time, each migration in a transaction of its own.

use super::PostgresStore;
use super::errors::During as _;
use crate::{Result, SchemaStatus, StoreError};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::Category;
use refinery::{Migration, Runner};

/// Numbered and append-only: a migration that was published is never edited.
const MIGRATIONS: [(&str, &str); 9] = [
    ("V001__runtime", include_str!("../../../migrations/postgres/V001__runtime.sql")),
    ("V002__projections", include_str!("../../../migrations/postgres/V002__projections.sql")),
    ("V003__planner", include_str!("../../../migrations/postgres/V003__planner.sql")),
    ("V004__pause", include_str!("../../../migrations/postgres/V004__pause.sql")),
    ("V005__skips", include_str!("../../../migrations/postgres/V005__skips.sql")),
    ("V006__cluster", include_str!("../../../migrations/postgres/V006__cluster.sql")),
    ("V007__locality", include_str!("../../../migrations/postgres/V007__locality.sql")),
    ("V008__precedents", include_str!("../../../migrations/postgres/V008__precedents.sql")),
    ("V009__numbers", include_str!("../../../migrations/postgres/V009__numbers.sql")),
];
/// The table of applied migrations.
const HISTORY: &str = "refinery_schema_history";
/// Key of the advisory lock under which migrations run.
const MIGRATION_LOCK: i64 = 0x4447_0001;

pub(super) async fn migrate(store: &PostgresStore) -> Result<Vec<String>> {
    let what = "migrate";
    // A session of its own: its lock and its settings end with it.
    let mut client = store.connections.dedicated().await?;
    client.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0").await.during(what)?;
    client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await.during(what)?;
    let status = status_of(&client).await?;
    if status.database > status.program {
        return Err(StoreError::new(
            Category::VersionMismatch,
            format!(
                "the database's schema is {}, this program knows up to {}: use a newer program",
                status.database, status.program
            ),
        ));
    }
    let mut runner = runner()?;
    runner.set_migration_table_name(HISTORY);
    let report = runner.run_async(&mut *client).await.map_err(|error| explain(&error))?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

pub(super) async fn status(store: &PostgresStore) -> Result<SchemaStatus> {
    status_of(&*store.connections.get().await?).await
}

async fn status_of(client: &ClientWrapper) -> Result<SchemaStatus> {
    let what = "read the schema's version";
    let program = MIGRATIONS.len() as i64;
    let exists = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&HISTORY]).await.during(what)?;
    if !exists.get::<_, bool>(0) {
        return Ok(SchemaStatus { database: 0, program, serves_from: 0 });
    }
    let newest = format!("SELECT coalesce(max(version), 0)::bigint FROM {HISTORY}");
    let newest = client.query_one(&newest, &[]).await.during(what)?;
    let database = newest.get(0);
    // Before there was such a table, a schema served its own version alone.
    let says = client.query_one("SELECT to_regclass('dg_schema') IS NOT NULL", &[]).await.during(what)?;
    let serves_from = match says.get::<_, bool>(0) {
        true => client.query_one("SELECT serves_from FROM dg_schema", &[]).await.during(what)?.get(0),
        false => database,
    };
    Ok(SchemaStatus { database, program, serves_from })
}

fn runner() -> Result<Runner> {
    let migrations = MIGRATIONS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| StoreError::internal(format!("a migration has a bad name: {error}")))?;
    Ok(Runner::new(&migrations))
}

fn explain(error: &refinery::Error) -> StoreError {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(database) = cause.downcast_ref::<tokio_postgres::Error>() {
            return super::errors::explain(database, "migrate");
        }
        source = cause.source();
    }
    // What is left is about the migrations themselves: one is missing, or was edited after it was applied.
    StoreError::new(Category::VersionMismatch, format!("migrate: {error}"))
}
