//! Who answers what is asked over the actor protocol.
//!
//! *Never here:* how.

use decisiongraph_protocol::{AdminError, AdminReply, AdminRequest, Asker};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// Answers requests. Never blocks a thread; may be asked many things at the same time.
pub trait Answers: Send + Sync + 'static {
    /// Answers one request of this asker, asked under this id. A job is answered with its run ([`AdminReply::Watch`]) when it has begun, and is then
    /// watched; its run has the id of the ask unless the request names another, so that the same ask finds it again.
    ///
    /// The future of a request that only looks may be dropped at its deadline; that of one that changes something runs to its end.
    fn answer(&self, id: Uuid, asker: Asker, request: AdminRequest) -> BoxFuture<'_, Result<AdminReply, AdminError>>;
}
