//! `health`: whether somebody has to act.

use super::{Context, status, unexpected};
use crate::output::shown;
use clap::Args;
use decisiongraph_actors::admin::{AdminError, AdminReply, AdminRequest, ExitCode, of_health};
use std::fmt::Write as _;

/// Say whether somebody has to act: ok (exit 0), degraded (10) or failed (11)
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph health --json || alert")]
pub struct Health {}

impl Health {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let reply = context.ask(AdminRequest::Health(status::filter(context))).await?;
        let AdminReply::Health(health) = &reply else { return Err(unexpected()) };
        context.output.reply(&reply, || {
            let mut out = format!("{} ({} scopes)", health.health.as_str(), health.scopes);
            for finding in &health.findings {
                let _ = write!(
                    out,
                    "\n{} {}: {}\n  next: {}",
                    finding.health.as_str(),
                    shown(&finding.subject),
                    shown(&finding.message),
                    finding.next
                );
            }
            out
        })?;
        Ok(of_health(health.health))
    }
}
