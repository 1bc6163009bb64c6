//! `import --dry-run`: every line that an empty database would refuse. The lines go into a database of the folder for
//! temporary files, in a transaction that is never committed.

use super::Import;
use crate::commands::Context;
use crate::commands::line_source::{LineSource, Next};
use crate::interrupt;
use crate::output::number;
use crate::page::Page;
use crate::progress::{Lines, Style};
use decisiongraph_admin::moving::{MoveOptions, move_in};
use decisiongraph_cli::config;
use decisiongraph_engine::Cancel;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, AppendReply, ExitCode, LineVerdict};
use serde::Serialize;
use std::sync::atomic::Ordering;

/// Most refusals that are shown. All are counted.
const REFUSALS_MAX: usize = 1_000;

/// Counts of a dry run, and its refused lines.
#[derive(Debug, Default, Serialize)]
struct Tried {
    dry_run: bool,
    lines: u64,
    accepted: u64,
    repeated: u64,
    refused: u64,
    refusals: Vec<LineVerdict>,
}

impl Tried {
    fn add(&mut self, reply: AppendReply) {
        self.accepted += reply.accepted;
        self.repeated += reply.repeated;
        self.refused += reply.refused;
        let room = REFUSALS_MAX - self.refusals.len();
        self.refusals.extend(reply.verdicts.into_iter().take(room));
    }

    /// Shows the counts, and each refusal on its line.
    fn text(&self, unit: &str) -> Page {
        let [lines, accepted, repeated, refused] = [self.lines, self.accepted, self.repeated, self.refused].map(number);
        let mut page = Page::of(format_args!(
            "{lines} lines: {accepted} would be stored, {repeated} are repeats, {refused} would be refused"
        ));
        for LineVerdict { line, event_id, category, message, .. } in &self.refusals {
            let event = event_id.as_deref().map(|id| format!(" (event {id})")).unwrap_or_default();
            let category = category.unwrap_or(Category::Internal);
            page.line(format_args!("{unit} {line}{event}: {category}: {}", message.as_deref().unwrap_or("refused")));
        }
        if self.refused > self.refusals.len() as u64 {
            page.line(format_args!("and {} more", number(self.refused - self.refusals.len() as u64)));
        }
        page
    }
}

impl Import {
    pub(super) async fn dry(&self, context: &Context, mut source: LineSource) -> Result<ExitCode, AdminError> {
        let mut asked = interrupt::asks_first(Cancel::default(), context.output.json);
        let mut progress = Lines::start(Style::of(&context.globals), source.size);
        let no_folder = |error: std::io::Error| {
            AdminError::new(Category::Storage, format!("no folder for the dry run: {error}"))
                .next("set TMPDIR to a writable folder with as much space as the log")
        };
        let folder = tempfile::Builder::new().prefix("decisiongraph-import-").tempdir().map_err(no_folder)?;
        let store = decisiongraph_store::sqlite::scratch(&folder.path().join("import.db")).await?;
        let configured = config::engine_from_environment()?.credential_guard;
        let options = MoveOptions {
            tenant: context.globals.tenant.clone(),
            credential_guard: self.credential_guard.unwrap_or(configured),
            keep: self.keep_positions,
            each: true,
            ..MoveOptions::default()
        };
        let (mut tried, mut ended) = (Tried { dry_run: true, ..Tried::default() }, ExitCode::OK);
        let moved = move_in(&*store, options, async |moving| {
            loop {
                let lines = match source.next(&mut asked).await? {
                    Next::Lines(lines) => lines,
                    Next::End => return Ok(false),
                    Next::Interrupted => {
                        ended = ExitCode::INTERRUPTED;
                        return Ok(false);
                    }
                };
                tried.lines += lines.len() as u64;
                tried.add(moving.add(lines).await?);
                progress.at(source.bytes.load(Ordering::Relaxed), tried.lines);
            }
        });
        let moved = super::on_this_thread(moved);
        progress.stop();
        moved?;
        if context.output.json {
            context.output.json(&tried)?;
        } else {
            context.output.page(&tried.text(source.unit))?;
        }
        Ok(if ended == ExitCode::OK && tried.refused > 0 { ExitCode::DATA_REFUSED } else { ended })
    }
}
