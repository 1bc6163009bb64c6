//! `audit-pack`: events of the sealed log with one proof, in a file.

use super::Context;
use super::evidence_file::Evidence;
use crate::connection::Connection;
use crate::interrupt;
use crate::output::{bytes, number};
use crate::page::Page;
use crate::session::Access;
use clap::Args;
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::figures::parse_number;
use decisiongraph_protocol::{AdminError, AuditPackRequest, ExitCode, PackOf};
use serde::Serialize;
use std::path::PathBuf;

/// Most events per page. The answering process also bounds its bytes.
const PAGE_EVENTS: i64 = 1_000;

/// Write events of the sealed log into a file that an auditor can check
///
/// The file has the events, one proof for all of them, and the newest signed checkpoint. `decisiongraph-audit` checks
/// it with the public key of the log, without database and network. Each event is compared with its seal first: a log
/// that was changed gives no pack (exit 3). Events that are not sealed yet: exit 7.
#[derive(Args)]
#[command(after_help = "Examples:
  decisiongraph audit-pack --trace lead-17 -o lead-17.pack
  decisiongraph audit-pack --range 1..98 --redact title -o week.pack
  decisiongraph audit-pack --event lead-17-3 --event lead-17-4 --without-payloads -o two.pack")]
pub struct AuditPack {
    #[command(flatten)]
    of: Which,
    /// The new file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Members of payloads to leave out; the rest of a payload still verifies
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', conflicts_with = "without_payloads")]
    redact: Vec<String>,
    /// Leave every payload out; the envelopes still verify
    #[arg(long)]
    without_payloads: bool,
    /// Add the notes about rotations of the key, for an auditor who knows only an older key
    #[arg(long)]
    rotations: bool,
}

/// Choice of the events.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The events of this trace
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// The events from one position to another, both included
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    range: Option<(i64, i64)>,
    /// An event by its id; repeat it for several events
    #[arg(long = "event", value_name = "ID")]
    events: Vec<String>,
}

impl Which {
    fn of(self) -> PackOf {
        match (self.trace, self.range) {
            (Some(trace), _) => PackOf::Trace(trace),
            (None, Some((from, to))) => PackOf::Range(LogSeq(from), LogSeq(to)),
            (None, None) => PackOf::Events(self.events),
        }
    }
}

fn parse_range(text: &str) -> Result<(i64, i64), String> {
    let (from, to) = text.split_once("..").ok_or("give two positions, such as 1..98")?;
    let (from, to) = (parse_number(from)?, parse_number(to)?);
    if from <= to { Ok((from, to)) } else { Err("the first position is not above the second".to_owned()) }
}

/// Report of a finished pack.
#[derive(Serialize)]
struct Packed {
    file: String,
    events: u64,
    bytes: u64,
}

impl AuditPack {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        interrupt::ends_at_once();
        let connection = Connection::open(&context.globals, Access::Read).await?;
        let mut request = AuditPackRequest {
            tenant: context.globals.tenant.clone(),
            of: self.of.of(),
            redact: self.redact,
            without_payloads: self.without_payloads,
            rotations: self.rotations,
            after: None,
            limit: PAGE_EVENTS,
        };
        let mut page = connection.ask(request.clone()).await?;
        let mut evidence = Evidence::begin(&self.output)?;
        let (mut events, mut total) = (0, 0);
        loop {
            evidence.write(&page.text)?;
            events += page.events;
            total += page.text.len() as u64;
            if page.next.is_none() {
                break;
            }
            if page.next == request.after {
                return Err(AdminError::new(Category::Internal, "the pack does not continue"));
            }
            request.after = page.next;
            page = connection.ask(request.clone()).await?;
        }
        evidence.keep()?;
        let packed = Packed { file: self.output.display().to_string(), events, bytes: total };
        if context.output.json {
            context.output.json(&packed)?;
        } else {
            let events = number(i64::try_from(events).unwrap_or(i64::MAX));
            let line = format!("{} holds {events} events with their proof, {}", packed.file, bytes(total));
            context.output.page(&Page::of(line))?;
        }
        Ok(ExitCode::OK)
    }
}
