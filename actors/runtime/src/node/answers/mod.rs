//! Answers of a node: everything that the database can answer, together with what the node's actors know.
//!
//! *Guarantees.* A job is answered with its run as soon as it has one. The words of the database and of a worker are
//! shown side by side; the database's word is the truth. While the database is away, the node still answers what it can
//! without it.

mod dump;
mod jobs;
mod nodes;
mod scopes;
mod seals;

pub use dump::TREE_ACTORS_MAX;

use super::NodeParts;
use decisiongraph_admin::StoreAnswers;
use decisiongraph_admin::changes::recorded;
use decisiongraph_admin::tenants::settle;
use decisiongraph_engine::Control;
use decisiongraph_engine::telemetry::signals;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, AdminReply, AdminRequest, Asker, FromDatabase, Handle, Request, Right};
use decisiongraph_rpc::Answers;
use futures_util::future::BoxFuture;
use std::future::Future;
use std::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

/// Answers out of a running node.
pub struct NodeAnswers(pub NodeParts);

impl Answers for NodeAnswers {
    fn answer(&self, id: Uuid, asker: Asker, request: AdminRequest) -> BoxFuture<'_, Result<AdminReply, AdminError>> {
        let (word, asked) = (request.facts().word, Instant::now());
        let span = signals::admin_span(word);
        Box::pin(async move {
            let answer = self.respond(id, &asker, request).instrument(span.clone()).await;
            let category = answer.as_ref().err().map(|error| error.category);
            if let Some(category) = category {
                signals::failed(&span, category);
            }
            let outcome = category.map_or("ok", Category::as_str);
            self.0.telemetry().record(&signals::ADMIN_ASK_DURATION, asked.elapsed().as_secs_f64(), &[word, outcome]);
            answer
        })
    }
}

impl NodeAnswers {
    async fn respond(&self, id: Uuid, asker: &Asker, request: AdminRequest) -> Result<AdminReply, AdminError> {
        let by = asker.name()?;
        let asking = Asking { node: self, id, by: &by, reaches_all: asker.reaches_all, control: Control::default() };
        // The node still answers what it can without the database.
        if matches!(request, AdminRequest::Health(_) | AdminRequest::Why(_)) && !self.0.board.database.is_up() {
            return request.answered_by(&asking).await;
        }
        let change = request.change(id);
        let is_query = request.facts().right == Some(Right::Read);
        let query_in = is_query.then(|| self.0.board.mark.borrow().era);
        let work = Box::pin(async {
            let asked = settle(&self.0.engine, request.subject(), asker.reaches_all, query_in).await?;
            request.answered_by(&asking).await.map_err(|error| asked.advise(error))
        });
        recorded(&self.0.engine, asker, id, change, work).await
    }
}

/// A request that this node answers. The source of a request's answer, [`FromDatabase`] or [`FromNode`], chooses the
/// implementation.
struct Asking<'a> {
    node: &'a NodeAnswers,
    id: Uuid,
    by: &'a str,
    /// False when the asker is told nothing about the whole node.
    reaches_all: bool,
    control: Control,
}

impl Asking<'_> {
    fn database(&self) -> StoreAnswers<'_> {
        StoreAnswers { engine: &self.node.0.engine, id: self.id, by: self.by, control: &self.control }
    }
}

/// Answers one kind of request out of this source.
trait AnswerFrom<Source, R: Request> {
    fn answer_from(&self, request: R) -> impl Future<Output = Result<R::Reply, AdminError>> + Send;
}

impl<R: Request> Handle<R> for Asking<'_>
where
    Self: AnswerFrom<R::Source, R>,
{
    fn answer(&self, request: R) -> impl Future<Output = Result<R::Reply, AdminError>> + Send {
        self.answer_from(request)
    }
}

impl<R: Request> AnswerFrom<FromDatabase, R> for Asking<'_>
where
    for<'s> StoreAnswers<'s>: Handle<R>,
{
    async fn answer_from(&self, request: R) -> Result<R::Reply, AdminError> {
        self.database().answer(request).await
    }
}
