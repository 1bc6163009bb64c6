//! The contract of a projection: tables as data, and two pure functions over a batch of events.

use crate::category::Refusal;
use crate::digest::reference::ReferenceForm;
use crate::event::LogEvent;
use crate::prior::{Needs, Prior, Recalled};
use crate::rows::{Changes, Table, Value};
use crate::sequence::Poison;
use std::sync::Arc;

/// Result of projecting a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projected {
    /// The changes of all events before `poison`, or of the whole batch.
    pub changes: Changes,
    /// The first event that this projection cannot apply. Events from it on had no effect.
    pub poison: Option<Poison>,
}

/// Size of a projection's rows in proportion to the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Density {
    /// Rows of all tables per event.
    pub rows_per_event: f64,
    /// Bytes per row, with indexes.
    pub bytes_per_row: f64,
}

/// A projection: the log in, rows out.
///
/// *Invariants.* No I/O, no clock, no randomness. The result for a log does not depend on how it is cut into batches.
/// The caller has run [`crate::sequence::check_page`] and offers only events before its poison.
pub trait Projection: Send + Sync {
    /// Name of the projection: stable, in commands, metrics and the database.
    fn name(&self) -> &'static str;

    /// Version of the projection's rules. A change means that rows of an older version must be rebuilt.
    fn version(&self) -> i32;

    /// Tables of the projection. The store and the migrations agree with this list.
    fn tables(&self) -> &'static [Table];

    /// Shape of the projection's reference digest; none when the reference has no such projection.
    fn reference_form(&self) -> Option<ReferenceForm> {
        None
    }

    /// Density of the rows over mixed workloads. It only serves estimates before there are rows to count.
    fn density(&self) -> Density {
        Density { rows_per_event: 0.4, bytes_per_row: 380.0 }
    }

    /// Types of the earlier events that it may need of a trace ([`Needs::history_of`]); none by default.
    fn history_types(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads the members that it needs of an earlier event of one of those types, in its own order. A reader keeps
    /// these and not the event: neither the history of a trace nor a payload has a bound.
    fn recall(&self, _event: &LogEvent) -> Result<Vec<Value>, Refusal> {
        Ok(Vec::new())
    }

    /// True when the projection reads [`LogEvent::metadata`]. Pages of the log bring it only if some projection of the
    /// catalogue does.
    fn reads_metadata(&self) -> bool {
        false
    }

    /// Lists the state that must be known before `project` can run on these events.
    fn needs(&self, events: &[LogEvent]) -> Needs;

    /// Folds the events over the prior state.
    fn project(&self, events: &[LogEvent], needs: &Needs, prior: &Prior) -> Projected;
}

impl Recalled {
    /// Reads the part of this event that this projection keeps.
    pub fn of(projection: &dyn Projection, event: &LogEvent) -> Recalled {
        Recalled {
            log_seq: event.log_seq,
            event_id: Arc::clone(&event.event_id),
            event_type: Arc::clone(&event.event_type),
            members: projection.recall(event),
        }
    }
}
