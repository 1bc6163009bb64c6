//! `append`: events one by one, each with its verdict.

use super::Context;
use super::line_source::{Input, LineSource, Next, command, credential_guard};
use crate::connection::Connection;
use crate::interrupt::{self, Asked};
use crate::output::number;
use crate::page::Page;
use crate::session::Access;
use clap::Args;
use decisiongraph_engine::Cancel;
use decisiongraph_projections::Category;
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_protocol::{AdminError, AppendReply, AppendRequest, ExitCode, LineVerdict};

/// Append events one by one and print each verdict: accepted, repeated or refused
///
/// Continues after a refused event; the exit code is 4 if any was refused. Nothing is projected: run `decisiongraph
/// catch-up`.
#[derive(Args)]
#[command(after_help = "Example:\n  producer | decisiongraph append -")]
pub struct Append {
    /// JSON lines, or - for stdin
    #[arg(value_name = "FILE", value_parser = Input::parser())]
    input: Input,
    /// Rule for credentials: `patterns` refuses text with the form of one, `reference` any text that contains one of
    /// the reference's texts (sk- in task-1 too) [default: what the node is configured for; patterns]
    #[arg(long, value_name = "RULE", value_parser = credential_guard())]
    credential_guard: Option<CredentialGuard>,
}

impl Append {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let source = LineSource::start(command("append", context, self.credential_guard), &self.input, true)?;
        let connection = Connection::open(&context.globals.named("append"), Access::Write).await?;
        let asked = interrupt::asks_first(Cancel::default(), context.output.json);
        let mut total = AppendReply::default();
        if context.output.json {
            context.output.json_part("{\"verdicts\":[")?;
        }
        let ended = append(context, &connection, self.credential_guard, asked, source, &mut total).await;
        let counts = (total.accepted, total.repeated, total.refused);
        if context.output.json {
            // One object, written as it grows. It is closed also when the end is an error, which goes to stderr.
            context.output.json_part(&format!(
                "],\"accepted\":{},\"repeated\":{},\"refused\":{}}}\n",
                counts.0, counts.1, counts.2
            ))?;
        } else {
            let (accepted, repeated, refused) = (number(counts.0), number(counts.1), number(counts.2));
            let summary = format_args!("{accepted} accepted, {repeated} repeated, {refused} refused");
            context.output.page(&Page::of(summary))?;
        }
        let interrupted = ended?;
        Ok(match total.refused {
            _ if interrupted => ExitCode::INTERRUPTED,
            0 => ExitCode::OK,
            _ => ExitCode::DATA_REFUSED,
        })
    }
}

/// Appends all lines of the source and prints the verdicts. True when it was interrupted.
async fn append(
    context: &Context,
    connection: &Connection,
    credential_guard: Option<CredentialGuard>,
    mut asked: Asked,
    mut source: LineSource,
    total: &mut AppendReply,
) -> Result<bool, AdminError> {
    let mut first = true;
    loop {
        let lines = match source.next(&mut asked).await? {
            Next::Lines(lines) => lines,
            Next::End => return Ok(false),
            Next::Interrupted => return Ok(true),
        };
        let request =
            AppendRequest { tenant: context.globals.tenant.clone(), all_or_nothing: false, credential_guard, lines };
        let reply = connection.ask(request).await?;
        if context.output.json {
            let mut text = String::new();
            for verdict in &reply.verdicts {
                text.push_str(if std::mem::take(&mut first) { "" } else { "," });
                text.push_str(&serde_json::to_string(verdict).unwrap_or_default());
            }
            context.output.json_part(&text)?;
        } else if !reply.verdicts.is_empty() {
            let mut page = Page::default();
            reply.verdicts.iter().for_each(|verdict| page.line(line(verdict)));
            context.output.page(&page)?;
        }
        total.accepted += reply.accepted;
        total.repeated += reply.repeated;
        total.refused += reply.refused;
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
