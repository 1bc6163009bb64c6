//! Memory for answering a request, as far as its size is known before. A node's budget admits the request by it.

use decisiongraph_engine::READ_COST;
use decisiongraph_engine::queries::READ_BYTES_MAX;
use decisiongraph_protocol::AdminRequest;

/// Returns the bytes of memory until the request is answered. 0 when they are few, or counted with the request itself.
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
