//! The schedule of verifies: each tenant of this node is verified again when its last verify is old enough.
//!
//! *Guarantees.* One scheduled verify at a time per node, at a limited rate of rows: the tenants follow one another.
//! The runs of the database tell when a tenant was verified last, whoever asked for it. So a restart or another node
//! repeats nothing. Findings are remembered as those of any verify.
//!
//! *Never here:* the log and its seal. The scrubber compares them all the time.

use super::JobParts;
use crate::board::Whose;
use decisiongraph_engine::{RunRequest, VerifyOptions};
use decisiongraph_projections::{TenantId, catalogue};
use decisiongraph_protocol::has_ended;
use decisiongraph_store::{ListFilter, ReadView, Result as StoreResult, Run, RunCause, RunMode};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Tenants per look.
const TENANTS_PAGE: usize = 50;
/// Runs of a tenant that are looked through for its last verify.
const RUNS_LOOKED_AT: usize = 100;
/// Pause before a tenant is tried again whose scopes another job holds.
pub const HELD_PAUSE: Duration = Duration::from_secs(60);

/// Times of the schedule, as far as this life of the coordinator knows them.
#[derive(Default)]
pub struct Schedule {
    /// Tenant behind which the next look begins.
    after: Option<TenantId>,
    due: BTreeMap<TenantId, Instant>,
    /// The scheduled verify that was started last.
    running: Option<Uuid>,
}

impl Schedule {
    /// Chooses the next tenant to verify among a page of them. None: none of the page is due, or one is being verified.
    pub async fn next(&mut self, parts: &JobParts) -> StoreResult<Option<TenantId>> {
        if parts.verify_every.is_zero() || self.running.is_some_and(|run| parts.registry.has(run)) {
            return Ok(None);
        }
        let view = parts.engine.store().view().await?;
        let page = view.tenant_heads(self.after.as_ref(), TENANTS_PAGE).await?;
        self.after = page.last().map(|head| head.tenant.clone()).filter(|_| page.len() == TENANTS_PAGE);
        for head in page {
            let tenant = head.tenant;
            if parts.placement.whose(&parts.engine.owner().node, &tenant) != Whose::Ours || head.scopes == 0 {
                self.due.remove(&tenant);
                continue;
            }
            if self.due(&*view, &tenant, parts.verify_every).await? <= Instant::now() {
                // Those behind it get their turn with the next look.
                self.after = Some(tenant.clone());
                return Ok(Some(tenant));
            }
        }
        Ok(None)
    }

    /// Returns the time at which a tenant is due.
    async fn due(&mut self, view: &dyn ReadView, tenant: &TenantId, every: Duration) -> StoreResult<Instant> {
        if let Some(due) = self.due.get(tenant).filter(|due| **due > Instant::now()) {
            return Ok(*due);
        }
        let filter = ListFilter { tenant: Some(tenant.clone()), limit: RUNS_LOOKED_AT, ..ListFilter::default() };
        let runs = view.runs(&filter).await?.items;
        let due = Instant::now() + left(&runs, every, SystemTime::now());
        self.due.insert(tenant.clone(), due);
        Ok(due)
    }

    /// Notes that the verify of a tenant was started.
    pub fn started(&mut self, run_id: Uuid) {
        self.running = Some(run_id);
    }

    /// Notes that the scopes of a tenant are held.
    pub fn held(&mut self, tenant: &TenantId) {
        self.due.insert(tenant.clone(), Instant::now() + HELD_PAUSE);
    }
}

/// Makes the request of a scheduled verify.
pub fn request(parts: &JobParts, tenant: TenantId) -> RunRequest {
    let node = &parts.engine.owner().node;
    RunRequest {
        tenant,
        projections: catalogue::ALL.to_vec(),
        mode: RunMode::Verify,
        until: None,
        cause: RunCause {
            reason: Some("scheduled: verify_every_s".to_owned()),
            requested_by: Some(format!("node {node}")),
            metadata: None,
        },
        verify: VerifyOptions { no_log: true, rows_per_s: Some(parts.verify_rows_per_s), ..VerifyOptions::default() },
    }
}

/// Computes the time until a tenant with these runs, the newest first, is due. A verify that failed counts, too: the
/// next one would fail in the same way.
fn left(runs: &[Run], every: Duration, now: SystemTime) -> Duration {
    let is_whole = |run: &&Run| run.mode == RunMode::Verify && run.projection == "all";
    let Some(last) = runs.iter().find(is_whole) else { return Duration::ZERO };
    if !has_ended(last.state) {
        return every;
    }
    let ended = last.finished_at.as_deref().unwrap_or(&last.created_at);
    let Ok(ended) = OffsetDateTime::parse(ended, &Rfc3339) else { return every };
    let age = now.duration_since(SystemTime::from(ended)).unwrap_or_default();
    every.saturating_sub(age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::LogSeq;
    use decisiongraph_store::RunState;

    fn run(mode: RunMode, projection: &str, state: RunState, finished_at: Option<&str>) -> Run {
        Run {
            run_id: Uuid::nil(),
            tenant: TenantId::default(),
            projection: projection.to_owned(),
            mode,
            state,
            node: "n".to_owned(),
            node_live: true,
            until: None,
            current: None,
            cursor: LogSeq::ORIGIN,
            target: LogSeq::ORIGIN,
            events: 0,
            cancel_requested: false,
            error: None,
            report: None,
            created_at: "2026-12-01T00:00:00Z".to_owned(),
            finished_at: finished_at.map(str::to_owned),
            reason: None,
            requested_by: None,
            metadata: None,
        }
    }

    #[test]
    fn a_tenant_is_due_when_its_last_whole_verify_is_old_enough() {
        let now = SystemTime::from(OffsetDateTime::parse("2026-12-01T10:00:00Z", &Rfc3339).expect("a time"));
        let (hour, every) = (Duration::from_secs(3_600), Duration::from_secs(4 * 3_600));
        let ended = |at| run(RunMode::Verify, "all", RunState::Completed, Some(at));
        assert_eq!(left(&[], every, now), Duration::ZERO);
        assert_eq!(left(&[ended("2026-12-01T09:00:00Z")], every, now), 3 * hour);
        assert_eq!(left(&[ended("2026-12-01T05:00:00Z")], every, now), Duration::ZERO);
        let others = [
            run(RunMode::Rebuild, "all", RunState::Completed, Some("2026-12-01T09:59:00Z")),
            run(RunMode::Verify, "context_graph", RunState::Completed, Some("2026-12-01T09:59:00Z")),
            run(RunMode::Verify, "all", RunState::Failed, Some("2026-12-01T08:00:00Z")),
            ended("2026-12-01T01:00:00Z"),
        ];
        assert_eq!(left(&others, every, now), 2 * hour);
        assert_eq!(left(&[run(RunMode::Verify, "all", RunState::Running, None)], every, now), every);
    }
}
