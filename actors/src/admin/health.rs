//! Whether somebody has to act: findings out of the status, decided by pure functions.

use super::AdminError;
use super::reply::{Finding, HealthReply, HealthWord, ScopeState, ScopeStatus, StatusReply};
use super::request::ScopeFilter;
use super::status::status;
use decisiongraph_projections::catalogue;
use decisiongraph_store::Store;

/// An appender that is open for longer holds up every reader: worth a finding.
pub(crate) const WRITER_AGE_SECONDS_MAX: f64 = 60.0;

/// The health of these scopes.
pub async fn health(store: &dyn Store, filter: &ScopeFilter) -> Result<HealthReply, AdminError> {
    Ok(findings(&status(store, filter).await?))
}

/// What is not as it should be, worst first.
pub(crate) fn findings(status: &StatusReply) -> HealthReply {
    let mut findings: Vec<Finding> = status.scopes.iter().flat_map(scope_findings).collect();
    for writer in &status.waiting_for {
        if writer.age_seconds.is_some_and(|age| age > WRITER_AGE_SECONDS_MAX) {
            let who = writer.pid.map_or_else(|| writer.transaction.clone(), |pid| format!("pid {pid}"));
            findings.push(Finding {
                health: HealthWord::Degraded,
                subject: format!("appender {who}"),
                message: format!(
                    "an appending transaction has been open for {:.0} s; nothing behind it may be read",
                    writer.age_seconds.unwrap_or_default()
                ),
                next: "commit it, roll it back, or end that session".to_owned(),
            });
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.health));
    let health = findings.first().map_or(HealthWord::Ok, |worst| worst.health);
    HealthReply { health, scopes: status.scopes.len() as u64, findings, partial: status.partial.clone() }
}

fn scope_findings(scope: &ScopeStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    let subject = format!("{}/{}", scope.tenant, scope.projection);
    let mut add = |health, message: String, next: &str| {
        findings.push(Finding { health, subject: subject.clone(), message, next: next.to_owned() });
    };
    match scope.state {
        ScopeState::Failed => add(
            HealthWord::Failed,
            scope.why.clone(),
            "`decisiongraph failures` shows the event; repair its cause, then catch up again",
        ),
        ScopeState::Paused => add(HealthWord::Degraded, scope.why.clone(), "run `decisiongraph resume`"),
        ScopeState::Unowned => add(
            HealthWord::Degraded,
            format!("{} behind: {}", lag_words(scope), scope.why),
            "run `decisiongraph catch-up`",
        ),
        ScopeState::Current | ScopeState::Working | ScopeState::Waiting | ScopeState::Behind => {}
        ScopeState::Retrying => add(
            HealthWord::Degraded,
            format!("{} behind: {}", lag_words(scope), scope.why),
            "it tries again by itself; `decisiongraph status` shows whether the cause stays",
        ),
    }
    let rules = catalogue::find(&scope.projection).map(|projection| projection.version());
    if let (Some(version), Some(rules)) = (scope.version, rules)
        && version != rules
    {
        add(
            HealthWord::Degraded,
            format!("its rows were written by version {version} of the rules, this program has {rules}"),
            "run `decisiongraph rebuild`",
        );
    }
    findings
}

fn lag_words(scope: &ScopeStatus) -> String {
    let more = if scope.lag.more { "+" } else { "" };
    let noun = if scope.lag.events == 1 && !scope.lag.more { "event" } else { "events" };
    format!("{}{more} {noun}, {:.0} s", scope.lag.events, scope.lag.seconds)
}
