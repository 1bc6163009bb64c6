//! Replies about many scopes: a page of them, and groups of scopes in the same state for the same reason.
//!
//! *Guarantees.* A reply is bounded, whatever the number of scopes; the scopes left out are counted. The full lag is
//! counted only for scopes in the reply.

use super::status::LAG_EVENTS_MAX;
use super::why::to_tell;
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::{AdminError, ScopeState, ScopeStatus, StatusReply, StatusRequest, StatusSummary};
use decisiongraph_store::Store;
use std::collections::BTreeMap;

/// Scopes per page, when the request names no number.
pub const SCOPES_PAGE: i64 = 1_000;
/// Most scopes per page.
pub const SCOPES_PAGE_MAX: i64 = 10_000;
/// Largest group whose scopes are listed one by one. A larger group is shown by its number and its first scope.
pub(crate) const GROUP_TOLD: usize = 6;

/// Advice that lists the scopes with drift.
pub(crate) const LIST_DRIFTED: &str = "`decisiongraph status --drifted` lists them";

/// Reason that scopes can have in common: state, category of the error that stops them, drift.
type Reason = (ScopeState, Option<&'static str>, bool);

fn reason(scope: &ScopeStatus) -> Reason {
    (scope.state, scope.cause.map(Category::as_str), scope.drift.is_some())
}

/// Scopes in the same state for the same reason. Never empty.
pub(crate) struct Group<'s> {
    pub state: ScopeState,
    pub cause: Option<Category>,
    pub drifted: bool,
    pub scopes: Vec<&'s ScopeStatus>,
}

impl<'s> Group<'s> {
    /// Returns the scopes that are listed one by one; none of a large group.
    pub fn told(&self) -> &[&'s ScopeStatus] {
        if self.scopes.len() > GROUP_TOLD { &[] } else { &self.scopes }
    }

    /// Returns the advice that lists the group's scopes.
    pub fn list(&self) -> String {
        match self.state {
            ScopeState::Failed if self.scopes.iter().all(|scope| scope.open_failures > 0) => {
                "`decisiongraph failures` lists them".to_owned()
            }
            _ if self.drifted => LIST_DRIFTED.to_owned(),
            state => format!("`decisiongraph status --state {}` lists them", state.as_str()),
        }
    }
}

/// Groups the scopes, in the order of their first ones.
pub(crate) fn groups<'s>(scopes: impl Iterator<Item = &'s ScopeStatus>) -> Vec<Group<'s>> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for scope in scopes {
        let place = *places.entry(reason(scope)).or_insert(groups.len());
        if place == groups.len() {
            let (state, cause, drifted) = (scope.state, scope.cause, scope.drift.is_some());
            groups.push(Group { state, cause, drifted, scopes: Vec::new() });
        }
        groups[place].scopes.push(scope);
    }
    groups
}

/// Counts the lag of the scopes in the reply. These are the first scopes of each group, and one page of scopes with
/// something to report (or `all`). For the other scopes, only the age of the lag is found.
pub async fn measure(store: &dyn Store, status: &mut StatusReply, all: bool) -> Result<(), AdminError> {
    let mut seen: BTreeMap<Reason, usize> = BTreeMap::new();
    let mut told = 0;
    let (first, rest): (Vec<_>, Vec<_>) = status.scopes.iter_mut().partition(|scope| {
        let of_reason = seen.entry(reason(scope)).or_default();
        *of_reason += 1;
        told += i64::from(all || to_tell(scope));
        *of_reason <= GROUP_TOLD || told <= SCOPES_PAGE
    });
    count(store, status.sequence, first, LAG_EVENTS_MAX).await?;
    count(store, status.sequence, rest, 1).await
}

/// Counts the lag of these scopes, up to a bound.
async fn count(
    store: &dyn Store,
    sequence: LogSeq,
    mut scopes: Vec<&mut ScopeStatus>,
    bound: u64,
) -> Result<(), AdminError> {
    scopes.retain(|scope| scope.is_behind());
    // The sample is older than the scopes' rows.
    let Some(last) = scopes.iter().map(|scope| scope.last_log_seq).max() else { return Ok(()) };
    let cursors: Vec<_> = scopes.iter().map(|scope| (scope.tenant.clone(), scope.cursor)).collect();
    let lags = store.view().await?.lags(&cursors, sequence.max(last), bound).await?;
    for (scope, lag) in scopes.into_iter().zip(lags) {
        scope.lag = lag;
    }
    Ok(())
}

/// Cuts out the page that was asked for: whole tenants, behind a tenant, in a state, with drift. Adds the summary of
/// all scopes.
pub async fn page(
    store: &dyn Store,
    mut status: StatusReply,
    request: &StatusRequest,
) -> Result<StatusReply, AdminError> {
    let limit = super::handler::limit_in(request.limit.unwrap_or(SCOPES_PAGE), SCOPES_PAGE_MAX)?;
    status.summary = summary(&status.scopes);
    let wanted = |scope: &ScopeStatus| {
        request.state.is_none_or(|state| scope.state == state)
            && (!request.drifted || scope.drift.is_some())
            && request.after.as_ref().is_none_or(|after| scope.tenant > *after)
    };
    status.scopes.retain(wanted);
    let end = status.scopes.get(limit).map(|cut| {
        let last = &status.scopes[limit - 1].tenant;
        // A tenant whose scopes do not fit is still returned whole: its name is where the next page begins.
        if cut.tenant == *last {
            limit + status.scopes[limit..].iter().take_while(|s| s.tenant == *last).count()
        } else {
            limit
        }
    });
    if let Some(end) = end {
        status.more = end < status.scopes.len();
        status.scopes.truncate(end);
    }
    count(store, status.sequence, status.scopes.iter_mut().collect(), LAG_EVENTS_MAX).await?;
    Ok(status)
}

fn summary(scopes: &[ScopeStatus]) -> StatusSummary {
    let mut summary = StatusSummary { scopes: scopes.len() as u64, ..StatusSummary::default() };
    let mut last = None;
    for scope in scopes {
        *summary.states.entry(scope.state.as_str().to_owned()).or_default() += 1;
        summary.tenants += u64::from(last != Some(&scope.tenant));
        last = Some(&scope.tenant);
    }
    summary
}
