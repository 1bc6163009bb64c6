//! Processes with their leases, and the cluster's members. The database's clock is here the host's clock, as SQLite
//! reads it.

use super::SqliteStore;
use super::ask::Ask as _;
use super::view::View;
use crate::sections::{Members, ReadMembers};
use crate::{Member, MemberFacts, Owner, Result, decide, process};
use async_trait::async_trait;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::event::tags_to_json;
use rusqlite::params;
use std::time::Duration;
use uuid::Uuid;

const SQL: &str = include_str!("sql/member.sql");

#[async_trait]
impl Members for SqliteStore {
    async fn heartbeat(&self, owner: &Owner, ttl: Duration) -> Result<()> {
        let owner = owner.clone();
        self.write(move |conn| {
            let of = params![owner.node, owner.incarnation, milliseconds(ttl), process::this()];
            let renewed = conn.run(sql!(SQL, "heartbeat"), of)?;
            Ok(decide::renewal(&owner, renewed == 1)?)
        })
        .await
    }

    async fn join(&self, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()> {
        let (owner, facts) = (owner.clone(), facts.clone());
        self.write(move |conn| {
            conn.run(sql!(SQL, "forget_long_dead"), [&owner.node])?;
            let MemberFacts { address, program, protocol } = &facts;
            let (node, incarnation, ttl, process) =
                (&owner.node, owner.incarnation, milliseconds(ttl), process::this());
            let renewed =
                conn.run(sql!(SQL, "join"), params![node, incarnation, ttl, process, address, program, protocol])?;
            Ok(decide::renewal(&owner, renewed == 1)?)
        })
        .await
    }

    async fn leave(&self, owner: &Owner) -> Result<()> {
        let owner = owner.clone();
        self.write(move |conn| conn.run(sql!(SQL, "leave"), params![owner.node, owner.incarnation]).map(|_| ())).await
    }

    async fn bury(&self, owner: &Owner) -> Result<()> {
        let owner = owner.clone();
        self.write(move |conn| conn.run(sql!(SQL, "bury"), params![owner.node, owner.incarnation]).map(|_| ())).await
    }

    async fn forget(&self, node: &str) -> Result<bool> {
        let node = node.to_owned();
        self.write(move |conn| {
            let forgotten: Option<(String,)> = conn.first(sql!(SQL, "forget"), [&node])?;
            if forgotten.is_some() {
                conn.run(sql!(SQL, "uncordon"), [&node])?;
            }
            Ok(forgotten.is_some())
        })
        .await
    }

    async fn end_leases_of_the_dead(&self) -> Result<Vec<Owner>> {
        self.write(|conn| {
            let mut ended = Vec::new();
            for (node, incarnation, process) in conn.all::<(String, Uuid, String)>(sql!(SQL, "processes"), [])? {
                if process::is_gone(&process) {
                    conn.run(sql!(SQL, "end_lease"), params![node, incarnation, process])?;
                    ended.push(Owner { node, incarnation });
                }
            }
            Ok(ended)
        })
        .await
    }

    async fn hand_over(&self, owner: &Owner, tenants: &[TenantId]) -> Result<u64> {
        let owner = owner.clone();
        let tenants: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        let mut list = String::new();
        tags_to_json(&mut list, &tenants);
        self.write(move |conn| {
            let scopes = conn.run(sql!(SQL, "hand_over"), params![owner.node, owner.incarnation, list])?;
            Ok(scopes as u64)
        })
        .await
    }

    async fn cordon(&self, node: &str, draining: bool, reason: &str, by: &str) -> Result<()> {
        let (node, reason, by) = (node.to_owned(), reason.to_owned(), by.to_owned());
        self.write(move |conn| conn.run(sql!(SQL, "cordon"), params![node, draining, reason, by]).map(|_| ())).await
    }

    async fn uncordon(&self, node: &str) -> Result<()> {
        let node = node.to_owned();
        self.write(move |conn| conn.run(sql!(SQL, "uncordon"), [&node]).map(|_| ())).await
    }
}

#[async_trait]
impl ReadMembers for View {
    async fn members(&self) -> Result<Vec<Member>> {
        self.read(|conn| conn.all(sql!(SQL, "list"), [])).await
    }

    async fn tenants_of(&self, owner: &Owner) -> Result<Vec<TenantId>> {
        let owner = owner.clone();
        self.read(move |conn| conn.list(sql!(SQL, "tenants_of"), params![owner.node, owner.incarnation])).await
    }
}

/// Converts a duration. No clock overflows with it.
fn milliseconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 4)
}
