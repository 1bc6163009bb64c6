//! `catch-up`: applies new events.

use super::tenants::AllTenants;
use super::{Context, verify};
use clap::Args;
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::figures::parse_number;
use decisiongraph_protocol::{AdminError, CatchUpRequest, ExitCode, JobRequest};

/// Apply new events to the projections, up to the safe end of the log
///
/// Every batch commits rows, cursor and digest in one transaction: an interrupted catch-up continues where it stopped,
/// and applies nothing twice. A poison event stops its projection and is listed by `decisiongraph failures`; everything
/// before it is applied.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph catch-up --projection trace_summary --until 5000")]
pub struct CatchUp {
    /// Stop at this log position instead of the end
    #[arg(long, value_name = "LOG_SEQ", value_parser = parse_until)]
    until: Option<i64>,
    /// Print the job and return; the node continues it in the background
    #[arg(long, conflicts_with = "all_tenants")]
    detach: bool,
    #[command(flatten)]
    all: AllTenants,
}

fn parse_until(text: &str) -> Result<i64, String> {
    parse_number(text).and_then(|at| if at < 0 { Err("give a position from 0 on".to_owned()) } else { Ok(at) })
}

impl CatchUp {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let make = |tenant| {
            CatchUpRequest(JobRequest {
                until: self.until.map(LogSeq),
                ..verify::request(context, tenant, self.detach)
            })
        };
        context.job_over(self.all, self.detach, make).await
    }
}
