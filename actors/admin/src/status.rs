//! State of each scope, and its reason: read in one snapshot, decided by a pure function ([`explain`]).

use super::cluster::out_of_service;
use super::handler::{StoreAnswers, scopes};
use super::overview::page;
use decisiongraph_engine::Engine;
use decisiongraph_engine::mark::beyond;
use decisiongraph_projections::seal::scope::{SEAL, SEAL_NAME};
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::writers::who;
use decisiongraph_protocol::{
    AdminError, Command, Handle, ScopeFilter, ScopeState, ScopeStatus, StatusReply, StatusRequest, StatusSummary,
};
use decisiongraph_store::{
    Lag, ListFilter, OpenFailures, OpenWriter, Paused, ReadView, Run, RunState, Scope, ScopeHead, Store,
};
use std::collections::{BTreeMap, HashMap};

/// Most jobs per read.
const RUNS_MAX: usize = 10_000;
/// Most tenants per read of their scopes.
const HEADS_PAGE: usize = 2_000;
/// Age from which an open appender holds up readers, in seconds. A younger appender is at work, as every append is.
const WRITER_AGE_SECONDS_MIN: f64 = 2.0;
/// Most stray rows per answer.
pub const STRAYS_MAX: usize = 20;

/// True when an appender is open for so long that readers notice. An appender of unknown age counts.
pub fn holds_up(writer: &OpenWriter) -> bool {
    writer.age_seconds.is_none_or(|age| age >= WRITER_AGE_SECONDS_MIN)
}

/// Tells in one sentence that nothing is sealed. `None`: the tenant is sealed, or has no scopes.
pub async fn no_key(engine: &Engine, view: &dyn ReadView, status: &StatusReply) -> Result<Option<String>, AdminError> {
    if engine.sealing().is_some() || status.scopes.is_empty() {
        return Ok(None);
    }
    let message = match (view.seal_heads(None, 1).await?.is_empty(), engine.is_of_node()) {
        (true, _) => "nothing is sealed, so an edit of the log is not noticed: no key is configured (seal_key_file)",
        (false, true) => "this node seals nothing, and the log was sealed before: no key is configured (seal_key_file)",
        (false, false) => return Ok(None),
    };
    Ok(Some(message.to_owned()))
}

impl Handle<StatusRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: StatusRequest) -> Result<StatusReply, AdminError> {
        let (mut all, view) = status(self.store(), &request.filter).await?;
        all.unsealed = no_key(self.engine, &*view, &all).await?;
        page(&*view, all, &request).await
    }
}

