//! The queries over the read models, as the reference defines them: subgraph, edges, precedents, traces, digests.
//!
//! *Guarantees.* A query reads one snapshot ([`current_view`]), so that the generation it names and the rows it reads are of one
//! instant. What a query decides (which edge is taken, what a cursor means, which argument is wrong) is pure and tested as
//! such; memory is bounded by the limits of the request and [`READ_BYTES_MAX`], whatever the log holds.
//!
//! *Never here:* writes, SQL, projection rules.

mod edges;
mod freshness;
mod precedents;
mod reference_digest;
mod rows;
mod subgraph;
mod traces;

/// Bytes of one page of a read: it ends early, and says that there is more, when they are reached. One event or row is in it all the same.
pub const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

pub use edges::{EDGES_PAGE_MAX, EdgeCursor, EdgesPage, EdgesQuery, edges, has_node};
pub use freshness::{CurrentView, Freshness, Staleness, current_view};
pub use precedents::{PRECEDENTS_MAX, precedents, validate as validate_precedents};
pub use reference_digest::{ReferenceDigests, reference_digests};
pub use rows::{Edge, Node, Summary};
pub use subgraph::{Subgraph, SubgraphQuery, subgraph};
pub use traces::{EVENTS_PAGE_MAX, EventRecord, trace_events, trace_summary};
