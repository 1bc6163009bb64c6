//! Generations: begun beside the live one, completed, flipped to, abandoned.
//!
//! *Guarantees.* A flip is one transaction; lock order is scope row, then generation row. No step takes a lock that
//! keeps readers or the live writer waiting.
//!
//! A large generation owns one table per projection table; see [`partition`].

use super::PostgresStore;
use super::ask::{Ask, Parameter};
use super::errors::{During as _, explain_commit};
use super::rows::is_own;
use super::scope::{FormerWriter, create_scope, end_former_writer};
use super::values::Key;
use super::{failure, partition, sweep};
use crate::decide::{self, Built, Live, Taken};
use crate::sections::Builds;
use crate::{BuildLease, Epoch, Flip, Generation, Position, Result, Scope, Storage, StoreError, Sweep, crash};
use async_trait::async_trait;
use decisiongraph_projections::{Category, Projection, catalogue};
use uuid::Uuid;

pub(super) const SQL: &str = include_str!("sql/build.sql");

fn projection_of(scope: &Scope) -> Result<&'static dyn Projection> {
    catalogue::find(scope.projection).ok_or_else(|| {
        StoreError::new(Category::InvalidArgument, format!("there is no projection {}", scope.projection))
    })
}

#[async_trait]
impl Builds for PostgresStore {
    async fn begin_build(&self, scope: &Scope, run_id: Uuid, storage: Storage) -> Result<BuildLease> {
        let what = "begin a generation";
        let projection = projection_of(scope)?;
        let held = self.connections.builder(scope).await?;
        let client = held.client()?;
        let ask = Ask::new(client, &self.connections, what);
        create_scope(&ask, scope).await?;
        let sequence = match storage {
            Storage::Shared => "dg_generation_shared_seq",
            Storage::Own => "dg_generation_own_seq",
        };
        let (generation,): (Generation,) = ask.one(sql!(SQL, "number"), &[&sequence]).await?;
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
            let (tenant, version) = (scope.tenant.as_str(), projection.version());
            let (run, token) = (Key::from(run_id), Key::from(token));
            // A run that begins again starts over.
            ask.run(sql!(SQL, "abandon"), &[&tenant, &scope.projection, &run]).await?;
            let of: [Parameter<'_>; 6] = [&tenant, &generation.0, &scope.projection, &run, &token, &version];
            ask.run(sql!(SQL, "begin"), &of).await?;
            client.batch_execute("COMMIT").await.map_err(|error| explain_commit(&error, what))
        };
        match self.judged(work).await {
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

    async fn resume_build(&self, scope: &Scope, run_id: Uuid) -> Result<Option<(BuildLease, Position)>> {
        let held = self.connections.builder(scope).await?;
        let ask = Ask::new(held.client()?, &self.connections, "resume a generation");
        let (tenant, run, token) = (scope.tenant.as_str(), Key::from(run_id), Uuid::new_v4());
        let mut resumed = None;
        let found = ask.first(sql!(SQL, "resume_look"), &[&tenant, &scope.projection, &run]).await?;
        if let Some((generation, pid, started)) = found {
            end_former_writer(&ask, FormerWriter { pid, started }).await?;
            let generation: Generation = generation;
            let of: [Parameter<'_>; 3] = [&tenant, &generation.0, &Key::from(token)];
            // None: abandoned or flipped in between.
            let taken: Option<Taken> = ask.first(sql!(SQL, "resume_take"), &of).await?;
            let session = held.session()?.named();
            resumed = taken.map(|taken| taken.resumed(scope, run_id, token, session));
        }
        held.keep();
        Ok(resumed)
    }

    async fn index_build(&self, lease: &BuildLease, columns: &[(usize, usize)]) -> Result<()> {
        self.judged(partition::index(self, lease, projection_of(&lease.scope)?, columns)).await
    }

    async fn finish_build(&self, lease: &BuildLease) -> Result<()> {
        let connections = &self.connections;
        let client = partition::session(connections).await?;
        let tables = projection_of(&lease.scope)?.tables();
        let _turn = match is_own(lease.generation) {
            true => Some(partition::alone(connections, &client, tables, lease.generation).await?),
            false => None,
        };
        let ask = Ask::new(&client, connections, "finish a generation");
        partition::check(&ask, lease).await?;
        if is_own(lease.generation) {
            crash::point("finish.before_index");
            self.judged(partition::complete(connections, &client, lease, tables)).await?;
            self.judged(partition::attach(&client, tables, lease.generation)).await?;
            crash::point("finish.after_index");
        }
        let (tenant, token) = (lease.scope.tenant.as_str(), Key::from(lease.epoch.token));
        let of: [Parameter<'_>; 4] = [&tenant, &lease.generation.0, &lease.epoch.counter, &token];
        if ask.run(sql!(SQL, "ready"), &of).await? != 1 {
            return Err(decide::not_building(lease));
        }
        crash::point("finish.end");
        Ok(())
    }

    async fn flip(&self, lease: &BuildLease) -> Result<Flip> {
        let mut ask = self.ask("flip to a generation").await?;
        crash::point("flip.begin");
        let work = ask.begin().await?;
        let (tenant, projection) = (lease.scope.tenant.as_str(), lease.scope.projection);
        // Lock order: scope row, then generation row.
        let live: Option<Live> = work.first(sql!(SQL, "flip_scope"), &[&tenant, &projection]).await?;
        let live = live.ok_or_else(|| decide::no_scope(&lease.scope))?;
        let (generation, token) = (lease.generation.0, Key::from(lease.epoch.token));
        let of: [Parameter<'_>; 4] = [&tenant, &generation, &lease.epoch.counter, &token];
        let built: Option<Built> = work.first(sql!(SQL, "lock"), &of).await?;
        let Built { position: new, ready, deviating } = built.ok_or_else(|| decide::not_building(lease))?;
        if !ready && is_own(lease.generation) {
            // A promoted server may lack the end of the finish.
            return Err(StoreError::transient(
                Category::Unavailable,
                format!(
                    "{}: the server's history changed before this rebuild was finished; the rebuild continues",
                    lease.scope
                ),
            ));
        }
        let old = live.position;
        if new.cursor < old.cursor {
            let of: [Parameter<'_>; 3] = [&tenant, &new.cursor.0, &old.cursor.0];
            if let (true,) = work.one(sql!(SQL, "flip_behind"), &of).await? {
                return Ok(Flip::Behind { live_cursor: old.cursor });
            }
        }
        work.run(sql!(SQL, "flip_retire"), &[&tenant, &live.generation.0]).await?;
        work.run(sql!(SQL, "flip_promote"), &[&tenant, &generation]).await?;
        let digest = new.digest.to_bytes();
        let of: [Parameter<'_>; 7] =
            [&tenant, &projection, &generation, &new.cursor.0, &digest, &new.version, &deviating];
        work.run(sql!(SQL, "flip_set_live"), &of).await?;
        work.run(sql!(failure::SQL, "resolve"), &[&tenant, &projection, &new.cursor.0]).await?;
        crash::point("flip.before_commit");
        work.commit(explain_commit).await?;
        crash::point("flip.after_commit");
        Ok(Flip::Flipped { old_generation: live.generation, old })
    }

    async fn abandon_build(&self, scope: &Scope, run_id: Uuid) -> Result<()> {
        let ask = self.ask("abandon a generation").await?;
        let of: [Parameter<'_>; 3] = [&scope.tenant.as_str(), &scope.projection, &Key::from(run_id)];
        ask.run(sql!(SQL, "abandon"), &of).await.map(|_| ())
    }

    async fn sweep(&self, rows_max: u64) -> Result<Sweep> {
        self.judged(sweep::sweep(self, rows_max)).await
    }
}
