//! Snapshot of the actor tree, and the disagreements between actors and database.

use super::{AnswerFrom, Asking, NodeAnswers};
use crate::node::condition::database_fault;
use crate::node::shown::shown;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{ActorEntry, AdminError, Disagreement, FromNode, NodeFacts, TreeReply, TreeRequest};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Longest wait for a node that is asked through this node.
const PASS_ON_DEADLINE: Duration = Duration::from_secs(5);
/// Actors per page of the dump, at most.
pub const TREE_ACTORS_MAX: i64 = 10_000;
/// Tenants whose scopes a dump reads at a time.
const HEADS_PAGE: usize = 2_000;
/// Disagreements that a dump names, at most.
const DISAGREEMENTS_MAX: usize = 100;

impl AnswerFrom<FromNode, TreeRequest> for Asking<'_> {
    async fn answer_from(&self, request: TreeRequest) -> Result<TreeReply, AdminError> {
        self.node.tree(&request).await
    }
}

impl NodeAnswers {
    async fn tree(&self, request: &TreeRequest) -> Result<TreeReply, AdminError> {
        let parts = &self.0;
        if let Some(node) = request.of.as_deref().filter(|node| *node != parts.owner.node) {
            return self.tree_of(node, request).await;
        }
        if !(1..=TREE_ACTORS_MAX).contains(&request.limit) {
            return Err(AdminError::new(
                Category::InvalidArgument,
                format!("limit must be 1 to {TREE_ACTORS_MAX}, not {}", request.limit),
            ));
        }
        let limit = request.limit as usize;
        let under = request.under.as_deref().unwrap_or("node");
        let actors = parts.table.snapshot(under, request.after.as_deref(), limit);
        if actors.is_empty() && request.after.is_none() {
            return Err(AdminError::new(Category::NotFound, format!("there is no actor `{under}`"))
                .next("`decisiongraph tree` shows all of them"));
        }
        let actors: Vec<ActorEntry> = actors.into_iter().map(shown).collect();
        let next = (actors.len() == limit).then(|| actors.last().map(|actor| actor.path.clone())).flatten();
        let disagreements = match request.after {
            None if parts.board.database.is_up() => self.disagreements().await?,
            _ => Vec::new(),
        };
        Ok(TreeReply { node: self.facts(), actors, disagreements, next })
    }

    /// Asks another node for its dump, over the link to it.
    async fn tree_of(&self, node: &str, request: &TreeRequest) -> Result<TreeReply, AdminError> {
        if self.unlinked().iter().any(|name| name == node) {
            return Err(self.unreachable(node));
        }
        let request = TreeRequest { of: None, ..request.clone() };
        self.0.links.ask(node, request, PASS_ON_DEADLINE).await.map_err(|error| match error.category {
            Category::NotFound => {
                AdminError { message: format!("{} has no link to a node `{node}`", self.0.owner.node), ..error }
            }
            _ => error,
        })
    }

    fn facts(&self) -> NodeFacts {
        let parts = &self.0;
        let mark = parts.board.mark.borrow().clone();
        let (running, waiting) = parts.tenants.count();
        NodeFacts {
            name: parts.owner.node.clone(),
            incarnation: parts.owner.incarnation.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(parts.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            database: parts.store.address(),
            database_state: database_fault(&parts.board.database.state()).unwrap_or_else(|| "up".to_owned()),
            lease_left_ms: u64::try_from(parts.board.validity.left().as_millis()).unwrap_or(u64::MAX),
            mark: mark.mark,
            waiting_for: mark.waiting_for,
            tenants_running: running as u64,
            tenants_waiting: waiting as u64,
            jobs: parts.jobs.registry.running().len() as u64,
            draining: parts.board.draining.has_begun(),
            actors: parts.table.len() as u64,
        }
    }

    /// Finds scopes that are owned but not running, running but not owned, or acknowledged but not durable. Memory is
    /// read first: the database may be ahead of it, never behind.
    async fn disagreements(&self) -> Result<Vec<Disagreement>, AdminError> {
        let parts = &self.0;
        let mut live = HashMap::new();
        for cell in parts.tenants.cells() {
            for (place, projection) in cell.scopes.iter().enumerate() {
                live.insert((cell.tenant.clone(), projection.name()), cell.live(place));
            }
        }
        let view = parts.store.view().await?;
        let mark = parts.board.mark.borrow().mark;
        let mut behind = HashSet::new();
        let (scopes, mut after) = (parts.tenants.scope_names(), None::<TenantId>);
        loop {
            let page = view.tenants_behind(&scopes, mark, after.as_ref(), HEADS_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            behind.extend(page.into_iter().map(|(tenant, _)| tenant));
        }
        let mut found = Vec::new();
        let mut after: Option<TenantId> = None;
        loop {
            let page = view.scope_heads(after.as_ref(), HEADS_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.scope.tenant.clone());
            for head in page {
                let ours = head.owner_live && head.owner.as_deref() == Some(&parts.owner.node);
                let running = live.get(&(head.scope.tenant.clone(), head.scope.projection));
                let what = match running {
                    None if ours && behind.contains(&head.scope.tenant) && !parts.tenants.waits(&head.scope.tenant) => {
                        "owned by this node and behind, but no actor works on it".to_owned()
                    }
                    Some(live) if live.cursor > head.cursor => format!(
                        "its worker says {}, the database {}: something was acknowledged that is not durable",
                        live.cursor, head.cursor
                    ),
                    Some(live) if head.owner_live && !ours && live.phase.owns() => format!(
                        "its worker is {}, but the owner is {}",
                        live.phase.as_str(),
                        head.owner.as_deref().unwrap_or("no process")
                    ),
                    _ => continue,
                };
                if found.len() < DISAGREEMENTS_MAX {
                    found.push(Disagreement { scope: head.scope.to_string(), what });
                }
            }
        }
        Ok(found)
    }
}
