//! Jobs and the scopes they claim: one running job per scope; a job whose process is gone holds nothing.

use super::errors::Result;
use super::errors::unreadable;
use super::read::{one_more, paged};
use crate::{
    Creation, LIST_BYTES_MAX, ListFilter, NewRun, Owner, PageLimit, Paged, Run, RunMode, RunOutcome, RunProgress,
    RunState, StoreError,
};
use decisiongraph_projections::{Category, LogSeq, Refusal, TenantId, catalogue};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

/// Starts a job.
pub(super) fn create(conn: &Connection, run: &NewRun) -> Result<Creation> {
    if let Some(stored) = find(conn, run.run_id)? {
        return Ok(run.repeated(stored)?);
    }
    let now = super::now_ms(conn)?;
    conn.execute(
        include_str!("sql/run_create.sql"),
        params![
            run.run_id.as_bytes(),
            run.tenant.as_str(),
            run.projection(),
            run.mode.as_str(),
            run.owner.node,
            run.owner.incarnation.as_bytes(),
            run.until.map(|until| until.0),
            now
        ],
    )?;
    for projection in &run.projections {
        claim(conn, &run.tenant, projection, run.run_id, now)?;
    }
    Ok(Creation::Created(get(conn, run.run_id)?))
}

/// Takes over an orphaned, failed or cancelled job.
pub(super) fn adopt(conn: &Connection, run_id: Uuid, owner: &Owner) -> Result<Run> {
    let run = get(conn, run_id)?;
    match run.state {
        RunState::Completed => return Err(conflict(&run, "is completed").into()),
        RunState::Queued | RunState::Running if run.node_live && !is_owner(conn, run_id, owner)? => {
            return Err(conflict(&run, &format!("is running on {}", run.node)).into());
        }
        _ => {}
    }
    let now = super::now_ms(conn)?;
    for projection in projections_of(&run) {
        claim(conn, &run.tenant, projection, run_id, now)?;
    }
    conn.execute(
        include_str!("sql/run_adopt.sql"),
        params![run_id.as_bytes(), owner.node, owner.incarnation.as_bytes()],
    )?;
    get(conn, run_id)
}

/// Writes progress.
pub(super) fn advance(conn: &Connection, run_id: Uuid, owner: &Owner, progress: &RunProgress) -> Result<Run> {
    let changed = conn.prepare_cached(include_str!("sql/run_advance.sql"))?.execute(params![
        run_id.as_bytes(),
        owner.node,
        owner.incarnation.as_bytes(),
        progress.current,
        progress.cursor.0,
        progress.target.0,
        progress.events
    ])?;
    if changed != 1 {
        return Err(not_mine(conn, run_id)?.into());
    }
    get(conn, run_id)
}

/// Ends a job and frees its scopes.
pub(super) fn finish(conn: &Connection, run_id: Uuid, owner: &Owner, outcome: &RunOutcome) -> Result<Run> {
    let now = super::now_ms(conn)?;
    let (state, report, error) = match outcome {
        RunOutcome::Completed(report) => (RunState::Completed, Some(report), None),
        RunOutcome::Cancelled => (RunState::Cancelled, None, None),
        RunOutcome::Failed(refusal) => (RunState::Failed, None, Some(refusal)),
    };
    let changed = conn.execute(
        include_str!("sql/run_finish.sql"),
        params![
            run_id.as_bytes(),
            owner.node,
            owner.incarnation.as_bytes(),
            state.as_str(),
            report,
            error.map(|refusal| refusal.category.as_str()),
            error.map(|refusal| refusal.message.as_str()),
            now
        ],
    )?;
    if changed != 1 {
        return Err(not_mine(conn, run_id)?.into());
    }
    free_claims(conn, run_id)?;
    get(conn, run_id)
}

/// Asks a job to stop; an orphan is cancelled at once.
pub(super) fn request_cancel(conn: &Connection, run_id: Uuid) -> Result<Run> {
    let run = get(conn, run_id)?;
    match run.state {
        RunState::Completed | RunState::Failed | RunState::Cancelled => {
            return Err(conflict(&run, &format!("is already {}", run.state.as_str())).into());
        }
        RunState::Queued | RunState::Running if run.node_live => {
            conn.execute("UPDATE dg_run SET cancel_requested = 1 WHERE run_id = ?1", params![run_id.as_bytes()])?;
        }
        RunState::Queued | RunState::Running => {
            conn.execute(
                "UPDATE dg_run SET cancel_requested = 1, state = 'cancelled', finished_at_ms = ?2 WHERE run_id = ?1",
                params![run_id.as_bytes(), super::now_ms(conn)?],
            )?;
            free_claims(conn, run_id)?;
        }
    }
    get(conn, run_id)
}

