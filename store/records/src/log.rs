//! Appended data, and the end of a log.

use crate::StoreError;
use decisiongraph_projections::event::Actor;
use decisiongraph_projections::{Category, LogSeq, Refusal};
use serde::{Deserialize, Serialize};

/// Mode of an append of a batch of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendMode {
    /// Each event gets its own verdict; a refused event is left out, the others are stored.
    Each,
    /// All events are stored (or are repeats), or none is.
    AllOrNothing,
}

/// Verdict on one offered event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stored at this position.
    Accepted {
        /// Position of the event.
        log_seq: LogSeq,
        /// Number of the event in its trace.
        trace_seq: i64,
    },
    /// Already stored: a legal repeat.
    Repeated {
        /// Position of the stored event.
        log_seq: LogSeq,
        /// Id of the stored event.
        event_id: String,
        /// Number of the stored event in its trace.
        trace_seq: i64,
    },
    /// Refused, with the reason.
    Refused(Refusal),
    /// Sound so far, but not stored, because another event of an [`AppendMode::AllOrNothing`] batch was refused.
    NotStored,
}

/// A choice of events of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter {
    /// Trace of the events; any when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Types of the events; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// Type of the envelope's actor; any when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_type: Option<String>,
    /// Id of the envelope's actor; any when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
}

impl EventFilter {
    /// Chooses the events of a trace.
    pub fn of_trace(trace_id: impl Into<String>) -> EventFilter {
        EventFilter { trace_id: Some(trace_id.into()), ..EventFilter::default() }
    }

    /// True when events that an index finds may be left out.
    pub fn leaves_out(&self) -> bool {
        !self.event_types.is_empty() || self.actor_type.is_some() || self.actor_id.is_some()
    }
}

/// First and last event of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEnds {
    /// Position of the first event.
    pub started: LogSeq,
    /// Time of the first event, as its producer gave it.
    pub started_at: String,
    /// Actor of the first event.
    pub actor: Actor,
    /// Free words of the first event.
    pub tags: Vec<String>,
    /// Position of the last event.
    pub last: LogSeq,
    /// Number of the last event in the trace.
    pub last_trace_seq: i64,
    /// Type of the last event.
    pub last_event_type: String,
    /// Time of the last event, as its producer gave it.
    pub last_at: String,
}

/// Most bytes of a list of failures or runs; the list ends early when they are reached. (10,000 of them have less,
/// unless their ids are long.)
pub const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Limit of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Most events or rows.
    pub rows_max: usize,
    /// Most bytes of all their texts (ids, payload, tags, …). At least one event is returned, up to
    /// [`PageLimit::event_bytes_max`].
    pub bytes_max: usize,
    /// Bytes of a single event from which it is not loaded at all. The error is `storage`, and its message names the
    /// event.
    pub event_bytes_max: usize,
}

impl PageLimit {
    /// Limits rows and bytes; a single event may have any size.
    pub const fn of(rows_max: usize, bytes_max: usize) -> PageLimit {
        PageLimit { rows_max, bytes_max, event_bytes_max: usize::MAX }
    }

    /// Limits rows, whatever their size.
    pub const fn rows(rows_max: usize) -> PageLimit {
        PageLimit::of(rows_max, usize::MAX)
    }

    /// Returns one row more than a page may hold, to see if the list goes on. A limit beyond the databases' integers is
    /// none.
    pub fn one_more(&self) -> i64 {
        i64::try_from(self.rows_max.saturating_add(1)).unwrap_or(i64::MAX)
    }

    /// Creates the error of an event that is too large.
    pub fn too_large(&self, log_seq: i64, bytes: i64) -> StoreError {
        StoreError::new(
            Category::Storage,
            format!(
                "the event at log_seq {log_seq} has {bytes} bytes, more than this process's limit of {} for one event; nothing after it is read; give the process more memory (memory_max), or repair the event's row",
                self.event_bytes_max
            ),
        )
    }
}

/// A page of a list: it ends early when a bound of bytes is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// Items, in the order of the list.
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
    /// True when this item of `size` bytes still fits into the page under the limit. Adds its size to `bytes`. The page
    /// has more when it does not fit.
    pub fn takes(&mut self, bytes: &mut usize, size: usize, limit: PageLimit) -> bool {
        *bytes = bytes.saturating_add(size);
        let full = self.items.len() >= limit.rows_max || (*bytes > limit.bytes_max && !self.items.is_empty());
        self.more |= full;
        !full
    }
}

/// Name that the sessions of this program give themselves, with the process behind it: `decisiongraph node node-1`,
/// `decisiongraph import`.
pub const SESSION_NAME: &str = "decisiongraph";

/// A transaction that may still add events at or below the sampled sequence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenWriter {
    /// Identity of the transaction (`virtualtransaction`); stable while it is open.
    pub transaction: String,
    /// Process id of its backend; none for a prepared transaction.
    pub pid: Option<i32>,
    /// Time that it has been open, seconds.
    pub age_seconds: Option<f64>,
    /// Current query, where the role may see it: its beginning, without literals and comments.
    pub query: Option<String>,
    /// Role under which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Name of its program (`application_name`); names of this program's sessions begin with [`SESSION_NAME`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// True when its commit waits for a synchronous standby, or when it waits for a lock while commits do. No action on
    /// its session helps then.
    #[serde(default)]
    pub waits_for_standby: bool,
}

/// The end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// Last log position that was ever drawn.
    pub sequence: LogSeq,
    /// History as in [`HighWaterSample::history`].
    pub history: String,
}

/// One sample of the log's end. Everything at or below `sequence` that is not visible yet belongs to one of `writers`.
#[derive(Debug, Clone, PartialEq)]
pub struct HighWaterSample {
    /// Last log position that was ever drawn.
    pub sequence: LogSeq,
    /// Transactions that may still deliver. Empty: the mark may move to `sequence` at once.
    pub writers: Vec<OpenWriter>,
    /// Identity of the history: server, timeline, last start (also a start after the death of a single backend). When
    /// it changes, everything held in memory is void.
    pub history: String,
}
