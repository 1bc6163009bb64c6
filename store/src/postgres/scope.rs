//! Scopes and their digest checkpoints, as readers see them.

use super::errors::During as _;
use super::lease::position_at;
use super::values::Key;
use crate::{Checkpoint, Drift, Epoch, Generation, Paused, Result, Scope, ScopeCounts, ScopeHead, ScopeRow};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::{LogSeq, TenantId, catalogue};
use uuid::Uuid;

pub(super) async fn one(client: &ClientWrapper, scope: &Scope) -> Result<Option<ScopeRow>> {
    Ok(read(client, Some(&scope.tenant), Some(scope.projection)).await?.into_iter().next())
}

pub(super) async fn read(
    client: &ClientWrapper,
    tenant: Option<&TenantId>,
    one: Option<&str>,
) -> Result<Vec<ScopeRow>> {
    let what = "read scopes";
    let statement = client.prepare_cached(include_str!("sql/scopes.sql")).await.during(what)?;
    let rows = client.query(&statement, &[&tenant.map(TenantId::as_str), &one]).await.during(what)?;
    let mut scopes = Vec::with_capacity(rows.len());
    for row in rows {
        // A projection that only a newer program knows is left out.
        let Some(projection) = catalogue::find(row.get(1)) else { continue };
        let Some(tenant) = super::read::tenant(&row, 0) else { continue };
        let position = match position_at(&row, 7) {
            Ok(position) => position,
            // In a list of all scopes, a scope that cannot be read is left out.
            Err(_) if one.is_none() => continue,
            Err(error) => return Err(error),
        };
        let token: Key = row.get(5);
        scopes.push(ScopeRow {
            scope: Scope::new(&tenant, projection),
            owner: row.get(2),
            owner_live: row.get(3),
            epoch: Epoch { counter: row.get(4), token: token.into() },
            generation: Generation(row.get(6)),
            position,
            updated_at: row.get(10),
            cursor_age_seconds: row.get(11),
            paused: row.get::<_, Option<String>>(12).map(|at| Paused { at, reason: row.get(13), by: row.get(14) }),
            deviating: row.get(15),
            drift: match (row.get(16), row.get::<_, Option<Key>>(17)) {
                (Some(at), Some(run)) => Some(Drift { at, run_id: run.into() }),
                _ => None,
            },
        });
    }
    let place =
        |scope: &ScopeRow| catalogue::ALL.iter().position(|projection| projection.name() == scope.scope.projection);
    scopes.sort_by(|a, b| (&a.scope.tenant, place(a)).cmp(&(&b.scope.tenant, place(b))));
    Ok(scopes)
}

pub(super) async fn flipped_by(client: &ClientWrapper, scope: &Scope, run_id: Uuid) -> Result<bool> {
    let what = "look for the run that built a generation";
    let statement = client.prepare_cached(include_str!("sql/flipped_by.sql")).await.during(what)?;
    let run = Key::from(run_id);
    let row = client.query_one(&statement, &[&scope.tenant.as_str(), &scope.projection, &run]).await.during(what)?;
    Ok(row.get(0))
}

pub(super) async fn heads(
    client: &ClientWrapper,
    after_tenant: Option<&TenantId>,
    tenants_max: usize,
) -> Result<Vec<ScopeHead>> {
    let what = "read who holds the scopes";
    let statement = client.prepare_cached(include_str!("sql/scope_heads.sql")).await.during(what)?;
    let after = after_tenant.map_or("", TenantId::as_str);
    let limit = i64::try_from(tenants_max).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&after, &limit]).await.during(what)?;
    let mut heads = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(projection) = catalogue::find(row.get(1)) else { continue };
        let Some(tenant) = super::read::tenant(&row, 0) else { continue };
        heads.push(ScopeHead {
            scope: Scope::new(&tenant, projection),
            owner: row.get(2),
            owner_live: row.get(3),
            epoch: row.get(4),
            cursor: LogSeq(row.get(5)),
            paused: row.get(6),
        });
    }
    heads.sort_by(|a, b| a.scope.cmp(&b.scope));
    Ok(heads)
}

pub(super) async fn checkpoints(client: &ClientWrapper, scope: &Scope, limit: usize) -> Result<Vec<Checkpoint>> {
    let what = "read digest checkpoints";
    let statement = client.prepare_cached(include_str!("sql/checkpoints.sql")).await.during(what)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&scope.tenant.as_str(), &scope.projection, &limit]).await.during(what)?;
    Ok(rows
        .iter()
        .map(|row| Checkpoint {
            cursor: LogSeq(row.get(0)),
            generation: Generation(row.get(1)),
            digest: row.get(2),
            version: row.get(3),
            previous: row.get(4),
            hash: row.get(5),
            recorded_at: row.get(6),
        })
        .collect())
}

pub(super) async fn counts(client: &ClientWrapper) -> Result<ScopeCounts> {
    let what = "count the scopes that stand out";
    let statement = client.prepare_cached(include_str!("sql/scope_counts.sql")).await.during(what)?;
    let row = client.query_one(&statement, &[]).await.during(what)?;
    let count = |column: usize| row.get::<_, i64>(column).unsigned_abs();
    Ok(ScopeCounts { open_failures: count(0), paused: count(1), deviating: count(2), drifted: count(3) })
}
