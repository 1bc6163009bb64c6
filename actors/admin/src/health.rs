//! Health of scopes: findings from the status, decided by pure functions. Their next steps are worded as in
//! [`super::why`].

use super::cluster::missing;
use super::handler::StoreAnswers;
use super::overview::{FirstOnes, GROUP_TOLD, LAG_EVENTS_MAX, LIST_DRIFTED, count, groups};
use super::status::{no_key, status};
use super::why::{drifted, held_up_by, next_step, of_scope};
use decisiongraph_engine::Engine;
use decisiongraph_projections::catalogue;
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{
    AdminError, Finding, Handle, HealthReply, HealthRequest, HealthWord, ScopeState, ScopeStatus, StatusReply,
};
use decisiongraph_store::ReadView;

/// Longest time without movement of a scope that has events to apply, in seconds. A scope beyond it stands still,
/// whatever works on it.
pub const STILL_SECONDS_MAX: f64 = 60.0;

impl Handle<HealthRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: HealthRequest) -> Result<HealthReply, AdminError> {
        let (mut status, view) = status(self.store(), &request.0).await?;
        measure(&*view, &mut status).await?;
        let mut reply = findings(&status);
        reply.findings.extend(unsealed(self.engine, &*view, &status).await?);
        Ok(reply)
    }
}

/// Says that the log is not sealed where no key is configured: an information, and no fault. None where there is a key,
/// where there is no log, and where a process without a key looks at a log that others seal.
pub async fn unsealed(
    engine: &Engine,
    view: &dyn ReadView,
    status: &StatusReply,
) -> Result<Option<Finding>, AdminError> {
    let message = no_key(engine, view, status).await?;
    Ok(message.map(|message| Finding {
        health: HealthWord::Ok,
        subject: "seal".to_owned(),
        message,
        next: String::new(),
    }))
}

/// Finds the ages of the lags that decide whether a scope stands still. Counts the lags that the findings show.
pub async fn measure(view: &dyn ReadView, status: &mut StatusReply) -> Result<(), AdminError> {
    let may_stand = |scope: &&mut ScopeStatus| matches!(scope.state, ScopeState::Working | ScopeState::Behind);
    count(view, status.sequence, status.scopes.iter_mut().filter(may_stand).collect(), 1).await?;
    let mut first = FirstOnes::default();
    let shown = status.scopes.iter_mut().filter(|scope| at_work(scope).is_some() && first.takes(scope));
    count(view, status.sequence, shown.collect(), LAG_EVENTS_MAX).await
}

/// Lists the conditions that are not as they should be, worst first. A large group of similar scopes gives one finding.
pub fn findings(status: &StatusReply) -> HealthReply {
    let those = |about: About| status.scopes.iter().filter(move |scope| about(scope).is_some());
    let mut findings = Vec::new();
    for group in groups(those(at_work)) {
        findings.extend(of_some(&group.scopes, at_work, &group.list()));
    }
    findings.extend(of_some(&those(outdated).collect::<Vec<_>>(), outdated, ""));
    findings.extend(of_some(&those(adrift).collect::<Vec<_>>(), adrift, LIST_DRIFTED));
    findings.extend(of_some(&those(deviates).collect::<Vec<_>>(), deviates, "`decisiongraph skips` lists them"));
    findings.extend(about_node(status));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.health));
    let health = findings.first().map_or(HealthWord::Ok, |worst| worst.health);
    HealthReply { health, scopes: status.scopes.len() as u64, findings, partial: status.partial.clone() }
}

/// Lists the findings about the database and the cluster: appenders that hold up the mark, nodes out of service, stray
/// rows.
pub(super) fn about_node(status: &StatusReply) -> impl Iterator<Item = Finding> {
    let held = status.waiting_for.iter().map(held_up_by).filter(|held| held.health != HealthWord::Ok);
    let strays = status.strays.iter().map(|stray| Finding {
        health: HealthWord::Degraded,
        subject: stray.table.clone(),
        message: stray.why.clone(),
        next: stray.next.clone(),
    });
    held.chain(status.out_of_service.iter().map(missing)).chain(strays)
}

/// Check of one scope; none when there is no finding.
type About = fn(&ScopeStatus) -> Option<Finding>;

