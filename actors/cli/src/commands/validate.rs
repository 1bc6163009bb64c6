//! `validate`: a dry run over a file of events, without a database. It reads lines as `append` does, and tells every
//! fault of each.

use super::Context;
use super::line_source::{Input, LineSource, Next, command, credential_guard};
use crate::interrupt::{self, Asked};
use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_engine::Cancel;
use decisiongraph_projections::TenantId;
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::faults::{self, Fault, Faults, Reading};
use decisiongraph_projections::file_order::FileOrder;
use decisiongraph_protocol::{AdminError, ExitCode, LineFault, OfferedLine};
use serde::Serialize;

/// Rules that only the log can check.
const UNCHECKED: [&str; 3] = [
    "trace_seq against the stored events of a trace, and finished traces",
    "event_id and idempotency_key against stored events",
    "rights and limits of the caller",
];

/// Check a file of events without storing anything, and report every fault
///
/// Reads lines as append and import do, and needs no database and no node. Of each line it reports every fault: the
/// member, what was found, what is expected, and what to do. Within the file it also checks the order of each trace,
/// repeated ids and repeated keys. A gap is reported once. The exit code is 4 when a line would be refused. With
/// --json, prints a JSON line per fault and a summary as the last line.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph validate events.jsonl\n  producer --dry-run | decisiongraph validate -"
)]
pub struct Validate {
    /// JSON lines, or - for stdin
    #[arg(value_name = "FILE", value_parser = Input::parser())]
    input: Input,
    /// Maximum faults to print; the others are counted
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_faults: u64,
    /// Rule for credentials: `patterns` refuses text with the form of one, `reference` any text that contains one of
    /// the reference's texts (sk- in task-1 too)
    #[arg(long, value_name = "RULE", value_parser = credential_guard(), default_value = "patterns")]
    credential_guard: CredentialGuard,
}

/// A fault, with its line.
#[derive(Serialize)]
struct InLine<'f> {
    line: u64,
    #[serde(flatten)]
    fault: &'f Fault,
}

/// Counts over all lines.
#[derive(Debug, Default, Serialize)]
struct Summary {
    lines: u64,
    good: u64,
    faulty: u64,
    faults: u64,
    shown: u64,
    /// Events whose order in the file was checked.
    ordered: u64,
    unchecked: &'static [&'static str],
}

/// Last line of the output for programs.
#[derive(Serialize)]
struct Ended<'a> {
    summary: &'a Summary,
}

impl Validate {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let source = command("validate", context, Some(self.credential_guard));
        let source = LineSource::start(source, &self.input, true)?;
        let asked = interrupt::asks_first(Cancel::default(), context.output.json);
        let mut dry_run = DryRun {
            guard: self.credential_guard,
            tenant: context.globals.tenant.clone().unwrap_or_default(),
            shown_max: self.max_faults,
            order: FileOrder::default(),
            total: Summary { unchecked: &UNCHECKED, ..Summary::default() },
        };
        let ended = dry_run.over(source, asked, context).await;
        // Also when a later line could not be read, which goes to stderr.
        if ended.is_ok() || dry_run.total.lines > 0 {
            dry_run.end(context)?;
        }
        let interrupted = ended?;
        Ok(match dry_run.total.faulty {
            _ if interrupted => ExitCode::INTERRUPTED,
            0 => ExitCode::OK,
            _ => ExitCode::DATA_REFUSED,
        })
    }
}

/// A dry run under way.
struct DryRun {
    guard: CredentialGuard,
    tenant: TenantId,
    shown_max: u64,
    order: FileOrder,
    total: Summary,
}

impl DryRun {
    /// Checks all lines of the source and prints their faults. True when it was interrupted.
    async fn over(&mut self, mut source: LineSource, mut asked: Asked, context: &Context) -> Result<bool, AdminError> {
        loop {
            let lines = match source.next(&mut asked).await? {
                Next::Lines(lines) => lines,
                Next::End => return Ok(false),
                Next::Interrupted => return Ok(true),
            };
            for line in lines {
                let number = line.number;
                let found = self.check(line);
                if context.output.json {
                    let faults: Vec<InLine> = found.iter().map(|fault| InLine { line: number, fault }).collect();
                    context.output.json_lines(&faults)?;
                } else if !found.is_empty() {
                    let mut page = Page::default();
                    found.iter().for_each(|fault| told(&mut page, number, fault));
                    context.output.page(&page)?;
                }
            }
        }
    }

    /// Checks a line, and returns the faults to print.
    fn check(&mut self, line: OfferedLine) -> Vec<Fault> {
        let left = self.shown_max - self.total.shown;
        let mut faults = Faults::new(usize::try_from(left).unwrap_or(usize::MAX));
        let reading = match line.text {
            Ok(text) => faults::read(&text, self.guard, &mut faults),
            Err(fault) => {
                faults.add(|| match fault {
                    LineFault::TooLong => faults::too_long(),
                    LineFault::NotUtf8 { byte } => faults::not_utf8(byte),
                });
                Reading::default()
            }
        };
        self.order.check(&reading, &self.tenant, &mut faults);
        self.total.lines += 1;
        self.total.faults += faults.count;
        self.total.shown += faults.shown.len() as u64;
        match faults.count {
            0 => self.total.good += 1,
            _ => self.total.faulty += 1,
        }
        faults.shown
    }

    /// Prints the summary.
    fn end(&mut self, context: &Context) -> Result<(), AdminError> {
        self.total.ordered = self.order.checked();
        let Summary { lines, good, faulty, faults, shown, ordered, .. } = self.total;
        if context.output.json {
            return context.output.json(&Ended { summary: &self.total });
        }
        let mut page = Page::default();
        if faults > shown {
            let more = number(faults - shown);
            page.line(format_args!("{more} more faults; --max-faults N prints more."));
        }
        let counts = [lines, good, faulty, faults].map(number);
        match faulty {
            0 => page.line(format_args!("{} lines, all good", counts[0])),
            _ => page
                .line(format_args!("{} lines: {} good, {} with {} faults", counts[0], counts[1], counts[2], counts[3])),
        }
        if ordered < lines && ordered >= FileOrder::EVENTS_MAX {
            page.line(format_args!("Order within the file was checked for the first {} events only.", number(ordered)));
        }
        page.line(format_args!("Not checked without the log: {}.", UNCHECKED.join("; ")));
        context.output.page(&page)
    }
}

fn told(page: &mut Page, line: u64, fault: &Fault) {
    let place = match fault.path.as_str() {
        "" => String::new(),
        path => format!(", {path}"),
    };
    let Fault { found, expected, next, category, .. } = fault;
    page.line(format_args!("line {}{place}: found {found}; expected {expected} ({category})", number(line)));
    page.line(format_args!("    next: {next}"));
}
