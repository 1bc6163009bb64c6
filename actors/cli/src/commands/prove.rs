//! `prove`: the proof that one event is in the sealed log.

use super::Context;
use super::evidence_file::put;
use crate::page::Page;
use clap::Args;
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::figures::parse_number;
use decisiongraph_protocol::{AdminError, ExitCode, ProveRequest};
use std::path::PathBuf;

/// Print the proof that an event is in the sealed log as it was appended
///
/// The proof (C2SP tlog-proof) has the newest signed checkpoint that covers the event. An auditor checks it with the
/// public key and the event, and nothing else. The log is compared with its seal first: an event that was changed gets
/// no proof (exit 3). An event that is not sealed yet: exit 7.
#[derive(Args)]
#[command(after_help = "Example:
  decisiongraph prove lead-17-3 -o lead-17-3.proof --event-file lead-17-3.json
  decisiongraph-audit lead-17-3.proof --event lead-17-3.json --key \"$KEY\"")]
pub struct Prove {
    /// Id of the event
    #[arg(value_name = "EVENT_ID", required_unless_present = "log_seq")]
    event_id: Option<String>,
    /// Position of the event in the log
    #[arg(long, value_name = "N", conflicts_with = "event_id", value_parser = parse_number)]
    log_seq: Option<i64>,
    /// New file for the proof [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// New file for the event, which the auditor needs beside the proof
    #[arg(long, value_name = "FILE", requires = "output")]
    event_file: Option<PathBuf>,
}

impl Prove {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        let Prove { event_id, log_seq, output, event_file } = self;
        let request = ProveRequest { tenant: context.globals.tenant.clone(), event_id, log_seq: log_seq.map(LogSeq) };
        let proof = context.ask(request).await?;
        if context.output.json && output.is_none() {
            context.output.reply(&proof, Page::default)?;
            return Ok(ExitCode::OK);
        }
        let (event, size) = (&proof.event_id, proof.size);
        if event_file.is_some() {
            let text = format!("{}\n", proof.event);
            put(context.output, event_file.as_deref(), &text, &format!("event {event}"))?;
        }
        let what = format!("the proof that event {event} is leaf {} of {size}", proof.index);
        put(context.output, output.as_deref(), &proof.proof, &what)?;
        Ok(ExitCode::OK)
    }
}
