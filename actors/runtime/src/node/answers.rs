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
use decisiongraph_admin::changes::recorded;
use decisiongraph_admin::health::findings;
use decisiongraph_admin::jobs::{advise, run_request};
use decisiongraph_admin::runs::unknown_run;
use decisiongraph_admin::status::status;
use decisiongraph_admin::tenants::settle;
use decisiongraph_admin::why::why;
use decisiongraph_admin::{StoreAnswers, overview};
use decisiongraph_engine::telemetry::signals;
use decisiongraph_engine::{Control, RunRequest};
use decisiongraph_projections::{Category, TenantId, catalogue};
use decisiongraph_protocol::{
    ActorEntry, AdminError, AdminReply, AdminRequest, Asker, CancelRunRequest, CatchUpRequest, ClusterReply,
    ClusterRequest, CordonRequest, Disagreement, ForgetRequest, FromDatabase, FromNode, Handle, HealthReply,
    HealthRequest, HealthWord, JobReply, JobRequest, NodeFacts, Notice, Partial, PauseRequest, PeerReply, PeerRequest,
    RebuildRequest, Request, ResumeRequest, ResumeRunRequest, RetryRequest, ScopeFilter, SkipRequest, StatusReply,
    StatusRequest, SteerReply, TreeReply, TreeRequest, UncordonRequest, VerifyRequest, WATCH_MS_MAX, WatchReply,
    WatchRunRequest, WhyReply, WhyRequest,
};
use decisiongraph_rpc::Answers;
use decisiongraph_store::{Result as StoreResult, Run, RunMode, Skip};
use futures_util::future::BoxFuture;
use ractor::RpcReplyPort;
use ractor::rpc::CallResult;
use std::collections::{HashMap, HashSet};
use std::future::Future;
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
        let (word, asked) = (request.facts().word, Instant::now());
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
        let asking = Asking { node: self, id, by: &by, control: Control::default() };
        // The node still answers what it can without the database.
        if matches!(request, AdminRequest::Health(_) | AdminRequest::Why(_)) && !self.0.board.database.is_up() {
            return request.answered_by(&asking).await;
        }
        let asked = settle(&*self.0.store, request.subject()).await?;
        let change = request.change(id);
        let work = Box::pin(request.answered_by(&asking));
        recorded(&self.0.engine, &by, change, work).await.map_err(|error| asked.advise(error))
    }
}

/// A request that this node answers. The source of a request's answer, [`FromDatabase`] or [`FromNode`], chooses the
/// implementation.
struct Asking<'a> {
    node: &'a NodeAnswers,
    id: Uuid,
    by: &'a str,
    control: Control,
}

impl Asking<'_> {
    fn database(&self) -> StoreAnswers<'_> {
        StoreAnswers { engine: &self.node.0.engine, id: self.id, by: self.by, control: &self.control }
    }
}

/// Answers one kind of request out of this source.
trait AnswerFrom<Source, R: Request> {
    fn answer_from(&self, request: R) -> impl Future<Output = Result<R::Reply, AdminError>> + Send;
}

impl<R: Request> Handle<R> for Asking<'_>
where
    Self: AnswerFrom<R::Source, R>,
{
    fn answer(&self, request: R) -> impl Future<Output = Result<R::Reply, AdminError>> + Send {
        self.answer_from(request)
    }
}

impl<R: Request> AnswerFrom<FromDatabase, R> for Asking<'_>
where
    for<'s> StoreAnswers<'s>: Handle<R>,
{
    async fn answer_from(&self, request: R) -> Result<R::Reply, AdminError> {
        self.database().answer(request).await
    }
}

// ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

impl AnswerFrom<FromNode, CatchUpRequest> for Asking<'_> {
    async fn answer_from(&self, request: CatchUpRequest) -> Result<JobReply, AdminError> {
        self.start(request.0, RunMode::CatchUp).await
    }
}

impl AnswerFrom<FromNode, RebuildRequest> for Asking<'_> {
    async fn answer_from(&self, request: RebuildRequest) -> Result<JobReply, AdminError> {
        self.start(request.0, RunMode::Rebuild).await
    }
}

impl AnswerFrom<FromNode, VerifyRequest> for Asking<'_> {
    async fn answer_from(&self, request: VerifyRequest) -> Result<JobReply, AdminError> {
        self.start(request.0, RunMode::Verify).await
    }
}

