//! Generations: begun beside the live one, made ready, flipped to, given up.
//!
//! *Guarantees.* Every step may be repeated after a crash at any point. A flip is one transaction; lock order is scope row, then
//! generation row. No step takes a lock that keeps readers or the live writer waiting.
//!
//! A large generation owns a table a projection table. It is created with the primary key and a CHECK on its number (so that attaching
//! it need not scan it), filled by COPY, indexed when it is full, then attached as a partition.

use super::PostgresStore;
use super::errors::{During as _, explain_commit};
use super::lease::{create_scope, end_former_writer, position_at};
use super::rows::{is_own, leaf};
use super::values::Key;
use crate::{BuildLease, Epoch, Flip, Generation, Position, Result, Scope, Storage, StoreError, crash};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{Category, Projection, Table, catalogue};
use uuid::Uuid;

/// How closely a finished generation is sampled (300 rows a unit). Every look-up is by the keys it is given and sessions are held to
/// indexes, so the planner needs to know which columns tell rows apart, and no histograms.
const STATISTICS_TARGET: u32 = 10;

pub(super) fn projection_of(scope: &Scope) -> Result<&'static dyn Projection> {
    catalogue::find(scope.projection).ok_or_else(|| {
        StoreError::new(Category::InvalidArgument, format!("there is no projection {}", scope.projection))
    })
}

pub(super) async fn begin(store: &PostgresStore, scope: &Scope, run_id: Uuid, storage: Storage) -> Result<BuildLease> {
    let what = "begin a generation";
    let projection = projection_of(scope)?;
    let held = store.connections.builder(scope).await?;
    let client = held.client()?;
    create_scope(client, scope).await?;
    let sequence = match storage {
        Storage::Shared => "dg_generation_shared_seq",
        Storage::Own => "dg_generation_own_seq",
    };
    let row = client.query_one("SELECT nextval($1::text::regclass)", &[&sequence]).await.during(what)?;
    let generation = Generation(row.get(0));
    let mut sql = "BEGIN".to_owned();
    if storage == Storage::Own {
        for table in projection.tables() {
            sql.push(';');
            sql.push_str(&create_own_table(table, generation));
        }
    }
    let token = Uuid::new_v4();
    let work = async {
        client.batch_execute(&sql).await.during(what)?;
        if storage == Storage::Own {
            index_what_is_looked_up(client, projection, generation).await?;
        }
        // A run that begins again starts over.
        let abandon = client.prepare_cached(include_str!("sql/abandon_build.sql")).await.during(what)?;
        client
            .execute(&abandon, &[&scope.tenant.as_str(), &scope.projection, &Key::from(run_id)])
            .await
            .during(what)?;
        let insert = client.prepare_cached(include_str!("sql/begin_build.sql")).await.during(what)?;
        let (tenant, version) = (scope.tenant.as_str(), projection.version());
        let (run, token) = (Key::from(run_id), Key::from(token));
        client
            .execute(&insert, &[&tenant, &generation.0, &scope.projection, &run, &token, &version])
            .await
            .during(what)?;
        client.batch_execute("COMMIT").await.map_err(|error| explain_commit(&error, what))
    };
    match work.await {
        Ok(()) => {
            let session = held.session()?.number;
            held.keep();
            let epoch = Epoch { counter: 1, token };
            Ok(BuildLease { scope: scope.clone(), run_id, generation, epoch, session })
        }
        Err(error) => {
            super::commit::roll_back(held).await;
            Err(error)
        }
    }
}

fn create_own_table(table: &Table, generation: Generation) -> String {
    let (parent, own) = (table.name, leaf(table.name, generation));
    format!(
        "CREATE TABLE {own} (LIKE {parent} INCLUDING DEFAULTS INCLUDING STORAGE, CONSTRAINT {own}_only CHECK (generation = {generation}), \
         PRIMARY KEY (tenant_id, generation, row_key))"
    )
}

