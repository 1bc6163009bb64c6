//! Answers of a node: everything that the database can answer, together with what the node's actors know.
//!
//! *Guarantees.* A job is answered with its run as soon as it has one. The words of the database and of a worker are
//! shown side by side; the database's word is the truth. While the database is away, the node still answers what it can
//! without it.

use super::NodeParts;
use super::condition::{Condition, database_fault};
use super::lives::Lives;
use super::shown::shown;
use super::tree;
use crate::board::Whose;
use crate::cluster::ASK_ALL_DEADLINE;
use crate::jobs::ReplayMessage;
use crate::tenants::CoordinatorMessage;
use decisiongraph_admin::changes::{change_of, recorded};
use decisiongraph_admin::health::findings;
use decisiongraph_admin::jobs::{advise, run_request, unknown_run, watch_run};
use decisiongraph_admin::status::status;
use decisiongraph_admin::tenants::settle;
use decisiongraph_admin::why::why;
use decisiongraph_admin::{carry_out, overview};
use decisiongraph_engine::telemetry::signals;
use decisiongraph_engine::{Control, RunRequest};
use decisiongraph_projections::{Category, TenantId, catalogue};
use decisiongraph_protocol::{
    ActorEntry, AdminError, AdminReply, AdminRequest, Asker, ClusterReply, Disagreement, HealthReply, HealthWord,
    JobRequest, NodeFacts, Notice, Partial, PeerRequest, ScopeFilter, StatusReply, TreeReply, TreeRequest,
    WATCH_MS_MAX, WatchReply, WhyReply,
};
use decisiongraph_rpc::Answers;
use decisiongraph_store::{Result as StoreResult, Run, RunMode};
use futures_util::future::BoxFuture;
use ractor::RpcReplyPort;
use ractor::rpc::CallResult;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tracing::Instrument as _;
use uuid::Uuid;

/// Longest wait for another node to begin a job.
const PASS_ON_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for the replay coordinator.
const REPLAY_WAIT: Duration = Duration::from_secs(15);
/// Longest wait for a node that is asked through this node.
const PASS_ON_DEADLINE: Duration = Duration::from_secs(5);
/// Actors per page of the dump, at most.
pub const TREE_ACTORS_MAX: i64 = 10_000;
/// Tenants whose scopes a dump reads at a time.
const HEADS_PAGE: usize = 2_000;
/// Disagreements that a dump names, at most.
const DISAGREEMENTS_MAX: usize = 100;

/// Answers out of a running node.
pub struct NodeAnswers(pub NodeParts);

impl Answers for NodeAnswers {
    fn answer(&self, id: Uuid, asker: Asker, request: AdminRequest) -> BoxFuture<'_, Result<AdminReply, AdminError>> {
        let (word, asked) = (request.word(), Instant::now());
        let span = signals::admin_span(word);
        Box::pin(async move {
            let answer = self.respond(id, &asker, request).instrument(span.clone()).await;
            let category = answer.as_ref().err().map(|error| error.category);
            if let Some(category) = category {
                signals::failed(&span, category);
            }
            let outcome = category.map_or("ok", Category::as_str);
            self.0.telemetry().record(&signals::ADMIN_ASK_DURATION, asked.elapsed().as_secs_f64(), &[word, outcome]);
            answer
        })
    }
}

impl NodeAnswers {
    async fn respond(&self, id: Uuid, asker: &Asker, request: AdminRequest) -> Result<AdminReply, AdminError> {
        let by = asker.name()?;
        match &request {
            // The node still answers what it can without the database.
            AdminRequest::Health(_) | AdminRequest::Why { .. } if !self.0.board.database.is_up() => {
                self.carry_out(id, &by, request).await
            }
            settled => {
                let asked = settle(&*self.0.store, settled).await?;
                let change = change_of(settled, id);
                let done = recorded(&self.0.engine, &by, change, Box::pin(self.carry_out(id, &by, request))).await;
                done.map_err(|error| asked.advise(error))
            }
        }
    }

