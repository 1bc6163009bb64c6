//! Reasons why scopes lag, and the next steps: decided from the status by pure functions ([`why`], [`next_step`]).
//! Findings about the node itself are added by the node.

use super::cluster::missing;
use super::handler::StoreAnswers;
use super::overview::{Group, SCOPES_PAGE, groups, measure, to_tell};
use super::status::{holds_up, status};
use decisiongraph_projections::Category;
use decisiongraph_projections::seal::scope::SEAL_NAME;
use decisiongraph_protocol::writers::{appender, is_ours};
use decisiongraph_protocol::{
    AdminError, Command, Finding, Handle, HealthWord, ScopeState, ScopeStatus, ScopeWhy, StatusReply, WhyGroup,
    WhyReply, WhyRequest, seal_next,
};
use decisiongraph_store::{Drift, NEXT_SYNCHRONOUS, OpenWriter};

/// Longest time that an appender may be open, in seconds. An older appender holds up every reader: worth a finding.
const WRITER_AGE_SECONDS_MAX: f64 = 60.0;

/// Longest wait of a commit for a standby, in seconds. After a longer wait, the standby is missing.
const STANDBY_SECONDS_MAX: f64 = 5.0;

impl Handle<WhyRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: WhyRequest) -> Result<WhyReply, AdminError> {
        let (mut status, view) = status(self.store(), &request.filter).await?;
        measure(&*view, &mut status, request.all).await?;
        Ok(why(&status, request.all))
    }
}

/// Gives one sentence per scope with something to report (or per scope, with `all`). Adds the findings about every
/// scope: open appenders, and nodes out of service.
pub fn why(status: &StatusReply, all: bool) -> WhyReply {
    let mut told = status.scopes.iter().filter(|scope| all || to_tell(scope));
    let scopes = told.by_ref().take(SCOPES_PAGE as usize).map(of_one).collect();
    let more = told.next().is_some();
    WhyReply {
        causes: status
            .waiting_for
            .iter()
            .filter(|writer| holds_up(writer))
            .map(held_up_by)
            .chain(status.out_of_service.iter().map(missing))
            .collect(),
        scopes,
        more,
        groups: groups(status.scopes.iter().filter(|scope| to_tell(scope))).into_iter().map(of_group).collect(),
        scopes_total: status.scopes.len() as u64,
        partial: status.partial.clone(),
    }
}

fn of_one(scope: &ScopeStatus) -> ScopeWhy {
    let drift = scope.drift.as_ref().map(|drift| drifted(scope, drift));
    let (found, replace) = drift.map_or((None, None), |drift| (Some(drift.message), Some(drift.next)));
    ScopeWhy {
        tenant: scope.tenant.clone(),
        projection: scope.projection.clone(),
        state: scope.state,
        lag: scope.lag,
        why: found.map_or_else(|| scope.why.clone(), |found| format!("{}; {found}", scope.why)),
        next: next_step(scope).or(replace),
    }
}

fn of_group(group: Group<'_>) -> WhyGroup {
    let one_by_one = group.told().iter().map(|scope| of_one(scope));
    let first = group.scopes.first().filter(|_| group.told().is_empty()).map(|scope| of_one(scope));
    WhyGroup {
        state: group.state,
        cause: group.cause,
        drifted: group.drifted,
        scopes: group.scopes.len() as u64,
        next: first.as_ref().map(|_| group.list()),
        examples: one_by_one.chain(first).collect(),
    }
}

/// Describes an appender that holds up the mark: process, age and query. Names the role that may end it.
pub(super) fn held_up_by(writer: &OpenWriter) -> Finding {
    let may = match writer.role.as_deref() {
        Some(role) => format!("as role {role} or a superuser"),
        None => "as its own role or a superuser".to_owned(),
    };
    let next = match writer.pid {
        // Every commit waits a moment for such a standby.
        Some(_) if writer.waits_for_standby => match writer.age_seconds.is_some_and(|age| age > STANDBY_SECONDS_MAX) {
            true => NEXT_SYNCHRONOUS.to_owned(),
            false => "nothing yet: it ends when the standby confirms it".to_owned(),
        },
        Some(_) if is_ours(writer) && writer.age_seconds.is_some_and(|age| age <= WRITER_AGE_SECONDS_MAX) => {
            "nothing yet: it normally ends on its own; check again in a minute".to_owned()
        }
        Some(pid) => {
            format!("commit it or roll it back; `SELECT pg_terminate_backend({pid})` ends a session that hangs, {may}")
        }
        None => format!(
            "end it with COMMIT PREPARED or ROLLBACK PREPARED, {may}; `SELECT * FROM pg_prepared_xacts` names it"
        ),
    };
    let long = writer.age_seconds.is_some_and(|age| age > WRITER_AGE_SECONDS_MAX);
    Finding {
        health: if long { HealthWord::Degraded } else { HealthWord::Ok },
        subject: "mark".to_owned(),
        message: format!("held up by {}; events behind it are not safe to read yet", appender(writer)),
        next,
    }
}