/// Returns the findings of few scopes one by one. Of many: the first scope's finding, the number of scopes, and the
/// command that lists them.
fn of_some(scopes: &[&ScopeStatus], about: About, list: &str) -> Vec<Finding> {
    let mut findings = scopes.iter().filter_map(|scope| about(scope));
    if scopes.len() <= GROUP_TOLD {
        return findings.collect();
    }
    let list = if list.is_empty() { String::new() } else { format!("{list}; ") };
    let of_many = |Finding { health, subject, message, next }| Finding {
        health,
        subject: format!("{} scopes", number(scopes.len() as u64)),
        message: format!("such as {subject}: {message}"),
        next: format!("{list}for this one: {next}"),
    };
    findings.next().map(of_many).into_iter().collect()
}

/// Reports a scope that is stopped, paused, unowned, or stands still.
fn at_work(scope: &ScopeStatus) -> Option<Finding> {
    let behind = || format!("{} behind: {}", lag_words(scope), scope.why);
    let next = || next_step(scope).unwrap_or_default();
    let (health, message, next) = match scope.state {
        ScopeState::Failed => (HealthWord::Failed, scope.why.clone(), next()),
        ScopeState::Paused => (HealthWord::Degraded, scope.why.clone(), next()),
        ScopeState::Unowned | ScopeState::Retrying => (HealthWord::Degraded, behind(), next()),
        ScopeState::Working | ScopeState::Behind => {
            let still = format!("its cursor has not moved for {:.0} s, {}", stands_still(scope)?, behind());
            (HealthWord::Degraded, still, ask_at_it(scope))
        }
        ScopeState::Current | ScopeState::Waiting => return None,
    };
    Some(Finding { health, subject: subject(scope), message, next })
}

/// Reports a scope whose rows were written by other rules.
fn outdated(scope: &ScopeStatus) -> Option<Finding> {
    let rules = catalogue::find(&scope.projection)?.version();
    let version = scope.version.filter(|version| *version != rules)?;
    Some(Finding {
        health: HealthWord::Degraded,
        subject: subject(scope),
        message: format!(
            "its rows were written by version {version} of the rules, but this program has version {rules}"
        ),
        next: format!("rewrite them: {}", of_scope(scope, "rebuild")),
    })
}

/// Reports a scope in which a verify found drift.
fn adrift(scope: &ScopeStatus) -> Option<Finding> {
    scope.drift.as_ref().map(|drift| drifted(scope, drift))
}

/// Reports a scope that leaves skipped events out. This is an operator's decision and no fault, but it must not be
/// overlooked.
fn deviates(scope: &ScopeStatus) -> Option<Finding> {
    scope.deviating.then(|| Finding {
        health: HealthWord::Ok,
        subject: subject(scope),
        message: "its rows deviate from the reference: skipped events are left out".to_owned(),
        next: format!(
            "nothing, if that is intended: {} lists them, and the failure of each says how to revoke its skip",
            of_scope(scope, "skips")
        ),
    })
}

/// Returns the time for which this scope has not moved although it could have, in seconds. None while that is too short
/// for a finding. A mark that is held up has its own finding.
fn stands_still(scope: &ScopeStatus) -> Option<f64> {
    // Events that arrived later could not be applied before.
    let still = scope.cursor_age_seconds.unwrap_or(f64::INFINITY).min(scope.lag.seconds);
    (scope.lag.events > 0 && still > STILL_SECONDS_MAX).then_some(still)
}

/// Names the command to examine a scope that stands still.
fn ask_at_it(scope: &ScopeStatus) -> String {
    let node = scope.live_on.as_ref().or(scope.owner.as_ref().filter(|_| scope.owner_live));
    match (&scope.active_run, node) {
        (Some(run), _) => {
            format!(
                "`decisiongraph run {run}` shows whether its job makes progress; `decisiongraph cancel {run}` ends it, and other owners continue"
            )
        }
        (None, Some(node)) => format!(
            "`decisiongraph tree --of {}` shows what its worker does; if the node is stopped or its process is gone, start it again",
            shell_word(node)
        ),
        (None, None) => {
            "`decisiongraph tree` shows whether it waits for its turn; `tenants_max` limits how many tenants work at once"
                .to_owned()
        }
    }
}

fn subject(scope: &ScopeStatus) -> String {
    format!("{}/{}", scope.tenant, scope.projection)
}

fn lag_words(scope: &ScopeStatus) -> String {
    let more = if scope.lag.more { "+" } else { "" };
    let noun = if scope.lag.events == 1 && !scope.lag.more { "event" } else { "events" };
    format!("{}{more} {noun}, {:.0} s", number(scope.lag.events), scope.lag.seconds)
}