    async fn carry_out(&self, id: Uuid, by: &str, request: AdminRequest) -> Result<AdminReply, AdminError> {
        match request {
            AdminRequest::CatchUp(job) => self.start(id, job, RunMode::CatchUp).await,
            AdminRequest::Rebuild(job) => self.start(id, job, RunMode::Rebuild).await,
            AdminRequest::Verify(job) => self.start(id, job, RunMode::Verify).await,
            AdminRequest::ResumeRun { run_id, .. } => {
                let resumed = self.replay(|reply| ReplayMessage::Resume(run_id, reply)).await;
                let run = resumed.map_err(|error| unknown_run(error, run_id))?;
                self.watch(run.run_id, 0).await
            }
            AdminRequest::WatchRun { run_id, wait_ms } => self.watch(run_id, wait_ms).await,
            AdminRequest::CancelRun { run_id, .. } => {
                let reply = self.plain(by, request).await?;
                self.0.jobs.registry.cancel(run_id);
                Ok(reply)
            }
            AdminRequest::Pause { .. } | AdminRequest::Resume { .. } | AdminRequest::Skip { .. } => {
                let reply = self.plain(by, request).await?;
                match &reply {
                    AdminReply::Steered(steered) => {
                        steered.scopes.first().into_iter().for_each(|scope| self.reconsider(&scope.tenant));
                    }
                    AdminReply::Skipped(skip) => self.reconsider(&skip.tenant),
                    _ => {}
                }
                Ok(reply)
            }
            // The workers try again now; a job follows them and reports the result.
            AdminRequest::Retry { tenant, projection, .. } => {
                self.start(id, JobRequest { tenant, projection, ..JobRequest::default() }, RunMode::CatchUp).await
            }
            AdminRequest::Status(request) => {
                let (all, _) = self.status_and_lives(&request.filter).await?;
                Ok(AdminReply::Status(overview::page(&*self.0.store, all, &request).await?))
            }
            AdminRequest::Health(filter) => Ok(AdminReply::Health(self.health(&filter).await?)),
            AdminRequest::Why { filter, all } => Ok(AdminReply::Why(self.why(&filter, all).await?)),
            AdminRequest::Tree(request) => Ok(AdminReply::Tree(self.tree(&request).await?)),
            AdminRequest::Cluster
            | AdminRequest::Cordon { .. }
            | AdminRequest::Uncordon { .. }
            | AdminRequest::Forget { .. } => {
                let changes = request.changes();
                let mut reply = self.plain(by, request).await?;
                if changes {
                    self.0.signals.members.send();
                }
                if let AdminReply::Cluster(cluster) = &mut reply {
                    self.known_of(cluster);
                }
                Ok(reply)
            }
            AdminRequest::Peer(request) => Ok(AdminReply::Peer(self.peer(request))),
            other => self.plain(by, other).await,
        }
    }

    async fn plain(&self, by: &str, request: AdminRequest) -> Result<AdminReply, AdminError> {
        carry_out(&self.0.engine, by, request, &Control::default()).await
    }

    // ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────

    async fn start(&self, id: Uuid, job: JobRequest, mode: RunMode) -> Result<AdminReply, AdminError> {
        let run_id = job.run_id.unwrap_or(id);
        if mode == RunMode::CatchUp
            && let Some(reply) = self.pass_on(run_id, &job).await
        {
            return Ok(reply);
        }
        let request: RunRequest = run_request(job, mode)?;
        let run = self.replay(|reply| ReplayMessage::Start(run_id, request, reply)).await?;
        self.watch(run.run_id, 0).await
    }

    /// Passes the job on to the node that has the tenant, which knows what its workers do. None when this node follows
    /// them, from the database.
    async fn pass_on(&self, run_id: Uuid, job: &JobRequest) -> Option<AdminReply> {
        let parts = &self.0;
        let tenant = job.tenant.clone().unwrap_or_default();
        let Whose::Theirs(node) = parts.board.placement.whose(&parts.owner.node, &tenant) else { return None };
        if job.passed_on {
            return None;
        }
        let job = JobRequest { run_id: Some(run_id), passed_on: true, ..job.clone() };
        let passed = parts.links.ask(&node, AdminRequest::CatchUp(job), PASS_ON_WAIT).await;
        // A failed attempt may have started the run: the same id is not started twice.
        passed.inspect_err(|error| tracing::debug!(%node, %run_id, "the job was not passed on: {}", error.message)).ok()
    }

