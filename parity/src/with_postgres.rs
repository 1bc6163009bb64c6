//! Runs a command beside a PostgreSQL server that was started for it: one server for a whole test run, a database cloned from a
//! template for each test.

use anyhow::{Context as _, bail};
use decisiongraph_store::throwaway::{SERVER_VARIABLE, Server};
use std::process::ExitCode;

/// Starts a server, runs the command with its address in the environment, stops the server. The exit code is the command's.
pub async fn run(command: &[String]) -> anyhow::Result<ExitCode> {
    let [program, arguments @ ..] = command else {
        bail!("no command was given: with-postgres -- COMMAND [ARGUMENT …]")
    };
    let server = Server::start().await?;
    let status = tokio::process::Command::new(program)
        .args(arguments)
        .env(SERVER_VARIABLE, server.admin_url())
        .status()
        .await
        .with_context(|| format!("{program} cannot be run"))?;
    Ok(match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}
