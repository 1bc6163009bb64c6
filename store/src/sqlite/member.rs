//! Membership: the nodes, the operators' orders for them, and tenants that change hands.

use super::errors::Result;
use crate::{Cordon, Member, MemberFacts, Owner, StoreError, process};
use decisiongraph_projections::TenantId;
use rusqlite::{Connection, params};
use std::time::Duration;
use uuid::Uuid;

/// Time after which a dead node is forgotten, milliseconds.
const FORGOTTEN_AFTER_MS: i64 = 24 * 3600 * 1000;

/// Records the heartbeat of a node.
pub(super) fn join(conn: &Connection, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()> {
    let now = super::now_ms(conn)?;
    let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 4);
    conn.execute(
        "DELETE FROM dg_node WHERE (expires_at_ms < ?1 OR not_before_ms > ?2) AND node <> ?3",
        params![now - FORGOTTEN_AFTER_MS, now + FORGOTTEN_AFTER_MS, owner.node],
    )?;
    let renewed = conn.prepare_cached(include_str!("sql/member_join.sql"))?.execute(params![
        owner.node,
        owner.incarnation.as_bytes(),
        now.saturating_add(ttl_ms),
        now,
        facts.address,
        facts.program,
        facts.protocol,
        now.saturating_sub(ttl_ms),
        process::this()
    ])?;
    if renewed != 1 {
        return Err(StoreError::fenced(format!("another process runs under the name {:?}", owner.node)).into());
    }
    Ok(())
}

/// Gives up this process's scopes of these tenants.
pub(super) fn hand_over(conn: &Connection, owner: &Owner, tenants: &[TenantId]) -> Result<u64> {
    let mut statement = conn.prepare_cached(
        "UPDATE dg_scope SET owner_node = NULL, owner_incarnation = NULL, epoch_token = ?4
         WHERE tenant_id = ?1 AND owner_node = ?2 AND owner_incarnation = ?3",
    )?;
    let mut scopes = 0;
    for tenant in tenants {
        let token = Uuid::new_v4();
        let who = params![tenant.as_str(), owner.node, owner.incarnation.as_bytes(), token.as_bytes()];
        scopes += statement.execute(who)?;
    }
    Ok(scopes as u64)
}

/// Records that a node takes no more tenants.
pub(super) fn cordon(conn: &Connection, node: &str, draining: bool, reason: &str, by: &str) -> Result<()> {
    conn.execute(
        "INSERT INTO dg_cordon (node, draining, reason, cordoned_by, cordoned_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (node) DO UPDATE SET draining = excluded.draining, reason = excluded.reason,
             cordoned_by = excluded.cordoned_by, cordoned_at_ms = excluded.cordoned_at_ms",
        params![node, draining, reason, by, super::now_ms(conn)?],
    )?;
    Ok(())
}

/// Ends the cordon.
pub(super) fn uncordon(conn: &Connection, node: &str) -> Result<()> {
    conn.execute("DELETE FROM dg_cordon WHERE node = ?1", params![node])?;
    Ok(())
}

/// Forgets a node whose lease is over, and the operators' orders for it.
pub(super) fn forget(conn: &Connection, node: &str) -> Result<bool> {
    let dead = "DELETE FROM dg_node WHERE node = ?1 AND (expires_at_ms <= ?2 OR not_before_ms > ?2)";
    let forgotten = conn.execute(dead, params![node, super::now_ms(conn)?])? > 0;
    if forgotten {
        uncordon(conn, node)?;
    }
    Ok(forgotten)
}

/// Lists every node that has not left.
pub(super) fn members(conn: &Connection) -> Result<Vec<Member>> {
    let now = super::now_ms(conn)?;
    let mut statement = conn.prepare_cached(include_str!("sql/members.sql"))?;
    let mut rows = statement.query([now])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        let (incarnation, expires): ([u8; 16], i64) = (row.get(1)?, row.get(5)?);
        let cordon = match row.get::<_, Option<bool>>(7)? {
            Some(draining) => Some(Cordon { draining, reason: row.get(8)?, by: row.get(9)?, at: row.get(10)? }),
            None => None,
        };
        members.push(Member {
            owner: Owner { node: row.get(0)?, incarnation: Uuid::from_bytes(incarnation) },
            facts: MemberFacts { address: row.get(2)?, program: row.get(3)?, protocol: row.get(4)? },
            lease_left: Duration::from_millis(u64::try_from(expires - now).unwrap_or(0)),
            dead_for: Duration::from_millis(u64::try_from(now - expires).unwrap_or(0)),
            joined_at: row.get(6)?,
            cordon,
        });
    }
    Ok(members)
}

/// Lists the tenants with a scope that this process owns.
pub(super) fn tenants_of(conn: &Connection, owner: &Owner) -> Result<Vec<TenantId>> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT tenant_id FROM dg_scope WHERE owner_node = ?1 AND owner_incarnation = ?2 ORDER BY tenant_id",
    )?;
    let mut rows = statement.query(params![owner.node, owner.incarnation.as_bytes()])?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next()? {
        tenants.extend(super::read::tenant(row, 0)?);
    }
    Ok(tenants)
}