/// Batches look up rows by their keys, and by some hashed columns: those indexes cannot wait for the end. What a projection needs of
/// no events names the columns that it ever looks up by.
async fn index_what_is_looked_up(
    client: &ClientWrapper,
    projection: &dyn Projection,
    generation: Generation,
) -> Result<()> {
    for need in projection.needs(&[]).rows.iter().filter(|need| need.by != 0) {
        let table = &projection.tables()[need.table];
        let first = format!("(tenant_id, generation, {}_key", table.columns[need.by].name);
        create_indexes(client, table, generation, |definition| definition.contains(&first)).await?;
    }
    Ok(())
}

/// Creates those of the partitioned table's secondary indexes that are `wanted`, unless they are there: attaching then finds them,
/// and builds none under its lock.
async fn create_indexes(
    client: &ClientWrapper,
    table: &Table,
    generation: Generation,
    wanted: impl Fn(&str) -> bool,
) -> Result<()> {
    let own = leaf(table.name, generation);
    for index in client.query(include_str!("sql/secondary_indexes.sql"), &[&table.name]).await.during(table.name)? {
        let (number, definition): (i64, String) = (index.get(0), index.get(1));
        if wanted(&definition) {
            let create = format!("CREATE INDEX IF NOT EXISTS {own}_i{number} ON {own} {definition}");
            client.batch_execute(&create).await.during(table.name)?;
        }
    }
    Ok(())
}

pub(super) async fn resume(
    store: &PostgresStore,
    scope: &Scope,
    run_id: Uuid,
) -> Result<Option<(BuildLease, Position)>> {
    let what = "resume a generation";
    let held = store.connections.builder(scope).await?;
    let client = held.client()?;
    let look = client.prepare_cached(include_str!("sql/resume_look.sql")).await.during(what)?;
    let take = client.prepare_cached(include_str!("sql/resume_take.sql")).await.during(what)?;
    let (tenant, run, token) = (scope.tenant.as_str(), Key::from(run_id), Uuid::new_v4());
    let found = client.query_opt(&look, &[&tenant, &scope.projection, &run]).await.during(what)?;
    let mut resumed = None;
    if let Some(found) = found {
        let generation: i64 = found.get(0);
        end_former_writer(client, &store.connections, found.get(1), found.get(2)).await?;
        let taken = client.query_opt(&take, &[&tenant, &generation, &Key::from(token)]).await.during(what)?;
        // None: abandoned or flipped in between.
        if let Some(taken) = taken {
            let lease = BuildLease {
                scope: scope.clone(),
                run_id,
                generation: Generation(generation),
                epoch: Epoch { counter: taken.get(0), token },
                session: held.session()?.number,
            };
            resumed = Some((lease, position_at(&taken, 1)?));
        }
    }
    held.keep();
    Ok(resumed)
}

pub(super) async fn finish(store: &PostgresStore, lease: &BuildLease) -> Result<()> {
    let what = "finish a generation";
    // A session of its own: its settings and its lock end with it, and an interrupted call leaves nothing.
    let client = store.connections.dedicated().await?;
    if is_own(lease.generation) {
        let settings = format!(
            "SET statement_timeout = 0; SET maintenance_work_mem = '256MB'; SET default_statistics_target = {STATISTICS_TARGET}"
        );
        client.batch_execute(&settings).await.during(what)?;
        // An interrupted call's session may still be building an index.
        client.execute("SELECT pg_advisory_lock($1)", &[&lease.generation.0]).await.during(what)?;
    }
    let check = include_str!("sql/build_holds.sql");
    let (tenant, token) = (lease.scope.tenant.as_str(), Key::from(lease.epoch.token));
    client
        .query_opt(check, &[&tenant, &lease.generation.0, &lease.epoch.counter, &token])
        .await
        .during(what)?
        .ok_or_else(|| fenced(lease))?;
    if is_own(lease.generation) {
        crash::point("finish.before_index");
        for table in projection_of(&lease.scope)?.tables() {
            index_and_attach(&client, table, lease.generation).await?;
        }
        crash::point("finish.after_index");
    }
    let ready = client
        .execute(include_str!("sql/build_ready.sql"), &[&tenant, &lease.generation.0, &lease.epoch.counter, &token])
        .await
        .during(what)?;
    if ready == 1 { Ok(()) } else { Err(fenced(lease)) }
}

