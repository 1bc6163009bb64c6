//! Replies about many scopes: a page of them, and groups of scopes in the same state for the same reason.
//!
//! *Guarantees.* A reply is bounded, whatever the number of scopes; the scopes left out are counted. Lags and digests
//! are read only for scopes in the reply.

use decisiongraph_projections::{Category, LogSeq, TenantId, catalogue};
use decisiongraph_protocol::{AdminError, ScopeState, ScopeStatus, StatusReply, StatusRequest, StatusSummary};
use decisiongraph_store::{ReadView, Scope};
use std::collections::{BTreeMap, HashMap};

/// Scopes per page, when the request names no number.
pub const SCOPES_PAGE: i64 = 1_000;
/// Most scopes per page.
pub const SCOPES_PAGE_MAX: i64 = 10_000;
/// Bound of the lag in events; shown as "10,000+".
pub const LAG_EVENTS_MAX: u64 = 10_000;
/// Most digests per read.
const DIGESTS_PAGE: usize = 1_000;
/// Largest group whose scopes are listed one by one. A larger group is shown by its number and its first scope.
pub(crate) const GROUP_TOLD: usize = 6;

/// Advice that lists the scopes with drift.
pub(crate) const LIST_DRIFTED: &str = "`decisiongraph status --drifted` lists them";

/// Reason that scopes can have in common: state, category of the error that stops them, drift.
type Reason = (ScopeState, Option<&'static str>, bool);

fn reason(scope: &ScopeStatus) -> Reason {
    (scope.state, scope.cause.map(Category::as_str), scope.drift.is_some())
}

/// True when there is something to report of this scope: it is not current, or it has drift.
pub(crate) fn to_tell(scope: &ScopeStatus) -> bool {
    scope.state != ScopeState::Current || scope.drift.is_some()
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

/// Counts the lag of the scopes in the reply to `why`. These are the first scopes of each group, and one page of scopes
/// with something to report (or `all`).
pub async fn measure(view: &dyn ReadView, status: &mut StatusReply, all: bool) -> Result<(), AdminError> {
    let (mut first, mut told) = (FirstOnes::default(), 0);
    let reply = status.scopes.iter_mut().filter(|scope| all || to_tell(scope)).filter(|scope| {
        told += 1;
        first.takes(scope) || told <= SCOPES_PAGE
    });
    count(view, status.sequence, reply.collect(), LAG_EVENTS_MAX).await
}

/// Picks the first scopes of each group: no other scope of it is shown one by one or as the group's example.
#[derive(Default)]
pub(crate) struct FirstOnes(BTreeMap<Reason, usize>);

impl FirstOnes {
    /// True for the first [`GROUP_TOLD`] scopes of each group.
    pub fn takes(&mut self, scope: &ScopeStatus) -> bool {
        let of_reason = self.0.entry(reason(scope)).or_default();
        *of_reason += 1;
        *of_reason <= GROUP_TOLD
    }
}

/// Counts the lag of these scopes, up to a bound. Projections of a tenant with the same cursor are counted once.
pub(crate) async fn count(
    view: &dyn ReadView,
    sequence: LogSeq,
    mut scopes: Vec<&mut ScopeStatus>,
    bound: u64,
) -> Result<(), AdminError> {
    scopes.retain(|scope| scope.is_behind());
    // The sample is older than the scopes' rows.
    let Some(last) = scopes.iter().map(|scope| scope.last_log_seq).max() else { return Ok(()) };
    let (mut cursors, mut places): (Vec<(TenantId, LogSeq)>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut known = HashMap::new();
    for scope in &scopes {
        let cursor = (scope.tenant.clone(), scope.cursor);
        places.push(*known.entry(cursor.clone()).or_insert_with(|| {
            cursors.push(cursor);
            cursors.len() - 1
        }));
    }
    let lags = view.lags(&cursors, sequence.max(last), bound).await?;
    for (scope, place) in scopes.into_iter().zip(places) {
        scope.lag = lags[place];
    }
    Ok(())
}

/// Adds the digests of scopes that were ever acquired, page by page: a digest has 2 KB until it is text.
async fn digests(view: &dyn ReadView, scopes: &mut [ScopeStatus]) -> Result<(), AdminError> {
    let mut acquired: Vec<_> = scopes
        .iter_mut()
        .filter(|scope| scope.generation.is_some())
        .filter_map(|status| {
            Some((Scope::new(&status.tenant, catalogue::find(&status.projection)?), &mut status.digest))
        })
        .collect();
    for page in acquired.chunks_mut(DIGESTS_PAGE) {
        let of: Vec<Scope> = page.iter().map(|(scope, _)| scope.clone()).collect();
        for ((_, digest), found) in page.iter_mut().zip(view.digests(&of).await?) {
            **digest = found.map(|found| found.to_text());
        }
    }
    Ok(())
}

/// Cuts out the page that was asked for: whole tenants, behind a tenant, in a state, with drift. Adds the summary of
/// all scopes.
pub async fn page(
    view: &dyn ReadView,
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
    count(view, status.sequence, status.scopes.iter_mut().collect(), LAG_EVENTS_MAX).await?;
    digests(view, &mut status.scopes).await?;
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
