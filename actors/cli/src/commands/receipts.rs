//! Receipts of an append: for each stored event the proof that it is sealed. A producer that keeps it, or only what it
//! sent, can show later that something else was sealed.
//!
//! *Guarantees.* An event is stored, whatever happens to its receipt. An event without one is counted and named.

use super::Context;
use super::seal::{no_witnesses, wait_ms};
use crate::connection::Connection;
use crate::output::number;
use crate::page::Page;
use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::{
    AdminError, AppendReply, Command, ProveReply, ProveRequest, SealNowRequest, SealStatusRequest, seal_finding,
};
use serde::Serialize;

/// Condition that an append waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The checkpoint is published.
    Published,
    /// Witnesses have cosigned it.
    Witnessed,
}

impl How {
    /// Returns the parser of the word.
    pub fn parser() -> ValueParser {
        let words = PossibleValuesParser::new(["published", "witnessed"]);
        ValueParser::new(words.map(|word| if word == "witnessed" { How::Witnessed } else { How::Published }))
    }
}

/// Waits for the proofs of what was appended.
pub struct Receipts {
    tenant: Option<TenantId>,
    wait_ms: u64,
    /// Events without a receipt, and the first reason.
    missing: i64,
    first: Option<(LogSeq, AdminError)>,
}

/// A receipt, as a line for programs.
#[derive(Serialize)]
struct Receipt<'a> {
    line: u64,
    sealed: &'a ProveReply,
}

impl Receipts {
    /// Checks that there will be proofs. Nothing is appended when the answering process seals nothing.
    pub async fn begin(
        context: &Context,
        connection: &Connection,
        how: How,
        wait: f64,
    ) -> Result<Receipts, AdminError> {
        if how == How::Witnessed {
            return Err(no_witnesses("append --sealed=witnessed"));
        }
        let status = connection.ask(SealStatusRequest { limit: Some(1), ..SealStatusRequest::default() }).await?;
        if status.name.is_none() {
            return Err(AdminError::new(Category::Unavailable, "nothing was appended: this log is not sealed")
                .next("configure a key (seal_key_file), or append without --sealed"));
        }
        Ok(Receipts { tenant: context.globals.tenant.clone(), wait_ms: wait_ms(wait), missing: 0, first: None })
    }

    /// Prints the proof of each stored line. Lines may name their tenants.
    pub async fn of(
        &mut self,
        context: &Context,
        connection: &Connection,
        reply: &AppendReply,
    ) -> Result<(), AdminError> {
        let stored: Vec<(u64, LogSeq)> =
            reply.verdicts.iter().filter_map(|verdict| Some((verdict.line, verdict.log_seq?))).collect();
        if stored.is_empty() {
            return Ok(());
        }
        for tenant in &reply.tenants {
            let request = SealNowRequest { tenant: Some(tenant.clone()), wait_ms: self.wait_ms };
            if let Err(error) = connection.ask(request).await {
                return self.miss(&stored, error);
            }
        }
        let mut page = Page::default();
        for (at, (line, log_seq)) in stored.iter().enumerate() {
            match prove(connection, &reply.tenants, *log_seq).await {
                Ok(proof) if context.output.json => {
                    context.output.json(&Receipt { line: *line, sealed: &proof })?;
                }
                Ok(ProveReply { index, size, event_id, .. }) => {
                    let line = number(i128::from(*line));
                    page.line(format_args!("line {line}: sealed as leaf {index} of {size} ({event_id})"));
                }
                Err(error) => {
                    self.miss(&stored[at..], error)?;
                    break;
                }
            }
        }
        if context.output.json || page == Page::default() { Ok(()) } else { context.output.page(&page) }
    }

    /// Counts events without a receipt. After a lack of time or a finding, the append continues.
    fn miss(&mut self, lines: &[(u64, LogSeq)], error: AdminError) -> Result<(), AdminError> {
        let goes_on = error.category == Category::ProjectionOutOfDate || seal_finding(&error).is_some();
        if !goes_on {
            return Err(error);
        }
        self.missing += i64::try_from(lines.len()).unwrap_or(i64::MAX);
        if let (None, Some((_, log_seq))) = (&self.first, lines.first()) {
            self.first = Some((*log_seq, error));
        }
        Ok(())
    }

    /// Returns the error about the events without a receipt.
    pub fn end(self) -> Option<AdminError> {
        let (log_seq, error) = self.first?;
        if seal_finding(&error).is_some() {
            return Some(error);
        }
        let tenant = self.tenant.unwrap_or_default();
        let later = Command::of("prove", &tenant).with("--log-seq", log_seq.0);
        let what = format!("{} events are stored and not sealed yet: {}", number(self.missing), error.message);
        Some(AdminError::new(error.category, what).next(format!("ask for their proofs later: {later}")))
    }
}

/// Finds the proof of the event at this position in the log of one of these tenants.
async fn prove(connection: &Connection, tenants: &[TenantId], log_seq: LogSeq) -> Result<ProveReply, AdminError> {
    let mut of = tenants.iter().peekable();
    loop {
        let tenant = of.next().cloned();
        match connection.ask(ProveRequest { tenant, event_id: None, log_seq: Some(log_seq) }).await {
            Err(error) if error.category == Category::NotFound && of.peek().is_some() => {}
            proof => return proof,
        }
    }
}
