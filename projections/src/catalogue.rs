//! The list of projections. Everything that is done for each projection iterates this list; a new one is one file, one
//! migration and one line here.

use crate::context_graph::ContextGraph;
use crate::precedent_index::PrecedentIndex;
use crate::projection::Projection;
use crate::trace_summary::TraceSummary;

/// Nodes and edges of what touched what.
pub const CONTEXT_GRAPH: &dyn Projection = &ContextGraph;
/// A row a trace.
pub const TRACE_SUMMARY: &dyn Projection = &TraceSummary;
/// Policy decisions and exceptions of finished traces.
pub const PRECEDENT_INDEX: &dyn Projection = &PrecedentIndex;

/// All projections, in the order of jobs for `all` and of the full digest.
pub const ALL: [&dyn Projection; 3] = [CONTEXT_GRAPH, TRACE_SUMMARY, PRECEDENT_INDEX];

/// The projection with this name.
pub fn find(name: &str) -> Option<&'static dyn Projection> {
    ALL.into_iter().find(|projection| projection.name() == name)
}

/// Types of the earlier events that some projection wants of a trace.
pub fn history_types() -> Vec<&'static str> {
    let mut types: Vec<&str> = ALL.iter().flat_map(|projection| projection.history_types()).copied().collect();
    types.sort_unstable();
    types.dedup();
    types
}
