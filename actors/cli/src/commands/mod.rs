//! One file per command: its arguments, the request it makes, and the text for people.

pub mod append;
pub mod audit;
pub mod audit_pack;
pub mod backup;
pub mod bisect;
pub mod catch_up;
pub mod changes;
pub mod checkpoint;
pub mod cluster;
pub mod completions;
pub mod consistency;
pub mod demo;
pub mod digest;
pub mod edges;
pub mod events;
mod evidence_file;
pub mod export;
pub mod failures;
pub mod health;
pub mod identity;
pub mod import;
mod job_text;
mod line_source;
pub mod migrate;
pub mod monitor;
pub mod node;
pub mod precedents;
pub mod program;
pub mod prove;
mod read_flags;
pub mod rebuild;
mod receipts;
pub mod runs;
pub mod schema;
pub mod seal;
pub mod status;
pub mod steer;
pub mod subgraph;
pub mod tenants;
pub mod trace;
pub mod traces;
pub mod tree;
mod unreadable;
pub mod validate;
pub mod verify;
pub mod why;

use crate::connection::Connection;
use crate::globals::Globals;
use crate::interrupt;
use crate::output::Output;
use crate::page::Page;
use crate::progress::{Following, Style};
use crate::session::Access;
use clap::Subcommand;
use decisiongraph_engine::{Cancel, Control};
use decisiongraph_projections::TenantId;
use decisiongraph_protocol::report::RunReport;
use decisiongraph_protocol::{AdminError, ExitCode, JobReply, Request, of_job};
use program::Cli;
use tenants::AllTenants;
use tenants::Told;
use tenants::Tour;

/// Context of a command: flags and output.
pub struct Context {
    pub globals: Globals,
    pub output: Output,
}

/// Makes the command of the program's arguments out of the table: a variant per line, and the way to its file.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident($command:ty),)*) => {
        #[derive(Subcommand)]
        pub enum Command {
            $($(#[$attribute])* $name($command),)*
        }

        /// Runs the command.
        pub async fn run(cli: Cli, output: Output) -> Result<ExitCode, AdminError> {
            let context = &Context { globals: cli.globals, output };
            match cli.command {
                $(Command::$name(command) => command.run(context).await,)*
            }
        }
    };
}

// In the order of the help.
commands! {
    Demo(demo::Demo),
    Migrate(migrate::Migrate),
    Import(import::Import),
    Append(append::Append),
    Validate(validate::Validate),
    Schema(schema::Schema),
    Export(export::Export),
    Backup(backup::Backup),
    #[command(visible_alias = "replay")]
    CatchUp(catch_up::CatchUp),
    Rebuild(rebuild::Rebuild),
    Verify(verify::Verify),
    Status(status::Status),
    Health(health::Health),
    Why(why::Why),
    Tenants(tenants::Tenants),
    Tree(tree::Tree),
    Digest(digest::Digest),
    Trace(trace::Trace),
    Traces(Box<traces::Traces>),
    Events(events::Events),
    Subgraph(subgraph::Subgraph),
    Edges(edges::Edges),
    Precedents(precedents::Precedents),
    Failures(failures::Failures),
    Failure(failures::Failure),
    Skips(failures::Skips),
    Skip(steer::Skip),
    Pause(steer::Pause),
    Resume(steer::Resume),
    Retry(steer::Retry),
    Runs(runs::Runs),
    Run(runs::RunArgs),
    Cancel(runs::Cancel),
    Cluster(cluster::Cluster),
    Cordon(cluster::Cordon),
    Uncordon(cluster::Uncordon),
    Forget(cluster::Forget),
    Changes(changes::Changes),
    Seal(seal::Seal),
    Checkpoint(checkpoint::Checkpoint),
    Prove(prove::Prove),
    Consistency(consistency::Consistency),
    AuditPack(audit_pack::AuditPack),
    Audit(Box<audit::Audit>),
    Bisect(bisect::Bisect),
    Monitor(monitor::Monitor),
    Drain(cluster::Drain),
    Node(node::Node),
    Identity(identity::Identity),
    Completions(completions::Completions),
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

    /// Runs a job to its end and shows its progress.
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
