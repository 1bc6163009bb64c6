//! The trait that answers requests of the actor protocol.
//!
//! *Never here:* the way to an answer.

use decisiongraph_protocol::{AdminError, AdminReply, AdminRequest, Asker};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// Answers requests. Never blocks a thread; may get many requests at the same time.
pub trait Answers: Send + Sync + 'static {
    /// Answers one request of this asker, asked under this id. A job is answered with its run ([`AdminReply::Watch`])
    /// when it has begun, and is then watched. Its run has the id of the ask unless the request names another id. So
    /// the same ask finds it again.
    ///
    /// The future of a read-only request may be dropped at its deadline. That of a request that changes something runs
    /// to its end.
    fn answer(&self, id: Uuid, asker: Asker, request: AdminRequest) -> BoxFuture<'_, Result<AdminReply, AdminError>>;
}
