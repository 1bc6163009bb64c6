//! Generations: built beside the live one, flipped in one transaction, swept afterwards.
//!
//! A retired generation's rows may be deleted at once. A reader that still sees them has its own snapshot of the
//! write-ahead log, which keeps the rows for it.

use super::SqliteStore;
use super::ask::Ask as _;
use super::errors::Result;
use super::failure::resolve_upto;
use super::scope::{SESSION, create_scope};
use crate::decide::{self, Built, Live, Taken};
use crate::sections::Builds;
use crate::{BuildLease, Epoch, Flip, Generation, Position, Scope, Storage, Sweep, crash};
use async_trait::async_trait;
use decisiongraph_projections::catalogue;
use rusqlite::{Connection, params};
use uuid::Uuid;

const SQL: &str = include_str!("sql/build.sql");

#[async_trait]
impl Builds for SqliteStore {
    async fn begin_build(&self, scope: &Scope, run_id: Uuid, _storage: Storage) -> crate::Result<BuildLease> {
        let scope = scope.clone();
        self.write(move |conn| {
            create_scope(conn, &scope)?;
            abandon(conn, &scope, run_id)?;
            let token = Uuid::new_v4();
            let generation = create(conn, &scope, "building", Some(run_id), token)?;
            let (epoch, (session, history)) = (Epoch { counter: 1, token }, SESSION);
            Ok(BuildLease { scope: scope.clone(), run_id, generation, epoch, session, history })
        })
        .await
    }

    async fn resume_build(&self, scope: &Scope, run_id: Uuid) -> crate::Result<Option<(BuildLease, Position)>> {
        let scope = scope.clone();
        self.write(move |conn| {
            let token = Uuid::new_v4();
            let of = params![scope.tenant.as_str(), scope.projection, run_id, token];
            let taken: Option<Taken> = conn.first(sql!(SQL, "resume_take"), of)?;
            Ok(taken.map(|taken| taken.resumed(&scope, run_id, token, SESSION)))
        })
        .await
    }

    async fn index_build(&self, _lease: &BuildLease, _columns: &[(usize, usize)]) -> crate::Result<()> {
        // Rows and indexes are written together.
        Ok(())
    }

    async fn finish_build(&self, lease: &BuildLease) -> crate::Result<()> {
        let lease = lease.clone();
        self.write(move |conn| {
            crash::point("finish.before_index");
            lock(conn, &lease)?;
            crash::point("finish.after_index");
            crash::point("finish.end");
            Ok(())
        })
        .await
    }

    async fn flip(&self, lease: &BuildLease) -> crate::Result<Flip> {
        let lease = lease.clone();
        let flip = self.write(move |conn| flip(conn, &lease)).await?;
        if matches!(flip, Flip::Flipped { .. }) {
            crash::point("flip.after_commit");
        }
        Ok(flip)
    }

    async fn abandon_build(&self, scope: &Scope, run_id: Uuid) -> crate::Result<()> {
        let scope = scope.clone();
        self.write(move |conn| abandon(conn, &scope, run_id)).await
    }

    async fn sweep(&self, rows_max: u64) -> crate::Result<Sweep> {
        let swept = self.write_bulk(move |conn| sweep(conn, rows_max)).await?;
        crash::point("sweep.after_commit");
        Ok(swept)
    }
}

/// Creates an empty generation at the log's origin.
pub(super) fn create(
    conn: &Connection,
    scope: &Scope,
    state: &str,
    run_id: Option<Uuid>,
    token: Uuid,
) -> Result<Generation> {
    let version = decide::rules_version(scope);
    let of = params![scope.tenant.as_str(), scope.projection, state, run_id, token, version];
    let (generation,) = conn.one(sql!(SQL, "begin"), of)?;
    Ok(generation)
}

/// Reads the build, if this lease still holds it; else `fenced`.
pub(super) fn lock(conn: &Connection, lease: &BuildLease) -> Result<Built> {
    let of = params![lease.generation.0, lease.epoch.counter, lease.epoch.token];
    Ok(conn.first(sql!(SQL, "lock"), of)?.ok_or_else(|| decide::not_building(lease))?)
}

fn flip(conn: &Connection, lease: &BuildLease) -> Result<Flip> {
    crash::point("flip.begin");
    let (tenant, projection) = (lease.scope.tenant.as_str(), lease.scope.projection);
    let live: Option<Live> = conn.first(sql!(SQL, "flip_scope"), [tenant, projection])?;
    let live = live.ok_or_else(|| decide::no_scope(&lease.scope))?;
    let Built { position: new, deviating, .. } = lock(conn, lease)?;
    let old = live.position;
    if new.cursor < old.cursor
        && let (true,) = conn.one(sql!(SQL, "flip_behind"), params![tenant, new.cursor.0, old.cursor.0])?
    {
        return Ok(Flip::Behind { live_cursor: old.cursor });
    }
    conn.run(sql!(SQL, "flip_retire"), [live.generation.0])?;
    conn.run(sql!(SQL, "flip_promote"), [lease.generation.0])?;
    let digest = new.digest.to_bytes();
    let of = params![tenant, projection, lease.generation.0, new.cursor.0, digest, new.version, deviating];
    conn.run(sql!(SQL, "flip_set_live"), of)?;
    resolve_upto(conn, &lease.scope, new.cursor)?;
    crash::point("flip.before_commit");
    Ok(Flip::Flipped { old_generation: live.generation, old })
}

fn abandon(conn: &Connection, scope: &Scope, run_id: Uuid) -> Result<()> {
    conn.run(sql!(SQL, "abandon"), params![scope.tenant.as_str(), scope.projection, run_id])?;
    Ok(())
}

/// Deletes rows of retired generations, at most `rows_max`, and the generations without rows.
fn sweep(conn: &Connection, rows_max: u64) -> Result<Sweep> {
    crash::point("sweep.begin");
    let mut swept = Sweep::default();
    for (generation, tenant, projection) in conn.all::<(i64, String, String)>(sql!(SQL, "sweep_retired"), [])? {
        // A projection of another program's catalogue: that program sweeps it.
        let tables = catalogue::find(&projection).map(|projection| projection.tables());
        let mut empty = tables.is_some();
        for table in tables.unwrap_or_default() {
            let left = rows_max - swept.rows;
            let chunk = i64::try_from(left).unwrap_or(i64::MAX);
            let name = table.name;
            let delete = format!(
                "DELETE FROM {name} WHERE rowid IN
                 (SELECT rowid FROM {name} WHERE tenant_id = ?1 AND generation = ?2 LIMIT ?3)"
            );
            let rows = conn.run(&delete, params![tenant, generation, chunk])? as u64;
            swept.rows += rows;
            if rows == left {
                empty = false;
                break;
            }
        }
        if empty {
            conn.run(sql!(SQL, "sweep_forget"), [generation])?;
            swept.generations += 1;
        } else {
            swept.left += 1;
        }
    }
    crash::point("sweep.before_commit");
    Ok(swept)
}
