//! `verify`: proof that rows, digests and log agree.

use super::Context;
use clap::Args;
use decisiongraph_actors::admin::{AdminError, AdminRequest, ExitCode, JobRequest};

/// Compare the stored digest, the live rows and the log; change nothing
///
/// Three digests at one position, in one snapshot: the stored one, one recomputed from the rows, one recomputed from the log. Any
/// difference is drift: the first rows that differ are named, and the exit code is 3.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph verify --projection context_graph --json")]
pub struct Verify {
    /// Print the job and return: the node goes on with it by itself
    #[arg(long)]
    detach: bool,
}

impl Verify {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        context.job(AdminRequest::Verify(request(context, self.detach)), self.detach).await
    }
}

/// The scopes that the global flags name.
pub fn request(context: &Context, detach: bool) -> JobRequest {
    JobRequest {
        tenant: context.globals.tenant.clone(),
        projection: context.globals.projection(),
        until: None,
        run_id: context.globals.request_id,
        detach,
        passed_on: false,
    }
}
