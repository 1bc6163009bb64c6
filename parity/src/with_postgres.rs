//! Runs a command beside a PostgreSQL server that was started for it. A whole test run shares one server; each test has
//! a database cloned from a template.

use anyhow::{Context as _, bail};
use decisiongraph_cli::config::keys::VARIABLE_PREFIX;
use decisiongraph_store::throwaway::{PROGRAMS_VARIABLE, SERVER_VARIABLE, Server};
use std::process::ExitCode;

/// Variables of this program's name that a test run may receive.
const SWITCHES: &[&str] = &["DECISIONGRAPH_SOAK", "DECISIONGRAPH_BLESS", PROGRAMS_VARIABLE];

/// Starts a server, runs the command with its address in the environment, stops the server. The exit code is that of
/// the command.
pub async fn run(command: &[String]) -> anyhow::Result<ExitCode> {
    let [program, arguments @ ..] = command else {
        bail!("no command was given: with-postgres -- COMMAND [ARGUMENT …]")
    };
    let server = Server::start().await?;
    let status = with_switches_only(program)
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

/// Prepares a command with this environment, as build tools need it. Leaves out variables that set a node's keys, or
/// lead tests in the command's own processes to a database.
#[expect(clippy::disallowed_methods, reason = "cargo needs more of the environment than a program of a test")]
fn with_switches_only(program: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let setting = text.starts_with(VARIABLE_PREFIX) && !SWITCHES.contains(&text.as_ref());
        if setting || text.starts_with("PG") || text == "DATABASE_URL" {
            command.env_remove(&name);
        }
    }
    command
}
