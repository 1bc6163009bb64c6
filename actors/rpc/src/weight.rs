//! Memory for answering a request, as far as its size is known before. A node's budget admits the request by it.

use decisiongraph_engine::READ_COST;
use decisiongraph_engine::queries::READ_BYTES_MAX;
use decisiongraph_protocol::AdminRequest;

/// Returns the bytes of memory until the request is answered. 0 when they are few, or counted with the request itself.
pub fn weight(request: &AdminRequest) -> usize {
    if request.is_large() { READ_COST * READ_BYTES_MAX } else { 0 }
}
