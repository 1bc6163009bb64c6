//! Who answers what a node is asked: the trait, and the plain implementation over one engine.
//!
//! *Guarantees of [`EngineAnswers`].* A job is answered with its run as soon as it has one, and goes on by itself; whoever wants to know
//! more watches it. A job's id is that of the ask: asked again after the node died, the same run is found, and gone on with.

use super::job_table::{Followed, JobTable};
use crate::admin::{AdminError, AdminReply, AdminRequest, JobRequest, WatchReply, answer, has_ended, watch_run};
use crate::engine::{Control, Engine};
use decisiongraph_projections::Category;
use decisiongraph_store::RunState;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Answers requests. Never blocks a thread; may be asked many things at the same time.
pub trait Answers: Send + Sync + 'static {
    /// Answers one request, asked under this id. A job is answered with its run ([`AdminReply::Watch`]) when it has begun.
    fn answer(&self, id: Uuid, request: AdminRequest) -> BoxFuture<'_, Result<AdminReply, AdminError>>;
}

/// Answers out of one engine.
pub struct EngineAnswers {
    engine: Arc<Engine>,
    jobs: JobTable,
}

impl EngineAnswers {
    /// Answers out of this engine.
    pub fn new(engine: Arc<Engine>) -> EngineAnswers {
        EngineAnswers { engine, jobs: JobTable::default() }
    }

    async fn respond(&self, id: Uuid, request: AdminRequest) -> Result<AdminReply, AdminError> {
        let named = |job: JobRequest| {
            let run_id = job.run_id.unwrap_or(id);
            (run_id, JobRequest { run_id: Some(run_id), detach: false, ..job })
        };
        match request {
            AdminRequest::CatchUp(job) => {
                let (run_id, job) = named(job);
                self.start_new(run_id, AdminRequest::CatchUp(job)).await
            }
            AdminRequest::Rebuild(job) => {
                let (run_id, job) = named(job);
                self.start_new(run_id, AdminRequest::Rebuild(job)).await
            }
            AdminRequest::Verify(job) => {
                let (run_id, job) = named(job);
                self.start_new(run_id, AdminRequest::Verify(job)).await
            }
            AdminRequest::ResumeRun { run_id } => self.start(AdminRequest::ResumeRun { run_id }).await,
            AdminRequest::WatchRun { run_id, wait_ms } => self.watch(run_id, wait_ms).await,
            AdminRequest::CancelRun { run_id } => {
                let reply = answer(&self.engine, AdminRequest::CancelRun { run_id }, &Control::default()).await?;
                if let Some(job) = self.jobs.find(run_id) {
                    job.cancel.request();
                }
                Ok(reply)
            }
            other => answer(&self.engine, other, &Control::default()).await,
        }
    }

    /// Starts a job, unless it was started under this id before.
    async fn start_new(&self, run_id: Uuid, request: AdminRequest) -> Result<AdminReply, AdminError> {
        let known = self.engine.store().view().await?.run(run_id).await?;
        match known {
            Some(run) if run.state == RunState::Running && !run.node_live => {
                self.start(AdminRequest::ResumeRun { run_id }).await
            }
            Some(_) => self.watch(run_id, 0).await,
            None => self.start(request).await,
        }
    }

    /// Starts a job and waits until it is a run, or has failed to become one.
    async fn start(&self, request: AdminRequest) -> Result<AdminReply, AdminError> {
        let (started, mut run) = watch::channel(None);
        let (progress, seen) = watch::channel(None);
        let (end, mut ended) = watch::channel(None);
        let control = Control { progress: Some(progress), started: Some(started), ..Control::default() };
        let cancel = control.cancel.clone();
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            let outcome = match answer(&engine, request, &control).await {
                Ok(AdminReply::Job(report)) => Ok(report),
                Ok(_) => Err(AdminError::new(Category::Internal, "a job ended without a report")),
                Err(error) => Err(error),
            };
            end.send_replace(Some(outcome));
        });
        let begun = tokio::select! {
            run = run.wait_for(Option::is_some) => run.ok().and_then(|run| run.clone()),
            _ = ended.wait_for(Option::is_some) => None,
        };
        let begun = begun.or_else(|| run.borrow().clone());
        let Some(run) = begun else {
            return match ended.borrow().clone() {
                Some(Err(error)) => Err(error),
                Some(Ok(report)) => {
                    Ok(watched(WatchReply { run: report.run.clone(), progress: None, report: Some(report) }))
                }
                None => Err(AdminError::new(Category::Internal, "a job ended without an outcome")),
            };
        };
        let run_id = run.run_id;
        self.jobs.insert(run_id, Followed { cancel, run, progress: seen, ended });
        self.watch(run_id, 0).await
    }

    /// Where a job stands, now or after `wait_ms`, or as soon as it has ended.
    async fn watch(&self, run_id: Uuid, wait_ms: u64) -> Result<AdminReply, AdminError> {
        let Some(job) = self.jobs.find(run_id) else {
            return watch_run(&**self.engine.store(), run_id, wait_ms).await.map(watched);
        };
        let mut ended = job.ended.clone();
        let wait = Duration::from_millis(wait_ms.min(crate::admin::WATCH_MS_MAX));
        if !wait.is_zero() {
            let _ = tokio::time::timeout(wait, ended.wait_for(Option::is_some)).await;
        }
        let progress = job.progress.borrow().clone();
        let outcome = ended.borrow().clone();
        match outcome {
            Some(Ok(report)) => Ok(watched(WatchReply { run: report.run.clone(), progress, report: Some(report) })),
            Some(Err(error)) => Err(error),
            None => {
                let stored = match self.engine.store().view().await {
                    Ok(view) => view.run(run_id).await.ok().flatten(),
                    Err(_) => None,
                };
                // The row may say that it has ended a moment before the job's own report is here.
                let run = stored.filter(|run| !has_ended(run.state)).unwrap_or_else(|| job.run.clone());
                Ok(watched(WatchReply { run, progress, report: None }))
            }
        }
    }
}

fn watched(watch: WatchReply) -> AdminReply {
    AdminReply::Watch(Box::new(watch))
}

impl Answers for EngineAnswers {
    fn answer(&self, id: Uuid, request: AdminRequest) -> BoxFuture<'_, Result<AdminReply, AdminError>> {
        Box::pin(self.respond(id, request))
    }
}
