//! Whether somebody has to act: findings out of the status, decided by pure functions. What to do is said as in [`super::why`].

use super::AdminError;
use super::cluster::missing;
use super::reply::{Finding, HealthReply, HealthWord, ScopeState, ScopeStatus, StatusReply};
use super::request::ScopeFilter;
use super::status::status;
use super::why::{drifted, held_up_by, next_step, of_scope};
use crate::foreign_text::shell_word;
use decisiongraph_projections::catalogue;
use decisiongraph_store::Store;

/// A scope that has events to apply and has not moved for longer stands still, whoever works on it.
pub const STILL_SECONDS_MAX: f64 = 60.0;

/// The health of these scopes.
pub async fn health(store: &dyn Store, filter: &ScopeFilter) -> Result<HealthReply, AdminError> {
    Ok(findings(&status(store, filter).await?))
}

/// What is not as it should be, worst first.
pub(crate) fn findings(status: &StatusReply) -> HealthReply {
    let mut findings: Vec<Finding> = status.scopes.iter().flat_map(scope_findings).collect();
    findings.extend(status.waiting_for.iter().map(held_up_by).filter(|held| held.health != HealthWord::Ok));
    findings.extend(status.out_of_service.iter().map(missing));
    findings.extend(status.strays.iter().map(|stray| Finding {
        health: HealthWord::Degraded,
        subject: stray.table.clone(),
        message: stray.why.clone(),
        next: stray.next.clone(),
    }));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.health));
    let health = findings.first().map_or(HealthWord::Ok, |worst| worst.health);
    HealthReply { health, scopes: status.scopes.len() as u64, findings, partial: status.partial.clone() }
}

fn scope_findings(scope: &ScopeStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    let subject = format!("{}/{}", scope.tenant, scope.projection);
    let mut add = |health, message: String, next: String| {
        findings.push(Finding { health, subject: subject.clone(), message, next });
    };
    let behind = || format!("{} behind: {}", lag_words(scope), scope.why);
    let told = match scope.state {
        ScopeState::Failed => Some((HealthWord::Failed, scope.why.clone())),
        ScopeState::Paused => Some((HealthWord::Degraded, scope.why.clone())),
        ScopeState::Unowned | ScopeState::Retrying => Some((HealthWord::Degraded, behind())),
        ScopeState::Current | ScopeState::Working | ScopeState::Waiting | ScopeState::Behind => None,
    };
    if let Some((health, message)) = told {
        add(health, message, next_step(scope).unwrap_or_default());
    } else if let Some(seconds) = stands_still(scope) {
        add(
            HealthWord::Degraded,
            format!("its cursor has not moved for {seconds:.0} s, {}", behind()),
            ask_at_it(scope),
        );
    }
    let rules = catalogue::find(&scope.projection).map(|projection| projection.version());
    if let (Some(version), Some(rules)) = (scope.version, rules)
        && version != rules
    {
        add(
            HealthWord::Degraded,
            format!("its rows were written by version {version} of the rules, this program has {rules}"),
            format!("write them anew: {}", of_scope(scope, "rebuild")),
        );
    }
    findings.extend(scope.drift.as_ref().map(|drift| drifted(scope, drift)));
    findings
}

/// How long this scope has not moved although it could have; none while that is not worth a word. A mark that is held up has a finding of
/// its own.
fn stands_still(scope: &ScopeStatus) -> Option<f64> {
    let waits_for_readers = matches!(scope.state, ScopeState::Working | ScopeState::Behind);
    // Events that came only now were not there to be applied before.
    let still = scope.cursor_age_seconds.unwrap_or(f64::INFINITY).min(scope.lag.seconds);
    (waits_for_readers && scope.lag.events > 0 && still > STILL_SECONDS_MAX).then_some(still)
}

/// Whom to ask about a scope that stands still.
fn ask_at_it(scope: &ScopeStatus) -> String {
    let node = scope.live_on.as_ref().or(scope.owner.as_ref().filter(|_| scope.owner_live));
    match (&scope.active_run, node) {
        (Some(run), _) => {
            format!(
                "`decisiongraph run {run}` shows whether its job moves; `decisiongraph cancel {run}` ends it, and others go on"
            )
        }
        (None, Some(node)) => format!(
            "`decisiongraph tree --of {}` shows what its worker does; a node that is stopped or whose process is gone: start it again",
            shell_word(node)
        ),
        (None, None) => {
            "`decisiongraph tree` shows whether it waits for its turn; `tenants_max` bounds how many work at once"
                .to_owned()
        }
    }
}

fn lag_words(scope: &ScopeStatus) -> String {
    let more = if scope.lag.more { "+" } else { "" };
    let noun = if scope.lag.events == 1 && !scope.lag.more { "event" } else { "events" };
    format!("{}{more} {noun}, {:.0} s", scope.lag.events, scope.lag.seconds)
}
