//! Scopes, as the database has them and as the workers of every node see them.

use super::{AnswerFrom, Asking, NodeAnswers};
use crate::cluster::ASK_ALL_DEADLINE;
use crate::node::condition::Condition;
use crate::node::lives::Lives;
use crate::tenants::CoordinatorMessage;
use decisiongraph_admin::status::{no_key, status};
use decisiongraph_admin::why::why;
use decisiongraph_admin::{health, narrow, overview};
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{
    AdminError, Finding, FromNode, Handle, HealthReply, HealthRequest, HealthWord, Notice, Partial, PauseRequest,
    PeerRequest, ResumeRequest, ScopeFilter, SkipRequest, StatusReply, StatusRequest, SteerReply, WhyReply, WhyRequest,
};
use decisiongraph_store::{ReadView, Skip};

/// Scopes as the database and the workers of every node have them.
struct Seen {
    status: StatusReply,
    /// Snapshot in which the status was read.
    view: Box<dyn ReadView>,
    lives: Lives,
}

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
        let Seen { mut status, view, .. } = self.node.seen(&request.filter).await?;
        if self.reaches_all {
            status.unsealed = no_key(&self.node.0.engine, &*view, &status).await?;
        }
        let mut reply = overview::page(&*view, status, &request).await?;
        if !self.reaches_all {
            narrow::narrow(&mut reply);
        }
        Ok(reply)
    }
}

impl AnswerFrom<FromNode, HealthRequest> for Asking<'_> {
    async fn answer_from(&self, request: HealthRequest) -> Result<HealthReply, AdminError> {
        self.node.health(&request.0, self.reaches_all).await
    }
}

impl AnswerFrom<FromNode, WhyRequest> for Asking<'_> {
    async fn answer_from(&self, request: WhyRequest) -> Result<WhyReply, AdminError> {
        self.node.why(&request.filter, request.all, self.reaches_all).await
    }
}

impl NodeAnswers {
    /// Has this tenant's workers check their scopes again, on every node: the scopes were changed.
    pub(super) fn reconsider(&self, tenant: &TenantId) {
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
    pub(in crate::node) fn look_again(&self, tenant: &TenantId) -> bool {
        let coordinator = self.0.tenants.cell(tenant).and_then(|cell| cell.coordinator());
        coordinator.is_some_and(|coordinator| coordinator.cast(CoordinatorMessage::Reconsider).is_ok())
    }

    /// Collects what the workers of every node do at these scopes. Names each node that cannot be asked within
    /// [`ASK_ALL_DEADLINE`].
    async fn lives(&self, filter: &ScopeFilter) -> Lives {
        let others = self.0.links.ask_all(&PeerRequest::Live(filter.clone()), ASK_ALL_DEADLINE).await;
        Lives::merge(self.live(filter), others)
    }

    /// Asks the nodes first, so that no snapshot waits for one that hangs.
    async fn seen(&self, filter: &ScopeFilter) -> Result<Seen, AdminError> {
        let lives = self.lives(filter).await;
        let (mut status, view) = status(&*self.0.store, filter).await?;
        for scope in &mut status.scopes {
            let tenant = scope.tenant.clone();
            let me = &self.0.owner.node;
            lives.show(scope, me, || self.0.board.placement.whose(me, &tenant));
        }
        status.partial.clone_from(&lives.partial);
        for node in self.unlinked() {
            let error = self.unreachable(&node);
            status.partial.push(Partial { node, error });
        }
        Ok(Seen { status, view, lives })
    }

    /// Lists live members without a link: other machines cannot reach them or this node.
    pub(in crate::node) fn unlinked(&self) -> Vec<String> {
        let linked: Vec<String> = self.0.links.states().into_iter().map(|link| link.node).collect();
        let members = self.0.board.members.borrow();
        let names = members.iter().filter(|member| member.is_live()).map(|member| member.owner.node.clone());
        names.filter(|name| *name != self.0.owner.node && !linked.contains(name)).collect()
    }

    pub(super) fn unreachable(&self, node: &str) -> AdminError {
        let (message, next) = if self.0.links.are_open() {
            (
                format!("node {node} has no cluster_listen, so other nodes cannot ask it"),
                "configure one, or ask that node directly",
            )
        } else {
            (
                "this node has no cluster_listen, so it cannot ask others".to_owned(),
                "configure one, or ask that node directly",
            )
        };
        AdminError::new(Category::Unavailable, message).next(next)
    }

    async fn health(&self, filter: &ScopeFilter, reaches_all: bool) -> Result<HealthReply, AdminError> {
        let condition = Condition::of(&self.0.board);
        let own = condition.findings();
        if condition.database_fault.is_some() {
            // Nothing else can be asked.
            let findings = if reaches_all { own } else { narrow::general(own.into_iter()).into_iter().collect() };
            return Ok(HealthReply { health: HealthWord::Failed, scopes: 0, findings, partial: Vec::new() });
        }
        let Seen { mut status, view, lives } = self.seen(filter).await?;
        health::measure(&*view, &mut status).await?;
        let nodes: Vec<Finding> = own.into_iter().chain(lives.unasked()).chain(lives.findings).collect();
        let mut reply = if reaches_all {
            let mut reply = health::findings(&status);
            // What stops a seal is a finding of its scope, too.
            let told = |node: &Finding| {
                reply.findings.iter().any(|it| it.subject == node.subject && it.message == node.message)
            };
            let nodes: Vec<Finding> = nodes.into_iter().filter(|node| !told(node)).collect();
            reply.findings.extend(nodes);
            reply.findings.extend(health::unsealed(&self.0.engine, &*view, &status).await?);
            reply
        } else {
            narrow::health(&mut status, nodes)
        };
        reply.findings.sort_by_key(|finding| std::cmp::Reverse(finding.health));
        reply.health = reply.findings.first().map_or(HealthWord::Ok, |worst| worst.health);
        Ok(reply)
    }

    /// Lists the causes, the node's own first. The appenders' own causes say how long the mark is held up.
    async fn why(&self, filter: &ScopeFilter, all: bool, reaches_all: bool) -> Result<WhyReply, AdminError> {
        let condition = Condition::of(&self.0.board);
        let own = Condition { mark_held: None, ..condition.clone() }.findings();
        if condition.database_fault.is_some() {
            let causes = if reaches_all { own } else { narrow::general(own.into_iter()).into_iter().collect() };
            return Ok(WhyReply { causes, ..WhyReply::default() });
        }
        let Seen { mut status, view, lives } = self.seen(filter).await?;
        overview::measure(&*view, &mut status, all).await?;
        let nodes = own.into_iter().chain(lives.unasked()).chain(lives.findings);
        if reaches_all {
            let mut reply = why(&status, all);
            reply.causes.splice(0..0, nodes);
            return Ok(reply);
        }
        let known = why(&status, all).causes;
        let general = narrow::general(nodes.chain(known));
        narrow::narrow(&mut status);
        status.waiting_for.clear();
        Ok(WhyReply { causes: general.into_iter().collect(), ..why(&status, all) })
    }
}
