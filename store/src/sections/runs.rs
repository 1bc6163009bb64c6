//! Jobs. A claim on each of its scopes keeps two live jobs apart.

use crate::{Compared, Creation, ListFilter, NewRun, Owner, Paged, Result, Run, RunOutcome, RunProgress};
use async_trait::async_trait;
use uuid::Uuid;

/// Starts, follows, takes over, cancels and ends jobs. A job without a live node holds nothing: the next job that needs
/// one of its scopes first marks it failed.
#[async_trait]
pub trait Runs {
    /// Starts a job: `conflict` when a live job holds one of its scopes. A job whose node is gone no longer holds
    /// anything and is marked failed. The same request under the id of an existing job starts nothing and returns that
    /// job ([`NewRun::repeated`]). A command may therefore be sent again when its answer was lost. Another request
    /// under that id is `conflict`.
    async fn create_run(&self, run: &NewRun) -> Result<Creation>;

    /// Takes over an orphaned, failed or cancelled job: `running` again, by this owner. `conflict` when it runs
    /// elsewhere or one of its scopes is held by another job.
    async fn adopt_run(&self, run_id: Uuid, owner: &Owner) -> Result<Run>;

    /// Writes progress and returns the job in its present state (with `cancel_requested`). `fenced` when another
    /// process has adopted it.
    async fn advance_run(&self, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> Result<Run>;

    /// Ends a job and frees its scopes. `fenced` when another process has adopted it.
    async fn finish_run(&self, run_id: Uuid, owner: &Owner, outcome: RunOutcome) -> Result<Run>;

    /// Remembers a running verify's finding about these scopes of its tenant
    /// ([`ScopeRow::drift`](crate::ScopeRow::drift)), or that they are clean now. A scope that has another live
    /// generation by now is not changed. Nothing is changed when another process has adopted the job.
    async fn note_compared(&self, run_id: Uuid, owner: &Owner, compared: &[Compared]) -> Result<()>;

    /// Asks a job to stop at its next batch. An orphaned job is cancelled at once. `not_found`; `conflict` when it has
    /// ended.
    async fn request_cancel(&self, run_id: Uuid) -> Result<Run>;
}

/// Reads jobs.
#[async_trait]
pub trait ReadRuns {
    /// Lists jobs, newest first, at most [`LIST_BYTES_MAX`](crate::LIST_BYTES_MAX) bytes of them.
    async fn runs(&self, filter: &ListFilter) -> Result<Paged<Run>>;

    /// Reads one job.
    async fn run(&self, run_id: Uuid) -> Result<Option<Run>>;
}
