//! The schema: brought up to this program's, by one process at a time, each migration in its own transaction.

use super::PostgresStore;
use super::errors::During as _;
use crate::migrations::{self, Applied, CREATE_HISTORY, Migration, POSTGRES, READ_HISTORY};
use crate::sections::Schema;
use crate::{Result, SchemaStatus, StoreError};
use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::Category;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

const SQL: &str = include_str!("sql/schema.sql");

/// Lock that the migrating process holds. It is no advisory lock. Only a role that may change that table, the migrator,
/// can take it or make others wait.
const LOCK: &str = "BEGIN; LOCK TABLE refinery_schema_history IN SHARE UPDATE EXCLUSIVE MODE";
/// Notes a migration: number, name, checksum.
const NOTE: &str = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                    VALUES ($1, $2, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), $3)";
const NO_TIMEOUTS: &str =
    "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0";

/// Answers to the creation of a table that another session creates at the same time.
const TAKEN: [SqlState; 3] = [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_OBJECT, SqlState::DUPLICATE_TABLE];

#[async_trait]
impl Schema for PostgresStore {
    async fn migrate(&self) -> Result<Vec<String>> {
        let what = "migrate";
        // Separate sessions: lock and settings end with them.
        let turn = self.connections.dedicated().await?;
        let mut client = self.connections.dedicated().await?;
        for session in [&turn, &client] {
            session.batch_execute(NO_TIMEOUTS).await.during(what)?;
        }
        if !has_history(&turn).await? {
            match turn.batch_execute(CREATE_HISTORY).await {
                // Another process made it at the same time. The server names the first of its names that is taken.
                Err(error) if error.code().is_some_and(|code| TAKEN.contains(code)) => {}
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
                    "the database has schema {}, but this program knows schemas up to {}: use a newer program",
                    status.database, status.program
                ),
            ));
        }
        let pending = migrations::pending(POSTGRES, &applied(&client).await?)?;
        for migration in &pending {
            apply(&mut client, migration).await?;
        }
        prove_rules(&client).await?;
        Ok(pending.iter().map(ToString::to_string).collect())
    }

    async fn migration_waits_for(&self) -> Result<Option<String>> {
        let client = self.connections.get().await?;
        let holder = client.query_opt(sql!(SQL, "migration_holder"), &[]).await.during("look for another migration")?;
        Ok(holder.map(|row| {
            let (pid, user, program, seconds): (i32, Option<String>, Option<String>, Option<f64>) =
                (row.get(0), row.get(1), row.get(2), row.get(3));
            let (user, program) = (user.unwrap_or_default(), program.unwrap_or_default());
            format!(
                "waiting for another migration: pid {pid} of {user:?} ({program:?}) has held its lock for {:.0} s; if it no longer runs, end that session: `SELECT pg_terminate_backend({pid})`",
                seconds.unwrap_or_default()
            )
        }))
    }

    async fn schema_status(&self) -> Result<SchemaStatus> {
        status_of(&*self.connections.get().await?).await
    }
}

async fn apply(client: &mut ClientWrapper, migration: &Migration) -> Result<()> {
    let what = "migrate";
    let transaction = client.transaction().await.during(what)?;
    let built = match migration.only_index() {
        Some(index) => transaction.query_one(sql!(SQL, "index_is_built"), &[&index]).await.during(what)?.get(0),
        None => false,
    };
    if !built {
        transaction.batch_execute(migration.sql).await.during(what)?;
    }
    let note: [&(dyn ToSql + Sync); 3] = [&migration.version, &migration.name, &migration.checksum()];
    transaction.execute(NOTE, &note).await.during(what)?;
    transaction.commit().await.during(what)
}

/// Stops before the first statement of a migration when an untrusted role made functions or operators in the schema.
async fn refuse_strangers(client: &ClientWrapper) -> Result<()> {
    let found = client.query(sql!(SQL, "strangers"), &[]).await.during("look for objects of other roles")?;
    if found.is_empty() {
        return Ok(());
    }
    let named: Vec<String> =
        found.iter().map(|row| format!("{} (of {})", row.get::<_, &str>(0), row.get::<_, &str>(1))).collect();
    let message = format!(
        "the schema contains objects that this program never creates, made by a role that does not own the schema: {}; a migration could run them with this role's rights",
        named.join(", ")
    );
    let next = "find out who knows that role's password; drop the named objects (as an administrator), change the password, then migrate again";
    Err(StoreError::new(Category::Unauthorized, message).next(next))
}

/// Proves the rules that every row must keep. Rows from before a rule may break it. The rule then stays unproven, new
/// rows must keep it, and `health` names the rows to mend.
async fn prove_rules(client: &ClientWrapper) -> Result<()> {
    let what = "prove a rule of the schema";
    for rule in client.query(sql!(SQL, "unproven_rules"), &[]).await.during(what)? {
        match client.batch_execute(rule.get(0)).await {
            Err(error) if error.code() == Some(&SqlState::CHECK_VIOLATION) => {}
            proven => proven.during(what)?,
        }
    }
    Ok(())
}

async fn has_table(client: &ClientWrapper, name: &str) -> Result<bool> {
    let exists = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&name]).await;
    Ok(exists.during("read the schema's version")?.get(0))
}

async fn has_history(client: &ClientWrapper) -> Result<bool> {
    has_table(client, "refinery_schema_history").await
}

async fn applied(client: &ClientWrapper) -> Result<Vec<Applied>> {
    if !has_history(client).await? {
        return Ok(Vec::new());
    }
    let rows = client.query(READ_HISTORY, &[]).await.during("read the schema's version")?;
    Ok(rows.iter().map(|row| Applied { version: row.get(0), name: row.get(1), checksum: row.get(2) }).collect())
}

async fn status_of(client: &ClientWrapper) -> Result<SchemaStatus> {
    let applied = applied(client).await?;
    let serves_from = match has_table(client, "dg_schema").await? {
        true => {
            let says = client.query_one("SELECT serves_from FROM dg_schema", &[]).await;
            Some(says.during("read the schema's version")?.get(0))
        }
        false => None,
    };
    Ok(migrations::status(POSTGRES, &applied, serves_from))
}
