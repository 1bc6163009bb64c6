//! `verify`: proof that rows, digests and log agree.

use super::Context;
use super::tenants::AllTenants;
use clap::Args;
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::{AdminError, ExitCode, JobRequest, VerifyRequest};

/// Compare the stored digest, the live rows and the log; change nothing
///
/// Three digests at one position, in one snapshot: the stored one, one recomputed from the rows, one recomputed from
/// the log. Any difference is drift: the first rows that differ are named, and the exit code is 3.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph verify --projection context_graph --json")]
pub struct Verify {
    /// Print the job and return; the node continues it in the background
    #[arg(long, conflicts_with = "all_tenants")]
    detach: bool,
    #[command(flatten)]
    all: AllTenants,
}

impl Verify {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let make = |tenant| VerifyRequest(request(context, tenant, self.detach));
        context.job_over(self.all, self.detach, make).await
    }
}

/// Requests a job over the scopes of this tenant that the global flags name.
pub fn request(context: &Context, tenant: Option<TenantId>, detach: bool) -> JobRequest {
    JobRequest {
        tenant,
        projection: context.globals.projection(),
        run_id: context.globals.request_id,
        detach,
        ..JobRequest::default()
    }
}
