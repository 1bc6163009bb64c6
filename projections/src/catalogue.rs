//! The list of projections. All work that is done for each projection iterates this list. A new projection is one file,
//! one migration and one line here.

use crate::context_graph::ContextGraph;
use crate::precedent_index::PrecedentIndex;
use crate::projection::Projection;
use crate::trace_summary::TraceSummary;

/// Nodes and edges: the things that each trace touched.
pub const CONTEXT_GRAPH: &dyn Projection = &ContextGraph;
/// One row per trace.
pub const TRACE_SUMMARY: &dyn Projection = &TraceSummary;
/// Policy decisions and exceptions of finished traces.
pub const PRECEDENT_INDEX: &dyn Projection = &PrecedentIndex;

/// All projections, in the order of jobs for `all` and of the full digest.
pub const ALL: [&dyn Projection; 3] = [CONTEXT_GRAPH, TRACE_SUMMARY, PRECEDENT_INDEX];

/// Returns the projection with this name.
pub fn find(name: &str) -> Option<&'static dyn Projection> {
    ALL.into_iter().find(|projection| projection.name() == name)
}

/// Lists the types of earlier events that any projection needs of a trace.
pub fn history_types() -> Vec<&'static str> {
    let mut types: Vec<&str> = ALL.iter().flat_map(|projection| projection.history_types()).copied().collect();
    types.sort_unstable();
    types.dedup();
    types
}
