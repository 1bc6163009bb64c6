//! Processes with their leases, and the cluster's members.

use super::PostgresStore;
use super::ask::{Ask, Parameter};
use super::values::Key;
use super::view::View;
use crate::sections::{Members, ReadMembers};
use crate::{Member, MemberFacts, Owner, Result, decide, process};
use async_trait::async_trait;
use deadpool_postgres::Object;
use decisiongraph_projections::TenantId;
use std::time::Duration;

const SQL: &str = include_str!("sql/member.sql");

#[async_trait]
impl Members for PostgresStore {
    async fn heartbeat(&self, owner: &Owner, ttl: Duration) -> Result<()> {
        let ask = self.ask("renew the lease").await?;
        let of: [Parameter<'_>; 4] = [&owner.node, &Key::from(owner.incarnation), &ttl.as_secs_f64(), &process::this()];
        let renewed = ask.run(sql!(SQL, "heartbeat"), &of).await?;
        decide::renewal(owner, renewed == 1)
    }

    async fn join(&self, owner: &Owner, ttl: Duration, facts: &MemberFacts) -> Result<()> {
        let ask = self.ask_in_time("renew the lease").await?;
        let MemberFacts { address, program, protocol } = facts;
        let (incarnation, ttl, process) = (Key::from(owner.incarnation), ttl.as_secs_f64(), process::this());
        let of: [Parameter<'_>; 7] = [&owner.node, &incarnation, &ttl, &process, address, program, protocol];
        let joined: Option<(bool,)> = ask.first(sql!(SQL, "join"), &of).await?;
        decide::renewal(owner, joined.is_some())?;
        if joined == Some((true,)) {
            tell_members(&ask).await?;
        }
        Ok(())
    }

    async fn leave(&self, owner: &Owner) -> Result<()> {
        let ask = self.ask_in_time("give up the lease").await?;
        if ask.run(sql!(SQL, "leave"), &[&owner.node, &Key::from(owner.incarnation)]).await? > 0 {
            tell_members(&ask).await?;
        }
        Ok(())
    }

    async fn bury(&self, owner: &Owner) -> Result<()> {
        let ask = self.ask_in_time("end the lease of a dead node").await?;
        if ask.run(sql!(SQL, "bury"), &[&owner.node, &Key::from(owner.incarnation)]).await? > 0 {
            tell_members(&ask).await?;
        }
        Ok(())
    }

    async fn forget(&self, node: &str) -> Result<bool> {
        let ask = self.ask("forget a node").await?;
        let forgotten: Option<(String,)> = ask.first(sql!(SQL, "forget"), &[&node]).await?;
        if forgotten.is_some() {
            tell_members(&ask).await?;
        }
        Ok(forgotten.is_some())
    }

    async fn end_leases_of_the_dead(&self) -> Result<Vec<Owner>> {
        let ask = self.ask("end the leases of dead processes").await?;
        let mut ended = Vec::new();
        for (node, incarnation, process) in ask.all::<(String, uuid::Uuid, String)>(sql!(SQL, "processes"), &[]).await?
        {
            if process::is_gone(&process) {
                ask.run(sql!(SQL, "end_lease"), &[&node, &Key::from(incarnation), &process]).await?;
                ended.push(Owner { node, incarnation });
            }
        }
        Ok(ended)
    }

    async fn hand_over(&self, owner: &Owner, tenants: &[TenantId]) -> Result<u64> {
        let ask = self.ask_in_time("hand tenants over").await?;
        let tenants: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        ask.run(sql!(SQL, "hand_over"), &[&owner.node, &Key::from(owner.incarnation), &tenants]).await
    }

    async fn cordon(&self, node: &str, draining: bool, reason: &str, by: &str) -> Result<()> {
        let ask = self.ask("cordon a node").await?;
        ask.run(sql!(SQL, "cordon"), &[&node, &draining, &reason, &by]).await?;
        tell_members(&ask).await
    }

    async fn uncordon(&self, node: &str) -> Result<()> {
        let ask = self.ask("uncordon a node").await?;
        ask.run(sql!(SQL, "uncordon"), &[&node]).await?;
        tell_members(&ask).await
    }
}

#[async_trait]
impl ReadMembers for View {
    async fn members(&self) -> Result<Vec<Member>> {
        self.ask("list the members").await?.all(sql!(SQL, "list"), &[]).await
    }

    async fn tenants_of(&self, owner: &Owner) -> Result<Vec<TenantId>> {
        let ask = self.ask("list a node's tenants").await?;
        ask.list(sql!(SQL, "tenants_of"), &[&owner.node, &Key::from(owner.incarnation)]).await
    }
}

/// Notifies the members to check each other. Some may not receive it; they also check periodically.
async fn tell_members(ask: &Ask<'_, Object>) -> Result<()> {
    ask.run(sql!(SQL, "notify"), &[]).await.map(|_| ())
}
