//! Decisions about stored rows, made alike on both backends: functions of the row and of the request.

use crate::columns::{Columns, Stored, unreadable};
use crate::{
    Acquisition, AppendMode, BuildLease, Epoch, Generation, Lag, Lease, Orders, Owner, Paused, Placed, Position,
    Result, Run, RunOutcome, RunState, Scope, StoreError, Verdict,
};
use decisiongraph_projections::sequence::{AppendPrior, Planned, plan};
use decisiongraph_projections::{Admitted, Category, LogSeq, Refusal, catalogue};
use std::borrow::Borrow;
use std::collections::HashSet;
use std::time::Duration;
use uuid::Uuid;

/// Owner of a scope, and the rest of its lease.
#[derive(Default)]
pub(crate) struct Ownership {
    owner: Option<Owner>,
    /// Seconds; none when the owner has left, or restarted under its name.
    lease_left: Option<f64>,
}

impl Stored for Ownership {
    fn read(row: &impl Columns) -> Result<Ownership> {
        let owner = row.at::<Option<String>>(0)?.zip(row.at(1)?);
        let owner = owner.map(|(node, incarnation)| Owner { node, incarnation });
        Ok(Ownership { owner, lease_left: row.at(2)? })
    }
}

impl Ownership {
    /// Gives the scope to the process that asks. Returns another node whose lease ended without a hand-over. The error
    /// is another owner whose lease is running, and the rest of that lease.
    pub fn given_to(self, asks: &Owner) -> std::result::Result<Option<String>, (String, Duration)> {
        let (Some(owner), Some(left)) = (self.owner, self.lease_left) else { return Ok(None) };
        if owner != *asks && left > 0.0 {
            return Err((owner.node, Duration::from_secs_f64(left)));
        }
        Ok((owner.node != asks.node).then_some(owner.node))
    }
}

/// A scope or build under a new epoch: counter, generation, position.
pub(crate) struct Taken {
    counter: i64,
    generation: Generation,
    position: Position,
}

impl Stored for Taken {
    fn read(row: &impl Columns) -> Result<Taken> {
        Ok(Taken { counter: row.at(0)?, generation: row.at(1)?, position: row.position(2)? })
    }
}

/// A scope that was taken, and the operators' orders for it: begin, reason and author of a pause, and the positions of
/// skipped events between commas.
impl Stored for (Taken, Orders) {
    fn read(row: &impl Columns) -> Result<(Taken, Orders)> {
        let paused = match row.at(5)? {
            Some(at) => Some(Paused { at, reason: row.at(6)?, by: row.at(7)? }),
            None => None,
        };
        let skips: Option<String> = row.at(8)?;
        let skips = skips
            .iter()
            .flat_map(|skips| skips.split(','))
            .map(|skip| skip.parse().map(LogSeq).map_err(|error| unreadable(row, 8, error)));
        Ok((Taken::read(row)?, Orders { paused, skips: skips.collect::<Result<_>>()? }))
    }
}

impl Taken {
    /// Makes the lease of a scope. `session` is the session that writes under it, with its history.
    pub fn acquired(
        self,
        scope: &Scope,
        owner: &Owner,
        token: Uuid,
        (session, history): (i64, Option<String>),
        taken_from: Option<String>,
        orders: Orders,
    ) -> Acquisition {
        let lease = Lease {
            scope: scope.clone(),
            owner: owner.clone(),
            epoch: Epoch { counter: self.counter, token },
            generation: self.generation,
            session,
            history,
            taken_from,
            orders,
        };
        Acquisition::Acquired(lease, self.position)
    }

    /// Makes the lease of a build.
    pub fn resumed(
        self,
        scope: &Scope,
        run_id: Uuid,
        token: Uuid,
        (session, history): (i64, Option<String>),
    ) -> (BuildLease, Position) {
        let Taken { counter, generation, position } = self;
        let epoch = Epoch { counter, token };
        (BuildLease { scope: scope.clone(), run_id, generation, epoch, session, history }, position)
    }
}

/// The live generation of a scope, before a flip.
pub(crate) struct Live {
    pub generation: Generation,
    pub position: Position,
}

impl Stored for Live {
    fn read(row: &impl Columns) -> Result<Live> {
        Ok(Live { generation: row.at(0)?, position: row.position(1)? })
    }
}

/// A generation under construction.
pub(crate) struct Built {
    pub position: Position,
    /// True when it is finished.
    pub ready: bool,
    /// True when its rows leave a skipped event out.
    pub deviating: bool,
}

