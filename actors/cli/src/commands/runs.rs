//! `runs`, `run`, `run resume` and `cancel`: jobs.

use super::steer::Because;
use super::{Context, failures, job_text, status};
use crate::output::{number, or_dash};
use crate::page::Page;
use clap::{Args, Subcommand};
use decisiongraph_engine::report::{recorded, verdict};
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, CancelRunRequest, ExitCode, ReadRunRequest, ResumeRunRequest, RunsRequest};
use decisiongraph_store::{Run, RunState};
use uuid::Uuid;

/// List jobs: catch-ups, rebuilds and verifies, newest first
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph runs --open")]
pub struct Runs {
    /// Only jobs that have not ended
    #[arg(long)]
    open: bool,
    /// Most entries, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: i64,
    /// Only jobs older than this one, by id
    #[arg(long, value_name = "ID")]
    after: Option<Uuid>,
}

impl Runs {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let request = failures::list(context, self.open, self.limit, self.after.map(|id| id.to_string()));
        context
            .show(RunsRequest(request), |runs| {
                let rows = runs.runs.iter().map(|run| {
                    vec![
                        run.run_id.to_string(),
                        format!("{}/{}", run.tenant, run.projection),
                        run.mode.as_str().to_owned(),
                        state(run),
                        or_dash(result(run).as_deref()),
                        format!("{} of {}", number(run.cursor.0), number(run.target.0)),
                        number(run.events),
                        run.created_at.clone(),
                        or_dash(run.finished_at.as_deref()),
                    ]
                });
                let mut page = Page::default();
                let headings =
                    ["run", "scope", "mode", "state", "result", "#position", "#events", "created", "finished"];
                page.table(&headings, rows);
                failures::more(&mut page, runs.runs.last().filter(|_| runs.more).map(|last| last.run_id));
                page
            })
            .await
    }
}

/// Sums up a job in a few words: the finding of a verify, or the category of a failure.
fn result(run: &Run) -> Option<String> {
    let failed = || run.error.as_ref().map(|error| error.category.to_string());
    recorded(run).and_then(|scopes| verdict(run, &scopes)).or_else(failed)
}

fn state(run: &Run) -> String {
    if run.state == RunState::Running && !run.node_live { "orphaned".to_owned() } else { run.state.as_str().to_owned() }
}

/// Show one job, or continue it
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  decisiongraph run 0197…\n  decisiongraph run resume 0197…"
)]
pub struct RunArgs {
    #[command(subcommand)]
    action: Option<RunAction>,
    /// Id of the job, from `decisiongraph runs`
    #[arg(value_name = "ID", required = true)]
    run_id: Option<Uuid>,
}

#[derive(Subcommand)]
enum RunAction {
    /// Continue a job that was cancelled, failed, or whose process is gone
    Resume {
        /// Id of the job
        #[arg(value_name = "ID")]
        run_id: Uuid,
        /// Print the job and return; the node continues it in the background
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        because: Because,
    },
}

impl RunArgs {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        if let Some(RunAction::Resume { run_id, detach, because }) = self.action {
            let request = ResumeRunRequest { run_id, reason: because.reason, of: status::filter(context) };
            return context.job(request, detach).await;
        }
        let run_id = self.run_id.ok_or_else(|| AdminError::new(Category::InvalidArgument, "name a job by its id"))?;
        context.show(ReadRunRequest { run_id, of: status::filter(context) }, text).await
    }
}

/// Ask a running job to stop at its next batch
#[derive(Args)]
#[command(after_help = "Example:\n  decisiongraph cancel 0197…")]
pub struct Cancel {
    /// Id of the job, from `decisiongraph runs`
    #[arg(value_name = "ID")]
    run_id: Uuid,
    #[command(flatten)]
    because: Because,
}

impl Cancel {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Cancel { run_id, because } = self;
        let request = CancelRunRequest { run_id, reason: because.reason, of: status::filter(context) };
        context.show(request, text).await
    }
}

/// Renders one job.
pub fn text(run: &Run) -> Page {
    let asked = if run.cancel_requested && run.state == RunState::Running { ", stop requested" } else { "" };
    let current = run.current.as_deref().map(|name| format!(" in {name}")).unwrap_or_default();
    let mut page = Page::of(format_args!("run {}", run.run_id));
    page.line(format_args!("  scope      {}/{}", run.tenant, run.projection));
    page.line(format_args!("  mode       {}", run.mode.as_str()));
    page.line(format_args!("  state      {}{asked}", state(run)));
    if let Some(result) = result(run) {
        page.line(format_args!("  result     {result}"));
    }
    page.line(format_args!("  position   {} of {}{current}", number(run.cursor.0), number(run.target.0)));
    page.line(format_args!("  events     {}", number(run.events)));
    page.line(format_args!("  by         {}", run.node));
    if let Some(requested_by) = &run.requested_by {
        page.line(format_args!("  asked by   {requested_by}"));
    }
    if let Some(reason) = &run.reason {
        page.line(format_args!("  reason     {reason}"));
    }
    if let Some(metadata) = &run.metadata {
        page.line(format_args!("  metadata   {metadata}"));
    }
    page.line(format_args!("  created    {}", run.created_at));
    page.line(format_args!("  finished   {}", or_dash(run.finished_at.as_deref())));
    if let Some(error) = &run.error {
        page.line(format_args!("  error      {}: {}", error.category, error.message));
    }
    recorded(run).iter().flatten().for_each(|scope| {
        page.page(job_text::left_out(scope));
        page.page(job_text::drift(scope));
    });
    page
}
