//! `checkpoint`: signed heads of a sealed log.

use super::Context;
use super::evidence_file::put;
use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{
    AdminError, Command, ExitCode, SealCheckpointsReply, SealCheckpointsRequest, SealStatusRequest,
};
use std::path::PathBuf;

/// Print a signed checkpoint of the sealed log: the newest one, or that of a size
///
/// A checkpoint is a signed note with name, size and root of the log. Keep it where the database's administrators
/// cannot write: it shows later that the log was not changed since. The exit code is 7 when nothing is signed yet.
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph checkpoint -o monday.checkpoint
  decisiongraph checkpoint --size 98
  decisiongraph checkpoint --list")]
pub struct Checkpoint {
    /// The checkpoint that was signed for N events
    #[arg(long, value_name = "N")]
    size: Option<u64>,
    /// List the checkpoints in the database, newest first
    #[arg(long, conflicts_with_all = ["size", "output"])]
    list: bool,
    /// Most checkpoints of the list, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 20, requires = "list")]
    limit: i64,
    /// Only checkpoints before this one, by number
    #[arg(long, value_name = "NUMBER", requires = "list")]
    before: Option<i64>,
    /// Number of the tree [default: the newest; a fork begins the next one]
    #[arg(long, value_name = "TREE")]
    tree: Option<i64>,
    /// New file for the checkpoint [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Checkpoint {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let tenant = context.globals.tenant.clone();
        let Checkpoint { size, list, limit, before, tree, output } = self;
        let limit = if list { limit } else { 1 };
        let request = SealCheckpointsRequest { tenant: tenant.clone(), tree, kind: None, size, before, limit };
        if list {
            return context.show(request, |reply| listed(reply, limit)).await;
        }
        let reply = context.ask(request).await?;
        let Some(note) = reply.notes.first() else {
            return Err(match size {
                Some(size) => no_checkpoint(&reply.tenant, size),
                None => unsigned(context, tenant).await?,
            });
        };
        match (context.output.json, &output) {
            (true, None) => context.output.reply(&reply, Page::default)?,
            _ => {
                let what = format!("the checkpoint of {} for {} events", reply.origin, note.size);
                put(context.output, output.as_deref(), &note.note, &what)?;
            }
        }
        Ok(ExitCode::OK)
    }
}

fn listed(reply: &SealCheckpointsReply, limit: i64) -> Page {
    let mut page = Page::of(format_args!("checkpoints of {}", reply.origin));
    let rows = reply.notes.iter().map(|note| {
        let events = number(i64::try_from(note.size).unwrap_or(i64::MAX));
        vec![note.number.to_string(), note.tree.to_string(), events, note.noted_at.clone()]
    });
    page.table(&["#number", "#tree", "#events", "signed"], rows);
    if let (true, Some(last)) = (reply.more, reply.notes.last()) {
        let next = Command::of("checkpoint --list", &reply.tenant).with("--before", last.number).with("--limit", limit);
        page.line(format_args!("There are more: {next}"));
    }
    page
}

fn no_checkpoint(tenant: &TenantId, size: u64) -> AdminError {
    let list = Command::of("checkpoint --list", tenant);
    AdminError::new(Category::NotFound, format!("the database has no checkpoint for {size} events"))
        .next(format!("{list} lists them; places outside the database keep all of them"))
}

/// Says why there is no checkpoint yet.
async fn unsigned(context: &Context, tenant: Option<TenantId>) -> Result<AdminError, AdminError> {
    let tenant = tenant.unwrap_or_default();
    let request = SealStatusRequest { tenant: Some(tenant.clone()), ..SealStatusRequest::default() };
    let status = context.ask(request).await?;
    Ok(super::seal::not_sealed_yet(&tenant, status.name.is_some()))
}