    async fn replay(
        &self,
        message: impl FnOnce(RpcReplyPort<StoreResult<Run>>) -> ReplayMessage,
    ) -> Result<Run, AdminError> {
        let starting = || {
            AdminError::new(Category::Unavailable, "the replay coordinator is being started")
                .next("ask again in a moment; `decisiongraph tree` shows it")
        };
        let actor = tree::jobs_actor(&self.0.table).ok_or_else(starting)?;
        match actor.call(message, Some(REPLAY_WAIT)).await {
            Ok(CallResult::Success(run)) => run.map_err(advise),
            Ok(CallResult::Timeout) => Err(AdminError::new(
                Category::OutcomeUnknown,
                format!("the replay coordinator has not answered within {REPLAY_WAIT:?}"),
            )
            .next("ask again with the same id, or look at `decisiongraph runs`")),
            Ok(CallResult::SenderError) => {
                Err(AdminError::new(Category::OutcomeUnknown, "the replay coordinator ended before it answered")
                    .next("ask again with the same id, or look at `decisiongraph runs`"))
            }
            Err(_) => Err(starting()),
        }
    }

    async fn watch(&self, run_id: Uuid, wait_ms: u64) -> Result<AdminReply, AdminError> {
        let Some(mut job) = self.0.jobs.registry.view(run_id) else {
            return watch_run(&*self.0.store, run_id, wait_ms).await.map(|watch| AdminReply::Watch(Box::new(watch)));
        };
        let wait = Duration::from_millis(wait_ms.min(WATCH_MS_MAX));
        if !wait.is_zero() {
            let _ = tokio::time::timeout(wait, job.outcome.wait_for(Option::is_some)).await;
        }
        let progress = job.progress.borrow().clone();
        let outcome = job.outcome.borrow().clone();
        match outcome {
            Some(Ok(report)) => {
                Ok(AdminReply::Watch(Box::new(WatchReply { run: report.run.clone(), progress, report: Some(report) })))
            }
            Some(Err(error)) => Err(advise(error)),
            None => Ok(AdminReply::Watch(Box::new(WatchReply { run: job.run, progress, report: None }))),
        }
    }

    // ── the cluster ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Adds facts that only a node knows.
    fn known_of(&self, cluster: &mut ClusterReply) {
        let parts = &self.0;
        cluster.answered_by = Some(parts.owner.node.clone());
        cluster.moving = parts.board.placement.moving() as u64;
        cluster.links = parts.links.states();
        for member in &mut cluster.members {
            member.tenants = parts.board.placement.share(&member.node).map(|tenants| tenants as u64);
        }
    }

    // ── scopes ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Has this tenant's workers check their scopes again, on every node: the scopes were changed.
    fn reconsider(&self, tenant: &TenantId) {
        self.0.links.tell_all(&Notice::Reconsider { tenant: tenant.clone() });
        if !self.look_again(tenant) {
            self.0.signals.behind.send();
        }
    }

    /// Has this tenant's workers on this node alone check their scopes again. True when the tenant has actors here.
    pub(super) fn look_again(&self, tenant: &TenantId) -> bool {
        let coordinator = self.0.tenants.cell(tenant).and_then(|cell| cell.coordinator());
        coordinator.is_some_and(|coordinator| coordinator.cast(CoordinatorMessage::Reconsider).is_ok())
    }

    /// Collects what the workers of every node do at these scopes. Names each node that cannot be asked within
    /// [`ASK_ALL_DEADLINE`].
    async fn lives(&self, filter: &ScopeFilter) -> Lives {
        let request = AdminRequest::Peer(PeerRequest::Live(filter.clone()));
        let others = self.0.links.ask_all(&request, ASK_ALL_DEADLINE).await;
        Lives::merge(self.live(filter), others)
    }

    async fn status_and_lives(&self, filter: &ScopeFilter) -> Result<(StatusReply, Lives), AdminError> {
        let (reply, lives) = tokio::join!(status(&*self.0.store, filter), self.lives(filter));
        let mut reply = reply?;
        for scope in &mut reply.scopes {
            let tenant = scope.tenant.clone();
            let me = &self.0.owner.node;
            lives.show(scope, me, || self.0.board.placement.whose(me, &tenant));
        }
        reply.partial.clone_from(&lives.partial);
        for node in self.unlinked() {
            let error = self.unreachable(&node);
            reply.partial.push(Partial { node, error });
        }
        Ok((reply, lives))
    }

