//! One way to ask: the tenant is settled, a change is recorded, the request's handler answers.

use super::changes::recorded;
use super::handler::StoreAnswers;
use super::tenants::settle;
use decisiongraph_engine::{Control, Engine};
use decisiongraph_protocol::{AdminError, Asker, Request};
use uuid::Uuid;

/// Answers one request of this asker. `control` cancels and follows a job.
pub async fn answer<R: Request>(
    engine: &Engine,
    asker: &Asker,
    request: R,
    control: &Control,
) -> Result<R::Reply, AdminError> {
    let asked = settle(&**engine.store(), request.subject()).await?;
    let (by, id) = (asker.name()?, Uuid::now_v7());
    let change = request.change(id);
    let handlers = StoreAnswers { engine, id, by: &by, control };
    let work = Box::pin(request.into().answered_by(&handlers));
    let done = recorded(engine, &by, change, work).await;
    done.map_err(|error| asked.advise(error)).and_then(R::Reply::try_from)
}
