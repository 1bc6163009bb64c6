//! Drives lanes along the log. Lanes at the same position share a page, which is read and checked once. The next page
//! is folded while this one is written, and the page behind it is read. Pull, never push: at most three pages are in
//! memory.

use super::lane::{ApplyOptions, Lane, Target};
use super::mark::Mark;
use super::observed;
use super::pace::Pace;
use super::page::Page;
use super::report::{LogReport, Progress};
use super::{Budget, Control, Engine};
use decisiongraph_projections::open_traces::OpenTraces;
use decisiongraph_projections::{Category, LogSeq, Projection, TenantId, catalogue};
use decisiongraph_store::{PageLimit, Position, ReadView, Result, Run, RunMode, RunProgress, Store, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Shortest time between two writes of a job's progress; a cancel from another process is seen with this delay.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Events per page, at least, of a job that delays others.
const EVENTS_BESIDE_OTHERS: usize = 250;

/// Reason for the end of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every lane is at the target, or stopped by a failure of its own.
    Reached,
    /// A caller asked to stop.
    Cancelled,
}

/// A running job: drives, reports and stops its lanes. It lives as long as its run is in this process, through all
/// attempts.
pub struct Job<'a> {
    /// Engine that runs the job: store of the run row (and, except for a verify, of the rows), owner, bounds.
    pub engine: &'a Engine,
    /// Handles to follow and stop the job.
    pub control: &'a Control,
    /// Id of the run.
    pub run_id: Uuid,
    /// Tenant of the log.
    pub tenant: TenantId,
    /// Mode of the job.
    pub mode: RunMode,
    /// Events applied so far, over all its lanes.
    pub events: u64,
    /// Batches committed so far, over all its lanes.
    pub batches: u64,
    /// Check of the log, by a verify.
    pub log: Option<LogReport>,
    /// Limit of a verify in the background.
    pub pace: Option<Arc<Pace>>,
    /// Lanes that an attempt has lost.
    lost: Vec<Lane>,
    told: Option<Instant>,
}