/// Reads the status of these scopes. They are the scopes that were ever owned, and the scopes of tenants whose events
/// are not applied yet. Here the lag is only present or absent, and the digest is absent: [`super::overview`] reads
/// both for the scopes in the reply, in the snapshot that is returned.
pub async fn status(store: &dyn Store, filter: &ScopeFilter) -> Result<(StatusReply, Box<dyn ReadView>), AdminError> {
    let mut wanted = scopes(filter.projection.as_deref())?;
    if matches!(filter.projection.as_deref(), None | Some("all")) {
        wanted.push(SEAL);
    }
    let sample = store.sample_high_water().await?;
    let view = store.snapshot().await?;
    let mut known = heads(&*view, filter.tenant.as_ref()).await?;
    let highest = known.values().map(|head| head.cursor).max().unwrap_or(LogSeq::ORIGIN);
    // The sample is older than the snapshot. A cursor above it may belong to an event between the two.
    let end = if highest > sample.sequence { store.log_end().await?.sequence } else { sample.sequence };
    let mut tenants: BTreeMap<TenantId, LogSeq> =
        known.keys().map(|(tenant, _)| (tenant.clone(), LogSeq::ORIGIN)).collect();
    match &filter.tenant {
        Some(tenant) => {
            tenants.insert(tenant.clone(), view.last_log_seq(tenant, None).await?);
        }
        None => tenants.extend(view.last_log_seqs().await?),
    }
    let failures = view.open_failures(filter.tenant.as_ref()).await?;
    let failures: HashMap<_, _> =
        failures.into_iter().map(|open| ((open.tenant.clone(), open.projection.clone()), open)).collect();
    let runs = running(&*view, filter.tenant.as_ref()).await?;
    let mut scopes = Vec::with_capacity(tenants.len() * wanted.len());
    for (tenant, last_log_seq) in tenants {
        for projection in &wanted {
            let (name, scope) = (projection.name(), Scope::new(&tenant, *projection));
            let key = (tenant.clone(), name.to_owned());
            let head = known.remove(&(tenant.clone(), name));
            let is_seal = name == SEAL_NAME;
            if is_seal && head.is_none() {
                // Its log was never sealed.
                continue;
            }
            let cursor = head.as_ref().map_or(LogSeq::ORIGIN, |head| head.cursor);
            let behind = cursor < last_log_seq;
            let open = failures.get(&key);
            let run = runs.get(&key).or_else(|| runs.get(&(tenant.clone(), "all".to_owned()))).filter(|_| !is_seal);
            let owner_live = head.as_ref().is_some_and(|head| head.owner_live);
            let (state, why) = explain(&Facts {
                scope: &scope,
                behind,
                beyond: (cursor > end).then(|| beyond(&scope, cursor, end)),
                empty: last_log_seq == LogSeq::ORIGIN,
                paused: head.as_ref().and_then(|head| head.paused.as_ref()),
                failures: open,
                run,
                owner: head.as_ref().and_then(|head| head.owner.as_deref()).filter(|_| owner_live),
                writers: &sample.writers,
            });
            scopes.push(ScopeStatus {
                tenant: tenant.clone(),
                projection: name.to_owned(),
                state,
                cursor,
                last_log_seq,
                lag: Lag { events: u64::from(behind), more: behind, seconds: 0.0 },
                cursor_age_seconds: head.as_ref().map(|head| head.cursor_age_seconds),
                owner: head.as_ref().and_then(|head| head.owner.clone()),
                owner_live,
                epoch: head.as_ref().map_or(0, |head| head.epoch),
                generation: head.as_ref().map(|head| head.generation),
                digest: None,
                version: head.as_ref().map(|head| head.version),
                open_failures: open.map_or(0, |open| open.count),
                deviating: head.as_ref().is_some_and(|head| head.deviating),
                drift: head.as_ref().and_then(|head| head.drift.clone()),
                active_run: run.map(|run| run.run_id.to_string()),
                why,
                cause: open.filter(|_| state == ScopeState::Failed).map(|open| open.category),
                next_owner: None,
                live: None,
                live_on: None,
            });
        }
    }
    let reply = StatusReply {
        database: store.address(),
        backend: store.backend(),
        sequence: sample.sequence,
        mark_is_safe: sample.writers.is_empty(),
        waiting_for: sample.writers,
        scopes,
        more: false,
        summary: StatusSummary::default(),
        partial: Vec::new(),
        strays: match filter.tenant {
            Some(_) => Vec::new(),
            None => view.strays(STRAYS_MAX).await?,
        },
        out_of_service: out_of_service(view.members().await?),
        unsealed: None,
    };
    Ok((reply, view))
}

/// Reads the scopes, page by page, without their digests.
async fn heads(
    view: &dyn ReadView,
    tenant: Option<&TenantId>,
) -> Result<HashMap<(TenantId, &'static str), ScopeHead>, AdminError> {
    let keyed = |head: ScopeHead| ((head.scope.tenant.clone(), head.scope.projection), head);
    if let Some(tenant) = tenant {
        let rows = view.scopes(Some(tenant)).await?;
        return Ok(rows.into_iter().map(|row| keyed(row.into())).collect());
    }
    let (mut known, mut after) = (HashMap::new(), None);
    loop {
        let page = view.scope_heads(after.as_ref(), HEADS_PAGE).await?;
        let Some(last) = page.last() else { return Ok(known) };
        after = Some(last.scope.tenant.clone());
        known.extend(page.into_iter().map(keyed));
    }
}

