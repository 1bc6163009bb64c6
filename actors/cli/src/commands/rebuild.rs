//! `rebuild`: a new generation from the log's origin, then an atomic flip.

use super::steer::Because;
use super::tenants::AllTenants;
use super::{Context, verify};
use crate::output::{bytes, duration, number, or_dash};
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::{
    AdminError, ExitCode, JobRequest, RebuildCheckReply, RebuildCheckRequest, RebuildRequest, VerifyRequest,
};

/// Rebuild the rows from the log, beside the live ones, and flip to the new rows
///
/// Readers are served by the live generation until the flip. An interrupted rebuild continues when run again. After a
/// cancel or a failure, the live generation is untouched.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph rebuild --check\n  decisiongraph rebuild --projection precedent_index"
)]
pub struct Rebuild {
    /// Only report what a rebuild would need and what blocks it: size, time, running jobs, open failures
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Only compare with the rows that a rebuild would write: the same as `verify`
    #[arg(long)]
    dry_run: bool,
    /// Print the job and return; the node continues it in the background
    #[arg(long, conflicts_with_all = ["check", "all_tenants"])]
    detach: bool,
    #[command(flatten)]
    all: AllTenants,
    #[command(flatten)]
    because: Because,
}

impl Rebuild {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let reason = self.because.reason;
        let request = |tenant| JobRequest { reason: reason.clone(), ..verify::request(context, tenant, self.detach) };
        if self.dry_run {
            return context.job_over(self.all, self.detach, |tenant| VerifyRequest(request(tenant))).await;
        }
        if !self.check {
            return context.job_over(self.all, self.detach, |tenant| RebuildRequest(request(tenant))).await;
        }
        context.show_over(self.all, |tenant| RebuildCheckRequest(request(tenant)), text).await
    }
}

fn text(check: &RebuildCheckReply) -> Page {
    let rows = check.projections.iter().map(|estimate| {
        vec![
            estimate.projection.clone(),
            estimate.live_generation.map_or("-".to_owned(), |generation| generation.to_string()),
            number(estimate.cursor.0),
            number(estimate.rows),
            bytes(estimate.bytes),
            or_dash(Some(estimate.size_source.as_str()).filter(|source| !source.is_empty())),
        ]
    });
    let mut page = Page::default();
    page.table(&["projection", "#live generation", "#cursor", "#rows (about)", "#space (about)", "from"], rows);
    let more = if check.events >= check.events_bound { "+" } else { "" };
    let space: u64 = check.projections.iter().map(|estimate| estimate.bytes).sum();
    page.line(format_args!(
        "{}{more} events of tenant {}. About {} of space in addition to the live rows until those are removed, and about {} of time",
        number(check.events),
        check.tenant,
        bytes(space),
        duration(check.seconds)
    ));
    page.line(format_args!("({}).", check.rate_source));
    for blocker in &check.blockers {
        page.line(format_args!("Blocked: {blocker}"));
    }
    if check.ready {
        page.ours("Nothing blocks it.");
    }
    page
}