/// Describes rows that readers see and that the log does not give. The drift is remembered from a verify until an
/// operator acts.
pub(super) fn drifted(scope: &ScopeStatus, drift: &Drift) -> Finding {
    Finding {
        health: HealthWord::Failed,
        subject: format!("{}/{}", scope.tenant, scope.projection),
        message: format!("its rows do not match the log: a verify found drift at {}", drift.at),
        next: format!(
            "`decisiongraph run {}` names the first rows that differ; {} replaces them",
            drift.run_id,
            of_scope(scope, "rebuild")
        ),
    }
}

/// Returns the next step for a scope; none when there is nothing to do.
pub fn next_step(scope: &ScopeStatus) -> Option<String> {
    let of_scope = |command: &str| of_scope(scope, command);
    if scope.projection == SEAL_NAME {
        match scope.state {
            ScopeState::Failed => return Some(seal_next(&scope.tenant, &scope.why)),
            ScopeState::Unowned => {
                return Some(format!(
                    "start a node (`decisiongraph node`), or run {}",
                    Command::of("seal now", &scope.tenant)
                ));
            }
            _ => {}
        }
    }
    Some(match scope.state {
        ScopeState::Current => return None,
        ScopeState::Working => match &scope.active_run {
            Some(run) => {
                let run = Command::of(&format!("run {run}"), &scope.tenant);
                format!("nothing: a job works on it; {run} shows its progress")
            }
            None => {
                "nothing: its worker applies its events; `decisiongraph status` shows the cursor advance".to_owned()
            }
        },
        ScopeState::Paused => format!("resume it: {}", of_scope("resume")),
        ScopeState::Waiting => {
            "the appender must commit or roll back: see `mark`, or `decisiongraph status`".to_owned()
        }
        ScopeState::Behind if scope.owner_live => {
            let owner = scope.owner.as_deref().unwrap_or("-");
            let tree = Command::about_all("tree").with("--of", owner);
            format!("nothing yet: {tree} shows what its owner, {owner}, does")
        }
        ScopeState::Behind => {
            "nothing yet: the node starts it when there is room; `tenants_max` limits how many tenants work at once"
                .to_owned()
        }
        ScopeState::Unowned => format!("start a node (`decisiongraph node`), or run {}", of_scope("catch-up")),
        ScopeState::Retrying => {
            "nothing yet: the worker retries automatically; if the cause persists, see the runbook's section `storage`"
                .to_owned()
        }
        ScopeState::Failed => match scope.live.as_ref().and_then(|live| live.fault.as_ref()) {
            Some(fault) if fault.category == Category::VersionMismatch => {
                format!("rewrite its rows: {}", of_scope("rebuild"))
            }
            Some(fault) if !fault.poison => {
                format!("see the runbook's section `{}`; {} checks its rows", fault.category, of_scope("verify"))
            }
            _ => format!(
                "repair the event or skip it: {} shows it; the worker retries it automatically, or at once after {}",
                of_scope("failures"),
                of_scope("retry")
            ),
        },
    })
}

