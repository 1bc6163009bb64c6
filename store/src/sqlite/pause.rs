//! Pausing a scope, durably, and resuming it.
//!
//! *Never:* changes owner, generation or cursor.

use super::errors::Result;
use super::lease::create_scope;
use super::read;
use crate::{Scope, ScopeRow, StoreError};
use decisiongraph_projections::Category;
use rusqlite::{Connection, params};
use uuid::Uuid;

/// Pauses the scope, which is created when there is none. An existing pause stays as it is.
pub(super) fn pause(conn: &Connection, scope: &Scope, reason: &str, by: &str) -> Result<ScopeRow> {
    let now = super::now_ms(conn)?;
    if read::scope(conn, scope)?.is_none() {
        create_scope(conn, scope, now)?;
    }
    // A new epoch. A worker of the scope is fenced at its next commit, reads the scope again and sees the pause.
    conn.execute(
        "UPDATE dg_scope SET paused_at_ms = ?3, paused_reason = ?4, paused_by = ?5, epoch = epoch + 1, epoch_token = ?6
         WHERE tenant_id = ?1 AND projection = ?2 AND paused_at_ms IS NULL",
        params![scope.tenant.as_str(), scope.projection, now, reason, by, Uuid::new_v4().as_bytes()],
    )?;
    found(conn, scope)
}

/// Ends the pause.
pub(super) fn resume(conn: &Connection, scope: &Scope) -> Result<ScopeRow> {
    conn.execute(
        "UPDATE dg_scope SET paused_at_ms = NULL, paused_reason = NULL, paused_by = NULL
         WHERE tenant_id = ?1 AND projection = ?2",
        params![scope.tenant.as_str(), scope.projection],
    )?;
    found(conn, scope)
}

fn found(conn: &Connection, scope: &Scope) -> Result<ScopeRow> {
    Ok(read::scope(conn, scope)?
        .ok_or_else(|| StoreError::new(Category::NotFound, format!("there is no scope {scope}")))?)
}
