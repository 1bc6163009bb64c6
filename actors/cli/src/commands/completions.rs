//! `completions`: a completion script for the shell.

use super::Context;
use super::program::Cli;
use crate::output::written;
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};
use decisiongraph_protocol::{AdminError, ExitCode};
use std::io::Write as _;

/// Print a completion script for your shell
#[derive(Args)]
#[command(
    after_help = "Example:\n  decisiongraph completions bash > ~/.local/share/bash-completion/completions/decisiongraph"
)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub async fn run(self, _context: &Context) -> Result<ExitCode, AdminError> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "decisiongraph", &mut script);
        written(std::io::stdout().write_all(&script))?;
        Ok(ExitCode::OK)
    }
}
