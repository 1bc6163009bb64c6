//! The log: appended to, read, and its end.

use crate::{
    AppendMode, EventFilter, HighWaterSample, Lag, LogEnd, OpenWriter, PageLimit, Paged, Result, Stray, TenantHead,
    TraceEnds, Verdict,
};
use async_trait::async_trait;
use decisiongraph_projections::event::StoredEvent;
use decisiongraph_projections::{Admitted, LogEvent, LogSeq, Projection, Recalled, TenantId};
use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// An event of a log that moves, with its place there.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The event.
    pub event: Admitted,
    /// Position in the log.
    pub log_seq: LogSeq,
    /// Time when the first store received the event, in microseconds since the beginning of 1970.
    pub recorded_at_us: i64,
}

impl Borrow<Admitted> for Placed {
    fn borrow(&self) -> &Admitted {
        &self.event
    }
}

/// Step of a move; see [`Log::move_in`].
#[derive(Debug)]
pub enum MoveStep {
    /// Stores events of one tenant, in order, by the rules of an append.
    Store {
        /// Tenant of the events.
        tenant: TenantId,
        /// Events with their places.
        events: Vec<Placed>,
        /// Consequence of a refused event for the others of this step.
        mode: AppendMode,
        /// Takes one verdict per event.
        answer: oneshot::Sender<Vec<Verdict>>,
    },
    /// Commits all steps, and ends the move.
    Commit,
}

/// Messages for a listener. Each channel is coalesced separately; some messages may be lost.
#[derive(Debug)]
pub struct Wakes {
    /// Events were appended.
    pub log: tokio::sync::mpsc::Receiver<()>,
    /// A node joined or left, or an operator changed a node's orders.
    pub members: tokio::sync::mpsc::Receiver<()>,
}

/// Appends to the log, and watches its end.
#[async_trait]
pub trait Log {
    /// Appends events of one tenant, in order, in one transaction, by the reference's rules
    /// ([`decisiongraph_projections::sequence::plan`]): one verdict per event. Every check comes before a `log_seq` is
    /// drawn. After the commit, readers are woken ([`Log::wakes`]).
    async fn append(&self, tenant: &TenantId, events: &[Admitted], mode: AppendMode) -> Result<Vec<Verdict>>;

    /// Moves a log into this database: stores its events at their positions, all steps in one transaction. Every other
    /// append waits until its end. Fails with `conflict` when the database has events, or had any that a projection
    /// saw. The highest position counts as drawn, and readers are woken. Steps that end without [`MoveStep::Commit`]
    /// leave nothing.
    async fn move_in(&self, steps: mpsc::Receiver<MoveStep>) -> Result<()>;

    /// Samples the log's end; see [`HighWaterSample`]. `unavailable` on a server that cannot be read safely (a standby,
    /// a sequence with a cache); the message names the fault.
    async fn sample_high_water(&self) -> Result<HighWaterSample>;

    /// Reads half of such a sample, for callers that only ask if anything was drawn since. Proves nothing by itself.
    async fn log_end(&self) -> Result<LogEnd>;

    /// Fails when nothing can be written now. The error names the cause, as far as the database reports it. Causes: a
    /// standby, read-only, commits that wait for a synchronous standby, a file locked by another program. Callers use
    /// it when a write failed or is not answered.
    async fn writable(&self) -> Result<()>;

    /// Returns the writers of this list that are still open.
    async fn writers_still_open(&self, writers: &[OpenWriter]) -> Result<Vec<OpenWriter>>;

    /// Receives messages after appends and after changes of membership. They end when the connection is lost.
    async fn wakes(&self) -> Result<Wakes>;
}

/// Reads the log, and the tenants that have events.
#[async_trait]
pub trait ReadLog {
    /// Reads events with `after` < log_seq ≤ `upto`, in order. An empty page means that there are none; an event that
    /// is too large is an error.
    async fn page(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, limit: PageLimit) -> Result<Vec<LogEvent>>;

    /// Reads the `trace_seq` of each trace's latest event (greatest `log_seq`) at or below `upto`. Traces without an
    /// event are left out.
    async fn heads(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
    ) -> Result<HashMap<Arc<str>, i64>>;

    /// Reads the kept parts ([`Projection::recall`]) of these traces' events at or below `upto`, in order. Only events
    /// of the projection's [`history_types`](Projection::history_types) count. One event at a time is in memory. None
    /// when the parts have more than `bytes_max` bytes.
    async fn history(
        &self,
        tenant: &TenantId,
        projection: &'static dyn Projection,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        bytes_max: usize,
    ) -> Result<Option<HashMap<Arc<str>, Vec<Recalled>>>>;

