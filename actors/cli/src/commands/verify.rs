//! `verify`: proof that log and seal, rows and digests agree.

use super::Context;
use super::tenants::AllTenants;
use clap::Args;
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::{AdminError, ExitCode, JobRequest, VerifyPart, VerifyRequest};

/// Compare the log with its seal, and the stored digest, the live rows and the log; change nothing
///
/// First the log: each sealed event with its leaf, the leaves with the tree, the tree with every checkpoint that the
/// database, the journal and the places have. Then the rows. Three digests at one position, in one snapshot: the stored
/// one, one recomputed from the rows, one recomputed from the log. Any difference is named, and the exit code is 3.
///
/// What it does not prove: rows that agree with the log do not show that the log is as it was. Only its seal does, as
/// far as a checkpoint is kept out of the reach of those who can write the database.
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph verify --projection context_graph --json
  decisiongraph verify --log-only --against dir:/mnt/seals")]
pub struct Verify {
    /// Check the log alone; on a standby or a read-only copy, too
    #[arg(long, conflicts_with_all = ["no_log", "detach"])]
    log_only: bool,
    /// Compare the rows alone
    #[arg(long, conflicts_with_all = ["since", "against"])]
    no_log: bool,
    /// Take the first SIZE sealed events as checked
    #[arg(long, value_name = "SIZE")]
    since: Option<u64>,
    /// Compare with one memory alone: `database`, `journal`, or a place as in seal_places
    #[arg(long, value_name = "PLACE")]
    against: Option<String>,
    /// Print the job and return; the node continues it in the background
    #[arg(long, conflicts_with = "all_tenants")]
    detach: bool,
    #[command(flatten)]
    all: AllTenants,
}

impl Verify {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Verify { log_only, no_log, since, against, .. } = &self;
        let part = VerifyPart { log_only: *log_only, no_log: *no_log, since: *since, against: against.clone() };
        let part = Some(part).filter(|part| *part != VerifyPart::default());
        let make = |tenant| VerifyRequest(JobRequest { verify: part.clone(), ..request(context, tenant, self.detach) });
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
