//! One file a command: its arguments, the request it makes, and the text for people.

pub mod append;
pub mod catch_up;
pub mod completions;
pub mod demo;
pub mod digest;
pub mod edges;
pub mod events;
pub mod export;
pub mod failures;
pub mod health;
pub mod import;
mod job_text;
mod line_source;
pub mod migrate;
pub mod precedents;
mod read_flags;
pub mod rebuild;
pub mod runs;
pub mod status;
pub mod subgraph;
pub mod trace;
pub mod verify;

use crate::args::{Cli, Command, Globals};
use crate::interrupt;
use crate::output::Output;
use crate::progress::{Following, Style};
use crate::session::{Access, connect};
use decisiongraph_actors::admin::{AdminError, AdminReply, AdminRequest, ExitCode, answer, of_job};
use decisiongraph_actors::engine::report::RunReport;
use decisiongraph_actors::engine::{Control, Engine};
use decisiongraph_projections::Category;

/// What a command works with.
pub struct Context {
    pub globals: Globals,
    pub output: Output,
}

/// Runs the command.
pub async fn run(cli: Cli, output: Output) -> Result<ExitCode, AdminError> {
    let context = Context { globals: cli.globals, output };
    match cli.command {
        Command::Demo(command) => command.run(&context).await,
        Command::Migrate(command) => command.run(&context).await,
        Command::Import(command) => command.run(&context).await,
        Command::Append(command) => command.run(&context).await,
        Command::Export(command) => command.run(&context).await,
        Command::CatchUp(command) => command.run(&context).await,
        Command::Rebuild(command) => command.run(&context).await,
        Command::Verify(command) => command.run(&context).await,
        Command::Status(command) => command.run(&context).await,
        Command::Health(command) => command.run(&context).await,
        Command::Digest(command) => command.run(&context).await,
        Command::Trace(command) => command.run(&context).await,
        Command::Events(command) => command.run(&context).await,
        Command::Subgraph(command) => command.run(&context).await,
        Command::Edges(command) => command.run(&context).await,
        Command::Precedents(command) => command.run(&context).await,
        Command::Failures(command) => command.run(&context).await,
        Command::Failure(command) => command.run(&context).await,
        Command::Runs(command) => command.run(&context).await,
        Command::Run(command) => command.run(&context).await,
        Command::Cancel(command) => command.run(&context).await,
        Command::Completions(command) => command.run(&context),
    }
}

impl Context {
    /// Asks what only looks.
    pub async fn ask(&self, request: AdminRequest) -> Result<AdminReply, AdminError> {
        interrupt::ends_at_once();
        let engine = connect(&self.globals, Access::Read).await?;
        answer(&engine, request, &Control::default()).await
    }

    /// Runs a job with progress; Ctrl-C stops it between batches. Prints its report.
    pub async fn job(&self, request: AdminRequest) -> Result<ExitCode, AdminError> {
        let engine = connect(&self.globals, Access::Read).await?;
        let (report, exit) = self.job_on(&engine, request).await?;
        let reply = AdminReply::Job(report);
        self.output.reply(&reply, || match &reply {
            AdminReply::Job(report) => job_text::report(report),
            _ => String::new(),
        })?;
        Ok(exit)
    }

    /// Runs a job on an open engine.
    pub async fn job_on(&self, engine: &Engine, request: AdminRequest) -> Result<(RunReport, ExitCode), AdminError> {
        let mut control = Control::default();
        interrupt::asks_first(control.cancel.clone(), self.output.json);
        let following = Following::start(Style::of(&self.globals), &mut control);
        let reply = answer(engine, request, &control).await;
        let interrupted = control.cancel.is_requested();
        drop(control);
        following.stop().await;
        match reply? {
            AdminReply::Job(report) => {
                let exit = of_job(&report, interrupted);
                Ok((report, exit))
            }
            _ => Err(unexpected()),
        }
    }
}

/// A reply of another kind than was asked for: a defect.
pub fn unexpected() -> AdminError {
    AdminError::new(Category::Internal, "the reply does not fit the request")
}
