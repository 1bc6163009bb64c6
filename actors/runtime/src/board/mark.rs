//! End of the log, as the high-water actor publishes it.

use decisiongraph_engine::mark::Mark;
use decisiongraph_projections::LogSeq;
use decisiongraph_store::OpenWriter;
use std::time::{Duration, Instant};

/// Longest hold-up of the mark that is not worth a finding or a warning.
pub const HELD_MAX: Duration = Duration::from_secs(60);

/// Published state of the log's end.
#[derive(Debug, Clone, Default)]
pub struct MarkState {
    /// High-water mark: nothing can still appear at or below it.
    pub mark: LogSeq,
    /// Counter of histories: when it changes, everything held in memory of the log is void.
    pub era: u64,
    /// History that the mark belongs to.
    pub history: Option<String>,
    /// Appenders that hold up the next mark.
    pub waiting_for: Vec<OpenWriter>,
    /// Time at which the hold-up began.
    pub held_since: Option<Instant>,
}

impl MarkState {
    /// Returns the mark with its history.
    pub fn proven(&self) -> Mark {
        Mark { at: self.mark, history: self.history.clone() }
    }
}
