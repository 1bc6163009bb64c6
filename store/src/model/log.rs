//! What is appended, and where a log ends.

use decisiongraph_projections::{LogSeq, Refusal};
use serde::{Deserialize, Serialize};

/// How a batch of events is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendMode {
    /// Each event gets its verdict; a refused one is left out, the others are stored.
    Each,
    /// All are stored (or repeats), or none.
    AllOrNothing,
}

/// What became of one offered event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stored here.
    Accepted {
        /// Its position.
        log_seq: LogSeq,
    },
    /// It was stored already: a legal repeat.
    Repeated {
        /// Position of the stored event.
        log_seq: LogSeq,
        /// Id of the stored event.
        event_id: String,
    },
    /// Refused, with the reason.
    Refused(Refusal),
    /// Sound so far, not stored because another event of an [`AppendMode::AllOrNothing`] batch was refused.
    NotStored,
}

/// How much of the log one page may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Events.
    pub rows_max: usize,
    /// Payload bytes; at least one event is returned whatever its size.
    pub bytes_max: usize,
}

/// A transaction that may still add events at or below the sampled sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenWriter {
    /// Its identity (`virtualtransaction`); stable while it is open.
    pub transaction: String,
    /// Its backend; none for a prepared transaction.
    pub pid: Option<i32>,
    /// How long it has been open, seconds.
    pub age_seconds: Option<f64>,
    /// Its query, where the role may see it.
    pub query: Option<String>,
}

/// Where the log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// The last log position that was ever drawn.
    pub sequence: LogSeq,
    /// As in [`HighWaterSample::history`].
    pub history: String,
}

/// One sample of the log's end: everything at or below `sequence` that is not visible yet belongs to one of `writers`.
#[derive(Debug, Clone, PartialEq)]
pub struct HighWaterSample {
    /// The last log position that was ever drawn.
    pub sequence: LogSeq,
    /// Who may still deliver. Empty: the mark may move to `sequence` at once.
    pub writers: Vec<OpenWriter>,
    /// Identity of the history: server, timeline, last start (also one after the death of a single backend). When it changes, everything
    /// held in memory is void.
    pub history: String,
}
