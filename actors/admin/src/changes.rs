//! The record of operators' changes: asker, time, reason and outcome.
//!
//! *Guarantees.* A change is recorded before it is begun. A change that cannot be recorded is not carried out. Its end
//! is recorded after it; an entry without an end says that its process died in between. A refused change is recorded,
//! too. The process that carries it out also logs it.
//!
//! *Never here:* work without an operator's request, appends, and requests that only read.

use super::handler::StoreAnswers;
use decisiongraph_engine::Engine;
use decisiongraph_projections::{Category, TenantId, rfc3339};
use decisiongraph_protocol::foreign_text::on_a_line;
use decisiongraph_protocol::{
    AdminError, AdminReply, Asker, ChangesReply, ChangesRequest, Handle, check_reason, has_ended,
};
use decisiongraph_store::{ChangeEnd, ChangeFilter, ChangeOutcome, NewChange, Paged, StoreError, crash};
use std::future::Future;
use uuid::Uuid;

/// Most changes per list.
const CHANGES_MAX: i64 = 10_000;
/// Longest recorded message of an end, in bytes.
const MESSAGE_BYTES_MAX: usize = 2_000;
/// Longest recorded name of a projection, failure, run or node, in bytes. No existing name is longer.
const NAME_BYTES_MAX: usize = 300;

/// Records the change, carries it out with `work`, and records its end. `asker` asked for it under this id. Without a
/// change, only `work` is done.
pub async fn recorded(
    engine: &Engine,
    asker: &Asker,
    id: Uuid,
    change: Option<NewChange>,
    work: impl Future<Output = Result<AdminReply, AdminError>>,
) -> Result<AdminReply, AdminError> {
    let Some(change) = change else { return work.await };
    let fits = if change.reason.is_empty() { Ok(()) } else { check_reason(&change.reason) };
    let store = &**engine.store();
    let name = |text: String| on_a_line(&text, NAME_BYTES_MAX);
    let change = NewChange {
        asker: asker.of_change(id),
        through: engine.owner().node.clone(),
        process: Some(engine.owner().incarnation),
        projection: change.projection.map(name),
        subject: change.subject.map(name),
        reason: if fits.is_ok() { change.reason } else { on_a_line(&change.reason, MESSAGE_BYTES_MAX) },
        ..change
    };
    let change_id = store.note_change(&change).await.map_err(unrecorded)?;
    let done = match fits {
        Ok(()) => work.await,
        Err(error) => Err(error),
    };
    crash::point("change.before_end");
    let end = end_of(&done);
    let by = change.asker.name();
    let NewChange { what, tenant, projection, subject, reason, .. } = change;
    tracing::info!(
        change = change_id,
        tenant = tenant.as_ref().map(TenantId::as_str),
        projection,
        subject,
        by,
        reason,
        outcome = end.to_string(),
        "an operator asked for {what}"
    );
    if let Err(error) = store.end_change(change_id, &end).await {
        tracing::debug!(category = %error.category, "the end of change {change_id} is not recorded: {}", error.message);
    }
    done
}

/// Makes the error of a change that is not carried out, because it cannot be recorded.
fn unrecorded(error: StoreError) -> AdminError {
    let category = match error.category {
        Category::Unauthorized | Category::VersionMismatch => error.category,
        // The record may be there; the change is not.
        Category::Unavailable | Category::OutcomeUnknown => Category::Unavailable,
        _ => Category::Storage,
    };
    let message = format!("nothing was done, because the change cannot be recorded: {}", error.message);
    AdminError { category, message, ..error.into() }
}

fn end_of(done: &Result<AdminReply, AdminError>) -> ChangeEnd {
    let accepted =
        |message: &str| ChangeEnd { outcome: ChangeOutcome::Accepted, code: None, message: message.to_owned() };
    match done {
        Ok(AdminReply::Watch(watch)) if !has_ended(watch.run.state) => accepted("begun"),
        Ok(_) => accepted("done"),
        Err(error) => ChangeEnd {
            outcome: if error.is_final() { ChangeOutcome::Refused } else { ChangeOutcome::Failed },
            code: Some(error.category.to_string()),
            message: on_a_line(&error.message, MESSAGE_BYTES_MAX),
        },
    }
}

impl Handle<ChangesRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ChangesRequest) -> Result<ChangesReply, AdminError> {
        let ChangesRequest { tenant, before, limit, since, identity, action, outcome } = request;
        let invalid = |message: String| AdminError::new(Category::InvalidArgument, message);
        if !(1..=CHANGES_MAX).contains(&limit) {
            return Err(invalid(format!("limit must be 1 to {CHANGES_MAX}, not {limit}")));
        }
        if let Some(word) = &outcome
            && word != ChangeFilter::NO_END
            && ChangeOutcome::parse(word).is_none()
        {
            return Err(invalid("outcome must be accepted, refused, failed or none".to_owned()));
        }
        let since_ms = match since.as_deref().map(rfc3339::instant) {
            None => None,
            Some(Some((seconds, fraction))) => {
                let digits = format!("{fraction:0<3}");
                let ms = digits.get(..3).and_then(|digits| digits.parse::<i64>().ok());
                Some(seconds * 1_000 + ms.unwrap_or_default())
            }
            Some(None) => {
                return Err(invalid("since must be a time of RFC 3339, such as 2026-01-31T09:30:00Z".to_owned()));
            }
        };
        let filter = ChangeFilter { tenant, since_ms, identity, what: action, outcome };
        let Paged { items: changes, more } =
            self.store().view().await?.changes(&filter, before, limit as usize).await?;
        Ok(ChangesReply { changes, more })
    }
}