/// Lists jobs, newest first.
pub(super) fn list(conn: &Connection, filter: &ListFilter) -> Result<Paged<Run>> {
    let sql = format!(
        "{} WHERE (?2 IS NULL OR run.tenant_id = ?2) AND (?3 IS NULL OR run.projection IN (?3, 'all'))
         AND (NOT ?4 OR run.state IN ('queued', 'running'))
         AND (?6 IS NULL OR run.run < (SELECT before.run FROM dg_run AS before WHERE before.run_id = ?6)) ORDER BY run.run DESC LIMIT ?5",
        include_str!("sql/run_select.sql")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let tenant = filter.tenant.as_ref().map(TenantId::as_str);
    let limit = PageLimit::of(filter.limit, LIST_BYTES_MAX);
    let now = super::now_ms(conn)?;
    let before = filter.before_run.map(|run_id| run_id.into_bytes());
    let params = params![now, tenant, filter.projection, filter.open_only, one_more(limit), before];
    let rows = statement.query(params)?;
    // A job that cannot be read, perhaps a newer program's, fails no list.
    paged(rows, limit, |row| match raw(row) {
        Ok(raw) => Ok(raw.read().ok()),
        Err(error) if unreadable(&error) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// Reads one job.
pub(super) fn find(conn: &Connection, run_id: Uuid) -> Result<Option<Run>> {
    let sql = format!("{} WHERE run.run_id = ?2", include_str!("sql/run_select.sql"));
    let now = super::now_ms(conn)?;
    let raw = conn.prepare_cached(&sql)?.query_row(params![now, run_id.as_bytes()], raw).optional()?;
    raw.map(RawRun::read).transpose()
}

fn get(conn: &Connection, run_id: Uuid) -> Result<Run> {
    Ok(find(conn, run_id)?.ok_or_else(|| StoreError::new(Category::NotFound, format!("there is no run {run_id}")))?)
}

fn projections_of(run: &Run) -> Vec<&str> {
    match run.projection.as_str() {
        "all" => catalogue::ALL.iter().map(|projection| projection.name()).collect(),
        one => vec![one],
    }
}

fn is_owner(conn: &Connection, run_id: Uuid, owner: &Owner) -> Result<bool> {
    Ok(conn.query_row(
        "SELECT node = ?2 AND incarnation = ?3 FROM dg_run WHERE run_id = ?1",
        params![run_id.as_bytes(), owner.node, owner.incarnation.as_bytes()],
        |row| row.get(0),
    )?)
}

/// Claims a scope for a run. Another run that holds it blocks the claim while its process lives. Otherwise that run has
/// failed, and is marked so.
fn claim(conn: &Connection, tenant: &TenantId, projection: &str, run_id: Uuid, now_ms: i64) -> Result<()> {
    let holder: Option<[u8; 16]> = conn
        .query_row(
            "SELECT run_id FROM dg_run_claim WHERE tenant_id = ?1 AND projection = ?2",
            params![tenant.as_str(), projection],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(holder) = holder.map(Uuid::from_bytes) {
        if holder == run_id {
            return Ok(());
        }
        let other = get(conn, holder)?;
        if other.node_live {
            return Err(conflict(&other, &format!("is running on {tenant}/{projection}")).into());
        }
        conn.execute(
            include_str!("sql/run_orphaned.sql"),
            params![
                holder.as_bytes(),
                Category::Unavailable.as_str(),
                format!("its process {} is gone", other.node),
                now_ms
            ],
        )?;
        free_claims(conn, holder)?;
    }
    conn.execute(
        "INSERT INTO dg_run_claim (tenant_id, projection, run_id) VALUES (?1, ?2, ?3)",
        params![tenant.as_str(), projection, run_id.as_bytes()],
    )?;
    Ok(())
}

fn free_claims(conn: &Connection, run_id: Uuid) -> Result<()> {
    conn.execute("DELETE FROM dg_run_claim WHERE run_id = ?1", params![run_id.as_bytes()])?;
    Ok(())
}

fn conflict(run: &Run, what: &str) -> StoreError {
    StoreError::new(Category::Conflict, format!("the {} run {} {what}", run.mode.as_str(), run.run_id))
}

fn not_mine(conn: &Connection, run_id: Uuid) -> Result<StoreError> {
    let run = get(conn, run_id)?;
    Ok(StoreError::fenced(format!("run {run_id} is {} and belongs to {}", run.state.as_str(), run.node)))
}

struct RawRun {
    run: Run,
    tenant: String,
    mode: String,
    state: String,
    error: Option<(String, String)>,
}

impl RawRun {
    fn read(self) -> Result<Run> {
        let id = self.run.run_id;
        let unreadable =
            |what: &str| StoreError::new(Category::Storage, format!("run {id} has a {what} that nobody knows"));
        let error = match self.error {
            Some((category, message)) => {
                Some(Refusal::new(Category::parse(&category).ok_or_else(|| unreadable("category"))?, message))
            }
            None => None,
        };
        Ok(Run {
            tenant: TenantId::new(self.tenant).map_err(|_| unreadable("tenant"))?,
            mode: RunMode::parse(&self.mode).ok_or_else(|| unreadable("mode"))?,
            state: RunState::parse(&self.state).ok_or_else(|| unreadable("state"))?,
            error,
            ..self.run
        })
    }
}

fn raw(row: &Row<'_>) -> rusqlite::Result<RawRun> {
    let run = Run {
        run_id: Uuid::from_bytes(row.get(0)?),
        tenant: TenantId::default(),
        projection: row.get(2)?,
        mode: RunMode::CatchUp,
        state: RunState::Queued,
        node: row.get(5)?,
        node_live: row.get(6)?,
        until: row.get::<_, Option<i64>>(7)?.map(LogSeq),
        current: row.get(8)?,
        cursor: LogSeq(row.get(9)?),
        target: LogSeq(row.get(10)?),
        events: row.get(11)?,
        cancel_requested: row.get(12)?,
        error: None,
        report: row.get(15)?,
        created_at: row.get(16)?,
        finished_at: row.get(17)?,
    };
    let category: Option<String> = row.get(13)?;
    let message: Option<String> = row.get(14)?;
    Ok(RawRun {
        run,
        tenant: row.get(1)?,
        mode: row.get(3)?,
        state: row.get(4)?,
        error: category.map(|category| (category, message.unwrap_or_default())),
    })
}