    /// Reads the full events of a choice with `after` < log_seq ≤ `upto`, in order. An event that cannot be read whole
    /// is marked ([`StoredEvent::fault`]).
    async fn chosen_events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>>;

    /// Reads all full events with `after` < log_seq ≤ `upto`; see [`ReadLog::chosen_events`].
    async fn events(
        &self,
        tenant: &TenantId,
        after: LogSeq,
        upto: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>> {
        self.chosen_events(tenant, &EventFilter::default(), after, upto, limit).await
    }

    /// Reads the full events of one trace with `log_seq` > `after`; see [`ReadLog::chosen_events`].
    async fn trace_events(
        &self,
        tenant: &TenantId,
        trace_id: &str,
        after: LogSeq,
        limit: PageLimit,
    ) -> Result<Paged<StoredEvent>> {
        self.chosen_events(tenant, &EventFilter::of_trace(trace_id), after, LogSeq(i64::MAX), limit).await
    }

    /// Finds the position of the event with this id.
    async fn position_of(&self, tenant: &TenantId, event_id: &str) -> Result<Option<LogSeq>>;

    /// Finds the position of event number `count` (from 1) of the tenant, or of one of its traces, with `after` <
    /// log_seq ≤ `upto`. None when there are fewer.
    async fn nth_position(
        &self,
        tenant: &TenantId,
        trace_id: Option<&str>,
        after: LogSeq,
        upto: LogSeq,
        count: usize,
    ) -> Result<Option<LogSeq>>;

    /// Lists starts of traces (event 0) with log_seq < `before`, latest first, at most `limit`: position and trace.
    async fn starts(&self, tenant: &TenantId, before: LogSeq, limit: usize) -> Result<Vec<(LogSeq, Arc<str>)>>;

    /// Reads the ends of these traces, as far as their events are at or below `upto`. With `event_types`, only of
    /// traces with an event of one of these types. Traces without a start are left out.
    async fn trace_ends(
        &self,
        tenant: &TenantId,
        traces: &BTreeSet<Arc<str>>,
        upto: LogSeq,
        event_types: &[String],
    ) -> Result<HashMap<Arc<str>, TraceEnds>>;

    /// Reads the position of the tenant's last event at or below `upto` (or of all); 0 when it has none.
    async fn last_log_seq(&self, tenant: &TenantId, upto: Option<LogSeq>) -> Result<LogSeq>;

    /// Computes the lags of cursors behind `mark`, in the order of the cursors, counting at most `bound` events of
    /// each.
    async fn lags(&self, cursors: &[(TenantId, LogSeq)], mark: LogSeq, bound: u64) -> Result<Vec<Lag>>;

    /// Counts the tenant's events with `after` < log_seq ≤ `upto`, up to `bound`.
    async fn count_events(&self, tenant: &TenantId, after: LogSeq, upto: LogSeq, bound: u64) -> Result<u64>;

    /// Lists every tenant that has events, by id.
    async fn tenants(&self) -> Result<Vec<TenantId>>;

    /// Lists the rows that every list leaves out because they belong to no tenant, by position, at most about `limit`.
    /// Costs one step per tenant when the schema does not keep such rows out yet, else nothing.
    async fn strays(&self, limit: usize) -> Result<Vec<Stray>>;

    /// Lists the tenants that have events or scopes, by id behind `after`, at most `limit`. Costs a few look-ups per
    /// tenant.
    async fn tenant_heads(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantHead>>;

    /// Lists every tenant that has events, by id, with its last event. Costs two look-ups per tenant.
    async fn last_log_seqs(&self) -> Result<Vec<(TenantId, LogSeq)>>;

    /// Lists the tenants that have events with `after` < log_seq ≤ `upto`, at most `limit`. Each comes with its last
    /// such event, and these give the order. Ask again with `after` = the last answer's position. The cost depends on
    /// that stretch, not on the log's length.
    async fn tenants_with_events(&self, after: LogSeq, upto: LogSeq, limit: usize) -> Result<Vec<(TenantId, LogSeq)>>;

    /// Lists the tenants that have work to do. At least one of these scopes, by name, is not paused and is behind. It
    /// does not exist yet, or has a cursor below the tenant's last event at or below `upto`. Each tenant comes with
    /// that last event, by id behind `after_tenant`, at most `limit`. Costs a few look-ups per tenant, whatever the
    /// log's length: meant for a start, not for polling.
    async fn tenants_behind(
        &self,
        scopes: &[&'static str],
        upto: LogSeq,
        after_tenant: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, LogSeq)>>;
}
