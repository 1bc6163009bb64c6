//! Membership: the nodes of this cluster, the operators' orders for them, and tenants that change hands.
//!
//! *Never here:* the placement of tenants. It is decided from the data that is read here, and safety never relies on
//! it.

use super::PostgresStore;
use super::errors::During as _;
use super::values::Key;
use crate::{Cordon, Member, MemberFacts, Owner, Result, StoreError, process};
use deadpool_postgres::ClientWrapper;
use decisiongraph_projections::TenantId;
use std::time::Duration;

pub(super) async fn join(store: &PostgresStore, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()> {
    let what = "renew the lease";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/join.sql")).await.during(what)?;
    let (incarnation, ttl) = (Key::from(owner.incarnation), ttl.as_secs_f64());
    let joined = client
        .query_opt(
            &statement,
            &[&owner.node, &incarnation, &ttl, &facts.address, &facts.program, &facts.protocol, &process::this()],
        )
        .await
        .during(what)?;
    match joined.map(|row| row.get(0)) {
        Some(true) => tell_members(&client).await,
        Some(false) => Ok(()),
        None => Err(StoreError::fenced(format!("another process lives under the name {}", owner.node))),
    }
}

/// Notifies the members to check each other. Some may not receive it; they also check periodically.
pub(super) async fn tell_members(client: &ClientWrapper) -> Result<()> {
    client.batch_execute(include_str!("sql/notify_members.sql")).await.during("tell the members")
}

pub(super) async fn hand_over(store: &PostgresStore, owner: &Owner, tenants: &[TenantId]) -> Result<u64> {
    let what = "hand tenants over";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/hand_over.sql")).await.during(what)?;
    let tenants: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    client.execute(&statement, &[&owner.node, &Key::from(owner.incarnation), &tenants]).await.during(what)
}

pub(super) async fn cordon(store: &PostgresStore, node: &str, draining: bool, reason: &str, by: &str) -> Result<()> {
    let what = "cordon a node";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/cordon.sql")).await.during(what)?;
    client.execute(&statement, &[&node, &draining, &reason, &by]).await.during(what)?;
    tell_members(&client).await
}

pub(super) async fn uncordon(store: &PostgresStore, node: &str) -> Result<()> {
    let what = "uncordon a node";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/uncordon.sql")).await.during(what)?;
    client.execute(&statement, &[&node]).await.during(what)?;
    tell_members(&client).await
}

pub(super) async fn forget(store: &PostgresStore, node: &str) -> Result<bool> {
    let what = "forget a node";
    let client = store.connections.get().await?;
    let statement = client.prepare_cached(include_str!("sql/forget_node.sql")).await.during(what)?;
    let forgotten: i64 = client.query_one(&statement, &[&node]).await.during(what)?.get(0);
    if forgotten == 0 {
        return Ok(false);
    }
    tell_members(&client).await?;
    Ok(true)
}

pub(super) async fn members(client: &ClientWrapper) -> Result<Vec<Member>> {
    let what = "list the members";
    let statement = client.prepare_cached(include_str!("sql/members.sql")).await.during(what)?;
    let rows = client.query(&statement, &[]).await.during(what)?;
    let mut members: Vec<Member> = rows
        .iter()
        .map(|row| {
            let (incarnation, left): (Key, f64) = (row.get(1), row.get(5));
            Member {
                owner: Owner { node: row.get(0), incarnation: incarnation.into() },
                facts: MemberFacts { address: row.get(2), program: row.get(3), protocol: row.get(4) },
                lease_left: Duration::try_from_secs_f64(left).unwrap_or_default(),
                dead_for: Duration::try_from_secs_f64(-left).unwrap_or_default(),
                joined_at: row.get(6),
                cordon: row.get::<_, Option<bool>>(7).map(|draining| Cordon {
                    draining,
                    reason: row.get(8),
                    by: row.get(9),
                    at: row.get(10),
                }),
            }
        })
        .collect();
    members.sort_by(|a, b| a.owner.node.cmp(&b.owner.node));
    Ok(members)
}

pub(super) async fn tenants_of(client: &ClientWrapper, owner: &Owner) -> Result<Vec<TenantId>> {
    let what = "list a node's tenants";
    let statement = client.prepare_cached(include_str!("sql/tenants_of.sql")).await.during(what)?;
    let rows = client.query(&statement, &[&owner.node, &Key::from(owner.incarnation)]).await.during(what)?;
    Ok(rows.iter().filter_map(|row| super::read::tenant(row, 0)).collect())
}
