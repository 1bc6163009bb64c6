//! `demo`: the guided tour.

mod tour;

use super::Context;
use clap::Args;
use decisiongraph_protocol::{AdminError, ExitCode};

/// Take a guided tour: a small company's decisions, from log to proof; needs no setup
///
/// Uses an embedded store in a temporary directory, or in --data-dir to keep it.
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph demo --data-dir ./demo")]
pub struct Demo {}

impl Demo {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        tour::tour(context).await
    }
}