// The workers try again now; a job follows them and reports the result.
impl AnswerFrom<FromNode, RetryRequest> for Asking<'_> {
    async fn answer_from(&self, request: RetryRequest) -> Result<JobReply, AdminError> {
        let RetryRequest { tenant, projection, .. } = request;
        self.start(JobRequest { tenant, projection, ..JobRequest::default() }, RunMode::CatchUp).await
    }
}

impl AnswerFrom<FromNode, ResumeRunRequest> for Asking<'_> {
    async fn answer_from(&self, request: ResumeRunRequest) -> Result<JobReply, AdminError> {
        let run_id = request.run_id;
        let resumed = self.node.replay(|reply| ReplayMessage::Resume(run_id, reply)).await;
        let run = resumed.map_err(|error| unknown_run(error, run_id))?;
        self.begun(run.run_id).await
    }
}

impl AnswerFrom<FromNode, CancelRunRequest> for Asking<'_> {
    async fn answer_from(&self, request: CancelRunRequest) -> Result<Run, AdminError> {
        let run_id = request.run_id;
        let run = self.database().answer(request).await?;
        self.node.0.jobs.registry.cancel(run_id);
        Ok(run)
    }
}

impl AnswerFrom<FromNode, WatchRunRequest> for Asking<'_> {
    async fn answer_from(&self, request: WatchRunRequest) -> Result<Box<WatchReply>, AdminError> {
        let Some(mut job) = self.node.0.jobs.registry.view(request.run_id) else {
            return self.database().answer(request).await;
        };
        let wait = Duration::from_millis(request.wait_ms.min(WATCH_MS_MAX));
        if !wait.is_zero() {
            let _ = tokio::time::timeout(wait, job.outcome.wait_for(Option::is_some)).await;
        }
        let progress = job.progress.borrow().clone();
        let outcome = job.outcome.borrow().clone();
        match outcome {
            Some(Ok(report)) => Ok(Box::new(WatchReply { run: report.run.clone(), progress, report: Some(report) })),
            Some(Err(error)) => Err(advise(error)),
            None => Ok(Box::new(WatchReply { run: job.run, progress, report: None })),
        }
    }
}

impl Asking<'_> {
    async fn start(&self, job: JobRequest, mode: RunMode) -> Result<JobReply, AdminError> {
        let run_id = job.run_id.unwrap_or(self.id);
        if mode == RunMode::CatchUp
            && let Some(reply) = self.node.pass_on(run_id, &job).await
        {
            return Ok(reply);
        }
        let request: RunRequest = run_request(job, mode)?;
        let run = self.node.replay(|reply| ReplayMessage::Start(run_id, request, reply)).await?;
        self.begun(run.run_id).await
    }

    async fn begun(&self, run_id: Uuid) -> Result<JobReply, AdminError> {
        self.answer(WatchRunRequest { run_id, wait_ms: 0 }).await.map(JobReply::Begun)
    }
}

// ── scopes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

impl AnswerFrom<FromNode, PauseRequest> for Asking<'_> {
    async fn answer_from(&self, request: PauseRequest) -> Result<SteerReply, AdminError> {
        let reply = self.database().answer(request).await?;
        Ok(self.node.reconsidered(reply))
    }
}

impl AnswerFrom<FromNode, ResumeRequest> for Asking<'_> {
    async fn answer_from(&self, request: ResumeRequest) -> Result<SteerReply, AdminError> {
        let reply = self.database().answer(request).await?;
        Ok(self.node.reconsidered(reply))
    }
}

impl AnswerFrom<FromNode, SkipRequest> for Asking<'_> {
    async fn answer_from(&self, request: SkipRequest) -> Result<Skip, AdminError> {
        let skip = self.database().answer(request).await?;
        self.node.reconsider(&skip.tenant);
        Ok(skip)
    }
}

impl AnswerFrom<FromNode, StatusRequest> for Asking<'_> {
    async fn answer_from(&self, request: StatusRequest) -> Result<StatusReply, AdminError> {
        let (all, _) = self.node.status_and_lives(&request.filter).await?;
        overview::page(&*self.node.0.store, all, &request).await
    }
}

impl AnswerFrom<FromNode, HealthRequest> for Asking<'_> {
    async fn answer_from(&self, request: HealthRequest) -> Result<HealthReply, AdminError> {
        self.node.health(&request.0).await
    }
}

