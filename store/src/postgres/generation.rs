//! Generations: begun beside the live one, completed, flipped to, abandoned.
//!
//! *Guarantees.* Every step may be repeated after a crash at any point. A flip is one transaction; lock order is scope
//! row, then generation row. No step takes a lock that keeps readers or the live writer waiting.
//!
//! A large generation owns one table per projection table; see [`partition`].

use super::PostgresStore;
use super::errors::{During as _, explain_commit};
use super::lease::{create_scope, end_former_writer, position_at};
use super::partition;
use super::rows::is_own;
use super::values::Key;
use crate::{BuildLease, Epoch, Flip, Generation, Position, Result, Scope, Storage, StoreError, crash};
use decisiongraph_projections::{Category, Projection, catalogue};
use uuid::Uuid;

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
            sql.push_str(&partition::create_table(table, generation));
        }
    }
    let token = Uuid::new_v4();
    let work = async {
        client.batch_execute(&sql).await.during(what)?;
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
            let (session, history) = held.session()?.named();
            held.keep();
            let epoch = Epoch { counter: 1, token };
            Ok(BuildLease { scope: scope.clone(), run_id, generation, epoch, session, history })
        }
        Err(error) => {
            super::commit::roll_back(held).await;
            Err(error)
        }
    }
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
            let (session, history) = held.session()?.named();
            let epoch = Epoch { counter: taken.get(0), token };
            let generation = Generation(generation);
            let lease = BuildLease { scope: scope.clone(), run_id, generation, epoch, session, history };
            resumed = Some((lease, position_at(&taken, 1)?));
        }
    }
    held.keep();
    Ok(resumed)
}

pub(super) async fn finish(store: &PostgresStore, lease: &BuildLease) -> Result<()> {
    let what = "finish a generation";
    let connections = &store.connections;
    let client = partition::session(connections).await?;
    let tables = projection_of(&lease.scope)?.tables();
    let _turn = match is_own(lease.generation) {
        true => Some(partition::alone(connections, &client, tables, lease.generation).await?),
        false => None,
    };
    partition::check(&client, lease).await?;
    if is_own(lease.generation) {
        crash::point("finish.before_index");
        partition::complete(connections, &client, lease, tables).await?;
        partition::attach(&client, tables, lease.generation).await?;
        crash::point("finish.after_index");
    }
    let (tenant, token) = (lease.scope.tenant.as_str(), Key::from(lease.epoch.token));
    let ready = client
        .execute(include_str!("sql/build_ready.sql"), &[&tenant, &lease.generation.0, &lease.epoch.counter, &token])
        .await
        .during(what)?;
    if ready != 1 {
        return Err(partition::fenced(lease));
    }
    crash::point("finish.end");
    Ok(())
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
        .ok_or_else(|| partition::fenced(lease))?;
    let (ready, deviating): (bool, bool) = (build.get(3), build.get(4));
    if !ready && is_own(lease.generation) {
        // A promoted server may lack the end of the finish.
        return Err(StoreError::transient(
            Category::Unavailable,
            format!(
                "{}: the server's history changed, and this rebuild is not finished in it; it goes on",
                lease.scope
            ),
        ));
    }
    let (old_generation, old) = (Generation(scope.get(0)), position_at(&scope, 1)?);
    let new = position_at(&build, 0)?;
    if new.cursor < old.cursor {
        let behind = transaction.prepare_cached(include_str!("sql/flip_behind.sql")).await.during(what)?;
        let behind = transaction.query_one(&behind, &[&tenant, &new.cursor.0, &old.cursor.0]).await.during(what)?;
        if behind.get(0) {
            transaction.rollback().await.during(what)?;
            return Ok(Flip::Behind { live_cursor: old.cursor });
        }
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