fn fenced(lease: &BuildLease) -> StoreError {
    StoreError::fenced(format!(
        "{}: generation {} is not built by this job any more (epoch {})",
        lease.scope, lease.generation, lease.epoch
    ))
}

async fn index_and_attach(client: &ClientWrapper, table: &Table, generation: Generation) -> Result<()> {
    let what = table.name;
    let own = leaf(table.name, generation);
    let attached = client
        .query_opt("SELECT 1 FROM pg_inherits WHERE inhrelid = $1::text::regclass", &[&own])
        .await
        .during(what)?;
    if attached.is_none() {
        create_indexes(client, table, generation, |_| true).await?;
        let upper = generation.0 + 1;
        let attach = format!("ALTER TABLE {what} ATTACH PARTITION {own} FOR VALUES FROM ({generation}) TO ({upper})");
        client.batch_execute(&attach).await.during(what)?;
    }
    client.batch_execute(&format!("ANALYZE {own}")).await.during(what)
}

pub(super) async fn flip(store: &PostgresStore, lease: &BuildLease) -> Result<Flip> {
    let what = "flip to a generation";
    let mut client = store.connections.get().await?;
    crash::point("flip.begin");
    let transaction = client.transaction().await.during(what)?;
    let (tenant, projection) = (lease.scope.tenant.as_str(), lease.scope.projection);
    // Lock order: scope row, then generation row.
    let scope = transaction.prepare_cached(include_str!("sql/flip_scope.sql")).await.during(what)?;
    let scope = transaction
        .query_opt(&scope, &[&tenant, &projection])
        .await
        .during(what)?
        .ok_or_else(|| StoreError::new(Category::NotFound, format!("there is no scope {}", lease.scope)))?;
    let build = transaction.prepare_cached(include_str!("sql/flip_build.sql")).await.during(what)?;
    let token = Key::from(lease.epoch.token);
    let build = transaction
        .query_opt(&build, &[&tenant, &lease.generation.0, &lease.epoch.counter, &token])
        .await
        .during(what)?
        .ok_or_else(|| fenced(lease))?;
    let (ready, deviating): (bool, bool) = (build.get(3), build.get(4));
    if !ready && is_own(lease.generation) {
        return Err(StoreError::internal(format!(
            "generation {} is flipped to before it is finished",
            lease.generation
        )));
    }
    let (old_generation, old) = (Generation(scope.get(0)), position_at(&scope, 1)?);
    let new = position_at(&build, 0)?;
    if new.cursor < old.cursor {
        transaction.rollback().await.during(what)?;
        return Ok(Flip::Behind { live_cursor: old.cursor });
    }
    let digest = new.digest.to_bytes();
    let epoch = Key::from(Uuid::new_v4());
    let steps: [(&str, &[&(dyn tokio_postgres::types::ToSql + Sync)]); 3] = [
        (
            include_str!("sql/flip_set_live.sql"),
            &[&tenant, &projection, &lease.generation.0, &new.cursor.0, &digest, &new.version, &epoch, &deviating],
        ),
        (include_str!("sql/flip_retire.sql"), &[&tenant, &old_generation.0]),
        (include_str!("sql/flip_promote.sql"), &[&tenant, &lease.generation.0]),
    ];
    for (sql, params) in steps {
        let statement = transaction.prepare_cached(sql).await.during(what)?;
        transaction.execute(&statement, params).await.during(what)?;
    }
    let resolve = transaction.prepare_cached(include_str!("sql/resolve_failures.sql")).await.during(what)?;
    transaction.execute(&resolve, &[&tenant, &projection, &new.cursor.0]).await.during(what)?;
    crash::point("flip.before_commit");
    transaction.commit().await.map_err(|error| explain_commit(&error, what))?;
    crash::point("flip.after_commit");
    Ok(Flip::Flipped { old_generation, old })
}

pub(super) async fn abandon(store: &PostgresStore, scope: &Scope, run_id: Uuid) -> Result<()> {
    let what = "abandon a generation";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/abandon_build.sql")).await.during(what)?;
    client.execute(&statement, &[&scope.tenant.as_str(), &scope.projection, &Key::from(run_id)]).await.during(what)?;
    Ok(())
}