impl<'a> Job<'a> {
    /// Creates the job of a run, which may have applied events before.
    pub fn new(engine: &'a Engine, run: &Run, control: &'a Control) -> Job<'a> {
        Job {
            engine,
            control,
            run_id: run.run_id,
            tenant: run.tenant.clone(),
            mode: run.mode,
            events: u64::try_from(run.events).unwrap_or(0),
            batches: 0,
            log: None,
            pace: control.verify.rows_per_s.map(|rows| Arc::new(Pace::new(rows))),
            lost: Vec::new(),
            told: None,
        }
    }

    /// Returns the store of the run row.
    pub fn store(&self) -> &'a dyn Store {
        &**self.engine.store()
    }

    /// Makes a lane at the position of a claim. A lane that an earlier attempt lost goes on, with its counts.
    pub fn lane(&mut self, projection: &'static dyn Projection, target: Target, position: Position) -> Lane {
        let lost = self.lost.iter().position(|lane| lane.projection.name() == projection.name());
        let lost = lost.map(|index| self.lost.swap_remove(index));
        // A position behind the lost one is another generation's.
        let Some(lost) = lost.filter(|lane| lane.position.cursor <= position.cursor) else {
            return Lane::new(projection, &self.tenant, target, position);
        };
        let before = done([&lost]);
        let lane = lost.again(target, position);
        self.count(before, done([&lane]));
        lane
    }

    /// True for a verify that says nothing about rows: it was asked about the log alone, or the log is not as sealed.
    pub fn is_about_log(&self) -> bool {
        self.control.verify.log_only || self.log.as_ref().is_some_and(LogReport::differs)
    }

    fn count(&mut self, before: (u64, u64), after: (u64, u64)) {
        self.events += after.0 - before.0;
        self.batches += after.1 - before.1;
    }

    /// Keeps the lanes that an attempt has lost, for the next attempt. Returns the error that ended them.
    pub fn lost(&mut self, lanes: Vec<Lane>, error: StoreError) -> StoreError {
        self.lost = lanes;
        error
    }

    /// Moves every lane to `mark`, reading the log from `log` and writing rows to `rows`. A lane whose batch was not
    /// committed ends the drive with its error.
    pub async fn drive(
        &mut self,
        lanes: &mut [Lane],
        rows: &dyn Store,
        log: &dyn ReadView,
        mark: &Mark,
    ) -> Result<Ended> {
        let (target, budget) = (mark.at, self.engine.budget());
        // A build was claimed without a mark.
        lanes.iter().try_for_each(|lane| mark.check(lane.history()))?;
        let (share_bytes, whole) = budget.job(self.engine.config());
        let mut limit = whole;
        let tenant = self.tenant.clone();
        let none = BTreeSet::new();
        let mut ahead: VecDeque<Arc<Page>> = VecDeque::new();
        let mut open: Option<OpenTraces> = None;
        loop {
            lanes.iter_mut().for_each(|lane| lane.keep_known(budget));
            if self.report(lanes, target).await? {
                return Ok(Ended::Cancelled);
            }
            let Some((from, upto)) = next_window(lanes, target) else { return Ok(Ended::Reached) };
            // A job waits for its share without the pages that it has read ahead.
            let mut share = match budget.work.try_hold(share_bytes) {
                Some(share) => share,
                None => {
                    ahead.clear();
                    budget.work.hold(share_bytes).await
                }
            };
            self.engine.validity().check()?;
            limit.rows_max = events_max(limit.rows_max, whole.rows_max, rows.has_delayed());
            let open = open.get_or_insert_with(|| OpenTraces::new(from, catalogue::history_types()));
            let mut page = match ahead.pop_front() {
                Some(page) if page.after == from && page.upto == upto => page,
                _ => {
                    ahead.clear();
                    Arc::new(Page::read_on(log, &tenant, from, upto, limit, &none, Some(open)).await?)
                }
            };
            let cost = Budget::job_cost(page.bytes());
            if !budget.work.try_grow(&mut share, cost) {
                // One event that is larger than a page may be: it is read again when there is room for it.
                ahead.clear();
                drop((page, share));
                share = budget.work.hold(cost).await;
                page = Arc::new(Page::read_on(log, &tenant, from, upto, limit, &none, Some(open)).await?);
            }
            if page.is_empty() {
                if upto >= target {
                    // No events are left for the lanes at this position. Other lanes may be further on, but then they
                    // are at the target.
                    return self
                        .report(lanes, target)
                        .await
                        .map(|cancel| if cancel { Ended::Cancelled } else { Ended::Reached });
                }
                // A window ends before the target only at a cursor, and a cursor is at an event.
                return Err(StoreError::new(
                    Category::Conflict,
                    format!(
                        "the log has lost the event at log_seq {upto}, up to which a projection is applied; restore it from a backup"
                    ),
                ));
            }
            let options = ApplyOptions {
                checkpoint_events: self.engine.config().checkpoint_events,
                record_failures: self.mode != RunMode::Verify,
                limit,
            };
            let before = done(lanes.iter());
            let ways = Ways::of(lanes, from, target);
            let here = lanes.iter_mut().filter(|lane| lane.failure.is_none() && lane.position.cursor == from);
            let (page, options, tenant, telemetry) = (&page, &options, &tenant, self.engine.telemetry());
            // No event above a page's size limit is read ahead. A fault of this read occurs again when that page's turn
            // comes.
            let limit_ahead = PageLimit { event_bytes_max: limit.bytes_max, ..limit };
            let mut read_behind = async |page: &Page| {
                let (after, upto) = ways.behind(page)?;
                let read = Page::read_on(log, tenant, after, upto, limit_ahead, &none, Some(&mut *open)).await;
                read.ok().map(Arc::new)
            };
            // Every lane of this page waits for the next page, to fold it while its own batch is committed. The page
            // behind that page is read meanwhile, so that neither reading nor folding waits for the other.
            let (tell, told) = oneshot::channel();
            let given = told.map(|told| told.ok().flatten()).shared();
            let held = ahead.pop_front();
            let read_ahead = async {
                let next = match held {
                    Some(next) => Some(next),
                    None => read_behind(page).await,
                };
                let _ = tell.send(next.clone());
                let third = match &next {
                    Some(next) => read_behind(next).await,
                    None => None,
                };
                next.into_iter().chain(third).collect()
            };
            // A lane that is lost leaves the others their batch.
            let apply = join_all(here.map(|lane| {
                let next = given.clone();
                async move {
                    let page = lane.own_page(log, page).await?;
                    observed::apply(lane, rows, log, &page, next, options, telemetry).await
                }
            }));
            let (applied, read) = futures_util::future::join(apply, read_ahead).await;
            self.count(before, done(lanes.iter()));
            applied.into_iter().collect::<Result<()>>()?;
            ahead = read;
            drop(share);
            if let Some(pace) = &self.pace {
                pace.took(page.events.len() as u64).await;
            }
        }
    }

    /// Reports the job's position, in memory at each call and durably at intervals. True when the job is to stop.
    async fn report(&mut self, lanes: &[Lane], target: LogSeq) -> Result<bool> {
        let Some(slowest) = lanes.iter().filter(|lane| lane.failure.is_none()).min_by_key(|lane| lane.position.cursor)
        else {
            return Ok(false);
        };
        let cursor = slowest.position.cursor;
        if let Some(sender) = &self.control.progress {
            sender.send_replace(Some(Progress {
                mode: self.mode,
                projection: slowest.projection.name().to_owned(),
                cursor,
                target,
                events: self.events,
            }));
        }
        if self.told.is_none_or(|told| told.elapsed() >= PROGRESS_EVERY) {
            self.told = Some(Instant::now());
            if self.tell(slowest.projection.name(), cursor, target).await? {
                return Ok(true);
            }
        }
        Ok(self.control.cancel.is_requested())
    }

    /// Writes the job's progress. True when its cancel is requested.
    pub async fn tell(&self, current: &'static str, cursor: LogSeq, target: LogSeq) -> Result<bool> {
        let events = i64::try_from(self.events).unwrap_or(i64::MAX);
        let progress = RunProgress { current, cursor, target, events };
        Ok(self.store().advance_run(self.run_id, self.engine.owner(), &progress).await?.cancel_requested)
    }
}

