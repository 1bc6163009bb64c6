//! Ownership: heartbeats, and taking and giving up scopes.
//!
//! *Guarantees.* Safety comes from the scope row alone (epoch, cursor, generation). The timing of leases only decides
//! how soon another process takes over. The database's clock decides. Before an epoch is taken from a former owner, its
//! backend is ended if it still exists. A writer that was paused inside a transaction may hold the very rows that the
//! new owner needs.

use super::PostgresStore;
use super::errors::During as _;
use super::member::tell_members;
use super::pool::Connections;
use super::values::Key;
use crate::{Acquisition, Epoch, Generation, Lease, Owner, Position, Result, Scope, StoreError, process};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Category, LogSeq, catalogue};
use std::time::Duration;
use tokio_postgres::Row;
use uuid::Uuid;

/// Most attempts at a contended takeover in one call.
const ATTEMPTS_MAX: usize = 5;

pub(super) async fn heartbeat(store: &PostgresStore, owner: &Owner, ttl: Duration) -> Result<()> {
    let what = "renew the lease";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/heartbeat.sql")).await.during(what)?;
    let incarnation = Key::from(owner.incarnation);
    let renewed = client
        .execute(&statement, &[&owner.node, &incarnation, &ttl.as_secs_f64(), &process::this()])
        .await
        .during(what)?;
    if renewed == 1 {
        return Ok(());
    }
    Err(StoreError::fenced(format!("another process lives under the name {}", owner.node)))
}

pub(super) async fn leave(store: &PostgresStore, owner: &Owner) -> Result<()> {
    let what = "give up the lease";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/leave_node.sql")).await.during(what)?;
    let left = client.execute(&statement, &[&owner.node, &Key::from(owner.incarnation)]).await.during(what)?;
    if left == 0 {
        return Ok(());
    }
    tell_members(&client).await
}

pub(super) async fn bury(store: &PostgresStore, owner: &Owner) -> Result<()> {
    let what = "end the lease of a dead node";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/bury_node.sql")).await.during(what)?;
    let ended = client.execute(&statement, &[&owner.node, &Key::from(owner.incarnation)]).await.during(what)?;
    if ended == 0 {
        return Ok(());
    }
    tell_members(&client).await
}

pub(super) async fn end_of_the_dead(store: &PostgresStore) -> Result<Vec<Owner>> {
    let what = "end the leases of dead processes";
    let client = store.connections.get().await?;
    let processes = client.prepare_cached(include_str!("sql/processes.sql")).await.during(what)?;
    let mut ended = Vec::new();
    for row in client.query(&processes, &[]).await.during(what)? {
        let (node, incarnation, name): (String, Key, String) = (row.get(0), row.get(1), row.get(2));
        if process::is_gone(&name) {
            let end = client.prepare_cached(include_str!("sql/end_lease.sql")).await.during(what)?;
            client.execute(&end, &[&node, &incarnation, &name]).await.during(what)?;
            ended.push(Owner { node, incarnation: incarnation.into() });
        }
    }
    Ok(ended)
}

pub(super) async fn release(store: &PostgresStore, lease: &Lease) -> Result<()> {
    let what = "give up a scope";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/release_scope.sql")).await.during(what)?;
    let (tenant, projection) = (lease.scope.tenant.as_str(), lease.scope.projection);
    let token = Key::from(lease.epoch.token);
    client.execute(&statement, &[&tenant, &projection, &lease.epoch.counter, &token]).await.during(what)?;
    Ok(())
}

pub(super) async fn acquire(store: &PostgresStore, scope: &Scope, owner: &Owner) -> Result<Acquisition> {
    let what = "take a scope";
    let held = store.connections.writer(scope).await?;
    let client = held.client()?;
    let look = client.prepare_cached(include_str!("sql/acquire_look.sql")).await.during(what)?;
    let take = client.prepare_cached(include_str!("sql/acquire_take.sql")).await.during(what)?;
    let (tenant, projection, incarnation) = (scope.tenant.as_str(), scope.projection, Key::from(owner.incarnation));
    for _ in 0..ATTEMPTS_MAX {
        let found = client.query_opt(&look, &[&tenant, &projection, &owner.node, &incarnation]).await.during(what)?;
        let Some(found) = found else {
            create_scope(client, scope).await?;
            continue;
        };
        let (by, expires_in): (Option<String>, Option<f64>) = (found.get(0), found.get(1));
        if let (Some(by), Some(expires_in)) = (by, expires_in) {
            held.keep();
            return Ok(Acquisition::Held { by, expires_in: Duration::from_secs_f64(expires_in.max(0.0)) });
        }
        end_former_writer(client, &store.connections, found.get(4), found.get(5)).await?;
        let (counter, seen): (i64, Key) = (found.get(2), found.get(3));
        let token = Uuid::new_v4();
        let taken = client
            .query_opt(&take, &[&tenant, &projection, &owner.node, &incarnation, &counter, &seen, &Key::from(token)])
            .await
            .during(what)?;
        // None: another process was faster, or the former owner came back to life in between.
        if let Some(taken) = taken {
            let (session, history) = held.session()?.named();
            let lease = Lease {
                scope: scope.clone(),
                owner: owner.clone(),
                epoch: Epoch { counter: taken.get(0), token },
                generation: Generation(taken.get(1)),
                session,
                history,
                taken_from: found.get(6),
            };
            let position = position_at(&taken, 2)?;
            held.keep();
            return Ok(Acquisition::Acquired(lease, position));
        }
    }
    held.keep();
    Err(StoreError::transient(
        Category::Unavailable,
        format!("{scope}: others were taking this scope at the same time"),
    ))
}

/// Creates the scope with its first generation. Not an error when another process did.
pub(super) async fn create_scope(client: &ClientWrapper, scope: &Scope) -> Result<()> {
    let what = "create a scope";
    let statement = client.prepare_cached(include_str!("sql/create_scope.sql")).await.during(what)?;
    let version = catalogue::find(scope.projection).map_or(0, |projection| projection.version());
    match client.execute(&statement, &[&scope.tenant.as_str(), &scope.projection, &version]).await.during(what) {
        Err(error) if !error.duplicate => Err(error),
        _ => Ok(()),
    }
}

/// Ends the backend that wrote under the former epoch, and waits until it is gone. `started` names its start, so that
/// an unrelated backend with the same pid is not ended. A session that this store uses for other scopes is not ended
/// either.
pub(super) async fn end_former_writer(
    client: &ClientWrapper,
    connections: &Connections,
    pid: Option<i32>,
    started: Option<String>,
) -> Result<()> {
    let (Some(pid), Some(started)) = (pid, started) else { return Ok(()) };
    if connections.is_own(pid) {
        return Ok(());
    }
    let what = "end the former writer's session";
    let statement = client.prepare_cached(include_str!("sql/end_former_writer.sql")).await.during(what)?;
    match client.execute(&statement, &[&pid, &started]).await.during(what) {
        // A role without the right to end it leaves that to the session's own time-outs. The epoch fences it all the
        // same.
        Err(error) if error.category == Category::Unauthorized => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// Reads cursor, digest and version, in this order.
pub(super) fn position_at(row: &Row, at: usize) -> Result<Position> {
    let digest = RollingDigest::from_bytes(row.get(at + 1))
        .ok_or_else(|| StoreError::new(Category::Storage, "corruption: a stored rolling digest has not its length"))?;
    Ok(Position { cursor: LogSeq(row.get(at)), digest, version: row.get(at + 2) })
}
