//! The queries over the read models, as the reference defines them: subgraph, edges, precedents, traces, digests.
//!
//! *Guarantees.* A query reads one snapshot ([`current_view`]): the generation it names and the rows it reads are of
//! one instant. A query's decisions are pure and tested as such: which edge is taken, what a cursor means, which
//! argument is wrong. Memory is bounded by the limits of the request and [`READ_BYTES_MAX`], whatever the log holds.
//!
//! *Never here:* writes, SQL, projection rules.

mod edges;
mod freshness;
mod precedents;
mod reference_digest;
mod rows;
mod subgraph;
mod trace_list;
mod traces;

pub use decisiongraph_protocol::query::*;
pub use edges::{EdgeCursor, edges, has_node};
pub use freshness::{CurrentView, current_view};
pub use precedents::precedents;
pub use reference_digest::reference_digests;
pub use subgraph::subgraph;
pub use trace_list::{traces, traces_of};
pub use traces::{Scanned, events, trace_events, trace_summary};
