//! Runs: the jobs as stored.

use super::failures::{behind, list_filter};
use super::handler::StoreAnswers;
use decisiongraph_engine::report::{Progress, RunReport};
use decisiongraph_projections::Category;
use decisiongraph_protocol::{
    AdminError, CancelRunRequest, Handle, ReadRunRequest, RunsReply, RunsRequest, WATCH_MS_MAX, WatchReply,
    WatchRunRequest, has_ended,
};
use decisiongraph_store::{ListFilter, Paged, Run, RunState};
use std::time::Duration;
use uuid::Uuid;

impl Handle<RunsRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: RunsRequest) -> Result<RunsReply, AdminError> {
        let (before_run, view) = (behind(request.0.after.as_deref())?, self.store().view().await?);
        if let Some(run_id) = before_run {
            view.run(run_id).await?.ok_or_else(|| no_run(run_id))?;
        }
        let Paged { items: runs, more } = view.runs(&ListFilter { before_run, ..list_filter(request.0)? }).await?;
        Ok(RunsReply { runs, more })
    }
}

impl Handle<ReadRunRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ReadRunRequest) -> Result<Run, AdminError> {
        let run = self.store().view().await?.run(request.run_id).await?;
        run.ok_or_else(|| no_run(request.run_id))
    }
}

impl Handle<CancelRunRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: CancelRunRequest) -> Result<Run, AdminError> {
        let cancelled = self.store().request_cancel(request.run_id).await;
        cancelled.map_err(|error| unknown_run(error.into(), request.run_id))
    }
}

// At once when the job has ended, else after the wait.
impl Handle<WatchRunRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: WatchRunRequest) -> Result<Box<WatchReply>, AdminError> {
        let WatchRunRequest { run_id, wait_ms } = request;
        let find = async || self.store().view().await?.run(run_id).await?.ok_or_else(|| no_run(run_id));
        let mut run = find().await?;
        if !has_ended(run.state) && wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms.min(WATCH_MS_MAX))).await;
            run = find().await?;
        }
        let report = has_ended(run.state).then(|| RunReport::stored(run.clone()));
        Ok(Box::new(WatchReply { progress: progress(&run), run, report }))
    }
}

/// Returns the progress of a running job, as its process writes it to the row from time to time.
fn progress(run: &Run) -> Option<Progress> {
    let projection = run.current.clone().filter(|_| run.state == RunState::Running)?;
    Some(Progress {
        mode: run.mode,
        projection,
        cursor: run.cursor,
        target: run.target,
        events: run.events.max(0) as u64,
    })
}

fn no_run(run_id: Uuid) -> AdminError {
    AdminError::new(Category::NotFound, format!("there is no run {run_id}")).next("`decisiongraph runs` lists them")
}

/// Replaces a `not_found` by an error that tells where runs are listed.
pub fn unknown_run(error: AdminError, run_id: Uuid) -> AdminError {
    if error.category == Category::NotFound { no_run(run_id) } else { error }
}
