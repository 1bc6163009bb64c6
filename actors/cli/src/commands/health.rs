//! `health`: tells an operator if action is needed.

use super::{Context, status};
use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_protocol::{AdminError, ExitCode, Finding, HealthRequest, of_health};

/// Report the health and the next steps for an operator: ok (exit 0), degraded (10) or failed (11)
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph health --json || alert")]
pub struct Health {}

impl Health {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let health = &context.ask(HealthRequest(status::filter(context))).await?;
        context.output.reply(health, || {
            let mut page = Page::of(format_args!("{} ({} scopes)", health.health.as_str(), number(health.scopes)));
            for Finding { health, subject, message, next } in &health.findings {
                page.line(format_args!("{} {subject}: {message}", health.as_str()));
                if !next.is_empty() {
                    page.line(format_args!("  next: {next}"));
                }
            }
            page
        })?;
        Ok(of_health(health.health))
    }
}
