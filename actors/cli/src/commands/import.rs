//! `import`: a file of events, all or up to the first bad line.

use super::Context;
use super::line_source::{Input, LineSource, Next, command, credential_guard};
use crate::connection::Connection;
use crate::interrupt::{self, Asked};
use crate::output::number;
use crate::page::Page;
use crate::progress::{Lines, Style};
use crate::session::Access;
use clap::Args;
use decisiongraph_engine::Cancel;
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::{AdminError, AppendReply, AppendRequest, Command, ExitCode, LineVerdict};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Import events from a file of JSON lines; stop at the first bad line
///
/// Every line is checked by the reference's rules. 1,000 lines are stored together or not at all (when a file mixes
/// tenants: each run of consecutive lines of one tenant within them). It can be run again: events that are already
/// stored are recognised by their idempotency keys. A given log_seq is ignored, a given payload_hash is verified, a
/// tenant_id overrides --tenant. Nothing is projected: run `decisiongraph catch-up`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph import events.jsonl\n  zcat log.gz | decisiongraph import --tenant acme -"
)]
pub struct Import {
    /// JSON lines, or - for stdin
    #[arg(value_name = "FILE", value_parser = Input::parser())]
    input: Input,
    /// Rule for credentials: `patterns` refuses text with the form of one, `reference` any text that contains one of
    /// the reference's texts (sk- in task-1 too) [default: what the node is configured for; patterns]
    #[arg(long, value_name = "RULE", value_parser = credential_guard())]
    credential_guard: Option<CredentialGuard>,
}

/// Counts of stored lines, over all chunks.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Imported {
    /// Lines of the chunks that were stored.
    pub lines: u64,
    /// Events stored now.
    pub accepted: u64,
    /// Events stored before.
    pub repeated: u64,
}

impl Import {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let source = LineSource::start(command("import", context, self.credential_guard), &self.input, false)?;
        let connection = Connection::open(&context.globals.named("import"), Access::Write).await?;
        let asked = interrupt::asks_first(Cancel::default(), context.output.json);
        let progress = Lines::start(Style::of(&context.globals), source.size);
        let request = AppendRequest {
            tenant: context.globals.tenant.clone(),
            all_or_nothing: true,
            credential_guard: self.credential_guard,
            ..AppendRequest::default()
        };
        let mut tenants = BTreeSet::new();
        let (imported, ended) = import(&connection, asked, request, source, progress, &mut tenants).await?;
        let summary = format!(
            "{} lines: {} stored, {} stored before",
            number(imported.lines),
            number(imported.accepted),
            number(imported.repeated)
        );
        if context.output.json {
            context.output.json(&imported)?;
        } else if ended == ExitCode::OK {
            // A node applies new events without a request.
            let mut page = Page::of(summary);
            if imported.accepted > 0 && !connection.is_node() {
                page.line(format_args!("Apply them with {}.", apply(&tenants)));
            }
            context.output.page(&page)?;
        } else {
            let page = Page::of(format_args!("Interrupted after {summary}. Run it again to continue."));
            context.output.page(&page)?;
        }
        Ok(ended)
    }
}

/// Returns the command that applies the events of these tenants. Without tenants it covers all: a node of another
/// release did not name them.
fn apply(tenants: &BTreeSet<TenantId>) -> Command {
    match tenants.iter().collect::<Vec<_>>().as_slice() {
        [one] => Command::of("catch-up", one),
        _ => Command::about_all("catch-up --all-tenants"),
    }
}

async fn import(
    connection: &Connection,
    mut asked: Asked,
    without_lines: AppendRequest,
    mut source: LineSource,
    mut progress: Lines,
    tenants: &mut BTreeSet<TenantId>,
) -> Result<(Imported, ExitCode), AdminError> {
    let mut imported = Imported::default();
    loop {
        let lines = match source.next(&mut asked).await? {
            Next::Lines(lines) => lines,
            Next::End => break,
            Next::Interrupted => {
                progress.stop();
                return Ok((imported, ExitCode::INTERRUPTED));
            }
        };
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { continue };
        let (first, last) = (first.number, last.number);
        let count = lines.len() as u64;
        let request = AppendRequest { lines, ..without_lines.clone() };
        let reply = connection.ask(request).await?;
        if let Some(refused) = reply.verdicts.first() {
            progress.stop();
            return Err(stopped(refused, &reply, imported, first, last));
        }
        if tenants.len() <= 1 {
            tenants.extend(reply.tenants);
        }
        imported.lines += count;
        imported.accepted += reply.accepted;
        imported.repeated += reply.repeated;
        progress.at(source.bytes.load(Ordering::Relaxed), imported.lines);
    }
    progress.stop();
    Ok((imported, ExitCode::OK))
}

/// Describes the bad line, its fault, and the events that are stored.
fn stopped(refused: &LineVerdict, reply: &AppendReply, before: Imported, first: u64, last: u64) -> AdminError {
    let category = refused.category.unwrap_or(Category::Internal);
    let event = refused.event_id.as_deref().map(|id| format!(" (event {id})")).unwrap_or_default();
    let why = refused.message.as_deref().unwrap_or("refused");
    let stands = match (before.accepted + before.repeated, reply.accepted) {
        (0, 0) => "nothing was stored".to_owned(),
        (_, 0) => format!(
            "stored before it: {} new events and {} repeats, up to line {}; none of lines {first} to {last}",
            number(before.accepted),
            number(before.repeated),
            first - 1
        ),
        (_, part) => format!(
            "stored before it: {} new events up to line {}, and {} of other tenants in lines {first} to {last}",
            number(before.accepted),
            first - 1,
            number(part)
        ),
    };
    AdminError::new(category, format!("line {}{event}: {why}; {stands}", refused.line))
        .next("correct the line and import the file again: stored events are recognised")
}