impl Stored for Built {
    fn read(row: &impl Columns) -> Result<Built> {
        Ok(Built { position: row.position(0)?, ready: row.at(3)?, deviating: row.at(4)? })
    }
}

/// Creates `fenced` of a job that does not build this generation any more.
pub(crate) fn not_building(lease: &BuildLease) -> StoreError {
    let BuildLease { scope, generation, epoch, .. } = lease;
    StoreError::fenced(format!("{scope}: generation {generation} is no longer built by this job (epoch {epoch})"))
}

/// Returns the version of the rules that will write a scope's first rows.
pub(crate) fn rules_version(scope: &Scope) -> i32 {
    catalogue::find_scope(scope.projection).map_or(0, |projection| projection.version())
}

/// Confirms a heartbeat; `fenced` when another incarnation lives under the same name.
pub(crate) fn renewal(owner: &Owner, renewed: bool) -> Result<()> {
    match renewed {
        true => Ok(()),
        false => Err(StoreError::fenced(format!("another process runs under the name {}", owner.node))),
    }
}

/// A job that is locked for a decision about it.
pub(crate) struct Locked {
    pub run: Run,
    /// Incarnation of the process that runs or ran it.
    incarnation: Uuid,
}

impl Stored for Locked {
    fn read(row: &impl Columns) -> Result<Locked> {
        Ok(Locked { run: Run::read(row)?, incarnation: row.at(18)? })
    }
}

/// Allows this owner to take over a job, or fails with `conflict`.
pub(crate) fn adoption(Locked { run, incarnation }: &Locked, owner: &Owner) -> Result<()> {
    let mine = run.node == owner.node && *incarnation == owner.incarnation;
    match run.state {
        RunState::Completed => Err(conflict(format!("run {} is completed", run.run_id))),
        RunState::Queued | RunState::Running if run.node_live && !mine => {
            Err(conflict(format!("run {} is running on {}", run.run_id, run.node)))
        }
        _ => Ok(()),
    }
}

/// Decides how a job is cancelled. True for an orphan: no process could stop it, so it is cancelled now. `conflict`
/// when it has ended.
pub(crate) fn cancellation(run: &Run) -> Result<bool> {
    match run.state {
        RunState::Queued | RunState::Running => Ok(!run.node_live),
        ended => Err(conflict(format!("run {} has ended: it is {}", run.run_id, ended.as_str()))),
    }
}

/// Another job that holds a claim on a scope.
pub(crate) struct Holder {
    pub run_id: Uuid,
    /// True when it is running and its process lives.
    pub live: bool,
    pub projection: String,
    pub node: String,
}

impl Stored for Holder {
    fn read(row: &impl Columns) -> Result<Holder> {
        Ok(Holder { run_id: row.at(0)?, live: row.at(1)?, projection: row.at(2)?, node: row.at(3)? })
    }
}

impl Holder {
    /// Frees the claims of a job that is gone; `conflict` when it lives.
    pub fn gives_way(&self, tenant: &str) -> Result<()> {
        let Holder { run_id, projection, node, .. } = self;
        match self.live {
            true => Err(conflict(format!("{tenant}/{projection} is held by run {run_id} on {node}"))),
            false => Ok(()),
        }
    }
}

/// Returns the stored form of an end: state, report and error.
pub(crate) fn ended(outcome: &RunOutcome) -> (RunState, Option<&str>, Option<&Refusal>) {
    match outcome {
        RunOutcome::Completed(report) => (RunState::Completed, Some(report), None),
        RunOutcome::Cancelled => (RunState::Cancelled, None, None),
        RunOutcome::Failed(refusal) => (RunState::Failed, None, Some(refusal)),
    }
}

/// Returns the job if this process's statement changed it; else `fenced`: another process has adopted it.
pub(crate) fn still_mine(run: Run, changed: bool) -> Result<Run> {
    if changed {
        return Ok(run);
    }
    let (run_id, state, node) = (run.run_id, run.state.as_str(), run.node);
    Err(StoreError::fenced(format!("run {run_id} is {state} on {node}: it no longer belongs to this process")))
}

/// Creates `not_found` of a job.
pub(crate) fn no_run(run_id: Uuid) -> StoreError {
    StoreError::new(Category::NotFound, format!("there is no run {run_id}"))
}

