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

pub use decisiongraph_protocol::query::*;
pub use edges::{EdgeCursor, edges, has_node};
pub use freshness::{CurrentView, current_view};
pub use precedents::precedents;
pub use reference_digest::reference_digests;
pub use subgraph::subgraph;
pub use traces::{trace_events, trace_summary};