    /// Lists live members without a link: other machines cannot reach them or this node.
    pub(super) fn unlinked(&self) -> Vec<String> {
        let linked: Vec<String> = self.0.links.states().into_iter().map(|link| link.node).collect();
        let members = self.0.board.members.borrow();
        let names = members.iter().filter(|member| member.is_live()).map(|member| member.owner.node.clone());
        names.filter(|name| *name != self.0.owner.node && !linked.contains(name)).collect()
    }

    fn unreachable(&self, node: &str) -> AdminError {
        let (message, next) = if self.0.links.are_open() {
            (
                format!("node {node} has no cluster_listen, so other nodes cannot ask it"),
                "give it one, or ask it itself",
            )
        } else {
            (
                "this node has no cluster_listen, so it cannot ask others".to_owned(),
                "give it one, or ask that node itself",
            )
        };
        AdminError::new(Category::Unavailable, message).next(next)
    }

    async fn health(&self, filter: &ScopeFilter) -> Result<HealthReply, AdminError> {
        let condition = Condition::of(&self.0.board);
        let own = condition.findings();
        if condition.database_fault.is_some() {
            // Nothing else can be asked.
            return Ok(HealthReply { health: HealthWord::Failed, scopes: 0, findings: own, partial: Vec::new() });
        }
        let (mut status, lives) = self.status_and_lives(filter).await?;
        overview::measure(&*self.0.store, &mut status, false).await?;
        let mut reply = findings(&status);
        reply.findings.extend(own);
        reply.findings.extend(lives.unasked());
        reply.findings.extend(lives.findings);
        reply.findings.sort_by_key(|finding| std::cmp::Reverse(finding.health));
        reply.health = reply.findings.first().map_or(HealthWord::Ok, |worst| worst.health);
        Ok(reply)
    }

    /// Lists the causes, the node's own first. The appenders' own causes say how long the mark is held up.
    async fn why(&self, filter: &ScopeFilter, all: bool) -> Result<WhyReply, AdminError> {
        let condition = Condition::of(&self.0.board);
        let own = Condition { mark_held: None, ..condition.clone() }.findings();
        if condition.database_fault.is_some() {
            return Ok(WhyReply { causes: own, ..WhyReply::default() });
        }
        let (mut status, lives) = self.status_and_lives(filter).await?;
        overview::measure(&*self.0.store, &mut status, all).await?;
        let mut reply = why(&status, all);
        let nodes = own.into_iter().chain(lives.unasked()).chain(lives.findings);
        reply.causes.splice(0..0, nodes);
        Ok(reply)
    }

    // ── the dump ────────────────────────────────────────────────────────────────────────────────────────────────

    async fn tree(&self, request: &TreeRequest) -> Result<TreeReply, AdminError> {
        let parts = &self.0;
        if let Some(node) = request.of.as_deref().filter(|node| *node != parts.owner.node) {
            return self.tree_of(node, request).await;
        }
        if !(1..=TREE_ACTORS_MAX).contains(&request.limit) {
            return Err(AdminError::new(
                Category::InvalidArgument,
                format!("limit is 1 to {TREE_ACTORS_MAX}, not {}", request.limit),
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
        let request = AdminRequest::Tree(TreeRequest { of: None, ..request.clone() });
        match self.0.links.ask(node, request, PASS_ON_DEADLINE).await {
            Ok(AdminReply::Tree(tree)) => Ok(tree),
            Err(error) if error.category == Category::NotFound => {
                Err(AdminError { message: format!("{} has no link to a node `{node}`", self.0.owner.node), ..error })
            }
            Err(error) => Err(error),
            Ok(_) => {
                Err(AdminError::new(Category::VersionMismatch, format!("node {node} answers with something else")))
            }
        }
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
            lease_left_ms: u64::try_from(parts.board.trust.left().as_millis()).unwrap_or(u64::MAX),
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
            for (place, projection) in catalogue::ALL.iter().enumerate() {
                live.insert((cell.tenant.clone(), projection.name()), cell.live(place));
            }
        }
        let view = parts.store.view().await?;
        let mark = parts.board.mark.borrow().mark;
        let mut behind = HashSet::new();
        let mut after: Option<TenantId> = None;
        loop {
            let page = view.tenants_behind(mark, after.as_ref(), HEADS_PAGE).await?;
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
                        head.owner.as_deref().unwrap_or("nobody")
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
