//! The list of projections. All work that is done for each projection iterates this list.
//!
//! A new projection is a file in `catalogue/`, a migration per backend, and its two lines here: its module, and its
//! entry in the list.

use crate::digest::reference::ReferenceForm;
use crate::event::{LogEvent, Metadata, StoredEvent};
use crate::projection::Projection;
use crate::seal::scope::SEAL;
use std::sync::Arc;

mod context_graph;
mod precedent_index;
mod trace_summary;

/// Nodes and edges: the things that each trace touched.
pub const CONTEXT_GRAPH: &dyn Projection = &context_graph::ContextGraph;
/// One row per trace.
pub const TRACE_SUMMARY: &dyn Projection = &trace_summary::TraceSummary;
/// Policy decisions and exceptions of finished traces.
pub const PRECEDENT_INDEX: &dyn Projection = &precedent_index::PrecedentIndex;

/// The list, in the order of jobs for `all` and of the full digest.
const LIST: &[&dyn Projection] = &[CONTEXT_GRAPH, TRACE_SUMMARY, PRECEDENT_INDEX];

/// All projections, in the order of jobs for `all` and of the full digest.
pub const ALL: [&dyn Projection; LIST.len()] = match LIST.first_chunk() {
    Some(all) => *all,
    None => unreachable!(),
};

/// All projections, and behind them the seal: the scopes of a tenant whose log is sealed.
pub const ALL_WITH_SEAL: [&dyn Projection; LIST.len() + 1] = {
    let mut all = [SEAL; LIST.len() + 1];
    let mut at = 0;
    while at < LIST.len() {
        all[at] = LIST[at];
        at += 1;
    }
    all
};

/// Returns the projection with this name.
pub fn find(name: &str) -> Option<&'static dyn Projection> {
    ALL.into_iter().find(|projection| projection.name() == name)
}

/// Returns the projection, or the seal, whose scope has this name.
pub fn find_scope(name: &str) -> Option<&'static dyn Projection> {
    ALL_WITH_SEAL.into_iter().find(|projection| projection.name() == name)
}

/// Lists the projections that the reference has too, with the shapes of their digests.
pub fn with_reference() -> impl Iterator<Item = (&'static dyn Projection, ReferenceForm)> {
    ALL.into_iter().filter_map(|projection| Some((projection, projection.reference_form()?)))
}

/// Lists the types of earlier events that any projection needs of a trace.
pub fn history_types() -> Vec<&'static str> {
    let mut types: Vec<&str> = ALL.iter().flat_map(|projection| projection.history_types()).copied().collect();
    types.sort_unstable();
    types.dedup();
    types
}

/// True when pages of the log bring metadata: some projection reads it.
pub fn reads_metadata() -> bool {
    ALL.iter().any(|projection| projection.reads_metadata())
}

impl From<StoredEvent> for LogEvent {
    /// Keeps of a stored event what projections of this list read.
    fn from(event: StoredEvent) -> LogEvent {
        let e = event.envelope;
        LogEvent {
            metadata: reads_metadata().then(|| Arc::new(Metadata::from(&e))),
            log_seq: event.log_seq,
            event_id: e.event_id.into(),
            trace_id: e.trace_id.into(),
            trace_seq: e.trace_seq,
            event_type: e.event_type.into(),
            occurred_at: e.occurred_at.into(),
            actor_type: e.actor.actor_type.into(),
            actor_id: e.actor.actor_id.into(),
            payload: event.payload.into(),
            payload_hash: event.payload_hash.into(),
        }
    }
}