/// Creates `not_found` of a failure.
pub(crate) fn no_failure(failure_id: i64) -> StoreError {
    StoreError::new(Category::NotFound, format!("there is no failure {failure_id}"))
}

/// Creates `not_found` of a scope.
pub(crate) fn no_scope(scope: &Scope) -> StoreError {
    StoreError::new(Category::NotFound, format!("there is no scope {scope}"))
}

/// Creates the error of a row that this very call wrote and does not find.
pub(crate) fn lost(what: &str) -> StoreError {
    StoreError::internal(format!("a {what} that was just written is gone"))
}

/// Creates `conflict`.
pub(crate) fn conflict(message: impl Into<String>) -> StoreError {
    StoreError::new(Category::Conflict, message)
}

/// Returns the events of a batch that are stored: index, and number in the trace.
pub(crate) fn stored(planned: &[Planned], mode: AppendMode) -> Vec<(usize, i64)> {
    if mode == AppendMode::AllOrNothing && planned.iter().any(|plan| matches!(plan, Planned::Refuse(_))) {
        return Vec::new();
    }
    let new = |(index, plan): (usize, &Planned)| match plan {
        Planned::Store { trace_seq } => Some((index, *trace_seq)),
        _ => None,
    };
    planned.iter().enumerate().filter_map(new).collect()
}

/// Decides about events that bring their positions: as an append does, and each position must be new. `drawn` is the
/// last position that the database gave out before the move; `taken` are positions of earlier events of the move.
pub(crate) fn placed(prior: &AppendPrior, events: &[Placed], drawn: LogSeq, taken: &HashSet<LogSeq>) -> Vec<Planned> {
    let mut planned = plan(prior, events);
    for (Placed { log_seq, .. }, planned) in events.iter().zip(&mut planned) {
        let why = if *log_seq <= drawn {
            format!("this database gave out every position up to {drawn} before, and {log_seq} is among them")
        } else if taken.contains(log_seq) {
            format!("position {log_seq} is that of an event before it")
        } else {
            continue;
        };
        *planned = Planned::Refuse(Refusal::new(Category::Conflict, why));
    }
    planned
}

/// Returns the positions of these events that an earlier event of the move may have: none when all are above `highest`.
pub(crate) fn maybe_taken(events: &[Placed], highest: LogSeq) -> Vec<LogSeq> {
    events.iter().map(|event| event.log_seq).filter(|log_seq| *log_seq <= highest).collect()
}

/// Refuses a move into a database with events.
pub(crate) fn not_empty() -> StoreError {
    conflict("this database has or had events, and a log keeps its positions only in a database that never had any")
}

/// Creates the error of a move whose steps ended without a commit.
pub(crate) fn given_up() -> StoreError {
    conflict("the move was given up; nothing was stored")
}

/// Returns the verdicts of a batch whose `new` events ([`stored`]) have these positions.
pub(crate) fn verdicts<E: Borrow<Admitted>>(
    events: &[E],
    planned: Vec<Planned>,
    new: &[(usize, i64)],
    positions: impl IntoIterator<Item = LogSeq>,
) -> Vec<Verdict> {
    let mut position_of = vec![None; events.len()];
    for ((index, trace_seq), position) in new.iter().zip(positions) {
        position_of[*index] = Some((position, *trace_seq));
    }
    let verdict = |(index, planned): (usize, Planned)| match planned {
        Planned::Store { .. } => match position_of[index] {
            Some((log_seq, trace_seq)) => Verdict::Accepted { log_seq, trace_seq },
            None => Verdict::NotStored,
        },
        Planned::Repeat { log_seq, event_id, trace_seq } => Verdict::Repeated { log_seq, event_id, trace_seq },
        Planned::RepeatInBatch(earlier) => match position_of[earlier] {
            Some((log_seq, trace_seq)) => {
                let event_id = events[earlier].borrow().envelope().event_id.clone();
                Verdict::Repeated { log_seq, event_id, trace_seq }
            }
            None => Verdict::NotStored,
        },
        Planned::Refuse(refusal) => Verdict::Refused(refusal),
    };
    planned.into_iter().enumerate().map(verdict).collect()
}

/// Measures a lag from the events behind a cursor, counted up to `bound`, and the age of the oldest of them.
pub(crate) fn lag((events, seconds): (u64, Option<f64>), bound: u64) -> Lag {
    Lag { events, more: events > 0 && events >= bound, seconds: seconds.unwrap_or_default() }
}