/// Makes the command for this scope alone.
pub(super) fn of_scope(scope: &ScopeStatus, command: &str) -> Command {
    Command::of_scope(command, &scope.tenant, &scope.projection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::{LogSeq, TenantId};
    use decisiongraph_protocol::{Fault, LiveScope};
    use decisiongraph_store::{Backend, Lag};

    fn scope(state: ScopeState) -> ScopeStatus {
        ScopeStatus {
            tenant: TenantId::new("o'neil & co").expect("an id"),
            projection: "trace_summary".to_owned(),
            state,
            cursor: LogSeq(1),
            last_log_seq: LogSeq(2),
            lag: Lag { events: 1, more: false, seconds: 1.0 },
            cursor_age_seconds: None,
            owner: None,
            owner_live: false,
            epoch: 0,
            generation: None,
            digest: None,
            version: None,
            open_failures: 0,
            deviating: false,
            drift: None,
            active_run: None,
            why: "because".to_owned(),
            cause: None,
            next_owner: None,
            live: None,
            live_on: None,
        }
    }

    fn status() -> StatusReply {
        StatusReply {
            database: String::new(),
            backend: Backend::Postgres,
            sequence: LogSeq(2),
            mark_is_safe: true,
            waiting_for: Vec::new(),
            scopes: Vec::new(),
            more: false,
            summary: Default::default(),
            partial: Vec::new(),
            strays: Vec::new(),
            out_of_service: Vec::new(),
            unsealed: None,
        }
    }

    #[test]
    fn a_current_scope_that_drifted_has_its_reason_and_next_step() {
        let drift = Drift { at: "2026-01-02T03:04:05Z".to_owned(), run_id: uuid::Uuid::from_u128(7) };
        let drifted = ScopeStatus { drift: Some(drift), ..scope(ScopeState::Current) };
        let status = StatusReply { scopes: vec![drifted, scope(ScopeState::Current)], ..status() };
        let told = why(&status, false);
        assert_eq!(told.scopes.len(), 1);
        assert!(told.scopes[0].why.starts_with("because; its rows do not match the log"), "{:?}", told.scopes);
        let next = told.scopes[0].next.as_deref().expect("a step");
        assert!(next.contains("`decisiongraph run 00000000-0000-0000-0000-000000000007`"), "{next}");
        assert!(next.contains("rebuild --tenant 'o'\\''neil & co' --projection trace_summary"), "{next}");
        let health = crate::health::findings(&status);
        assert_eq!((health.health, health.findings.len()), (HealthWord::Failed, 1));
    }

    fn failed(category: Category, poison: bool) -> ScopeStatus {
        let fault = Some(Fault { category, message: String::new(), poison });
        ScopeStatus { live: Some(LiveScope { fault, ..LiveScope::default() }), ..scope(ScopeState::Failed) }
    }

    #[test]
    fn each_state_but_current_has_a_next_step_that_fits_its_cause() {
        assert_eq!(next_step(&scope(ScopeState::Current)), None);
        for (scope, part) in [
            (scope(ScopeState::Unowned), "catch-up --tenant 'o'\\''neil & co' --projection trace_summary"),
            (scope(ScopeState::Waiting), "appender"),
            (scope(ScopeState::Paused), "decisiongraph resume"),
            (scope(ScopeState::Working), "status"),
            (ScopeStatus { active_run: Some("7".to_owned()), ..scope(ScopeState::Working) }, "run 7"),
            (scope(ScopeState::Behind), "tenants_max"),
            (
                ScopeStatus { owner: Some("n".to_owned()), owner_live: true, ..scope(ScopeState::Behind) },
                "its owner, n",
            ),
            (scope(ScopeState::Retrying), "automatically"),
            (scope(ScopeState::Failed), "decisiongraph failures"),
            (failed(Category::Conflict, true), "decisiongraph failures"),
            (failed(Category::VersionMismatch, false), "decisiongraph rebuild"),
            (failed(Category::Storage, false), "section `storage`"),
        ] {
            let next = next_step(&scope).expect("a step");
            assert!(next.contains(part), "{:?}: {next}", scope.state);
        }
    }

    #[test]
    fn only_what_is_not_current_is_told_and_an_appender_is_named_first() {
        let writer = OpenWriter {
            transaction: "3/7".to_owned(),
            pid: Some(42),
            age_seconds: Some(61.0),
            query: Some("INSERT".to_owned()),
            role: Some("ada".to_owned()),
            application: Some("psql".to_owned()),
            waits_for_standby: false,
        };
        for (age, next) in [(0.2, "nothing yet"), (61.0, "`synchronous_standby_names`")] {
            let held = OpenWriter { waits_for_standby: true, age_seconds: Some(age), ..writer.clone() };
            let held = held_up_by(&held);
            assert!(held.message.contains(", whose commit waits for a synchronous standby"), "{held:?}");
            assert!(held.next.contains(next) && !held.next.contains("terminate"), "{held:?}");
        }
        let scopes = vec![scope(ScopeState::Current), scope(ScopeState::Waiting)];
        let status = StatusReply { mark_is_safe: false, waiting_for: vec![writer], scopes, ..status() };
        let told = why(&status, false);
        assert_eq!((told.scopes.len(), told.scopes_total, told.causes.len()), (1, 2, 1));
        let cause = &told.causes[0];
        assert!(
            cause.message.contains("pid 42 (program `psql`, role ada), open for 61.0 s: INSERT;"),
            "{}",
            cause.message
        );
        assert!(
            cause.next.contains("pg_terminate_backend(42)` ends a session that hangs, as role ada"),
            "{}",
            cause.next
        );
        assert_eq!(cause.health, HealthWord::Degraded);
        assert_eq!(why(&status, true).scopes.len(), 2);
    }

    #[test]
    fn an_ordinary_append_holds_nobody_up_and_of_a_slow_one_of_ours_nobody_is_told_to_end_it() {
        let writer = |age, application: &str| OpenWriter {
            transaction: "3/7".to_owned(),
            pid: Some(42),
            age_seconds: Some(age),
            query: Some("INSERT INTO dg_event_log".to_owned()),
            role: None,
            application: Some(application.to_owned()),
            waits_for_standby: false,
        };
        assert!(!holds_up(&writer(1.9, "psql")) && holds_up(&writer(2.0, "psql")));
        let slow = held_up_by(&writer(30.0, "decisiongraph node node-1"));
        assert!(
            slow.message.starts_with("held up by pid 42 (an append of `decisiongraph node node-1`), open for 30.0 s;")
        );
        assert!(!slow.next.contains("terminate"), "{}", slow.next);
        assert!(held_up_by(&writer(61.0, "decisiongraph import")).next.contains("terminate"));
        assert!(held_up_by(&writer(30.0, "decisiongraphs")).next.contains("terminate"));
    }
}
