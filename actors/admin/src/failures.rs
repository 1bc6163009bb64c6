//! Poison events, and the skips that leave them out. A skip is durable and safe to repeat.

use super::handler::{StoreAnswers, limit_in, projections};
use decisiongraph_engine::replay_failure::replay_failure;
use decisiongraph_projections::{Category, catalogue};
use decisiongraph_protocol::{
    AdminError, FailureReply, FailureRequest, FailuresReply, FailuresRequest, Handle, ListRequest, SkipRequest,
    check_reason,
};
use decisiongraph_store::{Failure, ListFilter, Paged, Scope, Skip, Store};
use std::str::FromStr;

/// Most failures or runs per list.
const LIST_MAX: i64 = 10_000;

impl Handle<FailuresRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: FailuresRequest) -> Result<FailuresReply, AdminError> {
        let list = request.0;
        let (skips, before) = (list.skips, behind(list.after.as_deref())?);
        let (filter, view) = (list_filter(list)?, self.store().view().await?);
        Ok(if skips {
            let Paged { items, more } = view.all_skips(&ListFilter { before_skip: before, ..filter }).await?;
            FailuresReply { failures: Vec::new(), skips: Some(items), more }
        } else {
            let Paged { items, more } = view.failures(&ListFilter { before_failure: before, ..filter }).await?;
            FailuresReply { failures: items, skips: None, more }
        })
    }
}

impl Handle<FailureRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: FailureRequest) -> Result<FailureReply, AdminError> {
        let (store, failure_id) = (self.store(), request.failure_id);
        let failure = store.view().await?.failure(failure_id).await?.ok_or_else(|| no_failure(failure_id))?;
        let replay = if request.replay { Some(replay_failure(store, failure_id).await?) } else { None };
        let skip = skip_of(store, &failure).await?.map(Box::new);
        Ok(FailureReply { failure, replay, skip })
    }
}

impl Handle<SkipRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: SkipRequest) -> Result<Skip, AdminError> {
        let SkipRequest { failure_id, reason, revoke, .. } = request;
        let advise = |error: decisiongraph_store::StoreError| match error.category {
            Category::NotFound | Category::Conflict => AdminError::from(error)
                .next("`decisiongraph failures --all` lists them; only an open one can be skipped"),
            _ => error.into(),
        };
        if !revoke {
            check_reason(&reason)?;
            return self.store().skip_event(failure_id, &reason, self.by).await.map_err(advise);
        }
        let failure = self.store().view().await?.failure(failure_id).await?;
        let failure = failure.ok_or_else(|| no_failure(failure_id))?;
        let projection = catalogue::find(&failure.projection).ok_or_else(|| {
            AdminError::new(Category::VersionMismatch, format!("this program has no projection {}", failure.projection))
        })?;
        Ok(self.store().revoke_skip(&Scope::new(&failure.tenant, projection), failure.log_seq).await?)
    }
}

/// Finds the skip in force for the event of a failure.
async fn skip_of(store: &dyn Store, failure: &Failure) -> Result<Option<Skip>, AdminError> {
    let Some(projection) = catalogue::find(&failure.projection) else { return Ok(None) };
    let skips = store.view().await?.skips(&Scope::new(&failure.tenant, projection)).await?;
    Ok(skips.into_iter().find(|skip| skip.log_seq == failure.log_seq))
}

pub(super) fn list_filter(request: ListRequest) -> Result<ListFilter, AdminError> {
    let projection = match request.projection.as_deref() {
        None | Some("all") => None,
        name => projections(name)?.first().map(|projection| projection.name()),
    };
    let limit = limit_in(request.limit, LIST_MAX)?;
    Ok(ListFilter { tenant: request.tenant, projection, open_only: request.open_only, limit, ..ListFilter::default() })
}

/// Parses the id behind which a list goes on.
pub(super) fn behind<Id: FromStr>(after: Option<&str>) -> Result<Option<Id>, AdminError> {
    let id = after.map(|after| {
        after.parse().map_err(|_| {
            AdminError::new(Category::InvalidArgument, format!("`{after}` is not an id of this list"))
                .next("give the last id of the previous page; without --after the list starts at its beginning")
        })
    });
    id.transpose()
}

fn no_failure(failure_id: i64) -> AdminError {
    AdminError::new(Category::NotFound, format!("there is no failure {failure_id}"))
        .next("`decisiongraph failures --all` lists them")
}
