//! What is appended, and where a log ends.

use crate::StoreError;
use decisiongraph_projections::{Category, LogSeq, Refusal};
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

/// Bytes of a list of failures or runs: it ends early when they are reached. (10,000 of them have less, unless their ids are long.)
pub const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much one page may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Events or rows.
    pub rows_max: usize,
    /// Bytes of all their texts (ids, payload, tags, …). At least one is returned, up to [`PageLimit::event_bytes_max`].
    pub bytes_max: usize,
    /// Bytes of a single event from which it is not loaded at all: `storage`, and the message names it.
    pub event_bytes_max: usize,
}

impl PageLimit {
    /// So many rows and bytes; a single event may have any size.
    pub const fn of(rows_max: usize, bytes_max: usize) -> PageLimit {
        PageLimit { rows_max, bytes_max, event_bytes_max: usize::MAX }
    }

    /// So many rows, whatever their size.
    pub const fn rows(rows_max: usize) -> PageLimit {
        PageLimit::of(rows_max, usize::MAX)
    }

    /// The error that such an event is.
    pub fn too_large(&self, log_seq: i64, bytes: i64) -> StoreError {
        StoreError::new(
            Category::Storage,
            format!(
                "the event at log_seq {log_seq} has {bytes} bytes, more than the {} that this process takes for one event; nothing behind \
                 it is read; give the process more memory (memory_max), or mend the event's row",
                self.event_bytes_max
            ),
        )
    }
}

/// A page of a list: it ends early when a bound of bytes is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// True when the list goes on behind them.
    pub more: bool,
}

impl<T> Default for Paged<T> {
    fn default() -> Paged<T> {
        Paged { items: Vec::new(), more: false }
    }
}

impl<T> Paged<T> {
    /// The room that is left under a limit, as a page is filled: true when this item of so many bytes goes into it. The page has more when
    /// it does not.
    pub fn takes(&mut self, bytes: &mut usize, size: usize, limit: PageLimit) -> bool {
        *bytes = bytes.saturating_add(size);
        let full = self.items.len() >= limit.rows_max || (*bytes > limit.bytes_max && !self.items.is_empty());
        self.more |= full;
        !full
    }
}

/// How the sessions of this program call themselves, the process behind it: `decisiongraph node node-1`, `decisiongraph import`.
pub const SESSION_NAME: &str = "decisiongraph";

/// A transaction that may still add events at or below the sampled sequence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenWriter {
    /// Its identity (`virtualtransaction`); stable while it is open.
    pub transaction: String,
    /// Its backend; none for a prepared transaction.
    pub pid: Option<i32>,
    /// How long it has been open, seconds.
    pub age_seconds: Option<f64>,
    /// What it does, where the role may see it: the beginning of its query without literals and comments.
    pub query: Option<String>,
    /// The role that it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How its program calls itself (`application_name`); ours begin with [`SESSION_NAME`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Its commit waits for a synchronous standby, or it waits for a lock while commits do: nothing that is done to its session helps.
    #[serde(default)]
    pub waits_for_standby: bool,
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
