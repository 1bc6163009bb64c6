//! `append`: events one by one, each with its verdict.

use super::Context;
use super::line_source::{Input, LineSource, Next, command, credential_guard};
use super::receipts::{How, Receipts};
use super::seal::parse_wait;
use crate::connection::Connection;
use crate::interrupt::{self, Asked};
use crate::output::number;
use crate::page::Page;
use crate::session::Access;
use clap::Args;
use decisiongraph_engine::Cancel;
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::{AdminError, AppendReply, AppendRequest, ExitCode, LineVerdict, of_error, worst};
use serde::Serialize;

/// Append events one by one and print each verdict: accepted, repeated or refused
///
/// Continues after a refused event; the exit code is 4 if any was refused. A line without trace_seq, or with the text
/// "next" there, gets the number that is due in its trace; a line without event_id gets an id. With --json, prints a
/// JSON line per verdict and a summary as the last line. Nothing is projected: run `decisiongraph catch-up`. With
/// --sealed, each stored event gets its proof, too: a receipt that shows later what was sealed. When that takes too
/// long, the exit code is 7; the events are stored all the same.
#[derive(Args)]
#[command(after_help = "Examples:
  producer | decisiongraph append -
  producer | decisiongraph append - --sealed --json > receipts.jsonl")]
pub struct Append {
    /// JSON lines, or - for stdin
    #[arg(value_name = "FILE", value_parser = Input::parser())]
    input: Input,
    /// Rule for credentials: `patterns` refuses text with the form of one, `reference` any text that contains one of
    /// the reference's texts (sk- in task-1 too) [default: what the node is configured for; patterns]
    #[arg(long, value_name = "RULE", value_parser = credential_guard())]
    credential_guard: Option<CredentialGuard>,
    /// Wait until each event is sealed, signed and published, and print its proof
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "published",
        value_parser = How::parser())]
    sealed: Option<How>,
    /// Longest wait for the proofs of each chunk of lines, 0.1 to 600
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = parse_wait, requires = "sealed")]
    seal_wait: f64,
}

impl Append {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let source = LineSource::start(command("append", context, self.credential_guard), &self.input, true)?;
        let connection = Connection::open(&context.globals.named("append"), Access::Write).await?;
        let mut receipts = match self.sealed {
            Some(how) => Some(Receipts::begin(context, &connection, how, self.seal_wait).await?),
            None => None,
        };
        let asked = interrupt::asks_first(Cancel::default(), context.output.json);
        let mut total = Summary::default();
        let guard = self.credential_guard;
        let ended = append(context, &connection, guard, asked, source, &mut total, receipts.as_mut()).await;
        // Also when the end is an error, which goes to stderr.
        if context.output.json {
            context.output.json(&Ended { summary: &total })?;
        } else {
            let (accepted, repeated, refused) = (number(total.accepted), number(total.repeated), number(total.refused));
            let summary = format_args!("{accepted} accepted, {repeated} repeated, {refused} refused");
            context.output.page(&Page::of(summary))?;
        }
        let interrupted = ended?;
        let unsealed = receipts.and_then(Receipts::end).map_or(ExitCode::OK, |error| {
            context.output.error(&error);
            of_error(&error)
        });
        Ok(match total.refused {
            _ if interrupted => ExitCode::INTERRUPTED,
            0 => unsealed,
            _ => worst(ExitCode::DATA_REFUSED, unsealed),
        })
    }
}

/// Counts over all lines.
#[derive(Debug, Default, Serialize)]
struct Summary {
    lines: u64,
    accepted: u64,
    repeated: u64,
    refused: u64,
    /// Greatest position of a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_log_seq: Option<LogSeq>,
}

/// Last line of the output for programs.
#[derive(Serialize)]
struct Ended<'a> {
    summary: &'a Summary,
}

impl Summary {
    fn add(&mut self, reply: &AppendReply) {
        self.accepted += reply.accepted;
        self.repeated += reply.repeated;
        self.refused += reply.refused;
        self.lines = self.accepted + self.repeated + self.refused;
        self.last_log_seq = reply.verdicts.iter().map(|verdict| verdict.log_seq).max().flatten().max(self.last_log_seq);
    }
}

/// Appends all lines of the source and prints the verdicts. True when it was interrupted.
async fn append(
    context: &Context,
    connection: &Connection,
    credential_guard: Option<CredentialGuard>,
    mut asked: Asked,
    mut source: LineSource,
    total: &mut Summary,
    mut receipts: Option<&mut Receipts>,
) -> Result<bool, AdminError> {
    loop {
        let lines = match source.next(&mut asked).await? {
            Next::Lines(lines) => lines,
            Next::End => return Ok(false),
            Next::Interrupted => return Ok(true),
        };
        let tenant = context.globals.tenant.clone();
        let request = AppendRequest { tenant, credential_guard, lines, ..AppendRequest::default() };
        let reply = connection.ask(request).await?;
        total.add(&reply);
        if context.output.json {
            context.output.json_lines(&reply.verdicts)?;
        } else if !reply.verdicts.is_empty() {
            let mut page = Page::default();
            reply.verdicts.iter().for_each(|verdict| page.line(line(verdict)));
            context.output.page(&page)?;
        }
        if let Some(receipts) = receipts.as_deref_mut() {
            receipts.of(context, connection, &reply).await?;
        }
    }
}

fn line(verdict: &LineVerdict) -> String {
    let event = verdict.event_id.as_deref().unwrap_or("-");
    match (verdict.log_seq, &verdict.message) {
        (Some(log_seq), _) => {
            format!("line {}: {} at {} ({event})", number(verdict.line), verdict.verdict.as_str(), number(log_seq.0))
        }
        (None, message) => format!(
            "line {}: refused ({event}): {}: {}",
            number(verdict.line),
            verdict.category.unwrap_or(Category::Internal),
            message.as_deref().unwrap_or_default()
        ),
    }
}
