//! The memory that answering a request takes, as far as its size is known before: what a node lets in by its budget.

use super::AdminRequest;
use crate::engine::READ_COST;
use crate::queries::READ_BYTES_MAX;

/// Bytes of memory until the request is answered; 0 when they are few, or counted with the request itself.
pub fn weight(request: &AdminRequest) -> usize {
    match request {
        AdminRequest::Trace(_)
        | AdminRequest::Events(_)
        | AdminRequest::ExportPage(_)
        | AdminRequest::Subgraph(_)
        | AdminRequest::Edges(_)
        | AdminRequest::Precedents(_)
        | AdminRequest::Failures(_)
        | AdminRequest::Runs(_)
        | AdminRequest::Failure { replay: true, .. } => READ_COST * READ_BYTES_MAX,
        _ => 0,
    }
}
