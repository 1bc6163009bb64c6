//! Where each scope stands, and why: read in one snapshot, decided by a pure function ([`explain`]).

use super::cluster::out_of_service;
use super::handler::projections;
use super::reply::{ScopeState, ScopeStatus, StatusReply};
use super::request::ScopeFilter;
use super::{AdminError, Command};
use crate::engine::mark::beyond;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_store::{Failure, Lag, ListFilter, OpenWriter, Paused, Run, RunState, Scope, ScopeRow, Store};
use std::collections::{BTreeMap, BTreeSet};

/// Bound of the lag in events; shown as "10,000+".
pub const LAG_EVENTS_MAX: u64 = 10_000;
/// Open failures and jobs that a status looks at.
const OPEN_MAX: usize = 10_000;

/// Stray rows that an answer names.
pub const STRAYS_MAX: usize = 20;

/// The status of these scopes: those that were ever owned, and those of tenants whose events nobody has applied yet.
pub async fn status(store: &dyn Store, filter: &ScopeFilter) -> Result<StatusReply, AdminError> {
    let wanted = projections(filter.projection.as_deref())?;
    let sample = store.sample_high_water().await?;
    let view = store.snapshot().await?;
    let mut known: BTreeMap<(TenantId, &'static str), _> = BTreeMap::new();
    for row in view.scopes(filter.tenant.as_ref()).await? {
        known.insert((row.scope.tenant.clone(), row.scope.projection), row);
    }
    let highest = known.values().map(|row: &ScopeRow| row.position.cursor).max().unwrap_or(LogSeq::ORIGIN);
    // The sample is older than the snapshot; a cursor above it may be of an event between the two.
    let end = if highest > sample.sequence { store.log_end().await?.sequence } else { sample.sequence };
    let mut tenants: BTreeSet<TenantId> = known.keys().map(|(tenant, _)| tenant.clone()).collect();
    match &filter.tenant {
        Some(tenant) => {
            tenants.insert(tenant.clone());
        }
        None => tenants.extend(view.tenants().await?),
    }
    let open = ListFilter { tenant: filter.tenant.clone(), projection: None, open_only: true, limit: OPEN_MAX };
    let failures = view.failures(&open).await?.items;
    let runs = view.runs(&open).await?.items;
    let mut scopes = Vec::new();
    for tenant in tenants {
        let last_log_seq = view.last_log_seq(&tenant, None).await?;
        for projection in &wanted {
            let scope = Scope::new(&tenant, *projection);
            let row = known.remove(&(tenant.clone(), projection.name()));
            let cursor = row.as_ref().map_or(LogSeq::ORIGIN, |row| row.position.cursor);
            let lag = if cursor < last_log_seq {
                view.lag(&tenant, cursor, sample.sequence.max(last_log_seq), LAG_EVENTS_MAX).await?
            } else {
                Lag { events: 0, more: false, seconds: 0.0 }
            };
            let open: Vec<&Failure> = failures
                .iter()
                .filter(|failure| failure.tenant == tenant && failure.projection == projection.name())
                .collect();
            let run = runs.iter().find(|run| works_on(run, &scope));
            let owner_live = row.as_ref().is_some_and(|row| row.owner_live);
            let (state, why) = explain(&Facts {
                scope: &scope,
                lag,
                beyond: (cursor > end).then(|| beyond(&scope, cursor, end)),
                empty: last_log_seq == LogSeq::ORIGIN,
                paused: row.as_ref().and_then(|row| row.paused.as_ref()),
                failure: open.iter().min_by_key(|failure| failure.log_seq).copied(),
                run,
                owner: row.as_ref().and_then(|row| row.owner.as_deref()).filter(|_| owner_live),
                writers: &sample.writers,
            });
            scopes.push(ScopeStatus {
                tenant: tenant.clone(),
                projection: projection.name().to_owned(),
                state,
                cursor,
                last_log_seq,
                lag,
                cursor_age_seconds: row.as_ref().map(|row| row.cursor_age_seconds),
                owner: row.as_ref().and_then(|row| row.owner.clone()),
                owner_live,
                epoch: row.as_ref().map_or(0, |row| row.epoch.counter),
                generation: row.as_ref().map(|row| row.generation),
                digest: row.as_ref().map(|row| row.position.digest.to_text()),
                version: row.as_ref().map(|row| row.position.version),
                open_failures: open.len() as u64,
                deviating: row.as_ref().is_some_and(|row| row.deviating),
                drift: row.as_ref().and_then(|row| row.drift.clone()),
                active_run: run.map(|run| run.run_id.to_string()),
                why,
                next_owner: None,
                live: None,
                live_on: None,
            });
        }
    }
    Ok(StatusReply {
        database: store.address(),
        backend: store.backend(),
        sequence: sample.sequence,
        mark_is_safe: sample.writers.is_empty(),
        waiting_for: sample.writers,
        scopes,
        partial: Vec::new(),
        strays: match filter.tenant {
            Some(_) => Vec::new(),
            None => view.strays(STRAYS_MAX).await?,
        },
        out_of_service: out_of_service(view.members().await?),
    })
}

fn works_on(run: &Run, scope: &Scope) -> bool {
    run.state == RunState::Running
        && run.tenant == scope.tenant
        && (run.projection == "all" || run.projection == scope.projection)
}

/// What is known of a scope.
struct Facts<'a> {
    scope: &'a Scope,
    lag: Lag,
    /// The finding that its cursor is above the end of the log.
    beyond: Option<String>,
    /// The tenant has no event at all.
    empty: bool,
    paused: Option<&'a Paused>,
    failure: Option<&'a Failure>,
    run: Option<&'a Run>,
    owner: Option<&'a str>,
    writers: &'a [OpenWriter],
}

