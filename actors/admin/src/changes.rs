//! The record of operators' changes: name, time, reason and outcome.
//!
//! *Guarantees.* A change is noted before it is carried out. A change that cannot be noted is not carried out. The
//! process that carries it out also logs it.
//!
//! *Never here:* work without an operator's request or on a schedule (catch-ups, verifies), appends, and requests that
//! only read.

use super::handler::StoreAnswers;
use decisiongraph_engine::Engine;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::foreign_text::on_a_line;
use decisiongraph_protocol::{AdminError, AdminReply, ChangesReply, ChangesRequest, Handle, check_reason, has_ended};
use decisiongraph_store::{NewChange, Paged};
use std::future::Future;

/// Most changes per list.
const CHANGES_MAX: i64 = 10_000;
/// Longest recorded outcome, in bytes.
const OUTCOME_BYTES_MAX: usize = 2_000;
/// Longest recorded name of a projection, failure, run or node, in bytes. No existing name is longer.
const NAME_BYTES_MAX: usize = 300;

/// Notes the change, carries it out with `work`, and notes its outcome. `by` asked for it. Without a change, only
/// `work` is done.
pub async fn recorded(
    engine: &Engine,
    by: &str,
    change: Option<NewChange>,
    work: impl Future<Output = Result<AdminReply, AdminError>>,
) -> Result<AdminReply, AdminError> {
    let Some(change) = change else { return work.await };
    if !change.reason.is_empty() {
        check_reason(&change.reason)?;
    }
    let store = &**engine.store();
    let name = |text: String| on_a_line(&text, NAME_BYTES_MAX);
    let change = NewChange {
        by: by.to_owned(),
        through: engine.owner().node.clone(),
        projection: change.projection.map(name),
        subject: change.subject.map(name),
        ..change
    };
    let change_id = store.note_change(&change).await?;
    let done = work.await;
    let outcome = outcome_of(&done);
    let NewChange { what, tenant, projection, subject, by, reason, .. } = change;
    tracing::info!(
        change = change_id,
        tenant = tenant.as_ref().map(TenantId::as_str),
        projection,
        subject,
        by,
        reason,
        outcome,
        "an operator asked for {what}"
    );
    if let Err(error) = store.end_change(change_id, &outcome).await {
        tracing::debug!(category = %error.category, "the outcome of change {change_id} is not recorded: {}", error.message);
    }
    done
}

fn outcome_of(done: &Result<AdminReply, AdminError>) -> String {
    let outcome = match done {
        Ok(AdminReply::Watch(watch)) if !has_ended(watch.run.state) => "begun".to_owned(),
        Ok(_) => "done".to_owned(),
        Err(error) => format!("{}: {}", error.category, error.message),
    };
    on_a_line(&outcome, OUTCOME_BYTES_MAX)
}

impl Handle<ChangesRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: ChangesRequest) -> Result<ChangesReply, AdminError> {
        let ChangesRequest { tenant, before, limit } = request;
        if !(1..=CHANGES_MAX).contains(&limit) {
            return Err(AdminError::new(
                Category::InvalidArgument,
                format!("limit must be 1 to {CHANGES_MAX}, not {limit}"),
            ));
        }
        let Paged { items: changes, more } =
            self.store().view().await?.changes(tenant.as_ref(), before, limit as usize).await?;
        Ok(ChangesReply { changes, more })
    }
}
