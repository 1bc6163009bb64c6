//! Jobs of a node: started, continued, cancelled and watched through the replay coordinator.

use super::{AnswerFrom, Asking, NodeAnswers};
use crate::board::Whose;
use crate::jobs::ReplayMessage;
use crate::node::tree;
use decisiongraph_admin::jobs::{advise, run_request};
use decisiongraph_admin::runs::unknown_run;
use decisiongraph_engine::seal::known::{DATABASE, configured};
use decisiongraph_engine::{Engine, RunRequest};
use decisiongraph_projections::Category;
use decisiongraph_protocol::{
    AdminError, CancelRunRequest, CatchUpRequest, FromNode, Handle, JobReply, JobRequest, RebuildRequest,
    ResumeRunRequest, RetryRequest, VerifyRequest, WATCH_MS_MAX, WatchReply, WatchRunRequest,
};
use decisiongraph_store::{Result as StoreResult, Run, RunMode};
use ractor::RpcReplyPort;
use ractor::rpc::CallResult;
use std::time::Duration;
use uuid::Uuid;

/// Longest wait for another node to begin a job.
const PASS_ON_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for the replay coordinator.
const REPLAY_WAIT: Duration = Duration::from_secs(15);

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
        let RetryRequest { tenant, projection, reason } = request;
        self.start(JobRequest { tenant, projection, reason, ..JobRequest::default() }, RunMode::CatchUp).await
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
        if let Some(against) = job.verify.as_ref().and_then(|part| part.against.as_deref()) {
            known_memory(&self.node.0.engine, against)?;
        }
        let run_id = job.run_id.unwrap_or(self.id);
        if mode == RunMode::CatchUp
            && let Some(reply) = self.node.pass_on(run_id, &job, self.by).await
        {
            return Ok(reply);
        }
        let request: RunRequest = run_request(job, mode, self.by)?;
        let run = self.node.replay(|reply| ReplayMessage::Start(run_id, request, reply)).await?;
        self.begun(run.run_id).await
    }

    async fn begun(&self, run_id: Uuid) -> Result<JobReply, AdminError> {
        self.answer(WatchRunRequest { run_id, wait_ms: 0 }).await.map(JobReply::Begun)
    }
}

/// Refuses a memory that this node is not configured with: a caller does not choose files for it to read.
fn known_memory(engine: &Engine, against: &str) -> Result<(), AdminError> {
    let mut known = configured(engine.sealing());
    known.push(DATABASE.to_owned());
    match known.iter().any(|name| name == against) {
        true => Ok(()),
        false => {
            let text = format!("`{against}` is not a memory of this node's seal; it has {}", known.join(", "));
            Err(AdminError::new(Category::InvalidArgument, text))
        }
    }
}

impl NodeAnswers {
    /// Passes the job on to the node that has the tenant, which knows what its workers do. None when this node follows
    /// them, from the database.
    async fn pass_on(&self, run_id: Uuid, job: &JobRequest, by: &str) -> Option<JobReply> {
        let parts = &self.0;
        let tenant = job.tenant.clone().unwrap_or_default();
        let Whose::Theirs(node) = parts.board.placement.whose(&parts.owner.node, &tenant) else { return None };
        if job.passed_on {
            return None;
        }
        let first_asked_by = Some(by.to_owned());
        let job = JobRequest { run_id: Some(run_id), passed_on: true, first_asked_by, ..job.clone() };
        let passed = parts.links.ask(&node, CatchUpRequest(job), PASS_ON_WAIT).await;
        // A failed attempt may have started the run: the same id is not started twice.
        passed.inspect_err(|error| tracing::debug!(%node, %run_id, "the job was not forwarded: {}", error.message)).ok()
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
            .next("repeat the request with the same id, or check `decisiongraph runs`")),
            Ok(CallResult::SenderError) => {
                Err(AdminError::new(Category::OutcomeUnknown, "the replay coordinator ended before it answered")
                    .next("repeat the request with the same id, or check `decisiongraph runs`"))
            }
            Err(_) => Err(starting()),
        }
    }
}