/// One word and one sentence.
fn explain(facts: &Facts<'_>) -> (ScopeState, String) {
    let command = |words: &str| Command::of_scope(words, &facts.scope.tenant, facts.scope.projection);
    if let Some(paused) = facts.paused {
        return (
            ScopeState::Paused,
            format!("paused by {}: {}; {} lets it go on", paused.by, paused.reason, command("resume")),
        );
    }
    if let Some(beyond) = &facts.beyond {
        return (ScopeState::Failed, beyond.clone());
    }
    if let Some(failure) = facts.failure {
        return (
            ScopeState::Failed,
            format!(
                "stopped at log_seq {} (event {}): {}; see {}",
                failure.log_seq,
                failure.event_id,
                failure.category,
                Command::of(&format!("failure {}", failure.failure_id), &failure.tenant)
            ),
        );
    }
    if let Some(run) = facts.run
        && run.node_live
    {
        return (
            ScopeState::Working,
            format!("{} {} is at {} of {}", run.mode.as_str(), run.run_id, run.cursor, run.target),
        );
    }
    if facts.lag.events == 0 {
        return match facts.writers.first() {
            Some(writer) => (ScopeState::Current, format!("every visible event is applied; {}", waiting(writer))),
            None if facts.empty => (ScopeState::Current, "the tenant has no events".to_owned()),
            None => (ScopeState::Current, "every event is applied".to_owned()),
        };
    }
    if let Some(run) = facts.run {
        return (
            ScopeState::Unowned,
            format!(
                "{} {} lost its process ({}); run it again and it goes on",
                run.mode.as_str(),
                run.run_id,
                run.node
            ),
        );
    }
    if let Some(writer) = facts.writers.first() {
        return (ScopeState::Waiting, waiting(writer));
    }
    match facts.owner {
        Some(owner) => (ScopeState::Behind, format!("{owner} owns it and has not applied these events yet")),
        None => (ScopeState::Unowned, format!("nobody applies its events; run {}", command("catch-up"))),
    }
}

fn waiting(writer: &OpenWriter) -> String {
    let who = writer.pid.map_or_else(|| format!("transaction {}", writer.transaction), |pid| format!("pid {pid}"));
    match writer.age_seconds {
        Some(age) => format!("waiting for an appender: {who}, open for {age:.1} s"),
        None => format!("waiting for an appender: {who}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::catalogue;
    use std::sync::LazyLock;

    fn facts(events: u64) -> Facts<'static> {
        static SCOPE: LazyLock<Scope> = LazyLock::new(|| Scope::new(&TenantId::default(), catalogue::CONTEXT_GRAPH));
        Facts {
            scope: &SCOPE,
            lag: Lag { events, more: false, seconds: 1.0 },
            beyond: None,
            empty: false,
            paused: None,
            failure: None,
            run: None,
            owner: None,
            writers: &[],
        }
    }

    #[test]
    fn why_is_a_decision() {
        let writers =
            [OpenWriter { transaction: "3/7".to_owned(), pid: Some(42), age_seconds: Some(2.0), query: None }];
        let word = |facts: Facts<'_>| explain(&facts);
        assert_eq!(word(facts(0)).0, ScopeState::Current);
        let paused = Paused { at: String::new(), reason: "a review".to_owned(), by: "ann".to_owned() };
        let (state, why) = word(Facts { paused: Some(&paused), writers: &writers, ..facts(3) });
        assert_eq!(state, ScopeState::Paused);
        assert!(why.contains("ann: a review"), "{why}");
        assert_eq!(word(facts(3)).0, ScopeState::Unowned);
        assert_eq!(word(Facts { owner: Some("n"), ..facts(3) }).0, ScopeState::Behind);
        let (state, why) = word(Facts { writers: &writers, ..facts(3) });
        assert_eq!(state, ScopeState::Waiting);
        assert!(why.contains("pid 42"), "{why}");
        assert_eq!(word(Facts { writers: &writers, ..facts(0) }).0, ScopeState::Current);
    }
}