impl AnswerFrom<FromNode, WhyRequest> for Asking<'_> {
    async fn answer_from(&self, request: WhyRequest) -> Result<WhyReply, AdminError> {
        self.node.why(&request.filter, request.all).await
    }
}

// ── nodes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

impl AnswerFrom<FromNode, TreeRequest> for Asking<'_> {
    async fn answer_from(&self, request: TreeRequest) -> Result<TreeReply, AdminError> {
        self.node.tree(&request).await
    }
}

impl AnswerFrom<FromNode, PeerRequest> for Asking<'_> {
    async fn answer_from(&self, request: PeerRequest) -> Result<PeerReply, AdminError> {
        Ok(self.node.peer(request))
    }
}

impl AnswerFrom<FromNode, ClusterRequest> for Asking<'_> {
    async fn answer_from(&self, request: ClusterRequest) -> Result<ClusterReply, AdminError> {
        self.database().answer(request).await.map(|reply| self.node.known_of(reply))
    }
}

impl AnswerFrom<FromNode, CordonRequest> for Asking<'_> {
    async fn answer_from(&self, request: CordonRequest) -> Result<ClusterReply, AdminError> {
        self.members_changed(self.database().answer(request).await?)
    }
}

impl AnswerFrom<FromNode, UncordonRequest> for Asking<'_> {
    async fn answer_from(&self, request: UncordonRequest) -> Result<ClusterReply, AdminError> {
        self.members_changed(self.database().answer(request).await?)
    }
}

impl AnswerFrom<FromNode, ForgetRequest> for Asking<'_> {
    async fn answer_from(&self, request: ForgetRequest) -> Result<ClusterReply, AdminError> {
        self.members_changed(self.database().answer(request).await?)
    }
}

impl Asking<'_> {
    fn members_changed(&self, reply: ClusterReply) -> Result<ClusterReply, AdminError> {
        self.node.0.signals.members.send();
        Ok(self.node.known_of(reply))
    }
}

impl NodeAnswers {
    // ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Passes the job on to the node that has the tenant, which knows what its workers do. None when this node follows
    /// them, from the database.
    async fn pass_on(&self, run_id: Uuid, job: &JobRequest) -> Option<JobReply> {
        let parts = &self.0;
        let tenant = job.tenant.clone().unwrap_or_default();
        let Whose::Theirs(node) = parts.board.placement.whose(&parts.owner.node, &tenant) else { return None };
        if job.passed_on {
            return None;
        }
        let job = JobRequest { run_id: Some(run_id), passed_on: true, ..job.clone() };
        let passed = parts.links.ask(&node, CatchUpRequest(job), PASS_ON_WAIT).await;
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

    // ── the cluster ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Adds facts that only a node knows.
    fn known_of(&self, mut cluster: ClusterReply) -> ClusterReply {
        let parts = &self.0;
        cluster.answered_by = Some(parts.owner.node.clone());
        cluster.moving = parts.board.placement.moving() as u64;
        cluster.links = parts.links.states();
        for member in &mut cluster.members {
            member.tenants = parts.board.placement.share(&member.node).map(|tenants| tenants as u64);
        }
        cluster
    }

    // ── scopes ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Has this tenant's workers check their scopes again, on every node: the scopes were changed.
    fn reconsider(&self, tenant: &TenantId) {
        self.0.links.tell_all(&Notice::Reconsider { tenant: tenant.clone() });
        if !self.look_again(tenant) {
            self.0.signals.behind.send();
        }
    }

    /// Has the workers of these scopes check them again.
    fn reconsidered(&self, reply: SteerReply) -> SteerReply {
        reply.scopes.first().into_iter().for_each(|scope| self.reconsider(&scope.tenant));
        reply
    }

    /// Has this tenant's workers on this node alone check their scopes again. True when the tenant has actors here.
    pub(super) fn look_again(&self, tenant: &TenantId) -> bool {
        let coordinator = self.0.tenants.cell(tenant).and_then(|cell| cell.coordinator());
        coordinator.is_some_and(|coordinator| coordinator.cast(CoordinatorMessage::Reconsider).is_ok())
    }

    /// Collects what the workers of every node do at these scopes. Names each node that cannot be asked within
    /// [`ASK_ALL_DEADLINE`].
    async fn lives(&self, filter: &ScopeFilter) -> Lives {
        let others = self.0.links.ask_all(&PeerRequest::Live(filter.clone()), ASK_ALL_DEADLINE).await;
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