/// Finds the latest job that works on a projection (or `all`) of a tenant.
async fn running(
    view: &dyn ReadView,
    tenant: Option<&TenantId>,
) -> Result<HashMap<(TenantId, String), Run>, AdminError> {
    let filter = ListFilter { tenant: tenant.cloned(), open_only: true, limit: RUNS_MAX, ..ListFilter::default() };
    let mut found = HashMap::new();
    for run in view.runs(&filter).await?.items.into_iter().filter(|run| run.state == RunState::Running) {
        found.entry((run.tenant.clone(), run.projection.clone())).or_insert(run);
    }
    Ok(found)
}

/// Facts about a scope.
struct Facts<'a> {
    scope: &'a Scope,
    /// True when the tenant has an event that the scope has not applied.
    behind: bool,
    /// Message about a cursor above the end of the log; none otherwise.
    beyond: Option<String>,
    /// True when the tenant has no event at all.
    empty: bool,
    paused: Option<&'a Paused>,
    failures: Option<&'a OpenFailures>,
    run: Option<&'a Run>,
    owner: Option<&'a str>,
    writers: &'a [OpenWriter],
}

/// Decides the state of a scope, and its reason in one sentence.
fn explain(facts: &Facts<'_>) -> (ScopeState, String) {
    let command = |words: &str| Command::of_scope(words, &facts.scope.tenant, facts.scope.projection);
    let held = facts.writers.iter().find(|writer| holds_up(writer));
    if let Some(paused) = facts.paused {
        return (
            ScopeState::Paused,
            format!("paused by {}: {}; {} resumes it", paused.by, paused.reason, command("resume")),
        );
    }
    if let Some(beyond) = &facts.beyond {
        return (ScopeState::Failed, beyond.clone());
    }
    if let Some(first) = facts.failures {
        return (
            ScopeState::Failed,
            format!(
                "stopped at log_seq {} (event {}): {}; see {}",
                number(first.log_seq.0),
                first.event_id,
                first.category,
                Command::of(&format!("failure {}", first.failure_id), &first.tenant)
            ),
        );
    }
    if let Some(run) = facts.run
        && run.node_live
    {
        return (
            ScopeState::Working,
            format!("{} {} is at {} of {}", run.mode.as_str(), run.run_id, number(run.cursor.0), number(run.target.0)),
        );
    }
    if !facts.behind {
        return match held {
            Some(writer) => (ScopeState::Current, format!("every visible event is applied; {}", waiting(writer))),
            None if facts.empty => (ScopeState::Current, "the tenant has no events".to_owned()),
            None => (ScopeState::Current, "every event is applied".to_owned()),
        };
    }
    if let Some(run) = facts.run {
        return (
            ScopeState::Unowned,
            format!(
                "the process of {} {} is gone ({}); run the command again to continue",
                run.mode.as_str(),
                run.run_id,
                run.node
            ),
        );
    }
    if let Some(writer) = held {
        return (ScopeState::Waiting, waiting(writer));
    }
    match facts.owner {
        Some(owner) => (ScopeState::Behind, format!("{owner} owns it and has not applied these events yet")),
        None if facts.scope.projection == SEAL_NAME => {
            let now = Command::of("seal now", &facts.scope.tenant);
            (ScopeState::Unowned, format!("no process seals its events; run {now}"))
        }
        None => (ScopeState::Unowned, format!("no process applies its events; run {}", command("catch-up"))),
    }
}

fn waiting(writer: &OpenWriter) -> String {
    format!("waiting for an appender: {}", who(writer))
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
            behind: events > 0,
            beyond: None,
            empty: false,
            paused: None,
            failures: None,
            run: None,
            owner: None,
            writers: &[],
        }
    }

    #[test]
    fn why_is_a_decision() {
        let writers = [OpenWriter { pid: Some(42), age_seconds: Some(2.0), ..OpenWriter::default() }];
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
