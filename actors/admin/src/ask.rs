//! One way to ask: a change is recorded, the tenant is settled, the request's handler answers.

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
    let (by, id) = (asker.name()?, Uuid::now_v7());
    let change = request.change(id);
    let handlers = StoreAnswers { engine, id, by: &by, control };
    let work = Box::pin(async {
        let asked = settle(engine, request.subject(), asker.reaches_all, None).await?;
        request.into().answered_by(&handlers).await.map_err(|error| asked.advise(error))
    });
    recorded(engine, asker, id, change, work).await.and_then(R::Reply::try_from)
}
