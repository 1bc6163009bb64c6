//! Pausing a scope, durably, and resuming it.
//!
//! *Guarantees.* A pause takes a new epoch. A worker can commit another batch only after it has read the scope again,
//! and so seen the pause.
//!
//! *Never:* changes owner, generation or cursor.

use super::PostgresStore;
use super::errors::During as _;
use super::lease::create_scope;
use super::scope;
use super::values::Key;
use crate::{Result, Scope, ScopeRow, StoreError};
use decisiongraph_projections::Category;
use uuid::Uuid;

pub(super) async fn pause(store: &PostgresStore, paused: &Scope, reason: &str, by: &str) -> Result<ScopeRow> {
    let what = "pause a scope";
    let client = store.connections.get().await?;
    create_scope(&client, paused).await?;
    let statement = client.prepare_cached(include_str!("sql/pause_scope.sql")).await.during(what)?;
    let token = Key::from(Uuid::new_v4());
    client
        .execute(&statement, &[&paused.tenant.as_str(), &paused.projection, &reason, &by, &token])
        .await
        .during(what)?;
    scope::one(&client, paused).await?.ok_or_else(|| no_such(paused))
}

pub(super) async fn resume(store: &PostgresStore, paused: &Scope) -> Result<ScopeRow> {
    let what = "resume a scope";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/resume_scope.sql")).await.during(what)?;
    client.execute(&statement, &[&paused.tenant.as_str(), &paused.projection]).await.during(what)?;
    scope::one(&client, paused).await?.ok_or_else(|| no_such(paused))
}

fn no_such(scope: &Scope) -> StoreError {
    StoreError::new(Category::NotFound, format!("there is no scope {scope}"))
}
