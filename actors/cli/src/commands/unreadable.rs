//! Stored events that cannot be read whole. Everything else is written first; then they are named, and the exit code
//! shows it.

use decisiongraph_engine::queries::EventRecord;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::{AdminError, ExitCode};
use decisiongraph_store::Stray;

/// Most events that the message names.
const NAMED_MAX: usize = 20;

/// Unreadable events that were met so far.
#[derive(Default)]
pub struct Unreadable {
    events: u64,
    positions: Vec<String>,
    named: Vec<String>,
    next: Option<String>,
}

impl Unreadable {
    /// Collects the unreadable events among these.
    pub fn of(tenant: &TenantId, events: &[EventRecord]) -> Unreadable {
        let mut unreadable = Unreadable::default();
        for event in events {
            if let Some(fault) = &event.fault {
                unreadable.event(tenant, event.log_seq, fault);
            }
        }
        unreadable
    }

    /// Adds an event that cannot be read whole.
    pub fn event(&mut self, tenant: &TenantId, log_seq: LogSeq, fault: &str) {
        self.events += 1;
        if self.named.len() < NAMED_MAX {
            self.positions.push(log_seq.to_string());
            self.named.push(format!("log_seq {log_seq} of tenant {tenant}: {fault}"));
        }
    }

    /// Adds stray rows, which every list leaves out.
    pub fn stray(&mut self, stray: Stray) {
        self.events += 1;
        self.named.push(stray.why);
        self.next.get_or_insert(stray.next);
    }

    /// Ends the command: a `storage` error names the unreadable events, if there are any.
    pub fn end(self) -> Result<ExitCode, AdminError> {
        if self.events == 0 {
            return Ok(ExitCode::OK);
        }
        let more = match self.events.saturating_sub(self.named.len() as u64) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let message =
            format!("these stored events cannot be read; all others were written: {}{more}", self.named.join("; "));
        let look = format!(
            "as the owner of the schema, inspect them: `SELECT * FROM dg_event_log WHERE log_seq IN ({})`; change or delete them, then repeat the \
             command",
            self.positions.join(", ")
        );
        Err(AdminError::new(Category::Storage, message).next(self.next.unwrap_or(look)))
    }
}