/// Returns the most events of the next page: fewer as long as the job delays others, else more, up to the `whole`.
fn events_max(last: usize, whole: usize, delays_others: bool) -> usize {
    let next = if delays_others { (last / 2).max(EVENTS_BESIDE_OTHERS) } else { last.saturating_mul(2) };
    next.min(whole)
}

/// Counts the events and batches of these lanes.
fn done<'l>(lanes: impl IntoIterator<Item = &'l Lane>) -> (u64, u64) {
    lanes.into_iter().fold((0, 0), |(events, batches), lane| (events + lane.events, batches + lane.batches))
}

/// Finds the next stretch of the log. It reaches from the rearmost lane's position to the nearest position at which a
/// page must end.
fn next_window(lanes: &[Lane], target: LogSeq) -> Option<(LogSeq, LogSeq)> {
    let going = || lanes.iter().filter(|lane| lane.failure.is_none() && lane.position.cursor < target);
    let from = going().map(|lane| lane.position.cursor).min()?;
    let ahead = going().map(|lane| lane.position.cursor).filter(|cursor| *cursor > from);
    let stops = going().filter_map(Lane::next_stop).filter(|stop| *stop > from);
    let upto = ahead.chain(stops).chain([target]).min().unwrap_or(target).min(target);
    Some((from, upto))
}

/// Positions and stops of a page's lanes, to guess what [`next_window`] will return once they are behind the page. Used
/// only to read ahead: a wrong guess costs a second read, nothing else.
struct Ways {
    /// Position of the lanes of the page.
    from: LogSeq,
    target: LogSeq,
    cursors: Vec<LogSeq>,
    stops: Vec<LogSeq>,
}

impl Ways {
    fn of(lanes: &[Lane], from: LogSeq, target: LogSeq) -> Ways {
        let going = lanes.iter().filter(|lane| lane.failure.is_none());
        let cursors = going.map(|lane| lane.position.cursor).collect();
        Ways { from, target, cursors, stops: lanes.iter().filter_map(Lane::next_stop).collect() }
    }

    /// Guesses the window behind this page or one of its successors, if every lane gets to its end.
    fn behind(&self, page: &Page) -> Option<(LogSeq, LogSeq)> {
        if page.poison.is_some() || page.is_empty() {
            return None;
        }
        let end = page.end();
        let moved = |cursor: &LogSeq| if *cursor == self.from { end } else { (*cursor).max(end) };
        let cursors = || self.cursors.iter().map(moved).filter(|cursor| *cursor < self.target);
        let from = cursors().min()?;
        let ahead = cursors().filter(|cursor| *cursor > from);
        let stops = self.stops.iter().copied().filter(|stop| *stop > from);
        let upto = ahead.chain(stops).chain([self.target]).min()?;
        Some((from, upto))
    }
}

#[cfg(test)]
mod tests {
    use super::events_max;

    #[test]
    fn a_job_makes_way_for_others_and_comes_back() {
        let after = |delays: &[bool]| delays.iter().fold(2_000, |last, delays| events_max(last, 2_000, *delays));
        assert_eq!(after(&[true, true]), 500);
        assert_eq!(after(&[true; 9]), 250, "a page is never tiny");
        assert_eq!(after(&[true, true, true, false, false]), 1_000);
        assert_eq!(after(&[false; 9]), 2_000);
        assert_eq!(events_max(100, 100, true), 100, "an operator's bound is smaller still");
    }
}
