//! One file per command: its arguments, the request it makes, and the text for people.

pub mod append;
pub mod backup;
pub mod catch_up;
pub mod changes;
pub mod cluster;
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
pub mod node;
pub mod precedents;
mod read_flags;
pub mod rebuild;
pub mod runs;
pub mod status;
pub mod steer;
pub mod subgraph;
pub mod tenants;
pub mod trace;
pub mod tree;
mod unreadable;
pub mod verify;
pub mod why;

use crate::args::{Cli, Command, Globals};
use crate::connection::Connection;
use crate::interrupt;
use crate::output::Output;
use crate::page::Page;
use crate::progress::{Following, Style};
use crate::session::Access;
use decisiongraph_engine::{Cancel, Control};
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::report::RunReport;
use decisiongraph_protocol::{AdminError, ExitCode, JobReply, Request, of_job};
use tenants::AllTenants;
use tenants::Told;
use tenants::Tour;

/// Context of a command: flags and output.
pub struct Context {
    pub globals: Globals,
    pub output: Output,
}

/// Runs the command.
pub async fn run(cli: Cli, output: Output) -> Result<ExitCode, AdminError> {
    // A session that holds up readers of a shared database must be recognisable there.
    let session = match cli.command {
        Command::Import(_) => Some("import"),
        Command::Append(_) => Some("append"),
        _ => None,
    };
    let context = Context { globals: Globals { session, ..cli.globals }, output };
    match cli.command {
        Command::Demo(command) => command.run(&context).await,
        Command::Migrate(command) => command.run(&context).await,
        Command::Import(command) => command.run(&context).await,
        Command::Append(command) => command.run(&context).await,
        Command::Export(command) => command.run(&context).await,
        Command::Backup(command) => command.run(&context).await,
        Command::CatchUp(command) => command.run(&context).await,
        Command::Rebuild(command) => command.run(&context).await,
        Command::Verify(command) => command.run(&context).await,
        Command::Status(command) => command.run(&context).await,
        Command::Health(command) => command.run(&context).await,
        Command::Tenants(command) => command.run(&context).await,
        Command::Tree(command) => command.run(&context).await,
        Command::Why(command) => command.run(&context).await,
        Command::Digest(command) => command.run(&context).await,
        Command::Trace(command) => command.run(&context).await,
        Command::Events(command) => command.run(&context).await,
        Command::Subgraph(command) => command.run(&context).await,
        Command::Edges(command) => command.run(&context).await,
        Command::Precedents(command) => command.run(&context).await,
        Command::Failures(command) => command.run(&context).await,
        Command::Skips(command) => command.run(&context).await,
        Command::Failure(command) => command.run(&context).await,
        Command::Skip(command) => command.run(&context).await,
        Command::Pause(command) => command.run(&context).await,
        Command::Resume(command) => command.run(&context).await,
        Command::Retry(command) => command.run(&context).await,
        Command::Runs(command) => command.run(&context).await,
        Command::Run(command) => command.run(&context).await,
        Command::Cancel(command) => command.run(&context).await,
        Command::Cluster(command) => command.run(&context).await,
        Command::Cordon(command) => command.run(&context).await,
        Command::Uncordon(command) => command.run(&context).await,
        Command::Forget(command) => command.run(&context).await,
        Command::Changes(command) => command.run(&context).await,
        Command::Drain(command) => command.run(&context).await,
        Command::Node(command) => command.run(&context).await,
        Command::Completions(command) => command.run(&context),
    }
}

impl Context {
    /// Sends a request that is not a job, and returns the reply. The first signal ends the process.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, AdminError> {
        interrupt::ends_at_once();
        Connection::open(&self.globals, Access::Read).await?.ask(request).await
    }

    /// Sends a request that is not a job, and prints the reply.
    pub async fn show<R: Request>(
        &self,
        request: R,
        text: impl FnOnce(&R::Reply) -> Page,
    ) -> Result<ExitCode, AdminError> {
        let reply = self.ask(request).await?;
        self.output.reply(&reply, || text(&reply))?;
        Ok(ExitCode::OK)
    }

    /// Sends a request that is not a job for the tenant that is meant, or for all tenants.
    pub async fn show_over<R: Request>(
        &self,
        all: AllTenants,
        make: impl Fn(Option<TenantId>) -> R,
        text: impl Fn(&R::Reply) -> Page,
    ) -> Result<ExitCode, AdminError> {
        if !all.all_tenants {
            return self.show(make(self.globals.tenant.clone()), text).await;
        }
        let mut tour = Tour::start(self).await?;
        while let Some(tenant) = tour.next().await? {
            let reply = tour.connection.ask(make(Some(tenant.clone()))).await;
            tour.add(&tenant, &reply, |_| ExitCode::OK, |reply| Told::Whole(text(reply)))?;
        }
        tour.end()
    }

    /// Runs a job with progress and prints its report; Ctrl-C stops it between batches. With `detach` it prints the job
    /// and leaves it to a node.
    pub async fn job<R: Request<Reply = JobReply>>(&self, request: R, detach: bool) -> Result<ExitCode, AdminError> {
        let connection = Connection::open(&self.globals, Access::Read).await?;
        if detach {
            interrupt::ends_at_once();
            let run = connection.detached(request).await?;
            self.output.reply(&run, || runs::text(&run))?;
            return Ok(ExitCode::OK);
        }
        let cancel = Cancel::default();
        interrupt::asks_first(cancel.clone(), self.output.json);
        let report = self.followed(&connection, request, &cancel).await?;
        self.output.reply(&report, || job_text::report(&report))?;
        Ok(of_job(&report, cancel.is_requested()))
    }

    /// Runs a job over the tenant that is meant, or over all tenants. Of a job that succeeded for one of all tenants,
    /// people see one line.
    async fn job_over<R: Request<Reply = JobReply>>(
        &self,
        all: AllTenants,
        detach: bool,
        make: impl Fn(Option<TenantId>) -> R,
    ) -> Result<ExitCode, AdminError> {
        if !all.all_tenants {
            return self.job(make(self.globals.tenant.clone()), detach).await;
        }
        let mut tour = Tour::start(self).await?;
        while let Some(tenant) = tour.next().await? {
            let report = self.followed(&tour.connection, make(Some(tenant.clone())), &tour.cancel).await;
            let interrupted = tour.cancel.is_requested();
            let exit = |report: &RunReport| of_job(report, interrupted);
            let told = |report: &RunReport| match exit(report) {
                ExitCode::OK => Told::Line(job_text::line_of(report)),
                _ => Told::Whole(job_text::report(report)),
            };
            tour.add(&tenant, &report, exit, told)?;
        }
        tour.end()
    }

    /// Runs a job to its end and shows its progress meanwhile.
    async fn followed<R: Request<Reply = JobReply>>(
        &self,
        connection: &Connection,
        request: R,
        cancel: &Cancel,
    ) -> Result<RunReport, AdminError> {
        let mut control = Control { cancel: cancel.clone(), ..Control::default() };
        let following = Following::start(Style::of(&self.globals), &mut control);
        let report = connection.job(request, &control).await;
        drop(control);
        following.stop().await;
        report
    }
}
