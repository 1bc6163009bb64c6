//! The schema: brought up to this program's, by one process at a time, each migration in its own transaction.

use super::PostgresStore;
use super::errors::During as _;
use crate::{Result, SchemaStatus, StoreError};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::Category;
use refinery::{Migration, Runner};
use tokio_postgres::error::SqlState;

/// Numbered and append-only: a migration that was published is never edited.
const MIGRATIONS: [(&str, &str); 13] = [
    ("V001__runtime", include_str!("../../../migrations/postgres/V001__runtime.sql")),
    ("V002__projections", include_str!("../../../migrations/postgres/V002__projections.sql")),
    ("V003__planner", include_str!("../../../migrations/postgres/V003__planner.sql")),
    ("V004__pause", include_str!("../../../migrations/postgres/V004__pause.sql")),
    ("V005__skips", include_str!("../../../migrations/postgres/V005__skips.sql")),
    ("V006__cluster", include_str!("../../../migrations/postgres/V006__cluster.sql")),
    ("V007__locality", include_str!("../../../migrations/postgres/V007__locality.sql")),
    ("V008__precedents", include_str!("../../../migrations/postgres/V008__precedents.sql")),
    ("V009__numbers", include_str!("../../../migrations/postgres/V009__numbers.sql")),
    ("V010__walls", include_str!("../../../migrations/postgres/V010__walls.sql")),
    ("V011__drift", include_str!("../../../migrations/postgres/V011__drift.sql")),
    ("V012__lease_start", include_str!("../../../migrations/postgres/V012__lease_start.sql")),
    ("V013__changes", include_str!("../../../migrations/postgres/V013__changes.sql")),
];
/// The table of applied migrations.
const HISTORY: &str = "refinery_schema_history";
/// Lock that the migrating process holds. It is no advisory lock. Only a role that may change that table, the migrator,
/// can take it or make others wait.
const LOCK: &str = "BEGIN; LOCK TABLE refinery_schema_history IN SHARE UPDATE EXCLUSIVE MODE";
/// Table with the definition that refinery uses.
const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255), applied_on \
                              VARCHAR(255), checksum VARCHAR(255))";
const NO_TIMEOUTS: &str =
    "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0";

pub(super) async fn migrate(store: &PostgresStore) -> Result<Vec<String>> {
    let what = "migrate";
    // Separate sessions: lock and settings end with them.
    let turn = store.connections.dedicated().await?;
    let mut client = store.connections.dedicated().await?;
    for session in [&turn, &client] {
        session.batch_execute(NO_TIMEOUTS).await.during(what)?;
    }
    if !has_history(&turn).await? {
        match turn.batch_execute(CREATE_HISTORY).await {
            // Another process made it at the same time.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
            made => made.during(what)?,
        }
    }
    turn.batch_execute(LOCK).await.during(what)?;
    refuse_strangers(&client).await?;
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
    prove_rules(&client).await?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// Reports the holder of the lock that a migration waits for, and the remedy.
pub(super) async fn waits_for(store: &PostgresStore) -> Result<Option<String>> {
    let client = store.connections.get().await?;
    let holder = client.query_opt(include_str!("sql/migration_holder.sql"), &[]).await.during("look who migrates")?;
    Ok(holder.map(|row| {
        let (pid, user, program, seconds): (i32, Option<String>, Option<String>, Option<f64>) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let (user, program) = (user.unwrap_or_default(), program.unwrap_or_default());
        format!(
            "waiting for another migration: pid {pid} of {user:?} ({program:?}) has held its lock for {:.0} s; if nothing runs there any more, end that \
             session: `SELECT pg_terminate_backend({pid})`",
            seconds.unwrap_or_default()
        )
    }))
}

/// Stops before the first statement of a migration when an untrusted role made functions or operators in the schema.
async fn refuse_strangers(client: &ClientWrapper) -> Result<()> {
    let found = client.query(include_str!("sql/strangers.sql"), &[]).await.during("look for what strangers made")?;
    if found.is_empty() {
        return Ok(());
    }
    let named: Vec<String> =
        found.iter().map(|row| format!("{} (of {})", row.get::<_, &str>(0), row.get::<_, &str>(1))).collect();
    let message = format!(
        "the schema holds what the program never makes, by a role that does not own it: {}; a migration could run it with this role's rights",
        named.join(", ")
    );
    let next = "find out who has that role's password; drop what is named (as an administrator), change the password, then migrate again";
    Err(StoreError::new(Category::Unauthorized, message).next(next))
}

/// Proves the rules that every row must keep. Rows from before a rule may break it. The rule then stays unproven, new
/// rows must keep it, and `health` names the rows to mend.
async fn prove_rules(client: &ClientWrapper) -> Result<()> {
    let what = "prove a rule of the schema";
    for rule in client.query(include_str!("sql/unproven_rules.sql"), &[]).await.during(what)? {
        match client.batch_execute(rule.get(0)).await {
            Err(error) if error.code() == Some(&SqlState::CHECK_VIOLATION) => {}
            proven => proven.during(what)?,
        }
    }
    Ok(())
}

async fn has_history(client: &ClientWrapper) -> Result<bool> {
    let exists = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&HISTORY]).await;
    Ok(exists.during("read the schema's version")?.get(0))
}

pub(super) async fn status(store: &PostgresStore) -> Result<SchemaStatus> {
    status_of(&*store.connections.get().await?).await
}

async fn status_of(client: &ClientWrapper) -> Result<SchemaStatus> {
    let what = "read the schema's version";
    let program = MIGRATIONS.len() as i64;
    if !has_history(client).await? {
        return Ok(SchemaStatus { database: 0, program, serves_from: 0 });
    }
    let newest = format!("SELECT coalesce(max(version), 0)::bigint FROM {HISTORY}");
    let newest = client.query_one(&newest, &[]).await.during(what)?;
    let database = newest.get(0);
    // Before that table existed, a schema served only its own version.
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
    // The remaining errors concern the migrations themselves: one is missing, or was edited after it was applied.
    StoreError::new(Category::VersionMismatch, format!("migrate: {error}"))
}
